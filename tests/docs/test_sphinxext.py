"""A host documents its hooks, capabilities and plugins with one directive."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

HOST = '''
from plugreg import PluginRegistry, hookspec
from plugreg.mixins import MixinSpec


class Hooks:
    @hookspec(firstresult=True)
    def owner(self, item: str) -> str | None:
        """Return the owner of an ``item``."""


class Paint:
    """For plugins that paint."""

    def paint(self, wall): ...


def make_registry():
    mixins = [MixinSpec("paint", "Painting", Paint)]
    return PluginRegistry("shop", hookspecs=[Hooks], mixins=mixins, directories=["plugins"])


wrong = 7
'''
PLUGIN = """
import os
os._exit(3)
from plugreg import Plugin
class Crash(Plugin):
    TITLE = "Crashes at import"
"""


@pytest.fixture
def build(tmp_path):
    """Return a function that builds a page of a host, and returns its HTML or Sphinx's words."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "crash.py").write_text(PLUGIN, encoding="utf-8")
    (tmp_path / "shop_app.py").write_text(HOST, encoding="utf-8")
    source = tmp_path / "source"
    source.mkdir()
    configuration = "extensions = ['plugreg.sphinxext']\nhtml_theme = 'basic'\n"
    (source / "conf.py").write_text(configuration, encoding="utf-8")

    def build(*lines):
        (source / "index.rst").write_text("\n".join(["Shop", "====", "", *lines, ""]))
        # The folder of the host is on the path of "python -m".
        done = subprocess.run(
            [sys.executable, "-m", "sphinx", "-q", "-W", "source", "out"],
            cwd=tmp_path,
            env={"PYTHONPATH": str(tmp_path), "PATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return done.stderr
        return (tmp_path / "out" / "index.html").read_text(encoding="utf-8")

    return build


def test_everything_is_shown_and_nothing_is_imported(build):
    """Hooks, capabilities and plugins have anchors; a plugin that ends its process is listed."""
    html = build(".. plugreg:: shop_app:make_registry")

    assert re.findall(r'id="((?:hook|capability|plugin)-[^"]+)"', html) == [
        "hook-owner",
        "capability-paint",
        "plugin-crash",
    ]
    text = re.sub("<[^>]+>", "", html)
    assert "owner(item: str) -&gt; str | None" in text
    assert "The first result that is not None counts." in text
    assert "Crashes at import" in text


def test_one_part_is_shown(build):
    """``:show:`` names the parts."""
    html = build(".. plugreg:: shop_app:make_registry", "   :show: capabilities")

    assert re.findall(r'id="(hook|capability|plugin)-', html) == ["capability"]


def test_what_is_wrong_is_an_error_of_the_build(build):
    """Sphinx says of each directive that cannot be shown why it cannot."""
    told = build(
        ".. plugreg:: shop_app",
        "",
        ".. plugreg:: shop_app:wrong",
        "",
        ".. plugreg:: shop_app:make_registry",
        "   :show: prices",
    )

    assert "names no registry; write it as 'shop.app:make_registry'" in told
    assert "'int' object is not callable" in told
    assert "unknown part 'prices'" in told
