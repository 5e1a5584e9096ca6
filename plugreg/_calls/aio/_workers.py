"""Daemon threads for plugin code that may hang, and can be given up on.

A thread cannot be ended from outside. A thread whose function does not return in time is left
alone; the tasks behind it go on in another thread, and the first thread ends when it returns.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import Context
from queue import SimpleQueue
from time import monotonic
from typing import Any, Final, Literal


class ThreadTask:
    """A function for a worker's thread, and its result: ``value`` or ``error``.

    ``ended`` is called in that thread when the function has returned or raised, unless the task
    was given up on. Then ``discard`` takes the late return value. ``begun`` is the time at which
    it began, by ``time.monotonic``, None before. The function runs in a ``context`` of its own.
    Later tasks inherit that context, unless the task ``goes_on`` elsewhere.
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
        """Stop waiting for it. False when it has ended, so that ``ended`` is called.

        A task that has not begun will never begin.
        """
        with self._lock:
            if self._state == "ended":
                return False
            self._state = "given up"
            return True

    def run(self, worker: Worker) -> bool:
        """Call the function in a copy of the context; False if it is too late."""
        with self._lock:
            if self._state == "given up":
                return True
            self._state = "running"
            self.begun = monotonic()
        self.context = worker.context.copy()
        try:
            self.value = self.context.run(self._function)
        except BaseException as error:  # noqa: BLE001 - the job that waits for it has to judge
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
    """Runs tasks in turn in a daemon thread, which ends when the worker is closed.

    Each task sees in ``context`` the variables that earlier tasks have set, as the parts of a
    synchronous call do. All methods are called from the thread of one event loop. ``close`` must
    be called, or a thread stays.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._queue: SimpleQueue[ThreadTask | None] = SimpleQueue()
        self._has_thread = False

    def put(self, task: ThreadTask) -> None:
        """Queue a task. Raises RuntimeError when no thread can be started."""
        self._queue.put(task)
        self._serve()

    def give_up(self, task: ThreadTask) -> bool:
        """Give up on a task, and leave its thread to it; False if it has ended.

        The tasks behind it go on in another thread.
        """
        if not task.give_up():
            return False
        if task.begun is not None:
            self._has_thread = False
            if not self._queue.empty():
                self._serve()
        return True

    def close(self) -> None:
        """Let the thread end after its task. This waits for nothing."""
        if self._has_thread:
            self._has_thread = False
            self._queue.put(None)

    def _serve(self) -> None:
        if not self._has_thread:
            threading.Thread(
                target=_serve, args=(self, self._queue), name="plugreg acall", daemon=True
            ).start()
            self._has_thread = True


def _serve(worker: Worker, queue: SimpleQueue[ThreadTask | None]) -> None:
    while (task := queue.get()) is not None:
        if not task.run(worker):
            # Another thread serves the queue by now.
            return
        del task


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

    def has(self, slug: str) -> bool:
        """Return whether any code of this plugin was given up on and has not returned."""
        return bool(self._slugs) and slug in list(self._slugs.values())
