"""Many changes by code that begins a transaction for each of them, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Self

from plugreg.storage.base import Record
from plugreg.storage.contract import Storage, Transaction


class OneTransaction:
    """A storage whose transactions are all part of one transaction of another storage.

    It is used as a context manager, in one thread. At the end of the ``with`` block everything is
    committed, and nothing if the block raises. No other process writes meanwhile. A transaction
    that raises inside the block must end the block too, since its changes are not taken back alone.

    Args:
        storage: The other storage, which stays open.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._whole = storage.transaction()
        self._commits = 0

    def __enter__(self) -> Self:
        self._current = self._whole.__enter__()
        return self

    def __exit__(self, *error: object) -> bool | None:
        return self._whole.__exit__(*error)  # type: ignore[arg-type]

    def read(self, table: str) -> Mapping[str, Record]:
        """Return a table with the changes so far.

        Args:
            table: The name of the table.
        """
        return dict(self._current.items(table))

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Return a context manager of a part of the transaction."""
        yield self._current
        self._commits += 1

    def revision(self) -> int:
        """Return a number that each part of the transaction raises."""
        return self._storage.revision() + self._commits

    def close(self) -> None:
        """Do nothing: the ``with`` block ends it."""
