"""Pieces of plugin code with a time limit, and the running of some of them together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, copy_context
from math import inf
from time import monotonic
from typing import Any, Final, NamedTuple

from plugreg._calls.aio._loops import Loop
from plugreg._calls.aio._steps import close
from plugreg._calls.aio._workers import Busy, Work, Worker
from plugreg._support.guard import Guard
from plugreg.exceptions import PluginTimeoutError

CLEAN_UP_SECONDS: Final = 2.0
"""How long code that was cancelled may take to clean up before it is given up on."""

PROCESS: Final = (KeyboardInterrupt, GeneratorExit)
"""What belongs to the process. In a task of its own, a plugin's CancelledError is its fault."""


class _Awaitable(NamedTuple):
    """What a synchronous implementation returned, to be awaited on the loop."""

    value: Awaitable[Any]


class Job:
    """One piece of plugin code, and when ``is_over`` what became of it: ``value`` or ``error``.

    ``start`` sets it going, with one of the methods that run. It may take ``limit`` seconds, None
    is no limit. Then a task is cancelled, and has CLEAN_UP_SECONDS to end; one that goes on
    nevertheless, and a thread at once, is given up on: the job is over, and the plugin, if it
    ``makes_busy``, is busy until the code returns. ``is_stopped`` tells that it was told to end,
    for any reason; ``overrun`` is called when the limit is over.
    All methods are called in the loop's thread.
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
        # It stands for the job, which would keep its task, where the busy plugins are known.
        self._piece = object()
        self._overrun = overrun
        self._team = team
        self._limit = limit
        self._begun: float | None = None
        self._until: float | None = None
        self._work: Work | None = None
        self._cancel: Callable[[], object] | None = None

    # -- ways to run -------------------------------------------------------------------------

    def run_in_thread(
        self, function: Callable[[], Any], discard: Callable[[Any], object] = lambda _: None
    ) -> None:
        """Call ``function`` in the worker's thread; await on the loop what it gives to await.

        ``discard`` takes what it returns when that is too late.
        """
        busy, loop = self._team.busy, self._team.loop

        def run() -> Any:
            value = function()
            # A plugin's class is asked, which may do anything: so it is done in this thread.
            if hasattr(type(value), "__await__"):
                work.goes_on = True
                return _Awaitable(value)
            return value

        def too_late(value: Any) -> None:
            try:
                with Guard():
                    if type(value) is _Awaitable:
                        close(value.value)
                    else:
                        discard(value)
            finally:
                busy.release(self._piece)

        work = self._work = Work(run, lambda: loop.soon(self._thread_ended), too_late)
        self._team.worker.put(work)

    def run_in_task(self, function: Callable[[], Awaitable[Any]]) -> None:
        """Await what ``function`` returns, in a task of its own."""
        self._cancel = self._spawned(function, self.end)

    def run_with(self, spawn: Callable[[], Callable[[], object]]) -> None:
        """Run as a task, or as a part of one, that ``spawn`` makes; it gives what cancels it.

        The task calls :meth:`begin`, and :meth:`end` is called when it, or the part, has ended.
        """
        self._cancel = spawn()

    def begin(self) -> None:
        """Count the time from now: what a loop that is late takes to come to it is not its own."""
        self._begun = monotonic()

    def end(self, value: Any, error: BaseException | None) -> None:
        """Be over with what the code gave; what comes when it is over already is too late."""
        if self.is_over:
            self._team.busy.release(self._piece)
            return
        if self.error is None:
            # What was told to end is expected to end with the loop's cancellation.
            if not (self.is_stopped and self._team.is_cancellation(error)):
                self.error = error
            self.value = value
        self._finish()

    def _thread_ended(self) -> None:
        work = self._work
        assert work is not None
        self._begun, self._work = work.begun, None
        awaitable = work.value
        if type(awaitable) is not _Awaitable:
            self.end(work.value, work.error)
        elif self.is_stopped:
            assert work.context is not None
            work.context.run(close, awaitable.value)
            self.end(None, None)
        else:
            self._until = None

            async def wait() -> Any:
                return await awaitable.value

            def ended(value: Any, error: BaseException | None) -> None:
                # A task that is cancelled before its first step has not begun to await.
                close(awaitable.value)
                self.end(value, error)

            # What was begun in the thread ends in the context in which it began.
            self._cancel = self._spawned(wait, ended, work.context)

    def _spawned(
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
            except BaseException as error:  # noqa: BLE001 - who waits for it has to judge
                raised = error

        return self._team.spawn(body, lambda: ended(value, raised), context)

    def _finish(self) -> None:
        if self._begun is not None:
            self.seconds = monotonic() - self._begun
        self.is_over = True
        self._team.tell(self)

    # -- time --------------------------------------------------------------------------------

    def until(self, now: float) -> float:
        """Return when to look after it again, by ``time.monotonic``."""
        if self._until is not None:
            return self._until
        if self._limit is None:
            return inf
        begun = self._begun if self._work is None else self._work.begun
        return (now if begun is None else begun) + self._limit

    def look_after(self, now: float) -> None:
        """Stop it when it is out of time, and give up on it when it was stopped and goes on."""
        if self.is_over or now < self.until(now):
            return
        if self.is_stopped:
            self._give_up()
            return
        assert self._limit is not None
        out_of_time = PluginTimeoutError(self.slug, self._limit)
        if self._work is None:
            self.error = out_of_time
            self.stop()
        elif self._give_up():
            self.error = out_of_time
        if self.error is out_of_time:
            self._overrun()

    def stop(self) -> None:
        """Tell it to end, and give it time for that. What has not begun never will."""
        if self.is_over or self.is_stopped:
            return
        self.is_stopped = True
        self._until = monotonic() + CLEAN_UP_SECONDS
        if self._cancel is not None:
            with Guard():  # Where the loop is closed, there is nothing to cancel.
                self._cancel()
        elif self._work is None:
            self._finish()
        elif self._work.begun is None:
            self._give_up()

    def _give_up(self) -> bool:
        """Be over, whatever the code does. False when it has ended by itself at this moment."""
        busy, work = self._team.busy, self._work
        if self._makes_busy:
            busy.hold(self._piece, self.slug)
        if work is not None:
            if not self._team.worker.give_up(work):
                busy.release(self._piece)
                # The loop is about to be told.
                self._until = inf
                return False
            self._begun = work.begun
            if work.begun is None:
                busy.release(self._piece)
        self._finish()
        return True


class Team:
    """Runs jobs together, those in threads one after the other, and waits for all of them.

    When the waiting is cancelled, or what a job raised belongs to the process, the others are
    stopped and have their time to end; then the exception goes on, and ``is_leaving`` is true.
    From then on jobs have CLEAN_UP_SECONDS, the waiting for them cannot be cancelled, and what
    belongs to the process is kept in ``urgent`` alone. ``is_dead`` tells that the coroutine was
    closed: jobs are started then, and nothing is waited for.
    """

    def __init__(self, loop: Loop, busy: Busy) -> None:
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
            for each in jobs:
                with Guard():  # Where the loop is closed, nothing can be started.
                    each.start(each)
            return
        self._open = len(jobs)
        try:
            for each in jobs:
                each.start(each)
            await self._all_over(jobs)
        except BaseException:
            self.is_leaving = True
            for each in jobs:
                each.stop()
            if not self.is_dead:
                await self._all_over(jobs)
            raise

    async def _all_over(self, jobs: Sequence[Job]) -> None:
        while True:
            now = monotonic()
            for each in jobs:
                each.look_after(now)
            if self.urgent is not None and not self.is_leaving:
                raise self.urgent
            if not self._open:
                return
            until = min(each.until(now) for each in jobs if not each.is_over)
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
        """Start a task, and return what cancels it; its context is as that of the call is now."""
        if context is None:
            context = self.worker.context.copy()
        return self.loop.spawn(body, done, context)

    def take_context(self) -> None:
        """Let what comes later see the context variables as they are here."""
        context = self.worker.context
        for variable, value in copy_context().items():
            if context.get(variable, self) is not value:
                context.run(variable.set, value)

    def tell(self, job: Job) -> None:
        """Be told that a job is over."""
        self._open -= 1
        if issubclass(type(job.error), PROCESS):
            self.urgent = self.urgent or job.error
        if not self._open or self.urgent is not None:
            self._woken.set()

    def is_cancellation(self, error: BaseException | None) -> bool:
        """Tell whether this is what the loop raises in a task that is cancelled."""
        kind = type(error)
        # Tasks inside a task give a group, which is an Exception if all in it are.
        return issubclass(kind, self.loop.cancelled) or (
            issubclass(kind, BaseExceptionGroup) and not issubclass(kind, Exception)
        )
