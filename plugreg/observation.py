"""What plugins do with the time: their calls, counted and timed, and those that are under way."""

from __future__ import annotations

import gc
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from types import CoroutineType, FrameType
from typing import Any, Protocol

from plugreg._support.guard import running_trio
from plugreg._support.per_process import PerProcess


class CallObserver(Protocol):
    """Is told of each call of an implementation, in the thread and the context that make it.

    It is the host's own, and should be quick. What it raises is logged, and costs no plugin
    anything.
    """

    def began(self, slug: str, hook: str) -> Any:
        """Take note that a plugin is called; what is returned is handed back at the end."""
        ...

    def ended(self, token: Any, error: BaseException | None) -> None:
        """Take note that the call has ended, with what was raised, None where nothing was.

        It is None, too, where the host or the process has broken the call off: by a cancellation
        that is no time-out, by Ctrl-C, or by throwing away what was to be awaited.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class CallStats:
    """All calls of one hook of one plugin that have ended.

    ``errors`` of the ``calls`` have raised, or were refused since the plugin was busy; those that
    the host has broken off are no errors. ``seconds`` they took in all, the longest ``worst``.
    """

    slug: str
    hook: str
    calls: int
    errors: int
    seconds: float
    worst: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RunningCall:
    """A call that has not ended: since how many ``seconds``, and where it is now.

    ``stack`` is what a traceback shows of the thread, or of the task, that runs it, the innermost
    frame last; "" where that cannot be known.
    """

    slug: str
    hook: str
    seconds: float
    thread: str
    stack: str = field(repr=False)


@dataclass(slots=True, eq=False)
class _Running:
    slug: str
    hook: str
    thread: str
    stack: Callable[[], str]
    began: float = field(default_factory=perf_counter)


@dataclass(slots=True)
class _Total:
    calls: int = 0
    errors: int = 0
    seconds: float = 0.0
    worst: float = 0.0


class Observation:
    """Counts and times calls. It is a :class:`CallObserver`, and may be asked from any thread."""

    def __init__(self) -> None:
        self._lock = PerProcess(threading.Lock)
        self._totals: dict[tuple[str, str], _Total] = {}
        self._running: dict[int, _Running] = {}

    def began(self, slug: str, hook: str) -> _Running:
        """See :meth:`CallObserver.began`."""
        thread = threading.current_thread()
        running = _Running(slug, hook, thread.name, _stack_of(thread.ident))
        self._running[id(running)] = running
        return running

    def moved(self, token: _Running) -> None:
        """Take note that a call goes on here: what was returned to be awaited is awaited now."""
        thread = threading.current_thread()
        token.thread, token.stack = thread.name, _stack_of(thread.ident)

    def ended(self, token: _Running, error: BaseException | None) -> None:
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
        """Forget the calls of a plugin that is gone."""
        with self._lock.get():
            for key in [key for key in self._totals if key[0] == slug]:
                del self._totals[key]

    def stats(self) -> tuple[CallStats, ...]:
        """Return what was counted so far, what took most time in all first."""
        with self._lock.get():
            found = [
                CallStats(
                    slug=slug,
                    hook=hook,
                    calls=each.calls,
                    errors=each.errors,
                    seconds=each.seconds,
                    worst=each.worst,
                )
                for (slug, hook), each in self._totals.items()
            ]
        return tuple(sorted(found, key=lambda each: (-each.seconds, each.slug, each.hook)))

    def running(self, longer_than: float = 0.0) -> tuple[RunningCall, ...]:
        """Return the calls under way since more than so many seconds, the longest first."""
        now = perf_counter()
        found = [
            RunningCall(
                slug=each.slug,
                hook=each.hook,
                seconds=now - each.began,
                thread=each.thread,
                stack=each.stack(),
            )
            for each in list(self._running.values())
            if now - each.began > longer_than
        ]
        return tuple(sorted(found, key=lambda each: -each.seconds))


def _stack_of(thread: int | None) -> Callable[[], str]:
    """Return what shows where the task that runs here is, or the thread if there is none."""
    coroutine = _current_coroutine()

    def stack() -> str:
        # A task that does not wait is at work in its thread.
        if coroutine is not None and not getattr(coroutine, "cr_running", False):
            return _formatted(_frames_of(coroutine))
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
    """Return the frames of a coroutine and of what it waits for, outermost first."""
    frames = []
    while awaited is not None:
        frame = next(
            (
                found
                for name in ("cr_frame", "gi_frame", "ag_frame")
                if (found := getattr(awaited, name, None)) is not None
            ),
            None,
        )
        if frame is not None:
            frames.append((frame, frame.f_lineno))
        awaited = next(
            (
                found
                for name in ("cr_await", "gi_yieldfrom", "ag_await")
                if (found := getattr(awaited, name, None)) is not None
            ),
            _inside(awaited),
        )
    return frames


def _inside(awaited: Any) -> Any:
    """Return the coroutine that ``coroutine.__await__()`` stands for, None for all else."""
    if type(awaited).__name__ != "coroutine_wrapper":
        return None
    # It has no attributes, and shows its coroutine to the garbage collector alone.
    return next((each for each in gc.get_referents(awaited) if type(each) is CoroutineType), None)


def _formatted(frames: list[tuple[FrameType, int]]) -> str:
    return "".join(traceback.StackSummary.extract(iter(frames)).format())
