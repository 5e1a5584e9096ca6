"""An isolated plugin, as the host calls it: in a process that is started again when it ended."""

from __future__ import annotations

import json
import logging
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from threading import Thread
from typing import TYPE_CHECKING, Any, Final
from weakref import ReferenceType, ref

from plugreg._support.guard import Guard, explain
from plugreg._support.lazy import PerProcess
from plugreg._support.process import GRACE
from plugreg.exceptions import (
    IsolationError,
    PluginDiedError,
    PluginNotActiveError,
    PluginTimeoutError,
)
from plugreg.isolation import waits
from plugreg.isolation.data import RESULT, dump, pack_call
from plugreg.isolation.environments import program
from plugreg.isolation.faults import error_from_data, error_to_data
from plugreg.isolation.frames import BrokenFrameError, Line
from plugreg.isolation.lines import LinePool
from plugreg.isolation.options import Isolated
from plugreg.isolation.process import ChildProcess, Listener
from plugreg.isolation.protocol import (
    BEGIN,
    ERROR,
    HOOK,
    LOAD,
    METHOD,
    VALUE,
    BeginRequest,
    LoadRequest,
    Mirrored,
    request,
)
from plugreg.isolation.records import ProcessInfo, measure
from plugreg.isolation.running import (
    CALLERS,
    Callers,
    HookRow,
    Running,
    Surroundings,
    all_waiting,
    carry_out,
    pack,
)

if TYPE_CHECKING:
    from plugreg._lifecycle.binding import BoundContext


