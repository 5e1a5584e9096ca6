"""The time that a store goes by, so that processes on several machines agree on what is over."""

from __future__ import annotations

import time
from typing import Protocol, runtime_checkable

from plugreg.storage.base import Storage


@runtime_checkable
class HasClock(Protocol):
    """A storage whose store has a clock of its own, as a database server does."""

    def now(self) -> float:
        """Return the store's time in seconds since the epoch. It may be asked in a transaction."""
        ...


def now(storage: Storage) -> float:
    """Return the time of a store in seconds since the epoch.

    Without a clock of its own it is this machine's, which its processes share. Raises StorageError
    where the store cannot be reached.
    """
    return storage.now() if isinstance(storage, HasClock) else time.time()
