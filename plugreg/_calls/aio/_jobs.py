"""Jobs: pieces of plugin code with a time limit, and teams that run them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, copy_context
from math import inf
from time import monotonic
from typing import Any, Final

from plugreg._calls.aio._loops import Loop
from plugreg._calls.aio._steps import close
from plugreg._calls.aio._workers import BusyPlugins, ThreadTask, Worker
from plugreg._support.guard import Guard
from plugreg._support.named import NamedTuple
from plugreg.exceptions import PluginTimeoutError

CLEAN_UP_SECONDS: Final = 2.0
"""Time that cancelled code has to clean up before it is given up on."""

PROCESS: Final = (KeyboardInterrupt, GeneratorExit)
"""These belong to the process. In a task of its own, a plugin's CancelledError is its fault."""


class _Awaitable(NamedTuple):
    """The return value of a synchronous implementation that the loop has to await."""

    value: Awaitable[Any]


class Job:
    """One piece of plugin code, and its result when it ``is_over``.

    The result is a ``value`` or an ``error``. ``start`` sets it going: in a thread, in a task, or
    as a part of a task. It may take ``limit`` seconds; None means no limit. Then a task is
    cancelled and has CLEAN_UP_SECONDS to end. Code that goes on nevertheless, and a thread at once,
    is given up on. The job is over then, and the plugin, if it ``makes_busy``, is busy until the
    code returns. ``is_stopped`` says that the job was asked to end, for any reason. ``overrun`` is
    called when the limit is over, ``cancel`` cancels the job's task. All methods are called in the
    loop's thread.
    """

    def __init__(
        self,
        team: Team,
        slug: str,
        limit: float | None,
        start: Callable[[Job], object],
        *,
        makes_busy: bool = True,
        overrun: Callable[[], object] = lambda: None,
    ) -> None:
        self.slug = slug
        self.value: Any = None
        self.error: BaseException | None = None
        self.seconds = 0.0
        self.is_over = False
        self.is_stopped = False
        self.start = start
        self._makes_busy = makes_busy
        # It stands for the job among the busy plugins; the job itself would keep its task alive.
        self._piece = object()
        self._overrun = overrun
        self._team = team
        self._limit = limit
        self._begun: float | None = None
        self._until: float | None = None
        self._thread_task: ThreadTask | None = None
        self.cancel: Callable[[], object] | None = None

    # -- ways to run -------------------------------------------------------------------------

    def run_in_thread(
        self, function: Callable[[], Any], discard: Callable[[Any], object] = lambda _: None
    ) -> None:
        """Call ``function`` in the worker's thread, and await a returned awaitable.

        ``discard`` takes a return value that comes too late.
        """
        busy, loop = self._team.busy, self._team.loop

        def run() -> Any:
            value = function()
            # Asking a plugin's class may run its code, so it is done in this thread.
            if hasattr(type(value), "__await__"):
                task.goes_on = True
                return _Awaitable(value)
            return value

        def discard_late(value: Any) -> None:
            try:
                with Guard():
                    if type(value) is _Awaitable:
                        close(value.value)
                    else:
                        discard(value)
            finally:
                busy.discard(self._piece)

        task = ThreadTask(run, lambda: loop.soon(self._end_in_thread), discard_late)
        self._thread_task = task
        self._team.worker.put(task)

    def run_in_task(self, function: Callable[[], Awaitable[Any]]) -> None:
        """Await the result of ``function`` in a task of its own."""
        self.cancel = self._spawn(function, self.end)

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

    def _end_in_thread(self) -> None:
        task = self._thread_task
        assert task is not None
        assert task.context is not None
        self._begun, self._thread_task = task.begun, None
        awaitable = task.value
        if type(awaitable) is not _Awaitable:
            self.end(task.value, task.error)
        elif self.is_stopped:
            task.context.run(close, awaitable.value)
            self.end(None, None)
        else:
            self._until = None

            async def wait() -> Any:
                return await awaitable.value

            def ended(value: Any, error: BaseException | None) -> None:
                # A task that is cancelled before its first step has not begun to await.
                close(awaitable.value)
                self.end(value, error)

            # An awaitable of the thread runs in the context in which it began.
            self.cancel = self._spawn(wait, ended, task.context)

    def _spawn(
        self,
        function: Callable[[], Awaitable[Any]],
        ended: Callable[[Any, BaseException | None], object],
        context: Context | None = None,
    ) -> Callable[[], object]:
        value: Any = None
        raised: BaseException | None = None

        async def body() -> None:
            nonlocal value, raised
            if self._begun is None:
                self.begin()
            try:
                value = await function()
            except BaseException as error:  # noqa: BLE001 - the job has to judge
                raised = error

        return self._team.spawn(body, lambda: ended(value, raised), context)

    def _finish(self) -> None:
        if self._begun is not None:
            self.seconds = monotonic() - self._begun
        self.is_over = True
        self._team.take_result(self)

    # -- time --------------------------------------------------------------------------------

    def until(self, now: float) -> float:
        """Return the next time to call :meth:`look_after`, by ``time.monotonic``."""
        if self._until is not None:
            return self._until
        if self._limit is None:
            return inf
        begun = self._begun if self._thread_task is None else self._thread_task.begun
        return (now if begun is None else begun) + self._limit

    def look_after(self, now: float) -> None:
        """Stop it at its time limit, and give up on it if it was stopped and goes on."""
        if self.is_over or now < self.until(now):
            return
        if self.is_stopped:
            self._give_up()
            return
        assert self._limit is not None
        out_of_time = PluginTimeoutError(self.slug, self._limit)
        if self._thread_task is None:
            self.error = out_of_time
            self.stop()
        elif self._give_up():
            self.error = out_of_time
        if self.error is out_of_time:
            self._overrun()

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
    """Runs jobs together, those in threads in turn, and waits for all of them.

    When the waiting is cancelled, or the exception of a job belongs to the process, the other
    jobs are stopped and have their time to end. Then the exception goes on, and ``is_leaving`` is
    true. From then on jobs have CLEAN_UP_SECONDS, the waiting for them cannot be cancelled, and
    an exception that belongs to the process is only kept in ``urgent``. ``is_dead`` says that the
    coroutine was closed: jobs are still started then, and nothing is waited for.
    """

    def __init__(self, loop: Loop, busy: BusyPlugins) -> None:
        self.loop = loop
        self.busy = busy
        self.worker = Worker(copy_context())
        self.is_leaving = False
        self.is_dead = False
        self.urgent: BaseException | None = None
        self._open = 0
        self._woken = loop.event()

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
            now = monotonic()
            for job in jobs:
                job.look_after(now)
            if self.urgent is not None and not self.is_leaving:
                raise self.urgent
            if not self._open:
                return
            until = min(job.until(now) for job in jobs if not job.is_over)
            seconds = None if until == inf else max(until - now, 0)
            try:
                await self.loop.wait(self._woken, seconds, shielded=self.is_leaving)
            except GeneratorExit:
                self.is_dead = True
                raise
            self._woken = self.loop.event()

    def spawn(
        self,
        body: Callable[[], Awaitable[None]],
        done: Callable[[], object],
        context: Context | None = None,
    ) -> Callable[[], object]:
        """Start a task in the call's context, and return a function to cancel it."""
        if context is None:
            context = self.worker.context.copy()
        return self.loop.spawn(body, done, context)

    def take_context(self) -> None:
        """Let later code see the context variables as they are here."""
        context = self.worker.context
        for variable, value in copy_context().items():
            if context.get(variable, self) is not value:
                context.run(variable.set, value)

    def take_result(self, job: Job) -> None:
        """Note that a job is over."""
        self._open -= 1
        if issubclass(type(job.error), PROCESS):
            self.urgent = self.urgent or job.error
        if not self._open or self.urgent is not None:
            self._woken.set()

    def is_cancellation(self, error: BaseException | None) -> bool:
        """Return whether this is the exception that the loop raises in a cancelled task."""
        kind = type(error)
        # Tasks inside a task give a group, which is an Exception if all in it are.
        return issubclass(kind, self.loop.cancelled) or (
            issubclass(kind, BaseExceptionGroup) and not issubclass(kind, Exception)
        )
