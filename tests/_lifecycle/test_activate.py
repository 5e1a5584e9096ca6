"""Activation: its steps, their order, and how it is undone."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from plugreg import Plugin, hookimpl, hookspec
from plugreg._lifecycle.activate import Activator
from plugreg._lifecycle.build import Activations
from plugreg._support.slugs import Slug
from plugreg.hooks import PluginManager, PlugregSpecs
from plugreg.mixins import MIXINS, MixinSpec, SettingsMixin
from plugreg.plugin import bind
from plugreg.records import LoadedPlugin, PluginSpec, Source, Stage


class Hooks:
    @hookspec
    def price(self, item):
        """Return a price."""


class First:
    pass


class Second:
    pass


class Context:
    """The context of a plugin; nobody stores anything."""

    def __init__(self, house, slug, declared):
        self.slug = slug
        self.migrate = lambda plugin: house.migrate(slug, plugin, declared)

    def watch_settings(self):
        pass

    def changed_settings(self):
        return frozenset()

    def unwatch_settings(self):
        pass


def raising(error=None):
    def method(*_, **__):
        raise error or OSError("no")

    return method


class Log(list):
    """The calls, in order, and rows of a host that write there."""

    def row(self, key, cls, order, **fields):
        def activate(plugin, full):
            self.append(f"+{key} full" if full else f"+{key}")

        def deactivate(plugin):
            self.append(f"-{key}")

        fields = {"activate": activate, "deactivate": deactivate, **fields}
        return MixinSpec(key, key.title(), cls, order=order, **fields)


class House:
    """An activator with two rows of a host's, which write to its log."""

    def __init__(self, first=(), second=(), off=()):
        self.log = Log()
        self.bound = []
        self.migrated = []
        self.manager = PluginManager("shop")
        self.manager.add_hookspecs(PlugregSpecs)
        self.manager.add_hookspecs(Hooks)
        # Listed against their order, which decides.
        rows = (
            *MIXINS,
            self.log.row("second", Second, 60, **dict(second)),
            self.log.row("first", First, 50, **dict(first)),
        )
        self.activations = Activations()
        self.activator = Activator(rows, frozenset(off), self.manager, self.open, self.activations)

    def open(self, slug, declared):
        return self.open_context(slug, declared)

    def open_context(self, slug, declared):
        self.bound.append((slug, declared.settings, declared.user_settings))
        return Context(self, slug, declared)

    def migrate(self, slug, plugin, declared):
        self.migrated.append((slug, declared.version, is_bound(plugin), [*self.log]))

    def activate(self, plugin, *, full=False):
        spec = PluginSpec(
            slug=Slug("tea"), name="tea", value="tea", source=Source.BUILTIN, target=plugin
        )
        loaded = LoadedPlugin(spec=spec, plugin=plugin, name="tea", title="tea", version=None)
        return self.activator.activate(loaded, (0,), full=full)

    def plugin(self, *bases, **members):
        """Make an object whose own hooks write to the log, and whether it is bound then."""
        log = self.log

        class Tea(*bases, First, Second, Plugin):
            @hookimpl
            def plugreg_activated(self):
                log.append(f"activated {is_bound(self)}")

            @hookimpl
            def plugreg_deactivating(self):
                log.append(f"deactivating {is_bound(self)}")

        for name, member in members.items():
            setattr(Tea, name, member)
        return Tea()


def is_bound(plugin):
    return "_plugreg_context" in vars(plugin)


def failed(activation, *subjects):
    """Check that nothing is active, and return the records, whose subjects are these."""
    assert activation.active is None
    assert [failure.subject for failure in activation.failures] == list(subjects)
    assert {failure.slug for failure in activation.failures} == {"tea"}
    return activation.failures


