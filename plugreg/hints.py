"""Hints between processes: told at once what a look at the storage would find a second later.

They need a server that passes messages on; here that is Redis (``plugreg[redis]``). A
:class:`plugreg.storage.SQLStorage` on PostgreSQL has hints of its own, and needs none of these.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol

from plugreg._support.outages import Outage
from plugreg.exceptions import MissingExtraError
from plugreg.storage import Storage, Transaction
from plugreg.storage.base import Record
from plugreg.storage.clock import now
from plugreg.storage.file.storefile import SetAside

_SILENCE: Final = 5.0
"""Seconds without a hint after one that could not be given: trying may take a whole second."""


class Channel(Protocol):
    """Passes on, to every process that listens, that something was stored. It may lose any of it.

    One thread in each process waits; any may tell.
    """

    def tell(self) -> None:
        """Give a hint. Raises nothing because nobody can be told."""
        ...

    def wait(self, seconds: float) -> bool:
        """Wait for a hint, ``seconds`` at most; tell whether there was one. May raise anything.

        It begins with one: what was told before anybody listened is not known.
        """
        ...

    def close(self) -> None:
        """Let go of the server. Closing twice does nothing."""
        ...


class Hinted:
    """A :class:`plugreg.storage.Storage` that gives a hint after each commit, and waits for them.

    It gives one after a transaction that has changed nothing, too: that costs the others a look.
    ``Hinted(open_storage(url), RedisHints(address))`` is given to the registry in the place of the
    storage itself; ``registry.watch`` then looks at once when another process has stored something.
    What is stored and read is the inner storage's alone; closing closes both.
    """

    def __init__(self, storage: Storage, channel: Channel) -> None:
        self._storage = storage
        self._channel = channel

    def read(self, table: str) -> Mapping[str, Record]:
        """See :meth:`Storage.read`."""
        return self._storage.read(table)

    def transaction(self) -> AbstractContextManager[Transaction]:
        """See :meth:`Storage.transaction`."""
        return self._transaction(self._storage.transaction())

    @contextmanager
    def _transaction(self, inner: AbstractContextManager[Transaction]) -> Iterator[Transaction]:
        with inner as transaction:
            yield transaction
        self._channel.tell()

    def revision(self) -> int:
        """See :meth:`Storage.revision`."""
        return self._storage.revision()

    def now(self) -> float:
        """See :meth:`plugreg.storage.clock.HasClock.now`."""
        return now(self._storage)

    @property
    def set_aside(self) -> tuple[SetAside, ...]:
        """See :attr:`plugreg.storage.TinyDBStorage.set_aside`; empty for all other storages."""
        return getattr(self._storage, "set_aside", ())

    @property
    def gives_hints(self) -> bool:
        """See :attr:`plugreg._state.watch.Hints.gives_hints`."""
        return True

    def wait(self, seconds: float) -> bool:
        """See :meth:`plugreg._state.watch.Hints.wait`."""
        return self._channel.wait(seconds)

    def close(self) -> None:
        """See :meth:`Storage.close`."""
        self._storage.close()
        self._channel.close()


class RedisHints:
    """A :class:`Channel` on a Redis server, which needs to keep nothing for it.

    ``url`` is one of redis-py (``redis://user:password@host:6379/0``), ``channel`` a name that
    those who share a storage agree on. Opening connects to nothing. A hint that cannot be given is
    logged, once till it can be again, and holds up whoever has stored something for a second at
    most; after it none is given for 5 seconds. A forked child has connections of its own. Raises
    MissingExtraError without redis-py, ValueError, which shows nothing of it, for what is no such
    URL.
    """

    def __init__(self, url: str, *, channel: str = "plugreg") -> None:
        try:
            import redis
        except ImportError as error:
            raise MissingExtraError.of(
                error, "plugreg.hints.RedisHints", "redis", "redis"
            ) from error
        self._errors = redis.RedisError
        # A server that does not answer must not hold up whoever has stored something.
        try:
            self._redis = redis.Redis.from_url(url, socket_connect_timeout=1.0, socket_timeout=1.0)
        except ValueError:
            # The words may hold any part of the password.
            raise ValueError(
                "the URL of a Redis server is none that redis-py understands; it must be like "
                "redis://user:password@host:6379/0, with %-codes in user and password"
            ) from None
        self._channel = channel
        self._listening: tuple[int, redis.client.PubSub] | None = None
        self._outage = Outage(
            "no hints can be given, so that changes are seen later", "hints can be given again"
        )
        self._silent_until = -math.inf

    def tell(self) -> None:
        """See :meth:`Channel.tell`."""
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
        """See :meth:`Channel.wait`. Raises what redis-py raises; the next call connects anew."""
        if self._listening is None or self._listening[0] != os.getpid():
            # The server's word that it listens, now and after each new connection, is a message
            # like others: what was committed before was told to nobody.
            listener = self._redis.pubsub()  # type: ignore[no-untyped-call]
            listener.subscribe(self._channel)
            self._listening = (os.getpid(), listener)
        try:
            return self._listening[1].get_message(timeout=seconds) is not None
        except self._errors:
            self._listening = None
            raise

    def close(self) -> None:
        """See :meth:`Channel.close`."""
        if self._listening is not None:
            self._listening[1].close()
            self._listening = None
        self._redis.close()
