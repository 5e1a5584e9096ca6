"""``registry.events``: which plugins hear of an event, how, and the cost of a fault."""

from __future__ import annotations

import json
import pickle
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import FrozenInstanceError, asdict

import pytest

from plugreg import (
    Plugin,
    PluginNotFoundError,
    PluginRegistry,
    RegistryNotReady,
    Stage,
    hookimpl,
)
from plugreg.events import (
    EventDelivery,
    EventError,
    EventFailedError,
    EventNotQueuedError,
    Events,
)
from plugreg.mixins import EventMixin, SettingsMixin
from plugreg.storage import MemoryStorage, TinyDBStorage

LONG = 30.0
"""Seconds after which a test gives up; all that it waits for takes far less."""


class Quiet(EventMixin, Plugin):
    """Keeps the host's events, and does not want plugreg's own."""

    def __init__(self):
        self.heard = []

    def wants_process_event(self, event):
        return not event.startswith("plugin")

    def process_event(self, event, *args, **kwargs):
        self.heard.append((event, args, kwargs))


def listener(act=lambda: None, wants=lambda: True):
    """Make a Quiet class that keeps the events that ``wants`` accepts, and then calls ``act``."""

    class Listener(Quiet):
        def wants_process_event(self, event):
            return super().wants_process_event(event) and wants()

        def process_event(self, event, *args, **kwargs):
            super().process_event(event, *args, **kwargs)
            act()

    return Listener


def raising(error):
    def function():
        raise error

    return function


def heard(registry, slug):
    """Return the events that a Quiet plugin has heard, as (event, args, kwargs)."""
    return registry.get(slug).plugin.heard


def failures(registry):
    assert {failure.stage for failure in registry.errors} <= {Stage.CALL}
    return [(failure.slug, failure.message, failure.count) for failure in registry.errors]


