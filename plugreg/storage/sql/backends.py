"""Differences between the databases: their locks and their errors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import sqlalchemy as sa

from plugreg.exceptions import (
    StorageCorruptError,
    StorageError,
    StorageLockedError,
    StorageUnavailableError,
    StorageURLError,
)
from plugreg.storage.sql.connections import roll_back
from plugreg.storage.sql.engines import EXAMPLES, place_of, secrets_of
from plugreg.storage.sql.schema import Head, Schema


class Backend:
    """A kind of database.

    Connections are in autocommit mode, so each method begins the transaction that it needs. Every
    method but `is_busy` and `translate` raises the errors of SQLAlchemy, and StorageError.

    Args:
        url: The address of the database.
        prefix: The beginning of the names of the tables.
        lock_timeout: Seconds to wait for the store's lock, as StorageLockedError reports them.
    """

    begin_statement: ClassVar[str]
    time_query: ClassVar[str]
    """The statement that returns seconds since the epoch, within a transaction too."""
    busy_codes: ClassVar[frozenset[object]]
    """Another transaction was in the way; nothing was done, and a retry may succeed."""
    locked_codes: ClassVar[frozenset[object]] = frozenset()
    """The lock was not acquired within the time limit."""
    damaged_codes: ClassVar[frozenset[object]]
    """The files on disk are not a complete database."""

    def __init__(self, url: sa.URL, prefix: str, lock_timeout: float) -> None:
        self.place = place_of(url)
        self.schema = Schema(self.place, prefix, url.get_backend_name())
        self._secrets = secrets_of(url)
        self._lock_timeout = lock_timeout

    def require(self, connection: sa.Connection) -> None:
        """Raise StorageURLError unless there is a database that lasts.

        Args:
            connection: The connection to use.
        """

    def check(self, connection: sa.Connection) -> None:
        """Raise StorageCorruptError if the database finds its existing tables damaged.

        Args:
            connection: The connection to use.
        """

    def prepare(self, connection: sa.Connection) -> None:
        """Set the options that a database of plugreg's own must have.

        Args:
            connection: The connection to use.
        """

    def lock_row(self, connection: sa.Connection, seconds: float) -> str:
        """Limit the wait for the lock of a row, and return the clause that acquires it.

        Args:
            connection: The connection to use.
            seconds: How long the database waits for the lock.
        """
        del connection, seconds
        return ""

    @contextmanager
    def _begun(self, connection: sa.Connection) -> Iterator[None]:
        """Begin a transaction, and roll it back if the ``with`` block raises."""
        connection.exec_driver_sql(self.begin_statement)
        try:
            yield
        except BaseException:
            # Not every pool of a host does that.
            roll_back(connection)
            raise

    def create(self, connection: sa.Connection, seconds: float) -> None:
        """Create the tables if others have not.

        Others may create them at the same time. Then this fails with an error that `is_busy`.

        Args:
            connection: The connection to use.
            seconds: How long the database waits for others.
        """
        with self._begun(connection):
            self.lock_row(connection, seconds)
            self.schema.create(connection)
            connection.exec_driver_sql("COMMIT")

    def begin(self, connection: sa.Connection, seconds: float) -> Head:
        """Begin a transaction with the store's lock, and return the row of ``meta``.

        If this raises, no transaction is open.

        Args:
            connection: The connection to use.
            seconds: How long the database waits for the lock.
        """
        with self._begun(connection):
            return self.schema.head(connection, self.lock_row(connection, seconds))

    def now(self, connection: sa.Connection) -> float:
        """Return the time of the database, in seconds since the epoch.

        Args:
            connection: The connection to use.
        """
        return float(connection.exec_driver_sql(self.time_query).scalar_one())

    def code_of(self, error: BaseException) -> object:
        """Return the code of a driver's error.

        Args:
            error: The error of the driver.
        """
        raise NotImplementedError

    def is_busy(self, error: Exception) -> bool:
        """Return whether another transaction caused an error, so a retry may help.

        Args:
            error: The error that SQLAlchemy raised.
        """
        return self._code(error) in self.busy_codes

    def translate(self, error: Exception) -> StorageError:
        """Return the StorageError for an error of SQLAlchemy, without any password.

        Args:
            error: The error that SQLAlchemy raised.
        """
        if isinstance(error, UnicodeDecodeError):
            return StorageCorruptError(self.place, "the definition of a table is not UTF-8")
        code = self._code(error)
        if code in self.busy_codes | self.locked_codes:
            return self.locked_error()
        cause = getattr(error, "orig", None) or error
        # The detail of a PostgreSQL error may be contents; PyMySQL puts a number before the words.
        primary = getattr(getattr(cause, "diag", None), "message_primary", None)
        reason = " ".join(str(primary or (cause.args[-1] if cause.args else cause)).split())
        for secret in self._secrets:
            reason = reason.replace(secret, "…")
        kind = StorageCorruptError if code in self.damaged_codes else StorageUnavailableError
        return kind(self.place, reason or type(cause).__name__)

    def locked_error(self) -> StorageLockedError:
        """Return the error for a lock that was not acquired in time."""
        return StorageLockedError(f"the lock of {self.place}", self._lock_timeout)

    def _code(self, error: Exception) -> object:
        cause = getattr(error, "orig", None)
        return None if cause is None else self.code_of(cause)


class SQLite(Backend):
    """A SQLite file, whose own write lock is the store's.

    It never waits for the lock: callers retry.
    """

    # A plain BEGIN would acquire the lock only at the first write, after the reads have become
    # stale.
    begin_statement = "BEGIN IMMEDIATE"
    # All processes that share a file share the clock of this machine.
    time_query = "SELECT (julianday('now') - 2440587.5) * 86400"
    # Primary codes, https://sqlite.org/rescode.html: BUSY, LOCKED; CORRUPT, NOTADB.
    busy_codes = frozenset({5, 6})
    damaged_codes = frozenset({11, 26})

    def require(self, connection: sa.Connection) -> None:
        """See `Backend.require`."""
        databases = connection.exec_driver_sql("PRAGMA database_list").all()
        if not any(file for _, name, file in databases if name == "main"):
            raise StorageURLError(self.place, "it is in memory; use MemoryStorage")

    def check(self, connection: sa.Connection) -> None:
        """See `Backend.check`."""
        for table in (self.schema.meta, self.schema.records):
            result = connection.exec_driver_sql(f'PRAGMA integrity_check("{table}")')
            faults = result.scalars().all()
            if faults != ["ok"]:
                raise StorageCorruptError(self.place, "; ".join(map(str, faults[:3])))

    def prepare(self, connection: sa.Connection) -> None:
        """See `Backend.prepare`."""
        # The mode is stored in the file, and setting it again would wait for readers.
        for pragma in ("PRAGMA journal_mode", "PRAGMA journal_mode = WAL"):
            if connection.exec_driver_sql(pragma).scalar() == "wal":
                return
        raise StorageURLError(
            self.place, "it cannot have a write-ahead log there, as on a network file system"
        )

    def code_of(self, error: BaseException) -> object:
        """See `Backend.code_of`."""
        # Extended codes have the primary code in their lower byte.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        # A column that is missing means that the definition of a table was damaged.
        return 11 if code == 1 and "no such column" in str(error) else code


class PostgreSQL(Backend):
    """A PostgreSQL database: the lock is that of the one row of ``meta``."""

    # With a stricter level, a commit of another transaction during the wait would be an error.
    begin_statement = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
    time_query = "SELECT extract(epoch FROM clock_timestamp())"
    # https://www.postgresql.org/docs/current/errcodes-appendix.html: serialization_failure,
    # deadlock_detected, unique_violation (others create the same table at the same time);
    # lock_not_available; data_corrupted, index_corrupted.
    busy_codes = frozenset({"40001", "40P01", "23505"})
    locked_codes = frozenset({"55P03"})
    damaged_codes = frozenset({"XX001", "XX002"})

    def lock_row(self, connection: sa.Connection, seconds: float) -> str:
        """See `Backend.lock_row`."""
        # 0 would mean no limit, and the value must fit into 32 bits.
        milliseconds = min(max(1, math.ceil(seconds * 1000)), 2**31 - 1)
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {milliseconds}")
        return "FOR UPDATE"

    def code_of(self, error: BaseException) -> object:
        """See `Backend.code_of`."""
        # The attribute of psycopg 2 is pgcode.
        return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)


class MariaDB(Backend):
    """A MariaDB database: the lock is that of the one row of ``meta``.

    MySQL has no such timeout per statement: its own ``innodb_lock_wait_timeout`` decides.
    """

    begin_statement = "START TRANSACTION READ WRITE"
    time_query = "SELECT unix_timestamp(sysdate(6))"
    # https://mariadb.com/kb/en/mariadb-error-code-reference/: CHECKREAD, LOCK_DEADLOCK,
    # TABLE_DEF_CHANGED and I_S_SKIPPED_TABLE (others create a table); LOCK_WAIT_TIMEOUT, and
    # MySQL's LOCK_NOWAIT; damaged files or indexes of a table.
    busy_codes = frozenset({1020, 1213, 1412, 1684})
    locked_codes = frozenset({1205, 3572})
    damaged_codes = frozenset({126, 127, 145, 1034, 1194, 1712})

    def require(self, connection: sa.Connection) -> None:
        """See `Backend.require`."""
        if connection.dialect.default_schema_name is None:
            reason = "it names no database; write one after the host: …host/database"
            raise StorageURLError(self.place, reason)

    def create(self, connection: sa.Connection, seconds: float) -> None:
        """See `Backend.create`."""
        del seconds
        # Creating a table ends a transaction here. Until then that would keep others from creating
        # it, which wait for the end, and may themselves hold the row that it waits for.
        self.schema.create(connection)

    def lock_row(self, connection: sa.Connection, seconds: float) -> str:
        """See `Backend.lock_row`."""
        is_mariadb = getattr(connection.dialect, "is_mariadb", False)
        return "FOR UPDATE" + (f" WAIT {math.ceil(seconds)}" if is_mariadb else "")

    def code_of(self, error: BaseException) -> object:
        """See `Backend.code_of`."""
        return error.args[0] if error.args else None


def find_backend(url: sa.URL) -> type[Backend]:
    """Return the kind of the database that a URL names.

    Args:
        url: The URL.

    Raises:
        StorageURLError: If it is none of these.
    """
    name = url.get_backend_name()
    kinds = {"sqlite": SQLite, "postgresql": PostgreSQL, "mysql": MariaDB, "mariadb": MariaDB}
    if name not in kinds:
        raise StorageURLError(place_of(url), f"databases of {name!r} are not supported; {EXAMPLES}")
    return kinds[name]
