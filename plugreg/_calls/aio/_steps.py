"""The steps of an asynchronous call: implementations and wrappers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from types import CoroutineType
from typing import Any

from plugreg._calls.aio._workers import BusyPlugins
from plugreg._calls.supervision import SupervisedCall
from plugreg._support.named import NamedTuple
from plugreg.exceptions import PluginBusyError


class Step(NamedTuple):
    """An implementation or a wrapper with its arguments: ``run()`` calls it.

    ``is_async`` says that it is an async function, or an async generator function if a wrapper.
    ``overrun()`` is called when an implementation exceeds its time limit.
    """

    slug: str
    is_async: bool
    run: Callable[[], Any]
    overrun: Callable[[], object] = lambda: None


Begin = Callable[[str, str], SupervisedCall]
"""Takes a plugin's name and a hook's; notes that a call begins, or raises to prevent it."""


def supervise(step: Step, hook: str, begin: Begin) -> Step:
    """Return the step with ``begin`` called where the plugin's code runs."""
    calls: list[SupervisedCall] = []

    def run() -> Any:
        call = begin(step.slug, hook)
        calls.append(call)
        try:
            value = step.run()
        except BaseException as error:
            call.end(error)
            raise
        if hasattr(type(value), "__await__"):
            return SupervisedAwaitable(value, call)
        call.end()
        return value

    def overrun() -> None:
        for call in calls:
            call.overrun()

    return step._replace(run=run, overrun=overrun)


def refuse_if_busy(step: Step, busy: BusyPlugins) -> Step:
    """Return a step that raises PluginBusyError while its plugin is busy.

    Within a supervised step this is a fault of the plugin: code that hangs opens its circuit.
    """

    def run() -> Any:
        if busy.has(step.slug):
            raise PluginBusyError(step.slug)
        return step.run()

    return step._replace(run=run)


class SupervisedAwaitable:
    """An awaitable that is part of a call, which ends with it."""

    def __init__(self, awaitable: Awaitable[Any], call: SupervisedCall) -> None:
        self._awaitable = awaitable
        self._call: SupervisedCall | None = call

    def __await__(self) -> Generator[Any, Any, Any]:
        if self._call is not None:
            self._call.move()
        try:
            value = yield from self._awaitable.__await__()
        except BaseException as error:
            self._end(error)
            raise
        self._end(None)
        return value

    def close(self) -> None:
        """Close an awaitable that was not awaited; none of its code runs."""
        close(self._awaitable)
        self._end(GeneratorExit())

    def _end(self, error: BaseException | None) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.end(error)


def close(awaitable: Awaitable[Any]) -> None:
    """Close a coroutine; none of its code runs if it was never awaited."""
    if type(awaitable) in (CoroutineType, SupervisedAwaitable):
        awaitable.close()  # type: ignore[attr-defined]
