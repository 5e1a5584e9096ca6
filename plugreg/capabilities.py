"""Calling the methods that plugins have by their mixins, isolated as hooks are."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from types import FunctionType
from typing import Any, NamedTuple

from plugreg._calls.dispatcher import Dispatcher, Outcome
from plugreg.hooks import AsyncOnly, Row
from plugreg.mixins import ValidationFault
from plugreg.records import Snapshot


class Capabilities:
    """Calls one method of a mixin on each active plugin that has the mixin.

    A fault costs the plugin its own outcome and is recorded as that of a hook is, under the name
    ``mixin.method``. The circuits, observers and time limits of hooks hold here, too. A
    ValidationFault is an answer: its outcome has it as ``error``, without a record.

    Plugins are called in activation order. A plugin without the method is left out, and so is
    every plugin where the host has switched the mixin off. It may be used from any thread.

    Args:
        current: Returns the snapshot; raises RegistryNotReady before load and after close.
        dispatch: Makes the calls.
    """

    def __init__(self, current: Callable[[], Snapshot], dispatch: Dispatcher) -> None:
        self._current = current
        self._dispatch = dispatch
        self._slugs: frozenset[str] | None = None

    def only(self, *slugs: str) -> Capabilities:
        """Return the same for these plugins alone; a slug that is not active calls nobody."""
        bound = copy(self)
        bound._slugs = frozenset(slugs)
        return bound

    def bind(self, *, timeout: float | None) -> Capabilities:
        """Return the same with another time limit for :meth:`aoutcomes`.

        Raises:
            ValueError: If *timeout* is not above 0.
        """
        bound = copy(self)
        bound._dispatch = self._dispatch.bind(timeout=timeout)
        return bound

    def outcomes(self, mixin: str, method: str, /, *args: Any, **kwargs: Any) -> list[Outcome[Any]]:
        """Call a method on each plugin and return one outcome for each, None results included.

        Args:
            mixin: The mixin's key, as in ``with_mixin``.
            method: The method's name.
            *args: Handed to the method, as are *kwargs*.
            **kwargs: See *args*.

        Returns:
            The outcomes in activation order; an empty list where no plugin has the method.

        Raises:
            RegistryNotReady: Before load and after close.
        """
        rows = self._rows(mixin, method, args, kwargs)
        return [*map(_answered, self._dispatch.run(rows))]

    async def aoutcomes(
        self, mixin: str, method: str, /, *args: Any, **kwargs: Any
    ) -> list[Outcome[Any]]:
        """Call a method on each plugin as :meth:`outcomes` does, from a coroutine.

        Async methods run concurrently, the others one after the other in a worker thread, as
        implementations of hooks do.
        """
        rows = self._rows(mixin, method, args, kwargs)
        return [*map(_answered, await self._dispatch.arun(rows))]

    def _rows(
        self, mixin: str, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> list[Row]:
        snapshot, key = self._current(), mixin.strip().lower()
        if key not in snapshot.by_mixin:
            # Nobody has it, or the host has switched it off.
            return []
        return [
            Row(slug, f"{key}.{method}", _function(active.plugin, method, args, kwargs), ())
            for slug, active in snapshot.active.items()
            if key in active.enabled
            and (self._slugs is None or slug in self._slugs)
            and inspect.getattr_static(active.plugin, method, None) is not None
        ]


class _Refusal(NamedTuple):
    """Carries a ValidationFault through the call, which would take it for a fault."""

    fault: ValidationFault


def _function(
    plugin: Any, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Callable[[], Any]:
    """Return what calls the method; the attribute is read inside of the call."""

    def call() -> Any:
        try:
            return getattr(plugin, method)(*args, **kwargs)
        except ValidationFault as fault:
            return _Refusal(fault)

    async def acall() -> Any:
        try:
            return await getattr(plugin, method)(*args, **kwargs)
        except ValidationFault as fault:
            return _Refusal(fault)

    declared = inspect.getattr_static(plugin, method)
    # Of a foreign object nothing is asked, since it may answer with code of its own.
    is_async = type(declared) is FunctionType and inspect.iscoroutinefunction(declared)
    return AsyncOnly(acall, method) if is_async else call


def _answered(outcome: Outcome[Any]) -> Outcome[Any]:
    if type(outcome.value) is _Refusal:
        return replace(outcome, value=None, error=outcome.value.fault)
    return outcome