class TestInTheCaller:
    def test_active_plugins_hear_in_order_of_activation(self, make):
        """Each gets the arguments as they are; those that are off, or have no ear, are no part."""
        heard_by = []
        kinds = {
            slug: type(
                slug, (listener(lambda name=slug: heard_by.append(name)),), {"__module__": "m"}
            )
            for slug in ("b", "a", "off")
        }
        registry = make(**kinds, deaf=type("Deaf", (Plugin,), {}), blocked={"off"})
        order = tuple(slug for slug in registry.active if slug != "deaf")

        assert registry.events.emit("order.placed", 7, item="tea") == order
        assert heard_by == list(order)
        assert heard(registry, "a") == [("order.placed", (7,), {"item": "tea"})]

    def test_a_plugin_that_was_switched_off_hears_nothing(self, make):
        """Once deactivate has returned, no event reaches it."""
        registry = make(a=Quiet, b=Quiet)
        plugin = registry.get("a").plugin
        registry.deactivate("a")

        assert registry.events.emit("x") == ("b",)
        assert plugin.heard == []

    def test_a_listener_may_switch_another_one_off(self, make):
        """A change by the first plugin holds for those after it, in the same event."""
        registry = make(a=listener(lambda: registry.deactivate("b")), b=Quiet)
        plugin = registry.get("b").plugin

        assert registry.events.emit("x") == ("a",)
        assert plugin.heard == []
        assert registry.errors == ()

    def test_a_listener_may_close_the_registry(self, make):
        """Nobody after it is called, and nothing is raised."""
        registry = make(a=listener(lambda: registry.close()), b=Quiet)
        plugin = registry.get("b").plugin

        assert registry.events.emit("x") == ("a",)
        assert plugin.heard == []

    @pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)])
    def test_a_fault_in_acting_costs_that_plugin_alone(self, make, error):
        """It is recorded with the event's name and counted, and was handed the event."""
        registry = make(a=Quiet, b=listener(raising(error)), c=Quiet, fails=True)
        expected = f"event 'x': {type(error).__name__}: {error}"

        for count in (1, 2):
            assert registry.events.emit("x") == ("a", "b", "c")
            assert failures(registry) == [("b", expected, count)]
        assert len(heard(registry, "c")) == 2

    def test_a_fault_in_wanting_costs_that_plugin_alone(self, make):
        """Later plugins hear all the same (119)."""
        registry = make(a=listener(wants=lambda: 1 / 0), b=Quiet, fails=True)

        assert registry.events.emit("x") == ("b",)
        message = "wants_process_event of event 'x': ZeroDivisionError: division by zero"
        assert failures(registry) == [("a", message, 1)]

    @pytest.mark.parametrize("answer", [False, None, 0, "", []])
    def test_an_answer_that_is_false_is_no(self, make, answer):
        """As everywhere in Python, None included: a method without a return wants nothing."""
        registry = make(a=listener(wants=lambda: answer))

        assert registry.events.emit("x") == ()
        assert registry.get("a").plugin.heard == []
        assert registry.errors == ()

    @pytest.mark.parametrize("answer", [True, 1, "yes", object()])
    def test_an_answer_that_is_true_is_yes(self, make, answer):
        """Whatever its type."""
        registry = make(a=listener(wants=lambda: answer))

        assert registry.events.emit("x") == ("a",)

    def test_an_answer_that_cannot_be_judged_is_a_fault(self, make):
        """Neither an object that bool() refuses nor a coroutine is one; no coroutine is left."""

        class Undecided:
            def __bool__(self):
                raise OSError("perhaps")

        async def later(self, event, *_, **__):
            """Answer later."""

        registry = make(
            a=listener(wants=lambda: Undecided()),
            b=type("B", (Quiet,), {"wants_process_event": later}),
            c=type("C", (Quiet,), {"process_event": later}),
            fails=True,
        )

        assert registry.events.emit("x") == ("c",)
        messages = {slug: message for slug, message, _ in failures(registry) if "'x'" in message}
        assert messages["a"] == "wants_process_event of event 'x': OSError: perhaps"
        assert "is async, but this call is not" in messages["b"]
        assert messages["c"].startswith("event 'x': TypeError")
        assert "is async, but this call is not" in messages["c"]

    @pytest.mark.parametrize("where", ["wants_process_event", "process_event"])
    def test_what_belongs_to_the_process_passes(self, make, where):
        """Ctrl-C ends the work of the host, and is nobody's fault."""

        def interrupted(self, event, *_, **__):
            if event == "x":
                raise KeyboardInterrupt

        registry = make(a=type("A", (Quiet,), {where: interrupted}))
        with pytest.raises(KeyboardInterrupt):
            registry.events.emit("x")
        assert registry.errors == ()

    def test_a_host_may_switch_events_off(self, make):
        """Nothing is handed to anybody then, and nobody is asked."""
        registry = make(a=listener(wants=lambda: 1 / 0), switches={"events": False})

        assert registry.events.emit("x") == ()
        assert registry.get("a").plugin.heard == []
        assert registry.errors == ()

    def test_names_of_arguments_are_free(self, make):
        """The event's own name is no argument by keyword, nor is anything of plugreg's."""

        class Hearing(EventMixin, Plugin):
            def process_event(self, event, /, *args, **kwargs):
                heard.append((event, kwargs))

        heard = []
        registry = make(a=Hearing)
        heard.clear()
        registry.events.emit("x", event=1, self=2, slug=3, args=4, kwargs=5)
        assert heard == [("x", {"event": 1, "self": 2, "slug": 3, "args": 4, "kwargs": 5})]
        assert registry.errors == ()

    @pytest.mark.parametrize("event", ["", None, 5, b"order.placed"])
    def test_the_name_of_an_event_is_a_text(self, make, event):
        """The error names the field, and nobody is asked."""
        registry = make(a=Quiet)
        with pytest.raises(EventError, match="must be a string that is not") as caught:
            registry.events.emit(event)
        assert caught.value.field == "event"
        assert heard(registry, "a") == []

    @pytest.mark.parametrize("event", ["order.placed", " ", "Füße\n☕", "a" * 5_000])
    def test_names_of_events_are_free(self, make, event):
        """Any text will do."""
        registry = make(a=Quiet)
        registry.events.emit(event)
        assert heard(registry, "a") == [(event, (), {})]

    def test_there_is_nobody_before_load_and_after_close(self, make):
        """As with every other call of plugins that is not a hook."""
        registry = PluginRegistry("shop", path=(), builtin=[Quiet])
        with pytest.raises(RegistryNotReady):
            registry.events.emit("x")
        registry.load()
        registry.close()
        with pytest.raises(RegistryNotReady):
            registry.events.emit("x")

    @pytest.mark.parametrize("wrong", [5, "deliver", []])
    def test_there_are_three_ways(self, wrong):
        """Anything else is refused when the registry is made."""
        with pytest.raises(TypeError, match="events must be None, an Executor, or a function"):
            PluginRegistry("shop", events=wrong)


