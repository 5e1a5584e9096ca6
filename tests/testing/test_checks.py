"""Each mistake that an author can make has a code, and a plugin without mistakes has none."""

from __future__ import annotations

import logging
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from plugreg import hookspec
from plugreg.contract import Contract, NoPluginError
from plugreg.contract.projects import folder_project, installed_projects
from plugreg.testing import CHECKS, PluginHost, run_checks
from plugreg.testing.subject import Subject
from plugreg.testing.targets import check_target

pytest_plugins = ("pytester",)


class Hooks:
    @hookspec
    def price(self, item: str, amount: int) -> float | None:
        """Return a price.

        Raises:
            LookupError: If there is no such item.
        """

    @hookspec
    def seen(self) -> None: ...


CONTRACT = Contract.of_specs("shop", [Hooks], version="2.4")

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "shop-{name}"
version = "1.0"
description = "A plugin"
license = "MIT"
requires-python = ">=3.11"
dependencies = ["plugreg", "shop>=2,<3"]

[project.entry-points."shop.plugins"]
{name} = "{module}:Weather"
"""

HEAD = """
import os, signal, sys, threading, logging
from plugreg import Plugin, hookimpl
from plugreg.mixins import *
"""


class Project:
    """A plugin's project in a folder, with a module of its own name."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder = folder
        self.module = f"plugreg_tried_{number}"
        self.pyproject = PYPROJECT.format(name="weather", module=self.module)

    def write(self, source: str) -> None:
        (self.folder / "pyproject.toml").write_text(self.pyproject, encoding="utf-8")
        text = HEAD + textwrap.dedent(source)
        (self.folder / f"{self.module}.py").write_text(text, encoding="utf-8")

    def check(self, source: str, exempt: dict[str, str] | None = None, code: str = ""):
        """Run all checks, with the life of the plugin in this process; or those like *code*."""
        self.write(source)
        project = folder_project(self.folder, "shop.plugins")
        [(name, value)] = project.entry_points.items()

        def make_host(*, options=None, **named) -> PluginHost:
            if named.get("isolate") and code != "K701":
                raise ImportError  # As if there were no isolation: each child takes long.
            given = {"host_version": "2.4", **(options or {})}
            return PluginHost([Hooks, (name, value)], host="shop", options=given, **named)

        subject = Subject(CONTRACT, value, name, project, make_host=make_host)
        # Findings of other checks are left out: they take a child, or hundreds of calls.
        if code and code not in IMPORT:
            vars(subject)["imported"] = ()
        if code and code not in LIFE:
            vars(subject)["lived"] = ()
        return run_checks(subject, exempt)


@pytest.fixture
def project(tmp_path, monkeypatch, request) -> Iterator[Project]:
    made = Project(tmp_path, abs(hash(request.node.nodeid)))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield made
    sys.modules.pop(made.module, None)


IMPORT = {check.code for check in CHECKS if check.code.startswith("K3")} - {"K310"}
LIFE = {check.code for check in CHECKS if check.code[1] in "24567"} | {"K006"}


def codes(report) -> list[str]:
    return [finding.code for finding in report.findings]


FINE = """
    class Weather(SettingsMixin, EventMixin, ScheduleMixin, UserInterfaceMixin, Plugin):
        SETTINGS = {
            "snow": {"name": "Snow", "default": False, "type": bool},
            "API_KEY": {"name": "Key", "protected": True},
            "TOWN": {"name": "Town", "required": True, "type": int},
        }
        SCHEDULED_TASKS = {"count": {"func": "count", "schedule": "I", "minutes": 5}}

        def process_event(self, event, *args, **kwargs): ...

        def count(self): ...

        @hookimpl
        def plugreg_activated(self):
            self.thread = threading.Thread(target=print, name="short")

        @hookimpl
        def price(self, item: str, amount: int) -> float | None:
            if item == "":
                raise KeyError("declared as LookupError")
            return 1.0 if amount > 0 else None
    """


