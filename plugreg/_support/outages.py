"""Logging an outage once, with its cause, and once more when it ends."""

from __future__ import annotations

import logging
import threading

from plugreg._support import PerProcess
from plugreg._support.guard import explain

_logger = logging.getLogger("plugreg")


class Outage:
    """Logs the first of several failures, and the first success of work that has failed.

    Serves many threads, and works in a forked child.

    Args:
        began: The sentence that the cause is appended to.
        ended: The sentence for the end.
    """

    def __init__(self, began: str, ended: str) -> None:
        self._began = began
        self._ended = ended
        self._lock = PerProcess(threading.Lock)
        self._failing: set[str] = set()

    def failed(self, error: BaseException, work: str = "") -> None:
        """Note that work has failed; log that unless an outage is under way."""
        with self._lock.get():
            is_first = not self._failing
            self._failing.add(work)
        if is_first:
            _logger.warning("%s: %s", self._began, explain(error).message)

    def succeeded(self, work: str = "") -> None:
        """Note that work has succeeded; log the end of the outage in which it failed."""
        # Without the lock first, as this is nearly always all.
        if work in self._failing:
            self.end()

    def end(self) -> None:
        """Log the end of the current outage, whichever work has failed."""
        if not self._failing:
            return
        with self._lock.get():
            has_ended = bool(self._failing)
            self._failing.clear()
        if has_ended:
            _logger.info("%s", self._ended)
