"""The program of an isolated plugin's process: it serves the calls of the host.

The standard streams are the plugin's. The protocol has its own sockets, which the plugin's
output cannot reach.
"""

from __future__ import annotations

import json
import os
import pickle
import socket
import sys
import threading
import traceback
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Final, NoReturn

from plugreg._support.guard import Guard
from plugreg.isolation.faults import error_to_data
from plugreg.isolation.frames import PIECE, Line, pack
from plugreg.isolation.link import Connect, HostLink
from plugreg.isolation.protocol import BEGIN, ERROR, LOAD, VALUE, LoadRequest, answer
from plugreg.isolation.service import Limits, PluginService

OUT_OF_MEMORY: Final = 70
"""Exit code of a process that has reached its limit of memory."""


def main(control: socket.socket, calls: socket.socket, ready: int, connect: Connect) -> NoReturn:
    """Serve the host until it is gone. Called once, in a process of its own."""
    link = HostLink(control, connect)
    server = Server(link, ready)
    link.open(server.service.update, server.add_line)
    server.serve(Line(calls))
    with Guard():
        sys.stdout.flush()
        sys.stderr.flush()
    raise SystemExit(0)


class Server:
    """Answers requests: each line in its own thread, async implementations in a single loop.

    Args:
        link: The control line.
        ready: Descriptor that is closed once the guardian is on its guard.
    """

    def __init__(self, link: HostLink, ready: int) -> None:
        self._link = link
        self._ready = ready
        self._process = os.getpid()
        self.service = PluginService(link, self.send_logs)
        self._functions = self.service.functions
        self._functions |= {LOAD.encode(): self._load, BEGIN.encode(): self._begin}
        self._loop: Any = None
        self._limits = Limits(None, None)
        self._level: int | None = None

    def add_line(self, sock: socket.socket, kind: str) -> None:
        """Serve another line of calls."""
        if kind == "async":
            self._in_loop(sock)
        else:
            threading.Thread(
                target=self.serve, args=(Line(sock),), name="plugreg calls", daemon=True
            ).start()

    def serve(self, line: Line) -> None:
        """Answer requests until the host closes the line."""
        with suppress(EOFError, OSError):
            while True:
                line.send(self._answer(line.receive()))
        line.close()

    def send_logs(self) -> None:
        """Send log records from now on, if the plugin has imported logging."""
        if self._level is not None and "logging" in sys.modules:
            from plugreg.isolation.logs import HostLogs

            HostLogs(self._link.send, self._level)
            self._level = None

    # -- the parts ---------------------------------------------------------------------------

    def _answer(self, frame: bytes) -> Any:
        """Call the function that a request names, and return the message of the answer.

        That of an async implementation is to be awaited.
        """
        head, _, value = frame.partition(b"\n")
        number, name, version = head.split(b" ")
        try:
            self._link.wait_for(int(version))
            self._limits.begin_call()
            self.send_logs()
            kind, body = VALUE, self._functions[name](value)
        except BaseException as error:  # noqa: BLE001 - it goes to the host
            kind, body = ERROR, self._report(error)
        if not isinstance(body, bytes):
            return self._answer_later(number, body)
        return self._message(number, kind, body)

    async def _answer_later(self, number: bytes, result: Awaitable[bytes]) -> bytes:
        try:
            kind, body = VALUE, await result
        except BaseException as error:  # noqa: BLE001 - as above
            kind, body = ERROR, self._report(error)
        return self._message(number, kind, body)

    def _message(self, number: bytes, kind: bytes, body: bytes) -> bytes:
        """Return the message of an answer."""
        if os.getpid() != self._process:
            # The plugin has forked, and let the copy go on.
            os._exit(0)
        return answer(number, kind, body)

    def _report(self, error: BaseException) -> bytes:
        """Return an exception as data. An exception that should end the process ends it."""
        if isinstance(error, SystemExit):
            code = error.code
            if code is not None and not isinstance(code, int):
                with Guard():
                    sys.stderr.write(f"{code}\n")
                code = 1
            leave(code or 0)
        if isinstance(error, MemoryError) and self._limits.memory is not None:
            with Guard():
                traceback.print_exception(error, file=sys.stderr)
            leave(OUT_OF_MEMORY)
        return json.dumps(error_to_data(error)).encode()

    def _load(self, value: bytes) -> bytes:
        """Set up the process before any code of the plugin runs in it, and load the plugin."""
        request: LoadRequest = pickle.loads(value)  # noqa: S301 - it is the host's
        self._link.slug = request.spec.slug
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
        self._limits = Limits(request.memory, request.cpu_seconds)
        self._limits.apply(request.spec.slug)
        if self._ready >= 0:
            os.read(self._ready, 1)
            os.close(self._ready)
        description = self.service.load(request)
        self._level = request.level
        return json.dumps(description | {"pid": os.getpid()}).encode()

    def _begin(self, value: bytes) -> bytes:
        return json.dumps(self.service.begin(pickle.loads(value))).encode()  # noqa: S301 - as above

    def _in_loop(self, sock: socket.socket) -> None:
        import asyncio

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(
                target=self._loop.run_forever, name="plugreg loop", daemon=True
            ).start()
        sock.setblocking(False)
        asyncio.run_coroutine_threadsafe(self._serve_async(sock), self._loop)

    async def _serve_async(self, sock: socket.socket) -> None:
        """Answer requests for async implementations; a closed line cancels the current call."""
        import asyncio

        loop, line = asyncio.get_running_loop(), Line(sock)

        async def answer_one(frame: bytes) -> None:
            message = self._answer(frame)
            if not isinstance(message, bytes):
                message = await message
            with suppress(OSError):
                await loop.sock_sendall(sock, pack(message))

        task: Any = None
        try:
            while data := await loop.sock_recv(sock, PIECE):
                frame = line.feed(data)
                if frame is not None:
                    task = loop.create_task(answer_one(frame))
        except OSError:
            pass
        finally:
            if task is not None:
                task.cancel()
            # A socket that the loop still writes to must not be closed under it.
            with suppress(asyncio.CancelledError):
                if task is not None:
                    await task
            sock.close()


def leave(code: int) -> NoReturn:
    """End the process at once, from whichever thread."""
    with Guard():
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code & 0xFF)
