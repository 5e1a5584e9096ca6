"""Changes by operators: the store decides, changes have turns, and the later one wins."""

from __future__ import annotations

import threading

import pytest

from plugreg import (
    Plugin,
    PluginActiveError,
    PluginBlockedError,
    PluginMandatoryError,
    PluginNotFoundError,
    PluginRegistry,
    PluginRequiredError,
    PluginState,
    RegistryBusyError,
    hookimpl,
)
from plugreg._state.plugin_rows import PluginRows
from plugreg.api import Actor, InvalidError, PluginAPI
from plugreg.storage import MemoryStorage

PATIENCE = 20.0
"""Seconds after which a test gives up; none takes that long unless it fails."""

SUPERUSER = Actor(9, is_superuser=True)


class Gate:
    """Holds a plugin's activation until the test lets it go on."""

    def __init__(self):
        self.entered = threading.Event()
        self.may_go_on = threading.Event()

    def plugin(self, name):
        gate = self

        class Slow(Plugin):
            NAME = name

            @hookimpl
            def plugreg_activated(self):
                gate.entered.set()
                assert gate.may_go_on.wait(PATIENCE)

        return Slow


class Call(threading.Thread):
    """A call in another thread, and its result."""

    def __init__(self, call, *args, **kwargs):
        super().__init__(daemon=True)
        self._call = lambda: call(*args, **kwargs)
        self._outcome = None
        self.start()

    def run(self):
        try:
            self._outcome = self._call()
        except Exception as error:
            self._outcome = error

    def outcome(self):
        self.join(PATIENCE)
        assert not self.is_alive()
        return self._outcome


class Tea(Plugin): ...


@pytest.fixture
def storage():
    return MemoryStorage()


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.may_go_on.set()


@pytest.fixture
def start(storage, gate):
    """Yield a function that starts a registry on the storage, as one more process has it."""
    started = []

    def start(**options):
        options.setdefault("builtin", [Tea, gate.plugin("slow")])
        registry = PluginRegistry("shop", group="no.such", storage=storage, **options)
        registry.load()
        started.append(registry)
        return registry

    yield start
    gate.may_go_on.set()
    for registry in started:
        registry.close()


def switch(registry, slug, active):
    """Switch a plugin over the API, without a probe, whose report is stored; return the answer."""
    api = PluginAPI(registry, probe=False)
    answer = api.plugins_activate_partial_update(SUPERUSER, plugin=slug, body={"active": active})
    return answer.active


def waits(registry):
    """Wait until a change stands in the line."""
    line = registry._life.queue._lines.get()
    for _ in range(int(PATIENCE * 1000)):
        last = line.last()
        if last is not None and last.before is not None:
            return
        threading.Event().wait(0.001)
    pytest.fail("no change came to wait")


def stored_states(storage):
    return {slug: wanted.active for slug, wanted in PluginRows(storage).all().items()}


class TestTheStoreDecides:
    def test_off_asked_while_on_is_under_way(self, start, storage, gate):
        """A plugin that the snapshot still shows as off is switched off: the request came later."""
        registry = start()
        on = Call(switch, registry, "slow", True)
        assert gate.entered.wait(PATIENCE)
        off = Call(switch, registry, "slow", False)
        waits(registry)
        gate.may_go_on.set()

        assert off.outcome() is False
        assert isinstance(on.outcome(), bool)
        assert stored_states(storage)["slow"] is False
        assert registry.get("slow").state is PluginState.INACTIVE

    def test_off_asked_in_another_process_while_on_is_under_way(self, start, storage, gate):
        """It is stored there, and taken in here."""
        here, there = start(), start()
        on = Call(switch, here, "slow", True)
        assert gate.entered.wait(PATIENCE)
        assert switch(there, "slow", False) is False
        gate.may_go_on.set()
        on.outcome()
        here.refresh()

        assert stored_states(storage)["slow"] is False
        assert here.get("slow").state is PluginState.INACTIVE

    def test_on_where_another_process_has_switched_it_off(self, start, storage):
        """A snapshot that shows the plugin as on is no reason to store nothing."""
        here, there = start(), start()
        here.activate("tea")
        there.refresh()
        there.deactivate("tea")

        assert switch(here, "tea", True) is True
        assert stored_states(storage)["tea"] is True
        here.refresh()
        there.refresh()
        assert here.get("tea").active
        assert there.get("tea").active

    def test_on_where_another_process_has_switched_it_on(self, start, storage):
        """The store agrees, so the generation stays; the plugin comes into service here."""
        here, there = start(), start()
        there.activate("tea")
        revision = storage.revision()

        assert switch(here, "tea", True) is True
        assert here.get("tea").active
        assert storage.revision() == revision

    def test_on_again_makes_nothing_anew(self, start, storage):
        """Where the store agrees nothing is stored, reloaded, or reported."""
        registry = start()
        plugin, revision = registry.activate("tea").plugin, storage.revision()

        assert switch(registry, "tea", True) is True
        assert registry.get("tea").plugin is plugin
        assert storage.revision() == revision
        assert registry.refresh() is False

    def test_a_wanted_plugin_that_is_blocked(self, start):
        """The API refuses the same requests as Python."""
        start().activate("tea")
        registry = start(blocked=["tea"])
        assert registry.get("tea").wanted
        with pytest.raises(PluginBlockedError):
            registry.activate("tea")
        with pytest.raises(InvalidError, match="blocked"):
            switch(registry, "tea", True)


