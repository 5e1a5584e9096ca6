"""Finding the hook implementations of a plugin, without evaluating any of its attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType, MethodType, ModuleType
from typing import Any, Final, NamedTuple, cast

from pluggy import HookimplOpts
from pluggy._manager import _static_hook_attr

from plugreg._guard import safe_repr
from plugreg.hooks._order import wishes_in

OBJECT_NAMES: Final = frozenset(dir(object))
"""What every object has is no hook, and is a third of what ``dir`` lists."""

# What may be an implementation besides functions. In a slot there may be either.
_HOOKABLE: Final = (staticmethod, classmethod, MethodType, MemberDescriptorType)

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
    defines ``__dir__`` or the like, and classes.
    """
    dicts = _dicts(plugin)
    if dicts is None:
        return None
    first, second = marks.attributes
    prefix = marks.prefix
    names = set()
    for attributes in dicts:
        # A list, since a thread of the plugin's may be at work on its attributes.
        for name, value in [*attributes.items()]:
            kind = type(value)
            if kind is FunctionType:
                if (
                    getattr(value, second, None) is None
                    and getattr(value, first, None) is None
                    and (prefix is None or not name.startswith(prefix))
                ):
                    continue
            elif not issubclass(kind, _HOOKABLE):
                continue
            names.add(name)
    return [found for name in sorted(names) if (found := _found(plugin, name, dicts, marks))]


def _dicts(plugin: object) -> list[Mapping[str, object]] | None:
    """Return the dicts that an object's attributes are looked up in, its own first."""
    kind = type(plugin)
    if kind is ModuleType:
        own = vars(plugin)
        return None if "__dir__" in own else [own]
    if issubclass(kind, type):
        return None
    dicts: list[Mapping[str, object]] = [{}]
    for each in _mro_of(kind)[:-1]:
        attributes = _dict_of(each)
        if "__dir__" in attributes or "__class__" in attributes or "__getattribute__" in attributes:
            # Such a class says itself what its objects have.
            return None
        if "__dict__" in attributes:
            if type(attributes["__dict__"]) is not GetSetDescriptorType:
                return None
            dicts[0] = object.__getattribute__(plugin, "__dict__")
        dicts.append(attributes)
    return dicts


def _found(
    plugin: object, name: str, dicts: list[Mapping[str, object]], marks: Marks
) -> Found | None:
    if name in OBJECT_NAMES:
        return None
    static: tuple[object, Callable[..., object]] | None
    value = next(each[name] for each in dicts if name in each)
    if type(value) is FunctionType:
        # What stands in the plugin's own dict is not bound to it.
        static = (value, value if name in dicts[0] else value.__get__(plugin))
    else:
        static = _static_hook_attr(plugin, name)
    if static is None:
        return None
    options = marks.options(name, static[0])
    return None if options is None else Found(name, cast("HookimplOpts", options), static[1])


def as_plain(opts: HookimplOpts) -> HookimplOpts:
    """Return options whose values are looked at again and again, and so must be harmless.

    Raises TypeError for a ``specname`` that is no text, and for wishes that are no names.
    """
    specname = opts["specname"]
    if specname is not None and not issubclass(type(specname), str):
        raise TypeError(f"specname must be the name of a hook, not {safe_repr(specname)}")
    plain: HookimplOpts = {
        "wrapper": bool(opts["wrapper"]),
        "hookwrapper": bool(opts["hookwrapper"]),
        "optionalhook": bool(opts["optionalhook"]),
        "tryfirst": bool(opts["tryfirst"]),
        "trylast": bool(opts["trylast"]),
        "specname": None if specname is None else str.__str__(specname),
    }
    # pluggy knows no wishes: where there are none, its own options are all there is.
    wishes = wishes_in(opts)
    return cast("HookimplOpts", plain | wishes) if wishes else plain
