"""Jobs: pieces of plugin code with a time limit, and teams that run them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextvars import Context, copy_context
from math import inf
from time import monotonic
from types import CoroutineType
from typing import Any, Final, Literal

from plugreg._calls.aio._loops import running_loop
from plugreg._calls.aio._threads import BusyPlugins, Threads
from plugreg._calls.supervision import SupervisedCall
from plugreg._support.guard import Guard
from plugreg.exceptions import PluginTimeoutError

CLEAN_UP_SECONDS: Final = 2.0
"""Time that cancelled code has to clean up before it is given up on."""

PROCESS: Final = (KeyboardInterrupt, GeneratorExit)
"""These belong to the process. In a task of its own, a plugin's CancelledError is its fault."""


Begin = Callable[[str, str], SupervisedCall | None]
"""Takes a plugin's name and a hook's; notes that a call begins, or raises to prevent it.

It returns None for a call that nobody supervises.
"""


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
        _close(self._awaitable)
        self._end(GeneratorExit())

    def _end(self, error: BaseException | None) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.end(error)


def _close(awaitable: Any) -> None:
    """Close a coroutine; none of its code runs if it was never awaited."""
    if type(awaitable) in (CoroutineType, SupervisedAwaitable):
        awaitable.close()


class Job:
    """A piece of plugin code, and its result when it ``is_over``.

    The result is a ``value`` or an ``error``. ``start`` sets it going: in a thread, in a task, or
    as a part of a task. ``function`` and its ``values`` are those of an implementation, which
    :meth:`call` calls where its code runs. It may take ``limit`` seconds; None means no limit. Then
    a task is cancelled and has CLEAN_UP_SECONDS to end. Code that goes on nevertheless, and a
    thread at once, is given up on. The job is over then, and the plugin, if it ``makes_busy``, is
    busy until the code returns. ``is_stopped`` says that the job was asked to end, for any reason.
    ``cancel`` cancels the job's task. All methods but :meth:`call` are called in the loop's thread.
    """

    value: Any = None
    error: BaseException | None = None
    seconds = 0.0
    is_over = False
    is_stopped = False
    function: Callable[..., Any]
    values: tuple[Any, ...]
    cancel: Callable[[], object] | None = None
    # It stands for the job among the busy plugins; the job itself would keep its task alive.
    _piece: object = None
    _begun: float | None = None
    _until: float | None = None
    # Of the function that runs in a thread; empty while there is none.
    _state: Literal["", "waiting", "running", "ended", "given up"] = ""
    _lock: threading.Lock
    _in_thread: Callable[[], Any]
    _discard: Callable[[Any], object]
    _context: Context
    _handed: Awaitable[Any] | None = None
    _supervised: SupervisedCall | None = None
    _result: tuple[Any, BaseException | None] = None, None

    def __init__(
        self,
        team: Team,
        slug: str,
        limit: float | None,
        start: Callable[[Job], object],
        *,
        makes_busy: bool = True,
    ) -> None:
        self.slug = slug
        self.start = start
        self._team = team
        self._limit = limit
        if limit is not None:
            team.is_timed = True
        self._makes_busy = makes_busy

    # -- ways to run -------------------------------------------------------------------------

    def call(self) -> Any:
        """Call the implementation, under supervision if the host asks for it.

        A busy plugin raises a PluginBusyError. Under supervision this is a fault of the plugin:
        code that hangs opens its circuit.
        """
        begin, hook = self._team.begin, self._team.hook
        call = None if begin is None else begin(self.slug, hook)
        if call is None:
            self._team.busy.check(self.slug)
            return self.function(*self.values)
        self._supervised = call
        try:
            self._team.busy.check(self.slug)
            value = self.function(*self.values)
        except BaseException as error:
            call.end(error)
            raise
        if hasattr(type(value), "__await__"):
            return SupervisedAwaitable(value, call)
        call.end()
        return value

    def call_in_thread(self) -> None:
        """Start the implementation in a thread."""
        self.run_in_thread(self.call)

    def call_in_task(self) -> None:
        """Start the implementation, an async function, in a task of its own."""
        team = self._team
        self.cancel = team.loop.spawn(
            self._await(self.call), self._end_of_task, team.worker.context.copy()
        )

    def run_in_thread(
        self, function: Callable[[], Any], discard: Callable[[Any], object] | None = None
    ) -> None:
        """Call ``function`` in a thread of the worker's, and await a returned awaitable.

        ``discard`` takes a return value that comes too late.
        """
        self._in_thread = function
        self._discard = discard or _do_nothing
        self._lock = threading.Lock()
        self._state = "waiting"
        self._team.worker.put(self)

    def begin_in_thread(self) -> bool:
        """Note that the function begins; False when it was given up on."""
        with self._lock:
            if self._state == "given up":
                return False
            self._state = "running"
            self._begun = monotonic()
            return True

    def run_here(self, worker: Worker) -> bool:
        """Call the function in a copy of the context; False if it returns too late."""
        self._context = context = worker.context.copy()
        value, error = None, None
        try:
            value = context.run(self._in_thread)
            # Asking a plugin's class may run its code, so it is done in this thread.
            if hasattr(type(value), "__await__"):
                self._handed, self._discard = value, _close
        except BaseException as raised:  # noqa: BLE001 - the end of the job judges it
            error = raised
        with self._lock:
            in_time = self._state == "running"
            if in_time:
                self._state = "ended"
        if in_time:
            self._result = value, error
            if self._handed is None:
                worker.context = context
        else:
            try:
                with Guard():
                    context.run(self._discard, value)
            finally:
                self._team.busy.discard(self._piece)
        return in_time

    def end_soon(self) -> None:
        """Let the loop end the job, whose function has returned in time."""
        self._team.loop.soon(self._end_in_thread)

    def begin(self) -> None:
        """Count the time from now: the delay of a busy loop is not the plugin's."""
        self._begun = monotonic()

    def end(self, value: Any, error: BaseException | None) -> None:
        """End the job with the code's result, unless it is over already."""
        if self.is_over:
            self._team.busy.discard(self._piece)
            return
        if self.error is None:
            # A stopped job is expected to end with the loop's cancellation.
            if not (self.is_stopped and self._team.is_cancellation(error)):
                self.error = error
            self.value = value
        self._finish()

    async def _await(self, function: Callable[[], Awaitable[Any]]) -> None:
        self._team.loop.take_over(self._end_of_task)
        if self._begun is None:
            self._begun = monotonic()
        try:
            self._result = await function(), None
        except BaseException as error:  # noqa: BLE001 - the end of the job judges it
            self._result = None, error
            if issubclass(type(error), GeneratorExit):
                # The loop may be closed.
                with Guard():
                    self._end_of_task()
                return
        self._end_of_task()

    def _end_of_task(self, _: object = None) -> None:
        # A task that is cancelled before its first step has not begun to await.
        _close(self._handed)
        self.end(*self._result)

    def _end_in_thread(self) -> None:
        self._state = ""
        handed = self._handed
        if handed is None:
            self.end(*self._result)
        elif self.is_stopped:
            self._context.run(_close, handed)
            self.end(None, None)
        else:
            self._until, self._result = None, (None, None)
            # An awaitable of the thread runs in the context in which it began.
            self.cancel = self._team.loop.spawn(
                self._await(lambda: handed), self._end_of_task, self._context
            )

    def _finish(self) -> None:
        if self._begun is not None:
            self.seconds = monotonic() - self._begun
        self.is_over = True
        self._team.take_result(self)

    # -- time --------------------------------------------------------------------------------

    def look_after(self, now: float) -> float:
        """Stop it at its time limit, and abandon it if it was stopped and continues.

        Returns the next time to do so, by ``time.monotonic``.
        """
        until = inf if self.is_over else self._next_time(now)
        if now < until:
            return until
        if self.is_stopped:
            self._give_up()
        else:
            assert self._limit is not None
            out_of_time = PluginTimeoutError(self.slug, self._limit)
            if not self._state:
                self.error = out_of_time
                self.stop()
            elif self._give_up():
                self.error = out_of_time
            if self.error is out_of_time and self._supervised is not None:
                self._supervised.overrun()
        return inf if self.is_over else self._next_time(now)

    def _next_time(self, now: float) -> float:
        if self._until is not None:
            return self._until
        if self._limit is None:
            return inf
        return (now if self._begun is None else self._begun) + self._limit

    def stop(self) -> None:
        """Ask it to end, within CLEAN_UP_SECONDS. A job that has not begun never will."""
        if self.is_over or self.is_stopped:
            return
        self.is_stopped = True
        self._until = monotonic() + CLEAN_UP_SECONDS
        if self.cancel is not None:
            with Guard():  # Where the loop is closed, there is nothing to cancel.
                self.cancel()
        elif not self._state:
            self._finish()
        elif self._begun is None:
            self._give_up()

    def _give_up(self) -> bool:
        """End the job without a result; False if the code has ended just now."""
        busy = self._team.busy
        self._piece = object()
        if self._makes_busy:
            busy.add(self._piece, self.slug)
        if self._state:
            with self._lock:
                has_ended = self._state == "ended"
                if not has_ended:
                    self._state = "given up"
            if has_ended:
                busy.discard(self._piece)
                # The loop is about to call _end_in_thread.
                self._until = inf
                return False
            if self._begun is None:
                busy.discard(self._piece)
            else:
                self._team.worker.leave_thread()
        self._finish()
        return True


