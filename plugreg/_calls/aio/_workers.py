"""Threads for plugin code that may hang: each is a daemon, and can be given up on.

A thread cannot be ended from outside. One whose function does not return in time is left to it;
what was to come after it goes on in another thread, and the first one ends when it returns.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import Context
from queue import SimpleQueue
from time import monotonic
from typing import Any, Final, Literal


class Work:
    """A function for a worker's thread, and what became of it.

    ``ended`` is called in that thread when the function has returned or raised, unless it was
    given up on; ``discard`` then takes what it returned too late. ``begun`` is the time at which
    it began, by ``time.monotonic``, None before. It runs in a ``context`` of its own, which is
    that of what comes later too, unless it ``goes_on`` elsewhere.
    """

    def __init__(
        self,
        function: Callable[[], Any],
        ended: Callable[[], object],
        discard: Callable[[Any], object],
    ) -> None:
        self.begun: float | None = None
        self.value: Any = None
        self.error: BaseException | None = None
        self.context: Context | None = None
        self.goes_on = False
        self._function = function
        self._ended = ended
        self._discard = discard
        self._lock = threading.Lock()
        self._state: Literal["waiting", "running", "ended", "given up"] = "waiting"

    def give_up(self) -> bool:
        """Do not wait for it any longer. False when it has ended, so that ``ended`` is called.

        One that has not begun will never begin.
        """
        with self._lock:
            if self._state == "ended":
                return False
            self._state = "given up"
            return True

    def run(self, worker: Worker) -> bool:
        """Call the function, in a copy of the context. False when it was given up on meanwhile."""
        with self._lock:
            if self._state == "given up":
                return True
            self._state = "running"
            self.begun = monotonic()
        self.context = worker.context.copy()
        try:
            self.value = self.context.run(self._function)
        except BaseException as error:  # noqa: BLE001 - who waits for it has to judge
            self.error = error
        with self._lock:
            in_time = self._state == "running"
            if in_time:
                self._state = "ended"
        if in_time:
            if not self.goes_on:
                worker.context = self.context
            self._ended()
        else:
            self.context.run(self._discard, self.value)
        return in_time


class Worker:
    """Runs works one after the other in a daemon thread, which ends when the worker is closed.

    Each work sees in ``context`` what those before it have set, as the parts of a synchronous call
    do. It belongs to one event loop, from whose thread everything here is called. ``close`` must be
    called, or a thread stays.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._has_thread = False

    def put(self, work: Work) -> None:
        """Run ``work`` after those before it. Raises RuntimeError when no thread can be had."""
        self._queue.put(work)
        self._serve()

    def give_up(self, work: Work) -> bool:
        """Give up on ``work``, and leave the thread to it if it is running; False if it has ended.

        What waits behind it goes on in another thread.
        """
        if not work.give_up():
            return False
        if work.begun is not None:
            self._has_thread = False
            if not self._queue.empty():
                self._serve()
        return True

    def close(self) -> None:
        """Let the thread end after what it is doing. Nothing is waited for."""
        if self._has_thread:
            self._has_thread = False
            self._queue.put(None)

    def _serve(self) -> None:
        if not self._has_thread:
            threading.Thread(
                target=_serve, args=(self, self._queue), name="plugreg acall", daemon=True
            ).start()
            self._has_thread = True


def _serve(worker: Worker, queue: SimpleQueue[Work | None]) -> None:
    while (work := queue.get()) is not None:
        if not work.run(worker):
            # Another thread serves the queue by now.
            return
        del work


class Busy:
    """Which plugins have code that was given up on and has not returned. Safe in all threads."""

    def __init__(self) -> None:
        self._held: Final[dict[object, str]] = {}

    def hold(self, piece: object, slug: str) -> None:
        """Count the plugin as busy until this piece of its code is released."""
        self._held[piece] = slug

    def release(self, piece: object) -> None:
        """Count it no longer, whether or not it was."""
        self._held.pop(piece, None)

    def has(self, slug: str) -> bool:
        """Tell whether any code of this plugin is held."""
        return bool(self._held) and slug in list(self._held.values())