class TestActivate:
    def test_order(self):
        """Bind, rows by their order, plugreg_activated; then plugreg_plugins is asked."""
        house = House()
        plugin = house.plugin()
        type(plugin).plugreg_plugins = hookimpl(lambda self: house.log.append("plugins") or ())
        active = house.activate(plugin).active
        assert house.log == ["+first", "+second", "activated True", "plugins"]
        assert list(active.mixins.items()) == [
            ("base", "base"),
            ("first", "First"),
            ("second", "Second"),
        ]
        assert active.enabled == {"base", "first", "second"}

    def test_full_is_passed_to_rows_that_take_it(self):
        """Rows learn of a full reload; one that has no such parameter is called without."""
        house = House(second={"activate": lambda plugin: house.log.append("plain")})
        house.activate(house.plugin(), full=True)
        assert house.log[:2] == ["+first full", "plain"]

    def test_settings_are_parsed_and_handed_to_the_context(self):
        """The plugin is bound with its definitions before any of its code runs."""
        house = House()
        plugin = house.plugin(
            SettingsMixin, SETTINGS={"a": {"default": 1}}, USER_SETTINGS={"b": {}}
        )
        active = house.activate(plugin).active
        ((slug, settings, user_settings),) = house.bound
        assert (slug, list(settings), list(user_settings)) == ("tea", ["A"], ["B"])
        assert (active.settings, active.user_settings) == (settings, user_settings)

    def test_settings_are_migrated_once_bound_and_before_anything_runs(self):
        """The rows and ``plugreg_activated`` find settings of the plugin's own version."""
        house = House()
        house.activate(house.plugin(SettingsMixin, SETTINGS={"a": {}}, SETTINGS_VERSION=3))
        assert house.migrated == [("tea", 3, True, [])]

    def test_hooks_are_not_in_service_yet(self):
        """Taking them in is the registry's, when everything is ready."""
        house = House()
        plugin = house.plugin(price=hookimpl(lambda self, item: 1))
        active = house.activate(plugin).active
        assert house.manager.hook.price(item="tea") == []
        assert [name for name, _ in active.implementations.pairs].count("price") == 1

    def test_a_switched_off_row_is_shown_but_does_not_run(self):
        """Neither of its functions is called; the plugin's mixins still have it (section 11)."""
        house = House(off={"first"})
        active = house.activate(house.plugin()).active
        assert "first" in active.mixins
        house.activations.deactivate(active)
        assert house.log == [
            "+second",
            "activated True",
            "deactivating True",
            "-second",
        ]

    def test_a_row_that_is_not_enabled_is_shown_but_does_not_run(self):
        """The enabled rule decides for each plugin."""
        house = House(first={"enabled": "wants_first"})
        active = house.activate(house.plugin(wants_first=lambda self: False)).active
        assert "first" in active.mixins
        assert "first" not in active.enabled
        assert "+first" not in house.log

    def test_plugins_of_other_hosts_are_not_bound(self):
        """A module, or an object without the base class, has the base mixin and no context."""
        house = House()

        class Plain:
            @hookimpl
            def plugreg_activated(self):
                house.log.append("activated")

        plain = Plain()
        active = house.activate(plain).active
        assert dict(active.mixins) == {"base": "base"}
        assert not is_bound(plain)
        assert house.bound == [("tea", {}, {})]
        assert house.log == ["activated"]

    @pytest.mark.parametrize("error", [OSError("no"), SystemExit(1)])
    def test_an_object_that_does_not_tell_its_class(self, error):
        """``__class__`` is not asked: a plain object that forbids the look-up stays a fault."""
        house = House()
        cls = type("Shy", (), {"__class__": property(raising(error)), "__dir__": lambda self: []})
        active = house.activate(cls()).active
        assert house.activations.deactivate(active) == ()


