"""Plugins and a host that others wrote for pluggy work unchanged.

pytest is the host. Each test has a process of its own, since pytest itself runs these tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata

import pytest

from plugreg._support.slugs import slugify

REGISTRY = """
import json
import types

import _pytest.hookspec
from plugreg import PluginRegistry

with PluginRegistry(
    "pytest",
    group="pytest11",
    hookspecs=[_pytest.hookspec],
    implicit_prefix="pytest_",
    new_plugins="active",
) as registry:
    report = registry.load()
    found = {
        slug: {
            "module": record.plugin.__name__,
            "mixins": dict(record.mixins),
            "distribution": record.distribution,
            "version": record.version,
            "hooks": sorted(
                each.name for each in registry.manager.get_hookcallers(record.plugin)
            ),
            "functions": sorted(
                name
                for name, value in vars(record.plugin).items()
                if name.startswith("pytest_") and isinstance(value, types.FunctionType)
            ),
        }
        for slug, record in registry.active.items()
    }
    # A hook of pytest is called through the registry, and answered by a plugin of others.
    ignored = registry.outcomes("pytest_report_header", config=None, start_path=None)
    print(
        json.dumps(
            {
                "failures": [each.message for each in report.failures],
                "active": found,
                "asked": [each.slug for each in ignored],
            }
        )
    )
"""

SUBCLASS = """
import _pytest.hookspec
import pluggy
from plugreg.hooks import PluginManager
from plugreg import hookimpl

marked = pluggy.HookimplMarker("pytest")


class PytestLike(PluginManager):
    # As _pytest.config.PytestPluginManager: by prefix alone, without evaluating other attributes.

    def parse_hookimpl_opts(self, plugin, name):
        if not name.startswith("pytest_") or name == "pytest_plugins":
            return None
        found = super().parse_hookimpl_opts(plugin, name)
        return {"trylast": True} if found is None else found

    def parse_hookspec_opts(self, namespace, name):
        found = super().parse_hookspec_opts(namespace, name)
        return {} if found is None and name.startswith("pytest_") else found


class Plugin:
    pytest_plugins = ["other"]

    def __init__(self, name):
        self.name = name

    def pytest_report_header(self):
        return self.name

    @hookimpl
    def other(self):
        return self.name


class Marked(Plugin):
    @marked(tryfirst=True)
    def pytest_report_header(self):
        return self.name


manager = PytestLike("pytest")
manager.add_hookspecs(_pytest.hookspec)
manager.register(Plugin("registered"), "registered")
manager.register(Marked("marked"), "marked")
manager.exchange((), [manager.implementations(Plugin("exchanged"), "exchanged")])
manager.check_pending()
headers = manager.hook.pytest_report_header(config=None, start_path=None)
assert headers == ["marked", "registered", "exchanged"], headers
assert not hasattr(manager.hook, "other")
"""

PYTEST = """
import sys

import pluggy
from plugreg.hooks import PluginManager

pluggy.PluginManager = PluginManager
assert "_pytest.config" not in sys.modules

import pytest

assert issubclass(pytest.PytestPluginManager, PluginManager)
sys.exit(pytest.main(sys.argv[1:]))
"""

CONFTEST = """
import pytest

configured = []


def pytest_configure(config):
    configured.append(type(config.pluginmanager).__mro__[1].__module__)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    item.user_properties.append(("wrapped", item.name))
    return (yield)


@pytest.fixture
def managers():
    return configured
"""

TESTS = """
import pytest
from hypothesis import given
from hypothesis import strategies as st


def test_manager(managers, request):
    assert managers == ["plugreg.hooks._manager"]
    assert ("wrapped", "test_manager") in request.node.user_properties


@given(st.integers())
def test_with_the_plugin_of_hypothesis(number):
    assert number == int(str(number))


@pytest.mark.parametrize("number", [1, 2])
def test_parametrized(number, tmp_path, monkeypatch, capsys):
    print(number)
    assert capsys.readouterr().out == f"{number}\\n"


@pytest.mark.xfail(strict=True)
def test_that_fails():
    assert False
"""


def run(tmp_path, source, *arguments):
    """Run ``source`` in a process of its own, warnings being errors; return its output."""
    script = tmp_path / "script.py"
    script.write_text(source, encoding="utf-8")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(script), *arguments],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Return a registry's result for the pytest plugins that are installed here."""
    return json.loads(run(tmp_path_factory.mktemp("registry"), REGISTRY))


def test_pytests_plugins_are_active(loaded):
    """Every plugin installed for pytest is loaded, with facts of its distribution, and no fault."""
    installed = {
        slugify(entry_point.name): entry_point
        for entry_point in metadata.entry_points(group="pytest11")
    }

    assert {value.dist.name for value in installed.values()} >= {"pytest-cov", "hypothesis"}
    # xdist brings the specification of a hook of its own, but only where pytest asks it to.
    assert [item for item in loaded["failures"] if "pytest_xdist" not in item] == []
    assert {
        slug: (item["module"], item["distribution"], item["version"])
        for slug, item in loaded["active"].items()
    } == {
        slug: (item.module, item.dist.name, item.dist.version) for slug, item in installed.items()
    }


def test_they_have_no_capability_but_base(loaded):
    """Plain modules need no base class, and their record has no mixins but base."""
    assert [value["mixins"] for value in loaded["active"].values()] == [{"base": "base"}] * len(
        loaded["active"]
    )


def test_their_hooks_are_on_the_manager(loaded):
    """Every function with pytest's prefix is an implementation, and a call reaches it."""
    for slug, value in loaded["active"].items():
        assert value["hooks"] == value["functions"], slug
        # plugreg's own brings a fixture only.
        assert value["hooks"] != [] or value["distribution"] == "plugreg"

    assert loaded["asked"] == [
        slug
        for slug in reversed(loaded["active"])
        if "pytest_report_header" in loaded["active"][slug]["hooks"]
    ]


def test_a_manager_like_pytests_own(tmp_path):
    """A subclass that decides itself which functions are hooks is asked for every way in."""
    run(tmp_path, SUBCLASS)


def test_pytest_runs_on_it(tmp_path):
    """Pytest works with plugreg's manager in place of pluggy's: its plugins, hooks and fixtures."""
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    (tmp_path / "test_tiny.py").write_text(TESTS, encoding="utf-8")

    printed = run(tmp_path, PYTEST, "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path))

    assert "4 passed, 1 xfailed" in printed
