"""Calling hooks on an event loop: in tasks, or in a thread if synchronous.

Plugin code runs in the loop's thread only where it is async itself. All other code of plugins
runs in a worker thread, so that it never blocks the loop: synchronous implementations and
wrappers, and the recording of a fault, which formats a plugin's exception.

A call goes from step to step, and waits in each for all of its jobs: wrappers entered,
implementations, wrappers left, faults recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from plugreg._calls.aio._jobs import CLEAN_UP_SECONDS, PROCESS, Begin, Job, Team
from plugreg._calls.aio._threads import BusyPlugins, Threads
from plugreg._calls.aio._wrappers import AnyWrapper, AsyncWrapper, SyncWrapper
from plugreg._calls.outcome import FaultRecorder, Outcome
from plugreg.exceptions import PluginTimeoutError
from plugreg.hooks import AsyncOnly, HookTable, Row
from plugreg.records import PluginFailure

RECORD_SECONDS: Final = 30.0
"""Time limit for recording a fault. An outcome whose fault takes longer has no record."""


class AsyncCalls:
    """Runs calls on the loop of the coroutine that awaits them.

    It keeps the busy plugins and idle threads, no more. Calls may be under way on several loops in
    several threads. ``timeout`` is in seconds, for each implementation, and for a wrapper's part
    before its yield and after it; None means no limit. Code that overruns gets a
    PluginTimeoutError. Async code is cancelled and has CLEAN_UP_SECONDS to end. Code that does not
    end, and synchronous code at once, is given up on. Its plugin is busy, and raises a
    PluginBusyError in each call, until the code returns. Other plugins may run in several threads,
    for several calls, at once.

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
        self.on_fault: Final = on_fault
        self.begin: Final = begin
        self.busy: Final = BusyPlugins()
        self.threads: Final = Threads()

    async def outcomes(
        self, hook: str, rows: Sequence[Row], arguments: Mapping[str, Any], timeout: float | None
    ) -> list[Outcome[Any]]:
        """Call all rows and return an outcome for each, in their order."""
        async with _HookCall(self, hook, arguments, timeout) as call:
            jobs = await call.run(rows)
        return [
            Outcome(job.slug, job.value, job.error, call.failures.get(job), job.seconds)
            for job in jobs
        ]

    async def results(
        self, table: HookTable, arguments: Mapping[str, Any], timeout: float | None
    ) -> list[Any]:
        """Call a hook inside its wrappers, and return the results that are not None.

        The implementations of a ``firstresult`` hook run in turn, since those after the first
        result must not run.
        """
        async with _HookCall(self, table.hook.name, arguments, timeout) as call:
            for wrapper in table.wrappers:
                await call.enter(wrapper)
            value: Any = None
            if table.firstresult:
                for row in table.bare:
                    (job,) = await call.run((row,))
                    if job.value is not None:
                        value = job.value
                        break
            else:
                jobs = await call.run(table.bare)
                value = [job.value for job in jobs if job.value is not None]
            if table.wrappers:
                value = await call.leave(value, is_list=not table.firstresult)
        results = [value] if table.firstresult else value
        return [result for result in results if result is not None]


class _HookCall:
    """A call of a hook: the wrappers around it, and its faults.

    ``failures`` has the records of the faults when the call has ended.
    """

    def __init__(
        self,
        owner: AsyncCalls,
        hook: str,
        arguments: Mapping[str, Any],
        timeout: float | None,
    ) -> None:
        self.failures: dict[Job, PluginFailure | None] = {}
        self._arguments = arguments
        self._timeout = timeout
        self._team = Team(hook, owner.begin, owner.busy, owner.threads)
        self._on_fault = owner.on_fault
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
        while self._entered:
            slug, wrapper = self._entered.pop()
            await self._run([self._make_job(slug, wrapper.close)])
        if self._faults and not team.is_dead:
            await self._record()
        if team.urgent is not None and team.urgent is not error:
            raise team.urgent

    async def enter(self, row: Row) -> None:
        """Go inside a wrapper; a wrapper that fails is left out."""
        values, busy = row.pick(self._arguments), self._team.busy
        is_async, function = _unwrap(row)

        def make() -> Any:
            busy.check(row.slug)
            return function(*values)

        wrapper = AsyncWrapper(make, self._team) if is_async else SyncWrapper(make)
        self._entered.append((row.slug, wrapper))
        job = self._make_job(row.slug, wrapper.enter)
        await self._run([job])
        if job.error is not None:
            self._entered.pop()

    async def run(self, rows: Sequence[Row]) -> list[Job]:
        """Run implementations together, and return their jobs."""
        jobs = []
        for row in rows:
            is_async, function = _unwrap(row)
            job = self._make_job(row.slug, Job.call_in_task if is_async else Job.call_in_thread)
            job.function, job.values = function, row.pick(self._arguments)
            jobs.append(job)
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

    def _make_job(self, slug: str, start: Callable[[Job], object]) -> Job:
        limit = CLEAN_UP_SECONDS if self._team.is_leaving else self._timeout
        return Job(self._team, slug, limit, start)

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
                    function=partial(self._on_fault, fault.slug, self._team.hook, error),
                ),
                makes_busy=False,
            )
            for fault, error in self._faults
        ]
        await self._team.run(jobs)
        for (fault, _), job in zip(self._faults, jobs, strict=True):
            if job.error is None:
                self.failures[fault] = job.value
            elif not issubclass(type(job.error), PluginTimeoutError):
                raise job.error


def _unwrap(row: Row) -> tuple[bool, Callable[..., Any]]:
    """Return whether the function is async, and the function."""
    function = row.function
    # isinstance() would ask an object of a plugin's for its __class__.
    if issubclass(type(function), AsyncOnly):
        only: Any = function
        return True, only.function
    return False, function
