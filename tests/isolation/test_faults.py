"""Every way in which an isolated plugin can go wrong costs itself alone, again and again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from plugreg import CircuitPolicy, PluginDiedError, PluginTimeoutError, Stage, ValueNotSentError
from plugreg.isolation import Isolated

NEVER = CircuitPolicy(max_failures=10_000)
"""Lets each round reach the plugin."""

VICTIM = """
import os, signal, sys, threading, time
from plugreg import hookimpl

@hookimpl
def act(what):
    return globals()[what]()

def well():
    return "well"

def raises():
    raise ValueError("wrong")

def stops():
    return next(iter([]))

def sys_exit():
    sys.exit(7)

def os_exit():
    os._exit(8)

def segfault():
    os.kill(os.getpid(), signal.SIGSEGV)

def killed():
    os.kill(os.getpid(), signal.SIGKILL)

def loops():
    while True:
        pass

def hangs():
    time.sleep(1000)

def eats():
    held = []
    while True:
        held.append(bytearray(16 * 2**20))

def burns():
    while True:
        sum(range(10_000))

def floods():
    for _ in range(10):
        sys.stdout.write("x" * 99 + "\\n")
        sys.stdout.write(("y" * 99 + "\\n") * 10_000)
    return "flooded"

def imitates():
    for descriptor in (1, 2):
        for number in range(1, 50):
            body = b'%d value\\n"imitated"' % number
            os.write(descriptor, len(body).to_bytes(4, "big") + body)
    return "honest"

def scribbles():
    import stat
    for descriptor in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                os.write(descriptor, b"\\xff" * 64)
        except OSError:
            pass
    return "scribbled"

def forks():
    if os.fork() == 0:
        os.setsid()
        time.sleep(1000)
    return "forked"

def forks_and_returns():
    os.fork()
    return "both"

def no_result():
    return object()

def large():
    return "z" * 100_000_000
"""


@pytest.mark.parametrize(
    ("what", "exitcode", "number"),
    [
        ("sys_exit", 7, None),
        ("os_exit", 8, None),
        ("segfault", None, signal.SIGSEGV),
        ("killed", None, signal.SIGKILL),
    ],
)
def test_a_plugin_that_dies_is_an_outcome(
    host: Any, what: str, exitcode: int | None, number: int | None
) -> None:
    """Death is one outcome with code or signal; the neighbour serves, and the next call works."""
    host.write("victim", VICTIM)
    host.write("neighbour", host.neighbour)
    registry = host.open(circuit=NEVER)
    for _ in range(host.rounds):
        outcomes = {o.slug: o for o in registry.outcomes(host.hooks.act, what=what)}
        error = outcomes["victim"].error

        assert type(error) is PluginDiedError
        assert (error.slug, error.exitcode, error.signal) == ("victim", exitcode, number)
        assert outcomes["neighbour"].value == "healthy"
        assert sorted(registry.call(host.hooks.act, what="well")) == ["healthy", "well"]
    [failure] = registry.get("victim").errors
    assert (failure.stage, failure.count) == (Stage.CALL, host.rounds)


def test_a_crash_says_where(host: Any) -> None:
    """A crash's output to stderr is part of the error."""
    host.write("victim", VICTIM)
    registry = host.open()
    [outcome] = registry.outcomes(host.hooks.act, what="segfault")

    assert type(outcome.error) is PluginDiedError
    assert "in segfault" in outcome.error.stderr


def test_an_exception_is_that_of_the_plugin(host: Any) -> None:
    """An exception of the plugin is told as one of the host is, with the plugin's traceback."""
    host.write("victim", VICTIM)
    registry = host.open(circuit=NEVER)
    before = registry.get("victim").process.pid
    for _ in range(host.rounds):
        [outcome] = registry.outcomes(host.hooks.act, what="raises")

        assert type(outcome.error) is ValueError
        assert str(outcome.error) == "wrong"
        assert outcome.failure.message == "hook 'act': ValueError: wrong"
        assert "in raises" in outcome.failure.traceback
    assert registry.get("victim").process.pid == before


def test_an_exception_that_ends_iterations(host: Any) -> None:
    """StopIteration is the plugin's fault as any other exception."""
    host.write("victim", VICTIM)
    registry = host.open(circuit=NEVER)
    [outcome] = registry.outcomes(host.hooks.act, what="stops")

    assert type(outcome.error) is StopIteration
    assert outcome.failure.message == "hook 'act': StopIteration"


def test_a_signal_from_outside(host: Any) -> None:
    """A process that somebody kills is replaced; one more outcome may be an error."""
    host.write("victim", VICTIM)
    registry = host.open(circuit=NEVER)
    for _ in range(host.rounds):
        os.kill(registry.get("victim").process.pid, signal.SIGKILL)

        assert host.eventually(lambda: registry.call(host.hooks.act, what="well") == ["well"])


