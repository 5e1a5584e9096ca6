"""Notes: small rows that the processes of a store share."""

from __future__ import annotations

import threading

import pytest

from plugreg import PluginRegistry
from plugreg._state.notes import Notes
from plugreg.storage import MemoryStorage, TinyDBStorage
from plugreg.storage.quiet_commits import is_quiet


@pytest.fixture(params=["memory", "tinydb"])
def storage(request, tmp_path):
    """Yield an empty storage."""
    if request.param == "memory":
        yield MemoryStorage()
    else:
        made = TinyDBStorage(tmp_path / "store.json")
        yield made
        made.close()


def test_all_agree_on_the_note_that_came_first(storage):
    """Of many that offer one at once, each gets the same."""
    found = []

    def offer(number):
        found.append(Notes(storage).agree("key", {"number": number}))

    threads = [threading.Thread(target=offer, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [found[0]] * 8
    assert Notes(storage).get("key") == found[0]


def test_a_note_is_replaced_and_deleted(storage):
    """The last one counts; one that is not there is None, and its deletion is fine."""
    notes = Notes(storage)
    notes.put("a", {"x": 1})
    notes.put("a", {"x": 2})

    assert notes.get("a") == {"x": 2}

    notes.drop("a")
    notes.drop("a")

    assert notes.get("a") is None


def test_no_process_reads_values_because_of_a_note(storage):
    """Its commits are quiet."""
    before = storage.revision()
    Notes(storage).put("a", {"x": 1})
    Notes(storage).agree("b", {"x": 1})

    assert is_quiet(storage, before, storage.revision())


def test_registries_have_them_in_common(storage):
    """A note of one registry is read by another on the same storage."""
    one, other = (PluginRegistry("shop", storage=storage) for _ in range(2))
    one.shared.notes.put("a", {"x": 1})

    assert other.shared.notes.get("a") == {"x": 1}
