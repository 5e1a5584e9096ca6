"""Building a snapshot: aside from the one that serves, and without a trace if it fails."""

from __future__ import annotations

import sys
from functools import partial

import pytest

from plugreg import Plugin, PluginState, Stage, hookimpl, hookspec
from plugreg._lifecycle.activate import Activator
from plugreg._lifecycle.binding import BoundContext
from plugreg._lifecycle.build import Activations, Builder
from plugreg._lifecycle.load import Acceptance, load
from plugreg._state.plugin_rows import PluginRows
from plugreg._support.slugs import Slug
from plugreg.discovery import objects
from plugreg.hooks import PluginManager, PlugregSpecs
from plugreg.mixins import MIXINS
from plugreg.records import Discovery, HostRules, PluginFacts, Snapshot, Source
from plugreg.registry import PluginRegistry
from plugreg.settings.store import SettingsStore
from plugreg.storage import MemoryStorage

GROUP = "build.plugins"


class Hooks:
    @hookspec
    def price(self, item):
        """Return a price."""


class Noting(Plugin):
    """Keeps its notifications in ``log``, which each test replaces."""

    log: list[str] = []

    @hookimpl
    def plugreg_activated(self):
        self.log.append(f"+{self.slug}")

    @hookimpl
    def plugreg_deactivating(self):
        self.log.append(f"-{self.slug}")


@pytest.fixture
def log(monkeypatch):
    monkeypatch.setattr(Noting, "log", [])
    return Noting.log


class Manager(PluginManager):
    """Says of each plugin that it is in service, though nothing is put on it."""

    def is_taken_in(self, name):
        return True


class Yard:
    """A builder with its real collaborators, and a manager that nothing is put on."""

    def __init__(self):
        self.rules = HostRules(new_plugins_active=True)
        self.described: list[str] = []
        self.remembered: list[str] = []
        self.manager = Manager("build")
        self.manager.add_hookspecs(PlugregSpecs)
        storage = MemoryStorage()
        self.plugin_rows = PluginRows(storage)
        store = SettingsStore(storage, lambda *_: None)
        open_context = partial(BoundContext, store, self.plugin_rows)
        activations = Activations()
        self.builder = Builder(
            rules=self.rules,
            describe=self.describe,
            manager=self.manager,
            activations=activations,
            load=self.load,
            activate=Activator(
                MIXINS, frozenset(), self.manager, open_context, activations
            ).activate,
            quarantine=None,
            isolation=None,
            off=frozenset(),
        )

    def load(self, spec):
        return load(spec, self.rules, Acceptance(self.manager.has_implementations))

    def describe(self, spec):
        self.described.append(spec.slug)
        return PluginFacts()

    def remember(self, specs, *, few=False):
        self.remembered += [spec.slug for spec in specs]
        return self.plugin_rows.remember(specs, self.rules, few=few)

    def build(self, *given, previous=None, **options):
        found = objects.find(given, source=Source.BUILTIN)
        return self.builder.build(
            previous or Snapshot(),
            Discovery(specs=found.specs),
            (),
            self.remember,
            **options,
        )


