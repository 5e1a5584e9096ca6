"""Frames: messages of known length on a stream socket, and the time that they may take.

A frame is its length in 4 bytes, big-endian, and so many bytes. Those of a call begin with a line
of the protocol, see `plugreg.isolation.protocol`; the rest is the value.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time
from typing import Any, Final

LARGEST: Final = 512 * 1024 * 1024
"""The most bytes of a frame: a damaged length would ask for all memory."""

LARGEST_BESIDE: Final = 64 * 1024 * 1024
"""The same for messages beside calls."""

_PREFIX: Final = 4
PIECE: Final = 65_536
_SHORT: Final = 4_096
"""How many bytes are received or sent at a time, and of a frame that nothing is known of yet."""

_NOW: Final = getattr(socket, "MSG_DONTWAIT", 0)
"""Sends without waiting; on Windows the time limit of the socket holds."""

_INPUT: Final = getattr(select, "POLLIN", 0)
"""The event of poll(2) that is waited for; 0 on Windows, where the time limit holds, too."""

_LONGEST_WAIT: Final = 3_600.0
"""Seconds of a single wait; poll(2) takes no more than some weeks."""


class BrokenFrameError(ConnectionError):
    """The received bytes are no frame: the other side has violated the protocol."""


def pack(body: bytes) -> bytes:
    """Return the frame of a message. Raises ValueError if it is too long."""
    if len(body) > LARGEST:
        raise ValueError(f"a message has {len(body)} bytes, and no more than {LARGEST} are sent")
    return len(body).to_bytes(_PREFIX, "big") + body


class FrameReader:
    """Assembles frames from received bytes. It does not read itself.

    Args:
        largest: The most bytes of a frame.
    """

    __slots__ = ("_data", "_filled", "_largest", "_long")

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._data = b""
        # A frame that comes in many pieces, as far as it is there.
        self._long: bytearray | None = None
        self._filled = 0

    @property
    def is_empty(self) -> bool:
        """Whether the next byte to come begins a frame."""
        return not self._data and self._long is None

    def feed(self, piece: bytes) -> bytes | None:
        """Take received bytes; return a frame if it is complete, else None.

        Raises BrokenFrameError for a length that no frame has.
        """
        room = self.room()
        if room is not None:
            count = min(len(room), len(piece))
            room[:count] = piece[:count]
            self._data = piece[count:]
            return self.took(count)
        self._data = self._data + piece if self._data else piece
        return self.next()

    def next(self) -> bytes | None:
        """Return another frame that is complete already, else None."""
        data = self._data
        if self._long is not None or len(data) < _PREFIX:
            return None
        length = int.from_bytes(data[:_PREFIX], "big")
        end = length + _PREFIX
        if len(data) >= end:
            self._data = data[end:]
            return data[_PREFIX:end]
        if length > self._largest:
            raise BrokenFrameError(f"a frame of {length} bytes is announced")
        self._long = bytearray(length)
        self._filled = len(data) - _PREFIX
        self._long[: self._filled] = data[_PREFIX:]
        self._data = b""
        return None

    def room(self) -> memoryview | None:
        """Return the place for the rest of a frame that has begun, None if none has."""
        return None if self._long is None else memoryview(self._long)[self._filled :]

    def took(self, count: int) -> bytes | None:
        """Note that so many bytes were put there; return the frame once it is complete."""
        assert self._long is not None
        self._filled += count
        if self._filled < len(self._long):
            return None
        frame, self._long = bytes(self._long), None
        return frame


class Line:
    """An end of a connection that sends and receives frames, one thread at a time.

    Args:
        sock: The socket, which belongs to the line from now on. It stays in blocking mode.
        largest: The most bytes of a frame that is received.
    """

    __slots__ = ("_event", "_poll", "_reader", "_seconds", "sock")

    def __init__(self, sock: socket.socket, largest: int = LARGEST) -> None:
        self.sock = sock
        self._reader = FrameReader(largest)
        self._seconds: float | None = None
        self._poll: Any = None
        self._event = 0

    def limit(self, seconds: float) -> None:
        """Let no operation of the system wait longer than that.

        Python's own time limit of a socket costs three calls of the system for each operation.
        """
        if seconds != self._seconds:
            self.limit_sending(seconds)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(seconds))
            self._seconds = seconds

    def limit_sending(self, seconds: float) -> None:
        """Let no operation that sends wait longer than that."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(seconds))

    def send(self, body: bytes, deadline: float | None = None) -> None:
        """Send a frame.

        Raises TimeoutError where the other side takes nothing for too long, and at the deadline of
        ``time.monotonic``.
        """
        self.send_data(pack(body), deadline)

    def send_data(self, data: bytes | memoryview, deadline: float | None = None) -> None:
        """Send a packed frame, or the rest of it. Raises as `send` does."""
        flags = 0 if deadline is None else _NOW
        # In pieces: the system would wait for as long as a little of it is taken.
        piece = data[:PIECE]
        sent = 0
        while True:
            try:
                sent += self.sock.send(piece, flags)
            except BlockingIOError:
                if not flags:
                    raise TimeoutError from None
                self._wait(deadline, select.POLLOUT)
            if sent == len(data):
                return
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError
            piece = memoryview(data)[sent : sent + PIECE]

    def receive(self, deadline: float | None = None) -> bytes:
        """Return the next frame.

        Raises TimeoutError where nothing comes for too long, and at the deadline of
        ``time.monotonic``, EOFError where the other side is closed, and BrokenFrameError for
        invalid bytes.
        """
        reader = self._reader
        try:
            if reader.is_empty:
                self._wait(deadline, _INPUT)
                # Nearly every frame comes whole.
                piece = self.sock.recv(_SHORT)
                if int.from_bytes(piece[:_PREFIX], "big") == len(piece) - _PREFIX:
                    return piece[_PREFIX:]
                if not piece:
                    raise EOFError
                frame = reader.feed(piece)
            else:
                frame = reader.next()
            while frame is None:
                if deadline is not None and time.monotonic() > deadline:
                    raise TimeoutError
                self._wait(deadline, _INPUT)
                frame = self._receive()
        except BlockingIOError:
            raise TimeoutError from None
        return frame

    def received(self) -> bytes | None:
        """Return a frame as far as it is there, None if it is not complete.

        The socket must not be blocking. Raises as `receive` does.
        """
        frame = self._reader.next()
        while frame is None:
            try:
                frame = self._receive()
            except BlockingIOError:
                return None
        return frame

    def feed(self, piece: bytes) -> bytes | None:
        """Take bytes that were received elsewhere; return a complete frame, else None."""
        return self._reader.feed(piece) if piece else self._reader.next()

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()

    def _wait(self, deadline: float | None, event: int) -> None:
        """Wait until something can be received or sent. Raises TimeoutError at the deadline.

        The time limit of a socket would begin anew with each signal that reaches this process.
        """
        if deadline is None or not event:
            return
        if self._poll is None:
            self._poll = select.poll()
        if event != self._event:
            self._poll.register(self.sock, event)
            self._event = event
        left = deadline - time.monotonic()
        # A process that was paused looks once more before it gives up.
        while not self._poll.poll(max(min(left, _LONGEST_WAIT), 0) * 1000):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError

    def _receive(self) -> bytes | None:
        """Receive once; return a frame that is complete by that, else None."""
        room = self._reader.room()
        if room is None:
            piece = self.sock.recv(PIECE)
            if not piece:
                raise EOFError
            return self._reader.feed(piece)
        with room:
            count = self.sock.recv_into(room)
        if not count:
            raise EOFError
        return self._reader.took(count)


def _timeval(seconds: float) -> bytes:
    if sys.platform == "win32":
        return struct.pack("@L", max(int(seconds * 1_000), 1))
    whole, rest = divmod(seconds, 1)
    return struct.pack("@ll", int(whole), max(int(rest * 1_000_000), 1))
