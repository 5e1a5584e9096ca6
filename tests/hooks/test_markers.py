"""Functions that count as hooks, and plugins whose own methods fail."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace

import pluggy
import pytest

from plugreg.hooks import PluginManager, hookimpl, hookspec

host_spec = pluggy.HookspecMarker("shop")
host_impl = pluggy.HookimplMarker("shop")


def manager_of(*specs, prefix=None):
    manager = PluginManager("shop", implicit_prefix=prefix)
    for spec in specs:
        manager.add_hookspecs(spec)
    return manager


def swap(manager, **plugins):
    manager.exchange(
        (), [manager.implementations(item, name, (name,)) for name, item in plugins.items()]
    )


class Specs:
    @hookspec
    def price(self, item):
        """Price of an item."""

    @host_spec(firstresult=True)
    def owner(self, item):
        """Owner of an item."""


@pytest.fixture
def manager():
    return manager_of(Specs)


class TestMarkers:
    def test_specs_of_both_markers(self, manager):
        """The host's own spec marker and plugreg's count, each with its options."""
        assert manager.hook.price.has_spec()
        assert not manager.table("price").firstresult
        assert manager.table("owner").firstresult

    @pytest.mark.parametrize("marker", [host_impl, hookimpl], ids=["host", "plugreg"])
    def test_implementations_of_both_markers(self, manager, marker):
        """The host's own marker and plugreg's count alike, options and all."""
        late = SimpleNamespace(price=marker(trylast=True)(lambda item: "late"))
        named = SimpleNamespace(cost=marker(specname="price")(lambda item: "named"))

        manager.register(named)
        swap(manager, late=late)

        assert manager.hook.price(item="tea") == ["named", "late"]

    def test_both_markers_on_one_function(self, manager):
        """It is one implementation and one spec; the host's options are those that hold."""

        class Both:
            @hookimpl
            @host_impl(trylast=True)
            def price(self, item):
                return "both"

        class BothSpecs:
            @host_spec(firstresult=True)
            @hookspec
            def count(self):
                """Count the items."""

        manager.add_hookspecs(BothSpecs)
        swap(manager, a=Both())
        manager.register(SimpleNamespace(price=hookimpl(lambda item: "other")))

        assert manager.hook.price(item="tea") == ["other", "both"]
        assert manager.table("count").firstresult

    def test_foreign_markers_do_not_count(self, manager):
        """A function marked for another project, or not at all, is no hook."""
        foreign = pluggy.HookimplMarker("other")
        plugin = SimpleNamespace(price=foreign(lambda item: 1), owner=lambda item: 2)

        swap(manager, a=plugin)

        assert not manager.has_implementations(plugin)
        assert manager.hook.price(item="tea") == []

    def test_implicit_prefix(self):
        """With a prefix unmarked functions that begin with it are specs and implementations."""
        specs, plugin = ModuleType("specs"), ModuleType("plugin")
        specs.shop_price = lambda item: None
        specs.price = lambda item: None
        plugin.shop_price = lambda item: "implicit"
        plugin.shop_names = ["shop_price"]
        plugin.price = lambda item: "unmarked"
        manager = manager_of(specs, prefix="shop_")

        swap(manager, a=plugin)

        assert manager.hook.shop_price(item="tea") == ["implicit"]
        assert set(vars(manager.hook)) == {"shop_price"}

    def test_a_marker_outweighs_the_prefix(self):
        """The options of a marked function hold, though its name has the prefix."""
        manager = manager_of(prefix="shop_")
        swap(
            manager,
            a=SimpleNamespace(shop_price=lambda: "plain"),
            b=SimpleNamespace(shop_price=hookimpl(trylast=True)(lambda: "last")),
        )

        assert manager.hook.shop_price() == ["plain", "last"]

    def test_without_a_prefix_nothing_is_implicit(self):
        """Unmarked functions are no specs either."""
        with pytest.raises(ValueError, match="did not find any 'shop' hooks"):
            manager_of(SimpleNamespace(shop_price=lambda item: None))


class Kinds:
    """One hook of each kind of callable, marked above and below the wrapping."""

    @hookimpl
    @staticmethod
    def static_above(item):
        return item

    @staticmethod
    @hookimpl
    def static_below(item):
        return item

    @hookimpl
    @classmethod
    def class_above(cls, item):
        return cls.__name__, item

    @classmethod
    @hookimpl
    def class_below(cls, item):
        return cls.__name__, item

    @hookimpl
    def method(self, item):
        return type(self).__name__, item