class TestBuilder:
    def test_nothing_is_put_into_service(self, log):
        """A build activates plugins; hooks and snapshot are exchanged by whoever asked."""
        yard = Yard()
        built = yard.build(("a", Noting), ("b", Noting))
        assert log == ["+a", "+b"]
        assert [plugin.slug for plugin in built.added] == ["a", "b"]
        assert list(built.snapshot.active) == ["a", "b"]
        assert yard.manager.get_plugins() == set()

    @pytest.mark.parametrize(("remake", "calls"), [("changed", []), ("objects", ["+a", "+b"])])
    def test_how_much_is_made_anew(self, log, remake, calls):
        """Unchanged plugins are kept as they are, unless all are to be made again."""
        yard = Yard()
        first = yard.build(("a", Noting), ("b", Noting)).snapshot
        log.clear()
        second = yard.build(("a", Noting), ("b", Noting), previous=first, remake=remake)
        assert log == calls
        assert [plugin.slug for plugin in second.added] == [entry[1:] for entry in calls]
        kept = [
            plugin for plugin in second.snapshot.active.values() if plugin in first.active.values()
        ]
        assert len(kept) == 2 - len(calls)

    def test_what_leaves_leaves_in_reverse(self, log):
        """``removed`` is the order of tearing down, which the build itself does not do."""
        yard = Yard()
        first = yard.build(("a", Noting), ("b", Noting), ("c", Noting)).snapshot
        built = yard.build(("a", Noting), previous=first)
        assert [plugin.slug for plugin in built.removed] == ["c", "b"]
        assert log == ["+a", "+b", "+c"]
        assert built.snapshot.plugins["c"].state is PluginState.MISSING

    def test_no_more_is_touched_than_asked_for(self, log):
        """With ``only`` the others keep the state they have, even where another one is due."""
        yard = Yard()
        given = [(slug, Noting) for slug in "abc"]
        yard.plugin_rows.set_active(dict.fromkeys([Slug("b"), Slug("c")], False))
        first = yard.build(*given).snapshot
        yard.plugin_rows.set_active(dict.fromkeys([Slug("b"), Slug("c")], True))
        yard.plugin_rows.set_active(dict.fromkeys([Slug("a")], False))
        built = yard.build(*given, previous=first, only=frozenset({"b"}))
        assert log == ["+a", "+b"]
        assert [plugin.slug for plugin in built.added] == ["b"]
        assert list(built.snapshot.active) == ["a", "b"]
        assert built.snapshot.plugins["c"].state is PluginState.INACTIVE
        assert built.snapshot.wished == {"a", "b"}

    def test_no_more_is_touched_where_all_are_looked_at(self, log):
        """That one brings others changes nothing for those that were wanted otherwise meanwhile."""

        class Mother(Noting):
            @hookimpl
            def plugreg_plugins(self):
                return [("z", Noting)]

        yard = Yard()
        given = [("a", Noting), ("b", Mother), ("c", Noting)]
        yard.plugin_rows.set_active(dict.fromkeys([Slug("b"), Slug("c")], False))
        first = yard.build(*given).snapshot
        yard.plugin_rows.set_active(dict.fromkeys([Slug("b"), Slug("c")], True))
        yard.plugin_rows.set_active(dict.fromkeys([Slug("a")], False))
        built = yard.build(*given, previous=first, only=frozenset({"b"}))
        assert log == ["+a", "+b", "+z"]
        assert built.removed == ()
        assert list(built.snapshot.active) == ["a", "b", "z"]
        assert built.snapshot.plugins["c"].state is PluginState.INACTIVE
        assert built.snapshot.wished == {"a", "b", "z"}

    def test_a_row_is_read_once(self, log):
        """Values that another process stores while a build runs are left to the next refresh."""

        class Mother(Noting):
            @hookimpl
            def plugreg_plugins(self):
                return [("z", Noting)]

        yard = Yard()
        given = [("a", Noting), ("b", Mother)]
        yard.plugin_rows.set_active(dict.fromkeys([Slug("b")], False))
        first = yard.build(*given).snapshot
        yard.plugin_rows.set_active(dict.fromkeys([Slug("b")], True))
        remember = yard.remember

        def switched_off(specs, *, few=False):
            if not few:
                yard.plugin_rows.set_active(dict.fromkeys([Slug("b")], False))
            return remember(specs, few=few)

        yard.remember = switched_off
        built = yard.build(*given, previous=first, only=frozenset({"b"}))
        assert log == ["+a", "+b", "+z"]
        assert list(built.snapshot.active) == ["a", "b", "z"]
        assert built.snapshot.wished == {"a", "b", "z"}
        assert built.failures == ()

    def test_a_brought_plugin_goes_and_comes_with_its_bringer(self, log):
        """Whether it is on or not, and also where another plugin is all that is touched."""

        class Mother(Noting):
            @hookimpl
            def plugreg_plugins(self):
                return [("y", Noting), ("z", Noting)]

        yard = Yard()
        given = [("a", Noting), ("b", Mother), ("c", Noting)]
        yard.plugin_rows.set_active({Slug("y"): False})
        first = yard.build(*given).snapshot
        assert list(first.active) == ["a", "b", "c", "z"]
        yard.plugin_rows.set_active({Slug("b"): False})
        only = frozenset({"b", *first.dependants("b")})
        off = yard.build(*given, previous=first, only=only)
        assert list(off.snapshot.active) == ["a", "c"]
        assert [plugin.slug for plugin in off.removed] == ["z", "b"]
        assert {off.snapshot.plugins[slug].state for slug in "yz"} == {PluginState.MISSING}
        yard.plugin_rows.set_active({Slug("b"): True})
        on = yard.build(*given, previous=off.snapshot, only=frozenset({"b"}))
        assert list(on.snapshot.active) == ["a", "b", "c", "z"]
        assert on.snapshot.plugins["y"].state is PluginState.INACTIVE
        assert list(on.snapshot.plugins) == ["a", "b", "c", "y", "z"]
        assert on.failures == ()

    def test_a_brought_plugin_that_another_brings_too_stays(self, log):
        """It goes only with the last plugin that brings it."""

        class Mother(Noting):
            @hookimpl
            def plugreg_plugins(self):
                return [("z", "tests.shop:Tea")]

        yard = Yard()
        given = [("a", Mother), ("b", Mother)]
        first = yard.build(*given).snapshot
        assert first.plugins["z"].spec is not None
        for slug, is_there in (("a", True), ("b", False)):
            yard.plugin_rows.set_active({Slug(slug): False})
            only = frozenset({slug, *first.dependants(slug)})
            first = yard.build(*given, previous=first, only=only).snapshot
            assert (first.plugins["z"].spec is not None) is is_there

    def test_others_are_not_even_looked_at(self, log):
        """Where one plugin is switched, neither facts nor rows of others are asked for."""
        yard = Yard()
        given = [(slug, Noting) for slug in "abc"]
        yard.plugin_rows.set_active(dict.fromkeys([Slug("b")], False))
        first = yard.build(*given).snapshot
        yard.plugin_rows.set_active(dict.fromkeys([Slug("b")], True))
        yard.described.clear()
        yard.remembered.clear()
        built = yard.build(*given, previous=first, only=frozenset({"b"}))
        assert (yard.described, yard.remembered) == (["b"], ["b"])
        assert list(built.snapshot.active) == ["a", "b", "c"]
        assert built.snapshot.plugins["c"] is first.plugins["c"]

    def test_an_instance_is_kept_and_not_notified(self, log):
        """It cannot be made again; the known facts about it may have changed."""
        yard = Yard()
        plugin = Noting()
        first = yard.build(("a", plugin)).snapshot
        built = yard.build(("a", plugin), previous=first, remake="objects")
        assert log == ["+a"]
        assert built.updated == {"a"}
        assert built.snapshot.active["a"].plugin is plugin

    def test_what_interrupts_it_leaves_no_trace(self, log):
        """All that was newly made is torn down, last one first; nothing of before is."""

        class Interrupts(Plugin):
            @hookimpl
            def plugreg_activated(self):
                raise KeyboardInterrupt

        yard = Yard()
        first = yard.build(("a", Noting)).snapshot
        with pytest.raises(KeyboardInterrupt):
            yard.build(
                ("a", Noting), ("b", Noting), ("c", Noting), ("d", Interrupts), previous=first
            )
        assert log == ["+a", "+b", "+c", "-c", "-b"]

    def test_a_fault_costs_its_plugin(self, log):
        """The others are built, and the plugin's line names the object."""
        yard = Yard()

        class Bad(Noting):
            def __init__(self):
                raise OSError("no")

        built = yard.build(("a", Noting), ("b", Bad), ("c", Noting))
        assert list(built.snapshot.active) == ["a", "c"]
        assert built.snapshot.plugins["b"].state is PluginState.FAILED
        assert [(failure.stage, failure.slug) for failure in built.failures] == [(Stage.INIT, "b")]
        assert built.tried == {"a", "b", "c"}


