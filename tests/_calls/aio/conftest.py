"""Every test runs on asyncio and on trio, except tests of features that only one has."""

from __future__ import annotations

import pytest

from plugreg._calls import aio as async_calls
from plugreg._calls.aio import _jobs

LONG = 60.0


@pytest.fixture(params=["asyncio", "trio"])
def bench(request):
    from aio_bench import Bench

    return Bench(request.param)


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Cancelled code has all the time to clean up, however long the machine pauses."""
    for item in (_jobs, async_calls):
        monkeypatch.setattr(item, "CLEAN_UP_SECONDS", LONG)


@pytest.fixture
def quick(monkeypatch, patient):
    """Cancelled code has little time to clean up, for tests in which it never finishes."""
    monkeypatch.setattr(_jobs, "CLEAN_UP_SECONDS", 0.05)


@pytest.fixture
def hanging():
    from aio_bench import Hanging

    found = Hanging()
    yield found
    found.end()