class TestInAPool:
    def test_each_plugin_acts_in_a_thread_of_the_pool(self, make):
        """One that is slow delays no other, and emit waits for none."""
        go_on, threads = threading.Event(), []
        slow = listener(lambda: (threads.append(threading.get_ident()), go_on.wait(LONG)))
        with ThreadPoolExecutor(2) as pool:
            registry = make(a=slow, b=Quiet, events=pool)
            assert registry.events.emit("x", 1, y=2) == ("a", "b")
            go_on.set()
        assert heard(registry, "a") == heard(registry, "b") == [("x", (1,), {"y": 2})]
        assert threading.get_ident() not in threads

    def test_a_plugin_that_was_switched_off_meanwhile_is_not_called(self, make):
        """Its job finds it gone, whether it was switched off or the registry was closed."""
        go_on = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            registry = make(a=Quiet, b=Quiet, events=pool)
            a, b = (registry.get(slug).plugin for slug in "ab")
            pool.submit(go_on.wait, LONG)
            assert registry.events.emit("x") == ("a", "b")
            registry.deactivate("a")
            pool.submit(registry.close)
            go_on.set()
            pool.submit(go_on.wait, LONG).result(LONG)
        assert a.heard == []
        assert b.heard == [("x", (), {})]

    def test_a_plugin_that_was_reloaded_meanwhile_acts_as_it_is_now(self, make):
        """The event is the plugin's, not the object's; the old object is out of service."""
        go_on = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            registry = make(a=Quiet, events=pool)
            old = registry.get("a").plugin
            pool.submit(go_on.wait, LONG)
            registry.events.emit("x")
            registry.reload(force=True)
            go_on.set()
        assert old.heard == []
        assert heard(registry, "a") == [("x", (), {})]

    def test_a_fault_is_recorded(self, make):
        """It is the plugin's, as in the caller."""
        with ThreadPoolExecutor(1) as pool:
            registry = make(a=listener(lambda: 1 / 0), events=pool, fails=True)
            registry.events.emit("x")
        assert failures(registry) == [("a", "event 'x': ZeroDivisionError: division by zero", 1)]

    def test_a_pool_that_is_shut_down_is_the_hosts_error(self, make):
        """The error names the plugins that were missed; no plugin has a record."""
        pool = ThreadPoolExecutor(1)
        registry = make(a=Quiet, b=Quiet, events=pool)
        pool.shutdown()
        with pytest.raises(EventNotQueuedError, match="'x' could not be queued for 'a', 'b'") as e:
            registry.events.emit("x")
        assert (e.value.missed, e.value.handed) == (("a", "b"), ())
        assert isinstance(e.value.__cause__, RuntimeError)
        assert registry.errors == ()

    def test_what_the_pool_has_dropped_is_logged(self, make, caplog):
        """A job that was cancelled would else be lost without a word."""
        go_on, begun = threading.Event(), threading.Event()
        pool = ThreadPoolExecutor(1)
        registry = make(a=Quiet, events=pool)
        pool.submit(lambda: (begun.set(), go_on.wait(LONG)))
        begun.wait(LONG)
        registry.events.emit("x")
        pool.shutdown(wait=False, cancel_futures=True)
        go_on.set()
        assert "event 'x' did not reach plugin a: the pool has cancelled it" in caplog.text

    def test_a_pool_of_processes_is_logged_to_be_none(self, make, caplog):
        """A registry cannot be sent to another process, which such a pool says to nobody."""
        with ProcessPoolExecutor(1) as pool:
            registry = make(a=Quiet, events=pool)
            registry.events.emit("x")
        assert "event 'x' did not reach plugin a: " in caplog.text


