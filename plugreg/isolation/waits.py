"""Waiting for lines and frames in a coroutine, on asyncio or trio, without a thread.

A loop without ``add_reader``, such as the default loop of Windows, has a thread wait.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from plugreg._calls.aio._loops import Loop, TrioLoop, running_loop
from plugreg.isolation.frames import Line, pack
from plugreg.isolation.lines import LinePool

if TYPE_CHECKING:
    from plugreg.isolation.process import ChildProcess

T = TypeVar("T")


async def free_line(pool: LinePool) -> Line:
    """Return a line of a pool as soon as a line is free. Raises EOFError if the pool is closed."""
    loop = running_loop()
    arrived = loop.event()
    found: list[Line | None] = []

    def take(line: Line | None) -> None:
        found.append(line)
        loop.soon(arrived.set)

    def give_up(line: Line | None) -> None:
        pool.give_up(take)
        line = line or (found[0] if found else None)
        if line is not None:
            pool.put_back(line)

    if pool.connects:
        # A connection is waited for, and a process may take its time.
        line = await in_thread(partial(pool.take, take), give_up)
    else:
        line = pool.take(take)
    if line is not None:
        return line
    try:
        await loop.wait(arrived, None, shielded=False)
    except BaseException:
        give_up(None)
        raise
    if found[0] is None:
        raise EOFError
    return found[0]


async def exchange(line: Line, body: bytes, deadline: float, unsent: list[memoryview]) -> bytes:
    """Send a frame and return the next frame that arrives.

    Args:
        line: The line.
        body: The content of the frame.
        deadline: The end of all this, by ``time.monotonic``.
        unsent: Gets what is left to be sent, for a coroutine that is cancelled in between.

    Raises:
        TimeoutError: At the deadline. Others are those of `Line.receive`.
    """
    loop, sock = running_loop(), line.sock
    data = memoryview(pack(body))
    sock.setblocking(False)
    try:
        while data:
            unsent[:] = [data]
            try:
                data = data[sock.send(data) :]
            except BlockingIOError:
                await _until_ready(loop, sock, deadline, writing=True)
        unsent.clear()
        while True:
            frame = line.received()
            if frame is not None:
                return frame
            await _until_ready(loop, sock, deadline, writing=False)
    finally:
        sock.setblocking(True)


async def ended(child: ChildProcess, seconds: float) -> None:
    """Wait until nothing of a process is left, or so many seconds."""
    loop = running_loop()
    done = loop.event()
    child.on_end(partial(loop.soon, done.set))
    await loop.wait(done, seconds, shielded=False)


async def in_thread(function: Callable[[], T], give_up: Callable[[T], object] | None = None) -> T:
    """Return the result of a function that runs in a thread of its own.

    Args:
        function: The function.
        give_up: Takes the result where the coroutine was cancelled meanwhile.
    """
    loop = running_loop()
    done = loop.event()
    results: list[Any] = []
    # Who takes the second turn, the thread or a cancelled coroutine, gives the result up.
    turns = count(1)

    def release() -> None:
        if next(turns) == 2 and give_up is not None and results[1] is None:
            give_up(results[0])

    def run() -> None:
        try:
            results.extend((function(), None))
        except BaseException as error:  # noqa: BLE001 - it is raised in the coroutine
            results.extend((None, error))
        loop.soon(done.set)
        release()

    Thread(target=run, name="plugreg isolation", daemon=True).start()
    try:
        await loop.wait(done, None, shielded=False)
    except BaseException:
        release()
        raise
    value, error = results
    if error is not None:
        raise error
    result: T = value
    return result


async def _until_ready(loop: Loop, sock: socket.socket, deadline: float, *, writing: bool) -> None:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    if isinstance(loop, TrioLoop):
        await loop.until_ready(sock, left, writing=writing)
        return
    ready = loop.event()
    try:
        with loop.watching(sock, ready.set, writing=writing):
            await loop.wait(ready, left, shielded=False)
    except NotImplementedError:
        places = ([], [sock]) if writing else ([sock], [])
        await in_thread(partial(select.select, *places, [], left))
