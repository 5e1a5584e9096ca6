"""Refreshing by itself: in a thread of its own, or beside the requests that a host answers."""

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
"""Seconds after which a wait for a hint is broken off, to see whether the watch has ended."""
_BETWEEN_LOOKS: Final = 0.5
"""Seconds between two looks that requests ask for (design.md, section 4)."""
_LONGEST_WAIT: Final = 0.25
"""Seconds that a request waits for its look: a look takes a part of that, a reload may not."""


@runtime_checkable
class Hints(Protocol):
    """What tells that something was stored, sooner than a look would. It may miss any of it."""

    @property
    def gives_hints(self) -> bool:
        """Whether anything is ever told. Where not, nobody need wait."""
        ...

    def wait(self, seconds: float) -> bool:
        """Wait for a hint, ``seconds`` at most; tell whether there was one.

        One that came since the last call counts. May raise anything; looks go on without.
        """
        ...


class Looker:
    """Refreshes a registry when it is told to, and logs once that it cannot, and once that it can.

    ``error`` is why the last look failed, None where it did not.
    """

    def __init__(self, refresh: Callable[[], object]) -> None:
        self._refresh = refresh
        self._outage = Outage(
            "other processes' changes cannot be seen; the state in hand is served, and it is "
            "tried again",
            "other processes' changes can be seen again",
        )
        self.error: BaseException | None = None

    def look(self) -> bool:
        """Refresh; tell whether there is a registry to look for. Raises nothing of the refresh."""
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


class Follower:
    """Refreshes a registry beside the requests that its host answers, each half second at most.

    A look is a daemon thread's, so that a reload that takes long, or a storage that does not
    answer, holds up nobody: the request that asked for it waits for a quarter of a second, and all
    others go on at once. It works in a forked child.
    """

    def __init__(self, refresh: Callable[[], object]) -> None:
        self._looker = Looker(refresh)
        self._due = 0.0
        self._worker: threading.Thread | None = None

    def keep_up(self) -> None:
        """Have a look made if one is due, and none is being made. Raises nothing."""
        now = monotonic()
        if now < self._due or (self._worker is not None and self._worker.is_alive()):
            return
        # Two threads may both come this far; then their looks share one refresh.
        self._due = now + _BETWEEN_LOOKS
        worker = threading.Thread(target=self._looker.look, name="plugreg follow", daemon=True)
        self._worker = worker
        # A process that is ending, or has no room for a thread, answers from what it has.
        with suppress(RuntimeError):
            worker.start()
            worker.join(_LONGEST_WAIT)


class Watch:
    """A context manager with a daemon thread that refreshes a registry till its block ends.

    ``every`` is how many seconds lie between two looks at the storage; with ``hints`` it looks at
    once when one comes. Where a refresh fails, :attr:`error` has the reason, which is logged once,
    and it goes on, more slowly at first where ``every`` is short. The registry serves what it has
    meanwhile. It ends by itself when the registry is closed.

    A process that is forked has no such thread, whatever its parent has: watch in each process,
    after the fork.
    """

    def __init__(
        self, refresh: Callable[[], object], every: float, hints: Hints | None = None
    ) -> None:
        if not (every > 0 and math.isfinite(every)):
            raise ValueError(f"every={every!r} is no number of seconds over 0")
        self._looker = Looker(refresh)
        self._every = every
        self._hints = hints
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plugreg watch", daemon=True)

    @property
    def error(self) -> BaseException | None:
        """Why the last refresh failed, None where it did not."""
        return self._looker.error

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
        while not self._ended.is_set():
            if not self._looker.look():
                return
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
                # What it would have told of must be looked for.
                self._ended.wait(min(left, _LONGEST_PAUSE))
                return
