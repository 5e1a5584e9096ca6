"""Calling hooks on an event loop: in tasks, or in a thread if synchronous.

Plugin code runs in the loop's thread only where it is async itself. All other code of plugins
runs in a worker thread, so that it never blocks the loop: synchronous implementations and
wrappers, and the recording of a fault, which formats a plugin's exception.

A call goes from step to step, and waits in each for all of its jobs: wrappers entered,
implementations, wrappers left, faults recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from plugreg._calls.aio._jobs import CLEAN_UP_SECONDS, PROCESS, Job, Team
from plugreg._calls.aio._loops import running_loop
from plugreg._calls.aio._steps import Begin, Step, refuse_if_busy, supervise
from plugreg._calls.aio._workers import BusyPlugins
from plugreg._calls.aio._wrappers import AnyWrapper, AsyncWrapper, SyncWrapper
from plugreg._calls.outcome import FaultRecorder, Outcome
from plugreg.exceptions import PluginTimeoutError
from plugreg.records import PluginFailure

__all__ = ["AsyncCalls", "Begin", "Step"]

RECORD_SECONDS: Final = 30.0
"""Time limit for recording a fault. An outcome whose fault takes longer has no record."""


class AsyncCalls:
    """Runs calls on the loop of the coroutine that awaits them.

    It keeps the busy plugins, no more. Calls may be under way on several loops in several threads.
    ``timeout`` is in seconds, for each implementation, and for a wrapper's part before its yield
    and after it; None means no limit. Code that overruns gets a PluginTimeoutError. Async code is
    cancelled and has CLEAN_UP_SECONDS to end. Code that does not end, and synchronous code at once,
    is given up on. Its plugin is busy, and raises a PluginBusyError in each call, until the code
    returns. Other plugins may run in several threads, for several calls, at once.

    When the caller is cancelled, async code is cancelled, too, and all that runs has
    CLEAN_UP_SECONDS to end. Then wrappers are closed, and the cancellation goes on. An exception
    that belongs to the process (KeyboardInterrupt, GeneratorExit) is raised after the same steps.
    Faults are recorded in either case, in the worker's thread. Recording has RECORD_SECONDS, since
    it calls the host, and it makes no plugin busy.

    Code of plugins sees the caller's context variables. Later code in a thread sees the variables
    that it sets. All code inside a wrapper sees those set before its yield. Nothing outside of the
    call does. ``begin`` stands round each implementation, where and when its code runs.
    """

    def __init__(self, on_fault: FaultRecorder, begin: Begin | None = None) -> None:
        self._on_fault = on_fault
        self._begin = begin
        self._busy = BusyPlugins()

    async def outcomes(
        self, hook: str, steps: Sequence[Step], timeout: float | None
    ) -> list[Outcome[Any]]:
        """Run all steps and return an outcome for each, in their order."""
        steps = self._guard(hook, steps)
        async with _HookCall(hook, timeout, self._busy, self._on_fault) as call:
            jobs = await call.run_steps(steps)
        return [
            Outcome(job.slug, job.value, job.error, call.failures.get(job), job.seconds)
            for job in jobs
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
        """Run the steps inside the wrappers, and return the outermost result.

        Wrappers come outermost first. The steps' result is the list of the values that are not
        None, in the order of the steps. With ``first`` it is the first such value, or None. Then
        the steps run in turn, since the steps after the first result must not run.
        """
        steps = self._guard(hook, steps)
        async with _HookCall(hook, timeout, self._busy, self._on_fault) as call:
            for wrapper in wrappers:
                await call.enter(refuse_if_busy(wrapper, self._busy))
            value: Any = None
            if first:
                for step in steps:
                    (job,) = await call.run_steps([step])
                    if job.value is not None:
                        value = job.value
                        break
            else:
                jobs = await call.run_steps(steps)
                value = [job.value for job in jobs if job.value is not None]
            return await call.leave(value, is_list=not first)

    def _guard(self, hook: str, steps: Sequence[Step]) -> Sequence[Step]:
        begin, steps = self._begin, [refuse_if_busy(step, self._busy) for step in steps]
        return steps if begin is None else [supervise(step, hook, begin) for step in steps]


class _HookCall:
    """One call of a hook: the wrappers it is inside of, and its faults.

    ``failures`` has the records of the faults when the call has ended.
    """

    def __init__(
        self, hook: str, timeout: float | None, busy: BusyPlugins, on_fault: FaultRecorder
    ) -> None:
        self.failures: dict[Job, PluginFailure | None] = {}
        self._hook = hook
        self._timeout = timeout
        self._on_fault = on_fault
        self._team = Team(running_loop(), busy)
        self._entered: list[tuple[str, AnyWrapper]] = []
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
            while self._entered:
                slug, wrapper = self._entered.pop()
                await self._run([self._make_job(slug, wrapper.close)])
            if not team.is_dead:
                await self._record()
        finally:
            team.worker.close()
        if team.urgent is not None and team.urgent is not error:
            raise team.urgent

    async def enter(self, step: Step) -> None:
        """Go inside a wrapper; a wrapper that fails is left out."""
        wrapper = AsyncWrapper(step, self._team) if step.is_async else SyncWrapper(step)
        self._entered.append((step.slug, wrapper))
        job = self._make_job(step.slug, wrapper.enter)
        await self._run([job])
        if job.error is not None:
            self._entered.pop()

    async def run_steps(self, steps: Sequence[Step]) -> list[Job]:
        """Run implementations together, and return their jobs."""
        jobs = [
            self._make_job(
                step.slug,
                partial(Job.run_in_task if step.is_async else Job.run_in_thread, function=step.run),
                overrun=step.overrun,
            )
            for step in steps
        ]
        await self._run(jobs)
        return jobs

    async def leave(self, value: Any, *, is_list: bool) -> Any:
        """Send ``value`` out through all wrappers, and return the outermost result."""
        while self._entered:
            slug, wrapper = self._entered.pop()
            job = self._make_job(slug, partial(wrapper.leave, value=value, is_list=is_list))
            await self._run([job])
            if job.error is None:
                value = job.value
        return value

    def _make_job(
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
                (job, job.error)
                for job in jobs
                if job.error is not None and not issubclass(type(job.error), PROCESS)
            ]

    async def _record(self) -> None:
        """Record the faults, in the worker's thread. Raises the recorder's exceptions.

        The recorder calls the host, which may take longer than a plugin may, and is no fault of
        the plugin's.
        """
        limit = CLEAN_UP_SECONDS if self._team.is_leaving else RECORD_SECONDS
        jobs = [
            Job(
                self._team,
                fault.slug,
                limit,
                partial(
                    Job.run_in_thread,
                    function=partial(self._on_fault, fault.slug, self._hook, error),
                ),
                makes_busy=False,
            )
            for fault, error in self._faults
        ]
        if jobs:
            await self._team.run(jobs)
        for (fault, _), job in zip(self._faults, jobs, strict=True):
            if job.error is None:
                self.failures[fault] = job.value
            elif not issubclass(type(job.error), PluginTimeoutError):
                raise job.error
