"""What differs between the databases: how a lock is taken, and what an error means."""

from __future__ import annotations

import enum
import hashlib
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol

import sqlalchemy as sa

from plugreg.storage.sql.connections import roll_back
from plugreg.storage.sql.schema import DamageError, Head, Schema

_SCHEMA_LOCK: Final = 0x706C7567
"""The number of the advisory lock of a database of PostgreSQL under which tables are made."""

# A plain BEGIN would take the lock only at the first write, after what was read has gone stale.
_BEGIN_IMMEDIATE: Final = "BEGIN IMMEDIATE"
# With a stricter level, what another one committed while this one waited is an error.
_BEGIN_READ_COMMITTED: Final = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"


class SchemaLockedError(Exception):
    """Another process is making or migrating the tables, and was waited for long enough."""


class UnusableError(Exception):
    """What an address leads to cannot be a store; the text says why."""


class Verdict(enum.Enum):
    """What an error of a database means for what was asked of it."""

    BUSY = enum.auto()
    """Another one was in the way for the moment; nothing was done, and it may be tried again."""
    LOCKED = enum.auto()
    """The lock was waited for as long as was said."""
    DAMAGED = enum.auto()
    """What is on disk is no database, or not a whole one."""
    UNAVAILABLE = enum.auto()
    """Anything else: no connection, no room, no right, no table."""


class Backend(Protocol):
    """One kind of database. Connections are in autocommit mode, so that each verb says what begins.

    ``seconds`` is how long a lock may be waited for; where the database cannot wait by itself, its
    error has the verdict BUSY. Every verb but :meth:`verdict` raises what
    SQLAlchemy raises, and the errors of this module.
    """

    def require(self, connection: sa.Connection) -> None:
        """Raise UnusableError unless there is a database that lasts."""
        ...

    def check(self, connection: sa.Connection, schema: Schema) -> None:
        """Raise DamageError when the database finds fault with the tables, which are there."""
        ...

    def prepare(self, connection: sa.Connection) -> None:
        """Set what a database of plugreg's own must have, or raise UnusableError."""
        ...

    def alone(
        self, connection: sa.Connection, schema: Schema, seconds: float
    ) -> AbstractContextManager[None]:
        """Keep everybody else from making and migrating these tables for a ``with`` block."""
        ...

    def begin(self, connection: sa.Connection, schema: Schema, seconds: float) -> Head:
        """Begin a transaction that holds the store's lock, and return the row that it found.

        When this raises, no transaction is open.
        """
        ...

    def now(self, connection: sa.Connection) -> float:
        """Return the time of the database, in seconds since the epoch."""
        ...

    def verdict(self, error: BaseException | None) -> Verdict:
        """Tell what an error of the driver means."""
        ...


class SQLite:
    """A file of SQLite, whose own write lock is the store's. It never waits here: callers do."""

    def require(self, connection: sa.Connection) -> None:
        """See :meth:`Backend.require`."""
        named = connection.exec_driver_sql("PRAGMA database_list").all()
        if not any(file for _, name, file in named if name == "main"):
            raise UnusableError("it is in memory; use MemoryStorage")

    def check(self, connection: sa.Connection, schema: Schema) -> None:
        """See :meth:`Backend.check`."""
        for table in (schema.meta, schema.records):
            found = connection.exec_driver_sql(f'PRAGMA integrity_check("{table.name}")')
            words = found.scalars().all()
            if words != ["ok"]:
                raise DamageError("; ".join(map(str, words[:3])))

    def prepare(self, connection: sa.Connection) -> None:
        """See :meth:`Backend.prepare`."""
        # It is kept in the file, and setting it again would wait for readers.
        for pragma in ("PRAGMA journal_mode", "PRAGMA journal_mode = WAL"):
            if connection.exec_driver_sql(pragma).scalar() == "wal":
                return
        raise UnusableError(
            "it cannot have a write-ahead log there, as on a file system of the network"
        )

    @contextmanager
    def alone(self, connection: sa.Connection, schema: Schema, seconds: float) -> Iterator[None]:
        """See :meth:`Backend.alone`."""
        del schema, seconds
        with _undone_if_raised(connection, _BEGIN_IMMEDIATE):
            yield
            connection.exec_driver_sql("COMMIT")

    def begin(self, connection: sa.Connection, schema: Schema, seconds: float) -> Head:
        """See :meth:`Backend.begin`."""
        del seconds
        with _undone_if_raised(connection, _BEGIN_IMMEDIATE):
            return schema.head(connection)

    def now(self, connection: sa.Connection) -> float:
        """See :meth:`Backend.now`."""
        # All that share a file share this machine.
        del connection
        return time.time()

    def verdict(self, error: BaseException | None) -> Verdict:
        """See :meth:`Backend.verdict`."""
        # Extended codes have the primary one in their lower byte (https://sqlite.org/rescode.html).
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in {5, 6}:  # SQLITE_BUSY, SQLITE_LOCKED
            return Verdict.BUSY
        if code in {11, 26}:  # SQLITE_CORRUPT, SQLITE_NOTADB
            return Verdict.DAMAGED
        # The definition of a table has changed under it.
        if code == 1 and "no such column" in str(error):
            return Verdict.DAMAGED
        return Verdict.UNAVAILABLE


