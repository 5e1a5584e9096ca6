"""A registry on the host's own manager, the names there, and calls of some plugins alone."""

from __future__ import annotations

import copy
import gc
import sys
import weakref

import pytest

from plugreg import Plugin, PluginRegistry, PluginState, UnknownHookError, hookimpl, hookspec
from plugreg.hooks import PluginManager


class Hooks:
    @hookspec
    def label(self):
        """Return a label."""


class Tea(Plugin):
    @hookimpl
    def label(self):
        return self.slug


class Milk(Tea):
    pass


class Recording(PluginManager):
    """A host's manager that records registrations, refuses, and marks by prefix."""

    def __init__(self):
        super().__init__("shop")
        self.seen = []

    def register(self, plugin, name=None):
        if name == "refused":
            return None
        if name == "broken":
            raise OSError("no")
        found = super().register(plugin, name)
        self.seen.append(("+", found, type(plugin).__name__))
        return found

    def unregister(self, plugin=None, name=None):
        left = super().unregister(plugin, name)
        self.seen.append(("-", name, type(left).__name__))
        return left

    def parse_hookimpl_opts(self, plugin, name):
        opts = super().parse_hookimpl_opts(plugin, name)
        return {} if opts is None and name == "shop_label" else opts


def start(**options):
    registry = PluginRegistry(
        "shop", group="no.such", hookspecs=[Hooks], new_plugins="active", **options
    )
    registry.load()
    return registry


class TestManager:
    def test_what_the_host_overrides_is_called(self):
        """``register`` and ``unregister`` are called once for each plugin that comes and leaves."""
        manager = Recording()
        with start(manager=manager, builtin=[("Tea", Tea), ("milk", Milk)]) as registry:
            assert registry.manager is manager
            assert manager.seen == [("+", "Tea", "Tea"), ("+", "milk", "Milk")]
            manager.seen.clear()
            registry.reload()
            assert manager.seen == []
            registry.deactivate("tea")
            assert manager.seen == [("-", "Tea", "Tea")]
            registry.activate("tea")
            assert registry.call(Hooks.label) == ["milk", "tea"]
            assert manager.hook.label() == ["milk", "tea"]
            assert manager.get_plugin("Tea") is registry.get("tea").plugin
            manager.seen.clear()
        assert manager.seen == [("-", "milk", "Milk"), ("-", "Tea", "Tea")]
        assert manager.get_plugins() == set()

    def test_what_the_host_refuses_fails(self):
        """A manager that returns None, or raises, keeps the plugin out, and no other."""
        builtin = [("refused", Tea), ("broken", Tea), ("milk", Milk)]
        with start(manager=Recording(), builtin=builtin) as registry:
            assert [*registry.active] == ["milk"]
            assert registry.get("refused").state is PluginState.FAILED
            messages = {failure.slug: failure.message for failure in registry.errors}
            assert "Recording.register() refuses plugin 'refused'" in messages["refused"]
            assert messages["broken"] == "OSError: no"

    def test_the_host_is_told_of_a_plugin_that_fails_later(self):
        """A registered plugin that does not come into service is unregistered."""

        class Failing(Tea):
            @hookimpl
            def plugreg_activated(self):
                raise ValueError("dry")

        manager = Recording()
        with start(manager=manager, builtin=[("tea", Failing)]):
            assert manager.seen == [("+", "tea", "Failing"), ("-", "tea", "Failing")]

    def test_the_host_marks_hooks_in_its_own_way(self):
        """``parse_hookimpl_opts`` of the host decides which functions are implementations."""

        class Specs:
            @hookspec
            def shop_label(self):
                """Return a label."""

        class Plain:
            def shop_label(self):
                return "plain"

        manager = Recording()
        manager.add_hookspecs(Specs)
        with start(manager=manager, builtin=[("plain", Plain)]) as registry:
            assert registry.call("shop_label") == ["plain"]

    def test_plugins_of_the_host_are_its_own(self):
        """Objects that the host registers itself pass through, as without a registry."""
        manager = Recording()
        mine = Tea()
        manager.register(mine, "mine")
        with start(manager=manager, builtin=[("milk", Milk)]) as registry:
            assert registry.call(Hooks.label) == ["milk", "tea"]
        assert manager.get_plugins() == {mine}

    @pytest.mark.parametrize(
        ("manager", "options", "error", "message"),
        [
            (object(), {}, TypeError, "subclass of plugreg.hooks.PluginManager"),
            (PluginManager("other"), {}, ValueError, "project 'other'; make one for 'shop'"),
            (
                PluginManager("shop", implicit_prefix="a_"),
                {"implicit_prefix": "b_"},
                ValueError,
                "give it to the manager alone",
            ),
        ],
    )
    def test_a_manager_that_does_not_fit_is_refused(self, manager, options, error, message):
        """The error names the fault."""
        with pytest.raises(error, match=message):
            PluginRegistry("shop", manager=manager, **options)

    def test_a_manager_has_one_registry(self):
        """Two registries would take each other's plugins out."""
        manager = PluginManager("shop")
        PluginRegistry("shop", manager=manager)
        with pytest.raises(ValueError, match="that of another registry"):
            PluginRegistry("shop", manager=manager)


