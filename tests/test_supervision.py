"""What stands round calls where the host asks for it: circuits, observers, health."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from plugreg import (
    CircuitOpenError,
    CircuitPolicy,
    Plugin,
    PluginNotFoundError,
    PluginRegistry,
    hookimpl,
    hookspec,
)

NEVER = CircuitPolicy(max_failures=3, within=1_000, cool_down=1_000, longest=1_000)


class Specs:
    @hookspec
    def price(self, item: str) -> float | None:
        """Return the price of an item."""


class Tea(Plugin):
    """Fails as long as it is told to."""

    NAME = "tea"
    is_broken = True
    calls = 0

    @hookimpl
    def price(self, item):
        self.calls += 1
        if self.is_broken:
            raise ValueError("the kettle is cold")
        return 3.0


class Milk(Plugin):
    NAME = "milk"

    @hookimpl
    def price(self, item):
        return 1.0


@pytest.fixture
def tea():
    return Tea()


@pytest.fixture
def open_registry(tea):
    """Give a function that makes a loaded registry with two plugins."""
    opened = []

    def make(**options):
        registry = PluginRegistry(
            "shop", hookspecs=[Specs], builtin=[tea, Milk], new_plugins="active", **options
        )
        opened.append(registry)
        registry.load()
        return registry

    yield make
    for each in opened:
        each.close()


class TestCircuits:
    def test_a_plugin_that_fails_again_and_again_gets_no_more_calls(self, open_registry, tea):
        """The others are called as before, and the operator sees why."""
        registry = open_registry(circuit=NEVER)
        for _ in range(10):
            assert registry.call(Specs.price, item="tea") == [1.0]

        assert tea.calls == 3
        record = registry.get("tea")
        assert (record.circuit, record.active) == ("open", True)
        assert registry.get("milk").circuit == "closed"
        messages = {each.subject: each.message for each in record.errors}
        assert "registry.reset('tea')" in messages["circuit"]
        [fault] = [each for each in record.errors if each.subject == "price"]
        assert fault.count == 3

    def test_its_outcome_says_that_it_was_not_called(self, open_registry):
        """It is an error without a failure record, since there is one of the circuit."""
        registry = open_registry(circuit=NEVER)
        for _ in range(3):
            registry.call(Specs.price, item="tea")
        found = {each.slug: each for each in registry.outcomes(Specs.price, item="tea")}

        assert type(found["tea"].error) is CircuitOpenError
        assert found["tea"].failure is None
        assert found["milk"].value == 1.0

    def test_every_kind_of_call_counts(self, open_registry, tea):
        """The first result and outcomes as well."""
        registry = open_registry(circuit=NEVER)
        registry.first(Specs.price, item="tea")
        registry.outcomes(Specs.price, item="tea")
        next(registry.dispatch.iterate("price", item="tea"), None)
        registry.call(Specs.price, item="tea")

        assert tea.calls == 3
        assert registry.get("tea").circuit == "open"

    def test_one_call_is_tried_after_a_while(self, open_registry, tea):
        """If it goes well the plugin is back, and its circuit is no failure any more."""
        policy = CircuitPolicy(max_failures=1, within=10, cool_down=0.05, longest=0.05)
        registry = open_registry(circuit=policy)
        registry.call(Specs.price, item="tea")
        tea.is_broken = False
        while not (found := registry.call(Specs.price, item="tea"))[1:]:
            assert found == [1.0]
            time.sleep(0.005)

        assert tea.calls == 2
        assert registry.get("tea").circuit == "closed"
        assert [each.subject for each in registry.get("tea").errors] == ["price"]

    def test_an_operator_can_close_it(self, open_registry, tea):
        """At once; a plugin that nobody knows is an error."""
        registry = open_registry(circuit=NEVER)
        for _ in range(3):
            registry.call(Specs.price, item="tea")
        tea.is_broken = False
        assert registry.reset("tea").circuit == "closed"

        assert sorted(registry.call(Specs.price, item="tea")) == [1.0, 3.0]
        with pytest.raises(PluginNotFoundError):
            registry.reset("coffee")

    def test_without_a_policy_a_plugin_is_called_for_ever(self, open_registry, tea):
        """It is off by default."""
        registry = open_registry()
        for _ in range(20):
            registry.call(Specs.price, item="tea")

        assert tea.calls == 20

    def test_an_error_of_that_kind_of_a_plugins_own_is_a_failure(self, open_registry, tea):
        """A plugin cannot keep its faults out of the records."""
        registry = open_registry(circuit=NEVER)
        tea.price = None
        registry.register(Lying(), slug="lying")
        registry.call(Specs.price, item="tea")

        [failure] = registry.get("lying").errors
        assert "CircuitOpenError" in failure.message

    def test_ctrl_c_says_nothing_of_the_plugin(self, open_registry, tea):
        """It passes, and does not open the circuit."""
        registry = open_registry(circuit=CircuitPolicy(max_failures=1))
        registry.register(Stopping(), slug="stopping")
        with pytest.raises(KeyboardInterrupt):
            registry.call(Specs.price, item="tea")

        assert registry.get("stopping").circuit == "closed"


class Lying(Plugin):
    @hookimpl
    def price(self, item):
        raise CircuitOpenError("lying")


class Stopping(Plugin):
    @hookimpl(trylast=True)
    def price(self, item):
        raise KeyboardInterrupt


class TestObserving:
    def test_calls_are_counted_and_timed_by_plugin_and_hook(self, open_registry):
        """Errors too; the slowest is first."""
        registry = open_registry(observe=True)
        for _ in range(4):
            registry.call(Specs.price, item="tea")
        found = {(each.slug, each.hook): each for each in registry.dispatch.stats()}

        assert (found["tea", "price"].calls, found["tea", "price"].errors) == (4, 4)
        assert (found["milk", "price"].calls, found["milk", "price"].errors) == (4, 0)
        for each in found.values():
            assert 0 < each.worst <= each.seconds
        times = [each.seconds for each in registry.dispatch.stats()]
        assert times == sorted(times, reverse=True)

    def test_a_call_that_hangs_is_seen_while_it_hangs(self, open_registry):
        """With the plugin, the hook, and the place where it hangs."""
        registry = open_registry(observe=True)
        hanging = Hanging()
        registry.register(hanging, slug="hanging")
        thread = threading.Thread(target=registry.call, args=("price",), kwargs={"item": "tea"})
        thread.start()
        assert hanging.began.wait(30)
        [call] = registry.dispatch.running()
        hanging.end.set()
        thread.join()

        assert (call.slug, call.hook, call.thread) == ("hanging", "price", thread.name)
        assert "self.end.wait" in call.stack
        assert registry.dispatch.running() == ()

    def test_short_calls_can_be_left_out(self, open_registry):
        """Only those that are longer under way are listed."""
        registry = open_registry(observe=True)
        seen = []
        registry.register(Asking(lambda: seen.extend(registry.dispatch.running(1_000))), slug="a")
        registry.call(Specs.price, item="tea")

        assert seen == []

    def test_nothing_is_kept_unless_the_host_asks(self, open_registry):
        """There are no figures, and no calls under way."""
        registry = open_registry()
        seen = []
        registry.register(Asking(lambda: seen.append(registry.dispatch.running())), slug="a")
        registry.call(Specs.price, item="tea")

        assert registry.dispatch.stats() == ()
        assert seen == [()]

    def test_a_hosts_own_observer_is_told_of_each_call(self, open_registry):
        """In the thread that makes it, with what was raised; plugreg counts as well."""
        observer = Observer()
        registry = open_registry(observe=[observer])
        registry.call(Specs.price, item="tea")

        assert sorted(observer.told) == [
            ("milk", "price", "began"),
            ("milk", "price", "ended: None"),
            ("tea", "price", "began"),
            ("tea", "price", "ended: ValueError"),
        ]
        assert len(registry.dispatch.stats()) == 2

    def test_an_observer_that_fails_costs_no_result(self, open_registry, caplog):
        """It is in the log, and in no plugin's records."""
        registry = open_registry(observe=[BrokenObserver()])
        with caplog.at_level(logging.WARNING, "plugreg"):
            assert registry.call(Specs.price, item="tea") == [1.0]

        assert "an observer of calls, a BrokenObserver, failed: ValueError: no" in caplog.text
        assert [each.subject for each in registry.errors] == ["price"]


