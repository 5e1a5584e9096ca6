"""Daemon threads for plugin code that may hang, and can be given up on.

A thread cannot be ended from outside. A thread whose function does not return in time is left
alone; the tasks behind it go on in another thread, and the first thread ends when it returns.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Final, Literal

from plugreg.exceptions import PluginBusyError

IDLE_SECONDS: Final = 1.0
"""Time that a thread waits for more work before it ends."""

Work = Callable[[], Callable[[], object] | None]
"""Returns what the thread does last, when it is free again; None if it was given up on."""


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
            threading.Thread(
                target=self._serve, args=(work,), name="plugreg acall", daemon=True
            ).start()
        else:
            self._work.put(work)

    def _serve(self, work: Work) -> None:
        while (last := work()) is not None:
            # Free before the caller hears of it, since its next call may follow at once.
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
        self.context = Context()
        self.goes_on = False
        self.ended: Final = ended
        self._function = function
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

    def begin(self) -> bool:
        """Note that it begins; False when it was given up on."""
        with self._lock:
            if self._state == "given up":
                return False
            self._state = "running"
            self.begun = monotonic()
            return True

    def run(self, worker: Worker) -> bool:
        """Call the function in a copy of the context; False if it returns too late."""
        self.context = worker.context.copy()
        try:
            self.value = self.context.run(self._function)
        except BaseException as error:  # noqa: BLE001 - the job that waits for it has to judge
            self.error = error
        with self._lock:
            in_time = self._state == "running"
            if in_time:
                self._state = "ended"
        if not in_time:
            self.context.run(self._discard, self.value)
        elif not self.goes_on:
            worker.context = self.context
        return in_time


class Worker:
    """Runs tasks in turn, in one thread at a time.

    Each task sees in ``context`` the variables that earlier tasks have set, as the parts of a
    synchronous call do. All methods are called from the thread of one event loop.
    """

    def __init__(self, context: Context, threads: Threads) -> None:
        self.context = context
        self._threads = threads
        self._tasks: deque[ThreadTask] = deque()
        self._lock = threading.Lock()
        self._is_served = False

    def put(self, task: ThreadTask) -> None:
        """Queue a task. Raises RuntimeError when no thread can be started."""
        self._tasks.append(task)
        self._serve_on()

    def give_up(self, task: ThreadTask) -> bool:
        """Give up on a task, and leave its thread to it; False if it has ended.

        The tasks behind it go on in another thread.
        """
        if not task.give_up():
            return False
        if task.begun is not None:
            self._is_served = False
            self._serve_on()
        return True

    def _serve_on(self) -> None:
        with self._lock:
            if self._is_served or not self._tasks:
                return
            self._is_served = True
        try:
            self._threads.start(self._serve)
        except RuntimeError:
            self._is_served = False
            raise

    def _serve(self) -> Callable[[], object] | None:
        """Run the tasks; return what tells the loop of the last one."""
        ended: Callable[[], object] = _do_nothing
        while True:
            with self._lock:
                if not self._tasks:
                    self._is_served = False
                    return ended
                task = self._tasks.popleft()
            ended()
            ended = _do_nothing
            if task.begin():
                if not task.run(self):
                    # Another thread serves the rest by now.
                    return None
                ended = task.ended


def _do_nothing() -> None:
    pass


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
