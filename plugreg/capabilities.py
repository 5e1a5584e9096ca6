"""Calling the methods that plugins have by their mixins, isolated as hooks are."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from functools import partial
from types import FunctionType
from typing import Any, NamedTuple

from plugreg._calls.dispatcher import Dispatcher
from plugreg._calls.outcome import Outcome
from plugreg.hooks import ASYNC_TWIN, AsyncOnly, BothWays, Row
from plugreg.mixins import ValidationFault
from plugreg.records import Snapshot


class Capabilities:
    """Calls a method of a mixin on each active plugin that has the mixin.

    A fault costs the plugin its own outcome. It is recorded as a hook's fault is, under the name
    ``mixin.method``. The circuits, observers and time limits of hooks apply. A ValidationFault is
    an answer: its outcome has the exception as ``error``, without a record.

    Plugins are called in activation order. A plugin without the method is left out, and so is
    every plugin where the host has switched the mixin off. Any thread may call.

    Args:
        current: Returns the snapshot; raises RegistryNotReady before load and after close.
        dispatch: Makes the calls.
    """

    def __init__(self, current: Callable[[], Snapshot], dispatch: Dispatcher) -> None:
        self._current = current
        self._dispatch = dispatch
        self._slugs: frozenset[str] | None = None

    def only(self, *slugs: str) -> Capabilities:
        """Return the same calls, limited to some plugins.

        Args:
            *slugs: The plugins. A slug that is not active is ignored.
        """
        bound = copy(self)
        bound._slugs = frozenset(slugs)
        return bound

    def bind(self, *, timeout: float | None) -> Capabilities:
        """Return the same calls with another time limit for :meth:`aoutcomes`.

        Args:
            timeout: Seconds that each plugin may take; None means no limit.

        Raises:
            ValueError: If *timeout* is not above 0.
        """
        bound = copy(self)
        bound._dispatch = self._dispatch.bind(timeout=timeout)
        return bound

    def outcomes(self, mixin: str, method: str, /, *args: Any, **kwargs: Any) -> list[Outcome[Any]]:
        """Call a method on each plugin and return an outcome for each.

        Args:
            mixin: The mixin's key, as in ``with_mixin``.
            method: The method's name.
            *args: Positional arguments of the method.
            **kwargs: Keyword arguments of the method.

        Returns:
            The outcomes in activation order, with None results; an empty list where no plugin
                has the method.

        Raises:
            RegistryNotReady: Before load and after close.
        """
        rows = self._rows(mixin, method, args, kwargs)
        return [*map(_unwrap_refusal, self._dispatch.run(rows))]

    async def aoutcomes(
        self, mixin: str, method: str, /, *args: Any, **kwargs: Any
    ) -> list[Outcome[Any]]:
        """Call a method on each plugin from a coroutine; see `outcomes` for arguments and result.

        Async methods run concurrently, the others in turn in a worker thread.
        """
        rows = self._rows(mixin, method, args, kwargs)
        return [*map(_unwrap_refusal, await self._dispatch.arun(rows))]

    def _rows(
        self, mixin: str, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> list[Row]:
        key = mixin.strip().lower()
        return [
            Row(active.slug, f"{key}.{method}", _make_call(active.plugin, method, args, kwargs), ())
            for active in self._current().with_mixin(key)
            if (self._slugs is None or active.slug in self._slugs)
            and inspect.getattr_static(active.plugin, method, None) is not None
        ]


class _Refusal(NamedTuple):
    """Carries a ValidationFault through the call, which would record an exception."""

    fault: ValidationFault


def _make_call(
    plugin: Any, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Callable[[], Any]:
    """Return a function that reads the attribute and calls it."""

    def call() -> Any:
        try:
            return getattr(plugin, method)(*args, **kwargs)
        except ValidationFault as fault:
            return _Refusal(fault)

    async def acall(function: Callable[..., Any] | None = None) -> Any:
        try:
            return await (function or getattr(plugin, method))(*args, **kwargs)
        except ValidationFault as fault:
            return _Refusal(fault)

    declared = inspect.getattr_static(plugin, method)
    # A foreign object is not asked, since its answer may be code of its own.
    if type(declared) is not FunctionType:
        return call
    if inspect.iscoroutinefunction(declared):
        return AsyncOnly(acall, method)
    twin = declared.__dict__.get(ASYNC_TWIN)
    return call if twin is None else BothWays(call, partial(acall, twin.__get__(plugin)))


def _unwrap_refusal(outcome: Outcome[Any]) -> Outcome[Any]:
    if type(outcome.value) is _Refusal:
        return replace(outcome, value=None, error=outcome.value.fault)
    return outcome
