"""Keeping track of plugin objects without comparing, hashing or holding them."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any, Final

from pluggy import HookImpl

SLUG: Final = "plugreg_slug"
"""The option of an implementation that has its plugin's slug, where that is not its name."""


def slug_of(impl: HookImpl) -> str:
    """Return the slug of an exchanged plugin, the name of one that the host registered."""
    slug: str = impl.opts.get(SLUG) or impl.plugin_name  # type: ignore[assignment]
    return slug


class Identities:
    """A set of objects that compares by identity alone."""

    def __init__(self, objects: Iterable[Any]) -> None:
        self._objects = {id(item): item for item in objects}

    def __contains__(self, item: object) -> bool:
        return id(item) in self._objects


class Delivered:
    """The number of historic calls of one hook that each plugin object has received.

    It keeps no object alive that has weak references. Of the others it keeps the last object of
    each plugin: while it is alive, no other object can have its id.
    """

    def __init__(self) -> None:
        self._counts: dict[int, tuple[object, int]] = {}
        self._last: dict[str, object] = {}

    def get(self, plugin: object) -> int:
        """Return the number of calls that this object has received."""
        _, count = self._counts.get(id(plugin), (None, 0))
        return count

    def put(self, slug: str, plugin: object, count: int) -> None:
        """Remember the number of calls that a leaving object has received."""
        key = id(plugin)
        holder: object = None
        try:
            # The entry goes with the object, before another one can get the same id.
            holder = weakref.ref(plugin, lambda _: self._counts.pop(key, None))
        except TypeError:
            before = self._last.get(slug)
            self._last[slug] = plugin
            if before is not None and before is not plugin:
                self._counts.pop(id(before), None)
        self._counts[key] = (holder, count)
