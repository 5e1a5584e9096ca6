"""The lines on which a process is called: few, each for a single call at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from plugreg.isolation.frames import Line

Waiter = Callable[[Line | None], object]
"""Gets a line, or None when there will be none any more. It must return at once."""


class LinePool:
    """The lines of a process, for threads and event loops alike. Thread-safe.

    Args:
        first: The line that is there.
        limit: The most lines; None means as many as there are calls.
        add: Makes another line. Raises OSError.
        connects: Whether that waits for the process.
    """

    def __init__(
        self,
        first: Line | None,
        limit: int | None,
        add: Callable[[], Line],
        *,
        connects: bool,
    ) -> None:
        self.connects = connects
        self.idle = [] if first is None else [first]
        self._lines = set(self.idle)
        self._limit = limit
        self._add = add
        # A handler of a signal may call the plugin, too.
        self._lock = threading.RLock()
        self._waiters: deque[Waiter] = deque()
        self._is_closed = False

    @property
    def is_busy(self) -> bool:
        """Whether any line has a call under way."""
        with self._lock:
            return len(self.idle) < len(self._lines)

    def pop(self) -> Line | None:
        """Return a free line, as there nearly always is, else None."""
        try:
            return self.idle.pop()
        except IndexError:
            return None

    def take(self, waiter: Waiter) -> Line | None:
        """Return a free line; if there is none, return None, and *waiter* gets a line later.

        Raises OSError when no line can be made, and EOFError when the pool is closed.
        """
        with self._lock:
            if self._is_closed:
                raise EOFError
            line = self.pop()
            if line is None and (self._limit is None or len(self._lines) < self._limit):
                line = self._add()
                self._lines.add(line)
            if line is None:
                self._waiters.append(waiter)
            return line

    def give_up(self, waiter: Waiter) -> None:
        """Forget a waiter that got nothing yet."""
        with self._lock, suppress(ValueError):
            self._waiters.remove(waiter)

    def put_back(self, line: Line) -> None:
        """Take a line back whose call has ended."""
        with self._lock:
            if self._is_closed:
                self.drop(line)
            elif self._waiters:
                self._waiters.popleft()(line)
            else:
                self.idle.append(line)

    def drop(self, line: Line) -> None:
        """Close a line that is of no use any more."""
        with self._lock:
            self._lines.discard(line)
        line.close()

    def abandon(self) -> None:
        """Close the descriptors of all lines, which another process uses."""
        for line in self._lines:
            line.close()

    def close(self) -> None:
        """Close the free lines, and let nobody wait; other lines close when they are back."""
        with self._lock:
            self._is_closed = True
            # One by one off the list, from which a call may take a line at any time.
            while line := self.pop():
                self.drop(line)
            waiters, self._waiters = self._waiters, deque()
        for waiter in waiters:
            waiter(None)