def source(value):
    return (
        "from plugreg import Plugin, hookimpl\n"
        "class Tea(Plugin):\n"
        "    @hookimpl\n"
        "    def price(self, item):\n"
        f"        return {value}\n"
    )


@pytest.fixture(autouse=True)
def _modules(site, monkeypatch):
    """Make the site importable, and remove its imported modules."""
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def registry():
    with PluginRegistry("build", hookspecs=[Hooks], new_plugins="active") as registry:
        yield registry


class TestNeeds:
    def test_one_that_fails_at_load_fails_its_dependants(self, site, registry):
        """Each dependant has a failure of its own, which names the way to the one that failed."""
        broken = "raise OSError('no water')\n"
        for name, need, code in (
            ("water", None, broken),
            ("tea", "water", source(1)),
            ("party", "tea", source(2)),
            ("cake", None, source(3)),
        ):
            site.dist(
                name,
                entry_points={GROUP: {name: f"tb_{name}:Tea"}},
                metadata=f"Requires-Dist: {need}\n" if need else "",
                modules={f"tb_{name}.py": code},
            )
        registry.load()
        assert list(registry.active) == ["cake"]
        found = {failure.slug: (failure.stage, failure.message) for failure in registry.errors}
        assert found["water"] == (Stage.IMPORT, "OSError: no water")
        assert found["tea"] == (Stage.RESOLVE, "needs 'water', which failed")
        assert found["party"] == (
            Stage.RESOLVE,
            "needs 'tea', which needs 'water', which failed",
        )
        assert registry.get("party").state is PluginState.FAILED
        assert "tb_tea" not in sys.modules

        (site.folder / "tb_water.py").write_text(source(4))
        registry.reload()
        assert list(registry.active) == ["cake", "water", "tea", "party"]
        assert registry.errors == ()