class TestFailures:
    def test_a_hook_that_does_not_fit_its_spec(self):
        """Nothing else is begun."""
        house = House()
        plugin = house.plugin(price=hookimpl(lambda self, item, colour: 1))
        (failure,) = failed(house.activate(plugin), "")
        assert failure.stage is Stage.ACTIVATE
        assert "colour" in failure.message
        assert house.log == []
        assert not is_bound(plugin)

    def test_contracts_of_all_rows_are_reported_at_once(self):
        """Each faulty mixin has a record that names it, and nothing is begun."""
        house = House(
            first={"check": lambda plugin: ["TEA must be hot", "CUP must be there"]},
            second={"check": raising(SystemExit(1))},
        )
        plugin = house.plugin(SettingsMixin, SETTINGS={"a": {"default": "x", "validator": int}})
        failures = failed(house.activate(plugin), "settings", "first", "second")
        assert [failure.stage for failure in failures] == [Stage.ACTIVATE] * 3
        assert "SETTINGS['a']" in failures[0].message
        assert failures[1].message == "mixin 'first': TEA must be hot; CUP must be there"
        assert failures[2].message == "mixin 'second': SystemExit: 1"
        assert house.log == []
        assert not is_bound(plugin)

    def test_an_enabled_rule_that_raises(self):
        """Asking is a step like any other."""
        house = House(second={"enabled": "wants_second"})
        failed(house.activate(house.plugin(wants_second=property(raising()))), "second")
        assert house.log == []

    @pytest.mark.parametrize("answer", [raising(), lambda self: {"a b": {}}])
    def test_settings_that_change_while_they_are_read(self, answer):
        """A declaration that was sound when it was checked may fail when it is taken."""
        house = House()
        reads = []

        def declared(self):
            reads.append(1)
            return {"a": {}} if len(reads) < 3 else answer(self)

        plugin = house.plugin(SettingsMixin, SETTINGS=property(declared))
        (failure,) = failed(house.activate(plugin), "settings")
        assert failure.stage is Stage.ACTIVATE
        assert len(reads) == 3
        assert house.log == []
        assert not is_bound(plugin)

    def test_a_context_that_cannot_be_made(self):
        """The plugin stays unbound."""
        house = House()
        house.open_context = raising()
        plugin = house.plugin()
        failed(house.activate(plugin), "")
        assert house.log == []
        assert not is_bound(plugin)

    @pytest.mark.parametrize("error", [OSError("no"), SystemExit(1), RecursionError()])
    def test_a_migration_that_fails(self, error):
        """Nothing else runs, and the plugin is unbound."""
        house = House()
        house.migrate = raising(error)
        plugin = house.plugin()
        (failure,) = failed(house.activate(plugin), "settings migration")
        assert failure.stage is Stage.ACTIVATE
        assert house.log == []
        assert not is_bound(plugin)

    @pytest.mark.parametrize("version", [0, -1, True, "2", 1.0, None])
    def test_a_settings_version_is_a_whole_number(self, version):
        """Anything else is a fault of the contract, and shown."""
        house = House()
        plugin = house.plugin(SettingsMixin, SETTINGS_VERSION=version)
        (failure,) = failed(house.activate(plugin), "settings")
        assert failure.message.endswith(
            f"SETTINGS_VERSION must be a whole number from 1 on, not {version!r}"
        )
        assert house.migrated == []

    @pytest.mark.parametrize("error", [OSError("no"), SystemExit(1), RecursionError()])
    @pytest.mark.parametrize(
        ("step", "log"),
        [
            ("first", []),
            ("second", ["+first", "-first"]),
            ("plugreg_activated", ["+first", "+second", "-second", "-first"]),
        ],
    )
    def test_whichever_step_fails_what_was_done_is_undone_in_reverse(self, step, log, error):
        """The step that failed is named, not itself undone, and the plugin is unbound."""
        rows = {step: {"activate": raising(error)}} if step != "plugreg_activated" else {}
        house = House(**rows)
        members = {} if rows else {step: hookimpl(lambda self: raising(error)())}
        plugin = house.plugin(**members)
        (failure,) = failed(house.activate(plugin), step)
        assert failure.stage is Stage.ACTIVATE
        assert failure.exception_type == type(error).__name__
        assert house.log == log
        assert not is_bound(plugin)

    def test_a_fault_while_undoing_is_reported_and_stops_nothing(self):
        """Each undo step has a guard of its own."""
        house = House(second={"deactivate": raising(SystemExit(1))})
        plugin = house.plugin(plugreg_activated=hookimpl(lambda self: raising()()))
        failures = failed(house.activate(plugin), "plugreg_activated", "second")
        assert [failure.stage for failure in failures] == [Stage.ACTIVATE, Stage.DEACTIVATE]
        assert house.log == ["+first", "+second", "-first"]
        assert not is_bound(plugin)

    @pytest.mark.parametrize("step", ["second", "plugreg_activated", "plugreg_plugins"])
    def test_an_interrupt_passes_after_everything_was_undone(self, step):
        """Ctrl-C leaves no half-activated plugin: the step that it ends is undone, too."""
        interrupt = raising(KeyboardInterrupt())
        house = House(**({"second": {"activate": interrupt}} if step == "second" else {}))
        members = {} if step == "second" else {step: hookimpl(lambda self: interrupt())}
        plugin = house.plugin(**members)
        with pytest.raises(KeyboardInterrupt):
            house.activate(plugin)
        assert [line for line in house.log if line[0] == "-"] == ["-second", "-first"]
        assert not is_bound(plugin)

    def test_an_instance_of_another_registry_is_refused_and_stays_there(self):
        """Its binding is not touched."""
        house = House()
        plugin = house.plugin()
        elsewhere = Context(house, "milk", None)
        bind(plugin, elsewhere)
        (failure,) = failed(house.activate(plugin), "")
        assert "'milk'" in failure.message
        assert vars(plugin)["_plugreg_context"] is elsewhere
        assert house.log == []


class TestDeactivate:
    def test_undoes_in_reverse(self):
        """First the plugin is notified, still bound; then the rows, last one first."""
        house = House()
        plugin = house.plugin()
        active = house.activate(plugin).active
        house.log.clear()
        assert house.activations.deactivate(active) == ()
        assert house.log == ["deactivating True", "-second", "-first"]
        assert not is_bound(plugin)

    @pytest.mark.parametrize("error", [OSError("no"), SystemExit(1), RecursionError()])
    def test_each_step_has_a_guard_of_its_own(self, error):
        """Faults are records of stage deactivate, and no step is left out for them."""
        house = House(second={"deactivate": raising(error)})
        plugin = house.plugin(plugreg_deactivating=hookimpl(lambda self: raising(error)()))
        active = house.activate(plugin).active
        house.log.clear()
        failures = house.activations.deactivate(active)
        assert [(failure.stage, failure.subject) for failure in failures] == [
            (Stage.DEACTIVATE, "plugreg_deactivating"),
            (Stage.DEACTIVATE, "second"),
        ]
        assert house.log == ["-first"]
        assert not is_bound(plugin)

    def test_an_object_that_fails_when_it_is_unbound(self):
        """A plugin that turns hostile while it is active can still be let go of."""
        house = House()
        plugin = house.plugin()
        active = house.activate(plugin).active
        type(plugin).__getattribute__ = raising()
        failures = house.activations.deactivate(active)
        assert {failure.stage for failure in failures} == {Stage.DEACTIVATE}
        assert house.log[-2:] == ["-second", "-first"]

    def test_leaves_nothing_behind(self):
        """An object can be activated and deactivated 100 times, the same each time."""
        house = House()
        plugin = house.plugin()
        before = dict(vars(plugin))
        for _ in range(100):
            house.activations.deactivate(house.activate(plugin).active)
        assert vars(plugin) == before
        assert house.log == house.log[:6] * 100


class Pair(NamedTuple):
    name: str
    plugin: object


class TestBrought:
    def brought(self, answer):
        house = House()
        activation = house.activate(house.plugin(plugreg_plugins=hookimpl(lambda self: answer())))
        assert activation.active is not None
        return activation

    def test_specs_say_who_brought_them(self):
        """A plugin's further plugins are specs with ``brought_by``, and off until wanted."""
        target = object()
        activation = self.brought(lambda: [("Milk", target), ("cup", "shop.cup:Cup")])
        assert activation.failures == ()
        assert [
            (spec.slug, spec.source, spec.brought_by, spec.target)
            for spec in activation.active.brings
        ] == [
            ("cup", Source.BROUGHT, "tea", None),
            ("milk", Source.BROUGHT, "tea", target),
        ]

    def test_any_iterable_and_any_kind_of_pair(self):
        """A generator will do, and so will a named tuple."""
        activation = self.brought(lambda: iter([Pair("milk", object())]))
        assert [spec.slug for spec in activation.active.brings] == ["milk"]

    @pytest.mark.parametrize(
        "answer",
        [
            raising(),
            raising(SystemExit(1)),
            lambda: 5,
            lambda: ["milk"],
            lambda: [("milk",)],
            lambda: [(5, object())],
            lambda: [type("Bad", (), {"__repr__": raising()})()],
        ],
    )
    def test_a_fault_does_not_switch_the_plugin_off(self, answer):
        """It is a record of the plugin that answered so; nothing is brought."""
        activation = self.brought(answer)
        assert activation.active.brings == ()
        (failure,) = activation.failures
        assert (failure.stage, failure.slug) == (Stage.ACTIVATE, "tea")
        assert failure.subject == "plugreg_plugins"

    def test_one_that_cannot_be_named_costs_itself_alone(self):
        """The others are brought, and the record is the bringer's."""
        activation = self.brought(lambda: [("???", object()), ("milk", object())])
        assert [spec.slug for spec in activation.active.brings] == ["milk"]
        (failure,) = activation.failures
        assert (failure.stage, failure.slug) == (Stage.ACTIVATE, "tea")
