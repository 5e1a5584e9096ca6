"""The control line, as the plugin's process has it: logs go out, values and new lines come in."""

from __future__ import annotations

import json
import os
import pickle
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from queue import SimpleQueue
from typing import Any, Final

from plugreg.isolation.data import dump, to_data
from plugreg.isolation.faults import error_from_data, error_to_data
from plugreg.isolation.frames import LARGEST_BESIDE, Line

_GRACE: Final = 1.0
"""Seconds that the process has to end by itself when the host has gone, as its guardian says."""

Serve = Callable[[socket.socket, str], object]
"""Serves the calls of another line; takes the socket, and ``"sync"`` or ``"async"``."""

Connect = Callable[[int, str], socket.socket]
"""Connects to a port of the host, with the key for it."""

Update = Callable[[Any], object]
"""Takes the values that hold now."""


class HostLink:
    """Sends messages beside calls, and receives the host's messages beside them.

    A thread of its own receives, from :meth:`open` to the end of the process. Any thread may use
    it.

    Args:
        sock: The control socket.
        connect: Connects to the host once more.
    """

    def __init__(self, sock: socket.socket, connect: Connect) -> None:
        self._line: Final = Line(sock)
        self._connect = connect
        self._sending = threading.Lock()
        self._numbers = count(1)
        self._replies: dict[int, SimpleQueue[dict[str, Any]]] = {}
        self.version = 0
        self._newer = threading.Condition()
        self._process = os.getpid()
        self.slug = ""

    def open(self, update: Update, serve: Serve) -> None:
        """Begin to receive."""
        self._update, self._serve = update, serve
        threading.Thread(target=self._receive, name="plugreg control", daemon=True).start()

    def send(self, **message: Any) -> None:
        """Send a message. A forked process sends none, nor does a process without a host."""
        self._send(json.dumps(message).encode())

    def _send(self, data: bytes) -> None:
        if os.getpid() == self._process:
            with self._sending, suppress(OSError):
                self._line.send(data)

    def ask(self, what: str, /, **arguments: Any) -> Any:
        """Ask the host, and wait for the answer. Raises the host's exception.

        Raises ValueNotSentError for an argument that is no data, and ConnectionError in a forked
        process, which has no host.
        """
        if os.getpid() != self._process:
            raise ConnectionError(f"a process that the plugin has forked cannot ask for {what!r}")
        number = next(self._numbers)
        data = {name: to_data(what, name, value) for name, value in arguments.items()}
        message = {"ask": number, "what": what, "arguments": data}
        body = dump(what, "arguments", message, LARGEST_BESIDE)
        replies = self._replies[number] = SimpleQueue()
        self._send(body)
        reply = replies.get()
        del self._replies[number]
        if "error" in reply:
            raise error_from_data(self.slug, reply["error"])
        self.wait_for(reply["version"])
        return reply["value"]

    def wait_for(self, version: int) -> None:
        """Wait until the values of that version are there."""
        if version > self.version:
            with self._newer:
                self._newer.wait_for(lambda: version <= self.version)

    # -- the parts ---------------------------------------------------------------------------

    def _receive(self) -> None:
        # Windows has no sockets that come along.
        receive = getattr(socket, "recv_fds", lambda sock, size, _: (sock.recv(size), ()))
        with suppress(OSError):
            while True:
                data, descriptors, *_ = receive(self._line.sock, 65_536, 1)
                if not data:
                    break
                for descriptor in descriptors:
                    self._incoming = socket.socket(fileno=descriptor)
                frame = self._line.feed(data)
                while frame is not None:
                    self._take(frame)
                    frame = self._line.feed(b"")
        for replies in list(self._replies.values()):
            replies.put({"error": error_to_data(ConnectionError("the host is gone"))})
        # Without a guardian nobody else ends a plugin that is at work.
        time.sleep(_GRACE)
        os._exit(0)

    def _take(self, frame: bytes) -> None:
        if frame.startswith(b"values "):
            _, version, data = frame.split(b" ", 2)
            self._update(pickle.loads(data))  # noqa: S301 - it is the host's
            with self._newer:
                self.version = int(version)
                self._newer.notify_all()
            return
        message = json.loads(frame)
        if "line" in message:
            is_invited = "port" in message
            sock = self._connect(message["port"], message["key"]) if is_invited else self._incoming
            self._serve(sock, message["line"])
        elif "reply" in message:
            # Nobody waits for the answer to a plugin that has written to this line itself.
            with suppress(KeyError, TypeError):
                self._replies[message["reply"]].put(message)
