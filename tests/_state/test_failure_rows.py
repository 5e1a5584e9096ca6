"""Failures that outlive their process: real processes on one store, read by another one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import plugreg
from plugreg import Plugin, PluginRegistry, hookimpl, hookspec
from plugreg._state import failure_rows
from plugreg._support.identity import ProcessIdentity, is_gone, own_identity
from plugreg.mixins import SettingsMixin
from plugreg.records import PluginFailure, Stage
from plugreg.storage import MemoryStorage, TinyDBStorage

LONG = 60.0
"""Seconds after which a test gives up; what it waits for takes far less."""

PROCESS = """
import os, signal, sys
from plugreg import Plugin, PluginRegistry
from plugreg.mixins import SettingsMixin
from plugreg.storage import TinyDBStorage

class Broken(SettingsMixin, Plugin):
    SETTINGS = {"TOKEN": {"protected": True, "default": "open sesame"}}

    def __init__(self):
        raise ValueError("no open sesame")

registry = PluginRegistry(
    "shop", storage=TinyDBStorage(sys.argv[1]), builtin=[Broken], mandatory=["broken"],
    process=sys.argv[2] or None,
)
registry.load()
"""


def run(path, name="", end="", wait=True):
    """Run a process with a plugin that fails, which ends as *end* says."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROCESS) + end, str(path), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(plugreg.__file__).parents[1])},
    )
    if wait:
        process.communicate(timeout=LONG)
    return process


class Hooks:
    @hookspec
    def price(self, item): ...


class Faulty(SettingsMixin, Plugin):
    SETTINGS = {"TOKEN": {"protected": True}}
    fault = "no price"

    @hookimpl
    def price(self, item):
        raise ValueError(self.fault)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "plugins.json"


@pytest.fixture
def start(path):
    """Yield a function that loads a registry on the store."""
    started = []

    def start(**options):
        options.setdefault("storage", TinyDBStorage(path))
        registry = PluginRegistry("shop", hookspecs=[Hooks], **options)
        started.append(registry)
        registry.load()
        return registry

    yield start
    for registry in started:
        registry.close()


@pytest.mark.parametrize("end", ["", "os._exit(3)", "os.kill(os.getpid(), signal.SIGKILL)"])
@pytest.mark.parametrize("name", ["", "web"])
def test_failures_outlive_their_process(path, start, name, end):
    """However it ends, another process sees its failures, their times, and its identity."""
    process = run(path, name, end)
    registry = start(safe_mode=True)
    (failure,) = [each for each in registry.shared.failures() if each.slug == "broken"]
    assert (failure.stage, failure.count) == (Stage.INIT, 1)
    assert failure.message == "ValueError: no open sesame"
    assert "in __init__" in failure.traceback
    assert failure.first_seen.tzinfo is not None
    assert (failure.pid, failure.process) == (process.pid, name or "-c")
    assert not failure.is_running
    assert [each.slug for each in registry.errors] == ["safe-mode"]


def test_those_of_a_running_process_say_so(path, start):
    """As long as it runs."""
    process = run(path, "web", "print(flush=True); sys.stdin.read()", wait=False)
    assert process.stdout.readline() == b"\n"
    registry = start(safe_mode=True)
    assert [each.is_running for each in registry.shared.failures() if each.pid == process.pid] == [
        True
    ]
    process.communicate(timeout=LONG)
    assert not any(
        each.is_running for each in registry.shared.failures() if each.pid != os.getpid()
    )


def test_a_process_that_has_ended_is_listed_no_more(path, start):
    """Nobody waits three minutes to hear that a service is down."""
    process = run(path, "web", "print(flush=True); sys.stdin.read()", wait=False)
    assert process.stdout.readline() == b"\n"
    registry = start(safe_mode=True)
    assert process.pid in {each.pid for each in registry.shared.processes()}
    process.kill()
    process.communicate(timeout=LONG)
    assert process.pid not in {each.pid for each in registry.shared.processes()}