class Worker:
    """Runs jobs in turn, in one thread at a time.

    Each job sees in ``context`` the variables that earlier jobs have set, as the parts of a
    synchronous call do, unless these go on elsewhere. The jobs behind one that was given up on run
    in another thread. All methods are called from the thread of the event loop.
    """

    def __init__(self, context: Context, threads: Threads) -> None:
        self.context = context
        self._threads = threads
        self._jobs: deque[Job] = deque()
        self._lock = threading.Lock()
        self._is_served = False

    def put(self, job: Job) -> None:
        """Queue a job. Raises RuntimeError when no thread can be started."""
        self._jobs.append(job)
        self._serve_on()

    def leave_thread(self) -> None:
        """Leave the thread to the job that runs there."""
        self._is_served = False
        self._serve_on()

    def _serve_on(self) -> None:
        with self._lock:
            if self._is_served or not self._jobs:
                return
            self._is_served = True
        try:
            self._threads.start(self._serve)
        except RuntimeError:
            self._is_served = False
            raise

    def _serve(self) -> Callable[[], object] | None:
        """Run the jobs; return a future for the end of the last."""
        ended: Callable[[], object] = _do_nothing
        while True:
            with self._lock:
                if not self._jobs:
                    self._is_served = False
                    return ended
                job = self._jobs.popleft()
            ended()
            ended = _do_nothing
            if job.begin_in_thread():
                if not job.run_here(self):
                    # Another thread serves the rest by now.
                    return None
                ended = job.end_soon