class TestDelete:
    def test_what_another_process_has_switched_on_stays(self, start, storage):
        """Neither desired state nor metadata goes, whatever this process has taken in."""
        here, there = start(), start()
        here.set_metadata("tea", {"a": 1})
        there.activate("tea")
        with pytest.raises(PluginActiveError):
            here.delete("tea")
        with pytest.raises(InvalidError, match="currently active"):
            PluginAPI(here).plugins_destroy(SUPERUSER, plugin="tea")

        assert stored_states(storage)["tea"] is True
        assert storage.read("metadata")["tea"] == {"metadata": {"a": 1}}
        assert here.metadata("tea") == {"a": 1}

    def test_what_another_process_has_switched_off_goes(self, start, storage):
        """It goes out of service here, too."""
        here, there = start(), start()
        here.activate("tea")
        there.refresh()
        there.deactivate("tea")
        PluginAPI(here).plugins_destroy(SUPERUSER, plugin="tea")

        assert here.get("tea").state is PluginState.INACTIVE
        assert stored_states(storage)["tea"] is False

    def test_where_new_plugins_are_on_it_stays_off_until_they_are_looked_for(self, start, storage):
        """Neither a reload nor another process restores a deletion by an operator."""
        here, there = (start(new_plugins="active", builtin=[Tea]) for _ in "12")
        pk = here.deactivate("tea").pk
        here.delete("tea")

        assert here.get("tea").state is PluginState.INACTIVE
        assert here.get("tea").pk > pk
        there.refresh()
        for registry in (here, there):
            registry.reload(force=True)
            assert registry.get("tea").state is PluginState.INACTIVE
        revision = storage.revision()
        assert (here.refresh(), there.refresh(), storage.revision()) == (False, False, revision)
        pk = here.get("tea").pk
        here.reload(collect=True)
        assert here.get("tea").active
        assert here.get("tea").pk == pk
        assert there.refresh() is True
        assert there.get("tea").active

    def test_the_next_start_looks_for_it(self, start):
        """It is then as if never seen, by the rules of that host."""
        here = start(new_plugins="active", builtin=[Tea])
        here.deactivate("tea")
        here.delete("tea")

        assert not start(builtin=[Tea]).get("tea").wanted
        assert start(new_plugins="active", builtin=[Tea]).get("tea").active

    @pytest.mark.parametrize("wanted", [True, False])
    def test_a_later_change_counts(self, start, wanted):
        """An operator's later decision counts, and no rule for new plugins."""
        registry = start(new_plugins="active", builtin=[Tea])
        registry.deactivate("tea")
        registry.delete("tea")
        switch(registry, "tea", wanted)
        registry.reload(collect=True)

        assert registry.get("tea").active is wanted


class TestTurns:
    @pytest.mark.parametrize(
        "change",
        [
            lambda registry: registry.activate("tea"),
            lambda registry: registry.deactivate("milk"),
            lambda registry: registry.delete("tea"),
        ],
    )
    def test_what_was_refused_as_busy_does_not_happen(self, start, storage, gate, change):
        """RegistryBusyError means that nothing was stored, so that no later reload does it."""
        milk = type("Milk", (Plugin,), {})
        registry = start(builtin=[Tea, milk, gate.plugin("slow")], reload_wait=0.05)
        registry.activate("milk")
        registry.set_metadata("tea", {"a": 1})
        slow = Call(registry.activate, "slow")
        assert gate.entered.wait(PATIENCE)
        revision = storage.revision()
        with pytest.raises(RegistryBusyError):
            change(registry)
        assert storage.revision() == revision
        gate.may_go_on.set()
        slow.outcome()
        registry.refresh()

        assert [*registry.active] == ["milk", "slow"]
        assert registry.metadata("tea") == {"a": 1}

    def test_a_refusal_holds_when_its_turn_comes(self, start, storage, gate):
        """A plugin that has begun to need another one meanwhile keeps it on."""

        class Mother(Plugin):
            @hookimpl
            def plugreg_plugins(self):
                return [("child", gate.plugin("child"))]

        registry = start(builtin=[Mother])
        registry.activate("mother")
        child = Call(registry.activate, "child")
        assert gate.entered.wait(PATIENCE)
        off = Call(registry.deactivate, "mother")
        waits(registry)
        gate.may_go_on.set()
        child.outcome()

        assert type(off.outcome()) is PluginRequiredError
        assert stored_states(storage) == {"mother": True, "child": True}
        assert [*registry.active] == ["mother", "child"]

    def test_plugin_code_has_its_turn_already(self, start, storage):
        """The state is stored and refusals are raised at once, and the rest is done after it."""
        seen = []

        class Asking(Plugin):
            @hookimpl
            def plugreg_activated(self):
                with pytest.raises(PluginActiveError):
                    registry.delete("asking")
                seen.append(registry.activate("tea").active)
                seen.append(stored_states(storage)["tea"])

        registry = start(builtin=[Asking, Tea])
        registry.activate("asking")

        assert seen == [False, True]
        assert registry.get("tea").active