class TestInAQueue:
    def test_a_delivery_goes_through_a_queue_of_texts(self, make):
        """It is given to the host's function, and comes back from JSON in the worker."""
        queue = []
        registry = make(
            a=Quiet, b=Quiet, events=lambda delivery: queue.append(json.dumps(asdict(delivery)))
        )

        assert registry.events.emit("order.placed", 7, item="tea") == ("a", "b")
        assert heard(registry, "a") == []
        for message in queue:
            assert registry.events.process(EventDelivery(**json.loads(message)))
        assert heard(registry, "a") == heard(registry, "b")
        assert heard(registry, "a") == [("order.placed", (7,), {"item": "tea"})]

    def test_a_delivery_is_a_plain_value(self):
        """It does not change, it can be pickled, and a copy is equal."""
        delivery = EventDelivery(event="x", slug="a", args=(1,), kwargs={"b": [2]})

        assert pickle.loads(pickle.dumps(delivery)) == delivery
        assert EventDelivery(**json.loads(json.dumps(asdict(delivery)))) == delivery
        with pytest.raises(FrozenInstanceError):
            delivery.event = "y"

    @pytest.mark.parametrize(
        ("field", "wrong"),
        [
            ("event", ""),
            ("event", None),
            ("slug", ""),
            ("slug", 5),
            ("args", "abc"),
            ("args", {}),
            ("kwargs", [1]),
            ("kwargs", {1: 2}),
        ],
    )
    def test_what_is_no_delivery_is_refused(self, field, wrong):
        """A queue may hold anything; the error names the field."""
        with pytest.raises(EventError) as caught:
            EventDelivery(**{"event": "x", "slug": "a", field: wrong})
        assert caught.value.field == field

    def test_a_plugin_that_is_off_drops_what_was_queued(self, make):
        """False: the worker need not retry. So with a plugin that is unknown."""
        queue = []
        registry = make(a=Quiet, events=queue.append)
        registry.events.emit("x")
        plugin = registry.get("a").plugin
        registry.deactivate("a")

        assert registry.events.process(queue[0]) is False
        assert registry.events.process(EventDelivery(event="x", slug="gone")) is False
        assert plugin.heard == []

    def test_a_plugin_that_hears_no_events_drops_what_was_queued(self, make):
        """It may have had the capability when that was queued, or the host has it off since."""
        registry = make(deaf=type("Deaf", (Plugin,), {}))
        assert registry.events.process(EventDelivery(event="x", slug="deaf")) is False
        off = make(tea=Quiet, switches={"events": False})
        assert off.events.process(EventDelivery(event="x", slug="tea")) is False

        assert off.get("tea").plugin.heard == []
        assert (registry.errors, off.errors) == ((), ())

    def test_a_plugin_that_another_process_has_switched_off_does_not_act(self, make):
        """A worker acquires changes before each delivery, in both directions."""
        storage, queue = MemoryStorage(), []
        web = make(a=Quiet, storage=storage, events=queue.append)
        worker = make(a=Quiet, storage=storage)
        web.events.emit("x")
        web.deactivate("a")
        assert worker.events.process(queue[0]) is False
        web.activate("a")
        assert worker.events.process(queue[0]) is True
        assert heard(worker, "a") == [("x", (), {})]

    def test_a_failure_reaches_the_worker(self, make):
        """It is recorded, and raised so that the queue gives it again; it holds no exception."""
        queue = []
        registry = make(a=listener(raising(OSError("no"))), events=queue.append, fails=True)
        registry.events.emit("x")
        for count in (1, 2):
            with pytest.raises(EventFailedError, match="plugin 'a' failed: event 'x'") as caught:
                registry.events.process(queue[0])
            assert failures(registry) == [("a", "event 'x': OSError: no", count)]
        error = caught.value
        assert (error.event, error.slug, error.message) == ("x", "a", "event 'x': OSError: no")
        assert error.__cause__ is error.__context__ is None
        assert str(pickle.loads(pickle.dumps(error))) == str(error)

    def test_no_secret_of_a_plugin_reaches_the_worker(self, make):
        """The message is the record's, which is scrubbed."""

        class Leaky(SettingsMixin, Quiet):
            SETTINGS = {"TOKEN": {"protected": True, "default": "s3cr3t-token"}}

            def process_event(self, event, *_, **__):
                raise OSError(self.get_setting("TOKEN"))

        queue = []
        registry = make(a=Leaky, events=queue.append, fails=True)
        registry.events.emit("x")
        with pytest.raises(EventFailedError) as caught:
            registry.events.process(queue[0])
        assert "s3cr3t" not in str(caught.value)

    def test_a_queue_that_refuses_one_is_given_the_others(self, make):
        """The error names the plugins that were missed."""
        queue = []

        def deliver(delivery):
            if delivery.slug == "b":
                raise ConnectionError("full")
            queue.append(delivery.slug)

        registry = make(a=Quiet, b=Quiet, c=Quiet, events=deliver)
        with pytest.raises(EventNotQueuedError, match="could not be queued for 'b'") as caught:
            registry.events.emit("x")
        assert queue == ["a", "c"]
        assert (caught.value.missed, caught.value.handed) == (("b",), ("a", "c"))
        assert str(caught.value.__cause__) == "full"
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)

    def test_process_needs_plugins(self, make):
        """A worker that has not loaded yet keeps the delivery in the queue."""
        registry = PluginRegistry("shop", builtin=[Quiet])
        with pytest.raises(RegistryNotReady):
            registry.events.process(EventDelivery(event="x", slug="a"))