def _do_nothing(_: object = None) -> None:
    pass


class Team:
    """Runs jobs of a call together, those in threads in turn, and waits for all of them.

    When the waiting is cancelled, or the exception of a job belongs to the process, the other
    jobs are stopped and have their time to end. Then the exception goes on, and ``is_leaving`` is
    true. From then on jobs have CLEAN_UP_SECONDS, the waiting for them cannot be cancelled, and
    an exception that belongs to the process is only kept in ``urgent``. ``is_dead`` says that the
    coroutine was closed: jobs are still started then, and nothing is waited for. ``is_timed`` says
    that any job has a limit.
    """

    is_leaving = False
    is_dead = False
    is_timed = False
    urgent: BaseException | None = None
    _open = 0
    _woken: Any = None

    def __init__(self, hook: str, begin: Begin | None, busy: BusyPlugins, threads: Threads) -> None:
        self.hook = hook
        self.begin = begin
        self.loop = running_loop()
        self.busy = busy
        self.worker = Worker(copy_context(), threads)

    async def run(self, jobs: Sequence[Job]) -> None:
        """Start the jobs, and wait until all are over."""
        if self.is_dead:
            for job in jobs:
                with Guard():  # Where the loop is closed, nothing can be started.
                    job.start(job)
            return
        self._open = len(jobs)
        try:
            for job in jobs:
                job.start(job)
            await self._all_over(jobs)
        except BaseException:
            self.is_leaving = True
            for job in jobs:
                job.stop()
            if not self.is_dead:
                await self._all_over(jobs)
            raise

    async def _all_over(self, jobs: Sequence[Job]) -> None:
        while True:
            now, until = monotonic(), inf
            if self.is_timed or self.is_leaving:
                until = min([job.look_after(now) for job in jobs], default=inf)
            if self.urgent is not None and not self.is_leaving:
                raise self.urgent
            if not self._open:
                return
            self._woken = self.loop.event()
            seconds = None if until == inf else max(until - now, 0)
            try:
                await self.loop.wait(self._woken, seconds, shielded=self.is_leaving)
            except GeneratorExit:
                self.is_dead = True
                raise

    def take_context(self) -> None:
        """Let later code see the context variables as they are here."""
        context = self.worker.context
        for variable, value in copy_context().items():
            if context.get(variable, self) is not value:
                context.run(variable.set, value)

    def take_result(self, job: Job) -> None:
        """Note that a job is over."""
        self._open -= 1
        if job.error is not None and issubclass(type(job.error), PROCESS):
            self.urgent = self.urgent or job.error
        if self._woken is not None and (not self._open or self.urgent is not None):
            self._woken.set()

    def is_cancellation(self, error: BaseException | None) -> bool:
        """Return whether this is the exception that the loop raises in a cancelled task."""
        kind = type(error)
        # Tasks inside a task raise a group, which is an Exception if all its members are.
        return issubclass(kind, self.loop.cancelled) or (
            issubclass(kind, BaseExceptionGroup) and not issubclass(kind, Exception)
        )
