"""Observing calls: counts and times, and the stacks of running calls."""

from __future__ import annotations

import gc
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import field
from time import perf_counter
from types import CoroutineType, FrameType
from typing import Any, Protocol

from plugreg._support.frozen import Frozen
from plugreg._support.guard import running_trio
from plugreg._support.per_process import PerProcess


class CallObserver(Protocol):
    """Observes each call of an implementation, in its thread and context.

    An observer is the host's own, and should be quick. Its exceptions are logged, and cost no
    plugin anything.
    """

    def began(self, slug: str, hook: str) -> Any:
        """Note that a plugin is called.

        Args:
            slug: The plugin.
            hook: The hook's name, or ``mixin.method``.

        Returns:
            A token for :meth:`ended`.
        """
        ...

    def ended(self, token: Any, error: BaseException | None) -> None:
        """Note that the call has ended.

        Args:
            token: The token that :meth:`began` has returned.
            error: The exception. None without one, and where the host or the process has aborted
                the call: by a cancellation that is no timeout, by Ctrl-C, or by throwing away an
                awaitable.
        """
        ...


class CallStats(Frozen):
    """All calls of one hook of one plugin that have ended.

    Attributes:
        slug: The plugin.
        hook: The hook's name, or ``mixin.method``.
        calls: Number of calls.
        errors: Number of calls that raised, or were refused since the plugin was busy. Calls
            that the host has aborted are no errors.
        seconds: Duration of all calls.
        worst: Duration of the longest call.
    """

    slug: str
    hook: str
    calls: int
    errors: int
    seconds: float
    worst: float


class RunningCall(Frozen):
    """A call that has not ended.

    Attributes:
        slug: The plugin.
        hook: The hook's name, or ``mixin.method``.
        seconds: Time since it began.
        thread: Name of its thread.
        stack: Traceback of its thread or task, the innermost frame last; an empty string where
            this cannot be known.
    """

    slug: str
    hook: str
    seconds: float
    thread: str
    stack: str = field(repr=False)


class _StartedCall:
    __slots__ = ("began", "hook", "slug", "stack", "thread")

    def __init__(self, slug: str, hook: str) -> None:
        self.slug = slug
        self.hook = hook
        self.note_place()
        self.began = perf_counter()

    def note_place(self) -> None:
        thread = threading.current_thread()
        self.thread, self.stack = thread.name, _stack_of(thread.ident)


class _Total:
    __slots__ = ("calls", "errors", "seconds", "worst")

    def __init__(self) -> None:
        self.calls = self.errors = 0
        self.seconds = self.worst = 0.0


class Observation:
    """Counts and times calls, as a :class:`CallObserver`. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = PerProcess(threading.Lock)
        self._totals: dict[tuple[str, str], _Total] = {}
        self._running: dict[int, _StartedCall] = {}

    def began(self, slug: str, hook: str) -> _StartedCall:
        """See :meth:`CallObserver.began`."""
        call = _StartedCall(slug, hook)
        self._running[id(call)] = call
        return call

    def moved(self, token: _StartedCall) -> None:
        """Note that a call goes on in this task, which awaits the returned awaitable."""
        token.note_place()

    def ended(self, token: _StartedCall, error: BaseException | None) -> None:
        """See :meth:`CallObserver.ended`."""
        seconds = perf_counter() - token.began
        self._running.pop(id(token), None)
        with self._lock.get():
            total = self._totals.setdefault((token.slug, token.hook), _Total())
            total.calls += 1
            total.errors += error is not None
            total.seconds += seconds
            total.worst = max(total.worst, seconds)

    def forget(self, slug: str) -> None:
        """Forget the calls of a plugin that is gone.

        Args:
            slug: The plugin.
        """
        with self._lock.get():
            for key in [key for key in self._totals if key[0] == slug]:
                del self._totals[key]

    def stats(self) -> tuple[CallStats, ...]:
        """Return the numbers until now, the most time first."""
        with self._lock.get():
            found = [
                CallStats(
                    slug=slug,
                    hook=hook,
                    calls=total.calls,
                    errors=total.errors,
                    seconds=total.seconds,
                    worst=total.worst,
                )
                for (slug, hook), total in self._totals.items()
            ]
        return tuple(sorted(found, key=lambda stats: (-stats.seconds, stats.slug, stats.hook)))

    def running(self, longer_than: float = 0.0) -> tuple[RunningCall, ...]:
        """Return the calls under way, the longest first.

        Args:
            longer_than: Seconds since which a call must be under way.
        """
        now = perf_counter()
        found = [
            RunningCall(
                slug=call.slug,
                hook=call.hook,
                seconds=now - call.began,
                thread=call.thread,
                stack=call.stack(),
            )
            for call in list(self._running.values())
            if now - call.began > longer_than
        ]
        return tuple(sorted(found, key=lambda call: -call.seconds))


def _stack_of(thread: int | None) -> Callable[[], str]:
    """Return a function that formats the stack of this task, or of this thread."""
    coroutine = _current_coroutine()

    def stack() -> str:
        # A task that does not wait is at work in its thread.
        if coroutine is not None and not getattr(coroutine, "cr_running", False):
            frames = traceback.StackSummary.extract(iter(_frames_of(coroutine)))
            return "".join(frames.format())
        frame = sys._current_frames().get(thread or 0)
        return "" if frame is None else "".join(traceback.format_stack(frame))

    return stack


def _current_coroutine() -> Any:
    # Asked first, since trio may run as a guest of asyncio's loop.
    trio = running_trio()
    if trio is not None:
        return trio.lowlevel.current_task().coro
    # A process without asyncio has no task, so it is not imported for that. While another thread
    # imports it, it has not all of its names, and runs no loop.
    current_task = getattr(sys.modules.get("asyncio"), "current_task", None)
    if current_task is None:
        return None
    try:
        task = current_task()
    except RuntimeError:  # No loop runs in this thread.
        return None
    return None if task is None else task.get_coro()


def _frames_of(awaited: Any) -> list[tuple[FrameType, int]]:
    """Return the frames of a coroutine and of its awaitables, outermost first."""
    frames = []
    while awaited is not None:
        frame = _first_of(awaited, "cr_frame", "gi_frame", "ag_frame")
        if frame is not None:
            frames.append((frame, frame.f_lineno))
        inner = _first_of(awaited, "cr_await", "gi_yieldfrom", "ag_await")
        awaited = _inside(awaited) if inner is None else inner
    return frames


def _first_of(awaited: Any, *names: str) -> Any:
    """Return the first of these attributes that is not None, or None."""
    values = (getattr(awaited, name, None) for name in names)
    return next((value for value in values if value is not None), None)


def _inside(awaited: Any) -> Any:
    """Return the coroutine behind ``coroutine.__await__()``, else None."""
    if type(awaited).__name__ != "coroutine_wrapper":
        return None
    # It has no attributes, and shows its coroutine to the garbage collector alone.
    return next((item for item in gc.get_referents(awaited) if type(item) is CoroutineType), None)
