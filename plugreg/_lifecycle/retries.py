"""Plugins that are not ready yet, and when each is to be tried again."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable

from plugreg.records import PluginFailure


class Retries:
    """Remembers when plugins that raised NotReadyYet are to be tried again, in one process.

    Only a change in its turn may write; any thread may read.

    Args:
        clock: Returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Replaced as a whole, so that readers see one state of it.
        self._due: dict[str, float] = {}

    def note(self, tried: Collection[str], failures: Iterable[PluginFailure]) -> None:
        """Replace the times of plugins that were tried by those of their failures."""
        now = self._clock()
        kept = {slug: due for slug, due in self._due.items() if slug not in tried}
        asked = {
            failure.slug: now + failure.retry_after
            for failure in failures
            if failure.retry_after is not None
        }
        self._due = {**kept, **asked}

    def due(self) -> frozenset[str]:
        """Return the slugs of plugins whose time has come."""
        if not self._due:
            return frozenset()
        now = self._clock()
        return frozenset(slug for slug, due in self._due.items() if due <= now)
