"""The effects of a start: imported modules, and opened files. Counted, not timed.

Each count is made in a fresh interpreter, with an audit hook that sees opened and listed files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
import typing
from pathlib import Path

import pytest

import plugreg
from plugreg import _support, exceptions, records
from plugreg._calls import outcome
from plugreg.settings import definition

HEAVY = ("pydantic", "tinydb", "importlib_metadata", "sqlalchemy", "packaging.requirements")

ON_THE_WAY = """
    plugin records registry
    _calls _calls.dispatcher
    _lifecycle _lifecycle.assembly _lifecycle.build
    _lifecycle.change_queue _lifecycle.lifecycle _lifecycle.publishing _lifecycle.recording
    _lifecycle.resolve _lifecycle.snapshot
    _state _state.ledger _state.plugin_rows _state.probe_rows _state.published
    _support _support.frozen _support.guard _support.slugs
    discovery discovery.entry_points
    hooks hooks._exchanging hooks._manager hooks._specs
    hooks._tables
    mixins
    settings settings.store settings.values
    storage storage.base storage.memory
"""
"""The modules that a start without plugins imports."""

WITH_A_PLUGIN = """
    hooks._rows _lifecycle.activate _lifecycle.binding _lifecycle.catalogue _lifecycle.load
    discovery.facts
"""
"""The modules that the first plugin brings in which has no settings and no capability."""

PLUGIN = """
from plugreg import Plugin, hookimpl

class Tax(Plugin):
    @hookimpl
    def price(self, item):
        return 1.0
"""

COUNTING = """
import sys
from pathlib import Path

seen = []
on = False

def hook(event, args):
    if on and event in ("open", "os.listdir", "os.scandir"):
        seen.append(str(args[0]))

sys.addaudithook(hook)
site, index, verify = sys.argv[1], sys.argv[2] or None, sys.argv[3] == "1"
sys.path.append(site)

from plugreg import PluginRegistry, hookspec

class Hooks:
    @hookspec
    def price(self, item: str) -> float | None: ...

def load():
    registry = PluginRegistry(
        "shop", host_version="2.0", hookspecs=[Hooks], mandatory=["tax"],
        index=index, index_verify=verify,
    )
    registry.load()
    return registry

