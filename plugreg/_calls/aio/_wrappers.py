"""Wrappers round an asynchronous call: generators in the worker's thread, async ones in a task."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, Protocol

from plugreg._calls.aio._jobs import Job, Team
from plugreg._calls.aio._steps import Step


class Wrapper(Protocol):
    """A wrapper of one call; each method starts a part of it, and ends the job with that part."""

    def enter(self, job: Job) -> None:
        """Run it to its yield."""

    def leave(self, job: Job, value: Any, *, is_list: bool) -> None:
        """Run it from there, with the value inside; the job gets the value outside."""

    def close(self, job: Job) -> None:
        """Make it end without a value, if it is at its yield."""


class SyncWrapper:
    """A generator function: what it returns is the value outside."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._entering: Job | None = None

    def enter(self, job: Job) -> None:
        """Run it to its yield; if it comes there too late, it is closed there."""

        def run() -> Generator[None, Any, Any]:
            generator: Generator[None, Any, Any] = self._step.run()
            try:
                next(generator)
            except StopIteration:
                raise RuntimeError("hook wrapper did not yield") from None
            return generator

        def discard(generator: Generator[None, Any, Any] | None) -> None:
            if generator is not None:
                generator.close()

        self._entering = job
        job.run_in_thread(run, discard)

    def leave(self, job: Job, value: Any, *, is_list: bool) -> None:
        """Send it the value."""
        generator = self._generator()

        def run() -> Any:
            try:
                generator.send(value)
            except StopIteration as end:
                return _checked(end.value, is_list)
            generator.close()
            raise RuntimeError("hook wrapper has a second yield")

        job.run_in_thread(run)

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
    """An async generator function, which cannot return: a second yield gives the value outside.

    It lives in one task from its beginning to its end, as what it opens may demand. Without a
    second yield the value stays as it is.
    """

    _job: Job
    """The job that the task is at work for, from :meth:`enter` on."""

    def __init__(self, step: Step, team: Team) -> None:
        self._step = step
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

        def spawn() -> Callable[[], object]:
            self._cancel = self._team.spawn(self._live, self._ended)
            return self._cancel

        self._job = job
        job.run_with(spawn)

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
        job.run_with(lambda: self._cancel)

    async def _live(self) -> None:
        try:
            generator: AsyncGenerator[Any, Any] = self._step.run()
            try:
                await self._to_yield(generator)
                if self._is_sent:
                    self._value = _checked(await self._send(generator), self._is_list)
            finally:
                await generator.aclose()
        except BaseException as error:  # noqa: BLE001 - who waits for it has to judge
            self._error = error

    async def _to_yield(self, generator: AsyncGenerator[Any, Any]) -> None:
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
        # If the wrapper changes what it is sent, that is no result.
        unchanged = self._sent.copy() if self._is_list else self._sent
        try:
            changed = await generator.asend(self._sent)
        except StopAsyncIteration:
            return unchanged
        try:
            await anext(generator)
        except StopAsyncIteration:
            return changed
        raise RuntimeError("async hook wrapper has a third yield")

    def _ended(self) -> None:
        self._is_at_yield = False
        self._job.end(self._value, self._error)


def _checked(value: Any, is_list: bool) -> Any:
    if not is_list:
        return value
    if not issubclass(type(value), list):
        raise TypeError(f"hook wrapper must give a list, not {type(value).__name__}")
    return list(value)
