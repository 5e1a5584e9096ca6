"""A transaction of a database, and the records that it found there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import sqlalchemy as sa

from plugreg.exceptions import StorageError
from plugreg.storage.base import Record, is_unicode
from plugreg.storage.sql.backends import Backend
from plugreg.storage.sql.connections import FAILURES, raise_interrupt, roll_back
from plugreg.storage.sql.schema import Head

T = TypeVar("T")


class OpenTransaction:
    """A transaction of the database that holds the store's lock.

    The first error ends it. It is the `plugreg.storage.memory.RecordSource` of the store's
    records, which it reads when they are first asked for, and remembers.
    """

    def __init__(self, connection: sa.Connection, head: Head, backend: Backend) -> None:
        self.head = head
        self._connection = connection
        self._schema = backend.schema
        self._backend = backend
        self._process = os.getpid()
        self._fault: StorageError | None = None
        self._is_open = True
        self._tables: dict[str, Mapping[str, Record]] = {}
        self._records: dict[tuple[str, str], Record | None] = {}

    @property
    def is_open(self) -> bool:
        """Whether this process may still commit it or roll it back."""
        return self._is_open and os.getpid() == self._process

    def run(self, work: Callable[[sa.Connection], T]) -> T:
        """Return the result of *work*, called with the connection.

        Raises:
            StorageError: If the work fails, or any work before it has failed.
        """
        if self._fault is not None:
            raise self._fault
        handled = sys.exception()
        try:
            return work(self._connection)
        except StorageError as error:
            self._fault = error
            raise
        except FAILURES as error:
            # First of all: a caller that catches the Ctrl-C has no transaction any more, either.
            self._fault = self._backend.translate(error)
            raise_interrupt(error, handled)
            raise self._fault from error

    def names(self) -> list[str]:
        """Return the names of all tables that have records."""
        return self.run(self._schema.tables)

    def records(self, table: str) -> Mapping[str, Record]:
        """Return the records of one table."""
        if table not in self._tables:
            self._tables[table] = (
                self.run(lambda connection: self._schema.read_all(connection, table))
                if is_name(table)
                else {}
            )
        return self._tables[table]

    def record(self, table: str, key: str) -> Record | None:
        """Return one record, or None; the others of its table are not read."""
        if table in self._tables:
            return self._tables[table].get(key)
        place = (table, key)
        if place not in self._records:
            self._records[place] = (
                self.run(lambda connection: self._schema.read_one(connection, table, key))
                if is_name(table) and is_name(key)
                else None
            )
        return self._records[place]

    def commit(self) -> None:
        """Commit. Raises the errors of SQLAlchemy."""
        self._connection.exec_driver_sql("COMMIT")
        self._is_open = False

    def roll_back(self) -> None:
        """Roll back what was not committed. A forked child leaves it to its parent."""
        if self.is_open:
            self._is_open = False
            roll_back(self._connection)


def is_name(name: Any) -> bool:
    """Return whether there can be a table or a key of this name."""
    return isinstance(name, str) and is_unicode(name)
