"""Hints: other processes notice a commit at once, and nothing depends on it."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from uuid import uuid4

import pytest
import redis

from plugreg import MissingExtraError, Plugin, PluginRegistry, StorageError
from plugreg._state.watch import Hints
from plugreg.hints import Hinted, RedisHints
from plugreg.storage import MemoryStorage, TinyDBStorage
from plugreg.storage.clock import now

REDIS = os.environ.get("PLUGREG_TEST_REDIS", "redis://127.0.0.1:6379")
LONG = 30.0


class Tea(Plugin):
    NAME = "tea"


class CountingChannel:
    """A channel within this process."""

    def __init__(self, storage=None):
        self.storage = storage
        self.sent = 0
        self.stored = 0
        self.closed = False

    def tell(self):
        self.sent += 1
        self.stored = self.storage.revision()

    def wait(self, seconds):
        return self.sent > 0

    def close(self):
        self.closed = True


def port_of(hints):
    """Return the port from which it listens."""
    return hints._listening[1].connection._sock.getsockname()[1]


class TestHinted:
    def test_is_the_storage_it_holds(self):
        """Reads, writes, revision and time are the inner storage's."""
        inner = MemoryStorage()
        storage = Hinted(inner, CountingChannel(inner))
        with storage.transaction() as transaction:
            transaction.put("drinks", "tea", {"price": 2})
        assert inner.read("drinks") == storage.read("drinks") == {"tea": {"price": 2}}
        assert storage.revision() == inner.revision() == 1
        assert isinstance(storage, Hints)
        assert not isinstance(inner, Hints)

    def test_has_the_clock_of_the_storage_it_holds(self):
        """Leases go by it."""

        class Clocked(MemoryStorage):
            def now(self):
                return 7.5

        assert now(Hinted(Clocked(), CountingChannel())) == 7.5

    def test_sends_after_a_commit_and_after_nothing_else(self):
        """The hint follows the commit; a transaction that fails sends none."""
        inner = MemoryStorage()
        channel = CountingChannel(inner)
        storage = Hinted(inner, channel)
        with pytest.raises(StorageError), storage.transaction() as transaction:
            transaction.put("drinks", "tea", {"price": object()})
        assert channel.sent == 0
        with storage.transaction() as transaction:
            transaction.put("drinks", "tea", {})
            assert channel.sent == 0
        assert (channel.sent, channel.stored) == (1, 1)

    def test_shows_a_damaged_store_that_its_storage_has_set_aside(self, tmp_path):
        """The record of it is there with hints as without."""
        path = tmp_path / "plugins.json"
        path.write_bytes(b"{")
        inner = TinyDBStorage(path, on_corrupt="set_aside")
        registry = PluginRegistry("shop", storage=Hinted(inner, CountingChannel(inner)))
        registry.load()
        (failure,) = registry.errors
        assert inner.set_aside[0].path in failure.message
        assert not hasattr(Hinted(MemoryStorage(), CountingChannel()), "set_aside")
        registry.close()

    def test_closes_both(self):
        """Neither the store nor the server is used any more."""
        channel = CountingChannel()
        storage = Hinted(MemoryStorage(), channel)
        storage.close()
        assert channel.closed
        with pytest.raises(StorageError, match="closed"):
            storage.read("drinks")


def test_without_redis_it_says_what_to_install(monkeypatch):
    """The error names the extra."""
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingExtraError, match=r"plugreg\[redis\]"):
        RedisHints(REDIS)


def test_a_server_that_is_away_costs_nothing_but_the_hint(caplog):
    """The commit holds, and the outage is logged once."""
    hints = RedisHints("redis://127.0.0.1:1")
    storage = Hinted(MemoryStorage(), hints)
    for number in range(3):
        with storage.transaction() as transaction:
            transaction.put("drinks", f"tea {number}", {})
    assert len(storage.read("drinks")) == 3
    assert caplog.text.count("no hints can be sent") == 1
    with pytest.raises(redis.ConnectionError):
        storage.wait(0.1)
    storage.close()


