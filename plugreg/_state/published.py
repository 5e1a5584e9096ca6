"""The snapshot that readers see."""

from __future__ import annotations

from plugreg.exceptions import RegistryNotReady
from plugreg.records import Snapshot


class Published:
    """Holds the current snapshot of one registry.

    Readers take no lock: they read `snapshot` once, and see one consistent set of plugins. Only the
    life cycle assigns here, each time a whole snapshot.
    """

    __slots__ = ("is_closed", "is_loaded", "snapshot")

    def __init__(self) -> None:
        self.snapshot = Snapshot()
        """The current snapshot, empty before load and after close."""
        self.is_loaded = False
        """Whether a snapshot has been published."""
        self.is_closed = False
        """Whether the registry was closed, after which nothing is published any more."""

    def current(self) -> Snapshot:
        """Return the current snapshot.

        Raises:
            RegistryNotReady: Before load and after close.
        """
        if self.is_closed:
            raise RegistryNotReady("closed", "make a new one")
        if not self.is_loaded:
            raise RegistryNotReady
        return self.snapshot

    def check_loaded(self) -> None:
        """Raise RegistryNotReady before load. After close, calls reach no plugin instead."""
        if not self.is_loaded:
            self.current()

    def drop_record(self, slug: str) -> None:
        """Drop the record of a plugin that was composed before it failed."""
        self.snapshot.composed.pop(slug, None)