def test_the_next_process_of_the_name_replaces_them(path, start):
    """A repaired fault is not shown for a week; a process of another name leaves them alone."""
    run(path, "web")
    first = run(path, "web")
    second = run(path, "jobs")
    registry = start(safe_mode=True)
    pids = {each.pid for each in registry.shared.failures() if each.slug == "broken"}
    assert pids == {first.pid, second.pid}
    start(process="web")
    assert {each.process for each in registry.shared.failures() if each.slug == "broken"} == {
        "jobs"
    }


def test_a_value_that_is_protected_is_stored_in_no_byte(path, start):
    """It is scrubbed once more when it is stored, for it may have been set since."""
    registry = start(builtin=[Faulty], process="web")
    registry.activate("faulty")
    Faulty.fault = "no open sesame"
    try:
        registry.call("price", item="tea")
    finally:
        Faulty.fault = "no price"
    assert "open sesame" in registry.errors[0].message
    registry.settings("faulty").set("TOKEN", "open sesame")
    registry.close()
    rows = TinyDBStorage(path).read(failure_rows.FAILURES)
    assert "no ***" in json.dumps(rows)
    assert "open sesame" not in json.dumps(rows)


def test_at_most_twenty_of_a_plugin_and_only_what_has_changed(path, start):
    """A hundred kinds of failures do not fill the store; without a new one nothing is written."""
    storage = TinyDBStorage(path)
    registry = start(builtin=[Faulty], process="web", storage=storage)
    registry.activate("faulty")
    for number in range(50):
        Faulty.fault = "no price"
        registry._parts.ledger.record(
            PluginFailure(stage=Stage.CALL, slug="faulty", message=f"fault {number}")
        )
    registry._life.beat()
    revision = storage.revision()
    registry._life.beat()
    registry.errors, registry.shared.failures(), registry.repairs()
    assert storage.revision() == revision
    registry.close()
    (row,) = failure_rows.read(storage.read(failure_rows.FAILURES)).values()
    assert len(row.failures) == 20
    assert row.failures[0].message == "fault 49"


def test_a_load_without_failures_writes_none(path, start):
    """A command that loads and closes stores no row, and commits nothing the second time."""
    storage = TinyDBStorage(path)
    start(builtin=[Faulty], storage=storage).close()
    revision = storage.revision()
    start(builtin=[Faulty], storage=TinyDBStorage(path)).close()
    assert storage.revision() == revision
    assert not storage.read(failure_rows.FAILURES)


def test_a_damaged_row_costs_itself_alone(path, start):
    """Others are read all the same."""
    run(path, "web")
    storage = TinyDBStorage(path)
    with storage.transaction() as transaction:
        transaction.put(failure_rows.FAILURES, "damaged", {"failures": "none"})
    registry = start(safe_mode=True, storage=storage)
    assert [each.slug for each in registry.shared.failures()] == ["safe-mode", "broken"]


def test_memory_has_those_of_this_process(start):
    """There is no other process, and nothing is stored."""
    storage = MemoryStorage()
    registry = start(builtin=[Faulty], storage=storage)
    registry.activate("faulty")
    registry.call("price", item="tea")
    (failure,) = registry.shared.failures()
    assert (failure.slug, failure.pid) == ("faulty", os.getpid())
    assert not storage.read(failure_rows.FAILURES)


class TestIdentity:
    def test_this_process_runs(self):
        """And one that has its number, but was started at another time, has ended."""
        own = own_identity()
        assert is_gone(own) is False
        if own.started:
            assert is_gone(own._replace(started="1")) is True

    def test_a_child_has_ended_before_it_is_waited_for(self):
        """A process that its parent has not waited for is no longer at work."""
        code = "import sys; sys.stdin.read()"
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as child:
            started = "".join(_stat(child.pid)[19:20])
            identity = own_identity()._replace(pid=child.pid, started=started)
            assert is_gone(identity) is False
            child.send_signal(signal.SIGKILL)
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
            if started:
                assert is_gone(identity) is True
        assert is_gone(identity) is True

    def test_another_machine_is_not_known(self):
        """Nobody can look for its processes, nor for those of before a restart."""
        assert is_gone(ProcessIdentity("elsewhere", 1, "", "")) is None
        assert is_gone(own_identity()._replace(space="another boot")) is None


def _stat(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
