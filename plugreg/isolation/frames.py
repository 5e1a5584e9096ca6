"""Frames: messages of known length on a stream socket, and the time that they may take.

A frame is its length in 4 bytes, big-endian, and so many bytes. Those of a call begin with a line
of the protocol, see `plugreg.isolation.protocol`; the rest is the value.
"""

from __future__ import annotations

import socket
import time
from typing import Final

LARGEST: Final = 512 * 1024 * 1024
"""The most bytes of a frame: a damaged length would ask for all memory."""

_PREFIX: Final = 4
_PIECE: Final = 65_536


class BrokenFrameError(ConnectionError):
    """What was received is no frame: the other side has written past the protocol."""


def pack(body: bytes) -> bytes:
    """Return the frame of a message. Raises ValueError for one that is too long."""
    if len(body) > LARGEST:
        raise ValueError(f"a message has {len(body)} bytes, and no more than {LARGEST} are sent")
    return len(body).to_bytes(_PREFIX, "big") + body


class FrameReader:
    """Puts frames together from what was received. It does not read itself."""

    __slots__ = ("_data", "_length")

    def __init__(self) -> None:
        self._data = b""
        self._length = -1

    def feed(self, piece: bytes) -> bytes | None:
        """Take what was received; return a frame that is complete by that, else None.

        Raises BrokenFrameError for a length that no frame has.
        """
        if not self._data and len(piece) >= _PREFIX:
            length = int.from_bytes(piece[:_PREFIX], "big")
            if len(piece) == length + _PREFIX:
                return piece[_PREFIX:]
        # A bytearray grows in place, and only long frames come in pieces.
        if type(self._data) is bytes:
            self._data = bytearray(self._data)  # type: ignore[assignment]
        self._data += piece
        return self.next()

    def next(self) -> bytes | None:
        """Return another frame that is complete already, else None."""
        if self._length < 0:
            if len(self._data) < _PREFIX:
                return None
            self._length = int.from_bytes(self._data[:_PREFIX], "big")
            if self._length > LARGEST:
                raise BrokenFrameError(f"a frame of {self._length} bytes is announced")
        end = self._length + _PREFIX
        if len(self._data) < end:
            return None
        frame = bytes(self._data[_PREFIX:end])
        rest = bytes(self._data[end:])
        self._data, self._length = rest, -1
        return frame


class Line:
    """One end of a connection that sends and receives frames, one thread at a time.

    Args:
        sock: The socket, which belongs to the line from now on.
    """

    __slots__ = ("_reader", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._reader = FrameReader()

    def send(self, body: bytes, deadline: float | None = None) -> None:
        """Send a frame; by a deadline of ``time.monotonic``, else TimeoutError."""
        if deadline is not None:
            self.sock.settimeout(max(deadline - time.monotonic(), 0.001))
        self.sock.sendall(pack(body))

    def receive(self, deadline: float | None = None) -> bytes:
        """Return the next frame.

        Raises TimeoutError at the deadline, EOFError where the other side is closed, and
        BrokenFrameError for what is no frame.
        """
        frame = self._reader.next()
        while frame is None:
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self.sock.settimeout(left)
            piece = self.sock.recv(_PIECE)
            if not piece:
                raise EOFError
            frame = self._reader.feed(piece)
        return frame

    def received(self) -> bytes | None:
        """Return a frame as far as it is there without waiting, None if it is not complete.

        Raises as `receive` does.
        """
        frame = self._reader.next()
        while frame is None:
            try:
                piece = self.sock.recv(_PIECE)
            except (BlockingIOError, TimeoutError):
                return None
            if not piece:
                raise EOFError
            frame = self._reader.feed(piece)
        return frame

    def feed(self, piece: bytes) -> bytes | None:
        """Take what was received otherwise; return a frame that is complete, else None."""
        return self._reader.feed(piece) if piece else self._reader.next()

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()
