"""Connections to a database, for any thread and any process."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import sqlalchemy as sa

from plugreg._support import call_at_fork
from plugreg.exceptions import StorageError

_FORK_SECONDS: Final = 1.0
"""How long a fork waits until no other thread uses a SQLite database."""


class DriverError(Exception):
    """A driver could not connect, and raised an error that SQLAlchemy does not wrap."""


FAILURES: Final = (sa.exc.SQLAlchemyError, DriverError, UnicodeDecodeError)
"""The errors that a use of a connection may raise, and that become a StorageError.

Python raises the last of them while it reads SQLite's message about a damaged definition.
"""


def roll_back(connection: sa.Connection) -> None:
    """Roll back the transaction of a connection, and discard it if that fails.

    Args:
        connection: The connection.
    """
    if connection.closed or connection.invalidated:
        return
    handled = sys.exception()
    try:
        connection.exec_driver_sql("ROLLBACK")
    except sa.exc.SQLAlchemyError as error:
        connection.invalidate()
        raise_interrupt(error, handled)


class Connections:
    """Connections in autocommit mode, taken from the pool of an engine.

    The own listeners of a host's engine for transactions, options and logging are not called,
    and nothing is set on it.

    **Forks.** A child begins with an empty pool: it neither uses nor closes the connections that
    it inherited. SQLite must not be carried over a fork at all, because a child takes the locks
    of its parent for its own; so idle connections are closed before each fork. A fork waits for
    connections in use, for a second unless its own thread uses one; if one is still in use then,
    the child is refused.

    Args:
        engine: The engine whose pool and dialect are used.
        own: Whether nobody else uses the engine. Then plugreg's listeners are called, and `close`
            disposes of the engine.
    """

    def __init__(self, engine: sa.Engine, *, own: bool) -> None:
        self._engine = engine
        self._own = own
        self._lent = engine if own else _lend(engine)
        self._closed = False
        self._is_file = engine.dialect.name == "sqlite"
        self._is_lost = False
        # Ctrl-C may come inside Condition.__enter__, which is written in Python, and leave it
        # acquired. So the lock itself is entered instead.
        self._lock = threading.RLock()
        self._idle = threading.Condition(self._lock)
        # The thread of each use.
        self._users: dict[object, int] = {}
        self._inherited: list[object] = []
        call_at_fork(
            before=self._before_fork,
            after_in_parent=self._in_parent,
            after_in_child=self._in_child,
        )

    def close(self) -> None:
        """Close idle connections of plugreg's own engine.

        Connections in use are closed afterwards.
        """
        self._closed = True
        if self._own:
            self._engine.dispose()

    @contextmanager
    def acquired(self) -> Iterator[sa.Connection]:
        """Provide a connection for a ``with`` block.

        Where the block ends in a child that was forked inside it, the connection stays its
        parent's.

        Raises:
            StorageError: If this process was forked while its parent used a SQLite database.
            SQLAlchemyError: If connecting fails, or giving the connection back does.
            DriverError: If the driver raises an error of another kind.
        """
        process, use = os.getpid(), object()
        try:
            with self._lock:
                if self._is_lost:
                    raise StorageError(
                        "this process was forked while its parent used the store, and a SQLite "
                        "database cannot be carried over that; fork outside of transactions, or "
                        "start a new process"
                    )
                self._users[use] = threading.get_ident()
            connection = self._connect()
            try:
                yield connection
            finally:
                if os.getpid() == process:
                    self._give_back(connection)
                else:
                    # The inherited pool would talk to the parent's server.
                    fairy = connection.connection
                    fairy.detach()
                    self._inherited.append(fairy)
        finally:
            # Nothing is called before, as Ctrl-C might come there. A forked child knows no such
            # use.
            with self._lock:
                self._users.pop(use, None)
                self._idle.notify_all()

    def detached(self) -> sa.Connection:
        """Return a connection that the caller keeps and closes.

        It comes on top of the pool's limit, because the pool may open another in its place. Use
        it for servers only, whose connections a fork does not harm. Raises as `acquired` does.
        """
        connection = self._connect()
        connection.detach()
        return connection

    def _connect(self) -> sa.Connection:
        # Disposing of an engine gives it a new pool.
        if self._lent.pool is not self._engine.pool:
            self._lent = _lend(self._engine)
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
            # Ctrl-C in the middle of SQLAlchemy leaves a connection in a state that SQLAlchemy
            # does not expect. The work is committed or rolled back by now, so the connection is
            # discarded, and the exception under way stays the same.
            with suppress(sa.exc.SQLAlchemyError):
                connection.invalidate()
            raise_interrupt(error, handled)

    def _before_fork(self) -> None:
        self._lock.acquire()
        if self._is_file:
            thread, users = threading.get_ident(), self._users
            self._idle.wait_for(lambda: not users or thread in users.values(), _FORK_SECONDS)
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
    """Raise the KeyboardInterrupt that a driver has replaced by *error*, if any.

    Args:
        error: The error that was raised.
        handled: The exception that was being handled before the driver was called. Interrupts
            behind that one are over.
    """
    cause: BaseException | None = error
    while cause is not None and cause is not handled:
        if isinstance(cause, KeyboardInterrupt):
            raise cause
        cause = cause.__context__


def _lend(engine: sa.Engine) -> sa.Engine:
    """Return an engine on the same pool that has no listeners of the host."""
    lent = sa.Engine(engine.pool, engine.dialect, engine.url, hide_parameters=True)
    return lent.execution_options(isolation_level="AUTOCOMMIT")
