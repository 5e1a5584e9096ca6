"""Calling hooks on an event loop: async implementations in tasks, synchronous ones in a thread.

Plugin code runs in the loop's thread only where it is async itself. All else that is a plugin's
runs in a worker thread, so that the loop goes on whatever it does: synchronous implementations
and wrappers, and the recording of a fault, which asks a plugin's exception for its text.

A call goes from step to step, and in each waits for all jobs of it: wrappers entered,
implementations, wrappers left, faults recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from plugreg._calls.aio._jobs import CLEAN_UP_SECONDS, PROCESS, Job, Team
from plugreg._calls.aio._loops import running_loop
from plugreg._calls.aio._steps import Begin, Step, supervised, unless_busy
from plugreg._calls.aio._workers import Busy
from plugreg._calls.aio._wrappers import AsyncWrapper, SyncWrapper, Wrapper
from plugreg.exceptions import PluginTimeoutError
from plugreg.records import PluginFailure

__all__ = ["Answer", "AsyncCalls", "Begin", "Step"]

FaultRecorder = Callable[[str, str, BaseException], PluginFailure | None]
"""Takes a plugin's name, a hook's name and what was raised; gives the record it kept of it."""


RECORD_SECONDS: Final = 30.0
"""How long the recording of a fault is waited for; what takes longer is recorded too late.

