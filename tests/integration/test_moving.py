"""The page on moving from other plugin systems: before and after print the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import plugreg

PAGE = Path(__file__).parents[2] / "docs" / "host" / "moving.md"
SECTIONS = {
    title: re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for title, text in re.findall(
        r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.M | re.S
    )
}

SPECS = """
import pluggy

hookspec = pluggy.HookspecMarker("shop")


@hookspec
def price(item):
    pass
"""

PRICES = """
import pluggy

hookimpl = pluggy.HookimplMarker("shop")


@hookimpl{how}
def price(item):
    return (__name__, item)
"""

EXTENSION = """
def setup(app):
    app.builders.append(__name__)
"""

FORMAT = """
import abc


class Format(abc.ABC):
    def __init__(self, width):
        self.width = width

    @abc.abstractmethod
    def format(self, data): ...


class Simple(Format):
    def format(self, data):
        return [f"{name} = {value}".ljust(self.width, ".") for name, value in data.items()]


class Loud(Simple):
    def format(self, data):
        return [line.upper() for line in super().format(data)]
"""

DRINKS = """
from plux import Plugin


class Tea(Plugin):
    namespace, name = "shop.drinks", "tea"
    strength = "not loaded"

    def load(self, *args, **kwargs):
        self.strength = "strong"

    def brew(self):
        return f"{self.strength} {self.name}"


class Milk(Tea):
    name = "milk"
"""

FORGED = """
from pluginforge import BasePlugin


class Tea(BasePlugin):
    name = "tea"

    def activate(self):
        assert self.app_config is not BasePlugin.app_config


class Milk(BasePlugin):
    name = "milk"
"""

MODULES = {
    "shop_specs.py": SPECS,
    "shop_regular.py": PRICES.format(how=""),
    "shop_holidays.py": PRICES.format(how=""),
    "shop_installed.py": PRICES.format(how=""),
    "shop_eager.py": PRICES.format(how="(tryfirst=True)"),
    "shop_templates.py": "",
    "shop_html.py": EXTENSION,
    "shop_pdf.py": EXTENSION,
    "shop_app.py": "class App:\n    def __init__(self):\n        self.builders = []\n",
    "shop_format.py": FORMAT,
    "shop_drinks.py": DRINKS,
    "shop_loaders.py": "def read(name):\n    return name.upper()\n",
    "shop_forged.py": FORGED,
}

ENTRY_POINTS = {
    "shop": {
        "installed": "shop_installed",
        "eager": "shop_eager",
        "templates": "shop_templates",
    },
    "shop.formats": {"simple": "shop_format:Simple", "Very.Loud": "shop_format:Loud"},
    "shop.drinks": {"tea": "shop_drinks:Tea", "milk": "shop_drinks:Milk"},
    "shop_loaders": {"Read.v1": "shop_loaders:read"},
    "shop.forged": {"tea": "shop_forged:Tea", "milk": "shop_forged:Milk"},
    "shop.plain": {"read": "shop_loaders:read"},
}


@pytest.fixture
def run(site, tmp_path):
    """Return a function that runs a block of the page as a host, and returns its output."""
    site.dist("shop-plugins", entry_points=ENTRY_POINTS, modules=MODULES)
    configuration = "plugins:\n  entry_point_group: shop.forged\n"
    (tmp_path / "shop.yaml").write_text(configuration, encoding="utf-8")
    path = os.pathsep.join([str(site), str(Path(plugreg.__file__).parents[1])])

    def run(block):
        done = subprocess.run(
            [sys.executable, "-P", "-c", block],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.strip()
        return done.stdout

    return run


def test_each_section_has_both():
    """A stranger finds today's code and its replacement, for each system."""
    pairs = ["pluggy", "stevedore", "flake8", "Sphinx", "plux", "catalogue", "pluginforge"]
    # InvenTree cannot be installed beside others, so that its plugin stands there to be read.
    assert {title: len(blocks) for title, blocks in SECTIONS.items()} == dict.fromkeys(
        [*pairs, "importlib.metadata"], 2
    ) | {"InvenTree": 1, "No registry at all": 1}


@pytest.mark.parametrize("title", [title for title, blocks in SECTIONS.items() if len(blocks) == 2])
def test_after_prints_what_before_did(run, title):
    """The host on a registry does the same with the same plugins, in at most ten lines."""
    before, after = SECTIONS[title]
    if title in {"stevedore", "plux", "catalogue", "flake8", "pluginforge"}:
        version(title)

    assert run(after) == run(before)
    lines = [
        line for line in after.splitlines() if line and not line.startswith(("from", "import"))
    ]
    assert len(lines) <= 10


def test_a_plugin_of_inventree_runs(run):
    """With its class attributes and its methods as they were."""
    (block,) = SECTIONS["InvenTree"]

    assert run(block) == "order tea\n"


def test_without_a_registry(run):
    """Found plugins can be loaded at once."""
    (block,) = SECTIONS["No registry at all"]

    assert run(block) == "['read']\n"
