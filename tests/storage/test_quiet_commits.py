"""Commits that concern nobody: heartbeats and leases, on every backend."""

from __future__ import annotations

import time
from itertools import product

import pytest

from plugreg import Plugin, PluginRegistry
from plugreg.mixins import SettingsMixin
from plugreg.storage import MemoryStorage, copy
from plugreg.storage.quiet_commits import TABLE, is_quiet, mark_quiet


class Tea(SettingsMixin, Plugin):
    NAME = "tea"
    SETTINGS = {"COLOUR": {"default": "red"}}


class Counted:
    """A storage that counts reads and commits through it."""

    def __init__(self, storage):
        self._storage = storage
        self.reads = []

    def read(self, table):
        self.reads.append(table)
        return self._storage.read(table)

    def transaction(self):
        return self._storage.transaction()

    def revision(self):
        return self._storage.revision()

    def close(self):
        pass


@pytest.fixture
def start(storage):
    """Yield a function that loads one more registry on the store, as another process has it."""
    started = []

    def start(**options):
        counted = Counted(storage)
        registry = PluginRegistry("shop", storage=counted, builtin=[Tea], **options)
        registry.load()
        registry.counted = counted
        started.append(registry)
        return registry

    yield start
    for registry in started:
        registry.close()


def commit(storage, *, quiet):
    with storage.transaction() as transaction:
        transaction.put("drinks", "tea", {})
        if quiet:
            mark_quiet(storage, transaction)


def await_commits(registry, revision):
    deadline = time.monotonic() + 60.0
    while registry.counted.revision() < revision:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_heartbeat_makes_nobody_read_values(start, monkeypatch):
    """Another process reads the mark of the commits once, and no table of values."""
    monkeypatch.setattr("plugreg._state.heartbeat._INTERVAL", 0.0)
    here, there = start(process="web"), start()
    here.activate("tea")
    for registry in (here, there):
        registry.refresh()
    here.counted.reads.clear()
    before = here.counted.revision()
    with there.watch(every=0.01):
        await_commits(here, before + 3)
    there.close()
    for _ in range(3):
        assert here.refresh() is False
    assert here.counted.reads == [TABLE]


def test_a_lease_makes_nobody_read_values(start):
    """Neither taking it, nor renewing, finishing or releasing it."""
    here, there = start(), start()
    here.refresh()
    here.counted.reads.clear()
    before = here.counted.revision()
    with there.shared.once("bill", lease=0.03) as mine:
        assert mine
        await_commits(here, before + 3)
    with pytest.raises(ValueError, match="no"), there.shared.once("ship"):
        raise ValueError("no")
    with there.shared.once("bill") as mine:
        assert not mine
    assert here.refresh() is False
    assert here.counted.reads == [TABLE]


def test_a_value_is_seen_among_heartbeats(start):
    """Records stored before, between and after quiet commits are read at the next look."""
    here, there = start(process="web"), start(process="worker")
    there.activate("tea")
    assert here.refresh()
    for colour in ("blue", "green", "white"):
        with there.shared.once(f"before {colour}"):
            there.settings("tea").set("COLOUR", colour)
        assert here.refresh() is False
        assert here.settings("tea")["COLOUR"] == colour
    there.deactivate("tea")
    with there.shared.once("after"):
        pass
    assert here.refresh() is True


def test_quiet_is_what_holds_no_other_commit(storage):
    """Of every order of commits: never where one that concerns others came since."""
    for number, order in enumerate(product([True, False], repeat=4)):
        start, known = storage.revision(), []
        for quiet in order:
            known.append(storage.revision())
            commit(storage, quiet=quiet)
        revision = storage.revision()
        assert revision == start + 4, number
        for index, before in enumerate(known):
            assert is_quiet(storage, before, revision) is all(order[index:]), (order, index)
        assert not is_quiet(storage, revision, revision)
        # An older copy of the store was put in the place of the known one.
        assert not is_quiet(storage, revision + 1, revision)


@pytest.mark.parametrize("record", [{}, {"since": 0}, {"since": "0", "until": 9}])
def test_a_record_that_is_none_hides_nothing(storage, record):
    """Whoever finds something else there reads everything, as without a mark."""
    with storage.transaction() as transaction:
        transaction.put(TABLE, "last", record)
    known = storage.revision()
    assert not is_quiet(storage, known - 1, known)
    commit(storage, quiet=True)
    assert is_quiet(storage, known, known + 1)


def test_marks_are_not_copied(storage):
    """They count the commits of their own store."""
    for _ in range(3):
        commit(storage, quiet=True)
    target = MemoryStorage()
    copy(storage, target)
    assert target.read("drinks") == {"tea": {}}
    assert target.read(TABLE) == {}
    commit(target, quiet=False)
    commit(target, quiet=False)
    assert not is_quiet(target, 1, target.revision())


class TestNothingChanged:
    def test_commits_nothing(self, start, storage):
        """Opening, loading and closing a registry leaves no trace, as a listing does."""
        start(new_plugins="active").close()
        revision = storage.revision()
        with start() as registry:
            assert "tea" in registry.active
            registry.refresh()
            registry.status(processes=True)
        assert storage.revision() == revision
        assert storage.read("processes") == {}

    def test_nor_does_a_change_add_a_heartbeat(self, start, storage):
        """A process that is no server stores its changes in one commit.

        That a version loads without ending the process is stored once, when it is new.
        """
        registry = start()
        registry.activate("tea")
        registry.deactivate("tea")
        revision = storage.revision()
        registry.activate("tea")
        registry.close()
        assert storage.revision() == revision + 1