@contextmanager
def _undone_if_raised(connection: sa.Connection, begin: str) -> Iterator[None]:
    """Begin a transaction, and undo it when the ``with`` block raises."""
    connection.exec_driver_sql(begin)
    try:
        yield
    except BaseException:
        # Not every pool of a host's does that.
        roll_back(connection)
        raise


class _Server:
    """What looks after its own files and settings."""

    def require(self, connection: sa.Connection) -> None:
        """See :meth:`Backend.require`."""

    def check(self, connection: sa.Connection, schema: Schema) -> None:
        """See :meth:`Backend.check`."""

    def prepare(self, connection: sa.Connection) -> None:
        """See :meth:`Backend.prepare`."""


class PostgreSQL(_Server):
    """A database of PostgreSQL: the lock is that of the one row of ``meta``."""

    @contextmanager
    def alone(self, connection: sa.Connection, schema: Schema, seconds: float) -> Iterator[None]:
        """See :meth:`Backend.alone`."""
        del schema
        with _undone_if_raised(connection, _BEGIN_READ_COMMITTED):
            self._limit(connection, seconds)
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")
            yield
            connection.exec_driver_sql("COMMIT")

    def begin(self, connection: sa.Connection, schema: Schema, seconds: float) -> Head:
        """See :meth:`Backend.begin`."""
        with _undone_if_raised(connection, _BEGIN_READ_COMMITTED):
            self._limit(connection, seconds)
            return schema.head(connection, "FOR UPDATE")

    @staticmethod
    def _limit(connection: sa.Connection, seconds: float) -> None:
        # 0 would mean to wait for ever, and the most is what fits into 32 bits.
        milliseconds = min(max(1, math.ceil(seconds * 1000)), 2**31 - 1)
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {milliseconds}")

    def now(self, connection: sa.Connection) -> float:
        """See :meth:`Backend.now`."""
        return float(connection.scalar(sa.text("SELECT extract(epoch FROM clock_timestamp())")))

    def verdict(self, error: BaseException | None) -> Verdict:
        """See :meth:`Backend.verdict`."""
        # https://www.postgresql.org/docs/current/errcodes-appendix.html; psycopg 2 says pgcode.
        code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        if code in {"40001", "40P01"}:  # serialization_failure, deadlock_detected
            return Verdict.BUSY
        if code == "55P03":  # lock_not_available
            return Verdict.LOCKED
        if code in {"XX001", "XX002"}:  # data_corrupted, index_corrupted
            return Verdict.DAMAGED
        return Verdict.UNAVAILABLE


class MariaDB(_Server):
    """A database of MariaDB: the lock is that of the one row of ``meta``.

    MySQL has no way to say how long to wait for it: there its own ``innodb_lock_wait_timeout``
    decides.
    """

    def require(self, connection: sa.Connection) -> None:
        """See :meth:`Backend.require`."""
        if connection.dialect.default_schema_name is None:
            raise UnusableError("it names no database; write one after the host: …host/database")

    @contextmanager
    def alone(self, connection: sa.Connection, schema: Schema, seconds: float) -> Iterator[None]:
        """See :meth:`Backend.alone`."""
        # Making a table ends a transaction here, so that a lock of its own must do.
        lock = _lock_name(connection.dialect.default_schema_name, schema.meta.name)
        try:
            if not connection.scalar(sa.select(sa.func.get_lock(lock, math.ceil(seconds)))):
                raise SchemaLockedError
            yield
        finally:
            # The pool keeps the connection, and with it the lock. One that is not held is no error.
            try:
                connection.execute(sa.select(sa.func.release_lock(lock)))
            except sa.exc.SQLAlchemyError:
                connection.invalidate()

    def begin(self, connection: sa.Connection, schema: Schema, seconds: float) -> Head:
        """See :meth:`Backend.begin`."""
        is_mariadb = getattr(connection.dialect, "is_mariadb", False)
        waits = f" WAIT {math.ceil(seconds)}" if is_mariadb else ""
        with _undone_if_raised(connection, "START TRANSACTION READ WRITE"):
            return schema.head(connection, f"FOR UPDATE{waits}")

    def now(self, connection: sa.Connection) -> float:
        """See :meth:`Backend.now`."""
        return float(connection.scalar(sa.text("SELECT unix_timestamp(sysdate(6))")))

    def verdict(self, error: BaseException | None) -> Verdict:
        """See :meth:`Backend.verdict`."""
        # https://mariadb.com/kb/en/mariadb-error-code-reference/
        arguments = getattr(error, "args", ())
        code = arguments[0] if arguments else 0
        if code in {1020, 1213}:  # ER_CHECKREAD, ER_LOCK_DEADLOCK
            return Verdict.BUSY
        if code in {1205, 3572}:  # ER_LOCK_WAIT_TIMEOUT, and MySQL's ER_LOCK_NOWAIT
            return Verdict.LOCKED
        if code in {126, 127, 145, 1034, 1194, 1712}:  # the files or the index of a table are bad
            return Verdict.DAMAGED
        return Verdict.UNAVAILABLE


def _lock_name(database: str | None, table: str) -> str:
    # Names of locks are those of the whole server, and have 64 characters at most. A server may
    # take two spellings of a database for one.
    place = f"{database}.{table}".lower().encode()
    return f"plugreg {hashlib.sha256(place).hexdigest()[:32]}"
