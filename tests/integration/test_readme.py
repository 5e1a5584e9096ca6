"""The README says what is so: its code runs, its tables are complete, its links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest

import plugreg
import plugreg.mixins
import plugreg.storage
from plugreg.hooks import PlugregSpecs

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FIRST_SCREEN = README.partition("\n## ")[0]


def _blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", FIRST_SCREEN, re.MULTILINE | re.DOTALL)


def _section(title):
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_host_and_plugin_of_the_first_screen_run(site, tmp_path):
    """The ten lines of a host find the ten lines of a plugin, and print what is said there."""
    host, plugin = _blocks("python")
    (entry_points,) = _blocks("toml")
    groups = tomllib.loads(entry_points)["project"]["entry-points"]
    site.dist("shop-discount", entry_points=groups, modules={"shop_discount.py": plugin})
    path = [str(site), str(Path(plugreg.__file__).parents[1])]

    # Twice, since the host says that what it switches on is remembered.
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-P", "-W", "error", "-c", host],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            capture_output=True,
            text=True,
            check=False,
        )

        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == re.findall(r"^print\(.*  # (.*)$", host, re.MULTILINE)
    assert (tmp_path / "plugins.json").is_file()


@pytest.mark.parametrize("language", ["python"])
def test_host_and_plugin_are_about_ten_lines(language):
    """Host and plugin are as short as a newcomer can take in, and fit the width of a page."""
    for block in _blocks(language):
        lines = block.splitlines()
        assert len([each for each in lines if each]) <= 10
        assert max(map(len, lines)) <= 100


def test_dependencies_are_all_named():
    """What plugreg brings along is said on the first screen, one name for each dependency."""
    needed = [each for each in requires("plugreg") or () if "extra ==" not in each]
    names = {re.match(r"[\w-]+", each).group() for each in needed}

    assert len(names) == 5
    assert "five dependencies" in FIRST_SCREEN
    for name in names:
        assert re.search(rf"\b{name}\b", FIRST_SCREEN), name


def test_public_names_are_all_told_of():
    """Whoever looks for a name finds it in the tables, with what it is for."""
    hooks = [name for name in vars(PlugregSpecs) if name.startswith("plugreg_")]
    mixins = [name for name in plugreg.mixins.__all__ if name != "MIXINS"]
    names = [*plugreg.__all__, *mixins, *plugreg.storage.__all__, *hooks]

    told = set(re.findall(r"\w+", _section("Public names")))
    assert [name for name in names if name not in told] == []


def test_what_a_registry_can_is_all_told_of():
    """Each public method and attribute of the registry stands in the tables by audience."""
    told = set(re.findall(r"\w+", _section("Public names")))
    names = {name for name in vars(plugreg.PluginRegistry) if not name.startswith("_")}

    assert names - told == set()


def test_states_and_stages_are_all_told_of():
    """The life of a plugin names every state, and every stage at which it can fail."""
    told = set(re.findall(r"`(\w+)`", _section("The life of a plugin")))
    words = {*map(str, plugreg.PluginState), *map(str, plugreg.Stage)}

    assert words - told == set()


def test_floors_are_those_of_the_house():
    """The table of floors has every room, and no room stands below one that it imports from."""
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", _section("How it is built"), re.MULTILINE)
    floors = {room: int(floor) for floor, rooms in rows for room in re.findall(r"`(\w+)`", rooms)}
    package = Path(plugreg.__file__).parent
    there = {each.name.removesuffix(".py"): each for each in package.iterdir()}
    del there["__init__"], there["py.typed"]
    there.pop("__pycache__", None)

    assert floors.keys() == there.keys()
    for room, place in there.items():
        files = place.rglob("*.py") if place.is_dir() else [place]
        text = "\n".join(each.read_text(encoding="utf-8") for each in files)
        used = set(re.findall(r"^\s*from plugreg\.(\w+)", text, re.MULTILINE)) - {room}
        assert {each for each in used if floors[each] >= floors[room]} == set(), room


def test_named_files_and_commands_are_there():
    """Each path that the README names exists, and make knows each target."""
    paths = set(re.findall(r"`((?:[\w.]+/)+[\w.]*)`", README))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    assert {"tests/test_invariants.py", "sample_plugins/", ".ci/run"} <= paths
    assert [each for each in sorted(paths) if not (ROOT / each).exists()] == []
    for target in re.findall(r"`make (\w+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
