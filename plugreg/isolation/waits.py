"""Waiting for lines and frames in a coroutine, on asyncio or trio, without a thread.

On asyncio this needs a loop with ``add_reader``, which the default loop of Windows has not.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from threading import Thread
from typing import Any, TypeVar

from plugreg._calls.aio._loops import Loop, TrioLoop, running_loop
from plugreg.isolation.frames import Line, pack
from plugreg.isolation.lines import LinePool

T = TypeVar("T")


async def free_line(pool: LinePool) -> Line:
    """Return a line of a pool as soon as one is free. Raises EOFError when the pool is closed."""
    loop = running_loop()
    arrived = loop.event()
    found: list[Line | None] = []

    def take(line: Line | None) -> None:
        found.append(line)
        loop.soon(arrived.set)

    line = pool.take(take)
    if line is not None:
        return line
    try:
        await loop.wait(arrived, None, shielded=False)
    except BaseException:
        pool.give_up(take)
        if found and found[0] is not None:
            pool.put_back(found[0])
        raise
    if found[0] is None:
        raise EOFError
    return found[0]


async def exchange(line: Line, body: bytes, deadline: float) -> bytes:
    """Send a frame and return the next one that arrives.

    Raises TimeoutError at the deadline of ``time.monotonic``, and as `Line.receive` does.
    """
    loop = running_loop()
    data = memoryview(pack(body))
    while data:
        try:
            data = data[line.sock.send(data, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            await _until_ready(loop, line.sock, deadline, writing=True)
    while True:
        frame = line.received()
        if frame is not None:
            return frame
        await _until_ready(loop, line.sock, deadline, writing=False)


async def in_thread(function: Callable[[], T]) -> T:
    """Return the result of a function that runs in a thread of its own."""
    loop = running_loop()
    done = loop.event()
    results: list[Any] = []

    def run() -> None:
        try:
            results.extend((function(), None))
        except BaseException as error:  # noqa: BLE001 - it is raised in the coroutine
            results.extend((None, error))
        loop.soon(done.set)

    Thread(target=run, name="plugreg isolation", daemon=True).start()
    await loop.wait(done, None, shielded=False)
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
    with loop.watching(sock, ready.set, writing=writing):
        await loop.wait(ready, left, shielded=False)
