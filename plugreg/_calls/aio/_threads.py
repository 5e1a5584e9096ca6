"""Daemon threads for plugin code that may hang, and can be given up on.

A thread cannot be ended from outside. A thread whose work does not return in time is left alone,
and ends when it returns.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

from plugreg.exceptions import PluginBusyError

IDLE_SECONDS: Final = 1.0
"""Time that a thread waits for more work before it ends."""

Work = Callable[[], Callable[[], object] | None]
"""Returns the last action of the thread when it is free again; None if it was abandoned."""


class Threads:
    """Starts threads, and lets those that are free wait a while for more work. Thread-safe."""

    def __init__(self) -> None:
        self._work: SimpleQueue[Work] = SimpleQueue()
        # It has an item for each free thread that nobody has work for yet.
        self._free: list[None] = []

    def start(self, work: Work) -> None:
        """Begin work in a thread. Raises RuntimeError when no thread can be started."""
        try:
            self._free.pop()
        except IndexError:
            threading.Thread(target=self._serve, args=(work,), daemon=True).start()
        else:
            self._work.put(work)

    def _serve(self, work: Work) -> None:
        thread = threading.current_thread()
        while True:
            thread.name = "plugreg acall"
            last = work()
            if last is None:
                return
            # Free before the caller hears of it, since its next call may follow at once.
            thread.name = "plugreg idle"
            self._free.append(None)
            last()
            # A thread that waits keeps no plugin alive.
            del work, last
            try:
                work = self._work.get(timeout=IDLE_SECONDS)
            except Empty:
                try:
                    self._free.pop()
                except IndexError:
                    # Work is on its way.
                    work = self._work.get()
                else:
                    return


class BusyPlugins:
    """The plugins whose code was given up on and still runs. Thread-safe."""

    def __init__(self) -> None:
        self._slugs: Final[dict[object, str]] = {}

    def add(self, piece: object, slug: str) -> None:
        """Count the plugin as busy until this piece of its code is discarded."""
        self._slugs[piece] = slug

    def discard(self, piece: object) -> None:
        """Forget a piece of code, whether or not it was added."""
        self._slugs.pop(piece, None)

    def check(self, slug: str) -> None:
        """Raise PluginBusyError while code of this plugin that was given up on runs."""
        if self._slugs and slug in list(self._slugs.values()):
            raise PluginBusyError(slug)
