"""One change at a time: jobs take turns, and equal ones share one."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from time import monotonic
from typing import Any, Final

from plugreg._forks import PerProcess
from plugreg._guard import Guard, explain, places_of
from plugreg.exceptions import RegistryBusyError

_logger = logging.getLogger("plugreg")

_MOST_ROUNDS: Final = 20
"""How often jobs that were put off may put off others before it is taken for a loop."""


class _Turn:
    """A job that waits, runs or has ended."""

    __slots__ = ("error", "job", "result", "share", "state")

    def __init__(self, job: Callable[[], Any], share: Hashable | None) -> None:
        self.job = job
        self.share = share
        self.state = "waiting"
        self.result: Any = None
        self.error: BaseException | None = None


class _Line:
    """The turns of one process: those that wait, in the order they came, and those put off."""

    __slots__ = ("changed", "is_running", "put_off", "turns")

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.turns: deque[_Turn] = deque()
        self.put_off: list[_Turn] = []
        self.is_running = False


class Turns:
    """Runs jobs one after the other, each in the thread that brought it, in the order they came.

    A job that is brought while it is the running job's own thread that asks (plugin code that
    wants a reload while it is being loaded) cannot wait for its turn: it is put off until the
    running one has ended, once for equal ones, and ``run`` returns None at once. Such jobs may
    put off others, 20 times over: what still comes then would never end, and is dropped with an
    error in the log. Readers have nothing to do with this.

    A process that was forked begins with an empty line, and waits for nothing that its parent has
    begun. Only a thread that was forked inside a job is inside it still, and its own are put off.

    ``wait`` is how many seconds a caller waits in all, whether it has brought the job or has joined
    one, before RegistryBusyError is raised.
    """

    def __init__(self, wait: float) -> None:
        self._wait = wait
        self._lines = PerProcess(_Line)
        # Of each thread: whether it runs a job. A forked child's one thread has its parent's.
        self._here = threading.local()

    def run(self, job: Callable[[], Any], share: Hashable | None = None) -> Any:
        """Run ``job`` when its turn comes and return what it returns, or raise what it raises.

        A job with the same ``share`` (not None) that still waits is joined instead: its result
        is returned to all who joined it.
        """
        return self._run(job, share, monotonic() + self._wait)

    def are_mine(self) -> bool:
        """Tell whether the calling thread is running a job now."""
        return getattr(self._here, "is_running", False)

    def _run(self, job: Callable[[], Any], share: Hashable | None, deadline: float) -> Any:
        line = self._lines.get()
        with line.changed:
            if self.are_mine():
                if _waiting(line.put_off, share) is None:
                    line.put_off.append(_Turn(job, share))
                return None
            joined = _waiting(line.turns, share)
            turn = joined or _Turn(job, share)
            if joined is None:
                line.turns.append(turn)
            try:
                self._await(line, turn, deadline, joined=joined is not None)
            except BaseException:
                if joined is None:
                    line.turns.remove(turn)
                    turn.state = "given up"
                    line.changed.notify_all()
                raise
            if joined is None:
                line.turns.popleft()
                turn.state = "running"
                line.is_running = self._here.is_running = True
        if joined is not None:
            return self._shared_result(turn, deadline)
        return self._take(line, turn)

    def _await(self, line: _Line, turn: _Turn, deadline: float, *, joined: bool) -> None:
        seconds = deadline - monotonic()
        if joined:
            ready = line.changed.wait_for(lambda: turn.state in ("ended", "given up"), seconds)
        else:
            ready = line.changed.wait_for(
                lambda: not line.is_running and line.turns[0] is turn, seconds
            )
        if not ready:
            raise RegistryBusyError(self._wait)

    def _take(self, line: _Line, turn: _Turn) -> Any:
        try:
            turn.result = turn.job()
        except BaseException as error:
            turn.error = error
            raise
        finally:
            try:
                self._run_put_off(self._lines.get())
            finally:
                self._here.is_running = False
                # In a child that was forked inside the job the line is its parent's, and so is
                # whatever thread may have held its lock.
                if line is self._lines.get():
                    with line.changed:
                        turn.state = "ended"
                        line.is_running = False
                        line.changed.notify_all()
        return turn.result

    def _run_put_off(self, line: _Line) -> None:
        for _ in range(_MOST_ROUNDS):
            round_, line.put_off = line.put_off, []
            while round_:
                turn = round_.pop(0)
                try:
                    with Guard() as guard:
                        turn.job()
                except BaseException:
                    # Ctrl-C ends this turn; what waits is done at the end of the next one.
                    line.put_off = round_ + line.put_off
                    raise
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

    def _shared_result(self, turn: _Turn, deadline: float) -> Any:
        # What belongs to the process (Ctrl-C) ends the other thread's work, and not this one's.
        interrupted = turn.error is not None and not isinstance(turn.error, Exception)
        if turn.state == "given up" or interrupted:
            # Its own deadline stands, however often those whom it has joined give up.
            return self._run(turn.job, turn.share, deadline)
        if turn.error is not None:
            raise turn.error
        return turn.result


def _waiting(turns: Iterable[_Turn], share: Hashable | None) -> _Turn | None:
    """Return the turn that a job with this ``share`` can join, or None."""
    return next((each for each in turns if share is not None and each.share == share), None)
