"""Implementations are found at one look, and are those that pluggy finds one by one."""

from __future__ import annotations

import warnings
from abc import ABCMeta
from contextlib import suppress
from types import ModuleType
from typing import Protocol

import pluggy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugreg.hooks import PluginManager, hookimpl

host_impl = pluggy.HookimplMarker("shop")


class OneByOne(PluginManager):
    """A manager of a host that has its own say, and so is asked about each attribute."""

    def parse_hookimpl_opts(self, plugin, name):
        return super().parse_hookimpl_opts(plugin, name)


def marked(function):
    return hookimpl(tryfirst=True)(function)


class Callable:
    """An object that can be called, and has the mark of an implementation."""

    plugreg_impl = {"tryfirst": True}

    def __call__(self):
        raise AssertionError("called")

    def method(self):
        """Do nothing."""

    marked_method = marked(method)


def evaluated(self):
    raise AssertionError("evaluated")


VALUES = {
    "function": lambda: lambda *_: None,
    "hook": lambda: marked(lambda *_: None),
    "hook of the host": lambda: host_impl(trylast=True)(lambda *_: None),
    "hook of others": lambda: pluggy.HookimplMarker("other")(lambda *_: None),
    "static hook": lambda: staticmethod(marked(lambda *_: None)),
    "marked static": lambda: marked(staticmethod(lambda *_: None)),
    "static": lambda: staticmethod(lambda *_: None),
    "class hook": lambda: classmethod(marked(lambda *_: None)),
    "marked class": lambda: marked(classmethod(lambda *_: None)),
    "bound": lambda: Callable().method,
    "bound hook": lambda: Callable().marked_method,
    "property": lambda: property(marked(evaluated)),
    "callable": Callable,
    "marked class object": lambda: Callable,
    "number": lambda: 5,
}
NAMES = ["shop_one", "two", "three"]
attributes = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(sorted(VALUES)))
EXTRAS = {
    "none": dict,
    "dir": lambda: {"__dir__": lambda _: ["two"]},
    "getattr": lambda: {"__getattr__": evaluated},
    "getattribute": lambda: {"__getattribute__": object.__getattribute__},
    "class": lambda: {"__class__": property(lambda _: int)},
    "slot": lambda: {"__slots__": ("three", "__dict__")},
    "slots": lambda: {"__slots__": ("two", "three")},
    "init": lambda: {"__init__": marked(lambda _: None)},
}


class Hiding(type):
    """A metaclass that hides the attributes of its classes."""

    __dict__ = property(lambda _: {})


class Listing(type):
    """A metaclass that lists arbitrary names."""

    def __dir__(cls):
        return ["two"]


class Answering(type):
    """A metaclass that has attributes of its own, and would make up others."""

    two = marked(lambda _: None)
    __mro__ = __bases__ = property(lambda _: ())
    __getattr__ = evaluated


class Unlisted:
    """A class whose attributes are had, but not listed, by the classes below."""

    __slots__ = ()
    three = marked(lambda _: None)


class Adding(type):
    """A metaclass whose classes inherit from others than their bases."""

    def mro(cls):
        classes = [each for each in type.mro(cls) if each is not Unlisted]
        return [*classes[:-1], Unlisted, object]


METACLASSES = [type, ABCMeta, type(Protocol), Hiding, Listing, Answering, Adding]


class Inventing(dict):
    """A dict of an object that would make up attributes."""

    def keys(self):
        return ["two"]

    def __iter__(self):
        return iter(["two"])

    def __getitem__(self, name):
        return marked(lambda _: None)


@st.composite
def plugins(draw):
    """A module, a class or an object, with attributes of its own and of several classes."""
    if draw(st.integers(0, 3)) == 0:
        module = ModuleType("plugin")
        vars(module).update((name, VALUES[kind]()) for name, kind in draw(attributes).items())
        if draw(st.booleans()):
            module.__dir__ = lambda: ["two"]
        return module
    cls = object
    metaclass = draw(st.sampled_from(METACLASSES))
    for _ in range(draw(st.integers(1, 3))):
        extra = EXTRAS[draw(st.sampled_from(sorted(EXTRAS)))]()
        slots = extra.get("__slots__", ())
        if getattr(cls, "__dictoffset__", 0):
            slots = extra["__slots__"] = tuple(each for each in slots if each != "__dict__")
            if "__slots__" not in extra or not slots:
                del extra["__slots__"]
        members = {
            name: VALUES[kind]() for name, kind in draw(attributes).items() if name not in slots
        }
        cls = metaclass("Plugin", (cls,), {**members, **extra})
    if draw(st.booleans()):
        return cls
    plugin = cls()
    if draw(st.booleans()):
        with suppress(AttributeError):
            object.__setattr__(plugin, "__dict__", Inventing())
    for name, kind in draw(attributes).items():
        # There may be a property of this name, or no dict to put it in.
        with suppress(AttributeError):
            object.__setattr__(plugin, name, VALUES[kind]())
    return plugin


def found_by(kind, plugin, prefix):
    manager = kind("shop", implicit_prefix=prefix)
    pairs = manager.implementations(plugin, "plugin").pairs
    assert manager.has_implementations(plugin) is bool(pairs)
    return [(name, impl.function, impl.opts) for name, impl in pairs]


@settings(deadline=None, max_examples=300)
@given(plugins(), st.sampled_from([None, "shop_"]))
def test_found_at_one_look(plugin, prefix):
    """Names, functions, their binding and options are the same, and nothing is evaluated."""
    assert found_by(PluginManager, plugin, prefix) == found_by(OneByOne, plugin, prefix)


def test_the_look_is_that_of_the_moment():
    """An attribute that is put on a class, or taken from it, is seen by the next look."""

    class Plugin:
        two = marked(lambda self: None)

    assert [name for name, _, _ in found_by(PluginManager, Plugin(), None)] == ["two"]
    Plugin.three = Plugin.two
    Plugin.two = None
    assert [name for name, _, _ in found_by(PluginManager, Plugin(), None)] == ["three"]


def named_by_a_number():
    with warnings.catch_warnings():
        # A newer Python warns of such a class, and makes it all the same.
        warnings.simplefilter("ignore", RuntimeWarning)
        return type("Plugin", (), {1: marked(lambda _: None)})


@pytest.mark.parametrize("manager", [PluginManager("shop"), OneByOne("shop")])
@pytest.mark.parametrize("plugin", [named_by_a_number(), named_by_a_number()()])
def test_an_attribute_whose_name_is_no_text(manager, plugin):
    """It cannot become a hook, over which others would stumble: its plugin is refused."""
    with pytest.raises(TypeError):
        manager.implementations(plugin, "plugin")


def test_hooks_have_plain_names():
    """A hook gets a plain text for its name, whatever text the attribute has for one."""

    class Name(str):
        __slots__ = ()

    plugin = type("Plugin", (), {Name("two"): marked(lambda _: None)})

    (pair,) = PluginManager("shop").implementations(plugin, "plugin").pairs

    assert type(pair[0]) is str
