"""Hooks with the implementations of some plugins alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from pluggy import HookCaller

from plugreg.hooks._specs import slug_of
from plugreg.hooks._tables import HookTable

if TYPE_CHECKING:
    from plugreg.hooks._order import Position
    from plugreg.hooks._rows import Row


class Identities:
    """A set of objects that compares by identity alone."""

    def __init__(self, objects: Iterable[Any]) -> None:
        self._objects = {id(item): item for item in objects}

    def __contains__(self, item: object) -> bool:
        return id(item) in self._objects


_MOST_PARTS: Final = 100
"""How many sets of plugins a hook keeps tables of."""


class HookSubset:
    """The hooks of a manager with the implementations of some plugins alone, wrappers included.

    Args:
        table_of: Returns the whole table of a hook.
        slugs: The plugins.
        around: As for `HookTable`.
    """

    def __init__(
        self,
        table_of: Callable[[Any], HookTable],
        slugs: frozenset[str],
        around: Callable[[Row], Row] | None,
    ) -> None:
        self._table_of = table_of
        self._slugs = slugs
        self._around = around

    def subset(self, slugs: Iterable[str]) -> HookSubset:
        """Return the hooks with the implementations of some of these plugins.

        Args:
            slugs: The plugins.
        """
        return HookSubset(self.table, frozenset(slugs), self._around)

    def table(self, hook: Any) -> HookTable:
        """Return the table of a hook, as `PluginManager.table` does.

        Args:
            hook: The spec function, or the hook's name.
        """
        whole = self._table_of(hook)
        part = whole.parts.get(self._slugs)
        if part is None:
            if len(whole.parts) >= _MOST_PARTS:
                whole.parts.clear()
            caller = HookCaller(whole.hook.name, whole.hook._hookexec)
            caller.spec = whole.spec
            caller._hookimpls.extend(impl for impl in whole.impls if slug_of(impl) in self._slugs)
            part = whole.parts[self._slugs] = HookTable(caller, self._around)
        return part

    def explain(self, hook: Any) -> tuple[Position, ...]:
        """Return these implementations of a hook in call order, as `PluginManager.explain` does.

        Args:
            hook: The spec function, or the hook's name.
        """
        return self.table(hook).explain()
