"""A queue of changes: jobs run one at a time, and equal jobs are joined.

Events of a change wait for its end.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from time import monotonic
from typing import Any, Final, TypeVar
from weakref import ref

from plugreg._support import PerProcess, exceptions
from plugreg._support.guard import Guard, explain, places_of

T = TypeVar("T")

_logger = logging.getLogger("plugreg")

_MOST_ROUNDS: Final = 20
"""How often deferred jobs may defer others, and events cause events, before it is a loop."""

_BETWEEN_LOOKS: Final = 0.2
"""Seconds between two calls of ``meanwhile``."""


class _Change:
    """A caller's place in the queue, behind the change ``before`` it.

    Its thread holds ``lock`` by a ``with`` from before others can see the change until its job has
    ended or it has given up, and so releases it whatever is raised where. ``before`` becomes None
    as the job begins, and never when the change gives up. ``behind`` keeps the next change, which
    leads to this change even after it gave up. ``outcome`` is the job's result and exception, None
    as long as there is neither.
    """

    __slots__ = ("__weakref__", "before", "behind", "key", "lock", "outcome")

    def __init__(self, key: Hashable | None) -> None:
        self.key = key
        self.lock = threading.RLock()
        self.before: _Change | None = None
        self.behind: _Change | None = None
        self.outcome: tuple[Any, Exception | None] | None = None


class _Queue:
    """The changes of a process, linked from the last backwards, and the deferred jobs."""

    __slots__ = ("deferred", "last", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        # A change is held by its thread, and by those that wait for it; none is kept after that.
        self.last: Callable[[], _Change | None] = lambda: None
        self.deferred: deque[tuple[Callable[[], Any], Hashable | None]] = deque()

    def enter(self, change: _Change) -> _Change | None:
        """Append a change, or return an equal change that already waits."""
        with self.lock:
            change.before = known = self.last()
            while change.key is not None and known is not None and known.before is not None:
                if known.key == change.key:
                    return known
                known = known.before
            if change.before is not None:
                change.before.behind = change
            self.last = ref(change)
        return None


class _ThreadState(threading.local):
    """Of each thread: a lock that it holds while it waits in the queue or runs a job.

    The only thread of a forked child has its parent's.
    """

    def __init__(self) -> None:
        self.busy = threading.Lock()


class ChangeQueue:
    """Runs jobs one after another, each in the thread of its caller, in the order of the calls.

    Plugin code that asks for a change while it is being loaded cannot wait for its turn, since its
    own thread runs the current job. Its job is deferred until the current one has ended, once for
    equal jobs. Deferred jobs may defer others, 20 times over; those left then are dropped with an
    error in the log, since there would be no end. Readers never wait here.

    A forked process begins with an empty queue, and waits for nothing that its parent has begun.
    Only a thread that was forked inside a job is inside it still, and its own jobs are deferred.

    No flag says whether a job runs, and in which thread: that is known by which thread holds which
    lock. Each is a lock of the interpreter, held by a ``with``, so that Ctrl-C can come anywhere.

    Args:
        wait: Seconds that a caller waits in total, for its own job or for a joined job.
        after: Called in a caller's thread once that has left the queue, whatever has come of it.
    """

    def __init__(self, wait: float, after: Callable[[], object] = lambda: None) -> None:
        self._wait = wait
        self._after = after
        self._lines = PerProcess(_Queue)
        self._here = _ThreadState()

    def run(
        self,
        job: Callable[[], T],
        key: Hashable | None = None,
        meanwhile: Callable[[], object] | None = None,
    ) -> T | None:
        """Run a job when its turn comes, and return its result.

        Args:
            job: The change.
            key: Equal jobs have equal keys. If such a job still waits, it is joined: all callers
                get its result. None joins no other job.
            meanwhile: Called again and again while the caller waits.

        Returns:
            The job's result. None if the job was deferred.

        Raises:
            RegistryBusyError: If the turn did not come in time. Nothing has changed then.
        """
        line = self._lines.get()
        if self.is_inside():
            if key is None or all(key != other for _, other in line.deferred):
                line.deferred.append((job, key))
            return None
        deadline, change = monotonic() + self._wait, _Change(key)
        try:
            with self._here.busy, change.lock:
                while (joined := line.enter(change)) is not None:
                    self._wait_for(joined, deadline, meanwhile)
                    if joined.outcome is not None:
                        result: T
                        result, error = joined.outcome
                        if error is not None:
                            raise error
                        return result
                    # It gave up, or Ctrl-C has ended it: nobody is to join it any more.
                    joined.key = None
                while change.before is not None:
                    self._wait_for(change.before, deadline, meanwhile)
                    # It has ended, and no change precedes it; or it gave up, and a change may.
                    change.before = change.before.before
                try:
                    result = job()
                    change.outcome = (result, None)
                except Exception as error:
                    change.outcome = (None, error)
                    raise
                finally:
                    _run_deferred(self._lines.get())
                    change.behind = None
                return result
        finally:
            self._after()

    def is_inside(self) -> bool:
        """Return whether the calling thread is running a job now, or waits to run one."""
        return self._here.busy.locked()

    def is_free(self) -> bool:
        """Return whether no other thread runs a job, or waits to run one."""
        last = self._lines.get().last()
        return last is None or _has_ended(last, 0.0)

    def _wait_for(
        self, change: _Change, deadline: float, meanwhile: Callable[[], object] | None
    ) -> None:
        longest = threading.TIMEOUT_MAX if meanwhile is None else _BETWEEN_LOOKS
        while not _has_ended(change, min(max(0.0, deadline - monotonic()), longest)):
            if monotonic() >= deadline:
                raise exceptions.RegistryBusyError(self._wait)
            if meanwhile is not None:
                meanwhile()


def _has_ended(change: _Change, seconds: float) -> bool:
    """Wait until a change has ended or was given up; return whether it was within *seconds*."""
    try:
        return change.lock.acquire(timeout=seconds)
    finally:
        # Ctrl-C may come when the lock is acquired, and not known to be.
        with suppress(RuntimeError):
            change.lock.release()


def _run_deferred(line: _Queue) -> None:
    for _ in range(_MOST_ROUNDS):
        # If Ctrl-C ends this, the rest is done at the end of the next change.
        for _ in range(len(line.deferred)):
            job, _ = line.deferred.popleft()
            with Guard() as guard:
                job()
            if guard.error is not None:
                _logger.error(
                    "a deferred change has failed with %s at %s",
                    explain(guard.error).exception_type,
                    places_of(guard.error),
                )
    if line.deferred:
        # Each change requests the next: a plugin that reloads whenever it was loaded.
        _logger.error("changes ask for changes without end; %d are dropped", len(line.deferred))
        line.deferred.clear()


# -- events ----------------------------------------------------------------------------------


Notify = Callable[..., object]
"""Emits an event of plugreg itself: its name, and its arguments by keyword."""


class _Pending(threading.local):
    """The events that this thread has yet to emit, and whether it is emitting now."""

    events: tuple[tuple[str, dict[str, Any]], ...] = ()
    is_flushing = False


class EventOutbox:
    """Collects plugreg's own events during a change.

    Each thread has its own events, in their order. Emitting waits until the change has ended, since
    a queue may wait for its worker, which may wait for the change.
    """

    def __init__(self, notify: Notify) -> None:
        self._notify = notify
        self._pending = _Pending()

    def add(self, event: str, /, **kwargs: Any) -> None:
        """Keep an event until :meth:`flush` is called in this thread.

        Args:
            event: The event.
            **kwargs: Its arguments.
        """
        self._pending.events += ((event, kwargs),)

    def flush(self) -> None:
        """Emit the events of this thread, and those that they cause, in order.

        Within a flush of the same thread this does nothing: the outer flush goes on with the new
        events, 20 times over. Events that still follow are dropped with an error in the log.
        """
        pending = self._pending
        if pending.is_flushing:
            return
        pending.is_flushing = True
        try:
            for _ in range(_MOST_ROUNDS):
                events, pending.events = pending.events, ()
                for event, kwargs in events:
                    self._notify(event, **kwargs)
            if pending.events:
                _logger.error(
                    "events cause events without end; %d are dropped", len(pending.events)
                )
        finally:
            pending.events = ()
            pending.is_flushing = False