class TestModules:
    def test_a_failed_code_reload_puts_them_back(self, site, registry):
        """Others that hold on to a plugin's modules find the ones they had."""
        modules = {
            "tb_tea/__init__.py": "",
            "tb_tea/leaf.py": "GRAMS = 2\n",
            "tb_tea/plugin.py": f"from tb_tea import leaf\n{source(1)}",
        }
        site.dist("tea", entry_points={GROUP: {"tea": "tb_tea.plugin:Tea"}}, modules=modules)
        registry.load()
        names = ("tb_tea", "tb_tea.leaf", "tb_tea.plugin")
        before = {name: sys.modules[name] for name in names}
        (site.folder / "tb_tea" / "__init__.py").write_text("raise OSError('no')\n")
        registry.reload(full=True)
        assert registry.get("tea").state is PluginState.FAILED
        assert {name: sys.modules.get(name) for name in names} == before
        assert sys.modules["tb_tea"].leaf is before["tb_tea.leaf"]

    def test_a_namespace_package_has_them_back_too(self, site, registry):
        """``from namespace import module`` returns the same object as before."""
        site.dist(
            "tea",
            entry_points={GROUP: {"tea": "tb_ns.tea:Tea"}},
            modules={"tb_ns/tea.py": source(1)},
        )
        registry.load()
        namespace, before = sys.modules["tb_ns"], sys.modules["tb_ns.tea"]
        (site.folder / "tb_ns" / "tea.py").write_text("raise OSError('no')\n")
        registry.reload(full=True)
        assert registry.get("tea").state is PluginState.FAILED
        assert sys.modules["tb_ns.tea"] is namespace.tea is before

    def test_all_plugins_of_a_distribution_run_the_same_code(self, site, registry):
        """Its modules are taken away once, so that the second finds those of the first."""
        site.dist(
            "tea",
            entry_points={GROUP: {"one": "tb_one:Tea", "two": "tb_two:Tea"}},
            modules={
                "tb_core.py": "",
                "tb_one.py": f"import tb_core\n{source(1)}",
                "tb_two.py": f"import tb_core\n{source(2)}",
            },
        )
        registry.load()
        old = sys.modules["tb_core"]
        registry.reload(full=True)
        assert sys.modules["tb_core"] is not old
        assert sys.modules["tb_one"].tb_core is sys.modules["tb_two"].tb_core
        assert sys.modules["tb_one"].tb_core is sys.modules["tb_core"]
