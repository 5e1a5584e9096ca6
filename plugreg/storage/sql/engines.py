"""URLs of databases, and the engines and pools that plugreg opens for them."""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
from collections import deque
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event, exc, pool
from sqlalchemy.util import queue

from plugreg.exceptions import (
    MissingExtraError,
    StorageCorruptError,
    StorageUnavailableError,
    StorageURLError,
)

EXAMPLES: Final = (
    "write sqlite:///path, postgresql+psycopg://user@host/database, or "
    "mysql+pymysql://user@host/database"
)
"""The end of each message about a URL that is refused."""

_CONNECT_SECONDS: Final = 10
ANSWER_SECONDS: Final = 5.0
"""Seconds beyond the lock's time limit that a server may be silent before it is given up."""

_LONGEST_SECONDS: Final = 2_000_000.0
"""A limit that no server and no driver refuses: three weeks."""


class _Idle(queue.QueueCommon[pool.ConnectionPoolEntry]):
    """Idle connections. The latest is used first, and nobody waits."""

    def __init__(self, maxsize: int = 0, use_lifo: bool = True) -> None:
        self.maxsize = maxsize
        self.use_lifo = use_lifo
        self._entries: deque[pool.ConnectionPoolEntry] = deque()

    def qsize(self) -> int:
        return len(self._entries)

    def put(self, item: pool.ConnectionPoolEntry, *_: object, **__: object) -> None:
        # Two threads may both find room for one more.
        if len(self._entries) >= self.maxsize:
            raise queue.Full
        self._entries.append(item)

    def get(self, *_: object, **__: object) -> pool.ConnectionPoolEntry:
        try:
            return self._entries.pop()
        except IndexError:
            raise queue.Empty from None


class LocklessPool(pool.QueuePool):
    """A QueuePool without a limit, in which no thread waits for another.

    A QueuePool acquires its lock in Python (threading.Condition). If Ctrl-C comes at that moment,
    the lock is never released, and no other thread can get a connection.
    """

    _queue_class = _Idle


def _create_engine(url: str | sa.URL, **options: Any) -> sa.Engine:
    # No limit: a thread has one or two connections, and nobody must wait for one that Ctrl-C has
    # cost the pool.
    return sa.create_engine(
        url, poolclass=LocklessPool, max_overflow=-1, hide_parameters=True, **options
    )


def parse_url(url: object) -> sa.URL:
    """Return the parts of a URL.

    Args:
        url: A URL of SQLAlchemy.

    Raises:
        StorageURLError: If it is none, or has an unescaped ``@`` in its password, or a host before
            the path of a file.
    """
    if not isinstance(url, (str, sa.URL)):
        name = f"<{type(url).__qualname__}>"
        raise StorageURLError(name, f"it is neither a URL nor a sqlalchemy.Engine; {EXAMPLES}")
    try:
        parsed = sa.make_url(url)
    except (exc.ArgumentError, ValueError):
        # The string may have the password anywhere.
        raise StorageURLError("…", f"it is no URL of a database; {EXAMPLES}") from None
    is_file = parsed.get_backend_name() == "sqlite"
    # The rest of a password that was cut at its @ is parsed as a part of the address.
    if "@" in (parsed.host or "") or (not is_file and "@" in (parsed.database or "")):
        raise StorageURLError("…", "there is an @ in the user's name or password; write %40 for it")
    if is_file and (parsed.host or parsed.username):
        raise StorageURLError("…", f"a file has no user and no host before it; {EXAMPLES}")
    return parsed


def place_of(url: sa.URL) -> str:
    """Return the address in a URL, without user, password and options.

    Args:
        url: The URL.
    """
    if url.get_backend_name() == "sqlite":
        return os.path.realpath(url.database) if url.database else ":memory:"
    rest = sa.URL.create(url.drivername, host=url.host, port=url.port, database=url.database)
    return rest.render_as_string()


def secrets_of(url: sa.URL) -> tuple[str, ...]:
    """Return the passwords in a URL, which no message may show.

    Args:
        url: The URL.
    """
    options = url.normalized_query.items()
    secrets = [value for name, values in options if "pass" in name.lower() for value in values]
    return tuple(filter(None, (*secrets, str(url.password or ""))))


def require_pool(engine: sa.Engine) -> None:
    """Refuse a host's engine whose pool may share a connection between threads.

    When one thread gives the connection back, the pool rolls back the transaction of the other.

    Args:
        engine: The engine of the host.

    Raises:
        StorageURLError: If the pool is neither a QueuePool nor a NullPool.
    """
    if not isinstance(engine.pool, (pool.QueuePool, pool.NullPool)):
        raise StorageURLError(
            place_of(engine.url),
            f"a {type(engine.pool).__name__} has its users share a connection, so that one ends "
            f"the transaction of another; open the engine with poolclass=sqlalchemy.QueuePool "
            f"(for a database in memory use MemoryStorage)",
        )


def require_file_of_log(url: sa.URL) -> None:
    """Refuse a SQLite file that is gone while its write-ahead log is there.

    SQLite would remove the log with a new file, and so the commits that are nowhere else.

    Args:
        url: The URL.

    Raises:
        StorageCorruptError: If only the log is there.
    """
    file = place_of(url)
    # In this order, because a process that creates both creates the file first.
    if url.get_backend_name() == "sqlite" and _size(f"{file}-wal") and not _size(file):
        raise StorageCorruptError(
            file,
            f"the file is gone or empty, and its log {f'{file}-wal'!r}, which may have the last "
            f"commits, is there; put the file back beside it, or remove the log to begin anew",
        )