class TestSafeMode:
    def test_is_seen(self, start):
        """It is one record in the status for as long as it lasts, and is reported once."""
        reported = []
        registry = start(safe_mode=True, on_failure=reported.append)
        for change in (lambda: switch(registry, "tea", True), registry.reload, registry.refresh):
            change()
            (record,) = registry.status()["registry_errors"]
            assert (record["stage"], record["name"]) == ("discovery", "safe-mode")
            assert "safe mode" in record["message"]
        assert [failure.slug for failure in reported] == ["safe-mode"]
        assert start().status()["registry_errors"] == []

    def test_starts_where_every_failure_stops_a_host(self, start, storage):
        """A host that does not start otherwise is started with it."""
        registry = PluginRegistry("shop", group="no.such", storage=storage, safe_mode=True)
        with registry:
            assert registry.load(strict=True).active == ()


class Milk(Plugin):
    NAME = "milk"


class Coffee(Plugin):
    NAME = "coffee"


class TestSwitch:
    def test_several_at_once(self, start, storage):
        """One transaction stores all, one load carries all out, and no other set is ever seen."""
        registry = start(builtin=[Coffee, Tea, Milk])
        registry.switch({"coffee": True, "tea": True})
        revision = storage.revision()
        records = registry.switch({"milk": True, "tea": False})

        assert {slug: record.active for slug, record in records.items()} == {
            "milk": True,
            "tea": False,
        }
        assert [*registry.active] == ["coffee", "milk"]
        assert stored_states(storage) == {"coffee": True, "tea": False, "milk": True}
        assert storage.revision() == revision + 1
        assert registry.switch({"milk": True})["milk"].active
        assert storage.revision() == revision + 1

    def test_readers_see_no_set_in_between(self, start):
        """While plugins change places in many rounds, a reader finds one of the two, never both."""
        registry = start(builtin=[Tea, Milk], new_plugins="inactive")
        registry.switch({"tea": True})
        stop, seen = threading.Event(), set()

        def read():
            while not stop.is_set():
                seen.add(tuple(registry.active))

        reader = threading.Thread(target=read)
        reader.start()
        for round_ in range(50):
            registry.switch({"tea": round_ % 2 == 1, "milk": round_ % 2 == 0})
        stop.set()
        reader.join()

        assert seen <= {("tea",), ("milk",)}

    def test_all_or_nothing(self, start, storage):
        """A plugin that may not be switched is refused with its error, and nothing is switched."""
        registry = start(builtin=[Tea, Milk], blocked={"blocked"}, mandatory={"milk"})
        before = storage.revision()

        for wanted, error in (
            ({"tea": True, "no-such": True}, PluginNotFoundError),
            ({"tea": True, "no-such": False}, PluginNotFoundError),
            ({"tea": True, "blocked": True}, PluginBlockedError),
            ({"tea": True, "milk": False}, PluginMandatoryError),
        ):
            with pytest.raises(error):
                registry.switch(wanted)
        with pytest.raises(TypeError, match="'milk' is switched by True or False, not 1"):
            registry.switch({"tea": True, "milk": 1})
        with pytest.raises(TypeError, match="mapping of slugs to True or False, not 'list'"):
            registry.switch(["tea"])
        assert [*registry.active] == ["milk"]
        assert storage.revision() == before

    def test_what_needs_a_plugin_goes_with_it_or_keeps_it(self, start):
        """A plugin that another one needs can be switched off together with that one alone."""

        class Mother(Plugin):
            @hookimpl
            def plugreg_plugins(self):
                return [("child", Tea)]

        registry = start(builtin=[Mother])
        registry.switch({"mother": True})
        registry.activate("child")

        with pytest.raises(PluginRequiredError):
            registry.switch({"mother": False})
        with pytest.raises(PluginRequiredError):
            registry.switch({"mother": False, "child": True})
        registry.switch({"mother": False, "child": False})
        assert not registry.active
