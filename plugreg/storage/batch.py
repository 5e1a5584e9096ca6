"""Many changes by code that begins a transaction for each of them, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from plugreg.storage.base import Record
from plugreg.storage.contract import Storage, Transaction


@contextmanager
def one_transaction(storage: Storage) -> Iterator[Storage]:
    """Provide a storage whose transactions are all part of one transaction of another storage.

    It is used in one thread. At the end of the ``with`` block everything is committed, and nothing
    if the block raises. No other process writes meanwhile. A transaction that raises inside the
    block must end the block too, since its changes are not taken back alone.

    Args:
        storage: The other storage, which stays open.
    """
    with storage.transaction() as transaction:
        yield _Parts(storage, transaction)


class _Parts:
    """See `one_transaction`."""

    def __init__(self, storage: Storage, whole: Transaction) -> None:
        self._storage = storage
        self._whole = whole
        self._commits = 0

    def read(self, table: str) -> Mapping[str, Record]:
        """Return a table with the changes so far.

        Args:
            table: The name of the table.
        """
        return dict(self._whole.items(table))

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Return a context manager of a part of the transaction."""
        yield self._whole
        self._commits += 1

    def revision(self) -> int:
        """Return a number that each part of the transaction raises."""
        return self._storage.revision() + self._commits

    def close(self) -> None:
        """Do nothing: the ``with`` block ends it."""
