"""A store in a database: SQLite, PostgreSQL or MariaDB, through SQLAlchemy Core.

The tables are described in :mod:`plugreg.storage.sql.schema`.
"""

from __future__ import annotations

import os
import random
import re
import sys
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, TypeVar

import sqlalchemy as sa

from plugreg.exceptions import CommitUnknownError, StorageError
from plugreg.storage.base import Changes, Record
from plugreg.storage.file.locking import BackOff
from plugreg.storage.memory import BufferedStorage
from plugreg.storage.sql import engines
from plugreg.storage.sql.backends import Backend, find_backend
from plugreg.storage.sql.connections import FAILURES, Connections, raise_interrupt, roll_back
from plugreg.storage.sql.hints import CommitHints
from plugreg.storage.sql.schema import Head

T = TypeVar("T")

_PAUSE_SECONDS: Final = (0.0005, 0.005)
_PREFIX: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_LOOK_SECONDS: Final = 5.0
"""How long the outcome of an interrupted commit is looked up."""


class OpenTransaction:
    """A transaction of the database that holds the store's lock.

    The first error ends it. It is the `plugreg.storage.memory.RecordSource` of the store's
    records, which it reads when they are first asked for, and remembers.
    """

    def __init__(self, connection: sa.Connection, head: Head, backend: Backend) -> None:
        self.head = head
        self._connection = connection
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

    def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Return the result of *work*, called with the connection and *arguments*.

        Args:
            work: The function to call.
            arguments: Its arguments after the connection.

        Raises:
            StorageError: If the work fails, or any work before it has failed.
        """
        if self._fault is not None:
            raise self._fault
        handled = sys.exception()
        try:
            return work(self._connection, *arguments)
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
        return self.run(self._backend.schema.tables)

    def records(self, table: str) -> Mapping[str, Record]:
        """Return the records of a table.

        Args:
            table: The name of the table.
        """
        if table not in self._tables:
            self._tables[table] = self.run(self._backend.schema.read_all, table)
        return self._tables[table]

    def record(self, table: str, key: str) -> Record | None:
        """Return a record, or None; the others of its table are not read.

        Args:
            table: The name of the table.
            key: The key of the record.
        """
        if table in self._tables:
            return self._tables[table].get(key)
        place = (table, key)
        if place not in self._records:
            self._records[place] = self.run(self._backend.schema.read_one, table, key)
        return self._records[place]

    def commit(self) -> None:
        """Commit. Raises the errors of SQLAlchemy."""
        self._connection.exec_driver_sql("COMMIT")
        self._is_open = False

    def roll_back(self) -> None:
        """Roll back uncommitted changes. A forked child leaves it to its parent."""
        if self.is_open:
            self._is_open = False
            roll_back(self._connection)


class SQLStorage(BufferedStorage):
    """A `Storage` in a database, shared by all processes that can reach it.

    Opening connects, and creates the tables ``<prefix>records`` and ``<prefix>meta``. Several
    processes may do so at the same time.

    **Transactions** hold the store's lock from their beginning: in SQLite the file's write lock
    (BEGIN IMMEDIATE), elsewhere that of a row (SELECT … FOR UPDATE). Changes are held back until
    the ``with`` block ends.

    **Connections** that break are opened again. A read is retried once, and so is the beginning
    of a transaction; a commit is not. If its outcome was lost with the connection, it raises
    CommitUnknownError. A thread uses one connection at a time, within a transaction that of the
    transaction, for its reads too.

    **Forks**: a store opened before a fork works in the child. If the parent was using a SQLite
    database at that moment, every method of the child raises StorageError.

    **Silent servers** are given up within *lock_timeout* + 10 seconds, and so is a statement that
    waits for a lock on a table: StorageUnavailableError. A commit raises CommitUnknownError, after
    a look at the store that may take as long again. These limits hold with psycopg and PyMySQL; a
    host's engine has the limits that its host sets.

    **SQLite**: a new file is its owner's alone (mode 0600). It is set to write-ahead logging (WAL)
    with ``synchronous = FULL``, and its tables are checked at each opening. StorageCorruptError
    refuses a damaged file, and a log (``-wal``) whose file is gone; both are left as they are.

    **PostgreSQL** notifies `wait` of each commit (NOTIFY ``<prefix>commits``). Each process that
    waits, as a watching registry does, has one more connection, on top of the pool's limit.

    **A host's engine** lends its pool and dialect, and stays open at `close`. Its pool may have
    one connection, but must be a QueuePool or a NullPool: a pool whose users share a connection is
    refused, and so is a SQLite database in memory. Listeners on the engine itself are not called.
    Nothing is set on it or on a SQLite file, so the host's settings decide whether a finished
    transaction is on disk. Idle connections to SQLite are closed before each fork of the process.

    Args:
        url_or_engine: A URL of SQLAlchemy (``sqlite:///path``, ``postgresql+psycopg://…``,
            ``mysql+pymysql://…``), or an engine of the host.
        lock_timeout: Seconds that a transaction waits for the lock before StorageLockedError.
            MariaDB counts whole seconds.
        prefix: The beginning of the names of the tables. Two prefixes are two stores.

    Raises:
        StorageURLError: If the argument is no such URL or engine, or its database cannot be a
            store.
        MissingExtraError: If the driver is not installed.
        ValueError: If *lock_timeout* is no number of seconds, or *prefix* no valid prefix.
        StorageFormatError: If a newer plugreg has made the tables.
        StorageCorruptError: If the file or the tables are damaged.
        StorageUnavailableError: If the database cannot be reached.
    """

    def __init__(
        self,
        url_or_engine: str | sa.URL | sa.Engine,
        *,
        lock_timeout: float = 30.0,
        prefix: str = "plugreg_",
    ) -> None:
        if not _PREFIX.fullmatch(prefix):
            raise ValueError(
                f"prefix={prefix!r} is invalid: it must be a letter and at most 39 more characters "
                f"of a-z, 0-9 and _"
            )
        engine = url_or_engine if isinstance(url_or_engine, sa.Engine) else None
        url = engines.parse_url(url_or_engine if engine is None else engine.url)
        self._place = engines.place_of(url)
        is_file = url.get_backend_name() == "sqlite" and bool(url.database)
        self.path: Final = Path(self._place) if is_file else None
        """The file of a SQLite database, None for servers."""
        self.lock_place: Final = self._place if is_file else f"{self._place} {prefix}"
        """What other storages with the same lock have here too."""
        super().__init__(f"the lock of {self._place}", lock_timeout)
        self._lock_timeout = lock_timeout
        self._backend = find_backend(url)(url, prefix, lock_timeout)
        self._schema = self._backend.schema
        engines.require_file_of_log(url)
        own = engine is None
        if engine is None:
            engine = engines.open_engine(url, lock_timeout)
        else:
            engines.require_pool(engine)
        self._connections = Connections(engine, own=own)
        self._hints = CommitHints(self._connections, engine.dialect, prefix)
        self._back_off = BackOff()
        # The latest transaction of each thread.
        self._thread = threading.local()
        try:
            self._open(own=own)
        except BaseException:
            self._connections.close()
            raise

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._place!r})"

    def read(self, table: str) -> dict[str, Record]:
        """See `Storage.read`."""
        self._gate.require_open()
        return self._query(self._schema.read_all, table)

    def revision(self) -> int:
        """See `Storage.revision`."""
        self._gate.require_open()
        return self._query(self._schema.head).revision

    def now(self) -> float:
        """Return the time of the database in seconds since the epoch.

        It may be called within a transaction.

        Raises:
            StorageError: If the store is closed, or cannot be reached.
        """
        self._gate.require_open()
        return self._query(self._backend.now)

    @property
    def gives_hints(self) -> bool:
        """Whether `wait` is notified of commits, and does not just sleep."""
        return self._hints.can_wait

    def wait(self, seconds: float) -> bool:
        """Wait for a commit of another process, which PostgreSQL reports through psycopg.

        With another database or driver this sleeps. One thread at a time may wait; `close` ends
        the wait.

        Args:
            seconds: The longest time to wait.

        Returns:
            Whether there was a commit.

        Raises:
            StorageError: If the store is closed.
            Exception: Any error of SQLAlchemy and psycopg; the next call connects again.
        """
        self._gate.require_open()
        return self._hints.wait(seconds)

    def close(self) -> None:
        """See `Storage.close`."""
        super().close()
        self._hints.close()
        self._connections.close()

    def _commit(self, begun: OpenTransaction, changes: Changes) -> None:
        revision, token = begun.head.revision + 1, uuid.uuid4().hex
        begun.run(self._schema.write, changes, revision, token)
        begun.run(self._hints.notify)
        handled = sys.exception()
        try:
            begun.commit()
        except sa.exc.DBAPIError as error:
            if not error.connection_invalidated:
                raise_interrupt(error, handled)
                raise self._backend.translate(error) from error
            is_committed = self._look_up_commit(begun.head, token)
            raise CommitUnknownError(self._place, revision, is_committed) from error

    def _look_up_commit(self, before: Head, token: str) -> bool | None:
        """Return whether the commit with a token was made, None if that cannot be known."""
        # While this holds the lock, no server process can still be busy with the lost commit.
        try:
            with self._locked(time.monotonic() + _LOOK_SECONDS) as begun:
                found = begun.head
        except StorageError:
            return None
        if found.token == token:
            return True
        # Further commits may have followed it, or followed another commit with its number.
        return False if found.revision <= before.revision + 1 else None

    @contextmanager
    def _locked(self, deadline: float) -> Iterator[OpenTransaction]:
        """Provide a transaction with the lock, and roll it back unless committed."""

        def begin() -> tuple[OpenTransaction, Generator[OpenTransaction, None, None]]:
            beginning = self._begin(deadline)
            return next(beginning), beginning

        self._back_off.give_way(deadline)
        begun, beginning = self._retry(begin, deadline)
        # It ends when the generator has been closed, and not before.
        with self._back_off.holding(), closing(beginning):
            self._thread.begun = begun
            yield begun

    def _begin(self, deadline: float) -> Generator[OpenTransaction, None, None]:
        # A generator, because one that Ctrl-C drops on the way is closed, and so rolled back, at
        # once.
        with self._connections.acquired() as connection:
            seconds = max(0.0, deadline - time.monotonic())
            head = self._backend.begin(connection, seconds)
            begun = OpenTransaction(connection, head, self._backend)
            try:
                yield begun
            finally:
                begun.roll_back()

    def _open(self, *, own: bool) -> None:
        deadline = time.monotonic() + self._lock_timeout
        self._query(self._backend.require)
        exists = self._query(self._schema.exists)
        if exists:
            self._query(self._backend.check)
            self._query(self._schema.head)
        if own:
            self._query(self._backend.prepare)
        if not exists:
            self._retry(lambda: self._create(deadline), deadline)

    def _create(self, deadline: float) -> None:
        seconds = max(0.0, deadline - time.monotonic())
        with self._connections.acquired() as connection:
            self._backend.create(connection, seconds)

    def _query(self, query: Callable[..., T], *names: str) -> T:
        # The pool may have no second connection for this thread. As changes are held back until
        # the end of the transaction, its own connection shows the latest commit.
        begun: OpenTransaction | None = getattr(self._thread, "begun", None)
        if begun is not None and begun.is_open:
            return begun.run(query, *names)

        def once() -> T:
            with self._connections.acquired() as connection:
                return query(connection, *names)

        return self._retry(once, time.monotonic() + self._lock_timeout)

    def _retry(self, work: Callable[[], T], deadline: float) -> T:
        """Return the result of *work*, which changes nothing when it fails.

        It is retried until *deadline* while other transactions are in the way, and once if its
        connection was found broken.
        """
        began, reconnected, handled = time.monotonic(), False, sys.exception()
        while True:
            try:
                return work()
            except FAILURES as error:
                raise_interrupt(error, handled)
                if self._backend.is_busy(error) and time.monotonic() < deadline:
                    pause = random.uniform(*_PAUSE_SECONDS)  # noqa: S311 - it keeps no secret
                elif not reconnected and _is_broken(error, began):
                    pause, reconnected = 0.0, True
                else:
                    raise self._backend.translate(error) from error
            time.sleep(pause)


def _is_broken(error: Exception, began: float) -> bool:
    """Return whether a new connection may help: not if the server was silent."""
    is_silent = time.monotonic() - began >= engines.ANSWER_SECONDS
    return getattr(error, "connection_invalidated", False) and not is_silent