class Hanging(Plugin):
    def __init__(self):
        self.began, self.end = threading.Event(), threading.Event()

    @hookimpl
    def price(self, item):
        self.began.set()
        self.end.wait(60)


class Asking(Plugin):
    def __init__(self, ask):
        self.ask = ask

    @hookimpl
    def price(self, item):
        self.ask()


class Observer:
    def __init__(self):
        self.told = []

    def began(self, slug, hook):
        self.told.append((slug, hook, "began"))
        return slug, hook

    def ended(self, token, error):
        kind = None if error is None else type(error).__name__
        self.told.append((*token, f"ended: {kind}"))


class BrokenObserver:
    def began(self, slug, hook):
        raise ValueError("no")

    def ended(self, token, error):
        raise ValueError("never told of what did not begin")


class Feeling(Plugin):
    def __init__(self, feeling):
        self.feeling = feeling

    @hookimpl
    def plugreg_health(self):
        if isinstance(self.feeling, Exception):
            raise self.feeling
        return self.feeling


class TestHealth:
    @pytest.mark.parametrize(
        ("feeling", "detail"),
        [
            (None, ""),
            (True, ""),
            ("the kettle is empty", "the kettle is empty"),
            (False, "it says that it is not well"),
            (7, "its plugreg_health() must give None, True or a text, not 7"),
            (OSError("no water"), "hook 'plugreg_health': OSError: no water"),
        ],
    )
    def test_plugins_say_how_they_are(self, open_registry, feeling, detail):
        """What is wrong is a text; one that fails in saying it is not well."""
        registry = open_registry()
        registry.register(Feeling(feeling), slug="feeling")
        [health] = registry.health()

        assert (health.slug, health.is_well, health.detail) == ("feeling", not detail, detail)

    def test_mandatory_and_critical_plugins_decide_whether_it_is_ready(self, open_registry):
        """Before the load it is not, and without one of them neither."""
        registry = PluginRegistry("shop", builtin=[Tea, Milk], critical=["milk"])
        assert not registry.ready
        registry.load()
        assert not registry.ready
        registry.activate("milk")
        assert registry.ready
        registry.close()
        assert not registry.ready

        mandatory = PluginRegistry("shop", builtin=[("cup", "nowhere:Cup")], mandatory=["cup"])
        mandatory.load()
        assert not mandatory.ready
        mandatory.close()

    def test_an_open_circuit_of_a_critical_plugin_is_not_ready(self, open_registry):
        """Of any other plugin it says nothing."""
        for critical, is_ready in (("tea", False), ("milk", True)):
            registry = open_registry(circuit=NEVER, critical=[critical])
            assert registry.ready
            for _ in range(3):
                registry.call(Specs.price, item="tea")
            assert registry.ready is is_ready
            registry.reset("tea")
            assert registry.ready

    def test_a_plugin_that_is_not_called_is_not_well(self, open_registry):
        """Its circuit is the detail."""
        registry = open_registry(circuit=CircuitPolicy(max_failures=1))
        registry.register(Feeling(OSError("no water")), slug="feeling")
        registry.health()
        [health] = registry.health()

        assert "its circuit is open" in health.detail
