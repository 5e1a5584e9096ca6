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

from plugreg.exceptions import (
    CommitUnknownError,
    MissingExtraError,
    StorageCorruptError,
    StorageError,
    StorageFormatError,
    StorageLockedError,
    StorageUnavailableError,
    StorageURLError,
)

try:
    import sqlalchemy as sa
except ImportError as error:
    raise MissingExtraError.of(error, "plugreg.storage.SQLStorage", "sqlalchemy", "sql") from error

from plugreg.storage.base import Gate, Record, Transaction
from plugreg.storage.file.locking import BackOff
from plugreg.storage.memory import State, buffered
from plugreg.storage.sql.backends import (
    Backend,
    MariaDB,
    PostgreSQL,
    SchemaLockedError,
    SQLite,
    UnusableError,
    Verdict,
)
from plugreg.storage.sql.connections import Connections, raise_interrupt
from plugreg.storage.sql.engines import (
    ANSWER_SECONDS,
    EXAMPLES,
    open_engine,
    parsed,
    place_of,
    require_file_of_log,
    require_pool,
    secrets_of,
)
from plugreg.storage.sql.hints import CommitHints
from plugreg.storage.sql.schema import Changes, DamageError, Head, NewerError, Schema
from plugreg.storage.sql.transaction import FAILURES, Begun, Tables, is_name

T = TypeVar("T")

_BACKENDS: Final[Mapping[str, Callable[[], Backend]]] = MappingProxyType(
    {"sqlite": SQLite, "postgresql": PostgreSQL, "mysql": MariaDB, "mariadb": MariaDB}
)
_PAUSE_SECONDS: Final = (0.0005, 0.005)
_PREFIX: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_LOOK_SECONDS: Final = 5.0
"""How long a commit that broke off is looked for."""