class Ear(EventMixin, Plugin):
    """Hears all events, and keeps with each the result of ``look`` at that moment."""

    look = staticmethod(lambda: None)

    def __init__(self):
        self.heard = []

    def process_event(self, event, *args, **kwargs):
        assert args == ()
        self.heard.append((event, kwargs, type(self).look()))


@pytest.fixture
def ear():
    """Return a class of its own whose ``look`` can be set."""
    return type("OwnEar", (Ear,), {})


def take_heard(registry, slug="ear"):
    """Return and forget plugreg's own events that a plugin has heard, without its looks."""
    plugin = registry.get(slug).plugin
    found = [(event, kwargs) for event, kwargs, _ in plugin.heard]
    plugin.heard.clear()
    return found


class Tea(SettingsMixin, Plugin):
    SETTINGS = {
        "COLOUR": {"default": "red"},
        "TOKEN": {"default": "", "protected": True},
    }
    USER_SETTINGS = {"CUPS": {"default": 1, "validator": int}}


class Milk(Plugin):
    """Needs nothing."""


class TestOwnEvents:
    def test_each_load_emits_an_event_after_it(self, make, ear):
        """The first one, a reload, and one that another process has asked for."""
        storage = MemoryStorage()
        there = make(tea=Tea, storage=storage)
        registry = make(ear=ear, tea=Tea, storage=storage)
        assert take_heard(registry) == [("plugins_loaded", {})]
        registry.reload()
        assert take_heard(registry) == [("plugins_loaded", {})]
        there.deactivate("tea")
        assert registry.refresh()
        assert take_heard(registry) == [("plugins_loaded", {})]
        assert not registry.refresh()
        assert take_heard(registry) == []

    def test_switching_emits_one_event(self, make, ear):
        """Off as well as on, with the same arguments; a change of nothing is no event."""
        registry = make(ear=ear, tea=Tea)
        take_heard(registry)
        registry.deactivate("tea")
        assert take_heard(registry) == [("plugin_activated", {"slug": "tea", "active": False})]
        registry.deactivate("tea")
        assert take_heard(registry) == []
        registry.activate("tea")
        assert take_heard(registry) == [("plugin_activated", {"slug": "tea", "active": True})]
        registry.activate("tea")
        assert take_heard(registry) == []

    def test_several_that_are_switched_at_once(self, make, ear):
        """Who is on, or off, already has no event."""
        registry = make(ear=ear, tea=Tea, milk=Milk)
        take_heard(registry)
        registry.switch({"tea": False, "milk": True})
        assert take_heard(registry) == [("plugin_activated", {"slug": "tea", "active": False})]

    def test_each_plugin_that_a_cascade_switches_off_is_take_heard(
        self, make, ear, site, monkeypatch
    ):
        """Those that needed it were on, and are not any more."""
        code = "from plugreg import Plugin\nclass P(Plugin): ...\n"
        for name, needs in (("ev-base", ""), ("ev-top", "Requires-Dist: ev-base\n")):
            module = name.replace("-", "_")
            site.dist(
                name,
                entry_points={"ev.plugins": {name: f"{module}:P"}},
                metadata=needs,
                modules={f"{module}.py": code},
            )
        monkeypatch.syspath_prepend(str(site))
        registry = make(ear=ear, group="ev.plugins", path=None)
        take_heard(registry)
        registry.deactivate("ev-base", cascade=True)
        assert take_heard(registry) == [
            ("plugin_activated", {"slug": "ev-base", "active": False}),
            ("plugin_activated", {"slug": "ev-top", "active": False}),
        ]
        for name in ("ev_base", "ev_top"):
            sys.modules.pop(name, None)

    def test_an_event_follows_publication(self, make, ear):
        """Whoever looks sees the state after the change, and may write: no transaction is open."""
        registry = make(ear=ear, tea=Tea)
        take_heard(registry)
        ear.look = staticmethod(
            lambda: (
                registry.get("tea").active,
                registry.set_metadata("ear", {"seen": 1}),
            )
        )
        plugin = registry.get("ear").plugin
        registry.deactivate("tea")
        registry.activate("tea")
        registry.reload(force=True)
        seen = [event[2] for event in (*plugin.heard, *registry.get("ear").plugin.heard)]
        assert seen == [(wanted, {"seen": 1}) for wanted in (False, True, True)]
        assert registry.errors == ()

    @pytest.mark.parametrize("operation", ["reload", "activate", "settings"])
    def test_a_listener_may_ask_for_a_reload(self, make, ear, operation, tmp_path):
        """It is done after the change that caused the event, and neither waits for the other."""
        registry = make(ear=ear, tea=Tea, milk=Milk, storage=TinyDBStorage(tmp_path / "s.json"))
        take_heard(registry)
        asked = []

        def look():
            if not asked:
                asked.append(registry.get("tea").plugin)
                registry.reload(force=True)

        ear.look = staticmethod(look)
        done = threading.Thread(
            target={
                "reload": registry.reload,
                "activate": lambda: registry.deactivate("milk"),
                "settings": lambda: registry.settings("tea").set("COLOUR", "green"),
            }[operation]
        )
        done.start()
        done.join(LONG)
        assert not done.is_alive()
        assert registry.get("tea").plugin is not asked[0]
        assert registry.errors == ()

    def test_a_listener_in_a_pool_may_ask_for_a_reload(self, make, ear):
        """It waits for its turn, and the change that caused the event does not wait for it."""
        with ThreadPoolExecutor(1) as pool:
            registry = make(ear=ear, tea=Tea, events=pool)
            pool.submit(lambda: None).result(LONG)
            asked = []

            def look():
                if not asked:
                    asked.append(registry.get("tea").plugin)
                    registry.reload(force=True)

            ear.look = staticmethod(look)
            registry.reload()
        assert registry.get("tea").plugin is not asked[0]
        assert registry.errors == ()

    def test_the_event_of_a_setting_has_its_name_and_never_its_value(self, make, ear):
        """The plugin's own with no user, a user's with the number; the same value is no news."""
        registry = make(ear=ear, tea=Tea)
        take_heard(registry)
        registry.settings("tea").set("COLOUR", "green")
        registry.settings("tea").set("COLOUR", "green")
        registry.settings("tea").set("TOKEN", "s3cr3t-token")
        registry.user_settings("tea", 7).set("CUPS", 2)
        assert take_heard(registry) == [
            ("plugin_setting_changed", {"slug": "tea", "key": "COLOUR", "user": None}),
            ("plugin_setting_changed", {"slug": "tea", "key": "TOKEN", "user": None}),
            ("plugin_setting_changed", {"slug": "tea", "key": "CUPS", "user": 7}),
        ]

    def test_a_change_of_another_process_is_an_event_there_alone(self, make, ear):
        """So that with many processes an event does not come many times."""
        storage = MemoryStorage()
        here = make(ear=ear, tea=Tea, storage=storage)
        there = make(ear=ear, tea=Tea, storage=storage)
        take_heard(here), take_heard(there)
        there.settings("tea").set("COLOUR", "green")
        here.refresh()
        assert here.settings("tea")["COLOUR"] == "green"
        assert take_heard(here) == []
        assert len(take_heard(there)) == 1

    def test_coming_and_going_of_distributions_is_take_heard(self, make, ear, folder_installer):
        """Each plugin of it, once its state can be looked at."""
        points = {"ev-tea": "ev_tea:Tea", "ev-milk": "ev_tea:Milk"}
        code = "from plugreg import Plugin\nclass Tea(Plugin): ...\nclass Milk(Plugin): ...\n"
        folder_installer.ready = {"ev-tea": ("1.5", points, {"ev_tea.py": code})}
        registry = make(
            ear=ear,
            path=None,
            new_plugins="inactive",
            installer=folder_installer,
            mandatory={"ear"},
        )
        take_heard(registry)
        ear.look = staticmethod(lambda: "ev-tea" in registry.plugins)
        registry.install("ev-tea")
        coming = registry.get("ear").plugin.heard[-2:]
        assert coming == [
            (
                "plugin_installed",
                {"slug": slug, "distribution": "ev-tea", "version": "1.5"},
                True,
            )
            for slug in ("ev-milk", "ev-tea")
        ]
        take_heard(registry)
        registry.uninstall("ev-tea")
        going = registry.get("ear").plugin.heard[-2:]
        assert going == [
            ("plugin_uninstalled", {"slug": slug, "distribution": "ev-tea"}, False)
            for slug in ("ev-milk", "ev-tea")
        ]
        with pytest.raises(PluginNotFoundError):
            registry.get("ev-tea")

    def test_a_queue_that_refuses_them_stops_no_change(self, make, ear, caplog):
        """It is logged, for the host to see."""

        def deliver(delivery):
            raise ConnectionError("the queue is away")

        registry = make(ear=ear, tea=Tea, events=deliver)
        registry.deactivate("tea")
        assert not registry.get("tea").active
        registry.activate("tea")
        registry.settings("tea").set("COLOUR", "green")
        assert registry.settings("tea")["COLOUR"] == "green"
        for event in ("plugins_loaded", "plugin_activated", "plugin_setting_changed"):
            assert f"event '{event}' could not be queued for ('ear',): ConnectionError" in (
                caplog.text
            )
        assert registry.errors == ()

    def test_a_listener_that_fails_stops_no_change(self, make):
        """It is a record of that listener."""

        class Failing(EventMixin, Plugin):
            def process_event(self, event, *args, **kwargs):
                raise OSError("no")

        registry = make(a=Failing, tea=Tea, fails=True)
        registry.deactivate("tea")
        assert not registry.get("tea").active
        assert [(failure.slug, failure.message) for failure in registry.errors] == [
            ("a", "event 'plugins_loaded': OSError: no"),
            ("a", "event 'plugin_activated': OSError: no"),
        ]

    @pytest.mark.parametrize("change", ["load", "reload", "deactivate"])
    def test_a_queue_may_wait_for_its_worker(self, make, ear, change):
        """The worker acquires the changes of others, which is a change of its own."""
        with ThreadPoolExecutor(1) as worker:

            def deliver(delivery):
                # A change of another process, so that the worker has something to take in.
                there.set_metadata("tea", {"at": len(heard)})
                heard.append(worker.submit(registry.events.process, delivery).result(LONG))

            heard, storage = [], MemoryStorage()
            there = make(tea=Tea, storage=storage)
            options = {"builtin": [("ear", ear), ("tea", Tea)], "new_plugins": "active", "path": ()}
            registry = PluginRegistry("shop", storage=storage, events=deliver, **options)
            registry.load()
            if change == "reload":
                registry.reload()
            if change == "deactivate":
                registry.deactivate("tea")
            assert heard == [True] * (1 if change == "load" else 2)
            expected = {
                "load": [],
                "reload": ["plugins_loaded"],
                "deactivate": ["plugin_activated"],
            }
            assert [event for event, _ in take_heard(registry)] == [
                "plugins_loaded",
                *expected[change],
            ]

    def test_events_that_listeners_cause_come_after(self, make, ear):
        """Each hears of one thing after the other, in the order in which they were done."""
        first, second = (type(f"Ear{letter}", (ear,), {}) for letter in "ab")
        registry = make(a=first, b=second, milk=Milk)
        take_heard(registry, "a"), take_heard(registry, "b")

        def look():
            if registry.get("milk").active:
                registry.deactivate("milk")

        first.look = staticmethod(look)
        registry.reload()
        expected = [
            ("plugins_loaded", {}),
            ("plugin_activated", {"slug": "milk", "active": False}),
        ]
        assert take_heard(registry, "a") == take_heard(registry, "b") == expected

    def test_events_that_cause_each_other_come_to_an_end(self, make, ear, caplog):
        """A plugin that reloads after each load hears a limited number of events."""
        registry = make(ear=ear)
        take_heard(registry)
        ear.look = staticmethod(lambda: registry.reload())
        registry.reload()
        assert take_heard(registry) == [("plugins_loaded", {})] * 20
        assert "events cause events without end; 1 are dropped" in caplog.text
        ear.look = staticmethod(lambda: None)
        registry.reload()
        assert take_heard(registry) == [("plugins_loaded", {})]

    def test_a_deferred_change_emits_its_event_when_nobody_waits(self, make, ear):
        """A change that plugin code asks for, and one that it asks for in that one, again."""

        class Wishing(Plugin):
            @hookimpl
            def plugreg_plugins_loaded(self, report):
                if registry.get("milk").active:
                    registry.deactivate("milk")

        class Leaving(Plugin):
            @hookimpl
            def plugreg_deactivating(self):
                registry.reload()

        with ThreadPoolExecutor(1) as worker:

            def deliver(delivery):
                there.set_metadata("milk", {"at": len(heard)})
                worker.submit(registry.refresh).result(LONG)
                heard.append(delivery.event)

            heard, storage = [], MemoryStorage()
            there = make(milk=Milk, storage=storage)
            builtin = [("ear", ear), ("milk", Leaving), ("wishing", Wishing)]
            options = {"builtin": builtin, "new_plugins": "active", "path": ()}
            registry = PluginRegistry("shop", events=deliver, storage=storage, **options)
            registry.load()
        assert heard == ["plugins_loaded", "plugin_activated", "plugins_loaded"]

    def test_before_there_are_plugins_nobody_is_take_heard(self):
        """No plugin hears of anything before the load or after the close."""

        def current():
            raise RegistryNotReady

        Events(current, None, lambda: None).notify("plugins_loaded")