def test_a_guardian_that_is_killed(host: Any) -> None:
    """Whoever kills the guardian leaves nothing either."""
    host.write("victim", VICTIM)
    registry = host.open(circuit=NEVER)
    for _ in range(host.rounds):
        pid = registry.get("victim").process.pid
        parent = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
        os.kill(parent, signal.SIGKILL)
        registry.outcomes(host.hooks.act, what="os_exit")

        assert host.eventually(lambda: registry.call(host.hooks.act, what="well") == ["well"])
        assert not host.is_there(pid)


@pytest.mark.parametrize("what", ["loops", "hangs"])
def test_a_call_without_end(host: Any, what: str) -> None:
    """A call beyond its time is ended with its process."""
    host.write("victim", VICTIM)
    registry = host.open({"victim": Isolated(timeout=0.3)}, circuit=NEVER)
    for _ in range(host.few):
        pid = registry.get("victim").process.pid
        [outcome] = registry.outcomes(host.hooks.act, what=what)

        assert type(outcome.error) is PluginTimeoutError
        assert host.eventually(lambda pid=pid: not host.is_there(pid))
        assert host.eventually(lambda: registry.call(host.hooks.act, what="well") == ["well"])


def test_memory(host: Any) -> None:
    """Memory beyond the limit ends the process, and the host loses none."""
    host.write("victim", VICTIM)
    options = Isolated(timeout=host.wait, memory=512 * 2**20)
    registry = host.open({"victim": options}, circuit=NEVER)
    for _ in range(host.few):
        [outcome] = registry.outcomes(host.hooks.act, what="eats")

        assert type(outcome.error) is PluginDiedError
        assert "MemoryError" in outcome.error.stderr
        assert registry.call(host.hooks.act, what="well") == ["well"]


def test_cpu(host: Any) -> None:
    """CPU time beyond the limit ends the process; a call counts from its own beginning."""
    host.write("victim", VICTIM)
    registry = host.open({"victim": Isolated(timeout=60, cpu_seconds=1)}, circuit=NEVER)
    for _ in range(host.few):
        [outcome] = registry.outcomes(host.hooks.act, what="burns")

        assert type(outcome.error) is PluginDiedError
        assert outcome.error.signal == signal.SIGXCPU
        assert registry.call(host.hooks.act, what="well") == ["well"]


def test_a_flood_on_stdout(host: Any) -> None:
    """Ten megabytes on stdout block nobody."""
    host.write("victim", VICTIM)
    registry = host.open()
    for _ in range(host.few):
        assert registry.call(host.hooks.act, what="floods") == ["flooded"]


def test_prints_do_not_imitate_the_protocol(host: Any) -> None:
    """Whatever the plugin prints is text, although it looks like an answer."""
    host.write("victim", VICTIM)
    registry = host.open()
    for _ in range(host.rounds):
        assert registry.call(host.hooks.act, what="imitates") == ["honest"]


def test_scribbling_on_the_sockets(host: Any) -> None:
    """A plugin that writes over its own protocol costs an outcome or two, and is started again."""
    host.write("victim", VICTIM)
    registry = host.open(circuit=NEVER)
    for _ in range(host.rounds):
        [outcome] = registry.outcomes(host.hooks.act, what="scribbles")

        assert outcome.error is None or type(outcome.error) is PluginDiedError
        assert host.eventually(lambda: registry.call(host.hooks.act, what="well") == ["well"])


def test_forked_grandchildren_go_along(host: Any) -> None:
    """A process that the plugin forks ends with it, though it has left the session."""
    host.write("victim", VICTIM)
    registry = host.open(circuit=NEVER)
    for _ in range(host.rounds):
        assert registry.call(host.hooks.act, what="well") == ["well"]
        before = host.processes()
        assert registry.call(host.hooks.act, what="forks") == ["forked"]
        forked = host.processes() - before
        assert len(forked) == 1
        registry.outcomes(host.hooks.act, what="os_exit")
        assert host.eventually(lambda forked=forked: not any(map(host.is_there, forked)))


def test_a_fork_that_returns_answers_once(host: Any) -> None:
    """The copy of a plugin that forks and goes on in the hook answers nothing."""
    host.write("victim", VICTIM)
    registry = host.open()
    for _ in range(host.rounds):
        assert registry.call(host.hooks.act, what="forks_and_returns") == ["both"]
        assert registry.call(host.hooks.act, what="well") == ["well"]


def test_a_result_that_cannot_be_sent(host: Any) -> None:
    """A result that is no data is a typed error, and reaches nobody."""
    host.write("victim", VICTIM)
    registry = host.open(circuit=NEVER)
    for _ in range(host.rounds):
        [outcome] = registry.outcomes(host.hooks.act, what="no_result")
        error = outcome.error

        assert type(error) is ValueNotSentError
        assert (error.hook, error.argument, error.type) == ("act", "result", "object")
        assert registry.call(host.hooks.act, what="well") == ["well"]


def test_a_large_result(host: Any) -> None:
    """A result of 100 MB arrives whole."""
    host.write("victim", VICTIM)
    registry = host.open()
    for _ in range(host.few):
        [value] = registry.call(host.hooks.act, what="large")

        assert len(value) == 100_000_000


