"""Tables in memory: a storage of its own, and the changes of any transaction."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from plugreg._support import exceptions
from plugreg._support.frozen import NamedTuple
from plugreg.storage.base import (
    Changes,
    DamagedRecord,
    Gate,
    Record,
    Tables,
    checked_copy,
)

if TYPE_CHECKING:
    from plugreg.storage.contract import RecordSource, Transaction


class StoreState(NamedTuple):
    """The contents of a store after a commit. They are replaced, never changed."""

    revision: int = 0
    tables: Tables = {}  # noqa: RUF012 - nothing in a state is changed

    def names(self) -> Iterable[str]:
        """See `RecordSource.names`."""
        return self.tables

    def records(self, table: str) -> Mapping[str, Record]:
        """See `RecordSource.records`."""
        return self.tables.get(table, {})

    def record(self, table: str, key: str) -> Record | None:
        """See `RecordSource.record`."""
        return self.records(table).get(key)

    def copy_table(self, table: str) -> dict[str, Record]:
        """Return a copy of a table, sorted by key; empty if there is none.

        Args:
            table: The name of the table.
        """
        records = self.records(table)
        return {key: _copy(records[key]) for key in sorted(records)}

    def apply(self, changes: Changes) -> StoreState:
        """Return the state after a commit of these changes.

        Args:
            changes: The changes of the commit.
        """
        tables: dict[str, Any] = dict(self.tables)
        for table, records in changes.items():
            tables[table] = {**self.records(table), **records}
            for key, record in records.items():
                if record is None:
                    del tables[table][key]
        return StoreState(self.revision + 1, tables)


class BufferedTransaction:
    """The changes of a transaction, held apart from the records that it found.

    ``changes`` has each new record by table and key, or None for a deleted record. The storage
    applies them when the transaction ends; nothing is committed here.
    """

    def __init__(self, source: RecordSource) -> None:
        self._source = source
        self._process = os.getpid()
        self._ended = False
        self.changes: dict[str, dict[str, Record | None]] = {}

    def get(self, table: str, key: str) -> Record | None:
        """See `Transaction.get`."""
        self.require_usable()
        copy: Record | None = _copy(self._peek(table, key))
        return copy

    def tables(self) -> list[str]:
        """See `Transaction.tables`."""
        self.require_usable()
        names = sorted({*self._source.names(), *self.changes})
        return [name for name in names if self._merge(name)]

    def items(self, table: str) -> list[tuple[str, Record]]:
        """See `Transaction.items`."""
        self.require_usable()
        merged = self._merge(table)
        return [(key, _copy(merged[key])) for key in sorted(merged)]

    def put(self, table: str, key: str, record: Record) -> None:
        """See `Transaction.put`."""
        self.require_usable()
        copy = checked_copy(table, key, record)
        before = self._peek(table, key)
        if isinstance(before, DamagedRecord):
            raise exceptions.RecordCorruptError(table, key, before.reason)
        self.changes.setdefault(table, {})[key] = copy

    def delete(self, table: str, key: str) -> bool:
        """See `Transaction.delete`."""
        self.require_usable()
        if self._peek(table, key) is None:
            return False
        self.changes.setdefault(table, {})[key] = None
        return True

    def end(self) -> None:
        """Refuse every further use."""
        self._ended = True

    def require_usable(self) -> None:
        """Raise StorageError after the end, and in a process that was forked meanwhile."""
        if self._ended:
            raise exceptions.StorageError("this transaction has ended; begin another one")
        if os.getpid() != self._process:
            raise exceptions.StorageError(
                "this transaction belongs to the process that began it; "
                "begin another one in a process that was forked from it"
            )

    def _merge(self, table: str) -> dict[str, Record]:
        merged = {**self._source.records(table), **self.changes.get(table, {})}
        return {key: record for key, record in merged.items() if record is not None}

    def _peek(self, table: str, key: str) -> Record | None:
        changed = self.changes.get(table, {})
        return changed[key] if key in changed else self._source.record(table, key)


class BufferedStorage:
    """Base of each `Storage`: holds the changes of a transaction back until it ends.

    Args:
        lock: The name of the lock in a StorageLockedError.
        lock_timeout: Seconds to wait before that error, None for no limit.
    """

    def __init__(self, lock: str, lock_timeout: float | None) -> None:
        self._gate = Gate(lock, lock_timeout)

    def _locked(self, deadline: float) -> AbstractContextManager[Any]:
        """Hold the store's lock for a ``with`` block, and provide the latest commit."""
        raise NotImplementedError

    def _commit(self, source: Any, changes: Changes) -> None:
        """Commit changes to the contents that `_locked` has provided and still holds."""
        raise NotImplementedError

    def transaction(self) -> AbstractContextManager[Transaction]:
        """See `Storage.transaction`."""
        self._gate.require_open()
        return self._transaction()

    @contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        with self._gate.entered() as deadline, self._locked(deadline) as source:
            transaction = BufferedTransaction(source)
            try:
                yield transaction
                # Only its parent may commit it in a process that was forked meanwhile.
                transaction.require_usable()
            finally:
                transaction.end()
            if transaction.changes:
                self._commit(source, transaction.changes)

    def close(self) -> None:
        """See `Storage.close`."""
        self._gate.close()


class MemoryStorage(BufferedStorage):
    """A `Storage` that lasts as long as this object, in this process only.

    Nothing is written to disk. All threads may use it; a transaction waits without limit for the
    one before it. A forked child has a copy of its own from then on.
    """

    def __init__(self) -> None:
        super().__init__("the lock of a MemoryStorage", lock_timeout=None)
        self._state = StoreState()

    def read(self, table: str) -> dict[str, Record]:
        """See `Storage.read`."""
        self._gate.require_open()
        return self._state.copy_table(table)

    def revision(self) -> int:
        """See `Storage.revision`."""
        self._gate.require_open()
        return self._state.revision

    def _locked(self, _deadline: float) -> AbstractContextManager[StoreState]:
        return nullcontext(self._state)

    def _commit(self, source: StoreState, changes: Changes) -> None:
        # Readers take the state once, so they see a whole commit or nothing of it.
        self._state = source.apply(changes)


def _copy(value: Any) -> Any:
    # The types are exact, because checked_copy and JSON allow no others. A DamagedRecord, which
    # nobody can change, stays the same object.
    if type(value) is dict:
        return {name: _copy(field) for name, field in value.items()}
    if type(value) is list:
        return [_copy(item) for item in value]
    return value
