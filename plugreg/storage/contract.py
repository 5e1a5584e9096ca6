"""The storage contract: what each backend offers, as protocols. Only annotations import it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from plugreg.storage.base import Record


class Storage(Protocol):
    """A store of records, opened by constructing it.

    One object serves all threads until `close`. Every method but `close` raises StorageError if
    the storage is closed, and StorageUnavailableError if the store cannot be reached. It raises
    StorageCorruptError if the store is not as plugreg wrote it; such a store is never written to.
    """

    def read(self, table: str) -> Mapping[str, Record]:
        """Return a copy of a table as of the latest commit.

        A read takes no lock, so it never waits for a transaction. Within a transaction it does
        not show that transaction's changes.

        Args:
            table: The name of the table.

        Returns:
            The records by key, sorted by key. The copy is the caller's own, and never shows a part
            of a transaction. A table without records is empty. A single damaged record is a
            `DamagedRecord`.
        """
        ...

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Return a context manager that begins a `Transaction` on the whole store.

        There is one transaction at a time, over all threads and processes; others wait. When the
        ``with`` block ends, all its changes are committed, and on disk if the backend uses a disk.
        When the block raises any exception, nothing has changed. When the commit raises, nothing
        has changed either, unless the message says otherwise.

        Raises:
            StorageError: On entering, if this thread is already in a transaction of this storage.
            StorageLockedError: On entering, if the lock was not acquired in time.
        """
        ...

    def revision(self) -> int:
        """Return the number of commits that have changed this store, 0 for a new store.

        Each commit increments it by one. A transaction that puts and deletes nothing commits
        nothing; putting an equal record counts as a put. The call is cheap.

        Equal revisions mean equal contents, as long as nobody restores an older copy of the
        store. Its revision may reach a number that was seen, with other contents. After restoring
        a copy, restart the processes or reload.
        """
        ...

    def close(self) -> None:
        """Release the store. Closing twice does nothing; an open transaction may end."""
        ...


class Transaction(Protocol):
    """The operations inside ``with storage.transaction() as transaction``.

    Reads show the transaction's own changes. Records are copied on the way in and out: changing
    a record afterwards changes nothing in the store. It is not thread-safe: use it in the thread
    that began it. Every method raises StorageError after the block, and in a process that was
    forked inside it.
    """

    def get(self, table: str, key: str) -> Record | None:
        """Return a copy of a record.

        Args:
            table: The name of the table.
            key: The key of the record.

        Returns:
            The record, None if there is none, or a `DamagedRecord` if it cannot be read.
        """
        ...

    def tables(self) -> list[str]:
        """Return the names of all tables that have records, sorted."""
        ...

    def items(self, table: str) -> Iterable[tuple[str, Record]]:
        """Return all pairs of key and record of a table.

        Args:
            table: The name of the table.

        Returns:
            The pairs at the moment of the call, sorted by key: putting and deleting meanwhile is
            safe. A record that cannot be read is a `DamagedRecord`.
        """
        ...

    def put(self, table: str, key: str, record: Record) -> None:
        """Store a copy of a record, and replace a record with the same key.

        After an error nothing has changed, and the transaction may continue.

        Args:
            table: The name of the table, at most `MAX_TABLE_BYTES` long.
            key: The key, at most `MAX_KEY_BYTES` long.
            record: The record, as `checked_copy` accepts it.

        Raises:
            StorageError: If the record, its key or its table cannot be stored.
            RecordCorruptError: If it would replace a `DamagedRecord`.
        """
        ...

    def delete(self, table: str, key: str) -> bool:
        """Remove a record, also a damaged record.

        Args:
            table: The name of the table.
            key: The key of the record.

        Returns:
            Whether there was such a record.
        """
        ...


class RecordSource(Protocol):
    """The records that a transaction found when it began. They are never changed."""

    def names(self) -> Iterable[str]:
        """Return the names of all tables."""
        ...

    def records(self, table: str) -> Mapping[str, Record]:
        """Return the records of a table.

        Args:
            table: The name of the table.
        """
        ...

    def record(self, table: str, key: str) -> Record | None:
        """Return a record, or None.

        Args:
            table: The name of the table.
            key: The key of the record.
        """
        ...
