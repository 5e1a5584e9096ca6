"""Notes: small rows that the processes of a store share, and that concern no plugin.

Table ``notes``: by key, one row each. Commits are marked quiet, so that no other process reads
values because of them.
"""

from __future__ import annotations

from typing import Final

from plugreg.storage import Storage
from plugreg.storage.base import DamagedRecord, Record
from plugreg.storage.quiet_commits import mark_quiet

_TABLE: Final = "notes"


class Notes:
    """Reads and writes notes. Keeps nothing; each method raises StorageError.

    Args:
        storage: The storage that the processes share.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def get(self, key: str) -> Record | None:
        """Return a note, None if there is none or it is damaged.

        Args:
            key: Its key.
        """
        record = self._storage.read(_TABLE).get(key)
        return None if isinstance(record, DamagedRecord) else record

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of all notes that begin with *prefix*.

        Args:
            prefix: The begin of the keys.
        """
        return [key for key in self._storage.read(_TABLE) if key.startswith(prefix)]

    def put(self, key: str, record: Record) -> None:
        """Store a note in the place of an earlier note.

        Args:
            key: Its key.
            record: Its JSON values.
        """
        with self._storage.transaction() as transaction:
            transaction.put(_TABLE, key, record)
            mark_quiet(self._storage, transaction)

    def agree(self, key: str, record: Record) -> Record:
        """Return the note that is stored, after storing *record* where there is none.

        All processes that call this get the same note, whichever was first.

        Args:
            key: Its key.
            record: The record to store if there is no such note, or a damaged note.
        """
        with self._storage.transaction() as transaction:
            found = transaction.get(_TABLE, key)
            if found is not None and not isinstance(found, DamagedRecord):
                return found
            transaction.put(_TABLE, key, record)
            mark_quiet(self._storage, transaction)
        return record

    def drop(self, key: str) -> None:
        """Delete a note; none is fine.

        Args:
            key: Its key.
        """
        with self._storage.transaction() as transaction:
            if transaction.delete(_TABLE, key):
                mark_quiet(self._storage, transaction)
