"""An isolated plugin, as the host calls it: in a process that is started again when it ended."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable, Mapping
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from plugreg._calls.aio._loops import running_loop
from plugreg._support import PerProcess
from plugreg._support.guard import Guard, explain
from plugreg._support.process import GRACE
from plugreg.exceptions import (
    IsolationError,
    PluginDiedError,
    PluginNotActiveError,
    PluginTimeoutError,
)
from plugreg.isolation import waits
from plugreg.isolation.codec import DataCodec
from plugreg.isolation.data import RESULT, dump, to_data
from plugreg.isolation.environments import program
from plugreg.isolation.faults import error_to_data
from plugreg.isolation.frames import run
from plugreg.isolation.options import Isolated
from plugreg.isolation.process import ChildProcess, Listener
from plugreg.isolation.protocol import (
    BEGIN,
    LOAD,
    BeginRequest,
    LoadRequest,
    Mirrored,
)
from plugreg.isolation.records import ProcessInfo, measure
from plugreg.isolation.running import CALLERS, Callers, RemoteFunction, Running, all_waiting
from plugreg.isolation.waits import HERE, Place

if TYPE_CHECKING:
    from plugreg._lifecycle.assembly import Assembly
    from plugreg._lifecycle.binding import BoundContext

_WRITES: Final = frozenset({"set_setting", "set_user_setting", "set_metadata"})
"""The methods of its context that a plugin may call in the host."""


class RemotePlugin:
    """Calls a plugin in its process, and starts another process when that has ended.

    It lives from the loading of the plugin to its deactivation, and serves any thread and event
    loop. No process is left after :meth:`release`.

    Args:
        slug: The plugin.
        options: How it is isolated.
        load: The request with which the process loads the plugin.
        parts: Returns the parts of the registry. The threads that listen to the process must not
            keep these alive.
    """

    def __init__(
        self, slug: str, options: Isolated, load: LoadRequest, parts: Callable[[], Assembly]
    ) -> None:
        self.slug: Final = slug
        self.options: Final = options
        self._load = load
        self._parts = parts
        self._begin: BeginRequest | None = None
        self._activated: tuple[str, bytes] | None = None
        self._context: Callable[[], BoundContext | None] = lambda: None
        self.stand_in: Callable[[], object] = lambda: None
        self._is_released = False
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
        self, context: BoundContext, request: BeginRequest, activated: tuple[str, bytes] | None
    ) -> None:
        """Get the process ready for calls.

        Args:
            context: The plugin's context in the host.
            request: The request for the process; the current values are put into it.
            activated: Name and arguments of the plugin's plugreg_activated, or None.

        Raises:
            IsolationError: If the process cannot have the types of the hooks.
        """
        self._context = ref(context)
        self._begin, self._activated = request, activated
        child = self._state.get().child
        if child is None:
            raise self._died(None)
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
        child, restarts = running.child, max(running.restarts, 0)
        if child is None or not child.is_usable:
            return ProcessInfo(pid=None, started=None, restarts=restarts)
        rss, cpu = measure(child.pid)
        return ProcessInfo(
            pid=child.pid, started=child.started, restarts=restarts, rss=rss, cpu=cpu
        )

    # -- calls -------------------------------------------------------------------------------

    def call(self, function: RemoteFunction, value: bytes, *, is_side: bool = False) -> Any:
        """Call a function of the plugin, and return its result.

        Args:
            function: The function.
            value: The bytes of the arguments.
            is_side: Whether the call waits for no other call.
        """
        answer = run(self._call(HERE, function, value, is_side=is_side))
        return function.codec.unpack_result(_value(answer))

    async def acall(self, function: RemoteFunction, value: bytes, *, is_async: bool = False) -> Any:
        """Do the same from a coroutine, also with an async implementation of a hook."""
        answer = await self._call(running_loop(), function, value, is_async=is_async)
        return function.codec.unpack_result(_value(answer))

    def call_function(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a function of a setting; it waits for no other call."""
        codec = DataCodec(name)
        function = RemoteFunction(name, codec, self.options.timeout)
        return self.call(function, codec.pack_call(args, kwargs), is_side=True)

    # -- the parts ---------------------------------------------------------------------------

    async def _call(
        self,
        place: Place,
        function: RemoteFunction,
        value: bytes,
        *,
        is_async: bool = False,
        is_side: bool = False,
    ) -> bytes | Exception:
        running, callers = self._state.get(), CALLERS.get()
        asking = self._asking(callers) if callers else None
        while True:
            child = asking or running.child
            if child is None or not child.is_usable:
                child = await waits.in_thread(place, partial(self._ensure, running))
            if callers:
                # Already while it waits for a line, it is waited for.
                child.callers.append(callers)
            try:
                # The call that this call is part of, if any, has the other line.
                is_beside = is_side or (callers and (self, child) in all_waiting(callers))
                pool = child.more if is_async else child.side if is_beside else child.sync
                version = self._version(child)
                try:
                    line = pool.pop() or await waits.free_line(place, pool)
                except (EOFError, OSError):
                    # It has ended in the meantime, unless this process has too many files open.
                    if child.is_usable:
                        raise
                    continue
                asked = (function.name, version, value, function.seconds)
                return await child.exchange(place, pool, line, asked)
            finally:
                if callers:
                    child.callers.remove(callers)

    def _version(self, child: ChildProcess) -> int:
        """Return the version of the values that hold now; they are sent if they are new."""
        values = self._values()
        if _are_known(values, child):
            return child.version
        with child.updating:
            if not _are_known(values, child):
                child.version += 1
                child.send_values(child.version, pickle.dumps(self._mirrored()))
                # Only now: a call that finds them known is not to begin with the version before.
                child.values = values
            return child.version

    def _values(self) -> tuple[object, object]:
        """Return stored settings and metadata: the same objects as long as they are the same."""
        parts = self._parts()
        return parts.settings.stored(self.slug), parts.plugin_rows.metadata_of(self.slug)

    def _mirrored(self) -> Mirrored:
        """Return the same as they are sent."""
        parts = self._parts()
        stored = parts.settings.stored(self.slug)
        values = {
            user: {k: tuple(v) for k, v in own.items()} for user, own in stored.values.items()
        }
        return Mirrored(stored.version, values, parts.plugin_rows.metadata(self.slug))

    def _asking(self, callers: Callers) -> ChildProcess | None:
        """Return the process that waits for the calling code, None if it is not the plugin's.

        Raises PluginDiedError if it has ended since.
        """
        found = next((child for remote, child in callers if remote is self), None)
        if found is not None and not found.is_usable:
            raise found.died()
        return found

    def _died(self, child: ChildProcess | None) -> PluginDiedError:
        if child is None:
            return PluginDiedError(self.slug, reason="it has ended before the call")
        return child.died()

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
            try:
                self._send_begin(child)
                if self._activated is not None:
                    self._first_call(child, *self._activated)
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
            answered = self._first_call(child, LOAD, pickle.dumps(self._load))
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
        child.values = self._values()
        self._begin = self._begin._replace(mirrored=self._mirrored())
        faults = json.loads(self._first_call(child, BEGIN, pickle.dumps(self._begin)))
        if faults:
            raise IsolationError(self.slug, "; ".join(map(str, faults)))

    def _first_call(self, child: ChildProcess, name: str, value: bytes) -> bytes:
        """Make a call of the activation, which nobody else can make at this time."""
        try:
            line = run(waits.free_line(HERE, child.sync))
        except EOFError as error:
            raise run(child.end_broken(HERE, error)) from None
        asked = (name, 0, value, self.options.start_timeout)
        return _value(run(child.exchange(HERE, child.sync, line, asked)))

    # -- messages of the process -------------------------------------------------------------

    def _log(self, level: int, text: str) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", self._scrub(text))

    def _scrub(self, text: str) -> str:
        with Guard():
            return self._parts().settings.scrubber(self.slug).text(text)
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
            child.send(dump("", RESULT, {"reply": message["ask"], "error": error}))

    def _answer(self, child: ChildProcess, message: Mapping[str, Any]) -> None:
        # A caller that waits for this process waits for the answer, too.
        CALLERS.set(frozenset({(self, child)}.union(*list(child.callers))))
        reply = {"reply": message["ask"]}
        with Guard() as guard:
            what = message["what"]
            value = self._carry_out(what, message["arguments"])
            data = dump(what, RESULT, {**reply, "value": value, "version": self._version(child)})
        if guard.error is not None:
            data = dump("", RESULT, {**reply, "error": error_to_data(guard.error)})
        child.asks.release()
        child.send(data)

    def _carry_out(self, what: str, arguments: dict[str, Any]) -> Any:
        """Carry out a request of the plugin, which may be anything; return the answer as data.

        Raises IsolationError if the host does not allow it, and ValueNotSentError if the answer is
        no data.
        """
        context = self._context()
        if context is None:
            raise PluginNotActiveError(self.slug, "loaded")
        if what in _WRITES:
            getattr(context, what)(**arguments)
            return None
        if what != "call_host":
            raise ValueError(f"{what!r} cannot be asked for")
        hook = str(arguments["hook"])
        if hook not in self.options.allowed_hooks:
            reason = f"it may not call hook {hook!r}; the host allows it with may_call="
            raise IsolationError(self.slug, reason)
        results = self._parts().calling.dispatch.call(hook, **arguments["arguments"])
        return to_data(hook, RESULT, results)


def _value(answer: bytes | Exception) -> bytes:
    """Return an answer, or raise it: outside of `_call`, which could not raise StopIteration."""
    if isinstance(answer, Exception):
        raise answer
    return answer


def _are_known(values: tuple[object, object], child: ChildProcess) -> bool:
    known = child.values
    return values[0] is known[0] and values[1] is known[1]
