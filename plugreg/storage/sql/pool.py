"""The pool of plugreg's own engines."""

from __future__ import annotations

from collections import deque

from sqlalchemy import pool
from sqlalchemy.util import queue


class _Idle(queue.QueueCommon[pool.ConnectionPoolEntry]):
    """Idle connections. The latest is used first, and nobody waits."""

    def __init__(self, maxsize: int = 0, use_lifo: bool = True) -> None:
        self.maxsize = maxsize
        self.use_lifo = use_lifo
        self._entries: deque[pool.ConnectionPoolEntry] = deque()

    def qsize(self) -> int:
        return len(self._entries)

    def put(
        self, item: pool.ConnectionPoolEntry, block: bool = True, timeout: float | None = None
    ) -> None:
        del block, timeout
        # Two threads may both find room for one more.
        if len(self._entries) >= self.maxsize:
            raise queue.Full
        self._entries.append(item)

    def get(self, block: bool = True, timeout: float | None = None) -> pool.ConnectionPoolEntry:
        del block, timeout
        try:
            return self._entries.pop()
        except IndexError:
            raise queue.Empty from None


class LocklessPool(pool.QueuePool):
    """A QueuePool without a limit, in which no thread waits for another.

    A QueuePool acquires its lock in Python (threading.Condition). If Ctrl-C comes at that moment,
    the lock is never released, and no other thread can get a connection.
    """

    _queue_class = _Idle
