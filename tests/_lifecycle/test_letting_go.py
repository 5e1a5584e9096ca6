"""The remains of a plugin that is gone: only its stored rows."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from plugreg import CircuitPolicy, NotReadyYet, Plugin, PluginRegistry, hookimpl, hookspec
from plugreg._calls.circuits import _Circuit
from plugreg.mixins import EventMixin, ScheduleMixin, SettingsMixin, UserInterfaceMixin
from plugreg.observation import _Total
from plugreg.settings.plugin_values import PluginValues


class Hooks:
    @hookspec
    def price(self, item):
        """Price of an item."""

    @hookspec(historic=True)
    def opened(self, item):
        """Take note that the shop has opened."""


class Busy(SettingsMixin, EventMixin, ScheduleMixin, UserInterfaceMixin, Plugin):
    """A plugin that has much to do with its registry, and fails at most of it."""

    DESCRIPTION = "Does a lot."

    def __init__(self):
        self.SETTINGS = {"RATE": {"name": "Rate", "default": self.rate, "validator": self.check}}
        self.USER_SETTINGS = {"SHOWN": {"name": "Shown", "default": "1", "validator": self.check}}
        self.SCHEDULED_TASKS = {"tidy": {"func": "tidy", "schedule": "I", "minutes": 5}}

    def rate(self):
        return "7"

    def check(self, value):
        return None

    def tidy(self):
        raise ValueError(self)

    def process_event(self, event, *args, **kwargs):
        raise ValueError(self)

    def get_ui_dashboard_items(self, *args, **kwargs):
        raise ValueError(self)

    @hookimpl
    def price(self, item):
        raise ValueError(self)

    @hookimpl
    def opened(self, item):
        pass

    @hookimpl
    def unknown(self):
        pass


@pytest.fixture
def registry():
    policy = CircuitPolicy(max_failures=1)
    with PluginRegistry("shop", hookspecs=[Hooks], circuit=policy, observe=True) as registry:
        registry.load()
        registry.hook.opened.call_historic(kwargs={"item": 1})
        yield registry


def left_of_plugins(before=()):
    """Return the objects of plugins, only those of this test if given the earlier ones."""
    gc.collect()
    found = [
        plugin
        for plugin in gc.get_objects()
        if type(plugin) in (PluginValues, _Circuit, _Total, Busy)
    ]
    return [thing for thing in found if all(thing is not other for other in before)]


def test_objects_registered_by_hand_are_freed(registry):
    """500 that are used and let go leave no object, scope, circuit, number or record."""
    objects = []
    before = left_of_plugins()

    def host(slug):
        plugin = Busy()
        objects.append(weakref.ref(plugin))
        record = registry.register(plugin, slug)
        assert record.description == "Does a lot."
        assert registry.settings(slug)["RATE"] == "7"
        assert registry.user_settings(slug, 1)["SHOWN"] == "1"
        registry.outcomes("price", item="tea")
        registry.events.emit("opened")
        registry.ui_features("dashboard")
        assert registry.get(slug).circuit == "open"
        assert len(registry.get(slug).errors) >= 3
        registry.unregister(slug)

    for number in range(500):
        host(f"busy-{number}")

    assert left_of_plugins(before) == []
    assert [reference() for reference in objects] == [None] * 500
    assert registry.errors == registry.dispatch.stats() == ()
    assert registry._parts.ledger._failures == {}


def test_an_object_that_never_came_into_service_is_freed(registry):
    """Objects that failed in the middle of their activation are not kept either."""

    class Failing(Busy):
        @hookimpl
        def plugreg_activated(self):
            raise ValueError("no")

    before = left_of_plugins()
    plugin = Failing()
    freed = weakref.ref(plugin)
    assert registry.register(plugin, "failing").state == "failed"
    registry.unregister("failing")
    del plugin

    assert left_of_plugins(before) == []
    assert freed() is None


def test_what_is_stored_stays(registry):
    """Values that were set are those of the next plugin of this slug; the object is freed."""
    plugin = Busy()
    freed = weakref.ref(plugin)
    registry.register(plugin, "busy")
    registry.settings("busy").set("RATE", "19")
    registry.unregister("busy")
    del plugin
    gc.collect()
    assert freed() is None

    registry.register(Busy(), "busy")
    assert registry.settings("busy")["RATE"] == "19"


def test_a_view_that_is_held_stays_live(registry):
    """It shows the object that the next plugin of the same slug receives."""
    registry.register(Busy(), "busy")
    view = registry.settings("busy")
    registry.unregister("busy")
    gc.collect()
    registry.register(Busy(), "busy")
    registry.settings("busy").set("RATE", "19")

    assert view["RATE"] == "19"


def test_a_secret_stays_hidden_while_a_call_is_under_way():
    """A secret that a plugin reports after it was released is hidden, too."""
    inside, go_on = threading.Event(), threading.Event()

    class Secretive(SettingsMixin, Plugin):
        SETTINGS = {
            "PIN": {"name": "Pin", "default": "default-secret", "protected": True},
            "KEY": {"name": "Key", "protected": True},
        }

        @hookimpl
        def price(self, item):
            secrets = (self.get_setting("PIN"), self.get_setting("KEY"))
            inside.set()
            go_on.wait(60)
            raise ValueError(secrets)

    outcomes = []
    with PluginRegistry("shop", hookspecs=[Hooks]) as registry:
        registry.load()
        registry.register(Secretive(), "secretive")
        registry.settings("secretive").set("KEY", "stored-secret")
        host = threading.Thread(
            target=lambda: outcomes.extend(registry.outcomes("price", item="tea"))
        )
        host.start()
        assert inside.wait(60)
        registry.settings("secretive").set("KEY", "")
        registry.unregister("secretive")
        go_on.set()
        host.join(60)

        [outcome] = outcomes
        assert outcome.failure.message == "hook 'price': ValueError: ('***', '***')"
        assert "secret'" not in outcome.failure.traceback


def test_a_plugin_that_waited_to_be_tried_again_is_not_tried_any_more():
    """Once it is gone, there is nothing to do for it at each tick."""
    tried = []

    class Later(Plugin):
        @hookimpl
        def plugreg_activated(self):
            tried.append(self)
            raise NotReadyYet("no", retry_after=1e-6)

    with PluginRegistry("shop") as registry:
        registry.load()
        registry.register(Later(), "later")
        assert len(tried) == 1
        registry.unregister("later")
        tried.clear()

        assert registry._life.retries.due() == frozenset()
