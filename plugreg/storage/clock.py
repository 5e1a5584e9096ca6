"""The time of a store, on which processes on several machines agree."""

from __future__ import annotations

import time
from typing import Protocol, runtime_checkable

from plugreg.storage.contract import Storage


@runtime_checkable
class HasClock(Protocol):
    """A storage whose store has a clock of its own, as a database server does."""

    def now(self) -> float:
        """Return the store's time in seconds since the epoch, within transactions too."""
        ...


def now(storage: Storage) -> float:
    """Return the time of a store in seconds since the epoch.

    Args:
        storage: The storage. Without a clock of its own, the time is that of this machine, which
            its processes share.

    Raises:
        StorageError: If the store cannot be reached.
    """
    return storage.now() if isinstance(storage, HasClock) else time.time()
