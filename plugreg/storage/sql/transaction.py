"""A transaction of a database, and what it shows of the tables as it began."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from plugreg.exceptions import StorageError
from plugreg.storage.base import Record, is_unicode
from plugreg.storage.sql.backends import SchemaLockedError, UnusableError
from plugreg.storage.sql.connections import DriverError, raise_interrupt, roll_back
from plugreg.storage.sql.schema import DamageError, Head, NewerError, Schema

T = TypeVar("T")

FAILURES: Final = (
    sa.exc.SQLAlchemyError,
    DamageError,
    DriverError,
    NewerError,
    SchemaLockedError,
    UnusableError,
    UnicodeDecodeError,
)
"""What may be raised beneath a SQLStorage, which raises a StorageError in its place.

Python raises the last one in reading the words of SQLite on a damaged definition.
"""


class Begun:
    """A transaction of the database that holds the store's lock. One error, and it is over."""

    def __init__(
        self, connection: sa.Connection, head: Head, typed: Callable[[Exception], StorageError]
    ) -> None:
        self.head = head
        self._connection = connection
        self._typed = typed
        self._process = os.getpid()
        self._fault: StorageError | None = None
        self._is_open = True

    @property
    def is_open(self) -> bool:
        """Whether it is neither committed nor undone, and not that of a parent process."""
        return self._is_open and os.getpid() == self._process

    def ask(self, work: Callable[[sa.Connection], T]) -> T:
        """Return what ``work`` does with the connection; after a StorageError nothing is done."""
        if self._fault is not None:
            raise self._fault
        handled = sys.exception()
        try:
            return work(self._connection)
        except FAILURES as error:
            # First of all: whoever catches the Ctrl-C has no transaction any more, either.
            self._fault = self._typed(error)
            raise_interrupt(error, handled)
            raise self._fault from error

    def commit(self) -> None:
        """Commit. Raises what SQLAlchemy raises."""
        self._connection.exec_driver_sql("COMMIT")
        self._is_open = False

    def undo(self) -> None:
        """Roll back what was not committed. A forked child leaves it to its parent."""
        if self.is_open:
            self._is_open = False
            roll_back(self._connection)


def is_name(name: Any) -> bool:
    """Tell whether there can be a table or a key of this name."""
    return isinstance(name, str) and is_unicode(name)


class Tables(Mapping[str, Mapping[str, Record]]):
    """What a transaction began with, read when it is asked for."""

    def __init__(self, begun: Begun, schema: Schema) -> None:
        self._begun = begun
        self._schema = schema
        self._known: dict[str, _Table] = {}

    def __getitem__(self, table: str) -> _Table:
        if not is_name(table):
            raise KeyError(table)
        return self._known.setdefault(table, _Table(self._begun, self._schema, table))

    def __iter__(self) -> Iterator[str]:
        return iter(self._begun.ask(self._schema.tables))

    def __len__(self) -> int:
        return len(self._begun.ask(self._schema.tables))


class _Table(Mapping[str, Record]):
    """One table of these: a record is read by itself, or all of them at once."""

    def __init__(self, begun: Begun, schema: Schema, name: str) -> None:
        self._begun = begun
        self._schema = schema
        self._name = name
        self._some: dict[str, Record | None] = {}
        self._all: dict[str, Record] | None = None

    def __getitem__(self, key: str) -> Record:
        if self._all is not None:
            return self._all[key]
        if key not in self._some and is_name(key):
            self._some[key] = self._begun.ask(lambda on: self._schema.one(on, self._name, key))
        record = self._some.get(key)
        if record is None:
            raise KeyError(key)
        return record

    def __iter__(self) -> Iterator[str]:
        return iter(self._everything())

    def __len__(self) -> int:
        return len(self._everything())

    def _everything(self) -> dict[str, Record]:
        if self._all is None:
            self._all = self._begun.ask(lambda on: self._schema.all(on, self._name))
        return self._all
