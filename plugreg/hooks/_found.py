"""The hook implementations of an object, for a process that has no manager."""

from __future__ import annotations

from pluggy import HookImpl

from plugreg._support.frozen import NamedTuple
from plugreg.hooks._specs import Marks, as_plain, find_at_once


class FoundHook(NamedTuple):
    """An implementation: its attribute, the hook, and whether only its name marks it."""

    attribute: str
    hook: str
    impl: HookImpl
    is_implicit: bool


class HookFinder:
    """Finds implementations as a manager of the host does that overrides nothing.

    Args:
        project_name: The host's name, by which its own markers are known.
        implicit_prefix: Unmarked functions whose name begins with it count as hooks.
    """

    def __init__(self, project_name: str, implicit_prefix: str | None) -> None:
        self._project_name = project_name
        self._prefix = implicit_prefix
        self._attributes = f"{project_name}_impl", "plugreg_impl"

    def has_hooks(self, plugin: object) -> bool:
        """Return whether an object has any implementation; no attribute is evaluated."""
        found = find_at_once(plugin, Marks(self._attributes, self._prefix))
        return bool(self.find(plugin) if found is None else found)

    def find(self, plugin: object) -> list[FoundHook]:
        """Return the implementations of an object in the order of their names."""
        found = find_at_once(plugin, Marks(self._attributes, self._prefix))
        if found is None:
            # Its class may define its attributes itself.
            from plugreg.hooks._manager import PluginManager

            manager = PluginManager(self._project_name, implicit_prefix=self._prefix)
            return [
                FoundHook(hook, hook, impl, manager.is_by_prefix(impl))
                for hook, impl in manager.implementations(plugin, "plugin").pairs
            ]
        marks = Marks(self._attributes, None)
        implementations = []
        for attribute, options, function in found:
            impl = HookImpl(plugin, "plugin", function, as_plain(options))
            hook = impl.opts["specname"] or str.__str__(attribute)
            is_implicit = marks.options("", impl.function) is None
            implementations.append(FoundHook(attribute, hook, impl, is_implicit))
        return implementations
