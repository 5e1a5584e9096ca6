"""Supervision of calls where the host asks for it: circuits, observers, health."""

from __future__ import annotations

import asyncio
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
    """Fails as long as it is broken."""

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
    """Yield a function that makes a loaded registry with two plugins."""
    opened = []

    def make(**options):
        registry = PluginRegistry(
            "shop", hookspecs=[Specs], builtin=[Milk, tea], new_plugins="active", **options
        )
        opened.append(registry)
        registry.load()
        return registry

    yield make
    for item in opened:
        item.close()


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
        messages = {failure.subject: failure.message for failure in record.errors}
        assert "registry.reset('tea')" in messages["circuit"]
        [fault] = [failure for failure in record.errors if failure.subject == "price"]
        assert fault.count == 3

    def test_its_outcome_says_that_it_was_not_called(self, open_registry):
        """It is an error without a failure record, since there is one of the circuit."""
        registry = open_registry(circuit=NEVER)
        for _ in range(3):
            registry.call(Specs.price, item="tea")
        found = {outcome.slug: outcome for outcome in registry.outcomes(Specs.price, item="tea")}

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
        assert [failure.subject for failure in registry.get("tea").errors] == ["price"]

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

    def test_a_plugin_that_is_off_has_none_that_is_open(self, open_registry):
        """A plugin out of service gets no calls anyway, and is tried at once when it comes back."""
        registry = open_registry(circuit=NEVER)
        for _ in range(3):
            registry.call(Specs.price, item="tea")
        assert registry.get("tea").circuit == "open"

        assert registry.deactivate("tea").circuit == "closed"

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

    def test_a_cancellation_of_a_plugins_own_opens_it(self, open_registry):
        """Nobody has cancelled the task, so that it is a fault as any other."""

        class Cancelling(Plugin):
            @hookimpl
            async def price(self, item):
                raise asyncio.CancelledError

        registry = open_registry(circuit=CircuitPolicy(max_failures=1))
        registry.register(Cancelling(), slug="cancelling")
        asyncio.run(registry.acall(Specs.price, item="tea"))

        assert registry.get("cancelling").circuit == "open"

    def test_that_it_was_not_called_is_no_failure_even_if_it_has_closed_since(self, open_registry):
        """The reason why it was not called counts, not the state of its circuit at the report."""
        registry = open_registry(circuit=CircuitPolicy(max_failures=1))
        registry.call(Specs.price, item="tea")
        [row] = [item for item in registry.manager.table("price").rows if item.slug == "tea"]
        with pytest.raises(CircuitOpenError) as refusal:
            row.run({"item": "tea"})
        registry.reset("tea")

        assert registry.dispatch._on_fault("tea", "price", refusal.value) is None
        assert [failure.subject for failure in registry.errors] == ["price"]

    def test_a_refusal_of_another_plugin_that_a_plugin_raises_is_its_fault(self, open_registry):
        """It has it from an outcome, and it says nothing of itself."""
        registry = open_registry(circuit=CircuitPolicy(max_failures=1))
        registry.call(Specs.price, item="tea")
        [refusal] = [
            outcome.error for outcome in registry.outcomes(Specs.price, item="tea") if outcome.error
        ]

        class Passing(Plugin):
            @hookimpl
            def price(self, item):
                raise refusal

        registry.register(Passing(), slug="passing")
        registry.call(Specs.price, item="tea")

        messages = {failure.subject: failure.message for failure in registry.get("passing").errors}
        assert "CircuitOpenError" in messages["price"]

    def test_a_synchronous_call_of_what_is_async_does_not_count(self, open_registry):
        """It is the host's mistake: recorded each time, but a circuit is no answer to it."""

        async def later():
            return 1.0

        class Async(Plugin):
            @hookimpl
            async def price(self, item):
                return 1.0

        class Handed(Plugin):
            @hookimpl
            def price(self, item):
                return later()

        registry = open_registry(circuit=CircuitPolicy(max_failures=1))
        for slug, plugin in (("async", Async()), ("handed", Handed())):
            registry.register(plugin, slug=slug)
            registry.call(Specs.price, item="tea")
            registry.outcomes(Specs.price, item="tea")

            assert registry.get(slug).circuit == "closed"
            [failure] = registry.get(slug).errors
            assert (failure.count, "acall" in failure.message) == (2, True)

    def test_plugregs_own_hooks_are_no_trial_and_do_not_count(self, open_registry):
        """One that says how it is may still serve nobody; notifications reach it."""
        notes = []

        class Broken(Plugin):
            @hookimpl
            def price(self, item):
                raise OSError("no water")

            @hookimpl
            def plugreg_plugins_loaded(self, report):
                notes.append(report)
                raise OSError("no water")

            @hookimpl
            def plugreg_health(self):
                return "no water"

        policy = CircuitPolicy(max_failures=2, cool_down=0.001, longest=1_000)
        registry = open_registry(circuit=policy)
        registry.register(Broken(), slug="broken")
        for _ in range(3):
            registry.reload()
        assert registry.get("broken").circuit == "closed"
        for _ in range(2):
            registry.call(Specs.price, item="tea")
        while registry.get("broken").circuit != "half-open":
            time.sleep(0.001)
        registry.health()
        registry.reload()

        assert registry.get("broken").circuit == "half-open"
        assert len(notes) == 4
        registry.call(Specs.price, item="tea")
        assert registry.get("broken").circuit != "closed"


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
        found = {(stats.slug, stats.hook): stats for stats in registry.dispatch.stats()}

        assert (found["tea", "price"].calls, found["tea", "price"].errors) == (4, 4)
        assert (found["milk", "price"].calls, found["milk", "price"].errors) == (4, 0)
        for value in found.values():
            assert 0 < value.worst <= value.seconds
        times = [stats.seconds for stats in registry.dispatch.stats()]
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
        """In the thread that makes it, with the raised exception; plugreg counts as well."""
        observer = Observer()
        registry = open_registry(observe=[observer])
        registry.call(Specs.price, item="tea")

        assert sorted(observer.notes) == [
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
        assert [failure.subject for failure in registry.errors] == ["price"]

    @pytest.mark.parametrize("when", ["began", "ended"])
    def test_ctrl_c_in_an_observer_leaves_nothing_behind(self, open_registry, tea, when):
        """No call seems to run, no circuit stays on trial; the others receive the end."""
        first, stopping, last = Observer(), Interrupted(when), Observer()
        policy = CircuitPolicy(max_failures=1, cool_down=0.001)
        registry = open_registry(circuit=policy, observe=[first, stopping, last])
        registry.deactivate("milk")
        registry.call(Specs.price, item="tea")
        while registry.get("tea").circuit != "half-open":
            time.sleep(0.001)
        tea.is_broken, stopping.is_on = False, True
        with pytest.raises(KeyboardInterrupt):
            registry.call(Specs.price, item="tea")
        stopping.is_on = False

        assert registry.get("tea").circuit == ("closed" if when == "ended" else "half-open")
        assert registry.dispatch.running() == ()
        for item in (first, last):
            began = [what for *_, what in item.notes if what == "began"]
            assert len(began) * 2 == len(item.notes)
        assert registry.call(Specs.price, item="tea") == [3.0]

    def test_what_is_broken_off_is_no_error(self, open_registry):
        """Ctrl-C is nothing that a plugin has done."""
        observer = Observer()
        registry = open_registry(observe=[observer])
        registry.register(Stopping(), slug="stopping")
        with pytest.raises(KeyboardInterrupt):
            registry.call(Specs.price, item="tea")

        assert ("stopping", "price", "ended: None") in observer.notes


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
        self.notes = []

    def began(self, slug, hook):
        self.notes.append((slug, hook, "began"))
        return slug, hook

    def ended(self, token, error):
        kind = None if error is None else type(error).__name__
        self.notes.append((*token, f"ended: {kind}"))


class Interrupted:
    def __init__(self, when):
        self.when, self.is_on = when, False

    def began(self, slug, hook):
        self.at("began")

    def ended(self, token, error):
        self.at("ended")

    def at(self, when):
        if self.is_on and when == self.when:
            raise KeyboardInterrupt


class BrokenObserver:
    def began(self, slug, hook):
        raise ValueError("no")

    def ended(self, token, error):
        raise ValueError("no end of a call that did not begin")


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
            (7, "its plugreg_health() must return None, True or a string, not 7"),
            (OSError("no water"), "hook 'plugreg_health': OSError: no water"),
        ],
    )
    def test_plugins_say_how_they_are(self, open_registry, feeling, detail):
        """The fault is a string; a plugin that fails while reporting it is not well."""
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

    def test_one_that_may_be_tried_is_ready(self, open_registry):
        """Else a host that gets no traffic until it is ready would never get any."""
        policy = CircuitPolicy(max_failures=1, cool_down=0.001)
        registry = open_registry(circuit=policy, critical=["tea"])
        registry.call(Specs.price, item="tea")
        while registry.get("tea").circuit != "half-open":
            time.sleep(0.001)

        assert registry.ready

    def test_a_closed_registry_is_not_ready(self):
        """Though no plugin is critical."""
        registry = PluginRegistry("shop")
        registry.load()
        assert registry.ready
        registry.close()
        assert not registry.ready

    def test_a_plugin_that_is_not_called_is_not_well(self, open_registry):
        """Its circuit is the detail."""
        registry = open_registry(circuit=NEVER)
        feeling = Feeling(None)
        feeling.price = hookimpl(lambda item: 1 / 0)
        registry.register(feeling, slug="feeling")
        for _ in range(3):
            registry.call(Specs.price, item="tea")
        feeling.feeling = AssertionError("it was asked")
        [health] = registry.health()

        assert "its circuit is open" in health.detail
        subjects = {failure.subject for failure in registry.get("feeling").errors}
        assert subjects == {"circuit", "price"}