An outcome has no record of it then.
"""


class Answer(NamedTuple):
    """Result of one implementation, with the fields of `plugreg.Outcome`."""

    slug: str
    value: Any
    error: BaseException | None
    failure: PluginFailure | None
    seconds: float


class AsyncCalls:
    """Runs calls on the loop of whoever awaits them. It keeps which plugins are busy, no more.

    Calls may be under way on several loops in several threads. ``timeout`` is in seconds, for
    each implementation, and for the part of a wrapper before its yield and that after it; None is
    no limit. What overruns gives a PluginTimeoutError. If it is async it is cancelled and has
    CLEAN_UP_SECONDS to end. What does not end, and what is synchronous at once, is given up on:
    its plugin is busy, and gives a PluginBusyError in each call, until that code returns. A
    plugin that was not given up on may run in several threads, for several calls, at once.

    When the caller is cancelled, async code is, too, all that runs has CLEAN_UP_SECONDS to end,
    wrappers are closed, and then the cancellation goes on. What belongs to the process
    (KeyboardInterrupt, GeneratorExit) is raised after the same. Faults are recorded in either
    case, in the worker's thread. For that RECORD_SECONDS are the limit, since the host is told
    there, and it makes no plugin busy.

    Code of plugins sees the caller's context variables. What it sets is seen by what comes later
    in a thread, what a wrapper sets before its yield by all inside it, and by nobody outside the
    call. ``begin`` stands round each implementation, where and when its code runs.
    """

    def __init__(self, on_fault: FaultRecorder, begin: Begin | None = None) -> None:
        self._on_fault = on_fault
        self._begin = begin
        self._busy = Busy()

    async def outcomes(
        self, hook: str, steps: Sequence[Step], timeout: float | None
    ) -> list[Answer]:
        """Run all steps and return an answer for each, in their order."""
        steps = self._guarded(hook, steps)
        async with _Call(hook, timeout, self._busy, self._on_fault) as call:
            jobs = await call.implementations(steps)
        return [
            Answer(each.slug, each.value, each.error, call.failures.get(each), each.seconds)
            for each in jobs
        ]

    async def results(
        self,
        hook: str,
        steps: Sequence[Step],
        wrappers: Sequence[Step],
        timeout: float | None,
        *,
        first: bool,
    ) -> Any:
        """Run the steps inside the wrappers, outermost first; return what comes out of these.

        It is the list of the results that are not None, in the order of the steps. With ``first``
        it is the first such result, or None: then each step waits for the one before it, since
        what comes after the first result must not be called.
        """
        steps = self._guarded(hook, steps)
        async with _Call(hook, timeout, self._busy, self._on_fault) as call:
            for each in wrappers:
                await call.enter(unless_busy(each, self._busy))
            value: Any = None
            if first:
                for each in steps:
                    (job,) = await call.implementations([each])
                    if job.value is not None:
                        value = job.value
                        break
            else:
                jobs = await call.implementations(steps)
                value = [each.value for each in jobs if each.value is not None]
            return await call.leave(value, is_list=not first)

    def _guarded(self, hook: str, steps: Sequence[Step]) -> Sequence[Step]:
        begin, steps = self._begin, [unless_busy(each, self._busy) for each in steps]
        return steps if begin is None else [supervised(each, hook, begin) for each in steps]


class _Call:
    """One call: the wrappers that it is inside of, and the faults there were.

    ``failures`` has the records of the faults, when the call has ended.
    """

    def __init__(
        self, hook: str, timeout: float | None, busy: Busy, on_fault: FaultRecorder
    ) -> None:
        self.failures: dict[Job, PluginFailure | None] = {}
        self._hook = hook
        self._timeout = timeout
        self._on_fault = on_fault
        self._team = Team(running_loop(), busy)
        self._inside: list[tuple[str, Wrapper]] = []
        self._faults: list[tuple[Job, BaseException]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        team = self._team
        team.is_leaving = error is not None
        try:
            while self._inside:
                slug, wrapper = self._inside.pop()
                await self._run([self._job(slug, wrapper.close)])
            if not team.is_dead:
                await self._record()
        finally:
            team.worker.close()
        if team.urgent is not None and team.urgent is not error:
            raise team.urgent

    async def enter(self, step: Step) -> None:
        """Go inside a wrapper; one that fails is left out."""
        wrapper = AsyncWrapper(step, self._team) if step.is_async else SyncWrapper(step)
        self._inside.append((step.slug, wrapper))
        job = self._job(step.slug, wrapper.enter)
        await self._run([job])
        if job.error is not None:
            self._inside.pop()

    async def implementations(self, steps: Sequence[Step]) -> list[Job]:
        """Run implementations together, and return the jobs that did it."""

        def starter(step: Step) -> Callable[[Job], None]:
            if step.is_async:
                return lambda job: job.run_in_task(step.run)
            return lambda job: job.run_in_thread(step.run)

        jobs = [self._job(each.slug, starter(each), overrun=each.overrun) for each in steps]
        await self._run(jobs)
        return jobs

    async def leave(self, value: Any, *, is_list: bool) -> Any:
        """Hand ``value`` out through all wrappers, and return what they make of it."""
        while self._inside:
            slug, wrapper = self._inside.pop()
            # A copy, since a wrapper that empties the list and then fails costs only itself.
            inside = value.copy() if is_list else value
            start = partial(wrapper.leave, value=inside, is_list=is_list)
            job = self._job(slug, start)
            await self._run([job])
            if job.error is None:
                value = job.value
        return value

    def _job(
        self,
        slug: str,
        start: Callable[[Job], object],
        overrun: Callable[[], object] = lambda: None,
    ) -> Job:
        limit = CLEAN_UP_SECONDS if self._team.is_leaving else self._timeout
        return Job(self._team, slug, limit, start, overrun=overrun)

    async def _run(self, jobs: Sequence[Job]) -> None:
        try:
            await self._team.run(jobs)
        finally:
            self._faults += [
                (each, each.error)
                for each in jobs
                if each.error is not None and not issubclass(type(each.error), PROCESS)
            ]

    async def _record(self) -> None:
        """Record the faults, in the worker's thread. Raises what the recorder raises.

        The host is told there, too, which may take longer than a plugin may, and is no fault of
        the plugin's.
        """

        def recording(slug: str, error: BaseException) -> Job:
            record = partial(self._on_fault, slug, self._hook, error)
            limit = CLEAN_UP_SECONDS if self._team.is_leaving else RECORD_SECONDS
            return Job(
                self._team, slug, limit, lambda job: job.run_in_thread(record), makes_busy=False
            )

        jobs = [recording(fault.slug, error) for fault, error in self._faults]
        if jobs:
            await self._team.run(jobs)
        for (fault, _), job in zip(self._faults, jobs, strict=True):
            if job.error is None:
                self.failures[fault] = job.value
            elif not issubclass(type(job.error), PluginTimeoutError):
                raise job.error