class SQLStorage:
    """A :class:`Storage` in two tables of a database, shared by all that can reach it.

    ``url_or_engine`` is a URL of SQLAlchemy (``sqlite:///path``, ``postgresql+psycopg://…``,
    ``mysql+pymysql://…``) or the host's own engine. Opening connects, makes the tables
    ``<prefix>records`` and ``<prefix>meta`` or brings them up to date, one process at a time, and
    refuses with StorageFormatError those of a newer plugreg. Two prefixes are two stores.

    A transaction holds the store's lock from its beginning: in SQLite the file's write lock (BEGIN
    IMMEDIATE), elsewhere that of a row (SELECT … FOR UPDATE). It is had within ``lock_timeout``
    seconds, or StorageLockedError names the store. MariaDB counts whole seconds. Changes are kept
    apart until the ``with`` block ends.

    **Connections** are opened anew when they break. A read is then done once more, and so is the
    beginning of a transaction; a commit is not: where its outcome was lost with the connection,
    CommitUnknownError says so. A thread uses one at a time, and in a transaction that one for its
    reads too. A store made before a fork works in the child; where its parent was using a SQLite
    database at that moment, the child is refused with StorageError.

    A server that is **silent** is given up within ``lock_timeout`` + 10 seconds, and so is a
    statement that waits for a lock on a table: StorageUnavailableError. In a commit it is
    CommitUnknownError, after a look at the store that may take as long again. That is so with
    psycopg and PyMySQL; a host's engine has the limits that its host gives it.

    **SQLite**: a new file is its owner's alone (mode 0600). It is set to write-ahead logging (WAL)
    with ``synchronous = FULL``, and its tables are checked at each opening; StorageCorruptError
    refuses what SQLite finds to be damaged, and a log (``-wal``) whose file is gone, and leaves it.

    **PostgreSQL** tells those who :meth:`wait` of each commit (NOTIFY ``<prefix>commits``). Each
    process that waits, as a watching one does, has one connection more for that, on top of what
    its pool may have.

    **A host's engine** lends its pool and dialect, and stays open at :meth:`close`. Its pool may be
    of one connection, but a QueuePool or a NullPool: one that its users share is refused, and so is
    a SQLite database in memory. Listeners on the engine itself are not called, and nothing is set
    on it or on a SQLite file, so that what is on disk when a transaction ends is up to the host's
    settings. Connections to SQLite that lie idle in it are closed before each fork of the process.

    Raises StorageURLError for what is no such URL or engine, or leads to what cannot be a store,
    MissingExtraError where the driver is not installed, and ValueError for a time-out or a prefix
    that is none.
    """

    def __init__(
        self,
        url_or_engine: str | sa.URL | sa.Engine,
        *,
        lock_timeout: float = 30.0,
        prefix: str = "plugreg_",
    ) -> None:
        if not 0 <= lock_timeout <= threading.TIMEOUT_MAX:
            raise ValueError(f"lock_timeout={lock_timeout!r} is no number of seconds from 0 on")
        if not _PREFIX.fullmatch(prefix):
            raise ValueError(
                f"prefix={prefix!r} is none: it must be a letter and at most 39 more characters "
                f"of a-z, 0-9 and _"
            )
        self._lock_timeout = lock_timeout
        given = url_or_engine if isinstance(url_or_engine, sa.Engine) else None
        own = given is None
        url = parsed(url_or_engine.url if isinstance(url_or_engine, sa.Engine) else url_or_engine)
        self._place = place_of(url)
        self._secrets = secrets_of(url)
        self._backend = _backend(url)
        require_file_of_log(url)
        engine = open_engine(url, lock_timeout) if given is None else given
        require_pool(engine)
        self._schema = Schema(prefix, engine.dialect.name)
        self._connections = Connections(engine, own=own)
        self._hints = CommitHints(self._connections, prefix)
        self._gate = Gate(f"the lock of {self._place}", lock_timeout)
        self._courtesy = BackOff()
        # What each thread has begun last.
        self._mine = threading.local()
        try:
            self._open(own=own)
        except BaseException:
            self._connections.close()
            raise

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._place!r})"

    def read(self, table: str) -> dict[str, Record]:
        """See :meth:`Storage.read`."""
        self._gate.require_open()
        if not is_name(table):
            return {}
        return self._looked(lambda connection: self._schema.all(connection, table))

    def transaction(self) -> AbstractContextManager[Transaction]:
        """See :meth:`Storage.transaction`."""
        self._gate.require_open()
        return self._transaction()

    def revision(self) -> int:
        """See :meth:`Storage.revision`."""
        self._gate.require_open()
        return self._looked(self._schema.head).revision

    def now(self) -> float:
        """Return the time of the database in seconds since the epoch, inside transactions too."""
        self._gate.require_open()
        return self._looked(self._backend.now)

    @property
    def gives_hints(self) -> bool:
        """Whether :meth:`wait` is told of commits, and not just sleeping."""
        return self._hints.can_wait

    def wait(self, seconds: float) -> bool:
        """Wait for a commit of another process. PostgreSQL reports commits, through psycopg.

        With another database or driver this sleeps. A close ends it, with False. Raises what
        psycopg raises, and StorageError after close; the next wait connects anew.
        """
        self._gate.require_open()
        return self._hints.wait(seconds)

    def close(self) -> None:
        """See :meth:`Storage.close`."""
        self._gate.close()
        self._hints.close()
        self._connections.close()

    @contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        deadline = time.monotonic() + self._lock_timeout
        with self._gate.entered(), self._begun(deadline) as begun:
            self._mine.begun = begun
            state = State(revision=begun.head.revision, tables=Tables(begun, self._schema))
            with buffered(state) as transaction:
                yield transaction
            if transaction.changes:
                self._commit(begun, transaction.changes)

    def _commit(self, begun: Begun, changes: Changes) -> None:
        revision, token = begun.head.revision + 1, uuid.uuid4().hex

        def write(connection: sa.Connection) -> None:
            self._schema.write(connection, changes)
            self._schema.raise_revision(connection, revision, token)
            self._hints.tell(connection)

        begun.ask(write)
        handled = sys.exception()
        try:
            begun.commit()
        except sa.exc.DBAPIError as error:
            if not error.connection_invalidated:
                raise_interrupt(error, handled)
                raise self._typed(error) from error
            made = self._was_made(begun.head, token)
            raise CommitUnknownError(self._place, revision, made) from error

    def _was_made(self, before: Head, token: str) -> bool | None:
        # With the lock in hand, no server process can still be busy with the lost commit.
        try:
            with self._begun(time.monotonic() + _LOOK_SECONDS) as begun:
                found = begun.head
        except StorageError:
            return None
        if found.token == token:
            return True
        # Further commits may have come on top of it, or of another one with its number.
        return False if found.revision <= before.revision + 1 else None

    @contextmanager
    def _begun(self, deadline: float) -> Iterator[Begun]:
        """Give a transaction of the database that has the lock; undo it unless it was committed."""

        def begin() -> tuple[Begun, Generator[Begun, None, None]]:
            beginning = self._begin(deadline)
            return next(beginning), beginning

        self._courtesy.give_way(deadline)
        begun, beginning = self._tried(begin, deadline)
        # It is over when it has been closed, and not before.
        with self._courtesy.holding(), closing(beginning):
            yield begun

    def _begin(self, deadline: float) -> Generator[Begun, None, None]:
        # A generator, as what Ctrl-C drops on the way is closed by that, and so undone, at once.
        with self._connections.one() as connection:
            seconds = max(0.0, deadline - time.monotonic())
            head = self._backend.begin(connection, self._schema, seconds)
            begun = Begun(connection, head, self._typed)
            try:
                yield begun
            finally:
                begun.undo()

    def _open(self, *, own: bool) -> None:
        deadline = time.monotonic() + self._lock_timeout
        self._looked(self._backend.require)
        found = self._looked(self._schema.found)
        if found:
            self._looked(lambda connection: self._backend.check(connection, self._schema))
            self._looked(self._schema.head)
        if own:
            self._looked(self._backend.prepare)
        if found < self._schema.version:
            self._tried(lambda: self._migrate(deadline), deadline)

    def _migrate(self, deadline: float) -> None:
        seconds = max(0.0, deadline - time.monotonic())
        with (
            self._connections.one() as connection,
            self._backend.alone(connection, self._schema, seconds),
        ):
            self._schema.migrate(connection)

    def _looked(self, look: Callable[[sa.Connection], T]) -> T:
        # The pool may have no second connection for this thread; and as changes are kept apart till
        # the end of the transaction, its own one shows what the last commit left.
        begun: Begun | None = getattr(self._mine, "begun", None)
        if begun is not None and begun.is_open:
            return begun.ask(look)

        def once() -> T:
            with self._connections.one() as connection:
                return look(connection)

        return self._tried(once, time.monotonic() + self._lock_timeout)

    def _tried(self, work: Callable[[], T], deadline: float) -> T:
        """Return what ``work`` does, which changes nothing when it fails.

        It is done again while others are in the way, until ``deadline``, and once more where its
        connection turned out to be dead.
        """
        began, reconnected, handled = time.monotonic(), False, sys.exception()
        while True:
            try:
                return work()
            except FAILURES as error:
                raise_interrupt(error, handled)
                if self._is_busy(error) and time.monotonic() < deadline:
                    pause = random.uniform(*_PAUSE_SECONDS)  # noqa: S311 - it keeps no secret
                elif self._is_dead(error, began) and not reconnected:
                    pause, reconnected = 0.0, True
                else:
                    raise self._typed(error) from error
            time.sleep(pause)

    def _is_busy(self, error: Exception) -> bool:
        return self._backend.verdict(getattr(error, "orig", None)) is Verdict.BUSY

    @staticmethod
    def _is_dead(error: Exception, began: float) -> bool:
        """Return whether a connection was found broken; of a silent server another is no better."""
        is_silent = time.monotonic() - began >= ANSWER_SECONDS
        return getattr(error, "connection_invalidated", False) and not is_silent

    def _typed(self, error: Exception) -> StorageError:
        """Return what a failure is to the caller, without the password."""
        if isinstance(error, DamageError):
            return StorageCorruptError(self._place, str(error))
        if isinstance(error, NewerError):
            return StorageFormatError(self._place, error.found, error.known)
        if isinstance(error, UnusableError):
            return StorageURLError(self._place, str(error))
        if isinstance(error, UnicodeDecodeError):
            return StorageCorruptError(self._place, "the definition of a table is no UTF-8 text")
        verdict = self._backend.verdict(getattr(error, "orig", None))
        if isinstance(error, SchemaLockedError) or verdict in {Verdict.BUSY, Verdict.LOCKED}:
            return StorageLockedError(f"the lock of {self._place}", self._lock_timeout)
        reason = _words(error, self._secrets)
        if verdict is Verdict.DAMAGED:
            return StorageCorruptError(self._place, reason)
        return StorageUnavailableError(self._place, reason)


def _backend(url: sa.URL) -> Backend:
    name = url.get_backend_name()
    if name not in _BACKENDS:
        raise StorageURLError(place_of(url), f"databases of {name!r} are not supported; {EXAMPLES}")
    return _BACKENDS[name]()


def _words(error: Exception, secrets: tuple[str, ...]) -> str:
    cause = getattr(error, "orig", None) or error
    # What PostgreSQL adds in detail may be contents; PyMySQL gives a number before the words.
    primary = getattr(getattr(cause, "diag", None), "message_primary", None)
    words = " ".join(str(primary or (cause.args[-1] if cause.args else cause)).split())
    for secret in secrets:
        words = words.replace(secret, "…")
    return words or type(cause).__name__