class Silent:
    """A server that takes connections, counts them, and answers nothing."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                self.connections.append(self._listener.accept()[0])
            except OSError:
                return

    def await_connections(self, number):
        """Wait until there were so many connections; there must be no more."""
        deadline = time.monotonic() + LONG
        while len(self.connections) < number:
            assert time.monotonic() < deadline
            threading.Event().wait(0.005)
        assert len(self.connections) == number

    def close(self):
        for connection in (self._listener, *self.connections):
            connection.close()


def test_a_silent_server_is_left_alone_for_a_while(monkeypatch):
    """Of many commits one waits for it, and after a few seconds the next one tries again."""
    server = Silent()
    hints = RedisHints(server.url)
    storage = Hinted(MemoryStorage(), hints)
    # However long the machine pauses, it is not over yet.
    monkeypatch.setattr("plugreg.hints._SILENCE", 100 * LONG)
    for number in range(20):
        with storage.transaction() as transaction:
            transaction.put("drinks", f"tea {number}", {})
    server.await_connections(1)
    hints._silent_until = time.monotonic()
    with storage.transaction() as transaction:
        transaction.put("drinks", "milk", {})
    server.await_connections(2)
    storage.close()
    server.close()


@pytest.mark.parametrize(
    "url", ["redis://shop:hun/ter2@127.0.0.1:6379/0", "http://hunter2@here", "redis://:hunter2[@x"]
)
def test_a_url_that_is_none_is_refused_and_not_shown(url):
    """A password that was not escaped is in no message, and in no chained exception."""
    with pytest.raises(ValueError, match="%-codes") as caught:
        RedisHints(url)
    assert "hun" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None


class TestRedis:
    @pytest.fixture(autouse=True)
    def _server(self):
        try:
            redis.Redis.from_url(REDIS).ping()
        except redis.RedisError as error:
            reason = f"redis is not there: {type(error).__name__}"
            if os.environ.get("PLUGREG_TEST_NO_SKIP") == "1":
                pytest.fail(f"{reason}, and PLUGREG_TEST_NO_SKIP=1 forbids to skip")
            pytest.skip(reason)

    @pytest.fixture
    def channel(self):
        return f"plugreg-{uuid4().hex}"

    def test_begins_with_a_hint(self, channel):
        """Hints that were sent before a listener waits are lost; so after an outage."""
        here, there = (RedisHints(REDIS, channel=channel) for _ in "ab")
        there.tell()
        assert here.wait(LONG)
        assert not here.wait(0.05)
        listeners = redis.Redis.from_url(REDIS)
        (client,) = [
            client
            for client in listeners.client_list(_type="pubsub")
            if client["addr"].split(":")[-1] == str(port_of(here))
        ]
        listeners.client_kill_filter(_id=client["id"])
        heard = []
        deadline = time.monotonic() + LONG
        while not any(heard):
            assert time.monotonic() < deadline
            try:
                heard.append(here.wait(1.0))
            except redis.RedisError:
                heard.append(False)
        for user in (here, there, listeners):
            user.close()

    def test_wakes_who_waits(self, channel):
        """A hint goes to every listener on its channel, and to no other."""
        here, there, other = (RedisHints(REDIS, channel=name) for name in (channel, channel, "x"))
        for hints in (here, there, other):
            assert hints.wait(LONG)  # A hint reaches only those that listen.
        other.tell()
        assert not here.wait(0.05)
        there.tell()
        assert here.wait(LONG)
        for hints in (here, there, other):
            hints.close()
            hints.close()

    def test_a_watching_registry_looks_at_once(self, tmp_path, channel):
        """It takes in a change long before its next look is due."""
        path = tmp_path / "plugins.json"
        stores = [Hinted(TinyDBStorage(path), RedisHints(REDIS, channel=channel)) for _ in "ab"]
        here, there = (PluginRegistry("shop", storage=storage, builtin=[Tea]) for storage in stores)
        here.load()
        there.load()
        listeners = redis.Redis.from_url(REDIS)
        with here.watch(every=100 * LONG):
            deadline = time.monotonic() + LONG
            while not dict(listeners.pubsub_numsub(channel)).get(channel.encode()):
                assert time.monotonic() < deadline
                threading.Event().wait(0.01)
            there.activate("tea")
            while "tea" not in here.active:
                assert time.monotonic() < deadline
                threading.Event().wait(0.01)
        for user in (here, there, *stores, listeners):
            user.close()
