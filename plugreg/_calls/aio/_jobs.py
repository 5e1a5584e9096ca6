"""Jobs: pieces of plugin code with a time limit, and teams that run them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from contextvars import copy_context
from math import inf
from time import monotonic
from types import CoroutineType
from typing import Any, Final

from plugreg._calls.aio._loops import running_loop
from plugreg._calls.aio._threads import BusyPlugins, Threads, ThreadTask, Worker
from plugreg._calls.supervision import SupervisedCall
from plugreg._support.guard import Guard
from plugreg.exceptions import PluginTimeoutError

CLEAN_UP_SECONDS: Final = 2.0
"""Time that cancelled code has to clean up before it is given up on."""

PROCESS: Final = (KeyboardInterrupt, GeneratorExit)
"""These belong to the process. In a task of its own, a plugin's CancelledError is its fault."""


Begin = Callable[[str, str], SupervisedCall]
"""Takes a plugin's name and a hook's; notes that a call begins, or raises to prevent it."""


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
    """One piece of plugin code, and its result when it ``is_over``.

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
    _thread_task: ThreadTask | None = None
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
        if begin is None:
            self._team.busy.check(self.slug)
            return self.function(*self.values)
        call = self._supervised = begin(self.slug, hook)
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
        self, function: Callable[[], Any], discard: Callable[[Any], object] = lambda _: None
    ) -> None:
        """Call ``function`` in a thread of the worker's, and await a returned awaitable.

        ``discard`` takes a return value that comes too late.
        """
        team = self._team

        def run() -> Any:
            value = function()
            # Asking a plugin's class may run its code, so it is done in this thread.
            task.goes_on = hasattr(type(value), "__await__")
            return value

        def discard_late(value: Any) -> None:
            try:
                with Guard():
                    (_close if task.goes_on else discard)(value)
            finally:
                team.busy.discard(self._piece)

        task = ThreadTask(run, lambda: team.loop.soon(self._end_in_thread), discard_late)
        self._thread_task = task
        team.worker.put(task)

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
        task = self._thread_task
        assert task is not None
        self._begun, self._thread_task = task.begun, None
        if not task.goes_on or task.error is not None:
            self.end(task.value, task.error)
        elif self.is_stopped:
            task.context.run(_close, task.value)
            self.end(None, None)
        else:
            self._until = None
            self._handed = task.value
            # An awaitable of the thread runs in the context in which it began.
            self.cancel = self._team.loop.spawn(
                self._await(lambda: task.value), self._end_of_task, task.context
            )

    def _finish(self) -> None:
        if self._begun is not None:
            self.seconds = monotonic() - self._begun
        self.is_over = True
        self._team.take_result(self)

    # -- time --------------------------------------------------------------------------------

    def look_after(self, now: float) -> float:
        """Stop it at its time limit, and give up on it if it was stopped and goes on.

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
            if self._thread_task is None:
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
        begun = self._begun if self._thread_task is None else self._thread_task.begun
        return (now if begun is None else begun) + self._limit

    def stop(self) -> None:
        """Ask it to end, within CLEAN_UP_SECONDS. A job that has not begun never will."""
        if self.is_over or self.is_stopped:
            return
        self.is_stopped = True
        self._until = monotonic() + CLEAN_UP_SECONDS
        if self.cancel is not None:
            with Guard():  # Where the loop is closed, there is nothing to cancel.
                self.cancel()
        elif self._thread_task is None:
            self._finish()
        elif self._thread_task.begun is None:
            self._give_up()

    def _give_up(self) -> bool:
        """End the job without a result; False if the code has ended just now."""
        busy, task = self._team.busy, self._thread_task
        self._piece = object()
        if self._makes_busy:
            busy.add(self._piece, self.slug)
        if task is not None:
            if not self._team.worker.give_up(task):
                busy.discard(self._piece)
                # The loop is about to call _end_in_thread.
                self._until = inf
                return False
            self._begun = task.begun
            if task.begun is None:
                busy.discard(self._piece)
        self._finish()
        return True


class Team:
    """Runs jobs of one call together, those in threads in turn, and waits for all of them.

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
        # Tasks inside a task give a group, which is an Exception if all in it are.
        return issubclass(kind, self.loop.cancelled) or (
            issubclass(kind, BaseExceptionGroup) and not issubclass(kind, Exception)
        )
