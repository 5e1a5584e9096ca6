"""Plugins that are not ready yet, and when each is to be tried again."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable

from plugreg.records import PluginFailure


class Retries:
    """Remembers what plugins have asked for by raising NotReadyYet, in one process.

    ``clock`` gives seconds that never go back. Whoever writes holds the turn of a change; it may be
    read from any thread.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Replaced as a whole, so that readers see one state of it.
        self._due: dict[str, float] = {}

    def note(self, tried: Collection[str], failures: Iterable[PluginFailure]) -> None:
        """Let what has come of loading plugins take the place of what was known of them."""
        now = self._clock()
        kept = {slug: due for slug, due in self._due.items() if slug not in tried}
        asked = {
            each.slug: now + each.retry_after for each in failures if each.retry_after is not None
        }
        self._due = {**kept, **asked}

    def due(self) -> frozenset[str]:
        """Return the slugs of those whose time has come."""
        if not self._due:
            return frozenset()
        now = self._clock()
        return frozenset(slug for slug, due in self._due.items() if due <= now)