class TestKinds:
    @pytest.mark.parametrize("name", ["static_above", "static_below"])
    @pytest.mark.parametrize("plugin", [Kinds, Kinds()], ids=["class", "instance"])
    def test_static_methods(self, plugin, name):
        """A staticmethod is a hook of the class and of its instances."""
        manager = manager_of()
        swap(manager, a=plugin)

        assert getattr(manager.hook, name)(item="tea") == ["tea"]

    @pytest.mark.parametrize("name", ["class_above", "class_below"])
    @pytest.mark.parametrize("plugin", [Kinds, Kinds()], ids=["class", "instance"])
    def test_class_methods(self, plugin, name):
        """A classmethod is bound to the class."""
        manager = manager_of()
        swap(manager, a=plugin)

        assert getattr(manager.hook, name)(item="tea") == [("Kinds", "tea")]

    def test_bound_methods_as_attributes(self):
        """A bound method that an object or module has as an attribute is a hook, bound as it is."""
        manager = manager_of()
        module = ModuleType("module")
        module.method = Kinds().method
        swap(manager, a=SimpleNamespace(method=Kinds().method), b=module)

        assert manager.hook.method(item="tea") == [("Kinds", "tea"), ("Kinds", "tea")]

    def test_properties_are_not_evaluated(self, manager):
        """Looking for hooks reads no property, and those beside it are found."""

        class Lazy:
            @property
            def expensive(self):
                raise AssertionError("a property was evaluated")

            @hookimpl
            def price(self, item):
                return "lazy"

        swap(manager, a=Lazy())
        assert manager.has_implementations(Lazy())
        manager.register(Lazy(), "b")

        assert manager.hook.price(item="tea") == ["lazy", "lazy"]


def _fail(*_args):
    raise RuntimeError("a special method of a plugin was called")


class Hostile:
    """A plugin that fails wherever Python or pluggy might ask it something on the side."""

    __eq__ = __ne__ = __hash__ = __repr__ = __str__ = __bool__ = __len__ = __getattr__ = _fail

    @hookimpl
    def price(self, item):
        return "hostile"


class Unhashable:
    """A plugin with equality of its own and no hash, as plain dataclasses have."""

    __hash__ = None

    def __eq__(self, other):
        return True

    @hookimpl
    def price(self, item):
        return "unhashable"


class TestHostilePlugins:
    """Exchanged plugins are identified without comparing, so their methods disturb nobody."""

    @pytest.fixture(params=[Hostile, Unhashable])
    def plugin(self, request):
        return request.param()

    @pytest.fixture
    def crowd(self, manager, plugin):
        swap(manager, bad=plugin, good=SimpleNamespace(price=hookimpl(lambda item: "good")))
        return manager

    def test_calls(self, crowd):
        """It is called, and the others are."""
        assert len(crowd.hook.price(item="tea")) == 2

    def test_register_and_unregister_of_others(self, crowd, plugin):
        """The host's own plugins come and go beside it, and errors are pluggy's."""
        other = SimpleNamespace(price=hookimpl(lambda item: "other"))

        assert crowd.register(other, "other") == "other"
        assert crowd.get_name(other) == "other"
        assert crowd.hook.price(item="tea")[0] == "other"
        with pytest.raises(ValueError, match="Plugin name already registered: bad"):
            crowd.register(other, "bad")
        with pytest.raises(ValueError, match="already registered under a different name: again"):
            crowd.register(other, "again")
        with pytest.raises(ValueError, match="do not agree"):
            crowd.unregister(other, "bad")
        assert crowd.unregister(other) is other
        assert len(crowd.hook.price(item="tea")) == 2

    def test_look_ups(self, crowd, plugin):
        """Names are returned for it and for others, and an unknown object is not taken for it."""
        assert crowd.get_name(plugin) == "bad"
        assert crowd.is_registered(plugin)
        assert crowd.get_plugin("bad") is plugin
        assert crowd.get_name(object()) is None
        assert not crowd.is_registered(object())
        assert {name for name, _ in crowd.list_name_plugin()} == {"bad", "good"}
        assert [hook.name for hook in crowd.get_hookcallers(plugin)] == ["price"]

    def test_get_plugins(self, manager, plugin):
        """The set has everyone who can be in a set."""
        good = Kinds()
        swap(manager, bad=plugin, good=good)
        manager.register(Kinds, "host")

        assert manager.get_plugins() == {good, Kinds}

    def test_subset_callers(self, crowd, plugin):
        """It can be left out of a call, and others can be left out beside it."""
        good = crowd.get_plugin("good")

        assert crowd.subset_hook_caller("price", [plugin])(item="tea") == ["good"]
        assert len(crowd.subset_hook_caller("price", [good])(item="tea")) == 1
        assert crowd.subset_hook_caller("price", [object()]) is crowd.hook.price

    def test_it_can_leave(self, crowd, plugin):
        """It leaves by exchange, and by the host's hand."""
        crowd.exchange(["bad"], [crowd.implementations(plugin, "bad2")])
        assert crowd.hook.price(item="tea")[0] == "good"
        assert crowd.unregister(plugin) is plugin
        assert crowd.hook.price(item="tea") == ["good"]

    def test_a_failing_dir_is_its_own_fault(self, manager):
        """A plugin that cannot be listed fails when it is parsed, and leaves nothing behind."""

        class Unlisted(Kinds):
            __dir__ = _fail

        with pytest.raises(RuntimeError, match="special method"):
            manager.implementations(Unlisted(), "bad")
        with pytest.raises(RuntimeError, match="special method"):
            manager.has_implementations(Unlisted())

        assert manager.list_name_plugin() == []
