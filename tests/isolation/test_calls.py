"""Calls of isolated plugins: order, circuits, coroutines, workers, and observation."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from plugreg import CircuitOpenError, Plugin, PluginDiedError, PluginTimeoutError, Stage
from plugreg.isolation import Isolated

VICTIM = """
import asyncio, os, threading, time
from plugreg import Plugin, hookimpl

class Victim(Plugin):
    running = most = 0

    @hookimpl(tryfirst=True)
    def act(self, what):
        if what == "die":
            os._exit(1)
        if what == "raise":
            raise ValueError
        if what == "pid":
            return str(os.getpid())
        if what == "sleep":
            time.sleep(0.2)
        if what == "hang":
            time.sleep(1000)
        if what == "together":
            self.running += 1
            self.most = max(self.most, self.running)
            deadline = time.monotonic() + 20
            while self.most < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            self.running -= 1
        return f"victim {what} {self.most}"

    @hookimpl
    async def aact(self, what):
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if what == "hang":
                await asyncio.sleep(1000)
            while self.most < 5 and what == "gather":
                await asyncio.sleep(0.01)
            return f"async {what}"
        finally:
            self.running -= 1
"""

HANG = {"what": "hang"}

LATE = """
from plugreg import hookimpl
@hookimpl(trylast=True)
def act(what):
    return "late"
"""


def test_order_and_explanation(host: Any) -> None:
    """A stand-in takes the place that the plugin's marks ask for."""
    host.write("late", LATE)
    host.write("neighbour", host.neighbour)
    host.write("victim", VICTIM)
    registry = host.open({"victim": Isolated(), "late": Isolated()})

    assert registry.call(host.hooks.act, what="x") == ["victim x 0", "healthy", "late"]
    assert [slug for slug, _ in registry.explain(host.hooks.act)] == [
        "victim",
        "neighbour",
        "late",
    ]
    assert registry.first(host.hooks.act, what="x") == "victim x 0"


def test_nothing_is_imported_in_the_host(host: Any) -> None:
    """Not even the module of an isolated plugin is in the host; the object is a stand-in."""
    host.write("victim", "import sys\nsys.modules['colour'] = sys\n" + VICTIM)
    registry = host.open()
    record = registry.get("victim")

    assert (record.isolated, record.state) == (True, "active")
    assert int(registry.call(host.hooks.act, what="pid")[0]) == record.process.pid != os.getpid()
    assert type(record.plugin).__module__ == "plugreg.isolation.standin"
    import sys

    assert "colour" not in sys.modules


def test_repeated_deaths_open_a_circuit(host: Any) -> None:
    """Five deaths in a minute end the calls for a while, though the host asked for no circuit."""
    host.write("victim", VICTIM)
    host.write("neighbour", host.neighbour)
    registry = host.open()
    for _ in range(7):
        registry.outcomes(host.hooks.act, what="raise")
    assert registry.get("victim").circuit == "closed"
    for _ in range(5):
        registry.outcomes(host.hooks.act, what="die")
    refused, well = registry.outcomes(host.hooks.act, what="x")

    assert type(refused.error) is CircuitOpenError
    assert well.value == "healthy"
    assert registry.get("victim").circuit == "open"
    assert {f.subject for f in registry.get("victim").errors} == {"act", "circuit"}
    registry.reset("victim")
    assert registry.call(host.hooks.act, what="x") == ["victim x 0", "healthy"]
    assert registry.get("victim").process.restarts == 5


def test_no_circuit_of_others(host: Any) -> None:
    """The circuit that isolation makes is for isolated plugins alone."""
    host.write("victim", VICTIM)
    host.write("faulty", "from plugreg import hookimpl\n@hookimpl\ndef act(what): return 1 / 0")
    registry = host.open()
    for _ in range(10):
        registry.call(host.hooks.act, what="x")

    assert registry.get("faulty").circuit == "closed"


def test_coroutines_need_no_thread(host: Any) -> None:
    """``acall`` awaits synchronous and async implementations, without a thread for the call."""
    host.write("victim", VICTIM)
    registry = host.open()
    own = {thread.ident for thread in threading.enumerate()}
    seen: set[int | None] = set()

    async def main() -> None:
        calling = asyncio.gather(
            registry.acall(host.hooks.act, what="sleep"),
            registry.acall(host.hooks.aact, what="x"),
        )
        while not calling.done():
            seen.update(thread.ident for thread in threading.enumerate())
            await asyncio.sleep(0.005)
        assert await calling == [["victim sleep 1"], ["async x"]]

    asyncio.run(main())
    assert seen <= own


def test_the_loop_goes_on(host: Any) -> None:
    """While a plugin hangs, and while it is started again, the event loop turns."""
    host.write("victim", VICTIM)
    registry = host.open({"victim": Isolated(timeout=0.5)})

    async def main() -> tuple[int, Any]:
        turns = 0
        calling = asyncio.gather(
            registry.aoutcomes(host.hooks.act, what="hang"),
            registry.aoutcomes(host.hooks.aact, what="hang"),
        )
        while not calling.done():
            await asyncio.sleep(0)
            turns += 1
        return turns, [outcome.error for [outcome] in await calling]

    turns, errors = asyncio.run(main())

    assert turns > 100
    # Both calls were in one process, which the first of them that was too slow has ended.
    assert PluginTimeoutError in set(map(type, errors)) <= {PluginTimeoutError, PluginDiedError}
    assert asyncio.run(registry.acall(host.hooks.act, what="x")) == ["victim x 0"]


