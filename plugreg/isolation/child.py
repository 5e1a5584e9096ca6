"""The program of an isolated plugin's process: it serves the calls of the host.

The standard streams are the plugin's. The protocol has its own sockets, which the plugin's
output cannot reach.
"""

from __future__ import annotations

import os
import pickle
import socket
import sys
import threading
import traceback
from contextlib import suppress
from typing import Any, Final, NoReturn

from plugreg._support.guard import Guard
from plugreg.isolation.faults import error_to_data
from plugreg.isolation.frames import Line
from plugreg.isolation.link import Connect, HostLink
from plugreg.isolation.protocol import BEGIN, END, ERROR, HOOK, LOAD, METHOD, VALUE, answer
from plugreg.isolation.service import Limits, PluginService, dump

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
        self.service = PluginService(link)
        self._loop: Any = None
        self._limits = Limits(None, None)
        self._level = 0
        self._has_logs = False

    def add_line(self, sock: socket.socket, kind: str) -> None:
        """Serve another line of calls."""
        if kind == "async":
            self._in_loop(sock)
        else:
            threading.Thread(
                target=self._serve_more, args=(Line(sock),), name="plugreg calls", daemon=True
            ).start()

    def serve(self, line: Line) -> None:
        """Answer requests until the host closes the line, or asks for the end."""
        send, receive = line.sock.sendall, line.receive
        hooks = self.service.hooks
        link, process = self._link, self._process
        begin_call = self._begin_call
        while True:
            try:
                frame = receive()
            except (EOFError, OSError):
                return
            head, _, value = frame.partition(b"\n")
            number, operation, name, version = head.split(b" ")
            try:
                if operation == HOOK:
                    if int(version) > link.version:
                        link.wait_for(int(version))
                    begin_call()
                    kind, result = VALUE, hooks[name](value)
                elif operation == END:
                    return
                else:
                    kind, result = (
                        VALUE,
                        self._carry_out(operation, name.decode(), int(version), value),
                    )
            except BaseException as error:  # noqa: BLE001 - it goes to the host
                kind, result = ERROR, self.report(error)
            if os.getpid() != process:
                # The plugin has forked, and let the copy go on.
                os._exit(0)
            body = answer(number, kind, result)
            try:
                send(len(body).to_bytes(4, "big") + body)
            except OSError:
                return

    def _begin_call(self) -> None:
        if self._limits.cpu_seconds is not None:
            self._limits.begin_call()
        if not self._has_logs:
            self.send_logs()

    def send_logs(self) -> None:
        """Send log records from now on, if the plugin has imported logging."""
        if not self._has_logs and "logging" in sys.modules:
            from plugreg.isolation.logs import HostLogs

            self._has_logs = True
            HostLogs(self._link.send, self._level)

    def report(self, error: BaseException) -> bytes:
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
        return dump(error_to_data(error))

    # -- the parts ---------------------------------------------------------------------------

    def _carry_out(self, operation: bytes, name: str, version: int, value: bytes) -> bytes:
        if operation == METHOD:
            self._link.wait_for(version)
            self._begin_call()
            return self.service.methods[name](value)
        if operation == LOAD:
            request = pickle.loads(value)  # noqa: S301 - it is the host's
            self._link.slug = request.spec.slug
            self._prepare(request)
            return dump(self.service.load(request) | {"pid": os.getpid()})
        assert operation == BEGIN, operation
        self.send_logs()
        request = pickle.loads(value)  # noqa: S301 - as above
        return dump(self.service.begin(request, self.send_logs))

    def _prepare(self, request: Any) -> None:
        """Set up the process before any code of the plugin runs in it."""
        import faulthandler

        sys.dont_write_bytecode = request.dont_write_bytecode
        sys.pycache_prefix = request.pycache_prefix
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
        # It writes to stderr where the process crashed.
        faulthandler.enable()
        self._level = request.level
        self._limits = Limits(request.memory, request.cpu_seconds)
        self._limits.apply(request.spec.slug)
        if self._ready >= 0:
            os.read(self._ready, 1)
            os.close(self._ready)

    def _serve_more(self, line: Line) -> None:
        self.serve(line)
        line.close()

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
        task: Any = None
        try:
            while data := await loop.sock_recv(sock, 65_536):
                frame = line.feed(data)
                if frame is not None:
                    task = loop.create_task(self._answer_async(sock, frame))
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

    async def _answer_async(self, sock: socket.socket, frame: bytes) -> None:
        import asyncio

        head, _, value = frame.partition(b"\n")
        number, _, name, version = head.split(b" ")
        try:
            self._link.wait_for(int(version))
            self._begin_call()
            kind, result = VALUE, await self.service.async_hooks[name](value)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - it goes to the host
            kind, result = ERROR, self.report(error)
        if os.getpid() != self._process:
            os._exit(0)
        body = answer(number, kind, result)
        with suppress(OSError):
            await asyncio.get_running_loop().sock_sendall(sock, len(body).to_bytes(4, "big") + body)


def leave(code: int) -> NoReturn:
    """End the process at once, from whichever thread."""
    with Guard():
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code & 0xFF)
