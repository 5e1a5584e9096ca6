"""A bench for asynchronous calls, and implementations that fail, hang or wait.

The host and the async plugins of these tests are written with anyio, which serves asyncio and trio.
"""

from __future__ import annotations

import os
import threading
from types import SimpleNamespace

import pytest

from plugreg._calls.dispatcher import Dispatcher
from plugreg.hooks import PluginManager, hookimpl, hookspec
from plugreg.records import PluginFailure, Stage

try:
    import anyio
    import trio  # noqa: F401 - tests import it from here.
except ImportError:  # pragma: no cover
    _reason = "anyio and trio are not installed; pip install 'anyio[trio]'"
    if os.environ.get("PLUGREG_TEST_NO_SKIP") == "1":
        pytest.fail(f"{_reason}. PLUGREG_TEST_NO_SKIP=1 forbids to skip")
    pytest.skip(_reason, allow_module_level=True)

SHORT = 0.25
"""Seconds after which what hangs in a test is out of time, and what does not hang has ended."""

LONG = 60.0
"""Seconds that no test waits for, unless it fails."""


class Hooks:
    @hookspec
    def price(self, item, currency="EUR"):
        """Price of an item."""

    @hookspec(firstresult=True)
    def owner(self, item):
        """Owner of an item."""


class Own(BaseException):
    """A plugin's own exception that is no Exception."""


class Bench:
    """A manager with a dispatcher, and the faults that were recorded."""

    def __init__(self, backend="asyncio", timeout=None):
        self.backend = backend
        self.manager = PluginManager("shop")
        self.manager.add_hookspecs(Hooks)
        self.dispatch = Dispatcher(self.manager, self._record, timeout=timeout)
        self.failures = []
        self.recorded_in = set()

    def _record(self, slug, hook, error):
        failure = PluginFailure.of(Stage.CALL, slug, error, subject=hook)
        self.failures.append(failure)
        self.recorded_in.add(threading.current_thread())
        return failure

    @property
    def faults(self):
        return [
            (failure.slug, failure.exception_type.rpartition(".")[2]) for failure in self.failures
        ]

    def add(self, hook="price", /, **functions):
        """Exchange in a plugin for each function; they are called in the order given."""
        for name, item in functions.items():
            self._exchange(hook, hookimpl(item), name, -1)

    def wrap(self, function, *, hook="price", name="wrapper", old=False):
        """Exchange in a wrapper; a later one is the outer one."""
        marker = hookimpl(hookwrapper=True) if old else hookimpl(wrapper=True)
        self._exchange(hook, marker(function), name, 1)

    def _exchange(self, hook, function, name, sign):
        plugin = SimpleNamespace(**{hook: function})
        rank = (sign * len(self.manager.list_name_plugin()),)
        self.manager.exchange((), [self.manager.implementations(plugin, name, rank)])

    def run(self, function):
        """Run an async function on a loop of its own, and return its result."""
        return anyio.run(function, backend=self.backend)

    def call(self, hook="price", timeout=None):
        """Call on a loop of its own."""
        dispatch = self.dispatch if timeout is None else self.dispatch.bind(timeout=timeout)
        return self.run(lambda: dispatch.acall(hook, item="tea"))

    def outcomes(self, timeout=None):
        """Ask for outcomes on a loop of its own."""
        dispatch = self.dispatch if timeout is None else self.dispatch.bind(timeout=timeout)
        return self.run(lambda: dispatch.aoutcomes("price", item="tea"))


class Hanging:
    """A synchronous implementation that hangs until it is let go."""

    def __init__(self):
        self.is_in = threading.Event()
        self.go = threading.Event()
        self.threads = []

    def __call__(self, item):
        self.threads.append(threading.current_thread())
        self.is_in.set()
        assert self.go.wait(LONG)
        return "late"

    def end(self):
        """Let it go, and wait until its threads have ended."""
        self.go.set()
        for thread in self.threads:
            thread.join(LONG)
            assert not thread.is_alive()


def impl(function):
    """Return a plain function, as hook implementations must be, that calls ``function``."""

    def price(item):
        return function(item)

    return price


def raising(error):
    def price(item):
        raise error

    return price


def raising_async(error):
    async def price(item):
        raise error

    return price


async def forever(item):
    await anyio.sleep(LONG)


async def until(event):
    """Wait, on the loop, for an event of threads."""
    with anyio.fail_after(LONG):
        while not event.is_set():
            await anyio.sleep(0.001)
