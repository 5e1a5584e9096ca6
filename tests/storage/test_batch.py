"""Many transactions of code that knows nothing of one another, committed as one."""

from __future__ import annotations

import pytest

from plugreg import StorageError
from plugreg.storage import MemoryStorage, SQLStorage, TinyDBStorage
from plugreg.storage.batch import OneTransaction


@pytest.fixture(params=["memory", "file", "database"])
def storage(request, tmp_path):
    """Yield an empty storage."""
    made = {
        "memory": MemoryStorage,
        "file": lambda: TinyDBStorage(tmp_path / "x.json"),
        "database": lambda: SQLStorage(f"sqlite:///{tmp_path / 'x.db'}"),
    }[request.param]()
    yield made
    made.close()


def put(storage, key):
    with storage.transaction() as transaction:
        transaction.put("table", key, {"key": key})


def test_all_of_it_is_one_commit(storage):
    """Others see nothing before the end, and everything after it."""
    with OneTransaction(storage) as batch:
        put(batch, "a")
        first = batch.revision()
        put(batch, "b")

        assert [*batch.read("table")] == ["a", "b"]
        assert batch.revision() > first
        assert [*storage.read("table")] == []

    assert [*storage.read("table")] == ["a", "b"]
    assert storage.revision() == 1


def test_an_exception_takes_everything_back(storage):
    """That of a part too, if it ends the block."""

    def fail():
        with OneTransaction(storage) as batch:
            put(batch, "a")
            with batch.transaction() as transaction:
                transaction.put("table", "b", {})
                raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert [*storage.read("table")] == []
    assert storage.revision() == 0


def test_it_ends_with_its_block(storage):
    """Whoever still has it is told so."""
    with OneTransaction(storage) as batch:
        batch.close()
        put(batch, "a")

    with pytest.raises(StorageError, match="transaction has ended"):
        batch.read("table")
    put(storage, "b")
