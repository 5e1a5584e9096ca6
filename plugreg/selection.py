"""Lists of plugins: filtered, searched and ordered, from one snapshot (behaviour.md, 1.4, 2.1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import compress
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final

from plugreg._names import near
from plugreg.records import KnownPlugin, Snapshot

ORDERINGS: Final = ("key", "name", "active")
"""What lists can be ordered by; each with ``-`` in front for descending."""

DEFAULT_ORDERING: Final = ("-active", "name")

_WORD: Final = re.compile(r""""[^"]*"|'[^']*'|[^\s,]+""")
_MOST_REMEMBERED: Final = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Filters:
    """What plugins in a list must be; None lets both through.

    ``active`` is the wish, as clients know it by this name. ``mixins`` must all be there.
    """

    active: bool | None = None
    builtin: bool | None = None
    sample: bool | None = None
    installed: bool | None = None
    mandatory: bool | None = None
    mixins: frozenset[str] = frozenset()


class PluginIndex:
    """The plugins of one snapshot, made ready for lists; what it says never changes.

    The texts that searches look into are made by the first search, and the last lists asked for
    are kept, so that the next page of one costs nothing.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot: Final = snapshot
        self._texts = cache(self._read)
        self._found = lru_cache(_MOST_REMEMBERED)(self._find)

    def select(
        self, filters: Filters, search: str = "", ordering: Iterable[str] = ()
    ) -> Sequence[KnownPlugin]:
        """Return the plugins that pass the filters and hold every word of the search, in order.

        Words of ``search`` are parted by blanks and commas, quotes hold some together; each must
        be in key or name, whatever the case. ``ordering`` are names of :data:`ORDERINGS`; names
        are compared without case, and the key comes last always. Raises ValueError for another.
        """
        return self._found(filters, search, tuple(ordering) or DEFAULT_ORDERING)

    def _find(
        self, filters: Filters, search: str, ordering: tuple[str, ...]
    ) -> Sequence[KnownPlugin]:
        # The search goes first, since it leaves the fewest to be filtered and ordered.
        plugins = self._holding(_words(search))
        for wanted, holds in (
            (filters.active, attrgetter("wanted")),
            (filters.builtin, attrgetter("is_builtin")),
            (filters.sample, attrgetter("is_sample")),
            (filters.installed, attrgetter("is_installed")),
            (filters.mandatory, attrgetter("is_mandatory")),
            (bool(filters.mixins) or None, lambda known: filters.mixins <= self._mixins(known)),
        ):
            if wanted is not None:
                plugins = [each for each in plugins if holds(each) == wanted]
        # Snapshots have their plugins by key, and sorting keeps the order of equals.
        for name in reversed(ordering):
            field, descending = name.removeprefix("-"), name.startswith("-")
            if field not in ORDERINGS:
                raise ValueError(f"cannot order by {name!r}{near(field, ORDERINGS)}")
            plugins.sort(key=_KEYS[field], reverse=descending)
        return tuple(plugins)

    def _holding(self, words: Sequence[str]) -> list[KnownPlugin]:
        """Return the plugins that hold every one of these words, by key."""
        found: Iterable[KnownPlugin] = self.snapshot.plugins.values()
        texts: Iterable[str] = self._texts() if words else ()
        for word in words:
            matching = [word in text for text in texts]
            found, texts = compress(found, matching), compress(texts, matching)
        return list(found)

    def _read(self) -> Sequence[str]:
        """Return what is searched of each plugin, by key; no word reaches across a line's end."""
        plugins = self.snapshot.plugins.values()
        return [f"{each.slug}\n{each.name.casefold()}" for each in plugins]

    def _mixins(self, known: KnownPlugin) -> frozenset[str]:
        active = self.snapshot.active.get(known.slug)
        return frozenset() if active is None else frozenset(active.mixins)


_KEYS: Final[Mapping[str, Callable[[KnownPlugin], Any]]] = MappingProxyType(
    {
        "key": attrgetter("slug"),
        "name": lambda known: known.name.casefold(),
        "active": attrgetter("wanted"),
    }
)


def _words(search: str) -> list[str]:
    words = (each.strip("\"'").casefold() for each in _WORD.findall(search))
    return [each for each in dict.fromkeys(words) if each]
