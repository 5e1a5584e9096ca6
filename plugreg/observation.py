"""Observing calls: counts and times, and the stacks of running calls."""

from __future__ import annotations

import gc
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from threading import get_ident
from time import perf_counter
from types import CoroutineType, FrameType
from typing import Any, Final, Protocol

from plugreg._support import PerProcess
from plugreg._support.frozen import Frozen, NamedTuple
from plugreg._support.guard import is_abort, running_trio


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
            error: The exception. None without an exception, and where the host or the process has
                aborted the call: by a cancellation that is no timeout, by Ctrl-C, or by throwing
                away an awaitable.
        """
        ...


class CallStats(Frozen):
    """All calls of a hook of a plugin that have ended.

    Attributes:
        slug: The plugin.
        hook: The hook's name, or ``mixin.method``.
        calls: Number of calls.
        errors: Number of calls that raised, or were refused since the plugin was busy. Calls
            that the host has aborted are no errors.
        seconds: Duration of all calls.
        worst: Duration of the longest call.
        process: The process of an isolated plugin as a `plugreg.isolation.ProcessInfo`, measured
            with these numbers; None for other plugins.
    """

    slug: str
    hook: str
    calls: int
    errors: int
    seconds: float
    worst: float
    process: Any = None


class RunningCall(Frozen):
    """A call that has not ended.

    Attributes:
        slug: The plugin.
        hook: The hook's name, or ``mixin.method``.
        seconds: Time since it began.
        thread: Name of its thread.
        stack: Traceback of its thread or task, the innermost frame last; an empty string where
            this cannot be known. That of an isolated plugin is the host's thread, which waits.
        process: The process of an isolated plugin as a `plugreg.isolation.ProcessInfo`, measured
            when this is made; None for other plugins.
    """

    slug: str
    hook: str
    seconds: float
    thread: str
    stack: str = field(repr=False)
    process: Any = None


class _Total:
    __slots__ = ("calls", "errors", "seconds", "worst")

    def __init__(self) -> None:
        self.calls = self.errors = 0
        self.seconds = self.worst = 0.0


class _StartedCall(NamedTuple):
    """A call under way. ``coroutine`` is that of the task which it goes on in, if it does."""

    slug: str
    hook: str
    began: float
    thread: int
    coroutine: Any = None


_MOST_ENDED: Final = 500
"""How many calls may have ended since the totals were brought up to date."""


class Observation:
    """Counts and times calls, as a :class:`CallObserver`. Any thread may use it.

    A call notes little more than its times, without a lock. Totals are made of many notes at
    once; names of threads, tasks and stacks are looked up when :meth:`running` is called.

    Args:
        process_of: Measures the process of a plugin by slug; it returns None for a plugin that is
            not isolated. No call asks it, only :meth:`stats` and :meth:`running` do.
    """

    def __init__(self, process_of: Callable[[str], Any] = lambda _: None) -> None:
        self._process_of = process_of
        self._lock = PerProcess(threading.Lock)
        self._totals: dict[tuple[str, str], _Total] = {}
        self._ended: deque[tuple[str, str, float, bool]] = deque()
        self._running: dict[int, tuple[Any, ...]] = {}

    def around(self, function: Callable[..., Any], slug: str, hook: str) -> Callable[..., Any]:
        """Return a function that calls another, and counts the calls.

        Args:
            function: The function; it is called with positional arguments.
            slug: The plugin.
            hook: The hook's name, or ``mixin.method``.
        """
        running, ended, add_ended = self._running, self._ended, self._add_ended

        def counted(*values: Any) -> Any:
            # The same as began() and ended(), written out: a call of each would take as long again.
            is_error = False
            began = perf_counter()
            token = (slug, hook, began, get_ident())
            running[id(token)] = token
            try:
                return function(*values)
            except BaseException as error:
                is_error = not is_abort(error)
                raise
            finally:
                ended.append((slug, hook, perf_counter() - began, is_error))
                running.pop(id(token), None)
                if len(ended) > _MOST_ENDED:
                    add_ended()

        return counted

    def began(self, slug: str, hook: str) -> Any:
        """See :meth:`CallObserver.began`."""
        # A plain tuple, as making a _StartedCall takes five times as long.
        token = (slug, hook, perf_counter(), get_ident())
        self._running[id(token)] = token
        return token

    def moved(self, token: Any) -> None:
        """Note that a call goes on in this task, which awaits the returned awaitable.

        Args:
            token: The token that :meth:`began` has returned.
        """
        self._running[id(token)] = (*token[:3], get_ident(), _current_coroutine())

    def ended(self, token: Any, error: BaseException | None) -> None:
        """See :meth:`CallObserver.ended`."""
        slug, hook, began, _ = token
        self._ended.append((slug, hook, perf_counter() - began, error is not None))
        self._running.pop(id(token), None)
        if len(self._ended) > _MOST_ENDED:
            self._add_ended()

    def forget(self, slug: str) -> None:
        """Forget the calls of a plugin that is gone.

        Args:
            slug: The plugin.
        """
        self._add_ended()
        with self._lock.get():
            for key in [key for key in self._totals if key[0] == slug]:
                del self._totals[key]

    def stats(self) -> tuple[CallStats, ...]:
        """Return the numbers until now, the most time first."""
        self._add_ended()
        with self._lock.get():
            found = [
                (slug, hook, total.calls, total.errors, total.seconds, total.worst)
                for (slug, hook), total in self._totals.items()
            ]
        processes = self._processes({slug for slug, *_ in found})
        stats = [
            CallStats(
                slug=slug,
                hook=hook,
                calls=calls,
                errors=errors,
                seconds=seconds,
                worst=worst,
                process=processes[slug],
            )
            for slug, hook, calls, errors, seconds, worst in found
        ]
        return tuple(sorted(stats, key=lambda item: (-item.seconds, item.slug, item.hook)))

    def running(self, longer_than: float = 0.0) -> tuple[RunningCall, ...]:
        """Return the calls under way, the longest first.

        Args:
            longer_than: Seconds since which a call must be under way.
        """
        now = perf_counter()
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        calls = [
            call
            for call in [_StartedCall(*noted) for noted in list(self._running.values())]
            if now - call.began > longer_than
        ]
        processes = self._processes({call.slug for call in calls})
        found = [
            RunningCall(
                slug=call.slug,
                hook=call.hook,
                seconds=now - call.began,
                # Python knows no name of a thread that another library has started.
                thread=names.get(call.thread, f"thread {call.thread}"),
                stack=_format_stack(call),
                process=processes[call.slug],
            )
            for call in calls
        ]
        return tuple(sorted(found, key=lambda call: -call.seconds))

    def _processes(self, slugs: Iterable[str]) -> Mapping[str, Any]:
        return {slug: self._process_of(slug) for slug in slugs}

    def _add_ended(self) -> None:
        """Add the calls that have ended to the totals."""
        with self._lock.get():
            for _ in range(len(self._ended)):
                slug, hook, seconds, is_error = self._ended.popleft()
                total = self._totals.get((slug, hook))
                if total is None:
                    total = self._totals[slug, hook] = _Total()
                total.calls += 1
                total.errors += is_error
                total.seconds += seconds
                total.worst = max(total.worst, seconds)


def _format_stack(call: _StartedCall) -> str:
    coroutine = call.coroutine
    # A task that does not wait is at work in its thread.
    if coroutine is not None and not getattr(coroutine, "cr_running", False):
        frames = traceback.StackSummary.extract(iter(_frames_of(coroutine)))
        return "".join(frames.format())
    frame = sys._current_frames().get(call.thread)
    return "" if frame is None else "".join(traceback.format_stack(frame))


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