REST = "\nfrom plugreg import hookimpl\n@hookimpl\ndef act(what): return what"

BROKEN = {
    "import dies": ("import os; os._exit(3)" + REST, Stage.IMPORT, "PluginDiedError"),
    "import raises": ("raise KeyError('x')" + REST, Stage.IMPORT, "KeyError"),
    "import exits": ("import sys; sys.exit(3)" + REST, Stage.IMPORT, "SystemExit"),
    "import hangs": ("import time; time.sleep(1000)" + REST, Stage.IMPORT, "PluginTimeoutError"),
    "constructor dies": (
        "import os\nfrom plugreg import Plugin\n"
        "class Victim(Plugin):\n def __init__(self): os._exit(3)",
        Stage.INIT,
        "PluginDiedError",
    ),
    "import announces what is no stage, and dies": (
        "import json, os, socket\nfor number in range(3, 60):\n    try:\n"
        "        data = json.dumps({'stage': 'garbage'}).encode()\n"
        "        line = socket.socket(fileno=os.dup(number))\n"
        "        line.send(len(data).to_bytes(4, 'big') + data)\n"
        "    except OSError:\n        pass\n"
        "os._exit(3)" + REST,
        Stage.IMPORT,
        "PluginDiedError",
    ),
    "activation dies": (
        "import os\nfrom plugreg import hookimpl\n@hookimpl\ndef plugreg_activated(): os._exit(3)",
        Stage.ACTIVATE,
        "PluginDiedError",
    ),
    "activation hangs": (
        "import time\nfrom plugreg import hookimpl\n@hookimpl\n"
        "def plugreg_activated(): time.sleep(1000)",
        Stage.ACTIVATE,
        "PluginTimeoutError",
    ),
    "activation raises": (
        "from plugreg import hookimpl\n@hookimpl\ndef plugreg_activated(): raise KeyError('x')",
        Stage.ACTIVATE,
        "KeyError",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_fault_before_service(host: Any, fault: str) -> None:
    """Each stage's fault is the failure of that stage, and the neighbour comes into service."""
    source, stage, kind = BROKEN[fault]
    host.write("victim", source)
    host.write("neighbour", host.neighbour)
    seconds = 1.0 if "hangs" in fault else host.wait
    registry = host.open({"victim": Isolated(start_timeout=seconds)})
    for _ in range(host.few):
        failures = registry.get("victim").errors

        assert [failure.stage for failure in failures] == [stage]
        assert str(failures[0].exception_type).endswith(kind)
        assert registry.get("victim").state == "failed"
        assert registry.call(host.hooks.act, what="well") == ["healthy"]
        registry.reload(force=True)


def test_reload_and_deactivation_under_way(host: Any) -> None:
    """Calls that run while the plugin is reloaded or switched off end, one way or another."""
    host.write("victim", VICTIM.replace("def well():", "def well():\n    time.sleep(0.05)"))
    registry = host.open(circuit=NEVER)
    for _ in range(host.few):
        found: list[Any] = []
        callers = [
            threading.Thread(
                target=lambda found=found: found.extend(
                    registry.outcomes(host.hooks.act, what="well")
                )
            )
            for _ in range(4)
        ]
        for caller in callers:
            caller.start()
        registry.reload(force=True)
        registry.deactivate("victim")
        for caller in callers:
            caller.join()
        assert all(outcome.value == "well" or outcome.error is not None for outcome in found)
        assert registry.call(host.hooks.act, what="well") == []
        assert registry.get("victim").process is None
        registry.activate("victim")
        assert registry.call(host.hooks.act, what="well") == ["well"]


HOST = """
import sys, time
from plugreg import PluginRegistry
from plugreg.isolation import Isolated
registry = PluginRegistry("shop", directories=[sys.argv[1]], new_plugins="active",
                          isolate=Isolated())
registry.load()
import threading
def call():
    registry.call("act", what=sys.argv[2])
if sys.argv[2]:
    threading.Thread(target=call, daemon=True).start()
    time.sleep(0.3)
print(registry.get("victim").process.pid, flush=True)
time.sleep(1000)
"""

STUCK = """
import ctypes
from plugreg import hookimpl
@hookimpl
def act(what):
    ctypes.PyDLL(None).sleep(1000)  # It holds the GIL.
"""


@pytest.mark.parametrize("what", ["", "act"], ids=["idle", "holding the GIL"])
def test_no_child_outlives_its_host(host: Any, what: str) -> None:
    """A host that is killed leaves no child, not even one that holds its GIL."""
    host.write("victim", STUCK)
    for _ in range(host.few):
        process = subprocess.Popen(
            [sys.executable, "-c", HOST, str(host.folder), what], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        with process.stdout:
            pid = int(process.stdout.readline())
            assert host.is_there(pid)
            process.kill()
            process.wait()
        assert host.eventually(lambda pid=pid: not host.is_there(pid))
