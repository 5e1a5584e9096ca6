"""Rows that version 0.2 has stored are read, and what is stored now can be read by it."""

from __future__ import annotations

import time
from contextlib import closing

import pytest

from plugreg import Plugin, PluginRegistry
from plugreg._support.identity import own_identity
from plugreg.storage import open_storage


class Tea(Plugin):
    NAME = "tea"


@pytest.fixture(params=["tinydb", "sqlite"])
def storage(request, tmp_path):
    with closing(open_storage(f"{request.param}:///{tmp_path / 'plugins.store'}")) as storage:
        yield storage


@pytest.fixture
def registry(storage):
    with PluginRegistry("shop", storage=storage, builtin=[Tea]) as registry:
        yield registry


def put(storage, table, key, row):
    with storage.transaction() as transaction:
        transaction.put(table, key, row)


def test_processes(registry, storage):
    """A process of that version is seen, though its row says nothing of slow imports."""
    row = {
        **own_identity()._asdict(),
        "generation": 4,
        "active": ["tea"],
        "errors": 0,
        "name": "worker",
        "since": time.time(),
        "seen": time.time(),
    }
    put(storage, "processes", "02f91f5474866f11", row)
    registry.load()
    assert [process.name for process in registry.shared.processes()[1:]] == ["worker"]


def test_the_counter_of_changes(registry, storage):
    """It goes on from the number that is stored, and has what that version reads."""
    put(storage, "counters", "generation", {"number": 7, "asked": 2})
    registry.load()
    assert not registry.damaged
    registry.activate("tea")
    assert storage.read("counters")["generation"] == {"number": 8, "asked": 8}


def test_what_a_plugin_has_served(registry, storage):
    """The codes of versions that have served are known."""
    put(storage, "served", "tea", {"codes": {"cpython-313": []}, "failed": {"cpython-313": []}})
    registry.load()
    registry.activate("tea")
    assert not registry.damaged
    assert registry.get("tea").active