class TestOwnHooks:
    def test_none_is_on_the_relay(self):
        """A host that lists its hooks finds its own ones alone, and plugreg's work."""
        seen = []

        class Hearing(Tea):
            @hookimpl
            def plugreg_plugins_loaded(self, report):
                seen.append(report.active)

        with start(builtin=[("tea", Hearing)]) as registry:
            assert [*vars(registry.hook)] == ["label"]
            assert seen == [("tea",)]
            assert registry.errors == ()
            assert [place.slug for place in registry.explain("plugreg_plugins_loaded")] == ["tea"]
            assert copy.copy(registry.manager).unknown_hooks("tea") == ()

    def test_are_near_what_was_misspelt(self):
        """Who misspells one, in a plugin or in a call, reads its name."""

        class Misspelt(Plugin):
            @hookimpl
            def plugreg_activate(self):
                """Belongs to no hook."""

        with start(builtin=[Misspelt]) as registry:
            (failure,) = registry.errors
            assert "did you mean 'plugreg_activated'?" in failure.message
            with pytest.raises(UnknownHookError, match="did you mean 'plugreg_health'"):
                registry.call("plugreg_healt")

    def test_of_a_plugin_of_the_host(self):
        """A plugin that the host registered hears plugreg's hooks until it is unregistered."""
        seen = []

        class Hearing:
            @hookimpl
            def plugreg_plugins_loaded(self, report):
                seen.append(report.active)

        manager, hearing = PluginManager("shop"), Hearing()
        manager.register(hearing, "early")
        with start(manager=manager, builtin=[Tea]) as registry:
            assert [*vars(registry.hook)] == ["label"]
            assert len(seen) == 1
            manager.unregister(hearing)
            registry.reload()
            assert len(seen) == 1


