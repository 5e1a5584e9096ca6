"""Lists of plugins: filtered, searched and ordered, from one snapshot (behaviour.md, 1.4, 2.1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from plugreg._support.names import near
from plugreg.records import KnownPlugin, Snapshot

ORDERINGS: Final = ("key", "name", "active")
"""What lists can be ordered by; each with ``-`` in front for descending."""

DEFAULT_ORDERING: Final = ("-active", "name")

_WORD: Final = re.compile(r""""[^"]*"|'[^']*'|[^\s,]+""")
_MOST_REMEMBERED: Final = 16

_Line: TypeAlias = tuple[str, KnownPlugin]
"""A plugin behind what is searched of it."""


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

    ``mixins_of`` gives the mixins that a list shows of a plugin.

    The texts that searches look into are made by the first search. The last lists asked for are
    kept, so that the next page of one costs nothing, and so is what all words but the last have
    left, so that a search whose last word is another one, as when it is typed, looks only there.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        mixins_of: Callable[[KnownPlugin], Mapping[str, str]] = lambda _: {},
    ) -> None:
        self.snapshot: Final = snapshot
        self._mixins_of = mixins_of
        self._lines = cache(self._read)
        self._left = lru_cache(_MOST_REMEMBERED)(self._narrow)
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
            (
                bool(filters.mixins) or None,
                lambda known: filters.mixins <= self._mixins_of(known).keys(),
            ),
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

    def _holding(self, words: tuple[str, ...]) -> list[KnownPlugin]:
        """Return the plugins that hold every one of these words, by key."""
        if not words:
            return [*self.snapshot.plugins.values()]
        return [known for text, known in self._left(words[:-1]) if words[-1] in text]

    def _narrow(self, words: tuple[str, ...]) -> Sequence[_Line]:
        """Return the lines that hold every one of these words, by key."""
        lines = self._lines()
        for word in words:
            lines = [line for line in lines if word in line[0]]
        return lines

    def _read(self) -> Sequence[_Line]:
        """Return all plugins by key, each with what is searched of it."""
        return [(_text(each), each) for each in self.snapshot.plugins.values()]


_KEYS: Final[Mapping[str, Callable[[KnownPlugin], Any]]] = MappingProxyType(
    {
        "key": attrgetter("slug"),
        "name": lambda known: known.name.casefold(),
        "active": attrgetter("wanted"),
    }
)


def _words(search: str) -> tuple[str, ...]:
    words = (each.strip("\"'").casefold() for each in _WORD.findall(search))
    return tuple(each for each in dict.fromkeys(words) if each)


def _text(known: KnownPlugin) -> str:
    """Return key and name for searches; no word reaches across the line's end between them."""
    name = known.name.casefold()
    return name if name == known.slug else f"{known.slug}\n{name}"
