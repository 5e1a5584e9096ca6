"""Orderly termination: a process that receives SIGTERM during a load ends the load first."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType
from typing import Final

_SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""Signals that end a process whose program does not handle them."""


class _EndAskedFor(KeyboardInterrupt):
    """Ends a load as Ctrl-C does."""


class OrderlyEnd:
    """Lets SIGTERM and SIGHUP interrupt the current load, and then end the process.

    By default these signals end a process at once, without cleaning up. A signal that the program
    handles or ignores is not changed. Python runs handlers in the main thread only, between two
    instructions of Python code.
    """

    def __init__(self) -> None:
        self._taken: list[int] = []
        self._asked: int | None = None
        self._process = 0
        self._is_deferred = False

    def begin(self) -> None:
        """Install the handlers; do nothing outside the main thread."""
        self._is_deferred = False
        if self._taken:
            return
        self._process = os.getpid()
        # signal.signal() raises ValueError in another thread.
        with suppress(ValueError):
            for number in _SIGNALS:
                if signal.getsignal(number) is signal.SIG_DFL:
                    signal.signal(number, self._ask)
                    self._taken.append(number)

    def defer(self) -> None:
        """Defer signals until `end`, which the caller must call."""
        self._is_deferred = True

    def end(self) -> None:
        """Remove the handlers, and end the process if it has received a signal."""
        taken, self._taken = self._taken, []
        for number in taken:
            # A plugin may have a handler of its own by now.
            if signal.getsignal(number) == self._ask:
                signal.signal(number, signal.SIG_DFL)
        asked, self._asked = self._asked, None
        if asked is not None:
            _die(asked)

    def _ask(self, number: int, _: FrameType | None) -> None:
        # A second signal ends a plugin that ignores the first. A fork has nothing to clean up.
        if self._asked is not None or not self._taken or self._process != os.getpid():
            _die(number)
        self._asked = number
        if not self._is_deferred:
            raise _EndAskedFor


def _die(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
