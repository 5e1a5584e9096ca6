"""URLs of databases, and the engines that plugreg opens by them."""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event, exc, pool

from plugreg.exceptions import (
    MissingExtraError,
    StorageCorruptError,
    StorageUnavailableError,
    StorageURLError,
)
from plugreg.storage.sql.pool import LocklessPool

EXAMPLES: Final = (
    "write sqlite:///path, postgresql+psycopg://user@host/database, or "
    "mysql+pymysql://user@host/database"
)
"""What a URL looks like."""

_CONNECT_SECONDS: Final = 10
ANSWER_SECONDS: Final = 5.0
"""How much longer than the lock may take a server may be silent before it is given up."""

_LONGEST_SECONDS: Final = 2_000_000.0
"""A limit that no server and no driver refuses: three weeks."""

_NO_LIMIT: Final = -1
"""Of connections at a time: a thread has one or two, and one that Ctrl-C has cost the pool must not
be waited for."""


def parsed(url: str | sa.URL) -> sa.URL:
    """Return a URL in its parts. Raises StorageURLError."""
    if not isinstance(url, (str, sa.URL)):
        name = f"<{type(url).__qualname__}>"
        raise StorageURLError(name, f"it is neither a URL nor a sqlalchemy.Engine; {EXAMPLES}")
    try:
        found = sa.make_url(url)
    except (exc.ArgumentError, ValueError):
        # The text has the password somewhere, if it has one.
        raise StorageURLError("…", f"it is no URL of a database; {EXAMPLES}") from None
    is_file = found.get_backend_name() == "sqlite"
    # The rest of a password that was cut at its @ is taken for a part of the address.
    if "@" in (found.host or "") or (not is_file and "@" in (found.database or "")):
        raise StorageURLError("…", "there is an @ in the user's name or password; write %40 for it")
    if is_file and (found.host or found.username):
        raise StorageURLError("…", f"a file has no user and no host before it; {EXAMPLES}")
    return found


def url_of_file(path: str) -> sa.URL:
    """Return the URL of a file. In a text SQLAlchemy 2.1 decodes the path, and 2.0 does not."""
    return sa.URL.create("sqlite", database=path)


def place_of(url: sa.URL) -> str:
    """Return where a URL leads, without user, password and options."""
    if url.get_backend_name() == "sqlite":
        return os.path.realpath(url.database) if url.database else ":memory:"
    rest = sa.URL.create(url.drivername, host=url.host, port=url.port, database=url.database)
    return rest.render_as_string()


def secrets_of(url: sa.URL) -> tuple[str, ...]:
    """Return the passwords in a URL, which no text may show."""
    options = [value for name, value in url.query.items() if "pass" in name.lower()]
    found = [url.password, *(each for value in options for each in _listed(value))]
    return tuple(str(each) for each in found if each)