class TestNames:
    def test_on_the_manager_are_those_of_entry_points(self, site, monkeypatch):
        """Pluggy's name of a plugin is that of its entry point; its slug is the registry's."""
        source = "from plugreg import hookimpl\n\n\n@hookimpl\ndef label():\n    return __name__\n"
        points = {"shop.plugins": {"xdist.Looponfail": "shop_names"}}
        site.dist("shop-names", entry_points=points, modules={"shop_names.py": source})
        monkeypatch.syspath_prepend(str(site))

        with PluginRegistry("shop", hookspecs=[Hooks], new_plugins="active") as registry:
            registry.load()
            assert registry.manager.list_name_plugin() == [
                ("xdist.Looponfail", registry.get("xdist-looponfail").plugin)
            ]
            assert [outcome.slug for outcome in registry.outcomes(Hooks.label)] == [
                "xdist-looponfail"
            ]
            assert registry.explain(Hooks.label)[0].slug == "xdist-looponfail"
            registry.deactivate("xdist-looponfail")
            assert registry.manager.list_name_plugin() == []
        del sys.modules["shop_names"]

    def test_of_plugins_that_share_one(self, site, monkeypatch):
        """The first has the name, as with pluggy, and the others have their slugs."""
        source = "from plugreg import hookimpl\n\n\n@hookimpl\ndef label():\n    return __name__\n"
        for name in ("one", "two"):
            site.dist(
                f"shop-{name}",
                entry_points={"shop.plugins": {"price": f"shop_names_{name}"}},
                modules={f"shop_names_{name}.py": source},
            )
        monkeypatch.syspath_prepend(str(site))
        options = {"slug_of": lambda spec: spec.distribution, "new_plugins": "active"}

        with PluginRegistry("shop", hookspecs=[Hooks], **options) as registry:
            registry.load()
            names = {name for name, _ in registry.manager.list_name_plugin()}
            assert names == {"price", "shop-two"}
            assert registry.call(Hooks.label) == ["shop_names_two", "shop_names_one"]
            for slug in ("shop-one", "shop-two"):
                registry.deactivate(slug)
                registry.activate(slug)
            assert registry.call(Hooks.label) == ["shop_names_two", "shop_names_one"]
            assert registry.errors == ()
        for name in ("shop_names_one", "shop_names_two"):
            del sys.modules[name]

    def test_that_is_the_slug_of_another_plugin(self):
        """Whoever comes later has a name of its own, and both are called and leave."""

        class Early(Tea):
            NAME, SLUG = "tea", "early"

        builtin = [Early, ("tea", Tea)]
        with start(builtin=builtin) as registry:
            names = {name: plugin.slug for name, plugin in registry.manager.list_name_plugin()}
            assert names == {"tea": "early", "tea-2": "tea"}
            assert registry.call(Hooks.label) == ["tea", "early"]
            assert [place.slug for place in registry.explain(Hooks.label)] == ["tea", "early"]
            assert registry.dispatch.bind(only=["tea"]).call(Hooks.label) == ["tea"]
            registry.deactivate("early")
            assert registry.call(Hooks.label) == ["tea"]
            registry.activate("early")
            assert registry.call(Hooks.label) == ["tea", "early"]
            assert registry.errors == ()
        assert registry.manager.list_name_plugin() == []

    def test_that_differ_in_case_are_both_named(self, site):
        """The failure shows the names as their distributions write them."""
        for number, name in enumerate(("Price", "price")):
            site.dist(f"shop-{number}", entry_points={"shop.plugins": {name: "shop_price"}})
        with PluginRegistry("shop") as registry:
            sys.path.insert(0, str(site))
            try:
                (failure,) = registry.load().failures
            finally:
                sys.path.remove(str(site))
        assert "'Price'" in failure.message
        assert "'price'" in failure.message

    def test_hooks_by_prefix_need_no_spec(self):
        """A hook by the host's prefix alone is not unknown; a marked function still is."""

        class Plain:
            def shop_anything(self):
                return 1

            @hookimpl
            def shop_lable(self):
                return 2

        with start(implicit_prefix="shop_", builtin=[("plain", Plain)]) as registry:
            (failure,) = registry.errors
            assert "unknown hook 'shop_lable'" in failure.message
            assert "shop_anything" not in failure.message


class TestSubset:
    @pytest.fixture
    def registry(self):
        class Wrapping(Plugin):
            @hookimpl(wrapper=True)
            def label(self):
                return [f"({label})" for label in (yield)]

        builtin = [("tea", Tea), ("milk", Milk), ("cup", Tea), ("wrap", Wrapping)]
        with start(builtin=builtin) as registry:
            yield registry

    def test_calls_these_alone(self, registry):
        """The others are not called, and their wrappers do not run."""
        some = registry.dispatch.bind(only={"tea", "milk", "no-such"})

        assert registry.call(Hooks.label) == ["(cup)", "(milk)", "(tea)"]
        assert some.call(Hooks.label) == some.call("label") == ["milk", "tea"]
        assert [outcome.value for outcome in some.outcomes(Hooks.label)] == ["milk", "tea"]
        assert [place.slug for place in some.explain(Hooks.label)] == ["milk", "tea"]
        assert registry.dispatch.bind(only=["wrap", "tea"]).call(Hooks.label) == ["(tea)"]
        assert some.bind(only=["tea", "cup"]).call(Hooks.label) == ["tea"]

    def test_follows_what_is_in_service(self, registry):
        """A plugin that leaves is not called, and one that comes is."""
        some = registry.dispatch.bind(only=["tea", "milk"])
        assert some.call(Hooks.label) == ["milk", "tea"]
        registry.deactivate("tea")
        assert some.call(Hooks.label) == ["milk"]
        registry.activate("tea")
        assert some.call(Hooks.label) == ["milk", "tea"]

    def test_keeps_no_plugin_alive(self, registry):
        """A plugin that has left is not kept by a dispatcher that has called it."""
        some = registry.dispatch.bind(only=["tea", "milk"])
        assert some.call(Hooks.label) == ["milk", "tea"]
        left = weakref.ref(registry.get("tea").plugin)
        registry.deactivate("tea")
        gc.collect()
        assert left() is None

    def test_keeps_the_limit(self, registry):
        """An option that is not given stays; a string is refused."""
        limited = registry.dispatch.bind(timeout=2.0).bind(only=["tea"])
        assert limited._timeout == 2.0
        assert limited.bind(timeout=None)._timeout is None
        with pytest.raises(TypeError, match="only must be a collection of slugs, not 'tea'"):
            registry.dispatch.bind(only="tea")