def test_a_plugin_without_mistakes_has_no_finding(project) -> None:
    """Keys in lower case, declared exceptions, and settings that must be set are no mistakes."""
    assert project.check(FINE).findings == ()


FOREIGN = """
    import pluggy

    shop = pluggy.HookimplMarker("shop")

    class Weather:
        @shop
        def price(self, item: str) -> float:
            return 1.5
    """


def test_a_plugin_of_pluggy_alone_passes_what_fits_it(project) -> None:
    """No base class, no settings, no mixin: its parts are checked, and nothing else is missed."""
    project.pyproject = project.pyproject.replace('"plugreg", ', '"plugreg", "pluggy", ')

    assert project.check(FOREIGN).findings == ()


def weather(body: str, bases: str = "Plugin") -> str:
    return f"class Weather({bases}):\n" + textwrap.indent(textwrap.dedent(body), "    ")


def settings(definitions: str, more: str = "") -> str:
    return weather(f"SETTINGS = {{{definitions}}}\n{more}", "SettingsMixin, Plugin")


def hook(body: str, marks: str = "@hookimpl") -> str:
    return weather(f"{marks}\ndef price(self, item, amount):\n" + textwrap.indent(body, "    "))


def activated(body: str) -> str:
    return weather("@hookimpl\ndef plugreg_activated(self):\n" + textwrap.indent(body, "    "))


MISTAKES = [
    # Settings.
    ("K201", settings('"A": {"nmae": "A"}')),
    ("K201", settings('"A": {"name": "A", "default": "x", "validator": int}')),
    ("K202", settings('"A": {"name": "A", "type": int}')),
    ("K204", settings('"API_TOKEN": {"name": "Token", "default": ""}')),
    ("K205", settings('"A": {"name": "A", "default": ""}', "SETTINGS_VERSION = 2")),
    (
        "K206",
        settings(
            '"A": {"name": "A", "default": "1", "choices": lambda: [("1", "one")]}',
            "@hookimpl\ndef plugreg_activated(self):\n"
            "    if self.registry_holds_what():\n        raise ValueError\n"
            "def registry_holds_what(self):\n"
            "    return self.get_setting('A') != '1'\n",
        ),
    ),
    ("K207", settings('"A": {"default": ""}')),
    # The import.
    ("K301", "import there_is_no_such_module\nclass Weather(Plugin): ..."),
    ("K301", weather("def get_setting(self, key, backup_value=None): ...")),
    ("K302", "sys.exit('no')\nclass Weather(Plugin): ..."),
    ("K302", "os._exit(0)\nclass Weather(Plugin): ..."),
    ("K310", hook("import there_is_no_such_module\nreturn None")),
    ("K003", "import tinydb\nclass Weather(Plugin): ..."),
    ("K003", "import there_is_no_such_module\nclass Weather(Plugin): ..."),
    # The life.
    ("K400", "Weather = 7"),
    ("K401", weather("def __init__(self): self.get_setting('A')")),
    ("K401", weather("def __init__(self): raise OSError('no file')")),
    ("K402", activated("raise RuntimeError")),
    ("K402", weather("SCHEDULED_TASKS = {'a': {'func': 'b'}}", "ScheduleMixin, Plugin")),
    ("K403", activated("logging.getLogger('left-by-check').addHandler(logging.StreamHandler())")),
    ("K404", weather("@hookimpl\ndef plugreg_deactivating(self): raise RuntimeError")),
    (
        "K405",
        weather(
            "done = []\n@hookimpl\ndef plugreg_activated(self):\n"
            "    if self.done: raise RuntimeError('again')\n    self.done.append(1)"
        ),
    ),
    # Calls.
    ("K501", hook("return amount / 0")),
    ("K502", hook("return 'much'")),
    (
        "K503",
        weather(
            "SCHEDULED_TASKS = {'a': {'func': 'b', 'schedule': 'D'}}\ndef b(self): 1 / 0",
            "ScheduleMixin, Plugin",
        ),
    ),
    (
        "K504",
        weather("def process_event(self, event, *args, **kwargs): {}[event]", "EventMixin, Plugin"),
    ),
    (
        "K505",
        weather(
            "def get_ui_panels(self, request, context): return 1", "UserInterfaceMixin, Plugin"
        ),
    ),
    ("K006", weather("ADMIN_SOURCE = 'panel.js'")),
    # Faults from outside.
    (
        "K601",
        settings(
            '"A": {"name": "A", "default": ""}',
            "@hookimpl\ndef price(self, item):\n"
            "    try:\n        self.set_setting('A', 'x')\n"
            "    except Exception as error:\n        raise RuntimeError('oh') from error\n",
        ),
    ),
    (
        "K602",
        settings(
            '"KEY": {"name": "Key", "protected": True}',
            "@hookimpl\ndef price(self):\n    self.logger.info('key %s', self.get_setting('KEY'))",
        ),
    ),
    (
        "K602",
        settings(
            '"KEY": {"name": "Key", "protected": True}',
            "@hookimpl\ndef price(self):\n    return self.get_setting('KEY') or None",
        ),
    ),
    ("K701", hook("return (yield)", marks="@hookimpl(wrapper=True)")),
    # Findings of the contract in the sources.
    ("K101", weather("@hookimpl\ndef prize(self): ...")),
    ("K102", weather("@hookimpl\ndef price(self, itme): ...")),
    ("K103", hook("return None", marks="")),
    ("K106", weather("@hookimpl\ndef price(self) -> str: return 'x'")),
    ("K107", weather("SETTINGS = {'A': {}}")),
    ("K114", weather("@hookimpl\nasync def price(self): return 1.0")),
]


