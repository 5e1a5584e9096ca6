"""Sending to a process beside calls, without waiting for it."""

from __future__ import annotations

import socket
from array import array
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, Thread

from plugreg.isolation.frames import Line, pack
from plugreg.isolation.waits import wait_for_socket


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
        self._is_closed = False

    def send(self, body: bytes, sock: socket.socket | None = None) -> None:
        """Send a message, and with it a socket, which is closed then."""
        with self._lock:
            self._unsent.append((memoryview(pack(body)), sock))
            if len(self._unsent) > 1 or self._flush():
                return
        Thread(target=self._send_rest, name="plugreg isolation", daemon=True).start()

    def close(self) -> None:
        """Send nothing any more."""
        with self._lock:
            self._is_closed = True
            self._flush()

    def _send_rest(self) -> None:
        before = None
        while True:
            with self._lock:
                if self._flush():
                    return
                is_stuck = self._unsent[0] is before
                before = self._unsent[0]
            if is_stuck:
                self.close()
                self._kill("it does not take what the host sends")
                return
            with suppress(ValueError):  # The line was closed meanwhile.
                wait_for_socket(self._line.sock, self._seconds, writing=True)

    def _flush(self) -> bool:
        """Send what is taken; return whether nothing is left, as after the end of the process."""
        try:
            while self._unsent and not self._is_closed:
                self._send_some(*self._unsent[0])
        except BlockingIOError:
            return False
        except OSError:
            self._is_closed = True
        for _, sock in self._unsent:
            if sock is not None:
                sock.close()
        self._unsent.clear()
        return True

    def _send_some(self, data: memoryview, sock: socket.socket | None) -> None:
        if sock is None:
            sent = self._line.sock.send(data)
        else:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [sock.fileno()]))
            sent = self._line.sock.sendmsg([data], [rights])
            sock.close()
        if sent == len(data):
            self._unsent.popleft()
        else:
            self._unsent[0] = data[sent:], None
