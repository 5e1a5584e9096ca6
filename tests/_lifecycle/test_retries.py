"""When plugins that are not ready yet are tried again."""

from __future__ import annotations

import threading
import time

import pytest

from plugreg import (
    CircuitPolicy,
    NotReadyYet,
    Plugin,
    PluginFailure,
    PluginRegistry,
    PluginState,
    Stage,
    hookimpl,
    hookspec,
)
from plugreg._lifecycle.recording import Retries


def failure(slug, error):
    return PluginFailure.of(Stage.INIT, slug, error)


class Clock:
    now = 50.0

    def __call__(self):
        return self.now


def test_one_is_due_when_its_time_has_come():
    """Not sooner, and each by its own time."""
    clock = Clock()
    retries = Retries(clock)
    retries.note({"tea", "milk"}, [failure("tea", NotReadyYet(retry_after=5))])
    retries.note({"cup"}, [failure("cup", NotReadyYet(retry_after=9))])
    assert retries.due() == frozenset()

    clock.now += 5
    assert retries.due() == {"tea"}
    clock.now += 4
    assert retries.due() == {"tea", "cup"}


def test_what_was_tried_since_is_not_due():
    """Whatever the result; a plugin that was not tried stays."""
    clock = Clock()
    retries = Retries(clock)
    retries.note({"tea", "milk"}, [failure(name, NotReadyYet()) for name in ("tea", "milk")])
    clock.now += 100
    retries.note({"tea"}, [failure("tea", ValueError("no"))])

    assert retries.due() == {"milk"}


def test_other_failures_are_no_reason():
    """A plugin that is broken is not tried again by itself."""
    clock = Clock()
    retries = Retries(clock)
    retries.note({"tea"}, [failure("tea", OSError("away"))])
    clock.now += 1_000

    assert retries.due() == frozenset()


class Lying(NotReadyYet):
    retry_after = property(lambda _: 1 / 0)

    def __init__(self):
        Exception.__init__(self)


class Endless(NotReadyYet):
    retry_after = float("nan")

    def __init__(self):
        Exception.__init__(self)


def test_one_that_cannot_say_when_is_a_failure_like_others():
    """It is recorded, and not tried again by itself."""
    for kind in (Lying, Endless):
        assert failure("tea", kind()).retry_after is None
    assert failure("tea", NotReadyYet(retry_after=5)).retry_after == 5


class Waiting(Plugin):
    """Needs a service that is not there at first."""

    NAME = "waiting"
    tries = 0
    is_there = False

    def __init__(self):
        type(self).tries += 1
        if not self.is_there:
            raise NotReadyYet("its service is away", retry_after=0.05)


@pytest.fixture
def waiting():
    """Return a class of plugin of its own."""
    return type("Waiting", (Waiting,), {})


def until(holds):
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.005)


def test_a_plugin_comes_into_service_once_its_service_is_there(waiting):
    """A process that watches tries it again and again; others stay as they are."""
    other = type("Other", (Plugin,), {"NAME": "other"})
    with PluginRegistry("shop", builtin=[waiting, other], new_plugins="active") as registry:
        registry.load()
        plugin = registry.get("other").plugin
        record = registry.get("waiting")
        assert record.state is PluginState.FAILED
        assert "its service is away; it is tried again after 0.05 seconds" in record.reason
        with registry.watch(every=0.01):
            until(lambda: waiting.tries > 3)
            waiting.is_there = True
            until(lambda: registry.get("waiting").active)
            tries = waiting.tries
            until(lambda: not registry.errors)
        assert waiting.tries == tries
        assert registry.get("other").plugin is plugin


def test_nobody_tries_without_being_asked_to_look(waiting):
    """A read tries nothing, and neither does a process that does not watch."""
    with PluginRegistry("shop", builtin=[waiting], new_plugins="active") as registry:
        registry.load()
        time.sleep(0.06)  # Its time has come.
        registry.get("waiting")
        registry.refresh()
        assert waiting.tries == 1


def test_one_that_was_switched_off_is_not_tried(waiting):
    """Whatever it had asked for."""
    with PluginRegistry("shop", builtin=[waiting], new_plugins="active") as registry:
        registry.load()
        registry.deactivate("waiting")
        time.sleep(0.06)  # Its time would have come.
        registry.shared._tick()
        assert waiting.tries == 1


def test_threads_that_find_it_due_at_once_try_it_once(monkeypatch):
    """Who has waited for another one's try looks again whether it is time."""
    asked, tries = [], []
    second = threading.Thread(target=lambda: registry.shared._tick())

    class Away(Plugin):
        NAME = "away"

        def __init__(self):
            tries.append(self)
            if len(tries) == 2:
                second.start()
                until(lambda: second in asked)
            raise NotReadyYet("its service is away", retry_after=1_000 if tries[1:] else 0.001)

    with PluginRegistry("shop", builtin=[Away], new_plugins="active") as registry:
        registry.load()
        retries = registry._life.retries
        due = retries.due
        until(due)

        def noting():
            found = due()
            asked.append(threading.current_thread())
            return found

        monkeypatch.setattr(retries, "due", noting)
        registry.shared._tick()
        second.join(60)

        assert len(tries) == 2
        assert not due()


class Pouring:
    @hookspec
    def pour(self):
        """Pour."""


def test_a_plugin_that_is_made_anew_has_a_closed_circuit():
    """Failures of its earlier object are forgotten."""

    class Broken(Plugin):
        NAME = "broken"

        @hookimpl
        def pour(self):
            raise OSError("no water")

    policy = CircuitPolicy(max_failures=1)
    with PluginRegistry("shop", builtin=[Broken], new_plugins="active", circuit=policy) as registry:
        registry.manager.add_hookspecs(Pouring)
        registry.load()
        registry.call("pour")
        assert registry.get("broken").circuit == "open"
        registry.reload()
        assert registry.get("broken").circuit == "open"
        registry.deactivate("broken")
        assert registry.activate("broken").circuit == "closed"
