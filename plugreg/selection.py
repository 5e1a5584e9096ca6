"""Lists of plugins: filtered, searched and ordered, from one snapshot (behaviour.md, 1.4, 2.1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
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
    """The plugins of one snapshot, made ready for lists; it never changes.

    The last lists asked for are kept, so that the next page of one costs no search, and lists that
    differ in their search alone share what was filtered and ordered.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot: Final = snapshot
        self._chosen = lru_cache(_MOST_REMEMBERED)(self._choose)
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
        plugins, texts = self._chosen(filters, ordering)
        words = _words(search)
        for word in words:
            matching = [word in text for text in texts]
            plugins = tuple(compress(plugins, matching))
            texts = tuple(compress(texts, matching)) if word is not words[-1] else ()
        return plugins

    def _choose(
        self, filters: Filters, ordering: tuple[str, ...]
    ) -> tuple[Sequence[KnownPlugin], Sequence[str]]:
        plugins = list(self.snapshot.plugins.values())
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
        return tuple(plugins), tuple(f"{e.slug}\n{e.name.casefold()}" for e in plugins)

    def _mixins(self, known: KnownPlugin) -> frozenset[str]:
        active = self.snapshot.active.get(known.slug)
        return frozenset() if active is None else frozenset(active.mixins)


_KEYS: Final[Mapping[str, Callable[[KnownPlugin], Any]]] = MappingProxyType(
    {
        "key": lambda known: known.slug,
        "name": lambda known: known.name.casefold(),
        "active": lambda known: known.wanted,
    }
)


def _words(search: str) -> list[str]:
    words = (each.strip("\"'").casefold() for each in _WORD.findall(search))
    return [each for each in dict.fromkeys(words) if each]
