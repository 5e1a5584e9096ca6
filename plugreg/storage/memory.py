"""Tables held in memory: a storage by themselves, and the working copy of one that is a file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from plugreg.exceptions import RecordCorruptError, StorageError
from plugreg.storage.base import DamagedRecord, Gate, Record, Transaction, checked_copy

Tables = Mapping[str, Mapping[str, Record]]
"""Records by table and key. Nothing in it is changed once it is published."""


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """All that a store holds after one commit. It is replaced, never changed."""

    revision: int = 0
    tables: Tables = field(default_factory=dict)

    def copy(self, table: str) -> dict[str, Record]:
        """Return the caller's own copy of one table, sorted by key; empty if there is none."""
        records = self.tables.get(table, {})
        return {key: _copy(records[key]) for key in sorted(records)}


class BufferedTransaction:
    """The changes of one transaction, kept apart from the state it began with.

    ``changes`` has, by table and key, each new record, or None for one that was deleted. The
    storage that made it applies them after :meth:`end`; nothing is committed here.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._process = os.getpid()
        self._ended = False
        self.changes: dict[str, dict[str, Record | None]] = {}

    def get(self, table: str, key: str) -> Record | None:
        """See :meth:`Transaction.get`."""
        self.require_usable()
        record = self._peek(table, key)
        return None if record is None else _copy(record)

    def tables(self) -> list[str]:
        """See :meth:`Transaction.tables`."""
        self.require_usable()
        names = sorted({*self._tables, *self.changes})
        return [name for name in names if self._merged(name)]

    def items(self, table: str) -> list[tuple[str, Record]]:
        """See :meth:`Transaction.items`."""
        self.require_usable()
        merged = self._merged(table)
        return [(key, _copy(merged[key])) for key in sorted(merged)]

    def put(self, table: str, key: str, record: Record) -> None:
        """See :meth:`Transaction.put`."""
        self.require_usable()
        copy = checked_copy(table, key, record)
        before = self._peek(table, key)
        if isinstance(before, DamagedRecord):
            raise RecordCorruptError(table, key, before.reason)
        self.changes.setdefault(table, {})[key] = copy

    def delete(self, table: str, key: str) -> bool:
        """See :meth:`Transaction.delete`."""
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
            raise StorageError("this transaction has ended; begin another one")
        if os.getpid() != self._process:
            raise StorageError(
                "this transaction belongs to the process that began it; "
                "begin another one in a process that was forked from it"
            )

    def _merged(self, table: str) -> dict[str, Record]:
        merged = {**self._tables.get(table, {}), **self.changes.get(table, {})}
        return {key: record for key, record in merged.items() if record is not None}

    def _peek(self, table: str, key: str) -> Record | None:
        changed = self.changes.get(table, {})
        return changed[key] if key in changed else self._tables.get(table, {}).get(key)


class MemoryStorage:
    """A :class:`Storage` that lasts as long as this object, in this process only.

    A forked child has a copy of its own from then on. A transaction waits without limit for the
    one before it.
    """

    def __init__(self) -> None:
        self._gate = Gate("the lock of a MemoryStorage", timeout=None)
        self._state = State()

    def read(self, table: str) -> dict[str, Record]:
        """See :meth:`Storage.read`."""
        self._gate.require_open()
        return self._state.copy(table)

    def transaction(self) -> AbstractContextManager[Transaction]:
        """See :meth:`Storage.transaction`."""
        self._gate.require_open()
        return self._transaction()

    @contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        with self._gate.entered():
            state = self._state
            with buffered(state) as transaction:
                yield transaction
            if transaction.changes:
                # Readers take the state with one look, so they see all of a commit or nothing.
                self._state = _changed(state, transaction.changes)

    def revision(self) -> int:
        """See :meth:`Storage.revision`."""
        self._gate.require_open()
        return self._state.revision

    def close(self) -> None:
        """See :meth:`Storage.close`."""
        self._gate.close()


@contextmanager
def buffered(state: State) -> Iterator[BufferedTransaction]:
    """Give a transaction on ``state`` for a ``with`` block, at whose end it may be committed.

    StorageError is raised there in a process that was forked inside the block: the transaction is
    still its parent's, and only there may it take effect.
    """
    transaction = BufferedTransaction(state.tables)
    try:
        yield transaction
        transaction.require_usable()
    finally:
        transaction.end()


def _changed(state: State, changes: Mapping[str, Mapping[str, Record | None]]) -> State:
    tables = dict(state.tables)
    for table, records in changes.items():
        merged = dict(tables.get(table, {}))
        for key, record in records.items():
            if record is None:
                merged.pop(key, None)
            else:
                merged[key] = record
        tables[table] = merged
    return State(revision=state.revision + 1, tables=tables)


def _copy(value: Any) -> Any:
    # The types are exact, because checked_copy lets in, and JSON gives, no others.
    if type(value) is dict:
        return {name: _copy(each) for name, each in value.items()}
    if type(value) is list:
        return [_copy(each) for each in value]
    return value
