"""PostgreSQL's own hints that something was stored: LISTEN, and NOTIFY in each commit."""

from __future__ import annotations

import os
import time
from typing import Any, Final

import sqlalchemy as sa

from plugreg.storage.sql.connections import Connections

_SLICE_SECONDS: Final = 0.1
"""After how long a wait looks whether the storage was closed."""


class CommitHints:
    """Tells those who wait of each commit, and waits for what others tell.

    PostgreSQL alone has this, and psycopg is the driver that can wait for it; with any other one
    nothing is told, or waiting is sleeping. One thread at a time may wait. It has a connection of
    its own, opened at the first wait and kept; a forked child opens another.
    """

    def __init__(self, connections: Connections, prefix: str) -> None:
        dialect = connections.dialect
        self._connections = connections
        self._channel = f"{prefix}commits" if dialect.name == "postgresql" else None
        self.can_wait = self._channel is not None and dialect.driver == "psycopg"
        self._closed = False
        self._listening: tuple[int, sa.Connection] | None = None
        # A child does not close what it inherited: that would end its parent's listening.
        self._inherited: list[sa.Connection] = []

    def tell(self, connection: sa.Connection) -> None:
        """Have the commit of this connection's transaction tell, if there is one."""
        if self._channel is not None:
            connection.exec_driver_sql(f"NOTIFY {self._channel}")

    def wait(self, seconds: float) -> bool:
        """Wait for a hint, ``seconds`` at most; tell whether there was one. Closing ends it.

        Raises what SQLAlchemy and psycopg raise; the next wait connects anew.
        """
        deadline = time.monotonic() + seconds
        while True:
            left = max(0.0, deadline - time.monotonic())
            is_told = self._is_told(min(left, _SLICE_SECONDS))
            if self._closed:
                # It may have connected meanwhile.
                self._disconnect()
            if is_told or self._closed or left <= _SLICE_SECONDS:
                return is_told

    def close(self) -> None:
        """End every wait, and let go of the connection. Closing twice does nothing."""
        self._closed = True
        # Where another thread waits, psycopg gives the connection out after its slice of time.
        self._disconnect()

    def _is_told(self, seconds: float) -> bool:
        if not self.can_wait:
            time.sleep(seconds)
            return False
        before = self._listening
        connection = self._connected()
        if self._listening is not before:
            # What was committed before it listened was told to nobody.
            return True
        try:
            # https://www.psycopg.org/psycopg3/docs/advanced/async.html#asynchronous-notifications
            driver: Any = connection.connection.dbapi_connection
            return any(True for _ in driver.notifies(timeout=seconds, stop_after=1))
        except BaseException as error:
            self._disconnect()
            if self._closed and isinstance(error, Exception):
                return False
            raise

    def _disconnect(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None and listening[0] == os.getpid():
            listening[1].close()

    def _connected(self) -> sa.Connection:
        if self._listening is not None:
            if self._listening[0] == os.getpid():
                return self._listening[1]
            self._inherited.append(self._listening[1])
        connection = self._connections.apart()
        self._listening = (os.getpid(), connection)
        try:
            connection.exec_driver_sql(f"LISTEN {self._channel}")
        except BaseException:
            self._disconnect()
            raise
        return connection
