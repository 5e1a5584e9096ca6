"""Calls that meet the end of a process, one that takes nothing, or one that is another by now."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from typing import Any

import pytest

from plugreg import CircuitOpenError, PluginDiedError
from plugreg._calls.aio._loops import running_loop
from plugreg.isolation import Isolated, sending, waits
from plugreg.isolation.frames import Line, pack, run

VICTIM = """
import os, sys, time
from plugreg import Plugin, hookimpl

class Victim(Plugin):
    @hookimpl
    def act(self, what):
        if what == "die":
            os._exit(1)
        if what == "fork":
            process = os.fork()
            if process == 0:
                try:
                    self.set_metadata({"word": "forked"})
                except ConnectionError:
                    os._exit(7)
                os._exit(8)
            return str(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
        if what.startswith("close "):
            while not os.path.exists(what[6:]):
                time.sleep(0.01)
            frame = sys._getframe()
            while "line" not in frame.f_locals:
                frame = frame.f_back
            frame.f_locals["line"].sock.shutdown(2)
            time.sleep(1000)
        if what == "work":
            time.sleep(2.5)
        return str(self.get_metadata().get("word"))

    @hookimpl
    async def aact(self, what):
        end = time.process_time() + 0.7
        while what == "work" and time.process_time() < end:
            pass
        return what
"""


@pytest.fixture
def opened(host: Any) -> Any:
    """Return a registry whose calls may take a second."""
    host.write("victim", VICTIM)
    return host.open({"victim": Isolated(timeout=1.0)})


def _remote(registry: Any) -> Any:
    return vars(registry.get("victim").plugin)["_plugreg_remote"]


def test_values_for_an_ended_process(host: Any) -> None:
    """A call that still had the process before does not keep values from the one of now."""
    host.write("victim", VICTIM)
    registry = host.open()
    remote = _remote(registry)
    before = remote._state.get().child
    registry.outcomes(host.hooks.act, what="die")
    assert registry.call(host.hooks.act, what="read") == ["None"]

    registry.set_metadata("victim", {"word": "tea"})
    remote._version(before)

    assert registry.call(host.hooks.act, what="read") == ["tea"]


def test_values_for_a_stopped_process(opened: Any, host: Any) -> None:
    """A process that takes no values is killed after the time of a call, and nobody hangs."""
    pid = opened.get("victim").process.pid
    os.kill(pid, signal.SIGSTOP)
    opened.set_metadata("victim", {"word": "x" * 260_000})
    found: list[Any] = []
    caller = threading.Thread(
        target=lambda: found.extend(opened.outcomes(host.hooks.act, what="read")), daemon=True
    )
    caller.start()
    caller.join(host.wait)
    is_stuck = caller.is_alive()
    if is_stuck:
        os.kill(pid, signal.SIGKILL)
        caller.join()
    assert not is_stuck
    assert opened.get("victim").process.pid != pid


def test_the_event_loop_goes_on_while_values_are_sent(host: Any) -> None:
    """A process that takes no values does not hold up the loop of a coroutine that calls it."""
    host.write("victim", VICTIM)
    registry = host.open({"victim": Isolated(timeout=host.wait)})
    pid = registry.get("victim").process.pid
    os.kill(pid, signal.SIGSTOP)
    registry.set_metadata("victim", {"word": "x" * 260_000})

    async def run() -> list[Any]:
        call = asyncio.ensure_future(registry.acall(host.hooks.aact, what="read"))
        # It gets as far as it can before the process may go on.
        for _ in range(20):
            await asyncio.sleep(0.01)
        os.kill(pid, signal.SIGCONT)
        return await call

    assert asyncio.run(run()) == ["read"]


def test_end_in_the_moment_of_a_call(host: Any) -> None:
    """A call that gets its line just when the process is to end is still answered."""
    host.write("victim", VICTIM)
    registry = host.open()
    remote = _remote(registry)
    child = remote._state.get().child
    close, taken = child._close_lines, []

    def close_late() -> None:
        if not taken:
            taken.append(run(waits.free_line(waits.HERE, child.sync)))
        close()

    child._close_lines = close_late
    end = threading.Thread(target=child.stop, args=(host.wait,))
    end.start()
    assert host.eventually(lambda: taken)
    line = taken[0]
    line.send(b'99 act 0\n["work"]')
    answer = waits.receive(waits.HERE, line, time.monotonic() + host.wait)
    assert run(answer) == b'99 value\n["None"]'
    child.sync.put_back(line)
    end.join()
    assert child.ended.is_set()


def test_time_of_async_calls(host: Any) -> None:
    """The CPU time of each async call counts by itself."""
    host.write("victim", VICTIM)
    registry = host.open({"victim": Isolated(timeout=host.wait, cpu_seconds=1)})
    for _ in range(4):
        outcomes = asyncio.run(registry.acall(host.hooks.aact, what="work"))
        assert outcomes == ["work"]
    assert registry.get("victim").process.restarts == 0


def test_forked_process_of_the_plugin(host: Any) -> None:
    """A process that the plugin forks is told that it has no host, and does not wait for it."""
    host.write("victim", VICTIM)
    registry = host.open()
    assert registry.call(host.hooks.act, what="fork") == ["7"]
    assert registry.metadata("victim") == {}


def test_cancelled_call_of_a_closed_line(host: Any) -> None:
    """Who waits for the line of a cancelled call is served though the plugin closes that line."""
    host.write("victim", VICTIM)
    registry = host.open()
    remote = _remote(registry)
    child = remote._state.get().child

    go = host.folder / "go"

    async def run() -> None:
        call = asyncio.ensure_future(registry.acall(host.hooks.act, what=f"close {go}"))
        assert await asyncio.to_thread(host.eventually, lambda: child.sync.is_busy)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(run())
    found: list[Any] = []
    caller = threading.Thread(
        target=lambda: found.extend(registry.call(host.hooks.act, what="read")), daemon=True
    )
    caller.start()
    assert host.eventually(lambda: child.sync._waiters)
    go.touch()
    caller.join(host.wait)
    assert found == ["None"]


FRAGILE = """
import os, pathlib
from plugreg import hookimpl

folder = pathlib.Path(__file__).parent
starts = folder / "starts"

@hookimpl
def plugreg_activated():
    with starts.open("a") as file:
        file.write("x")
    if (folder / "broken").exists():
        raise ValueError("no such disk")

@hookimpl
def act(what):
    os._exit(1)
"""


def test_no_storm_of_starts(host: Any) -> None:
    """A plugin that cannot be activated again has its circuit opened, as one that dies."""
    host.write("victim", FRAGILE)
    registry = host.open()
    registry.outcomes(host.hooks.act, what="die")
    (host.folder / "broken").touch()
    outcomes = [registry.outcomes(host.hooks.act, what="x") for _ in range(12)]
    assert "ValueError: no such disk" in str(outcomes[0][0].error)
    assert len((host.folder / "starts").read_text()) <= 7


CAPABLE = """
import os
from plugreg import Plugin, hookimpl
from plugreg.mixins import ValidationMixin
class Victim(ValidationMixin, Plugin):
    @hookimpl
    def act(self, what):
        if what == "die":
            os._exit(1)
        return str(self.get_metadata().get("word"))

    def validate_name(self, name):
        if name == "die":
            os._exit(1)
        return name == "good"
"""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the threads that are started from now on."""
    names: list[str] = []
    start = threading.Thread.start

    def note(thread: threading.Thread) -> None:
        names.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", note)
    return names


def test_changed_values_and_methods_need_no_thread(host: Any, started: list[str]) -> None:
    """A coroutine sends changed values, and awaits the methods of capabilities, by itself."""
    host.write("victim", CAPABLE)
    registry = host.open()

    async def main() -> None:
        before = len(started)
        for word in ("tea", "milk"):
            registry.set_metadata("victim", {"word": word})
            assert await registry.acall(host.hooks.act, what="x") == [word]
        calls = registry.capabilities
        [outcome] = await calls.aoutcomes("validation", "validate_name", "good")
        assert outcome.value is True
        assert started[before:] == []

    asyncio.run(main())


def test_an_end_needs_no_thread_of_the_call(host: Any, started: list[str]) -> None:
    """A coroutine awaits the end of a process; the threads are those of records and starts."""
    host.write("victim", CAPABLE)
    registry = host.open()

    async def main() -> None:
        before = len(started)
        [outcome] = await registry.aoutcomes(host.hooks.act, what="die")
        assert type(outcome.error) is PluginDiedError
        assert "plugreg isolation" not in started[before:]

    asyncio.run(main())


def test_deaths_in_capabilities_open_the_circuit(host: Any) -> None:
    """A plugin that dies in a method of a capability is not started without end either."""
    host.write("victim", CAPABLE)
    registry = host.open()
    calls = registry.capabilities
    for _ in range(5):
        calls.outcomes("validation", "validate_name", "die")
    [refused] = calls.outcomes("validation", "validate_name", "good")

    assert type(refused.error) is CircuitOpenError


def test_cancelled_while_it_is_sent(host: Any) -> None:
    """A call that is cancelled in the middle of a large argument disturbs no later call."""
    host.write(
        "victim", "from plugreg import hookimpl\n@hookimpl\ndef act(what):\n    return what[:4]"
    )
    registry = host.open()
    pid = registry.get("victim").process.pid

    async def main() -> Any:
        call = asyncio.create_task(registry.acall(host.hooks.act, what="x" * 30_000_000))
        # The first piece is sent now, and the socket takes no more at once.
        await asyncio.sleep(0)
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call
        return await registry.acall(host.hooks.act, what="well")

    assert asyncio.run(main()) == ["well"]
    assert registry.get("victim").process.pid == pid


def test_a_deadline_that_has_passed_on_trio() -> None:
    """A process that was paused looks once more for the answer, and then it is late."""
    import trio

    near, far = socket.socketpair()
    near.setblocking(False)

    async def receive() -> bytes:
        return await waits.receive(running_loop(), Line(near), time.monotonic() - 1)

    with near, far:
        with pytest.raises(TimeoutError):
            trio.run(receive)
        far.sendall(pack(b"late"))
        assert trio.run(receive) == b"late"


def test_an_answer_that_is_there_already() -> None:
    """A coroutine receives it without a turn of its event loop."""
    near, far = socket.socketpair()
    near.setblocking(False)

    async def receive() -> bytes:
        far.sendall(pack(b"early"))
        return run(waits.receive(running_loop(), Line(near), time.monotonic() + 1))

    with near, far:
        assert asyncio.run(receive()) == b"early"


def test_a_line_that_closes_while_a_thread_is_about_to_wait(monkeypatch: Any) -> None:
    """The thread that sends the rest ends without a word, and kills nobody."""
    near, far = socket.socketpair()
    near.setblocking(False)
    faults: list[object] = []
    wait = sending.wait_for_socket

    def close_and_wait(*args: Any, **kwargs: Any) -> None:
        sender.close()
        near.close()
        wait(*args, **kwargs)

    monkeypatch.setattr(threading, "excepthook", faults.append)
    monkeypatch.setattr(sending, "wait_for_socket", close_and_wait)
    sender = sending.Sender(Line(near), 5.0, faults.append)
    with far:
        sender.send(bytes(10_000_000))
        for thread in threading.enumerate():
            if thread.name == "plugreg isolation":
                thread.join(5.0)

    assert faults == []