def test_async_implementations_run_together(host: Any) -> None:
    """Calls of an async implementation are under way in one process at once."""
    host.write("victim", VICTIM)
    registry = host.open()

    async def main() -> Any:
        return await asyncio.gather(
            *[registry.acall(host.hooks.aact, what="gather") for _ in range(5)]
        )

    assert asyncio.run(main()) == [["async gather"]] * 5


def test_workers_run_together(host: Any) -> None:
    """With two workers two synchronous calls are under way at once, with one they are not."""
    host.write("victim", VICTIM)
    registry = host.open({"victim": Isolated(timeout=60, workers=2)})
    found: list[str] = []
    callers = [
        threading.Thread(
            target=lambda: found.extend(registry.call(host.hooks.act, what="together"))
        )
        for _ in range(2)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    assert found == ["victim together 2"] * 2


def test_callers_take_turns(host: Any) -> None:
    """Threads and coroutines share one worker, and each gets its own answer."""
    host.write("victim", VICTIM)
    registry = host.open()
    found: dict[str, Any] = {}

    def call(name: str) -> None:
        for number in range(20):
            found[f"{name}{number}"] = registry.call(host.hooks.act, what=f"{name}{number}")

    async def acall() -> None:
        for number in range(20):
            what = f"a{number}"
            found[what] = await registry.acall(host.hooks.act, what=what)

    callers = [threading.Thread(target=call, args=(name,)) for name in "xyz"]
    for caller in callers:
        caller.start()
    asyncio.run(acall())
    for caller in callers:
        caller.join()

    assert len(found) == 80
    assert found == {what: [f"victim {what} 0"] for what in found}


def test_a_cancelled_caller(host: Any) -> None:
    """A caller that leaves costs nothing: the answer that comes later is nobody's."""
    host.write("victim", VICTIM)
    registry = host.open()

    async def main() -> Any:
        for hook in (host.hooks.act, host.hooks.aact):
            calling = asyncio.ensure_future(
                registry.acall(hook, what="sleep" if hook is host.hooks.act else "hang")
            )
            await asyncio.sleep(0.1)
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling
        return await registry.acall(host.hooks.act, what="x")

    pid = registry.get("victim").process.pid
    assert asyncio.run(main()) == ["victim x 1"]
    assert registry.get("victim").process.pid == pid


def test_on_trio(host: Any) -> None:
    """The same on trio, deaths included."""
    import trio

    host.write("victim", VICTIM)
    registry = host.open({"victim": Isolated(timeout=0.5)})

    async def main() -> Any:
        found = [
            await registry.acall(host.hooks.act, what="x"),
            await registry.acall(host.hooks.aact, what="x"),
        ]
        errors = []
        for what in ("die", "hang"):
            [outcome] = await registry.aoutcomes(host.hooks.act, what=what)
            errors.append(type(outcome.error))
        return found, errors, await registry.acall(host.hooks.act, what="x")

    found, errors, last = trio.run(main)

    assert found == [["victim x 0"], ["async x"]]
    assert errors == [PluginDiedError, PluginTimeoutError]
    assert last == ["victim x 0"]


def test_a_coroutine_in_a_synchronous_call(host: Any) -> None:
    """An async implementation is refused by a synchronous call, as in the host."""
    host.write("victim", VICTIM)
    registry = host.open()
    [outcome] = registry.outcomes(host.hooks.aact, what="x")

    assert type(outcome.error) is TypeError
    assert "async" in str(outcome.error)


def test_the_thread_that_activated_it_may_end(host: Any) -> None:
    """The process outlives the thread that has started it."""
    host.write("victim", VICTIM)
    opened: list[Any] = []
    thread = threading.Thread(target=lambda: opened.append(host.open()))
    thread.start()
    thread.join()
    [registry] = opened
    pid = registry.get("victim").process.pid
    time.sleep(0.3)

    assert registry.call(host.hooks.act, what="pid") == [str(pid)]


def test_records_and_status_show_the_process(host: Any) -> None:
    """Number, start, restarts, memory and CPU time are in the record and in the status."""
    host.write("victim", VICTIM)
    host.write("neighbour", host.neighbour)
    registry = host.open()
    before = registry.get("victim").process
    registry.outcomes(host.hooks.act, what="die")
    registry.call(host.hooks.act, what="x")
    record = registry.get("victim")

    assert (before.restarts, record.process.restarts) == (0, 1)
    assert record.process.pid != before.pid
    assert record.process.started > before.started
    assert record.process.rss > 2**20
    assert record.process.cpu > 0
    [shown] = registry.status()["isolated"]
    assert (shown["slug"], shown["pid"], shown["restarts"]) == ("victim", record.process.pid, 1)
    assert registry.get("neighbour").process is None
    assert not registry.get("neighbour").isolated
    [failure] = record.errors
    assert (failure.stage, failure.subject) == (Stage.CALL, "act")


def test_observation_shows_the_process(host: Any) -> None:
    """Observed, numbers and calls under way have the process of an isolated plugin, as it is."""
    host.write("victim", VICTIM)
    host.write("neighbour", host.neighbour)
    registry = host.open(observe=True)
    registry.outcomes(host.hooks.act, what="die")
    [pid, _] = registry.call(host.hooks.act, what="pid")
    stats = {item.slug: item for item in registry.dispatch.stats()}
    caller = threading.Thread(target=registry.outcomes, args=(host.hooks.act,), kwargs=HANG)
    caller.start()
    assert host.eventually(registry.dispatch.running)
    [running] = registry.dispatch.running()
    os.kill(running.process.pid, signal.SIGKILL)
    caller.join()
    registry.deactivate("victim")
    after = {item.slug: item for item in registry.dispatch.stats()}

    process = stats["victim"].process
    assert (process.pid, process.restarts) == (int(pid), 1)
    assert process.started is not None
    assert process.rss > 2**20
    assert process.cpu > 0
    assert (running.slug, running.process.pid) == ("victim", process.pid)
    assert stats["neighbour"].process is None
    assert after["victim"].process is None


def test_an_idle_process_ends_and_comes_back(host: Any) -> None:
    """Without calls the process ends after a while; the next call has another one."""
    host.write("victim", VICTIM)
    registry = host.open({"victim": Isolated(idle=0.2)})
    pid = registry.get("victim").process.pid

    assert host.eventually(lambda: not host.is_there(pid))
    assert registry.get("victim").process.pid is None
    assert registry.call(host.hooks.act, what="x") == ["victim x 0"]
    assert registry.get("victim").errors == ()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # A fork beside threads, as hosts do.
def test_a_fork_has_its_own(host: Any) -> None:
    """A forked worker starts its own process, and leaves that of its parent alone."""
    host.write("victim", VICTIM)
    registry = host.open()
    before = registry.call(host.hooks.act, what="pid")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            [pid] = registry.call(host.hooks.act, what="pid")
            registry.close()
            os.write(writing, pid.encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        forked = int(pipe.read())
    os.waitpid(child, 0)

    assert forked != int(before[0])
    assert registry.call(host.hooks.act, what="pid") == before
    assert host.eventually(lambda: not host.is_there(forked))


def test_cycles_leave_nothing(host: Any) -> None:
    """However often it is switched off and on, no process, thread or file is left."""
    host.write("victim", VICTIM)
    registry = host.open()
    registry.deactivate("victim")
    before = len(host.files()), host.threads(), len(host.processes())
    for _ in range(host.rounds * 2):
        registry.activate("victim")
        registry.call(host.hooks.act, what="x")
        registry.deactivate("victim")

    assert host.eventually(
        lambda: (len(host.files()), host.threads(), len(host.processes())) == before
    )


def test_a_registry_that_is_dropped(host: Any) -> None:
    """A registry that nobody closes ends its processes when it is collected."""
    import gc

    host.write("victim", VICTIM)
    registry = host.open()
    pid = registry.get("victim").process.pid
    host.registries.clear()
    del registry
    gc.collect()

    assert host.eventually(lambda: not host.is_there(pid))


def test_others_keep_their_processes(host: Any) -> None:
    """A change of one isolated plugin leaves the process of another one alone."""
    host.write("victim", VICTIM)
    host.write("other", VICTIM.replace("Victim", "Other"))
    registry = host.open(Isolated())
    before = registry.get("other").process.pid
    changed = registry.get("victim").process.pid
    time.sleep(0.01)
    host.write("victim", VICTIM + "\n")
    registry.reload(collect=True)

    assert registry.get("other").process.pid == before
    assert registry.get("victim").process.pid != changed


def test_the_process_has_nothing_of_the_host(host: Any, tmp_path: Any) -> None:
    """It is in a session apart, and has no file of the host, whatever may be inherited."""
    host.write("victim", VICTIM)
    with (tmp_path / "secret").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        registry = host.open()
        pid = registry.get("victim").process.pid
        files = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]

        assert sorted(name.partition(":")[0] for name in files) == [
            "/dev/null",
            "pipe",
            "pipe",
            "socket",
            "socket",
        ]
        assert os.getsid(pid) != os.getsid(0)


class Builtin(Plugin):
    """A plugin of the host."""


def test_one_option_for_all_that_is_installed(host: Any) -> None:
    """``isolate=Isolated()`` isolates plugins of folders, and neither builtins nor samples."""
    host.write("victim", VICTIM)
    samples = host.folder.parent / "samples"
    samples.mkdir()
    (samples / "shown.py").write_text(LATE, encoding="utf-8")
    registry = host.open(Isolated(), builtin=[("builtin", Builtin)], samples=[samples])

    assert {slug: record.isolated for slug, record in registry.plugins.items()} == {
        "victim": True,
        "shown": False,
        "builtin": False,
    }
