"""Hints between processes, so that a commit is noticed at once.

They need a server that forwards messages; here that is Redis (``plugreg[redis]``). A
`plugreg.storage.SQLStorage` on PostgreSQL has hints of its own, and needs none of these.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, Protocol

from plugreg._support.outages import Outage
from plugreg.exceptions import MissingExtraError
from plugreg.storage import Storage, Transaction
from plugreg.storage.base import Record

_SILENCE: Final = 5.0
"""Seconds without a hint after a hint that failed: each attempt may take a whole second."""


class Channel(Protocol):
    """A channel that carries hints of commits to every process that listens.

    It may lose any hint. One thread of each process waits; any thread may send. `Hinted` closes its
    channel.
    """

    def tell(self) -> None:
        """Send a hint. Does not raise if nobody can receive it."""

    def wait(self, seconds: float) -> bool:
        """Wait for a hint.

        The first call returns True at once, because hints that were sent before it are lost. It may
        raise any exception; the caller goes on without hints, and calls again later.

        Args:
            seconds: The longest time to wait.

        Returns:
            Whether there was a hint.
        """

    def close(self) -> None:
        """Disconnect from the server. Closing twice does nothing."""


class Hinted:
    """A `plugreg.storage.Storage` that sends and receives hints of commits.

    Pass ``Hinted(open_storage(url), RedisHints(address))`` to the registry in place of the storage;
    ``registry.watch`` then looks at once when another process has committed. Each
    transaction sends a hint, even if it changes nothing, which costs the others a look. All
    records are those of the inner storage, and this object is as thread-safe as that storage.

    Args:
        storage: The storage. Closing this object closes it.
        channel: The channel of the hints. Closing this object closes it.
    """

    def __init__(self, storage: Storage, channel: Channel) -> None:
        self._storage = storage
        self._channel = channel

    def read(self, table: str) -> Mapping[str, Record]:
        """See `Storage.read`."""
        return self._storage.read(table)

    def transaction(self) -> AbstractContextManager[Transaction]:
        """See `Storage.transaction`."""
        return self._transaction(self._storage.transaction())

    @contextmanager
    def _transaction(self, inner: AbstractContextManager[Transaction]) -> Iterator[Transaction]:
        with inner as transaction:
            yield transaction
        self._channel.tell()

    def revision(self) -> int:
        """See `Storage.revision`."""
        return self._storage.revision()

    def __getattr__(self, name: str) -> Any:
        # Some storages have a file, a clock or damaged files that were set aside.
        return getattr(self._storage, name)

    @property
    def gives_hints(self) -> bool:
        """Always True: a watching registry waits for the hints of the channel."""
        return True

    def wait(self, seconds: float) -> bool:
        """See `Channel.wait`."""
        return self._channel.wait(seconds)

    def close(self) -> None:
        """Close the storage, then the channel."""
        self._storage.close()
        self._channel.close()


class RedisHints:
    """A `Channel` on a Redis server, which stores nothing for it.

    Constructing it connects to nothing. If a hint cannot be sent, the outage is logged once, and
    once more when it ends. A commit is delayed by a second at most; then no hint is sent for 5
    seconds. Any thread may send, and one thread waits. A forked child opens its own connections.

    Args:
        url: A URL of redis-py (``redis://user:password@host:6379/0``).
        channel: The name of the channel, the same for all processes that share a storage.

    Raises:
        MissingExtraError: If redis-py is not installed.
        ValueError: If *url* is no such URL. The message does not show it.
    """

    def __init__(self, url: str, *, channel: str = "plugreg") -> None:
        try:
            import redis
        except ImportError as error:
            raise MissingExtraError.of(
                error, "plugreg.hints.RedisHints", "redis", "redis"
            ) from error
        self._errors = redis.RedisError
        # A server that does not answer must not delay commits.
        try:
            self._redis = redis.Redis.from_url(url, socket_connect_timeout=1.0, socket_timeout=1.0)
        except ValueError:
            # The message may contain any part of the password.
            raise ValueError(
                "the URL of the Redis server is not one of redis-py; it must be like "
                "redis://user:password@host:6379/0, with %-codes in user and password"
            ) from None
        self._channel = channel
        self._listening: tuple[int, redis.client.PubSub] | None = None
        self._outage = Outage(
            "no hints can be sent, so that changes are seen later", "hints can be sent again"
        )
        self._silent_until = -math.inf

    def tell(self) -> None:
        """See `Channel.tell`."""
        if time.monotonic() < self._silent_until:
            return
        try:
            self._redis.publish(self._channel, b"")
        except self._errors as error:
            self._outage.failed(error)
            self._silent_until = time.monotonic() + _SILENCE
        else:
            self._outage.succeeded()

    def wait(self, seconds: float) -> bool:
        """See `Channel.wait`; it raises the errors of redis-py."""
        if self._listening is None or self._listening[0] != os.getpid():
            # The server confirms each subscription by a message, which counts as a hint: nobody was
            # notified of the commits before it.
            listener = self._redis.pubsub()  # type: ignore[no-untyped-call]
            listener.subscribe(self._channel)
            self._listening = (os.getpid(), listener)
        try:
            return self._listening[1].get_message(timeout=seconds) is not None
        except self._errors:
            self._listening = None
            raise

    def close(self) -> None:
        """See `Channel.close`."""
        if self._listening is not None:
            self._listening[1].close()
            self._listening = None
        self._redis.close()
