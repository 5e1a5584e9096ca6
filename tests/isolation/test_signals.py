"""Signals that reach a host during the call of an isolated plugin."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from plugreg import PluginTimeoutError
from plugreg.isolation import Isolated
from tests.isolation.test_faults import NEVER, VICTIM


@pytest.fixture
def signals() -> Iterator[list[int]]:
    """Have a signal come five times a second, as a profiler does, and fail after a minute."""
    seen: list[int] = []

    def handle(number: int, _: object) -> None:
        seen.append(number)
        if len(seen) > 300:
            raise AssertionError("the call has not ended")

    previous = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
    try:
        yield seen
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize("size", [0, 4_000_000])
def test_a_call_without_end_beside_signals(host: Any, signals: list[int], size: int) -> None:
    """A call has its time, though signals interrupt the wait for its end again and again.

    A long argument is not even taken by the process that is stopped.
    """
    host.write("victim", VICTIM.replace("globals()[what]()", "globals()[what.strip()]()"))
    registry = host.open({"victim": Isolated(timeout=1.0)}, circuit=NEVER)
    if size:
        os.kill(registry.get("victim").process.pid, signal.SIGSTOP)
    before = len(signals)

    outcome = registry.outcomes(host.hooks.act, what="hangs" + " " * size)[0]

    assert type(outcome.error) is PluginTimeoutError
    assert len(signals) > before
