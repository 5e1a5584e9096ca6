"""Connections to a database, for whoever asks and in whichever process."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import sqlalchemy as sa

from plugreg.exceptions import StorageError

_FORK_SECONDS: Final = 1.0
"""How long a fork waits until no thread reads from a database of SQLite."""


class DriverError(Exception):
    """A driver could not connect, and raised what is none of SQLAlchemy's errors."""


def roll_back(connection: sa.Connection) -> None:
    """Undo the transaction that is open on a connection; one that cannot is thrown away."""
    if connection.closed or connection.invalidated:
        return
    handled = sys.exception()
    try:
        connection.exec_driver_sql("ROLLBACK")
    except sa.exc.SQLAlchemyError as error:
        connection.invalidate()
        raise_interrupt(error, handled)


class Connections:
    """Gives out connections in autocommit mode. They come back to the pool of ``engine``.

    ``own`` says that the engine is nobody else's: then its listeners are plugreg's, and closing
    disposes of it. A host's engine lends its pool and its dialect alone: its own listeners for
    transactions, options and logging stay out of it, and nothing is set on it.

    **Forks.** A child begins with an empty pool: it neither uses nor closes what it inherited.
    SQLite must not be carried over a fork at all, since a child takes its parent's locks for its
    own; so the connections in the pool are closed before each fork. One that is in use then is
    waited for, for a second unless its own thread is the one that forks; if it is in use still,
    the child is refused.
    """

    def __init__(self, engine: sa.Engine, *, own: bool) -> None:
        self._engine = engine
        self._own = own
        self._lent = engine if own else _lent(engine)
        self._closed = False
        self._is_file = engine.dialect.name == "sqlite"
        self._is_lost = False
        # Ctrl-C may come inside Condition.__enter__, which is written in Python, and leave it held.
        # So this is what is entered.
        self._lock = threading.RLock()
        self._idle = threading.Condition(self._lock)
        # The thread of each use.
        self._users: dict[object, int] = {}
        self._inherited: list[object] = []
        self._watch_forks()

    @property
    def dialect(self) -> sa.Dialect:
        """The dialect of the engine."""
        return self._engine.dialect

    def close(self) -> None:
        """Close what is idle, if the engine is plugreg's own; what is in use is closed after it."""
        self._closed = True
        if self._own:
            self._engine.dispose()

    @contextmanager
    def one(self) -> Iterator[sa.Connection]:
        """Give a connection for a ``with`` block. Raises what SQLAlchemy raises, and DriverError.

        Raises StorageError in a child process that may not have one. Where the block ends in a
        child that was forked inside it, the connection stays its parent's.
        """
        process, use = os.getpid(), object()
        try:
            with self._lock:
                self._require_usable()
                self._users[use] = threading.get_ident()
            connection = self._connect()
            try:
                yield connection
            finally:
                if os.getpid() == process:
                    self._give_back(connection)
                else:
                    self._inherited.append(_let_go(connection))
        finally:
            # Nothing is called before, as Ctrl-C might come there. A forked child knows no such
            # use.
            with self._lock:
                self._users.pop(use, None)
                self._idle.notify_all()

    def apart(self) -> sa.Connection:
        """Return a connection that is the caller's, to keep and to close.

        It is taken from the pool, which may open another one in its place: so it comes on top of
        what the pool may have. Raises what :meth:`one` raises. It is for servers, whose connections
        a fork does not harm.
        """
        connection = self._connect()
        connection.detach()
        return connection

    def _require_usable(self) -> None:
        if self._is_lost:
            raise StorageError(
                "this process was forked while its parent used the store, and a database of SQLite "
                "cannot be carried over that; fork outside of transactions, or start a new process"
            )

    def _connect(self) -> sa.Connection:
        # Disposing of an engine gives it a new pool.
        if self._lent.pool is not self._engine.pool:
            self._lent = _lent(self._engine)
        try:
            return self._lent.connect()
        except (sa.exc.SQLAlchemyError, UnicodeDecodeError):
            raise
        except Exception as error:
            # Such as the TypeError of a function that does not know an option of the URL.
            raise DriverError(f"{type(error).__name__}: {error}") from error

    def _give_back(self, connection: sa.Connection) -> None:
        handled = sys.exception()
        try:
            if self._closed and self._own and not connection.invalidated:
                connection.detach()
            connection.close()
        except (sa.exc.SQLAlchemyError, AssertionError, AttributeError) as error:
            # Ctrl-C in the middle of SQLAlchemy leaves a connection in a state that it does not
            # know itself. The work is done or undone by now, so that such a one is thrown away,
            # and what is raised stays what it was.
            with suppress(sa.exc.SQLAlchemyError):
                connection.invalidate()
            raise_interrupt(error, handled)

    def _watch_forks(self) -> None:
        # Python keeps such functions for as long as the process lives, so they must not keep this.
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=_weakly(self._before_fork),
                after_in_parent=_weakly(self._in_parent),
                after_in_child=_weakly(self._in_child),
            )

    def _before_fork(self) -> None:
        self._lock.acquire()
        if self._is_file:
            me, users = threading.get_ident(), self._users
            self._idle.wait_for(lambda: not users or me in users.values(), _FORK_SECONDS)
            self._engine.dispose()

    def _in_parent(self) -> None:
        self._lock.release()

    def _in_child(self) -> None:
        self._is_lost = self._is_lost or (self._is_file and bool(self._users))
        self._lock = threading.RLock()
        self._idle = threading.Condition(self._lock)
        self._users = {}
        if not self._is_file:
            self._inherited.append(self._engine.pool)
            self._engine.dispose(close=False)


def raise_interrupt(error: BaseException, handled: BaseException | None) -> None:
    """Raise the Ctrl-C that a driver has raised ``error`` for, as it was busy then, if it has.

    ``handled`` is the exception that was being handled before the driver was asked: what lies
    behind that one is over.
    """
    cause: BaseException | None = error
    while cause is not None and cause is not handled:
        if isinstance(cause, KeyboardInterrupt):
            raise cause
        cause = cause.__context__


def _weakly(method: Callable[[], None]) -> Callable[[], None]:
    reference = weakref.WeakMethod(method)

    def call() -> None:
        alive = reference()
        if alive is not None:
            alive()

    return call


def _let_go(connection: sa.Connection) -> object:
    """Take an inherited connection from its pool, which would talk to the parent's server."""
    fairy = connection.connection
    fairy.detach()
    return fairy


def _lent(engine: sa.Engine) -> sa.Engine:
    lent = sa.Engine(engine.pool, engine.dialect, engine.url, hide_parameters=True)
    return lent.execution_options(isolation_level="AUTOCOMMIT")