@pytest.mark.parametrize(("code", "source"), MISTAKES, ids=[code for code, _ in MISTAKES])
def test_each_mistake_is_found(project, code, source) -> None:
    """The mistake is found with its code, which says how to mend it."""
    try:
        report = project.check(source, code=code)
    finally:
        logging.getLogger("left-by-check").handlers.clear()
    found = [finding for finding in report.findings if finding.code == code]

    assert found, report.findings
    row = next(row for row in CHECKS if row.code == code)
    assert found[0].level == row.severity
    assert found[0].message.endswith(row.remedy[1:].removesuffix("."))
    assert report.ok == all(finding.level != "error" for finding in report.findings)


def test_a_logger_that_says_little_hides_no_secret(project, caplog) -> None:
    """A secret in a message for developers is found where the host logs warnings alone."""
    source = next(source for code, source in MISTAKES if code == "K602")
    with caplog.at_level(logging.WARNING, "plugreg"):
        report = project.check(source, code="K602")

    assert [finding.code for finding in report.findings] == ["K602"]


EFFECTS = {
    "K303": ("print('hello')", "prints 'hello'"),
    "K304": (
        "threading.Thread(target=threading.Event().wait, name='mine', daemon=True).start()",
        "thread 'mine' runs",
    ),
    "K305": ("signal.signal(signal.SIGUSR1, signal.SIG_IGN)", "signal SIGUSR1"),
    "K306": ("os.environ['PLUGIN_WAS_HERE'] = '1'", "variable 'PLUGIN_WAS_HERE' is set"),
    "K307": ("logging.basicConfig(level='DEBUG')", "logger 'root' has a StreamHandler"),
    "K308": (
        "from time import process_time as now\nend = now() + 1.1\nwhile now() < end: ...",
        "its import takes",
    ),
    "K309": ("import django", "it imports django"),
}


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """Return the report on a plugin whose import does all of it, in one child."""
    made = Project(tmp_path_factory.mktemp("imported"), 0)
    source = "\n".join(source for source, _ in EFFECTS.values())
    return made.check(f"{source}\nclass Weather(Plugin): ...", code="K303")


