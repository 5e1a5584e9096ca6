"""Refreshes without being asked: in a thread of its own, or beside the requests of a host."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Final, Protocol, Self, runtime_checkable

from plugreg._support.guard import Guard
from plugreg._support.outages import Outage
from plugreg.exceptions import RegistryNotReady

_LONGEST_PAUSE: Final = 1.5
"""Seconds between two looks while the storage is away, so that it is back in use within two."""
_SLICE: Final = 0.2
"""Seconds after which waiting for a hint is interrupted, to see whether the watch has ended."""
_BETWEEN_LOOKS: Final = 0.5
"""Seconds between two looks that requests ask for."""
_LONGEST_WAIT: Final = 0.25
"""Seconds that a request waits for its look: a look takes a part of that, a reload may not."""


@runtime_checkable
class Hints(Protocol):
    """Source of hints that something was stored, sooner than a look finds it. It may miss any."""

    @property
    def gives_hints(self) -> bool:
        """Whether there are ever any hints. If not, nobody need wait."""
        ...

    def wait(self, seconds: float) -> bool:
        """Wait for a hint, at most *seconds*; return whether there was a hint.

        A hint since the last call counts. May raise anything; looks go on without hints.
        """
        ...


class Looker:
    """Refreshes a registry on request, and logs the beginning and the end of an outage once."""

    def __init__(self, refresh: Callable[[], object]) -> None:
        self._refresh = refresh
        self._outage = Outage(
            "changes of other processes cannot be read; the plugins in service stay as they are, "
            "and it is tried again",
            "changes of other processes can be read again",
        )
        self.error: BaseException | None = None
        """The exception of the last refresh, None if it succeeded."""

    def look(self) -> bool:
        """Refresh; return whether the registry is in use. Raises nothing of the refresh."""
        with Guard() as guard:
            self._refresh()
        if isinstance(guard.error, RegistryNotReady):
            return False
        self.error = guard.error
        if self.error is None:
            self._outage.succeeded()
        else:
            self._outage.failed(self.error)
        return True


class Follower(Looker):
    """Refreshes a registry beside the requests of its host, each half second at most.

    A daemon thread does it, so that neither a long reload nor a silent storage delays anybody: the
    request that asked for it waits for a quarter of a second, and all others go on at once. It
    works in a forked child.
    """

    def __init__(self, refresh: Callable[[], object]) -> None:
        super().__init__(refresh)
        self._due = 0.0
        self._worker: threading.Thread | None = None

    def keep_up(self) -> None:
        """Start a look if one is due and none is under way. Raises nothing."""
        now = monotonic()
        if now < self._due or (self._worker is not None and self._worker.is_alive()):
            return
        # Two threads may both get here; then they share a refresh.
        self._due = now + _BETWEEN_LOOKS
        worker = threading.Thread(target=self.look, name="plugreg follow", daemon=True)
        self._worker = worker
        # A process that is ending, or cannot start a thread, answers from its snapshot.
        with suppress(RuntimeError):
            worker.start()
            worker.join(_LONGEST_WAIT)


class Watch(Looker):
    """Context manager with a daemon thread that refreshes a registry until its block ends.

    If a refresh fails, :attr:`error` has the exception, which is logged once; the thread goes on,
    more slowly at first where *every* is short, and the plugins in service stay as they are. It
    ends by itself when the registry is closed.

    A forked process has no such thread, whatever its parent has: watch in each process, after the
    fork.

    Args:
        refresh: Called for each look.
        every: Seconds between two looks at the storage.
        hints: A source of hints, each of which causes a look at once.

    Raises:
        ValueError: If *every* is not a finite number above 0.
    """

    def __init__(
        self, refresh: Callable[[], object], every: float, hints: Hints | None = None
    ) -> None:
        if not (every > 0 and math.isfinite(every)):
            raise ValueError(f"every={every!r} is no number of seconds over 0")
        super().__init__(refresh)
        self._every = every
        self._hints = hints
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plugreg watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        # A plugin that is being reloaded in it may have ended the watch itself.
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        pause = self._every
        while not self._ended.is_set() and self.look():
            pause = self._every if self.error is None else min(2 * pause, _LONGEST_PAUSE)
            self._pause(pause)

    def _pause(self, seconds: float) -> None:
        deadline = monotonic() + seconds
        while not self._ended.is_set() and (left := deadline - monotonic()) > 0:
            if self._hints is None or self.error is not None:
                self._ended.wait(left)
                continue
            with Guard() as guard:
                if self._hints.wait(min(left, _SLICE)):
                    return
            if guard.error is not None:
                # Without hints only a look finds out.
                self._ended.wait(min(left, _LONGEST_PAUSE))
                return
