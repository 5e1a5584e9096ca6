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
        self._idle = [] if first is None else [first]
        self._lines = set(self._idle)
        self._limit = limit
        self._add = add
        self._lock = threading.Lock()
        self._waiters: deque[Waiter] = deque()
        self._is_closed = False

    @property
    def is_busy(self) -> bool:
        """Whether any line has a call under way."""
        with self._lock:
            return len(self._idle) < len(self._lines)

    def take(self, waiter: Waiter) -> Line | None:
        """Return a free line; if there is none, return None, and *waiter* gets a line later.

        Raises OSError when no line can be made, and EOFError when the pool is closed.
        """
        with self._lock:
            if self._is_closed:
                raise EOFError
            with suppress(IndexError):
                return self._idle.pop()
            if self._limit is None or len(self._lines) < self._limit:
                line = self._add()
                self._lines.add(line)
                return line
            self._waiters.append(waiter)
            try:
                # It may have been put back just now, by a call that has seen no waiter.
                line = self._idle.pop()
            except IndexError:
                return None
            self._waiters.remove(waiter)
            return line

    def wait(self) -> Line:
        """Return a line as soon as a line is free. Raises EOFError when the pool is closed."""
        try:
            # Nearly always a line is free.
            return self._idle.pop()
        except IndexError:
            pass
        arrived = threading.Event()
        found: list[Line | None] = []

        def take(line: Line | None) -> None:
            found.append(line)
            arrived.set()

        line = self.take(take)
        if line is not None:
            return line
        arrived.wait()
        if found[0] is None:
            raise EOFError
        return found[0]

    def give_up(self, waiter: Waiter) -> None:
        """Forget a waiter that got nothing yet."""
        with self._lock:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def put_back(self, line: Line) -> None:
        """Take a line back whose call has ended."""
        self._idle.append(line)
        if self._waiters or self._is_closed:
            self._hand_on()

    def _hand_on(self) -> None:
        """Pass idle lines to waiters, or close them."""
        with self._lock:
            if self._is_closed:
                self._close_idle()
                return
            while self._waiters:
                try:
                    line = self._idle.pop()
                except IndexError:
                    return  # A caller was faster, and puts it back again.
                self._waiters.popleft()(line)

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
            self._close_idle()
            waiters, self._waiters = self._waiters, deque()
        for waiter in waiters:
            waiter(None)

    def _close_idle(self) -> None:
        # One by one off the list, from which a call may take a line at any time.
        with suppress(IndexError):
            while True:
                line = self._idle.pop()
                self._lines.discard(line)
                line.close()
