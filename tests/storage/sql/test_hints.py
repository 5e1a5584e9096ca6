"""PostgreSQL notifies of each commit at once; other databases are asked."""

from __future__ import annotations

import os
import threading
import time

import pytest

from plugreg import Plugin, PluginRegistry, StorageError
from plugreg._state.watch import Hints
from plugreg.storage import SQLStorage

LONG = 30.0
"""Seconds after which a test gives up; what it waits for takes milliseconds."""


class Tea(Plugin):
    NAME = "tea"


def commit(storage, key="x"):
    with storage.transaction() as transaction:
        transaction.put("t", key, {})


def put_and_fail(storage):
    with storage.transaction() as transaction:
        transaction.put("t", "x", {})
        transaction.put("t", "y", {"no": "JSON", "at": object()})


@pytest.fixture
def postgresql(new_database):
    return new_database("postgresql")


class TestPostgreSQL:
    def test_wakes_who_waits(self, postgresql):
        """A commit ends the wait of another one, which takes it in whole: it is there already."""
        here, there = postgresql.open(), postgresql.open()
        here.wait(0.01)  # Only those that listen already are notified.
        committing = threading.Timer(0.1, commit, [there, "committed"])
        committing.start()
        assert isinstance(here, Hints)
        assert here.wait(LONG)
        assert here.read("t") == {"committed": {}}
        committing.join()

    def test_tells_what_came_between_two_waits_once(self, postgresql):
        """Hints that were missed while nobody waited count later, as often as they came."""
        here, there = postgresql.open(), postgresql.open()
        here.wait(0.01)
        commit(there, "a")
        commit(there, "b")
        assert here.wait(LONG)
        # The second one may come in a message of its own, and that one later.
        assert [here.wait(0.1) for _ in range(3)].count(True) <= 1

    def test_tells_of_commits_alone(self, postgresql):
        """A transaction that was undone, or only read, is nobody's business."""
        here, there = postgresql.open(), postgresql.open()
        here.wait(0.01)
        with there.transaction() as transaction:
            transaction.get("t", "x")
        with pytest.raises(StorageError):
            put_and_fail(there)
        assert not here.wait(0.1)

    def test_tells_nobody_of_another_store(self, postgresql):
        """Two prefixes in one database are two stores."""
        here = postgresql.open()
        other = SQLStorage(postgresql.server.url, prefix=postgresql.server.prefix())
        here.wait(0.01)
        commit(other)
        assert not here.wait(0.1)
        other.close()

    @pytest.mark.parametrize("served", ["postgresql"], indirect=True)
    def test_is_listened_to_again_after_the_connection_broke(self, served, proxy):
        """The wait that breaks raises, and the next one is notified again."""
        here, there = served.open(proxy.url), served.open()
        here.wait(0.01)
        proxy.cut()
        with pytest.raises(Exception, match="connection"):
            here.wait(LONG)
        here.wait(0.01)
        commit(there)
        assert here.wait(LONG)

    def test_is_listened_to_by_a_child_and_its_parent(self, postgresql):
        """A forked child has a connection of its own to listen on, and leaves its parent's."""
        here, there = postgresql.open(), postgresql.open()
        here.wait(0.01)
        child = os.fork()
        if not child:
            hinted = False
            try:
                here.wait(0.01)
                commit(here)
                hinted = here.wait(LONG)
                here.close()
            finally:
                os._exit(0 if hinted else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert here.wait(LONG)
        commit(there)
        assert here.wait(LONG)

    def test_leaves_no_connection_behind(self, postgresql):
        """After close there is none, and waiting is refused."""
        here = postgresql.open()
        here.wait(0.01)
        listening = (
            f"SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN {postgresql.prefix}%%'"
        )
        assert postgresql.server.execute(listening) == [(1,)]
        here.close()
        deadline = time.monotonic() + LONG
        while postgresql.server.execute(listening) != [(0,)]:
            assert time.monotonic() < deadline
        with pytest.raises(StorageError, match="closed"):
            here.wait(0.01)

    def test_makes_a_watching_registry_look_at_once(self, postgresql):
        """It takes in a change long before its next look is due."""
        stores = [postgresql.open() for _ in "ab"]
        here, there = (PluginRegistry("shop", storage=storage, builtin=[Tea]) for storage in stores)
        here.load()
        there.load()
        with here.watch(every=100 * LONG):
            deadline = time.monotonic() + LONG
            switched = False
            while "tea" not in here.active:
                assert time.monotonic() < deadline
                # It may not listen yet when the first of these comes.
                (there.deactivate if switched else there.activate)("tea")
                switched = not switched
                time.sleep(0.05)
        for registry in (here, there):
            registry.close()


def test_close_ends_a_wait(database):
    """Whoever closes waits for nobody, and the wait returns that there was no hint."""
    storage, hints = database.open(), []
    storage.wait(0.01)
    waiting = threading.Thread(
        target=lambda: hints.append(storage.wait(100 * LONG)), name="waiting", daemon=True
    )
    closing = threading.Thread(target=storage.close, name="closing", daemon=True)
    for thread in (waiting, closing):
        thread.start()
        # Closing comes while it waits, or just before: that ends it too.
        time.sleep(0.1)
    for thread in (closing, waiting):
        thread.join(LONG)
        assert not thread.is_alive(), f"{thread.name} has no end"
    assert hints == [False]


def test_says_whether_it_gives_hints(database):
    """Only where there are hints is waiting for them worth a thread's time."""
    assert database.open().gives_hints == (database.name == "postgresql")


@pytest.mark.parametrize("name", ["sqlite", "mariadb"])
def test_a_watch_of_others_waits_for_nobody(new_database, monkeypatch, name):
    """Without notifications the thread does not wait for them, so leaving it is at once."""
    storage = new_database(name).open()
    waited = []
    monkeypatch.setattr(storage, "wait", waited.append)
    registry = PluginRegistry("shop", storage=storage, builtin=[Tea])
    registry.load()
    with registry.watch(every=LONG):
        time.sleep(0.05)
    registry.close()
    assert waited == []


@pytest.mark.parametrize("name", ["sqlite", "mariadb"])
def test_other_databases_notify_nobody(new_database, name):
    """There a wait lasts as long as it was asked to, so that looks come when they are due."""
    database = new_database(name)
    here, there = database.open(), database.open()
    commit(there)
    started = time.monotonic()
    assert not here.wait(0.05)
    assert time.monotonic() - started >= 0.05
