"""Finding the hook implementations of a plugin, without evaluating any of its attributes."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable, Mapping
from operator import itemgetter
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType, MethodType, ModuleType
from typing import Any, Final, NamedTuple, Protocol, cast

from pluggy import HookimplOpts
from pluggy._manager import _static_hook_attr

from plugreg._support.guard import safe_repr
from plugreg.hooks._wishes import wishes_in

OBJECT_NAMES: Final = frozenset(dir(object))
"""What every object has is no hook, and is a third of what ``dir`` lists."""

# What may be an implementation besides functions. In a slot there may be either.
_HOOKABLE: Final = (staticmethod, classmethod, MethodType, MemberDescriptorType)

# Other metaclasses may say themselves what their classes, and the objects of these, have.
_PLAIN_METACLASSES: Final = (type, ABCMeta, type(Protocol))

# type's own descriptors are asked, since a metaclass may define properties of these names.
_mro_of: Final = type.__dict__["__mro__"].__get__
_dict_of: Final = type.__dict__["__dict__"].__get__


class Found(NamedTuple):
    """An attribute that is a hook implementation: its name, its options, and what to call."""

    name: str
    options: HookimplOpts
    function: Callable[..., Any]


class Marks(NamedTuple):
    """What makes a function an implementation: attributes that markers leave, or a prefix."""

    attributes: tuple[str, ...]
    prefix: str | None

    def options(self, name: str, holder: object) -> dict[str, Any] | None:
        """Return the options of an implementation, None for what is none."""
        for attribute in self.attributes:
            for each in (holder, getattr(holder, "__func__", None)):
                found = getattr(each, attribute, None)
                if isinstance(found, dict):
                    return found
        return {} if self.prefix is not None and name.startswith(self.prefix) else None


def find_at_once(plugin: object, marks: Marks) -> list[Found] | None:
    """Find all implementations by one look at the dicts of the plugin and its classes.

    It finds what pluggy does, which looks up each name that ``dir`` lists, in a twentieth of the
    time. None for what may have attributes that are not in these dicts: objects whose class
    defines ``__dir__`` or the like, and what a metaclass may speak for.
    """
    attributes = _attributes(plugin)
    if attributes is None:
        return None
    own, inherited = attributes
    first, second = marks.attributes
    prefix = marks.prefix
    found = []
    static: tuple[object, Callable[..., object]] | None
    for name, value in {**inherited, **own}.items():
        if name in OBJECT_NAMES:
            continue
        kind = type(value)
        if kind is FunctionType:
            if (
                getattr(value, second, None) is None
                and getattr(value, first, None) is None
                and (prefix is None or not name.startswith(prefix))
            ):
                continue
            # What stands in the plugin's own dict is not bound to it.
            static = (value, value if name in own else value.__get__(plugin))
        elif not issubclass(kind, _HOOKABLE) or not (static := _static_hook_attr(plugin, name)):
            continue
        options = marks.options(name, static[0])
        if options is not None:
            found.append(Found(name, cast("HookimplOpts", options), static[1]))
    return sorted(found, key=itemgetter(0))


def _attributes(plugin: object) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """Return what an object has of its own, and what it has from its classes.

    A class hands out what its bases have as it does its own, so that it is all one.
    """
    kind = type(plugin)
    if kind is ModuleType:
        own = vars(plugin)
        return None if "__dir__" in own else (own, {})
    is_class = issubclass(kind, type)
    inherited: dict[str, Any] = {}
    for each in reversed(_mro_of(plugin if is_class else kind)[:-1]):
        if type(each) not in _PLAIN_METACLASSES:
            return None
        # Copied in one step, since a thread of the plugin's may be at work on its attributes.
        inherited = inherited | _dict_of(each)
    if is_class:
        return inherited, {}
    if "__dir__" in inherited or "__class__" in inherited or "__getattribute__" in inherited:
        # Such a class says itself what its objects have.
        return None
    if "__dict__" not in inherited:
        return {}, inherited
    if type(inherited["__dict__"]) is not GetSetDescriptorType:
        return None
    own = object.__getattribute__(plugin, "__dict__")
    # A subclass of dict may say itself what is in it.
    return (own, inherited) if type(own) is dict else None


def as_plain(opts: HookimplOpts) -> HookimplOpts:
    """Return options whose values are looked at again and again, and so must be harmless.

    What is not given is False, or None, as pluggy has it. Raises TypeError for a ``specname`` that
    is no text, and for wishes that are no names.
    """
    specname = opts.get("specname")
    if specname is not None and not issubclass(type(specname), str):
        raise TypeError(f"specname must be the name of a hook, not {safe_repr(specname)}")
    plain: HookimplOpts = {
        "wrapper": bool(opts.get("wrapper")),
        "hookwrapper": bool(opts.get("hookwrapper")),
        "optionalhook": bool(opts.get("optionalhook")),
        "tryfirst": bool(opts.get("tryfirst")),
        "trylast": bool(opts.get("trylast")),
        "specname": None if specname is None else str.__str__(specname),
    }
    # pluggy knows no wishes: where there are none, its own options are all there is.
    wishes = wishes_in(opts)
    return cast("HookimplOpts", plain | wishes) if wishes else plain