@pytest.mark.parametrize("code", EFFECTS)
def test_each_effect_of_an_import_is_found(imported, code) -> None:
    """An effect of the module's import on the process has its code, and is named."""
    found = [finding for finding in imported.findings if finding.code == code]

    assert any(EFFECTS[code][1] in finding.message for finding in found), imported.findings


@pytest.mark.parametrize(
    ("code", "old", "new"),
    [
        ("K001", 'license = "MIT"\n', ""),
        ("K002", 'weather = "', '"Weather Now" = "'),
        ("K002", 'weather = "', 'install = "'),
        ("K004", 'version = "1.0"', 'version = "1.0-final-x"'),
        ("K004", 'version = "1.0"', ""),
        ("K004", 'name = "shop-weather"', 'name = "shop weather"'),
        ("K004", "shop>=2,<3", "shop=>2"),
        ("K004", ">=3.11", "3.11"),
        ("K108", "shop>=2,<3", "shop"),
        ("K109", "shop>=2,<3", "shop>=3"),
        ("K111", ":Weather", ":Wether"),
    ],
)
def test_the_distribution_is_checked(project, code, old, new) -> None:
    """A wrong or missing field of pyproject.toml is found there."""
    project.pyproject = project.pyproject.replace(old, new)

    assert code in codes(project.check("class Weather(Plugin): ...", code=code))


def test_imports_of_requirements_that_are_not_installed_are_not_judged(project) -> None:
    """A requirement may bring any package; without it nothing is called missing."""
    project.pyproject = project.pyproject.replace('"plugreg", ', '"plugreg", "PyNone; os_name", ')
    report = project.check(hook("import none_of_it\nreturn None"), code="K310")
    assert codes(report) == ["K004", "K310"]

    project.pyproject = project.pyproject.replace("PyNone; os_name", "PyNone>=2")
    report = project.check(hook("import none_of_it\nreturn None"), code="K310")
    assert codes(report) == ["K005"]
    assert "'pynone' may bring it" in report.findings[0].message

    unused = "PyNone; sys_platform == 'none'"
    project.pyproject = project.pyproject.replace("PyNone>=2", unused)
    report = project.check(hook("import none_of_it\nreturn None"), code="K310")
    assert codes(report) == ["K310"]


def test_a_plugin_with_other_versions_of_its_requirements_is_not_tried(project) -> None:
    """What it would raise here says nothing of it; the finding says what is in the way."""
    project.pyproject = project.pyproject.replace('"plugreg", ', '"plugreg", "pluggy<1", ')
    report = project.check(hook("return 1 / 0"))

    assert codes(report) == ["K007"]
    assert "'pluggy<1' is required, and version 1." in report.findings[0].message
    assert report.ok


def test_optional_imports_are_not_judged(project) -> None:
    """What an extra brings, and what other versions, platforms and type checkers import."""
    project.pyproject = project.pyproject.replace(
        "[project.entry", "[project.optional-dependencies]\nfast = ['fast_json']\n\n[project.entry"
    )
    optional = """
        from contextlib import suppress
        from typing import TYPE_CHECKING
        from importlib.util import find_spec
        if TYPE_CHECKING:
            import none_of_types
        else:
            import json
        if sys.version_info < (3, 9):
            import none_of_old
        if sys.platform == "none":
            import none_of_it
        if find_spec("none_at_all") is not None:
            import none_at_all
        with suppress(ImportError):
            import none_to_be_had
        class Weather(Plugin):
            def load(self):
                import fast_json
        """
    assert codes(project.check(optional, code="K003")) == []

    report = project.check("import fast_json\nclass Weather(Plugin): ...", code="K003")
    assert codes(report) == ["K003"]
    hidden = "if TYPE_CHECKING:\n    import a\nelse:\n    import none_of_it\n"
    report = project.check(f"{hidden}class Weather(Plugin): ...", code="K003")
    assert codes(report) == ["K003"]


