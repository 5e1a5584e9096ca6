"""Requests see changes of other processes, and wait for no reload."""

from __future__ import annotations

import json
import threading
import time

import pytest

from plugreg import Plugin, PluginRegistry, StorageUnavailableError
from plugreg._state import watch as watching
from plugreg.api import Actor
from plugreg.api.http import Request, Responder
from plugreg.mixins import SettingsMixin
from plugreg.storage import MemoryStorage

SUPERUSER = Actor(1, is_staff=True, is_superuser=True)
LONG = 30.0
"""Seconds after which a test gives up; what it waits for takes milliseconds."""
COLOUR = "/api/plugins/tea/settings/COLOUR/"


class Tea(SettingsMixin, Plugin):
    NAME = "tea"
    SETTINGS = {"COLOUR": {"default": "red"}}


class Slow(Plugin):
    """Takes its time to come into service, in every process but the first."""

    NAME = "slow"
    made = 0
    goes_on = threading.Event()

    def __init__(self):
        Slow.made += 1
        if Slow.made > 1:
            Slow.goes_on.wait(LONG)


class Faulty(MemoryStorage):
    away = False
    looks = 0

    def revision(self):
        self.looks += 1
        if self.away:
            raise StorageUnavailableError("memory", "it is away")
        return super().revision()


@pytest.fixture
def patient(monkeypatch):
    """Requests wait for their look however long that takes, as on a machine that pauses."""
    monkeypatch.setattr(watching, "_LONGEST_WAIT", LONG)


@pytest.fixture
def storage():
    return Faulty()


@pytest.fixture
def registries(storage):
    """Yield two registries on one storage, as two processes have them."""
    Slow.made, Slow.goes_on = 0, threading.Event()
    made = [
        PluginRegistry(
            "shop", storage=storage, builtin=[Tea, Slow], mandatory=["tea"], new_plugins="inactive"
        )
        for _ in "ab"
    ]
    for item in made:
        item.load()
    yield made
    storage.away = False
    Slow.goes_on.set()
    for item in made:
        item.close()


@pytest.fixture
def there(registries):
    return registries[1]


@pytest.fixture
def ask(registries):
    """Return a function that asks as every adapter does, and returns the body of the answer."""
    responder = Responder(registries[0])

    def ask(path):
        answer = responder.respond(Request(method="GET", path=path), SUPERUSER)
        assert answer.status == 200
        return json.loads(answer.body)

    return ask


def pause():
    """Wait until the next look is due."""
    time.sleep(0.55)


@pytest.mark.usefixtures("patient")
def test_changed_values_are_in_the_next_answer(make_client, registries, there):
    """Half a second after the last look, a request sees a value set by another process."""
    client = make_client(registries[0])
    assert client("GET", COLOUR, SUPERUSER).body["value"] == "red"
    there.settings("tea").set("COLOUR", "blue")
    pause()
    assert client("GET", COLOUR, SUPERUSER).body["value"] == "blue"


def test_changed_states_are_applied_without_a_reload_request(ask, there):
    """Requests alone make a process carry out the changes of another one."""
    Slow.goes_on.set()
    there.activate("slow")
    deadline = time.monotonic() + LONG
    while not ask("/api/plugins/slow/")["active"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_reload_holds_up_no_answer(ask, registries, there):
    """While a plugin takes long to come into service, the snapshot in hand is served."""
    there.activate("slow")
    pause()
    for _ in range(3):
        assert not ask("/api/plugins/slow/")["active"]
    named = [item for item in threading.enumerate() if item.name == "plugreg follow"]
    assert len(named) == 1
    Slow.goes_on.set()
    named[0].join(LONG)
    assert ask("/api/plugins/slow/")["active"]
    assert "slow" in registries[0].active


@pytest.mark.usefixtures("patient")
def test_a_storage_that_is_away_costs_no_answer(ask, storage, there, caplog):
    """It is logged once, the state in hand is served, and later changes come by themselves."""
    there.settings("tea").set("COLOUR", "blue")
    storage.away = True
    for _ in range(2):
        pause()
        assert ask(COLOUR)["value"] == "red"
    assert caplog.text.count("changes of other processes cannot be read") == 1
    storage.away = False
    pause()
    assert ask(COLOUR)["value"] == "blue"


@pytest.mark.usefixtures("patient")
def test_looks_are_half_a_second_apart(ask, storage):
    """Requests that follow one another closely cost the storage one look."""
    ask(COLOUR)
    pause()
    storage.looks, started = 0, time.monotonic()
    for _ in range(100):
        ask(COLOUR)
    assert 1 <= storage.looks <= 1 + (time.monotonic() - started) / 0.5


def test_before_load_and_after_close_it_is_as_ever(caplog):
    """A registry that is not ready answers so, and logs nothing of looks."""
    registry = PluginRegistry("shop")
    responder, request = Responder(registry), Request(method="GET", path="/api/plugins/")
    assert responder.respond(request, SUPERUSER).status == 503
    registry.load()
    registry.close()
    pause()
    assert responder.respond(request, SUPERUSER).status == 503
    assert caplog.records == []
