"""The time of a store, on which processes on several machines agree."""

from __future__ import annotations

import time
from collections.abc import Callable

from plugreg.storage.contract import Storage


def now(storage: Storage) -> float:
    """Return the time of a store in seconds since the epoch, within transactions too.

    Args:
        storage: The storage. If its store has a clock, as a database server does, the storage has
            a method ``now``; else the time is that of this machine, which its processes share.

    Raises:
        StorageError: If the store cannot be reached.
    """
    clock: Callable[[], float] = getattr(storage, "now", time.time)
    return clock()