def test_each_unknown_import_is_told_once(project) -> None:
    """A requirement that is not installed gives a line for its package, not for each import."""
    project.pyproject = project.pyproject.replace('"plugreg", ', '"plugreg", "PyNone", ')
    report = project.check("import none_a\nimport none_a.b\nclass Weather(Plugin): ...", code="K0")

    assert codes(report) == ["K005"]


def test_the_modules_of_the_host_and_of_the_plugin_itself_are_required(site, monkeypatch) -> None:
    """Whatever the distributions are called, in a namespace, too, which others share."""
    monkeypatch.syspath_prepend(str(site))
    body = "from plugreg import Plugin\nclass Weather(Plugin): ...\n"
    modules = {
        "nspace/one/__init__.py": f"import plugreg_tried_help\nimport {__name__}\n{body}",
        "plugreg_tried_help.py": "",
    }
    needs = "Requires-Dist: plugreg\nRequires-Dist: plugreg-shop>=2\n"
    points = {"shop.plugins": {"one": "nspace.one:Weather"}}
    site.dist("nspace-one", entry_points=points, modules=modules, metadata=needs)
    site.dist("nspace-two", modules={"nspace/two.py": "import none_of_it"})
    contract = Contract.of_specs("shop", [Hooks], version="2.4", distribution="plugreg-shop")
    [found] = installed_projects("shop.plugins").values()
    subject = Subject(contract, "nspace.one:Weather", "one", found)

    assert [seen for seen in subject.packaged if seen.code != "K001"] == []


def test_dynamic_fields_are_not_judged(project) -> None:
    """A build alone knows them; without entry points there is only the wheel to be checked."""
    lines = project.pyproject.replace("[project]", '[project]\ndynamic = ["dependencies"]')
    project.pyproject = lines.replace('dependencies = ["plugreg", "shop>=2,<3"]\n', "")
    report = project.check("import none_of_it\nclass Weather(Plugin): ...", code="K003")
    assert codes(report) == []

    project.pyproject = project.pyproject.replace('["dep', '["entry-points", "dep')
    with pytest.raises(NoPluginError, match="only in its wheel; give a wheel"):
        project.check("class Weather(Plugin): ...")


def test_every_row_has_a_test_here() -> None:
    """No check is without a plugin that breaks it."""
    tried = (
        {code for code, _ in MISTAKES}
        | {*EFFECTS}
        | {"K001", "K002", "K004", "K108", "K109", "K111"}
    )
    elsewhere = {"K104", "K105", "K110", "K112", "K113"}  # Those of the contract.
    others = {"K000", "K005", "K007", "K406"}  # Below.

    assert {check.code for check in CHECKS} == tried | elsewhere | others


def test_rows_are_sorted_and_have_sentences() -> None:
    """Codes rise within each group, and causes and remedies can be read on their own."""
    rows = [check.code for check in CHECKS]

    assert rows == sorted(rows)
    assert len({*rows}) == len(rows)
    for check in CHECKS:
        assert check.cause.endswith(".")
        assert check.remedy.endswith(".")


def test_exemptions_need_a_reason_and_a_code(project) -> None:
    """An exempted finding is kept with its reason; an exemption without one is an error."""
    source = settings('"API_TOKEN": {"name": "Token", "default": ""}')
    exempt = {"K204": "It is public.", "K999": "x", "K202": " "}
    report = project.check(source, exempt, "K204")

    assert [(finding.code, reason) for finding, reason in report.exempted] == [
        ("K204", "It is public.")
    ]
    assert codes(report) == ["K000", "K000"]
    assert "'K999'" in report.findings[0].message
    assert not report.ok


