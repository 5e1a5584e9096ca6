"""The event loop that an asynchronous call runs on: asyncio's or trio's.

Neither is imported unless it runs: the loop of the caller's coroutine is imported already.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeAlias

from plugreg._support.guard import running_trio

if TYPE_CHECKING:
    from asyncio import Future
    from socket import socket

Done = Callable[[object], object]
"""Called when a task has ended, with an object that says nothing."""


class _Signal:
    """An event that a single coroutine waits for, once; cheaper than an ``asyncio.Event``."""

    def __init__(self, future: Future[None]) -> None:
        self._future = future

    def set(self) -> None:
        # A cancelled wait has cancelled the future.
        if not self._future.done():
            self._future.set_result(None)

    def wait(self) -> Awaitable[None]:
        return self._future


class AsyncioLoop:
    """The few operations that differ between the loops.

    Made, and used, in the loop's thread. ``cancelled`` is the exception class of a cancellation.
    """

    def __init__(self) -> None:
        import asyncio

        self._loop = asyncio.get_running_loop()
        self._current_task = asyncio.current_task
        self.cancelled: type[BaseException] = asyncio.CancelledError

    def event(self) -> _Signal:
        """Return an event, for a single wait."""
        return _Signal(self._loop.create_future())

    def soon(self, callback: Callable[[], object]) -> None:
        """Call a function soon in the loop's thread. Any thread may use this."""
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            # The loop is closed, and no coroutine waits any more.
            return

    def spawn(
        self, body: Coroutine[Any, Any, None], done: Done, context: Context
    ) -> Callable[[], object]:
        """Start a task that may outlive its maker; return a function to cancel it.

        ``body`` must not raise. ``done`` is called, in ``context``, when the task has ended, also
        when it was cancelled before its first step. Where a loop is closed, its tasks are thrown
        away: their bodies get a GeneratorExit, and ``done`` may not be called.
        """
        task = self._loop.create_task(body, name="plugreg acall", context=context)
        task.add_done_callback(done, context=context)
        return task.cancel

    def take_over(self, done: Done) -> None:
        """Let this task, which has begun, call ``done`` itself: that is a turn of the loop less."""
        task = self._current_task()
        assert task is not None
        task.remove_done_callback(done)

    def wait(self, event: Any, seconds: float | None, *, shielded: bool) -> Awaitable[object]:
        """Wait for an event, or so many seconds. A shielded wait is not cancelled.

        The event may be set when the time is over.
        """
        is_plain = seconds is None and not shielded
        return event.wait() if is_plain else self._wait(event, seconds, shielded=shielded)

    async def until_ready(self, sock: socket, seconds: float, *, writing: bool) -> None:
        """Wait until a socket can be read, or written, or so many seconds."""
        loop, ready = self._loop, self.event()
        watch, forget = loop.add_reader, loop.remove_reader
        if writing:
            watch, forget = loop.add_writer, loop.remove_writer
        watch(sock, ready.set)
        try:
            await self.wait(ready, seconds, shielded=False)
        finally:
            forget(sock)

    async def _wait(self, event: Any, seconds: float | None, *, shielded: bool) -> None:
        timer = None if seconds is None else self._loop.call_later(seconds, event.set)
        # A cancelled scope of anyio's cancels at each turn of the loop unless it is shielded.
        # While another thread imports it, it has no such class, and no scope of it is open.
        scope: Any = getattr(sys.modules.get("anyio"), "CancelScope", None) if shielded else None
        try:
            with nullcontext() if scope is None else scope(shield=True):
                await event.wait()
        except self.cancelled:
            # A shielded wait is part of leaving because of an earlier cancellation, or of another
            # exception that counts for more. To be woken early does no harm.
            if not shielded:
                raise
        finally:
            if timer is not None:
                timer.cancel()


class TrioLoop:
    """The same operations on trio."""

    def __init__(self, trio: Any) -> None:
        self._trio = trio
        self.cancelled: type[BaseException] = trio.Cancelled
        self._token = trio.lowlevel.current_trio_token()
        self.event: Callable[[], Any] = trio.Event

    def soon(self, callback: Callable[[], object]) -> None:
        try:
            self._token.run_sync_soon(callback)
        except self._trio.RunFinishedError:
            # As with asyncio: no coroutine waits any more.
            return

    def spawn(
        self, body: Coroutine[Any, Any, None], done: Done, context: Context
    ) -> Callable[[], object]:
        scope = self._trio.CancelScope()

        async def run() -> None:
            try:
                with scope:
                    await body
            finally:
                done(None)

        # A system task, since a task of a nursery could not be left behind.
        self._trio.lowlevel.spawn_system_task(run, name="plugreg acall", context=context)
        cancel: Callable[[], object] = scope.cancel
        return cancel

    def take_over(self, done: Done) -> None:
        pass

    async def until_ready(self, sock: socket, seconds: float, *, writing: bool) -> None:
        """Wait until a socket can be read, or written, or so many seconds."""
        lowlevel = self._trio.lowlevel
        with self._trio.move_on_after(seconds):
            await (lowlevel.wait_writable if writing else lowlevel.wait_readable)(sock)

    async def wait(self, event: Any, seconds: float | None, *, shielded: bool) -> None:
        scope = self._trio.CancelScope(shield=shielded)
        if seconds is not None:
            scope.deadline = self._trio.current_time() + seconds
        with scope:
            await event.wait()


Loop: TypeAlias = AsyncioLoop | TrioLoop


def running_loop() -> Loop:
    """Return the running loop. Raises RuntimeError for an unknown loop."""
    # Asked first, since trio may run as a guest of asyncio's loop.
    trio = running_trio()
    if trio is not None:
        return TrioLoop(trio)
    try:
        return AsyncioLoop()
    except RuntimeError:
        raise RuntimeError(
            "acall and aoutcomes run on asyncio or trio, and neither is running here; "
            "await them in a coroutine of one of these"
        ) from None
