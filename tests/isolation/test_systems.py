"""The way without a fork, as on Windows: the process connects to its host, and works likewise."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

import pytest

from plugreg import PluginDiedError, PluginTimeoutError
from plugreg.isolation import Isolated, systems
from tests.isolation.test_faults import HOST, NEVER, VICTIM

ASYNC = """
@hookimpl
async def aact(what):
    return f"async {what}"
"""


@pytest.fixture
def connected(host: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a host whose isolated plugins are started as where no process forks."""
    monkeypatch.setattr(systems, "CAN_FORK", False)
    host.write("victim", VICTIM + ASYNC)
    host.write("neighbour", host.neighbour)
    return host


def test_calls(connected: Any) -> None:
    """Synchronous and async calls, several at once, in a process that is the plugin's own."""
    registry = connected.open({"victim": Isolated(timeout=connected.wait, workers=2)})
    pid = registry.get("victim").process.pid

    assert registry.call(connected.hooks.act, what="well") == ["well", "healthy"]

    async def main() -> Any:
        calls = [registry.acall(connected.hooks.aact, what=str(number)) for number in range(3)]
        return await asyncio.gather(*calls, registry.acall(connected.hooks.act, what="well"))

    *several, last = asyncio.run(main())
    assert several == [[f"async {number}"] for number in range(3)]
    assert last == ["well", "healthy"]
    assert connected.is_there(pid)
    registry.deactivate("victim")
    assert not connected.is_there(pid)


@pytest.mark.parametrize("what", ["sys_exit", "os_exit", "segfault", "killed"])
def test_deaths(connected: Any, what: str) -> None:
    """A death is an outcome, and the next call has another process."""
    registry = connected.open(circuit=NEVER)
    for _ in range(connected.rounds):
        outcomes = {o.slug: o for o in registry.outcomes(connected.hooks.act, what=what)}

        assert type(outcomes["victim"].error) is PluginDiedError
        assert outcomes["neighbour"].value == "healthy"
        assert registry.call(connected.hooks.act, what="well") == ["well", "healthy"]


@pytest.mark.parametrize("what", ["loops", "hangs"])
def test_a_call_without_end(connected: Any, what: str) -> None:
    """A call beyond its time is ended with its process."""
    registry = connected.open({"victim": Isolated(timeout=0.5)}, circuit=NEVER)
    for _ in range(connected.few):
        pid = registry.get("victim").process.pid
        outcome = registry.outcomes(connected.hooks.act, what=what)[0]

        assert type(outcome.error) is PluginTimeoutError
        assert connected.eventually(lambda pid=pid: not connected.is_there(pid))
        assert registry.call(connected.hooks.act, what="well") == ["well", "healthy"]


def test_prints_and_settings(connected: Any) -> None:
    """The standard streams are the plugin's, and stdin has nothing to read."""
    connected.write(
        "victim",
        "import sys\nfrom plugreg import hookimpl\n@hookimpl\n"
        "def act(what): return repr((sys.stdin.read(), sys.argv[1:]))",
    )
    registry = connected.open()

    assert registry.call(connected.hooks.act, what="")[0] == "('', [])"