def _listed(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def require_pool(engine: sa.Engine) -> None:
    """Raise StorageURLError for a host's engine that may give one connection to two at once.

    Its pool undoes the transaction of one when the other one gives the connection back.
    """
    if not isinstance(engine.pool, (pool.QueuePool, pool.NullPool)):
        raise StorageURLError(
            place_of(engine.url),
            f"a {type(engine.pool).__name__} has its users share a connection, so that one ends "
            f"the transaction of another; open the engine with poolclass=sqlalchemy.QueuePool "
            f"(for a database in memory use MemoryStorage)",
        )


def require_file_of_log(url: sa.URL) -> None:
    """Raise StorageCorruptError where a file of SQLite is gone, and its write-ahead log is there.

    SQLite would remove the log when it makes a new file, and with it the commits that are nowhere
    else.
    """
    file = place_of(url)
    # In this order: whoever makes both right now makes the file first.
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
    """Return a new engine on a database that plugreg opens by itself; nothing is connected yet.

    A server that is silent for ``lock_timeout`` and :data:`ANSWER_SECONDS` more is given up; it
    ends a statement that waits for a lock on a table a little earlier. Raises StorageURLError,
    MissingExtraError where the driver cannot be imported, and StorageUnavailableError where a file
    of SQLite cannot be made.
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
    # By then the server has said by itself that a statement took too long, and waits no more.
    waiting = max(0.001, silence - 0.2 * ANSWER_SECONDS)
    try:
        engine = sa.create_engine(
            _with_defaults(url, silence, waiting),
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            poolclass=LocklessPool,
            max_overflow=_NO_LIMIT,
        )
    except ImportError as error:
        extra = {"psycopg": "postgresql", "pymysql": "mariadb"}.get(driver)
        if extra is None:
            reason = f"its driver {driver!r} cannot be imported ({error}); install it, "
            raise StorageURLError(place, f"{reason}or {EXAMPLES}") from error
        raise MissingExtraError.of(error, f"the store at {place!r}", driver, extra) from error
    except (exc.ArgumentError, TypeError, ValueError):
        # The words may hold any part of the URL.
        raise StorageURLError(place, "SQLAlchemy does not understand it") from None
    if engine.dialect.name == "postgresql":
        _limit_statements(engine, waiting)
    if engine.dialect.driver == "psycopg":
        _limit_silence(engine, silence)
    return engine


def _limit_statements(engine: sa.Engine, seconds: float) -> None:
    # What the operator has set for the role or in the URL stands.
    statement = (
        f"SELECT set_config('statement_timeout', '{math.ceil(seconds * 1000)}', false) "
        f"WHERE current_setting('statement_timeout') = '0'"
    )

    def limit(connection: Any, _record: object) -> None:
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(statement)

    event.listen(engine, "connect", limit)


def _limit_silence(engine: sa.Engine, seconds: float) -> None:
    def connect(_dialect: object, _record: object, args: Any, options: Any) -> Any:
        from plugreg.storage.sql.psycopg import LimitedConnection

        connection = LimitedConnection.connect(*args, **options)
        connection.silence = seconds
        return connection

    event.listen(engine, "do_connect", connect)


def _with_defaults(url: sa.URL, silence: float, waiting: float) -> sa.URL:
    # A server that is gone without a word must not be waited for until the kernel gives up.
    defaults: dict[str, dict[str, Any]] = {
        "psycopg": {
            "connect_timeout": _CONNECT_SECONDS,
            "keepalives_idle": 15,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        },
        "pymysql": {
            "connect_timeout": _CONNECT_SECONDS,
            "read_timeout": math.ceil(silence),
            "write_timeout": math.ceil(silence),
            # MySQL takes the part for MariaDB for a comment.
            "init_command": (
                f"SET SESSION lock_wait_timeout = LEAST(@@lock_wait_timeout, {math.ceil(silence)}) "
                f"/*M!100100 , SESSION max_statement_time = "
                f"IF(@@max_statement_time = 0, {waiting:.3f}, @@max_statement_time) */"
            ),
        },
    }
    wanted = defaults.get(url.get_driver_name(), {})
    return url.update_query_dict({k: str(v) for k, v in wanted.items() if k not in url.query})


def _open_file(url: sa.URL) -> sa.Engine:
    path, shown = url.database, place_of(url)
    if not path or path == ":memory:":
        raise StorageURLError(shown, "it names no file; for one in memory use MemoryStorage")
    if url.query or url.get_driver_name() != "pysqlite":
        raise StorageURLError(
            shown, "options and other drivers need an engine of your own: SQLStorage(engine)"
        )
    file = Path(os.path.realpath(path))
    _make(file)
    return _file_engine(file)


def _make(file: Path) -> None:
    # Settings hold secrets: nobody else may read a new file, nor those that SQLite puts beside it.
    # One that is there is not opened, as closing it would take the locks of this process off it.
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        reason = error.strerror or str(error)
        if not file.parent.is_dir():
            reason = f"there is no folder {str(file.parent)!r}; make it first"
        raise StorageUnavailableError(str(file), reason) from error


def _file_engine(file: Path) -> sa.Engine:
    # A file that was removed while it was in use is not made anew, which would forget everything.
    address = f"{file.as_uri()}?mode=rw"

    def connect() -> sqlite3.Connection:
        # Without a time-out, since waiting in SQLite would hold up Ctrl-C.
        connection = sqlite3.connect(
            address, uri=True, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
        return connection

    engine = sa.create_engine(
        "sqlite://",
        creator=connect,
        poolclass=LocklessPool,
        max_overflow=_NO_LIMIT,
        hide_parameters=True,
    )
    mark = _Mark(file)
    event.listen(engine, "connect", mark.remember)
    event.listen(engine, "checkout", mark.compare)
    return engine


class _Mark:
    """Sees that a connection is to the file that is there now, and not to one that was replaced."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def remember(self, _connection: object, record: pool.ConnectionPoolEntry) -> None:
        """Note on a new connection which file it has open."""
        record.info["file"] = self._now()

    def compare(
        self, _connection: object, record: pool.ConnectionPoolEntry, _proxy: object
    ) -> None:
        """Have SQLAlchemy connect anew where the file is another one now."""
        if record.info["file"] != self._now():
            raise exc.DisconnectionError

    def _now(self) -> tuple[int, int] | None:
        try:
            status = self._file.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino
