"""Wrappers round an asynchronous call, in the worker's thread or a task.

Each method of a wrapper starts one part of it for a job, and ends the job with that part:
``enter`` runs it to its yield, ``leave`` from there to its end with the value inside, and ``close``
ends it without a value. A job that left has the value outside.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeAlias

from plugreg._calls.aio._jobs import Job, Team
from plugreg._calls.wrappers import Wrapper, check_list, enter_wrapper, leave_wrapper
from plugreg._support.guard import Guard


class SyncWrapper:
    """A generator function: its return value is the value outside."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._entering: Job | None = None

    def enter(self, job: Job) -> None:
        """Run it to its yield; a wrapper that arrives there too late is closed there."""

        def discard(generator: Wrapper | None) -> None:
            if generator is not None:
                generator.close()

        self._entering = job
        job.run_in_thread(lambda: enter_wrapper(self._function()), discard)

    def leave(self, job: Job, value: Any, *, is_list: bool) -> None:
        """Send it the value."""
        generator = self._generator()
        job.run_in_thread(lambda: leave_wrapper(generator, value, is_list=is_list))

    def close(self, job: Job) -> None:
        """Close the generator."""
        generator = self._generator()
        if generator is None:
            job.end(None, None)
        else:
            job.run_in_thread(generator.close)

    def _generator(self) -> Any:
        return None if self._entering is None else self._entering.value


class AsyncWrapper:
    """An async generator function: a second yield sends the value outside.

    It cannot return a value. It lives in one task from its beginning to its end, as its resources
    may demand. Without a second yield the value stays as it is.
    """

    _job: Job
    """The job that the task works for, from :meth:`enter` on."""

    def __init__(self, function: Callable[[], Any], team: Team) -> None:
        self._function = function
        self._team = team
        self._gate = team.loop.event()
        self._cancel: Callable[[], object] = lambda: None
        self._sent: Any = None
        self._is_sent = self._is_list = False
        self._is_at_yield = False
        self._value: Any = None
        self._error: BaseException | None = None

    def enter(self, job: Job) -> None:
        """Begin the task."""
        self._job = job
        job.cancel = self._cancel = self._team.loop.spawn(
            self._live(), self._end, self._team.worker.context.copy()
        )

    def leave(self, job: Job, value: Any, *, is_list: bool) -> None:
        """Let the task go on with the value."""
        self._sent, self._is_sent, self._is_list = value, True, is_list
        if self._is_at_yield:
            self._go_on(job)
        else:
            job.end(None, self._error)

    def close(self, job: Job) -> None:
        """Let the task close the generator: inside the task, and not by cancelling it."""
        if self._is_at_yield:
            self._go_on(job)
        else:
            job.end(None, None)

    def _go_on(self, job: Job) -> None:
        self._job = job
        self._gate.set()
        job.cancel = self._cancel

    async def _live(self) -> None:
        try:
            generator: AsyncGenerator[Any, Any] = self._function()
            try:
                await self._run_to_yield(generator)
                if self._is_sent:
                    value = await self._send(generator)
                    self._value = check_list(value) if self._is_list else value
            finally:
                await generator.aclose()
        except BaseException as error:  # noqa: BLE001 - the job that waits for it has to judge
            self._error = error
            if issubclass(type(error), GeneratorExit):
                # The loop may be closed.
                with Guard():
                    self._end()

    async def _run_to_yield(self, generator: AsyncGenerator[Any, Any]) -> None:
        job = self._job
        job.begin()
        try:
            await anext(generator)
        except StopAsyncIteration:
            raise RuntimeError("hook wrapper did not yield") from None
        if job.is_over or job.is_stopped:
            return
        self._team.take_context()
        self._is_at_yield = True
        job.end(None, None)
        await self._gate.wait()
        self._job.begin()

    async def _send(self, generator: AsyncGenerator[Any, Any]) -> Any:
        # A copy, since a wrapper that changes the list without a second yield has no result.
        try:
            changed = await generator.asend(self._sent.copy() if self._is_list else self._sent)
        except StopAsyncIteration:
            return self._sent
        try:
            await anext(generator)
        except StopAsyncIteration:
            return changed
        raise RuntimeError("async hook wrapper has a third yield")

    def _end(self, _: object = None) -> None:
        self._is_at_yield = False
        self._job.end(self._value, self._error)


AnyWrapper: TypeAlias = SyncWrapper | AsyncWrapper
