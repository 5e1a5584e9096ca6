"""Sending to a process beside calls, without waiting for it."""

from __future__ import annotations

import socket
import time
from array import array
from collections import deque
from collections.abc import Callable
from threading import Lock, Thread

from plugreg.isolation.frames import PIECE, Line


class Sender:
    """Sends as much as the system takes at once; the rest, which is rare, in a separate thread.

    Thread-safe. Messages arrive in the order in which they are sent.

    Args:
        line: The line; others only receive on it.
        seconds: How long the process may take nothing.
        kill: Ends the process, with the reason.
    """

    def __init__(self, line: Line, seconds: float, kill: Callable[[str], object]) -> None:
        self._line = line
        self._seconds = seconds
        self._kill = kill
        self._lock = Lock()
        self._unsent: deque[tuple[memoryview, socket.socket | None]] = deque()
        # Whether the thread has the messages now.
        self._is_waiting = False
        self._is_closed = False
        line.limit_sending(seconds)

    def send(self, data: bytes, sock: socket.socket | None = None) -> None:
        """Send a message, and with it a socket, which is closed then."""
        with self._lock:
            self._unsent.append((memoryview(data), sock))
            if self._is_waiting:
                return
            try:
                while self._unsent and not self._is_closed:
                    # Windows has no such flag, and a thread waits there.
                    self._send_some(socket.MSG_DONTWAIT)
            except (BlockingIOError, AttributeError):
                self._is_waiting = True
            except OSError:
                self._is_closed = True  # The process has ended, or is about to.
            if self._is_closed:
                self._drop()
        if self._is_waiting:
            Thread(target=self._send_rest, name="plugreg isolation", daemon=True).start()

    def close(self) -> None:
        """Send nothing any more."""
        with self._lock:
            self._is_closed = True
            if not self._is_waiting:
                self._drop()

    def _send_rest(self) -> None:
        deadline = time.monotonic() + self._seconds
        try:
            while True:
                with self._lock:
                    if self._is_closed or not self._unsent:
                        self._drop()
                        self._is_waiting = False
                        return
                if self._send_some(0):
                    deadline = time.monotonic() + self._seconds
                elif time.monotonic() > deadline:
                    raise TimeoutError
        except OSError:
            with self._lock:
                self._is_closed, self._is_waiting = True, False
                self._drop()
            self._kill("it does not take what the host sends")

    def _send_some(self, flags: int) -> bool:
        """Send as much of the first message as is taken; return whether it was all."""
        data, sock = self._unsent[0]
        if sock is None:
            sent = self._line.sock.send(data[:PIECE], flags)
        else:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [sock.fileno()]))
            sent = self._line.sock.sendmsg([data], [rights], flags)
            sock.close()
        if sent == len(data):
            self._unsent.popleft()
            return True
        self._unsent[0] = data[sent:], None
        return False

    def _drop(self) -> None:
        for _, sock in self._unsent:
            if sock is not None:
                sock.close()
        self._unsent.clear()