# What is imported at its first use is imported now; and what an index needs is written.
load().close()
on = True
registry = load()
on = False
"""


def run(code, *arguments):
    """Run code in a fresh interpreter that finds plugreg, and return its output as JSON."""
    root = Path(plugreg.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def filled(site):
    """Return a function that fills the site with a wanted plugin, others, and distributions."""

    def fill(others):
        site.dist(
            "shop-tax",
            "1.0",
            {"shop.plugins": {"tax": "shop_tax:Tax"}},
            metadata="Summary: Taxes\nRequires-Dist: shop >= 1.0\n",
            modules={"shop_tax.py": PLUGIN},
        )
        for number in range(others):
            site.dist(f"other-{number}", "1.0", {"shop.plugins": {f"other-{number}": "no:No"}})
            site.dist(f"library-{number}", "1.0")
        old = time.time() - 60
        for place in (site.folder, *site.folder.rglob("*")):
            os.utime(place, (old, old))
        return site.folder

    return fill


def within(seen, folder):
    return [each for each in seen if each.startswith(str(folder))]


class TestModules:
    def test_the_four_names_bring_in_no_part_of_a_registry(self):
        """A plugin's module, and a program that makes no registry, wait for no collaborator."""
        loaded = run(
            """
            import json, sys
            from plugreg import PluginRegistry, Plugin, hookspec, hookimpl
            print(json.dumps(sorted(sys.modules)))
            """
        )

        parts = {each.split(".")[1] for each in loaded if each.startswith("plugreg.")}
        assert parts <= {"_support", "hooks", "plugin", "registry"}
        assert {each for each in loaded if each.startswith("plugreg.hooks.")} == {
            "plugreg.hooks._specs",
        }
        assert set(HEAVY).isdisjoint(loaded)
        assert "packaging" not in loaded

    def test_a_load_brings_in_no_heavy_module(self, filled):
        """With the storage in memory, and plugins installed of which one is active."""
        loaded = run(
            COUNTING
            + """
import json
assert list(registry.active) == ["tax"], registry.errors
print(json.dumps(sorted(sys.modules)))
            """,
            filled(3),
            "",
            0,
        )

        assert set(HEAVY).isdisjoint(loaded)

    def test_a_start_without_plugins_brings_in_no_other_module(self):
        """Each one costs every process of every host time. Later imports cost few."""
        loaded = run(
            """
            import json, sys
            from plugreg import PluginRegistry
            PluginRegistry("shop").load()
            print(json.dumps(sorted(name for name in sys.modules if name.startswith("plugreg."))))
            """
        )

        assert {name.removeprefix("plugreg.") for name in loaded} == set(ON_THE_WAY.split())

    def test_a_load_brings_in_what_its_plugins_use(self, filled):
        """No capability, definition of settings or observer, since the one plugin has none."""
        loaded = run(
            COUNTING
            + """
import json
print(json.dumps(sorted(name for name in sys.modules if name.startswith("plugreg."))))
            """,
            filled(3),
            "",
            0,
        )

        ours = {name.removeprefix("plugreg.") for name in loaded}
        assert ours == {*ON_THE_WAY.split(), *WITH_A_PLUGIN.split()}

    def test_a_capability_may_come_after_the_registry(self):
        """A plugin has the capabilities whose modules its own module was the first to import."""
        found = run(
            """
            import json, sys
            from plugreg import Plugin, PluginRegistry
            registry = PluginRegistry("shop")
            registry.load()
            assert "plugreg.mixins.mail" not in sys.modules
            from plugreg.mixins import MailMixin
            class Post(MailMixin, Plugin):
                pass
            registry.register(Post(), "post")
            print(json.dumps([*registry.get("post").mixins, len(registry.with_mixin("mail"))]))
            """
        )

        assert found == ["base", "mail", 1]

    def test_the_first_error_brings_in_the_errors(self):
        """A start raises none of them; what a caller catches by its name is what is raised."""
        found = run(
            """
            import json, sys
            import plugreg
            registry = plugreg.PluginRegistry("shop")
            registry.load()
            before = "plugreg.exceptions" in sys.modules
            try:
                registry.get("tea")
            except plugreg.PluginNotFoundError as error:
                print(json.dumps([before, type(error).__module__, error.slug]))
            """
        )

        assert found == [False, "plugreg.exceptions", "tea"]

    def test_names_that_come_late_are_those_of_their_modules(self):
        """Names that are imported at their first use are offered like the rest."""
        for name in ("LoadReport", "PluginFailure", "PluginRecord", "PluginState", "Stage"):
            assert getattr(plugreg, name) is getattr(records, name)
        assert plugreg.SettingDefinition is definition.SettingDefinition
        assert plugreg.Outcome is outcome.Outcome
        errors = {name for name in plugreg.__all__ if name in vars(exceptions)}
        assert len(errors) > 30
        for name in errors:
            assert getattr(plugreg, name) is getattr(exceptions, name)
            assert getattr(_support.exceptions, name) is getattr(exceptions, name)
        assert set(plugreg.__all__) <= set(dir(plugreg))

    def test_the_annotations_of_a_plugin_can_be_evaluated(self):
        """Libraries that make classes from annotations ask for those of the bases too."""

        class Tax(plugreg.Plugin):
            rate: float = 0.5

        assert typing.get_type_hints(Tax)["rate"] is float


class TestFiles:
    SEEN = COUNTING + "\nimport json\nprint(json.dumps(seen))\n"

    def test_a_load_reads_each_file_once_and_metadata_of_the_wanted_alone(self, filled):
        """One listing, each entry_points.txt, and one METADATA; nothing of inactive plugins."""
        folder = filled(5)

        seen = within(run(self.SEEN, folder, "", 0), folder)

        entries = [f"{folder}/other_{number}-1.0.dist-info/entry_points.txt" for number in range(5)]
        tax = f"{folder}/shop_tax-1.0.dist-info"
        assert sorted(seen) == sorted(
            [str(folder), *entries, f"{tax}/entry_points.txt", f"{tax}/METADATA"]
        )

    @pytest.mark.parametrize("verify", [0, 1])
    def test_with_an_index_the_count_does_not_grow(self, filled, tmp_path, verify):
        """The index, the METADATA of the plugin that is wanted, and no file of any other."""
        folder = filled(40)
        index = tmp_path / "plugins.index"

        seen = run(self.SEEN, folder, index, verify)

        assert seen.count(str(index)) == 1
        assert within(seen, folder) == [f"{folder}/shop_tax-1.0.dist-info/METADATA"]

    def test_look_ups_touch_no_file(self, filled):
        """Ten thousand of them, of every kind that a request makes."""
        seen = run(
            COUNTING
            + """
import json

def look_up():
    registry.get("tax").state
    registry.with_mixin("base")
    registry.active["tax"]
    registry.plugins["other-1"]
    registry.call("price", item="tea")
    registry.settings("tax")
    registry.errors

registry.settings("tax")  # Its modules are imported at the first use.
seen.clear()
on = True
for _ in range(10_000):
    look_up()
on = False
print(json.dumps(seen))
            """,
            filled(3),
            "",
            0,
        )

        assert seen == []
