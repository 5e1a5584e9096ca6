"""A capability of plugins as a row of data, and the functions that read it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any, Final

from plugreg._support.frozen import Frozen


class MixinSpec(Frozen, kw_only=False):
    """A capability that plugins may have.

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
        TypeError: If *cls* is not a class, or a Protocol that `issubclass` refuses.
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
        try:
            issubclass(object, self.cls)
        except TypeError as error:
            # A Protocol with data members, or one that is not for run time.
            raise TypeError(
                f"mixin {key!r}: nobody can ask whether a plugin's class derives from "
                f"{self.cls.__name__!r} ({error}); give a class, or a protocol of methods alone "
                "that is @runtime_checkable"
            ) from error
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
    """Call the row's ``activate``, if any. Exceptions propagate.

    Args:
        spec: The capability.
        plugin: The plugin object.
        full: Whether this is a full reload.
    """
    if spec.activate is not None:
        from plugreg.settings.definition import call_with_accepted

        call_with_accepted(spec.activate, plugin, full=full)


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
