"""``registry.watch``: a thread that refreshes."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol, Self, runtime_checkable

from plugreg._guard import Guard, explain
from plugreg.exceptions import RegistryNotReady

_logger = logging.getLogger("plugreg")

_LONGEST_PAUSE: Final = 1.5
"""Seconds between two looks while the storage is away, so that it is back in use within two."""
_SLICE: Final = 0.2
"""Seconds after which a wait for a hint is broken off, to see whether the watch has ended."""


@runtime_checkable
class Hints(Protocol):
    """What tells that something was stored, sooner than a look would. It may miss any of it."""

    def wait(self, seconds: float) -> bool:
        """Wait for a hint, ``seconds`` at most; tell whether there was one.

        One that came since the last call counts. May raise anything; looks go on without.
        """
        ...


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
        self._refresh = refresh
        self._every = every
        self._hints = hints
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plugreg watch", daemon=True)
        self._error: BaseException | None = None

    @property
    def error(self) -> BaseException | None:
        """Why the last refresh failed, None where it did not."""
        return self._error

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
            with Guard() as guard:
                self._refresh()
            if isinstance(guard.error, RegistryNotReady):
                return
            self._note(guard.error)
            if guard.error is None:
                pause = self._every
            else:
                pause = max(self._every, min(2 * pause, _LONGEST_PAUSE))
            self._pause(pause)

    def _note(self, error: BaseException | None) -> None:
        if error is not None and self._error is None:
            _logger.warning(
                "other processes' changes cannot be seen; the state in hand is served, and it is "
                "tried again: %s",
                explain(error).message,
            )
        elif error is None and self._error is not None:
            _logger.info("other processes' changes can be seen again")
        self._error = error

    def _pause(self, seconds: float) -> None:
        deadline = monotonic() + seconds
        while not self._ended.is_set() and (left := deadline - monotonic()) > 0:
            if self._hints is None or self._error is not None:
                self._ended.wait(left)
                continue
            with Guard() as guard:
                if self._hints.wait(min(left, _SLICE)):
                    return
            if guard.error is not None:
                self._ended.wait(left)
