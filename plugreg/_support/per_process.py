"""What each process has for itself, so that a forked child waits for no thread of its parent's."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """Something that each process makes for itself when it first asks for it, such as a lock.

    A lock that another thread holds while the process forks is never released in the child. All
    threads of a process get the same one; what ``make`` gives to two at once is kept of one.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[int, T] = {}

    def get(self) -> T:
        """Return the one of this process."""
        process = os.getpid()
        found = self._made.get(process)
        # dict.setdefault gives two threads at once the same one.
        return self._made.setdefault(process, self._make()) if found is None else found