class RemotePlugin:
    """Calls a plugin in its process, and starts another process when that has ended.

    It lives from the loading of the plugin to its deactivation, and serves any thread and event
    loop. No process is left after :meth:`release`.

    Args:
        slug: The plugin.
        options: How it is isolated.
        load: The request with which the process loads the plugin.
        around: The surroundings of the plugin in the host.
    """

    def __init__(
        self, slug: str, options: Isolated, load: LoadRequest, around: Surroundings
    ) -> None:
        self.slug: Final = slug
        self.options: Final = options
        self._load = load
        self._around = around
        self._begin: BeginRequest | None = None
        self._activated: HookRow | None = None
        self._context: ReferenceType[BoundContext] | None = None
        self.stand_in: ReferenceType[Any] | None = None
        self._is_released = False
        self._numbers = count(1)
        self._state = PerProcess(Running)
        self._logger = logging.getLogger(f"plugreg.plugin.{slug}")

    # -- life --------------------------------------------------------------------------------

    def start(self) -> dict[str, Any]:
        """Start the process, let it load the plugin, and return the description.

        Raises PluginDiedError and PluginTimeoutError, each with the stage as ``stage``; OSError
        and ValueError if no process can be started.
        """
        running = self._state.get()
        with running.lock:
            running.child, description = self._start(running)
        return description

    def begin(
        self, context: BoundContext, make: Callable[[Mirrored], BeginRequest], activated: Any
    ) -> None:
        """Get the process ready for calls.

        Args:
            context: The plugin's context in the host.
            make: Returns the request for the process, from the current values.
            activated: The plugin's implementation of plugreg_activated, or None.

        Raises:
            IsolationError: If the process cannot have the types of the hooks.
        """
        # The threads that listen to the process must not keep the registry alive.
        self._context = ref(context)
        self._activated = activated
        child = self._state.get().child
        if child is None:
            raise self._died(None)
        child.values = self._around.values()
        self._begin = make(self._around.mirrored())
        self._send_begin(child)

    def release(self) -> None:
        """Let calls under way end, and end the process; later calls are refused."""
        self._is_released = True
        running = self._state.get()
        with running.lock:
            child, running.child = running.child, None
        if child is not None:
            child.stop(self.options.timeout)

    def forget(self) -> None:
        """Close descriptors that this process, a fork, has inherited from its parent."""
        for running in list(self._state.inherited()):
            if running.child is not None:
                running.child.abandon()
                running.child = None

    def kill(self) -> None:
        """End the process at once."""
        self._is_released = True
        child = self._state.get().child
        if child is not None:
            child.kill("its registry is gone")

    @property
    def info(self) -> ProcessInfo:
        """Facts on the process, as of now."""
        running = self._state.get()
        child = running.child
        if child is None or not child.is_usable:
            return ProcessInfo(pid=None, started=None, restarts=max(running.restarts, 0))
        rss, cpu = measure(child.pid)
        return ProcessInfo(
            pid=child.pid,
            started=child.started,
            restarts=max(running.restarts, 0),
            rss=rss,
            cpu=cpu,
        )

    # -- calls -------------------------------------------------------------------------------

    def call_hook(self, row: HookRow, values: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """Call an implementation, and return its result."""
        if not named and len(values) == len(row.names):
            value = row.codec.pack_arguments(values)
        else:
            value = pack(row, values, named)
        return row.codec.unpack_result(self._call(HOOK, row.name, value, row.seconds))

    async def acall_hook(
        self, row: HookRow, values: Sequence[Any], named: Mapping[str, Any], *, is_async: bool
    ) -> Any:
        """Do the same from a coroutine."""
        value = pack(row, values, named)
        result = await self._acall(HOOK, row.name, value, row.seconds, is_async=is_async)
        return row.codec.unpack_result(result)

    def call_method(self, name: str, value: bytes, *, is_side: bool = False) -> bytes:
        """Call a method of a mixin, by ``mixin.method``.

        Args:
            name: The method, or the function of a setting.
            value: The bytes of the arguments.
            is_side: Whether the call waits for no other call.
        """
        return self._call(METHOD, name, value, self.options.timeout, is_side=is_side)

    async def acall_method(self, name: str, value: bytes) -> bytes:
        """Do the same from a coroutine."""
        return await self._acall(METHOD, name, value, self.options.timeout, is_async=False)

    def call_function(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a function of a setting; it waits for no other call."""
        return json.loads(self.call_method(name, pack_call(name, args, kwargs), is_side=True))

    # -- the parts ---------------------------------------------------------------------------

    def _call(
        self, operation: bytes, name: str, value: bytes, timeout: float, *, is_side: bool = False
    ) -> bytes:
        running, callers = self._state.get(), CALLERS.get()
        asking = self._asking(callers)
        while True:
            child = asking or running.child
            if child is None or not child.is_usable:
                child = self._ensure(running)
            if callers:
                # Already while it waits for a line, it is waited for.
                child.callers.append(callers)
            try:
                # The call that this call is part of, if any, has the other line.
                is_beside = is_side or (callers and self._is_awaited(child, callers))
                pool = child.side if is_beside else child.sync
                version = self._version(child)
                try:
                    line = pool.wait()
                except (EOFError, OSError):
                    # It has ended in the meantime, unless this process has too many files open.
                    if child.is_usable:
                        raise
                    continue
                asked = (operation, name, version, value)
                return self._exchange(child, pool, line, asked, timeout)
            finally:
                if callers:
                    child.callers.remove(callers)

    def _exchange(
        self,
        child: ChildProcess,
        pool: LinePool,
        line: Line,
        asked: tuple[bytes, str, int, bytes],
        timeout: float,
    ) -> bytes:
        """Send a request and return the answer. A process that gives none is ended."""
        number = next(self._numbers)
        body = request(number, *asked)
        deadline = time.monotonic() + timeout
        try:
            line.limit(timeout)
            line.send(body, deadline)
            frame = line.receive(deadline)
        except TimeoutError:
            child.kill(f"a call took longer than {timeout:g} seconds")
            pool.drop(line)
            child.ended.wait(2 * GRACE)
            raise PluginTimeoutError(self.slug, timeout) from None
        except (EOFError, OSError) as error:
            pool.drop(line)
            self._wait_for_end(child, error)
            raise self._died(child) from None
        except BaseException:
            # Ctrl-C: the answer to this call must not become that of the next call.
            child.kill("a call was interrupted")
            pool.drop(line)
            raise
        pool.put_back(line)
        child.last_used = time.monotonic()
        return self._parse(child, frame, number)

    async def _acall(
        self, operation: bytes, name: str, value: bytes, timeout: float, *, is_async: bool
    ) -> bytes:
        running, callers = self._state.get(), CALLERS.get()
        asking = self._asking(callers)
        while True:
            child = asking or running.child
            if child is None or not child.is_usable:
                child = await waits.in_thread(partial(self._ensure, running))
            if callers:
                child.callers.append(callers)
            try:
                is_beside = callers and self._is_awaited(child, callers)
                pool = child.more if is_async else child.side if is_beside else child.sync
                version = self._version(child)
                try:
                    line = await waits.free_line(pool)
                except (EOFError, OSError):
                    if child.is_usable:
                        raise
                    continue
                asked = (operation, name, version, value)
                return await self._aexchange(child, pool, line, asked, timeout, is_async=is_async)
            finally:
                if callers:
                    child.callers.remove(callers)

    async def _aexchange(
        self,
        child: ChildProcess,
        pool: LinePool,
        line: Line,
        asked: tuple[bytes, str, int, bytes],
        timeout: float,
        *,
        is_async: bool,
    ) -> bytes:
        """Do the same as `_exchange` from a coroutine."""
        number = next(self._numbers)
        body = request(number, *asked)
        deadline = time.monotonic() + timeout
        unsent: list[memoryview] = []
        try:
            frame = await waits.exchange(line, body, deadline, unsent)
        except TimeoutError:
            child.kill(f"a call took longer than {timeout:g} seconds")
            pool.drop(line)
            raise PluginTimeoutError(self.slug, timeout) from None
        except (EOFError, OSError) as error:
            pool.drop(line)
            if isinstance(error, BrokenFrameError):
                child.kill(str(error))
            else:
                await waits.ended(child, GRACE)
                if not child.ended.is_set():
                    child.kill("it has closed the connection")
            await waits.ended(child, 2 * GRACE)
            raise self._died(child) from None
        except BaseException:
            # Cancelled: an async implementation is cancelled, too; a synchronous one continues.
            if is_async:
                pool.drop(line)
            else:
                drain = partial(_drain, child, pool, line, deadline, unsent)
                Thread(target=drain, name="plugreg isolation", daemon=True).start()
            raise
        pool.put_back(line)
        child.last_used = time.monotonic()
        return self._parse(child, frame, number)

    def _parse(self, child: ChildProcess, frame: bytes, number: int) -> bytes:
        """Return the value of an answer. Raises the plugin's exception."""
        expected = b"%d %b\n" % (number, VALUE)
        if frame.startswith(expected):
            return frame[len(expected) :]
        head, _, value = frame.partition(b"\n")
        if head == b"%d %b" % (number, ERROR):
            with Guard() as guard:
                error = error_from_data(self.slug, json.loads(value))
            if guard.error is None:
                raise error
        child.kill("it has written what is no answer of the protocol")
        child.ended.wait(2 * GRACE)
        raise self._died(child)

    def _version(self, child: ChildProcess) -> int:
        """Return the version of the values that hold now; they are sent if they are new."""
        values = self._around.values()
        if _are_known(values, child):
            return child.version
        with child.updating:
            if not _are_known(values, child):
                child.version += 1
                child.send_values(child.version, pickle.dumps(self._around.mirrored()))
                # Only now: a call that finds them known is not to begin with the version before.
                child.values = values
            return child.version

    def _asking(self, callers: Callers) -> ChildProcess | None:
        """Return the process that waits for the calling code, None if it is not the plugin's.

        Raises PluginDiedError if it has ended since.
        """
        found = next((child for remote, child in callers if remote is self), None)
        if found is not None and not found.is_usable:
            raise self._died(found)
        return found

    def _is_awaited(self, child: ChildProcess, callers: Callers) -> bool:
        """Return whether a call of the process waits, over any others, for the calling code."""
        return (self, child) in all_waiting(callers)

    def _wait_for_end(self, child: ChildProcess, error: BaseException) -> None:
        if isinstance(error, BrokenFrameError):
            child.kill(str(error))
        elif not child.ended.wait(GRACE):
            child.kill("it has closed the connection")
        child.ended.wait(2 * GRACE)

    def _died(self, child: ChildProcess | None) -> PluginDiedError:
        if child is None:
            return PluginDiedError(self.slug, reason="it has ended before the call")
        code = child.exitcode
        return PluginDiedError(
            self.slug,
            exitcode=code if code is not None and code >= 0 else None,
            signal=child.signal_number,
            stderr=self._scrub(child.stderr),
            reason=child.reason,
        )

    def _not_again(self, what: str, message: str) -> PluginDiedError:
        return PluginDiedError(
            self.slug, reason=f"it ended before, and cannot be {what} again: {message}"
        )

    # -- starting ----------------------------------------------------------------------------

    def _ensure(self, running: Running) -> ChildProcess:
        """Return a process that serves; it is started if there is none."""
        with running.lock:
            child = running.child
            if child is not None and child.is_usable:
                return child
            if self._is_released:
                raise PluginNotActiveError(self.slug, "inactive")
            if self._begin is None:
                raise self._died(child)
            child, description = self._start(running)
            if "held" in description:
                child.kill("it does not load the plugin any more")
                reason = [row["message"] for row in description["failures"]][-1:]
                raise self._not_again("loaded", "".join(map(str, reason)))
            child.values = self._around.values()
            self._begin = self._begin._replace(mirrored=self._around.mirrored())
            try:
                self._send_begin(child)
                if self._activated is not None:
                    value = pack(self._activated, (), {})
                    self._first_call(child, HOOK, self._activated.name, value)
            except BaseException as error:
                child.kill("it cannot be activated again")
                # Other exceptions do not concern the process, and would start one at each call.
                if type(error) in (PluginDiedError, PluginTimeoutError) or not isinstance(
                    error, Exception
                ):
                    raise
                raise self._not_again("activated", explain(error).message) from error
            running.child = child
            return child

    def _start(self, running: Running) -> tuple[ChildProcess, dict[str, Any]]:
        options = self.options
        self._load = self._load._replace(level=self._logger.getEffectiveLevel())
        child = ChildProcess(
            program(options.python, options.environment),
            Listener(self._log, self._asked, self._scrub, self._ended),
            name=self.slug,
            workers=options.workers,
            seconds=options.timeout,
            memory=options.memory,
        )
        try:
            answered = self._first_call(child, LOAD, "plugin", pickle.dumps(self._load))
            description: dict[str, Any] = json.loads(answered)
            child.note_pid(int(description["pid"]))
        except BaseException as error:
            child.kill("it has not loaded the plugin")
            child.ended.wait(2 * GRACE)
            if isinstance(error, (PluginDiedError, PluginTimeoutError)):
                error.stage = child.stage or "import"  # type: ignore[union-attr]
            raise
        running.restarts += 1
        if options.idle is not None:
            child.end_when_idle(options.idle)
        return child, description

    def _send_begin(self, child: ChildProcess) -> None:
        assert self._begin is not None
        faults = json.loads(self._first_call(child, BEGIN, "plugin", pickle.dumps(self._begin)))
        if faults:
            raise IsolationError(self.slug, "; ".join(map(str, faults)))

    def _first_call(self, child: ChildProcess, operation: bytes, name: str, value: bytes) -> bytes:
        """Make a call of the activation, which nobody else can make at this time."""
        try:
            line = child.sync.wait()
        except EOFError as error:
            self._wait_for_end(child, error)
            raise self._died(child) from None
        asked = (operation, name, 0, value)
        return self._exchange(child, child.sync, line, asked, self.options.start_timeout)

    # -- messages of the process -------------------------------------------------------------

    def _log(self, level: int, text: str) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", self._scrub(text))

    def _scrub(self, text: str) -> str:
        with Guard():
            return self._around.scrubber().text(text)
        return ""

    def _ended(self, child: ChildProcess) -> None:
        if not child.reason and child.exitcode and not self._is_released:
            self._logger.warning("its process %d has ended with %d", child.pid, child.exitcode)

    def _asked(self, child: ChildProcess, message: Mapping[str, Any]) -> None:
        if child.asks.acquire(blocking=False):
            # In a thread of its own, since it may call the plugin.
            answer = partial(self._answer, child, message)
            Thread(target=answer, name=f"plugreg {self.slug} asks", daemon=True).start()
        else:
            reason = "it asks for too much at once; does a hook of its own call itself?"
            error = error_to_data(IsolationError(self.slug, reason))
            child.send(json.dumps({"reply": message["ask"], "error": error}).encode())

    def _answer(self, child: ChildProcess, message: Mapping[str, Any]) -> None:
        # A caller that waits for this process waits for the answer, too.
        CALLERS.set(frozenset({(self, child)}.union(*list(child.callers))))
        reply: dict[str, Any] = {"reply": message["ask"]}
        with Guard() as guard:
            context = None if self._context is None else self._context()
            reply["value"] = carry_out(message, context, self.options, self._around)
            reply["version"] = self._version(child)
            data = dump(str(message["what"]), RESULT, reply)
        if guard.error is not None:
            data = json.dumps(
                {"reply": message["ask"], "error": error_to_data(guard.error)}
            ).encode()
        child.asks.release()
        child.send(data)


def _are_known(values: tuple[object, object], child: ChildProcess) -> bool:
    known = child.values
    return values[0] is known[0] and values[1] is known[1]


def _drain(
    child: ChildProcess,
    pool: LinePool,
    line: Line,
    deadline: float,
    unsent: Sequence[memoryview],
) -> None:
    """Send what is left of a request, and wait for the answer, which nobody waits for any more.

    A process that has none is killed.
    """
    try:
        line.limit(max(deadline - time.monotonic(), 0.001))
        for data in unsent:
            line.send_data(data, deadline)
        line.receive(deadline)
    except TimeoutError:
        child.kill("a call that was cancelled did not end")
        pool.drop(line)
    except (EOFError, OSError):
        # Those that wait for the line would wait for ever, should the process live on.
        child.kill("it has closed the connection")
        pool.drop(line)
    else:
        pool.put_back(line)
