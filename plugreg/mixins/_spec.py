"""What a capability is: a row of data, and the few functions that read it.

A host's rows and plugreg's are treated alike (design.md, section 5). Nothing here knows the
registry.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from types import FunctionType
from typing import Any, Final

from plugreg.settings.definition import call_with_accepted

_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class MixinSpec:
    """One capability that plugins may have.

    ``key`` is its identity, made lower case. ``cls`` is the class by which a plugin has it.
    ``enabled`` is True or False, the name of an attribute, property or method of the plugin, or a
    function of the plugin. ``activate`` and ``deactivate`` are called with the plugin object when
    a plugin that has it is taken in or let go; ``activate`` also gets ``full=`` (whether this is a
    full reload) if it has such a parameter. ``switch`` is the name under which a host can turn it
    off, None if it cannot be. Rows of lower ``order`` are activated first. ``check`` gives the
    faults of a plugin as sentences, each naming the attribute.

    Raises ValueError for an empty key, TypeError if ``cls`` is not a class.
    """

    key: str
    human_name: str
    cls: type
    enabled: bool | str | Callable[[Any], object] = True
    activate: Callable[..., object] | None = None
    deactivate: Callable[[Any], object] | None = None
    switch: str | None = None
    order: int = 100
    check: Callable[[Any], Iterable[str]] | None = None

    def __post_init__(self) -> None:
        key = self.key.strip().lower()
        if not key:
            raise ValueError(f"mixin key {self.key!r} is empty; give it a name")
        if not isinstance(self.cls, type):
            raise TypeError(
                f"mixin {key!r}: cls must be a class that plugins inherit from, not {self.cls!r}"
            )
        object.__setattr__(self, "key", key)


def has(spec: MixinSpec, plugin: object) -> bool:
    """Tell whether ``plugin`` has the capability. No attribute of it is read."""
    # isinstance() would ask the object for its __class__, which may be a property that raises.
    return issubclass(type(plugin), spec.cls)


def is_enabled(spec: MixinSpec, plugin: object) -> bool:
    """Tell whether the rule of the capability holds for a plugin that has it.

    The rule may run the plugin's code; what that raises passes through.
    """
    if callable(spec.enabled):
        return bool(spec.enabled(plugin))
    if isinstance(spec.enabled, bool):
        return spec.enabled
    value = getattr(plugin, spec.enabled)
    return bool(value() if callable(value) else value)


def run_activate(spec: MixinSpec, plugin: object, *, full: bool = False) -> None:
    """Run the row's ``activate``, if it has one. What it raises passes through."""
    if spec.activate is not None:
        call_with_accepted(spec.activate, plugin, full=full)


def contract_faults(spec: MixinSpec, plugin: object) -> tuple[str, ...]:
    """Return what is wrong with a plugin that has the capability, a sentence for each attribute.

    Every public method that ``spec.cls`` declares must be callable on the plugin and take the
    declared arguments: those without a default by position, so that their names are free; the
    others by name; and where ``*args`` is declared, more than that. These are looked up without
    running any code of the plugin. Then the row's own ``check`` is asked, which may run some;
    what that raises passes through.
    """
    faults = []
    for name, declared in _declared_methods(spec.cls).items():
        found = inspect.getattr_static(plugin, name, None)
        if found is declared:
            continue
        fault = callable_fault(found)
        if fault is None and not _takes_declared(plugin, name, found, declared):
            expected = _signature_of(declared, drop_first=not isinstance(declared, staticmethod))
            fault = f"must accept the arguments {expected}"
        if fault is not None:
            faults.append(f"{name} {fault}")
    if spec.check is not None:
        faults.extend(spec.check(plugin))
    return tuple(faults)


def callable_fault(found: object) -> str | None:
    """Return why an attribute, as ``inspect.getattr_static`` gives it, is no method, or None."""
    # Other descriptors, such as partialmethod, may well give a method: only a call can tell.
    descriptor = hasattr(type(found), "__get__") and not isinstance(
        found, (property, cached_property)
    )
    if callable(found) or descriptor:
        return None
    return f"must be a method, not a {type(found).__name__!r} object"


def _declared_methods(cls: type) -> dict[str, object]:
    """Return the public methods of ``cls`` and its bases, as they stand in the class bodies."""
    kinds = (FunctionType, staticmethod, classmethod)
    return {
        name: member
        for each in reversed(cls.__mro__[:-1])
        for name, member in vars(each).items()
        if not name.startswith("_") and isinstance(member, kinds)
    }


def _takes_declared(plugin: object, name: str, found: object, declared: object) -> bool:
    function = found.__func__ if isinstance(found, (staticmethod, classmethod)) else found
    if not isinstance(function, FunctionType):
        return True
    # Only what stands in the class is bound; a function stored on the object gets no self.
    on_class = inspect.getattr_static(type(plugin), name, _ABSENT) is found
    signature = _signature_of(found, drop_first=on_class and not isinstance(found, staticmethod))
    if signature is None:
        return False
    arguments, keywords = _sample_call(
        _signature_of(declared, drop_first=not isinstance(declared, staticmethod))
    )
    try:
        signature.bind(*arguments, **keywords)
    except TypeError:
        return False
    return True


def _signature_of(method: Any, *, drop_first: bool) -> inspect.Signature | None:
    """Return the arguments that a caller gives, None if there is no room for ``self``."""
    function = method.__func__ if isinstance(method, (staticmethod, classmethod)) else method
    signature = inspect.signature(function)
    parameters = [
        each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()
    ]
    if drop_first:
        if not parameters or parameters[0].kind in (
            inspect.Parameter.KEYWORD_ONLY,
            inspect.Parameter.VAR_KEYWORD,
        ):
            return None
        if parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
            parameters = parameters[1:]
    return inspect.Signature(parameters)


def _sample_call(signature: inspect.Signature | None) -> tuple[list[object], dict[str, object]]:
    """Return a call that uses all that the declared signature promises to its callers."""
    arguments: list[object] = []
    keywords: dict[str, object] = {}
    parameters = list(signature.parameters.values()) if signature is not None else []
    more = any(each.kind is each.VAR_POSITIONAL for each in parameters)
    for each in parameters:
        if each.kind is each.VAR_POSITIONAL:
            arguments.append(None)
        elif each.kind is each.VAR_KEYWORD:
            # Alone, it is room for what may be added some day; beside *args, callers do use it.
            if more:
                keywords["_any_keyword"] = None
        elif each.kind is each.KEYWORD_ONLY or (each.default is not each.empty and not more):
            keywords[each.name] = None
        else:
            arguments.append(None)
    return arguments, keywords
