"""A store in a database: SQLite, PostgreSQL or MariaDB, through SQLAlchemy Core.

The tables are described in :mod:`plugreg.storage.sql.schema`.
"""

from __future__ import annotations

import random
import re
import sys
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from types import MappingProxyType
from typing import Final, TypeVar

import sqlalchemy as sa

from plugreg.exceptions import CommitUnknownError, StorageError, StorageURLError
from plugreg.storage.base import Changes, Gate, Record, Transaction
from plugreg.storage.file.locking import BackOff
from plugreg.storage.memory import buffered
from plugreg.storage.sql.backends import Backend, MariaDB, PostgreSQL, SQLite
from plugreg.storage.sql.connections import FAILURES, Connections, raise_interrupt
from plugreg.storage.sql.engines import (
    ANSWER_SECONDS,
    EXAMPLES,
    open_engine,
    parse_url,
    place_of,
    require_file_of_log,
    require_pool,
)
from plugreg.storage.sql.hints import CommitHints
from plugreg.storage.sql.schema import Head
from plugreg.storage.sql.transaction import OpenTransaction, is_name

T = TypeVar("T")

_BACKENDS: Final[Mapping[str, type[Backend]]] = MappingProxyType(
    {"sqlite": SQLite, "postgresql": PostgreSQL, "mysql": MariaDB, "mariadb": MariaDB}
)
_PAUSE_SECONDS: Final = (0.0005, 0.005)
_PREFIX: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_LOOK_SECONDS: Final = 5.0
"""How long the outcome of an interrupted commit is looked up."""


class SQLStorage:
    """A `Storage` in a database, shared by all processes that can reach it.

    Opening connects, and creates the tables ``<prefix>records`` and ``<prefix>meta`` or migrates
    them, one process at a time.

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
        given = url_or_engine if isinstance(url_or_engine, sa.Engine) else None
        own = given is None
        url = parse_url(
            url_or_engine.url if isinstance(url_or_engine, sa.Engine) else url_or_engine
        )
        self._place = place_of(url)
        self._gate = Gate(f"the lock of {self._place}", lock_timeout)
        self._lock_timeout = lock_timeout
        self._backend = _find_backend(url)(url, prefix, lock_timeout)
        self._schema = self._backend.schema
        require_file_of_log(url)
        engine = open_engine(url, lock_timeout) if given is None else given
        require_pool(engine)
        self._connections = Connections(engine, own=own)
        self._hints = CommitHints(self._connections, prefix)
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
        if not is_name(table):
            return {}
        return self._query(lambda connection: self._schema.read_all(connection, table))

    def transaction(self) -> AbstractContextManager[Transaction]:
        """See `Storage.transaction`."""
        self._gate.require_open()
        return self._transaction()

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
        self._gate.close()
        self._hints.close()
        self._connections.close()

    @contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        deadline = time.monotonic() + self._lock_timeout
        with self._gate.entered(), self._begun(deadline) as begun:
            self._thread.begun = begun
            with buffered(begun) as transaction:
                yield transaction
            if transaction.changes:
                self._commit(begun, transaction.changes)

    def _commit(self, begun: OpenTransaction, changes: Changes) -> None:
        revision, token = begun.head.revision + 1, uuid.uuid4().hex

        def write(connection: sa.Connection) -> None:
            self._schema.write(connection, changes)
            self._schema.raise_revision(connection, revision, token)
            self._hints.notify(connection)

        begun.run(write)
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
            with self._begun(time.monotonic() + _LOOK_SECONDS) as begun:
                found = begun.head
        except StorageError:
            return None
        if found.token == token:
            return True
        # Further commits may have followed it, or followed another one with its number.
        return False if found.revision <= before.revision + 1 else None

    @contextmanager
    def _begun(self, deadline: float) -> Iterator[OpenTransaction]:
        """Provide a transaction with the lock, and roll it back unless committed."""

        def begin() -> tuple[OpenTransaction, Generator[OpenTransaction, None, None]]:
            beginning = self._begin(deadline)
            return next(beginning), beginning

        self._back_off.give_way(deadline)
        begun, beginning = self._retry(begin, deadline)
        # It ends when the generator has been closed, and not before.
        with self._back_off.holding(), closing(beginning):
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
        found = self._query(self._schema.found_version)
        if found:
            self._query(self._backend.check)
            self._query(self._schema.head)
        if own:
            self._query(self._backend.prepare)
        if found < self._schema.version:
            self._retry(lambda: self._migrate(deadline), deadline)

    def _migrate(self, deadline: float) -> None:
        seconds = max(0.0, deadline - time.monotonic())
        with (
            self._connections.acquired() as connection,
            self._backend.lock_schema(connection, seconds),
        ):
            self._schema.migrate(connection)

    def _query(self, query: Callable[[sa.Connection], T]) -> T:
        # The pool may have no second connection for this thread. As changes are held back until
        # the end of the transaction, its own connection shows the latest commit.
        begun: OpenTransaction | None = getattr(self._thread, "begun", None)
        if begun is not None and begun.is_open:
            return begun.run(query)

        def once() -> T:
            with self._connections.acquired() as connection:
                return query(connection)

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
    is_silent = time.monotonic() - began >= ANSWER_SECONDS
    return getattr(error, "connection_invalidated", False) and not is_silent


def _find_backend(url: sa.URL) -> type[Backend]:
    name = url.get_backend_name()
    if name not in _BACKENDS:
        raise StorageURLError(place_of(url), f"databases of {name!r} are not supported; {EXAMPLES}")
    return _BACKENDS[name]
