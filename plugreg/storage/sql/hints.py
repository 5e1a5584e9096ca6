"""Hints of commits through PostgreSQL itself: LISTEN, and NOTIFY in each commit."""

from __future__ import annotations

import os
import time
from typing import Any, Final

import sqlalchemy as sa

from plugreg.storage.sql.connections import Connections

_SLICE_SECONDS: Final = 0.1
"""Seconds after which a wait checks whether the storage was closed."""


class CommitHints:
    """Notifications of commits, sent and received.

    Only PostgreSQL can send them, and only psycopg can wait for them; otherwise `notify` does
    nothing, or `wait` sleeps. One thread at a time may wait. It has a connection of its own, opened
    at the first wait and held until `close`; a forked child opens another.

    Args:
        connections: The connections of the store.
        dialect: Their dialect.
        prefix: The prefix of the store's tables, and of the channel's name.
    """

    def __init__(self, connections: Connections, dialect: sa.Dialect, prefix: str) -> None:
        self._connections = connections
        self._channel = f"{prefix}commits" if dialect.name == "postgresql" else None
        self.can_wait = self._channel is not None and dialect.driver == "psycopg"
        self._closed = False
        # By process. A child keeps what it inherited: closing would end its parent's listening.
        self._listening: dict[int, sa.Connection] = {}

    def notify(self, connection: sa.Connection) -> None:
        """Make the open transaction notify the waiting processes when it commits.

        Args:
            connection: The connection of the transaction.
        """
        if self._channel is not None:
            connection.exec_driver_sql(f"NOTIFY {self._channel}")

    def wait(self, seconds: float) -> bool:
        """Wait for a hint at most *seconds*, and return whether there was a hint.

        The first wait returns True at once: commits before it are unknown. `close` ends
        every wait. Raises the errors of SQLAlchemy and psycopg; the next wait connects again.

        Args:
            seconds: The longest time to wait.
        """
        deadline = time.monotonic() + seconds
        while True:
            left = max(0.0, deadline - time.monotonic())
            is_hinted = self._wait_slice(min(left, _SLICE_SECONDS))
            if self._closed:
                # It may have connected meanwhile.
                self._disconnect()
            if is_hinted or self._closed or left <= _SLICE_SECONDS:
                return is_hinted

    def close(self) -> None:
        """End every wait, and close the connection. Closing twice does nothing."""
        self._closed = True
        # Where another thread waits, psycopg lets go of the connection after its slice of time.
        self._disconnect()

    def _wait_slice(self, seconds: float) -> bool:
        if not self.can_wait:
            time.sleep(seconds)
            return False
        # Another thread may close it meanwhile.
        connection = self._listening.get(os.getpid())
        if connection is None:
            self._listen()
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

    def _listen(self) -> None:
        connection = self._listening[os.getpid()] = self._connections.detached()
        try:
            connection.exec_driver_sql(f"LISTEN {self._channel}")
        except BaseException:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        connection = self._listening.pop(os.getpid(), None)
        if connection is not None:
            connection.close()
