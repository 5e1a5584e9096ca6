"""A forked child waits for no lock that a thread of its parent held at that moment."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from plugreg import CircuitPolicy, PluginFailure, Stage
from plugreg._calls.circuits import Circuits
from plugreg._state.ledger import FailureLedger
from plugreg.hooks import PluginManager
from plugreg.observation import Observation

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

PATIENCE = 10


def while_held(hold, work):
    """Fork while ``hold(block)`` is blocked; return how the child that does ``work`` ended."""
    held, let_go = threading.Event(), threading.Event()

    def block(*_):
        if threading.current_thread() is thread:
            held.set()
            assert let_go.wait(PATIENCE)
        return time.monotonic()

    thread = threading.Thread(target=hold, args=[block])
    thread.start()
    try:
        assert held.wait(PATIENCE)
        pid = os.fork()
        if pid == 0:
            try:
                signal.alarm(PATIENCE)
                work()
                os._exit(0)
            finally:
                os._exit(1)
        return os.waitpid(pid, 0)[1]
    finally:
        let_go.set()
        thread.join(PATIENCE)


def test_the_ledger():
    ledger = FailureLedger()
    failure = PluginFailure(stage=Stage.CALL, slug="tea", message="no")
    ledger.record(failure)

    def work():
        ledger.record(failure)
        assert ledger.all()[0].count == 2

    assert while_held(lambda block: ledger.replace((), lambda _: not block()), work) == 0


def test_circuits():
    clock = [time.monotonic]
    circuits = Circuits(CircuitPolicy(max_failures=1), clock=lambda: clock[0]())
    circuits.record_failure(circuits.admit("tea"))

    def hold(block):
        clock[0] = block
        circuits.state("tea")

    def work():
        circuits.reset("tea")
        assert circuits.state("tea") == "closed"

    assert while_held(hold, work) == 0


def test_hooks():
    """An exchange that was decided on is carried out in the child, too."""
    manager = PluginManager("shop")
    published = []

    def hold(block):
        manager.exchange((), (), lambda: (published.append(1), block()))

    def work():
        manager.exchange((), (), lambda: published.append(2))
        assert published == [1, 1, 2]

    assert while_held(hold, work) == 0


def test_the_observation():
    observation = Observation()

    def hold(block):
        class Slug(str):
            """One that is looked up slowly."""

            def __hash__(self):
                block()
                return super().__hash__()

        observation.ended(observation.began(Slug("tea"), "price"), None)
        observation.stats()

    assert while_held(hold, observation.stats) == 0
