"""What an asynchronous call runs, alone or with what the host has put round each call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from types import CoroutineType
from typing import Any, NamedTuple, Protocol

from plugreg._calls.aio._workers import Busy
from plugreg.exceptions import PluginBusyError


class Step(NamedTuple):
    """An implementation or a wrapper with its arguments: ``run()`` calls it.

    ``is_async`` says that it is an async function, or an async generator function if a wrapper.
    ``overrun()`` is called when an implementation is out of time.
    """

    slug: str
    is_async: bool
    run: Callable[[], Any]
    overrun: Callable[[], object] = lambda: None


class Call(Protocol):
    """A call under way, as :class:`plugreg._calls.supervision.SupervisedCall` is one."""

    def overrun(self) -> None:
        """Take note that it is out of time, though it has not ended."""

    def move(self) -> None:
        """Take note that it goes on here and now."""

    def end(self, error: BaseException | None = None) -> None:
        """Take note of what came of it."""


Begin = Callable[[str, str], Call]
"""Takes a plugin's name and a hook's; notes that a call begins, or raises to prevent it."""


def supervised(step: Step, hook: str, begin: Begin) -> Step:
    """Return the step with ``begin`` round it, called where and when the plugin's code runs."""
    calls: list[Call] = []

    def run() -> Any:
        call = begin(step.slug, hook)
        calls.append(call)
        try:
            value = step.run()
        except BaseException as error:
            call.end(error)
            raise
        if hasattr(type(value), "__await__"):
            return Supervised(value, call)
        call.end()
        return value

    def overrun() -> None:
        for each in calls:
            each.overrun()

    return step._replace(run=run, overrun=overrun)


def unless_busy(step: Step, busy: Busy) -> Step:
    """Return the step that raises PluginBusyError, and does not run, while its plugin is busy.

    Inside of what is ``supervised`` this is a fault of the plugin's as any other: a plugin that
    hangs for ever opens its circuit.
    """

    def run() -> Any:
        if busy.has(step.slug):
            raise PluginBusyError(step.slug)
        return step.run()

    return step._replace(run=run)


class Supervised:
    """Something to await that is part of a call, which ends with it."""

    def __init__(self, awaitable: Awaitable[Any], call: Call) -> None:
        self._awaitable = awaitable
        self._call: Call | None = call

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
        """Close what was not awaited; nothing of its code runs."""
        close(self._awaitable)
        self._end(GeneratorExit())

    def _end(self, error: BaseException | None) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.end(error)


def close(awaitable: Awaitable[Any]) -> None:
    """Close a coroutine that is not awaited any more; nothing of its code runs, if it never was."""
    if type(awaitable) in (CoroutineType, Supervised):
        awaitable.close()  # type: ignore[attr-defined]
