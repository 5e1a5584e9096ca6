"""The process of an isolated plugin, as the host has it: started, listened to, and ended.

Three threads of the host listen to it: to the control line, which also waits for the end, and to
both standard streams. They end with the process.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import count
from math import inf
from threading import BoundedSemaphore, Event, Lock, Thread
from typing import IO, Any, Final

from plugreg._support.frozen import NamedTuple
from plugreg._support.guard import Guard
from plugreg._support.process import GRACE, wait_until
from plugreg.exceptions import PluginDiedError, PluginTimeoutError
from plugreg.isolation import waits
from plugreg.isolation.environments import Program
from plugreg.isolation.faults import error_from_data
from plugreg.isolation.frames import LARGEST, LARGEST_BESIDE, BrokenFrameError, Line, pack, run
from plugreg.isolation.guardian import GRACE as CHILD_GRACE
from plugreg.isolation.lines import LinePool
from plugreg.isolation.protocol import ERROR, VALUE, request
from plugreg.isolation.sending import Sender
from plugreg.isolation.systems import start_process
from plugreg.isolation.waits import HERE, Place
from plugreg.records import Stage

_MOST_ASKS: Final = 64
"""How much a process may ask of the host at once; a plugin that calls itself asks without end."""

_PIECE: Final = 65_536
_LONGEST_LINE: Final = 8_192
_KEPT: Final = 64 * 1024
"""Bytes that are read at a time, held of a line, and kept of the end of stderr."""


class Listener(NamedTuple):
    """Callbacks for events of the process, in a thread that listens to it.

    ``log`` takes a logger's level and a string; ``asked`` a message of the process that wants an
    answer; ``scrub`` hides protected values in a string; ``ended`` is called once, when
    nothing of the process is left.
    """

    log: Callable[[int, str], object]
    asked: Callable[[ChildProcess, Mapping[str, Any]], object]
    scrub: Callable[[str], str]
    ended: Callable[[ChildProcess], object]


class ChildProcess:
    """A started process. It is ended by :meth:`stop` or :meth:`kill`, or ends itself.

    Attributes:
        name: The plugin.
        pid: Number of the process that runs the plugin; before it has said so, of the guardian.
        started: Time of the start.
        is_usable: Whether calls may begin.
        ended: Set when nothing of the process is left.
        exitcode: Exit code, negative for a signal; None before the end.
        reason: Why the host has killed it, or an empty string.
        version: Number of the values that it was sent last.
        callers: Of each call under way, or waiting for a line, the isolated plugins that wait for
            its caller.
        asks: Is acquired for a request of the process to the host, until it is answered.
        values: Those values, settings and metadata; they change under ``updating``.
        stage: The next step that the process has announced.
        sync: The lines for synchronous calls, as many as there are workers.
        side: The lines for calls that are part of another call, or must not wait for any.
        more: The lines for async calls.
    """

    def __init__(
        self,
        program: Program,
        listener: Listener,
        *,
        name: str,
        workers: int,
        seconds: float,
        memory: int | None,
    ) -> None:
        self.name: Final = name
        self.exitcode: int | None = None
        self.reason = ""
        self.stage = ""
        self.ended: Final = Event()
        self.last_used = time.monotonic()
        self._listener = listener
        self.is_usable = True
        self._ending = Lock()
        self._callbacks: list[Callable[[], object]] = []
        self._tail = b""
        self.updating: Final = Lock()
        self.version = 0
        self._numbers = count(1)
        self.values: tuple[object, object] = (None, None)
        self.callers: Final[list[Any]] = []
        self.asks: Final = BoundedSemaphore(_MOST_ASKS)
        self._system = start_process(program, seconds=seconds, memory=memory)
        self.pid = self._system.popen.pid
        self.started: Final = datetime.now(UTC)
        with suppress(OSError):
            places = {"path": program.path, "own": program.own, "first": program.first}
            bytecode = sys.dont_write_bytecode, sys.pycache_prefix
            begin = json.dumps({**places, "bytecode": bytecode}).encode()
            Line(self._system.calls).send(begin)
        self._control = _line(self._system.control, LARGEST_BESIDE)
        self._sender = Sender(self._control, seconds, self.kill)
        self.sync: Final = self._pool(_line(self._system.calls), workers, "sync")
        self.side: Final = self._pool(None, None, "sync")
        self.more: Final = self._pool(None, None, "async")
        self._pools = (self.sync, self.side, self.more)
        popen = self._system.popen
        streams = ((popen.stdout, logging.INFO), (popen.stderr, logging.WARNING))
        self._readers = [
            Thread(target=self._read, args=stream, name=f"plugreg {name} output", daemon=True)
            for stream in streams
        ]
        for reader in self._readers:
            reader.start()
        Thread(target=self._listen, name=f"plugreg {name}", daemon=True).start()

    async def exchange(
        self, place: Place, pool: LinePool, line: Line, asked: tuple[str, int, bytes, float]
    ) -> bytes | Exception:
        """Send a request and return the answer, which may be the plugin's exception.

        A process that gives none is ended.

        Args:
            place: Where to wait.
            pool: The pool of the line, which gets it back.
            line: The line.
            asked: Name of the function, version of the values, bytes of the arguments, and the
                most seconds.

        Raises:
            PluginTimeoutError: If the answer takes longer.
            PluginDiedError: If the process ends, or violates the protocol.
        """
        name, version, value, timeout = asked
        number = next(self._numbers)
        deadline = time.monotonic() + timeout
        try:
            line.send_some(pack(request(number, name, version, value)))
            if line.unsent:
                await waits.send_rest(place, line, deadline)
            frame = await waits.receive(place, line, deadline)
            result = self._parse(frame, number)
        except TimeoutError:
            # First, so that no call takes the place of the line in a process that hangs.
            self.kill(f"a call took longer than {timeout:g} seconds")
            pool.drop(line)
            await waits.called(place, self.on_end, 2 * GRACE)
            raise PluginTimeoutError(self.name, timeout) from None
        except (EOFError, OSError) as error:
            pool.drop(line)
            raise await self.end_broken(place, error) from None
        except BaseException:
            if place is HERE:
                # Ctrl-C: the answer to this call must not become that of the next call.
                self.kill("a call was interrupted")
            if place is HERE or pool is self.more:
                # An async implementation is cancelled by that, too.
                pool.drop(line)
            else:
                drain = partial(self._drain, pool, line, deadline)
                Thread(target=drain, name="plugreg isolation", daemon=True).start()
            raise
        pool.put_back(line)
        self.last_used = time.monotonic()
        return result

    async def end_broken(self, place: Place, error: Exception) -> PluginDiedError:
        """End a process whose line is of no use any more; return the error for the caller."""
        reason = str(error)
        if not isinstance(error, BrokenFrameError):
            # It may be about to end by itself.
            await waits.called(place, self.on_end, GRACE)
            reason = "it has closed the connection"
        if not self.ended.is_set():
            self.kill(reason)
        await waits.called(place, self.on_end, 2 * GRACE)
        return self.died()

    def died(self) -> PluginDiedError:
        """Return the error that says how it has ended."""
        code = self.exitcode
        return PluginDiedError(
            self.name,
            exitcode=code if code is not None and code >= 0 else None,
            signal=-code if code is not None and code < 0 else None,
            stderr=self._listener.scrub(self._stderr),
            reason=self.reason,
        )

    def note_pid(self, pid: int) -> None:
        """Take the number of the process with the plugin. Raises ValueError for another's."""
        if not self._system.has_started(pid):
            raise ValueError(f"{pid} is not the number of the plugin's process")
        self.pid = pid

    def send(self, data: bytes, sock: socket.socket | None = None) -> None:
        """Send a message over the control line, and a socket that belongs to the process then.

        It waits for nobody. A process that takes nothing for as long as a call may take is killed.
        """
        self._sender.send(data, sock)

    def send_values(self, version: int, data: bytes) -> None:
        """Send the values that hold now."""
        self.send(b"values %d %b" % (version, data))

    def on_end(self, callback: Callable[[], object]) -> None:
        """Call a function when nothing of the process is left, at once if that is so."""
        with self._ending:
            if not self.ended.is_set():
                self._callbacks.append(callback)
                return
        callback()

    def kill(self, reason: str) -> None:
        """End everything of it at once, and return before that is done."""
        if self.is_usable:
            self.is_usable = False
            self.reason = reason
        self._system.kill()

    def end_when_idle(self, seconds: float) -> None:
        """End the process once it had no call for so long."""
        Thread(
            target=self._watch, args=(seconds,), name="plugreg idle process", daemon=True
        ).start()

    def stop(self, grace: float) -> None:
        """Let calls under way end, then the process; wait until nothing of it is left.

        Args:
            grace: Seconds that calls may still take.
        """
        self.is_usable = False
        deadline = time.monotonic() + grace
        self._wait_for_calls(deadline)
        self._close_lines()
        # A call may have taken a line just before.
        self._wait_for_calls(deadline)
        # The process has a moment to end by itself.
        with suppress(OSError):
            self._control.sock.shutdown(socket.SHUT_WR)
        if not self.ended.wait(CHILD_GRACE + GRACE):
            self._system.kill()
            self.ended.wait(GRACE)

    def abandon(self) -> None:
        """Close descriptors that a fork has inherited of its parent's process."""
        self._control.close()
        for pool in self._pools:
            pool.abandon()
        popen = self._system.popen
        for stream in (popen.stdout, popen.stderr):
            if stream is not None:
                stream.raw.close()  # type: ignore[attr-defined]
        # Another process cannot wait for it.
        popen.returncode = 0

    # -- the parts ---------------------------------------------------------------------------

    def _parse(self, frame: bytes, number: int) -> bytes | Exception:
        """Return the value of an answer, or the plugin's exception."""
        head, line_break, value = frame.partition(b"\n")
        if line_break and head == b"%d %b" % (number, VALUE):
            return value
        if head == b"%d %b" % (number, ERROR):
            with Guard():
                return error_from_data(self.name, json.loads(value))
        raise BrokenFrameError("it has written what is no answer of the protocol")

    def _drain(self, pool: LinePool, line: Line, deadline: float) -> None:
        """Send what is left of a request, and wait for the answer, which nobody waits for any more.

        A process that has none is killed.
        """
        try:
            run(waits.send_rest(HERE, line, deadline))
            run(waits.receive(HERE, line, deadline))
        except (EOFError, OSError) as error:
            # Those that wait for the line would wait for ever, should the process live on.
            is_late = isinstance(error, TimeoutError)
            late, closed = "a call that was cancelled did not end", "it has closed the connection"
            self.kill(late if is_late else closed)
            pool.drop(line)
        else:
            pool.put_back(line)

    @property
    def _stderr(self) -> str:
        """The end of its output to stderr, from the beginning of a line on."""
        # The rest of a line that was cut may be a piece of a protected value.
        whole = self._tail.partition(b"\n")[2] if len(self._tail) == _KEPT else self._tail
        return whole.decode(errors="replace")

    @property
    def _is_busy(self) -> bool:
        return any(pool.is_busy for pool in self._pools)

    def _watch(self, seconds: float) -> None:
        left = seconds
        while not self.ended.wait(left):
            left = self.last_used + seconds - time.monotonic()
            if left <= 0 and not self._is_busy:
                self.stop(GRACE)
                return
            left = max(left, 0.05)

    def _wait_for_calls(self, deadline: float) -> None:
        left = max(deadline - time.monotonic(), 0)
        wait_until(lambda: self.ended.is_set() or not self._is_busy, left)

    def _close_lines(self) -> None:
        for pool in self._pools:
            pool.close()

    def _pool(self, first: Line | None, limit: int | None, kind: str) -> LinePool:
        def send(message: Mapping[str, Any], sock: socket.socket | None) -> None:
            self.send(json.dumps(message).encode(), sock)

        def add() -> Line:
            return _line(self._system.connect(kind, send))

        return LinePool(first, limit, add, connects=self._system.connects)

    def _listen(self) -> None:
        """Receive until the process has closed the control line, which is at its end."""
        line = self._control
        try:
            while True:
                frame = run(waits.receive(HERE, line, inf))
                with Guard():
                    self._take(json.loads(frame))
        except (EOFError, OSError):
            pass
        self.is_usable = False
        self._close_lines()
        self.exitcode = self._system.reap(self.pid)
        for reader in self._readers:
            reader.join(GRACE)
        self._sender.close()
        line.close()
        with self._ending:
            self.ended.set()
            callbacks, self._callbacks = self._callbacks, []
        with Guard():
            self._listener.ended(self)
        for callback in callbacks:
            with Guard():
                callback()

    def _take(self, message: Any) -> None:
        if type(message) is not dict:
            return  # The plugin has scribbled.
        if "log" in message:
            self._listener.log(int(message["level"]), str(message["log"]))
        elif "stage" in message:
            self.stage = Stage(message["stage"])
        elif "ask" in message:
            self._listener.asked(self, message)

    def _read(self, stream: IO[bytes], level: int) -> None:
        """Log each line of a stream to its end."""
        rest = b""
        with stream:
            while data := os.read(stream.fileno(), _PIECE):
                if level == logging.WARNING:
                    self._tail = (self._tail + data)[-_KEPT:]
                *lines, rest = (rest + data).split(b"\n")
                # A protected value at the place of the cut must be there as a whole.
                rest = rest[: 2 * _LONGEST_LINE]
                self._log(level, lines)
        self._log(level, [rest])

    def _log(self, level: int, lines: Sequence[bytes]) -> None:
        shown = [self._shown(line) for line in lines if line]
        # A flood becomes few records.
        for piece in shown if len(shown) <= 100 else ["\n".join(shown)]:
            with Guard():
                self._listener.log(level, piece)

    def _shown(self, line: bytes) -> str:
        text = line.decode(errors="replace").rstrip()
        if len(text) <= _LONGEST_LINE:
            return text
        return self._listener.scrub(text)[:_LONGEST_LINE]


def _line(sock: socket.socket, largest: int = LARGEST) -> Line:
    sock.setblocking(False)
    return Line(sock, largest)
