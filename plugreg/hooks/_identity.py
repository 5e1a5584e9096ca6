"""Keeping track of plugin objects without comparing, hashing or holding them."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any


class Identities:
    """A set of objects told apart by identity alone."""

    def __init__(self, objects: Iterable[Any]) -> None:
        self._objects = {id(each): each for each in objects}

    def __contains__(self, item: object) -> bool:
        return id(item) in self._objects


class Delivered:
    """How many historic calls of one hook each plugin object has had.

    It keeps no object alive, but for the last one under each name of those that have no weak
    references: while such an object is known, no other can have its id.
    """

    def __init__(self) -> None:
        self._counts: dict[int, tuple[object, int]] = {}
        self._held: dict[str, object] = {}

    def get(self, plugin: object) -> int:
        """Return how many calls this object has had."""
        _, count = self._counts.get(id(plugin), (None, 0))
        return count

    def put(self, name: str, plugin: object, count: int) -> None:
        """Remember how many calls this object has had, when it leaves."""
        key = id(plugin)
        holder: object = None
        try:
            # The entry goes with the object, before another one can get the same id.
            holder = weakref.ref(plugin, lambda _: self._counts.pop(key, None))
        except TypeError:
            before = self._held.get(name)
            self._held[name] = plugin
            if before is not None and before is not plugin:
                self._counts.pop(id(before), None)
        self._counts[key] = (holder, count)