def test_a_loop_without_readers(connected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a loop that cannot watch sockets, as that of Windows, a thread waits instead."""

    def refuse(*_: Any) -> None:
        raise NotImplementedError

    registry = connected.open()

    async def main() -> Any:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "add_reader", refuse)
        monkeypatch.setattr(loop, "add_writer", refuse)
        return await asyncio.gather(
            registry.acall(connected.hooks.aact, what="x" * 1_000_000),
            registry.acall(connected.hooks.act, what="well"),
        )

    [[large], well] = asyncio.run(main())
    assert (len(large), well) == (1_000_006, ["well", "healthy"])


def test_strangers_are_not_let_in(connected: Any) -> None:
    """Who connects without the key, before the process does, gets nothing and stops nobody."""
    accept = systems._Invitation.accept
    strangers: list[socket.socket] = []

    def accept_late(invitation: Any, seconds: float) -> socket.socket:
        stranger = socket.create_connection(("127.0.0.1", invitation.as_data()["port"]))
        strangers.append(stranger)
        stranger.sendall(b"0" * 64)
        return accept(invitation, seconds)

    systems._Invitation.accept = accept_late  # type: ignore[method-assign]
    try:
        registry = connected.open()
        assert registry.call(connected.hooks.act, what="well") == ["well", "healthy"]
    finally:
        systems._Invitation.accept = accept  # type: ignore[method-assign]
        for stranger in strangers:
            with stranger, suppress(ConnectionResetError):
                assert stranger.recv(1) == b""


def test_a_stranger_that_drips(connected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who gives a key byte by byte is not waited for to its end: the process has its turn."""
    accept = systems._Invitation.accept
    is_over = threading.Event()
    sent: list[int] = []
    drips: list[threading.Thread] = []

    def drip(stranger: socket.socket) -> None:
        with stranger, suppress(OSError):
            while not is_over.wait(0.5):
                stranger.sendall(b"0")
                sent[-1] += 1

    def accept_late(invitation: Any, seconds: float) -> socket.socket:
        is_over.clear()
        stranger = socket.create_connection(("127.0.0.1", invitation.as_data()["port"]))
        sent.append(0)
        drips.append(threading.Thread(target=drip, args=(stranger,)))
        drips[-1].start()
        return accept(invitation, seconds)

    monkeypatch.setattr(systems._Invitation, "accept", accept_late)
    try:
        registry = connected.open()
        assert registry.call(connected.hooks.act, what="well") == ["well", "healthy"]
    finally:
        is_over.set()
        for thread in drips:
            thread.join()
    # Each would have taken half a minute for its 64 bytes.
    assert sent
    assert all(count < 32 for count in sent)


def test_a_process_that_cannot_start(connected: Any) -> None:
    """An interpreter that ends at once is a failure, and is not waited for."""
    registry = connected.open({"victim": Isolated(python="/bin/false")})
    [failure] = registry.get("victim").errors

    assert "does not connect" in failure.message or "Broken pipe" in failure.message
    assert registry.call(connected.hooks.act, what="well") == ["healthy"]


def test_no_child_outlives_its_host(connected: Any) -> None:
    """The process of a host that is killed ends by itself, also in the middle of a call."""
    source = HOST.replace(
        "from plugreg.isolation import Isolated",
        "from plugreg.isolation import Isolated, systems\nsystems.CAN_FORK = False",
    )
    for what in ("", "hangs"):
        process = subprocess.Popen(
            [sys.executable, "-c", source, str(connected.folder), what], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        with process.stdout:
            pid = int(process.stdout.readline())
            assert connected.is_there(pid)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        assert connected.eventually(lambda pid=pid: not connected.is_there(pid))


def test_a_limit_that_the_system_has_not(host: Any) -> None:
    """It is a failure that names the limit, instead of a plugin without one."""
    host.write("victim", VICTIM)
    registry = host.open({"victim": Isolated(memory=2**70)})
    [failure] = registry.get("victim").errors

    assert "memory=" in failure.message
    assert "leave it out" in failure.message


@pytest.mark.parametrize("hook", ["act", "aact"])
def test_cancelled_calls_leave_their_lines(connected: Any, hook: str) -> None:
    """A call that is cancelled while it waits for a line takes none away from later calls."""
    registry = connected.open({"victim": Isolated(timeout=connected.wait)})

    async def main() -> Any:
        for turns in range(8):
            call = asyncio.create_task(registry.acall(getattr(connected.hooks, hook), what="well"))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            with suppress(asyncio.CancelledError):
                await call
        async with asyncio.timeout(connected.wait):
            return await registry.acall(connected.hooks.act, what="well")

    assert asyncio.run(main()) == ["well", "healthy"]
