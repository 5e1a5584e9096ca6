"""One change at a time: jobs take turns, and equal ones share one."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from time import monotonic
from typing import Any, Final
from weakref import ref

from plugreg._support.guard import Guard, explain, places_of
from plugreg._support.per_process import PerProcess
from plugreg.exceptions import RegistryBusyError

_logger = logging.getLogger("plugreg")

_MOST_ROUNDS: Final = 20
"""How often jobs that were put off may put off others before it is taken for a loop."""

_BETWEEN_LOOKS: Final = 0.2
"""Seconds between two calls of what is done meanwhile."""


class _Change:
    """A caller's place in the line, behind that of the caller ``before`` it.

    Its thread holds ``lock`` by a ``with`` from before others can see it until its job has ended
    or it has given up, and so lets go of it whatever is raised where. ``before`` becomes None as
    its job begins, and never when it gives up. ``behind`` keeps the next one, which leads to this
    one even after it gave up. ``outcome`` is what its job has returned and what it has raised, None
    as long as there is neither.
    """

    __slots__ = ("__weakref__", "before", "behind", "lock", "outcome", "share")

    def __init__(self, share: Hashable | None) -> None:
        self.share = share
        self.lock = threading.RLock()
        self.before: _Change | None = None
        self.behind: _Change | None = None
        self.outcome: tuple[Any, Exception | None] | None = None


class _Line:
    """The turns of one process, from the last one backwards, and the jobs that are put off."""

    __slots__ = ("last", "lock", "put_off")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        # Who is in the line is held by its thread, and by who waits for it; nobody is kept after.
        self.last: Callable[[], _Change | None] = lambda: None
        self.put_off: deque[tuple[Callable[[], Any], Hashable | None]] = deque()

    def enter(self, turn: _Change) -> _Change | None:
        """Let a turn be the last one, or return the equal one that waits already."""
        with self.lock:
            turn.before = known = self.last()
            while turn.share is not None and known is not None and known.before is not None:
                if known.share == turn.share:
                    return known
                known = known.before
            if turn.before is not None:
                turn.before.behind = turn
            self.last = ref(turn)
        return None


class _Here(threading.local):
    """Of each thread: a lock that it holds while it waits in a line or runs a job.

    A forked child's one thread has its parent's.
    """

    def __init__(self) -> None:
        self.busy = threading.Lock()


class ChangeQueue:
    """Runs jobs one after the other, each in the thread that brought it, in the order they came.

    A job that is brought while it is the running job's own thread that asks (plugin code that
    wants a reload while it is being loaded) cannot wait for its turn: it is put off until the
    running one has ended, once for equal ones, and ``run`` returns None at once. Such jobs may
    put off others, 20 times over: what still comes then would never end, and is dropped with an
    error in the log. Readers have nothing to do with this.

    A process that was forked begins with an empty line, and waits for nothing that its parent has
    begun. Only a thread that was forked inside a job is inside it still, and its own are put off.

    Whether a job runs, and whose it is, no flag says: it is who holds which lock. Each is one of
    the interpreter's own, held by a ``with``, so that Ctrl-C can come at any place.

    ``wait`` is how many seconds a caller waits in all, whether it has brought the job or has joined
    one, before RegistryBusyError is raised.
    """

    def __init__(self, wait: float) -> None:
        self._wait = wait
        self._lines = PerProcess(_Line)
        self._here = _Here()

    def run(
        self,
        job: Callable[[], Any],
        share: Hashable | None = None,
        meanwhile: Callable[[], object] | None = None,
    ) -> Any:
        """Run ``job`` when its turn comes and return what it returns, or raise what it raises.

        A job with the same ``share`` (not None) that still waits is joined instead: its result
        is returned to all who joined it. ``meanwhile`` is called again and again while it waits.
        """
        line = self._lines.get()
        if self.are_mine():
            if share is None or all(share != other for _, other in line.put_off):
                line.put_off.append((job, share))
            return None
        deadline = monotonic() + self._wait
        with self._here.busy:
            while True:
                turn = _Change(share)
                with turn.lock:
                    joined = line.enter(turn)
                    if joined is None:
                        self._await(turn, deadline, meanwhile)
                        return self._take(turn, job)
                self._wait_for(joined, deadline, meanwhile)
                if joined.outcome is not None:
                    result, error = joined.outcome
                    if error is not None:
                        raise error
                    return result
                # It gave up, or Ctrl-C has ended it: nobody is to join it any more.
                joined.share = None

    def are_mine(self) -> bool:
        """Tell whether the calling thread is running a job now, or waits to run one."""
        return self._here.busy.locked()

    def are_free(self) -> bool:
        """Tell whether nobody runs a job, or waits to run one, or this thread itself does."""
        last = self._lines.get().last()
        return last is None or _ends(last, 0.0)

    def _await(
        self, turn: _Change, deadline: float, meanwhile: Callable[[], object] | None
    ) -> None:
        while turn.before is not None:
            self._wait_for(turn.before, deadline, meanwhile)
            # It has ended, and nobody is before it; or it gave up, and whoever was before it is.
            turn.before = turn.before.before

    def _wait_for(
        self, turn: _Change, deadline: float, meanwhile: Callable[[], object] | None
    ) -> None:
        longest = threading.TIMEOUT_MAX if meanwhile is None else _BETWEEN_LOOKS
        while not _ends(turn, min(max(0.0, deadline - monotonic()), longest)):
            if monotonic() >= deadline:
                raise RegistryBusyError(self._wait)
            if meanwhile is not None:
                meanwhile()

    def _take(self, turn: _Change, job: Callable[[], Any]) -> Any:
        try:
            result = job()
            turn.outcome = (result, None)
        except Exception as error:
            turn.outcome = (None, error)
            raise
        finally:
            self._run_put_off(self._lines.get())
            turn.behind = None
        return result

    def _run_put_off(self, line: _Line) -> None:
        for _ in range(_MOST_ROUNDS):
            # Where Ctrl-C ends this, what is left is done at the end of the next turn.
            for _ in range(len(line.put_off)):
                job, _ = line.put_off.popleft()
                with Guard() as guard:
                    job()
                if guard.error is not None:
                    _logger.error(
                        "a change that was put off has failed with %s at %s",
                        explain(guard.error).exception_type,
                        places_of(guard.error),
                    )
        if line.put_off:
            # Each change asks for the next one: a plugin that reloads whenever it was loaded.
            _logger.error("changes ask for changes without end; %d are dropped", len(line.put_off))
            line.put_off.clear()


def _ends(turn: _Change, seconds: float) -> bool:
    """Wait until a turn has ended or was given up; return whether it was within these seconds."""
    try:
        return turn.lock.acquire(timeout=seconds)
    finally:
        # Ctrl-C may come when it is acquired, and not known to be.
        with suppress(RuntimeError):
            turn.lock.release()
