"""README and docs are true: code runs, tables are complete, links lead somewhere."""

from __future__ import annotations

import dataclasses
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
from plugreg._calls.outcome import Outcome
from plugreg.hooks import PlugregSpecs
from plugreg.mixins import ActionMixin, NotificationMixin, ValidationMixin
from plugreg.records import LoadReport, PluginFailure, PluginRecord, PluginSpec

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
)


def _blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def _page(name):
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_host_and_plugin_of_the_first_screen_run(site, tmp_path):
    """The ten lines of a host find the ten lines of a plugin, and print the shown output."""
    host, plugin = _blocks("python")
    (entry_points,) = _blocks("toml")
    groups = tomllib.loads(entry_points)["project"]["entry-points"]
    site.dist("shop-discount", entry_points=groups, modules={"shop_discount.py": plugin})
    path = [str(site), str(Path(plugreg.__file__).parents[1])]

    # Twice, since the host says that switching on is remembered.
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


def test_the_page_on_capabilities_runs():
    """A host that is written like that notifies, validates and acts, whatever a plugin raises."""

    class Sound(NotificationMixin, ValidationMixin, ActionMixin, plugreg.Plugin):
        ACTION_NAME = "count"

        def send_notification(self, target, category, users, context):
            return (target, category, users, context) == ("part", "stock", ["ann"], {})

        def validate_item(self, item):
            self.raise_error(f"{item} does not keep")

        def perform_action(self, user=None, data=None):
            self.data = data

        def get_info(self, user=None, data=None):
            return self.data

    class Faulty(Sound):
        def fail(self, *args, **kwargs):
            raise ValueError("no")

        send_notification = validate_item = perform_action = fail

    [code] = re.findall(r"^```python\n(.*?)^```$", _page("host/capabilities.md"), re.M | re.S)
    plugins = {"builtin": [("faulty", Faulty), ("sound", Sound)], "new_plugins": "active"}
    with plugreg.PluginRegistry("shop", **plugins) as registry:
        registry.load()
        host = {"registry": registry}
        exec(code, host)

        assert host["notify"]("part", ["ann"]) == ["sound"]
        assert host["refusals"]("ice") == ["ice does not keep"]
        assert host["act"]("count", 7) == [{"action": "count", "result": False, "info": 7}]
        assert [each.slug for each in registry.errors] == ["faulty"] * 3


@pytest.mark.parametrize("language", ["python"])
def test_host_and_plugin_are_about_ten_lines(language):
    """Host and plugin are as short as a newcomer can take in, and fit the width of a page."""
    for block in _blocks(language):
        lines = block.splitlines()
        assert len([each for each in lines if each]) <= 10
        assert max(map(len, lines)) <= 100


def test_dependencies_are_all_named():
    """Dependencies of plugreg are named in the README, one name for each."""
    needed = [each for each in requires("plugreg") or () if "extra ==" not in each]
    names = {re.match(r"[\w-]+", each).group() for each in needed}

    assert len(names) == 5
    assert "five dependencies" in README
    for name in names:
        assert re.search(rf"\b{name}\b", README), name


def test_public_names_are_all_told_of():
    """Whoever looks for a name finds it in the tables, with its purpose."""
    hooks = [name for name in vars(PlugregSpecs) if name.startswith("plugreg_")]
    mixins = [name for name in plugreg.mixins.__all__ if name != "MIXINS"]
    names = [*plugreg.__all__, *mixins, *plugreg.storage.__all__, *hooks]

    told = set(re.findall(r"\w+", _page("reference/names.md")))
    assert [name for name in names if name not in told] == []


def test_what_a_registry_can_is_all_told_of():
    """Each public method and attribute of the registry stands in the tables by audience."""
    told = set(re.findall(r"\w+", _page("reference/names.md")))
    names = {name for name in vars(plugreg.PluginRegistry) if not name.startswith("_")}

    assert names - told == set()


@pytest.mark.parametrize("cls", [PluginRecord, Outcome, PluginFailure, LoadReport, PluginSpec])
def test_fields_are_all_described(cls):
    """Each public field and property of a record stands in its table, and no other does."""
    page = _page("reference/records.md")
    (table,) = re.findall(rf"^## {cls.__name__}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    described = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)))
    properties = [name for name, member in vars(cls).items() if isinstance(member, property)]
    names = {*(field.name for field in dataclasses.fields(cls)), *properties}

    assert sorted(described) == sorted(name for name in names if not name.startswith("_"))


def test_states_and_stages_are_all_told_of():
    """The life of a plugin names every state, and every stage at which it can fail."""
    told = set(re.findall(r"`(\w+)`", _page("reference/life.md")))
    words = {*map(str, plugreg.PluginState), *map(str, plugreg.Stage)}

    assert words - told == set()


def test_readme_is_one_page():
    """A newcomer can read all of it before deciding."""
    assert len(README.splitlines()) <= 120


def test_links_lead_somewhere():
    """Each relative link of each page leads to a file of the repository."""
    links = [
        (page, target.partition("#")[0])
        for page in PAGES
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
        if "://" not in target
    ]

    assert len(links) > len(PAGES)
    assert [link for link in links if not (link[0].parent / link[1]).exists()] == []


def test_every_page_is_in_the_contents():
    """No page is hidden: the page of contents of its folder names it, or takes whatever is there.

    A build of the documentation fails, too, where a page is in no contents.
    """
    for folder in [each for each in (ROOT / "docs").iterdir() if list(each.glob("*.md"))]:
        entries = set((folder / "index.md").read_text(encoding="utf-8").splitlines())
        names = {page.stem for page in folder.glob("*.md")} - {"index"}
        assert "*" in entries or names <= entries, folder


def test_named_files_and_commands_are_there():
    """Each path that a page names exists, and make knows each target."""
    texts = [page.read_text(encoding="utf-8") for page in PAGES if page.parent.name != "benchmarks"]
    paths = {path for text in texts for path in re.findall(r"`((?:[\w.]+/)+[\w.]*)`", text)}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    assert {"tests/test_invariants.py", "sample_plugins/", "docs/examples/worker.py"} <= paths
    # A path that begins with no folder of the repository is an address, or a host's file; and
    # files that make builds are there afterwards.
    folders = {path.name for path in ROOT.iterdir()} - {"build"}
    ours = [path for path in sorted(paths) if path.partition("/")[0] in folders]
    assert [path for path in ours if not (ROOT / path).exists()] == []
    targets = {target for text in texts for target in re.findall(r"`make ([\w-]+)", text)}
    assert {"demo", "serve", "test"} <= targets
    for target in sorted(targets):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
