"""One capability of plugins as a row of data, and the functions that read it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import cached_property
from types import FunctionType, MethodType
from typing import Any, Final

from plugreg._support.frozen import Frozen


class MixinSpec(Frozen, kw_only=False):
    """One capability that plugins may have.

    Args:
        key: Identity of the capability; it is made lower case.
        human_name: Name for people.
        cls: Class that a plugin inherits from to have the capability.
        enabled: True or False, the name of an attribute, property or method of the plugin, or a
            function of the plugin.
        activate: Called with the plugin object when a plugin with the capability is activated,
            and with ``full=`` (whether this is a full reload) if it has such a parameter.
        deactivate: Called with the plugin object when such a plugin is deactivated.
        switch: Name under which a host can switch the capability off. None means never.
        order: Capabilities of lower order are activated first.
        check: Returns the faults of a plugin as sentences, each of which names the attribute.
        remote: Methods that take and return data by their annotations, so that they can be called
            of an isolated plugin. None means that no isolated plugin can have the capability.

    Raises:
        ValueError: If *key* is empty.
        TypeError: If *cls* is not a class.
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
    remote: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        key = self.key.strip().lower()
        if not key:
            raise ValueError(f"mixin key {self.key!r} is empty; give it a name")
        if not isinstance(self.cls, type):
            raise TypeError(
                f"mixin {key!r}: cls must be a class that plugins inherit from, not {self.cls!r}"
            )
        object.__setattr__(self, "key", key)
        if isinstance(self.remote, str):
            raise TypeError(f"mixin {key!r}: remote must be a collection of names; write [it]")
        if self.remote is not None:
            object.__setattr__(self, "remote", tuple(self.remote))

    def declared_methods(self) -> tuple[str, ...]:
        """Return the names of the public methods of the class."""
        return tuple(declared_methods(self.cls))


BASE: Final = MixinSpec(key="base", human_name="base", cls=object, order=0)
"""The row of every plugin, whatever kind of object it is."""


def has(spec: MixinSpec, plugin: object) -> bool:
    """Return whether *plugin* has the capability, without reading its attributes.

    Args:
        spec: The capability.
        plugin: The plugin object.
    """
    # isinstance() would ask the object for its __class__, which may be a property that raises.
    return issubclass(type(plugin), spec.cls)


def is_enabled(spec: MixinSpec, plugin: object) -> bool:
    """Return whether the rule of the capability holds for a plugin that has it.

    The rule may run the plugin's code; its exceptions pass through.

    Args:
        spec: The capability.
        plugin: The plugin object.
    """
    if callable(spec.enabled):
        return bool(spec.enabled(plugin))
    if isinstance(spec.enabled, bool):
        return spec.enabled
    value = getattr(plugin, spec.enabled)
    return bool(value() if callable(value) else value)


def run_activate(spec: MixinSpec, plugin: object, *, full: bool = False) -> None:
    """Call the row's ``activate``, if it has one. Exceptions pass through.

    Args:
        spec: The capability.
        plugin: The plugin object.
        full: Whether this is a full reload.
    """
    if spec.activate is not None:
        from plugreg.settings.definition import call_with_accepted

        call_with_accepted(spec.activate, plugin, full=full)


def contract_faults(spec: MixinSpec, plugin: object) -> tuple[str, ...]:
    """Return the faults of a plugin that has the capability, as sentences.

    Every public method that ``spec.cls`` declares must be callable on the plugin and take the
    declared arguments: by position those without a default, so that their names are free; by
    name the others. Where ``*args`` is declared, it must take more than that. This runs no code
    of the plugin. The row's own ``check`` may run some; its exceptions pass through.

    Args:
        spec: The capability.
        plugin: The plugin object.
    """
    faults = []
    for name, declared in declared_methods(spec.cls).items():
        found = inspect.getattr_static(plugin, name, None)
        if found is declared:
            continue
        expected = _signature_of(declared, is_bound=True)
        fault = callable_fault(found)
        if fault is None and not _accepts(plugin, name, found, expected):
            fault = f"must accept the arguments {expected}"
        if fault is not None:
            faults.append(f"{name} {fault}")
    if spec.check is not None:
        faults.extend(spec.check(plugin))
    return tuple(faults)


def callable_fault(found: object) -> str | None:
    """Return why a statically found attribute is no method, or None.

    Args:
        found: Result of ``inspect.getattr_static``.
    """
    # Other descriptors, such as partialmethod, may return a method: only a call would show it.
    is_descriptor = hasattr(type(found), "__get__")
    is_value = isinstance(found, (property, cached_property))
    if callable(found) or (is_descriptor and not is_value):
        return None
    return f"must be a method, not a {type(found).__name__!r} object"


def declared_methods(cls: type) -> dict[str, object]:
    """Return the public methods of a class as they stand in class bodies.

    Args:
        cls: The class.
    """
    kinds = (FunctionType, staticmethod, classmethod)
    return {
        name: member
        for base in reversed(cls.__mro__[:-1])
        for name, member in vars(base).items()
        if not name.startswith("_") and isinstance(member, kinds)
    }


def _accepts(plugin: object, name: str, found: object, declared: inspect.Signature) -> bool:
    """Return whether the method *found* can be called in each way that is declared."""
    function = found.__func__ if isinstance(found, (staticmethod, classmethod)) else found
    if not isinstance(function, FunctionType):
        return True
    # Only a function of the class is bound; a function stored on the object gets no self.
    is_bound = inspect.getattr_static(type(plugin), name, None) is found
    arguments, keywords = _sample_call(declared)
    try:
        _signature_of(found, is_bound=is_bound).bind(*arguments, **keywords)
    except (TypeError, ValueError):
        return False
    return True


def _signature_of(method: Any, *, is_bound: bool) -> inspect.Signature:
    """Return the arguments of a caller. Raises ValueError without ``self``."""
    function = method.__func__ if isinstance(method, (staticmethod, classmethod)) else method
    takes_self = is_bound and not isinstance(method, staticmethod)
    signature = inspect.signature(MethodType(function, object()) if takes_self else function)
    parameters = signature.parameters.values()
    return inspect.Signature([item.replace(annotation=item.empty) for item in parameters])


def _sample_call(declared: inspect.Signature) -> tuple[list[None], dict[str, None]]:
    """Return a call that uses all that the declared signature promises."""
    arguments: list[None] = []
    keywords: dict[str, None] = {}
    parameters = declared.parameters.values()
    has_more = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    for parameter in parameters:
        kind = parameter.kind
        if kind is parameter.VAR_KEYWORD:
            # Alone, it is room for later additions; beside *args, callers do use it.
            if has_more:
                keywords["_any_keyword"] = None
        elif has_more and kind is not parameter.KEYWORD_ONLY:
            arguments.append(None)
        elif kind is parameter.KEYWORD_ONLY or parameter.default is not parameter.empty:
            keywords[parameter.name] = None
        else:
            arguments.append(None)
    return arguments, keywords