def test_a_plugin_that_ends_the_process_costs_a_child(project) -> None:
    """The command tries plugins in children alone: none can end the command itself."""
    project.write(activated("os._exit(3)"))
    before = {*project.folder.rglob("*")}
    [finding] = check_target(CONTRACT, project.folder).findings

    assert {*project.folder.rglob("*")} == before
    assert (finding.code, "exit code 3" in finding.message) == ("K406", True)
    assert project.module not in sys.modules


def test_a_child_knows_the_types_of_a_contract_alone(project) -> None:
    """Where the host is not installed, hooks are called with the builtin types of the contract."""
    hooks = {
        name: hook.__replace__(source="not_installed:Hooks")
        for name, hook in CONTRACT.hooks.items()
    }
    contract = CONTRACT.__replace__(hooks=hooks)
    project.write(hook("assert isinstance(amount, int); return 1 / amount"))
    found = folder_project(project.folder, "shop.plugins")
    subject = Subject(contract, f"{project.module}:Weather", "weather", found)
    vars(subject)["imported"] = ()
    [finding] = subject.lived

    assert finding.code == "K501"
    assert "amount=0" in finding.message


@pytest.mark.parametrize("name", ["shop.Order", "list[shop.Order]", "__import__('os')._exit(3)"])
def test_a_hook_with_a_type_that_is_not_known_is_not_called(project, name) -> None:
    """A plugin cannot deal with other values than the host's, and no text of a file is run."""
    price = CONTRACT.hooks["price"]
    item, *others = price.arguments
    hooks = {
        "price": price.__replace__(
            arguments=(item.__replace__(type=name), *others), source="not_installed:Hooks"
        )
    }
    project.write(hook("return item.total"))
    found = folder_project(project.folder, "shop.plugins")
    contract = CONTRACT.__replace__(hooks=hooks)
    subject = Subject(contract, f"{project.module}:Weather", "weather", found)
    vars(subject)["imported"] = ()

    assert subject.lived == ()


def test_names_that_only_contain_that_of_a_secret_are_none(project) -> None:
    """A limit, a tokenizer and a secretary are shown to everybody."""
    keys = ("MAX_TOKENS", "TOKENIZER", "SECRETARY", "smtp_password", "ACCESSTOKEN")
    texts = [f"'{key}': {{'name': 'N', 'default': ''}}" for key in keys]
    limit = "'TOKEN_LIMIT': {'name': 'N', 'type': int, 'default': 1}"
    report = project.check(settings(", ".join([*texts, limit])), code="K204")

    assert codes(report) == ["K204", "K204"]
    assert [finding.where.partition("'")[2].lower() for finding in report.findings] == [
        "smtp_password']",
        "accesstoken']",
    ]


def test_nothing_is_left_by_a_check(project) -> None:
    """No thread, handler or change of this process stays after all checks."""
    from plugreg.testing.residue import changes, surroundings

    before = surroundings()
    project.check(FINE)

    assert changes(before, surroundings()) == ()


def test_the_class_fails_with_the_code(pytester) -> None:
    """An error fails the test of its code alone; a warning is a warning; exemptions are read."""
    made = Project(pytester.path, 1)
    made.pyproject += '\n[tool.plugreg.check]\nexempt = { K204 = "It is public." }\n'
    made.write(
        settings(
            '"TOKEN": {"default": "", "name": "T"}, "A": {"name": "A", "type": int}',
            "@hookimpl\ndef price(self): return 1 / 0",
        )
    )
    pytester.makepyfile(
        test_conformance=f"""
        from plugreg import hookspec
        from plugreg.testing import Conformance

        class Hooks:
            @hookspec
            def price(self) -> float | None: ...

        class TestWeather(Conformance):
            plugin = "{made.module}:Weather"
            hookspecs = [Hooks]
        """
    )
    pytester.syspathinsert()
    told = str(pytester.runpytest_inprocess("-q", "-W", "default").stdout)

    assert f"1 failed, {len(CHECKS) - 1} passed" in told, told
    assert "test_conforms[K501]" in told
    assert "K202 warning" in told
    assert "K204" not in told