def _size(file: str) -> int:
    try:
        return Path(file).stat().st_size
    except OSError:
        return 0


def open_engine(url: sa.URL, lock_timeout: float) -> sa.Engine:
    """Return a new engine of plugreg's own; nothing is connected yet.

    Args:
        url: The address.
        lock_timeout: Seconds to wait for the store's lock. A server that is silent for
            `ANSWER_SECONDS` more is given up. A statement that waits for a lock on a table is
            ended by the server a little earlier.

    Raises:
        StorageURLError: If the URL does not name a database that plugreg can open.
        MissingExtraError: If the driver cannot be imported.
        StorageUnavailableError: If a SQLite file cannot be created.
    """
    place = place_of(url)
    try:
        driver, is_async = url.get_driver_name(), url.get_dialect().is_async
    except exc.NoSuchModuleError:
        raise StorageURLError(place, f"SQLAlchemy does not know its driver; {EXAMPLES}") from None
    if is_async:
        raise StorageURLError(place, f"driver {driver!r} is for asyncio; {EXAMPLES}")
    if url.get_backend_name() == "sqlite":
        return _open_file(url)
    silence = min(lock_timeout + ANSWER_SECONDS, _LONGEST_SECONDS)
    # By then the server has ended a statement that took too long, and does not wait any more.
    waiting = max(0.001, silence - 0.2 * ANSWER_SECONDS)
    defaults = _list_defaults(math.ceil(silence)).get(driver, {})
    options = {name: str(value) for name, value in defaults.items() if name not in url.query}
    try:
        engine = _create_engine(url.update_query_dict(options), isolation_level="AUTOCOMMIT")
    except ImportError as error:
        extra = {"psycopg": "postgresql", "pymysql": "mariadb"}.get(driver)
        if extra is None:
            reason = f"its driver {driver!r} cannot be imported ({error}); install it, "
            raise StorageURLError(place, f"{reason}or {EXAMPLES}") from error
        raise MissingExtraError.of(error, f"the store at {place!r}", driver, extra) from error
    except (exc.ArgumentError, TypeError, ValueError):
        # The message may contain any part of the URL.
        raise StorageURLError(place, "SQLAlchemy does not understand it") from None
    _limit_statements(engine, silence, waiting)
    if driver == "psycopg":
        _limit_silence(engine, silence)
    return engine


def _list_defaults(silence: int) -> dict[str, dict[str, int]]:
    # Nobody must wait for a server that vanished until the kernel gives up.
    connecting = {"connect_timeout": _CONNECT_SECONDS}
    keeping = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}
    answering = {"read_timeout": silence, "write_timeout": silence}
    return {"psycopg": connecting | keeping, "pymysql": connecting | answering}


def _limit_statements(engine: sa.Engine, silence: float, waiting: float) -> None:
    # A limit that the operator has set for the role, the server or in the URL stays.
    statement = (
        f"SELECT set_config('statement_timeout', '{math.ceil(waiting * 1000)}', false) "
        f"WHERE current_setting('statement_timeout') = '0'"
    )
    if engine.dialect.name != "postgresql":
        # MySQL reads the part for MariaDB as a comment.
        statement = (
            f"SET SESSION lock_wait_timeout = LEAST(@@lock_wait_timeout, {math.ceil(silence)}) "
            f"/*M!100100 , SESSION max_statement_time = "
            f"IF(@@max_statement_time = 0, {waiting:.3f}, @@max_statement_time) */"
        )

    @event.listens_for(engine, "connect")
    def limit(connection: Any, _record: object) -> None:
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(statement)


def _limit_silence(engine: sa.Engine, seconds: float) -> None:
    from plugreg.storage.sql.psycopg import LimitedConnection

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: object, _record: object, args: Any, options: Any) -> Any:
        connection = LimitedConnection.connect(*args, **options)
        connection.silence = seconds
        return connection


def _open_file(url: sa.URL) -> sa.Engine:
    path, shown = url.database, place_of(url)
    if not path or path == ":memory:":
        raise StorageURLError(shown, "it names no file; for one in memory use MemoryStorage")
    if url.query or url.get_driver_name() != "pysqlite":
        raise StorageURLError(
            shown, "options and other drivers need an engine of your own: SQLStorage(engine)"
        )
    file = Path(shown)
    _create(file)
    # A file that was removed during use is not created again, which would forget everything.
    address = f"{file.as_uri()}?mode=rw"

    def connect() -> sqlite3.Connection:
        # Without a timeout, because a wait inside SQLite would delay Ctrl-C.
        connection = sqlite3.connect(
            address, uri=True, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
        return connection

    engine = _create_engine("sqlite://", creator=connect)

    @event.listens_for(engine, "connect")
    def remember(_connection: object, record: pool.ConnectionPoolEntry) -> None:
        record.info["file"] = _identify(file)

    @event.listens_for(engine, "checkout")
    def compare(_connection: object, record: pool.ConnectionPoolEntry, _proxy: object) -> None:
        # SQLAlchemy connects again, to the file that has replaced the one in use.
        if record.info["file"] != _identify(file):
            raise exc.DisconnectionError

    return engine


def _create(file: Path) -> None:
    """Create the file if there is none, readable and writable for its owner alone."""
    # Settings hold secrets: nobody else may read a new file, nor those that SQLite puts beside it.
    # An existing file is not opened, because closing it would release the locks of this process.
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        reason = error.strerror or str(error)
        if not file.parent.is_dir():
            reason = f"there is no folder {str(file.parent)!r}; make it first"
        raise StorageUnavailableError(str(file), reason) from error


def _identify(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
