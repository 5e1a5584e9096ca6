"""Frames: messages of known length on a stream socket.

A frame is its length in 4 bytes, big-endian, and so many bytes. Those of a call begin with a line
of the protocol, see `plugreg.isolation.protocol`; the rest is the value.
"""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Coroutine
from struct import Struct
from typing import Any, Final, TypeVar

T = TypeVar("T")

LARGEST: Final = 512 * 1024 * 1024
"""The most bytes of a frame: a damaged length would ask for all memory."""

LARGEST_BESIDE: Final = 64 * 1024 * 1024
"""The same for messages beside calls."""

_LENGTH: Final = Struct(">I")
_PREFIX: Final = _LENGTH.size
PIECE: Final = 65_536
_SHORT: Final = 4_096
"""How many bytes are received at a time, and of a frame that nothing is known of yet."""


class BrokenFrameError(ConnectionError):
    """The received bytes are no frame: the other side has violated the protocol."""


def pack(body: bytes) -> bytes:
    """Return the frame of a message. Raises ValueError if it is too long."""
    if len(body) > LARGEST:
        raise ValueError(f"a message has {len(body)} bytes, and no more than {LARGEST} are sent")
    return _LENGTH.pack(len(body)) + body


class Line:
    """An end of a connection that sends and receives frames, one thread at a time.

    Args:
        sock: The socket, which belongs to the line from now on. That of the host does not block.
        largest: The most bytes of a frame that is received.
    """

    __slots__ = ("_data", "_largest", "poll", "sock", "unsent")

    def __init__(self, sock: socket.socket, largest: int = LARGEST) -> None:
        self.sock = sock
        self._largest = largest
        self._data = bytearray()
        self.unsent: memoryview | None = None
        """The rest of a frame that the system has not taken yet, None if it has taken all."""
        self.poll: Any = None
        """The poll object for received bytes, kept because each call needs it; None on Windows."""
        if sys.platform != "win32":
            self.poll = select.poll()
            self.poll.register(sock, select.POLLIN)

    def send(self, body: bytes) -> None:
        """Send a frame on a socket that blocks."""
        self.sock.sendall(pack(body))

    def send_some(self, data: bytes | memoryview) -> None:
        """Send as much of a packed frame as the system takes at once; the rest is ``unsent``."""
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        self.unsent = None if sent == len(data) else memoryview(data)[sent:]

    def receive(self) -> bytes:
        """Return the next frame of a socket that blocks. Raises as `receive_some` does."""
        frame = self.rest()
        while frame is None:
            frame = self.receive_some()
        return frame

    def rest(self) -> bytes | None:
        """Return another frame that was received already, else None."""
        return self.feed(b"") if self._data else None

    def receive_some(self) -> bytes | None:
        """Receive once; return a frame that is complete by that, else None.

        Raises EOFError where the other side is closed, and BrokenFrameError for invalid bytes.
        """
        try:
            piece = self.sock.recv(PIECE if self._data else _SHORT)
        except BlockingIOError:
            return None
        if not piece:
            raise EOFError
        return self.feed(piece)

    def feed(self, piece: bytes) -> bytes | None:
        """Take received bytes; return the next complete frame, else None.

        Raises BrokenFrameError for a length that no frame has.
        """
        data = self._data
        length = len(piece) - _PREFIX
        if not data and length >= 0 and _LENGTH.unpack_from(piece)[0] == length:
            # Nearly every frame comes whole, and alone.
            return piece[_PREFIX:]
        data += piece
        if len(data) < _PREFIX:
            return None
        end = _LENGTH.unpack_from(data)[0] + _PREFIX
        if end > self._largest + _PREFIX:
            raise BrokenFrameError(f"a frame of {end - _PREFIX} bytes is announced")
        if len(data) < end:
            return None
        with memoryview(data) as view:
            frame = bytes(view[_PREFIX:end])
        del data[:end]
        return frame

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that waits for nothing but in this thread."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise RuntimeError(f"{coroutine!r} waits for an event loop")
