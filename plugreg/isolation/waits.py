"""Waiting for lines and frames: in a thread, or in a coroutine on asyncio or trio without a thread.

A call is written once, as a coroutine. In a thread it runs to its end at once, because nothing
there suspends it. An event loop without ``add_reader``, such as the default loop of Windows, has a
thread wait.
"""

from __future__ import annotations

import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, Final, TypeVar

from plugreg._calls.aio._loops import Loop
from plugreg.isolation.frames import Line
from plugreg.isolation.lines import LinePool

T = TypeVar("T")

_LONGEST_WAIT: Final = 3_600.0
"""Seconds of a single wait; poll(2) takes no more than some weeks."""


def wait_for_socket(sock: socket.socket, seconds: float, *, writing: bool) -> None:
    """Wait in this thread until a socket can be read, or written, or so many seconds."""
    seconds = min(seconds, _LONGEST_WAIT)
    if sys.platform == "win32":
        select.select([] if writing else [sock], [sock] if writing else [], [], seconds)
    else:
        poll = select.poll()
        poll.register(sock, select.POLLOUT if writing else select.POLLIN)
        poll.poll(seconds * 1000)


class ThisThread:
    """The operations of an event loop, for a thread that waits itself."""

    event = threading.Event

    def soon(self, callback: Callable[[], object]) -> None:
        """Call a function."""
        callback()

    async def wait(self, event: Any, seconds: float | None, *, shielded: bool) -> None:  # noqa: ARG002
        """Wait for an event, or so many seconds."""
        event.wait(seconds)


HERE: Final = ThisThread()
"""The calling thread."""

Place = ThisThread | Loop
"""Where a call waits."""


async def free_line(place: Place, pool: LinePool) -> Line:
    """Return a line of a pool as soon as a line is free. Raises EOFError if the pool is closed."""
    arrived = place.event()
    found: list[Line | None] = []

    def take(line: Line | None) -> None:
        found.append(line)
        place.soon(arrived.set)

    def give_up(line: Line | None) -> None:
        pool.give_up(take)
        line = line or (found[0] if found else None)
        if line is not None:
            pool.put_back(line)

    if pool.connects:
        # A connection is waited for, and a process may take its time.
        line = await in_thread(place, partial(pool.take, take), give_up)
    else:
        line = pool.take(take)
    if line is None:
        try:
            await place.wait(arrived, None, shielded=False)
        except BaseException:
            give_up(None)
            raise
        line = found[0]
    if line is None:
        raise EOFError
    return line


async def send_rest(place: Place, line: Line, deadline: float) -> None:
    """Send the rest of a frame that a line has begun to send.

    Args:
        place: Where to wait.
        line: The line, whose socket does not block.
        deadline: The end of all this, by ``time.monotonic``.

    Raises:
        TimeoutError: At the deadline. Others are those of the system.
    """
    while line.unsent:
        await _until_ready(place, line.sock, deadline, writing=True)
        line.send_some(line.unsent)
        if line.unsent and time.monotonic() > deadline:
            raise TimeoutError


async def receive(place: Place, line: Line, deadline: float) -> bytes:
    """Return the next frame.

    Raises TimeoutError at the deadline; others are those of `Line.receive_some`.
    """
    frame = line.rest()
    if frame is None and place is not HERE:
        # An answer that is there already costs no turn of the loop.
        frame = line.receive_some()
    while frame is None:
        # Also after the deadline: this process may have been paused, and the frame is there.
        if place is HERE and line.poll is not None:
            left = deadline - time.monotonic()
            if not 0 < left < _LONGEST_WAIT:
                left = min(max(left, 0), _LONGEST_WAIT)
            line.poll.poll(left * 1000)
        else:
            await _until_ready(place, line.sock, deadline, writing=False)
        frame = line.receive_some()
        if frame is None and time.monotonic() > deadline:
            raise TimeoutError
    return frame


async def called(
    place: Place, register: Callable[[Callable[[], object]], object], seconds: float
) -> None:
    """Wait until a function that is registered is called, or so many seconds."""
    done = place.event()
    register(partial(place.soon, done.set))
    await place.wait(done, seconds, shielded=False)


async def in_thread(
    place: Place, function: Callable[[], T], give_up: Callable[[T], object] | None = None
) -> T:
    """Return the result of a function that waits, and does not stop an event loop.

    Args:
        place: Where to wait.
        function: The function. An event loop has a thread run it.
        give_up: Takes the result where the coroutine was cancelled meanwhile.
    """
    if place is HERE:
        return function()
    done = place.event()
    results: list[Any] = []
    # Who takes the second turn, the thread or a cancelled coroutine, gives the result up.
    turns = count(1)

    def release() -> None:
        if next(turns) == 2 and give_up is not None and results[1] is None:
            give_up(results[0])

    def work() -> None:
        try:
            results.extend((function(), None))
        except BaseException as error:  # noqa: BLE001 - it is raised in the coroutine
            results.extend((None, error))
        place.soon(done.set)
        release()

    threading.Thread(target=work, name="plugreg isolation", daemon=True).start()
    try:
        await place.wait(done, None, shielded=False)
    except BaseException:
        release()
        raise
    value, error = results
    if error is not None:
        raise error
    result: T = value
    return result


async def _until_ready(
    place: Place, sock: socket.socket, deadline: float, *, writing: bool
) -> None:
    # Trio refuses negative seconds.
    left = max(deadline - time.monotonic(), 0)
    if isinstance(place, ThisThread):
        wait_for_socket(sock, left, writing=writing)
        return
    try:
        await place.until_ready(sock, left, writing=writing)
    except NotImplementedError:
        await in_thread(place, partial(wait_for_socket, sock, left, writing=writing))
