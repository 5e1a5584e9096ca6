"""Lists of plugins: filtered, searched and ordered, from one snapshot."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, TypeAlias, overload

from plugreg._support.frozen import Frozen
from plugreg.records import KnownPlugin, PluginRecord, Snapshot

ORDERINGS: Final = ("key", "name", "active")
"""The names that lists can be ordered by; ``-`` in front means descending."""

DEFAULT_ORDERING: Final = ("-active", "name")

_WORD: Final = re.compile(r""""[^"]*"|'[^']*'|[^\s,]+""")
_MOST_REMEMBERED: Final = 16

_Line: TypeAlias = tuple[str, KnownPlugin]
"""A searchable string, and its plugin."""


class Filters(Frozen):
    """Conditions for the plugins of a list; None lets both through.

    Args:
        active: Whether the plugin is wanted; clients know the desired state by this name.
        builtin: Whether it is a builtin.
        sample: Whether it is a sample.
        installed: Whether it is installed.
        mandatory: Whether the host requires it.
        mixins: Keys of mixins that it must all have.
    """

    active: bool | None = None
    builtin: bool | None = None
    sample: bool | None = None
    installed: bool | None = None
    mandatory: bool | None = None
    mixins: frozenset[str] = frozenset()


class PluginIndex:
    """The plugins of one snapshot, prepared for lists. Its answers never change.

    The first search makes the strings that searches look into. The last 16 lists are cached, so
    that the next page of one costs nothing. So are the results of all words of a search except the
    last, so that a search that is typed looks only into these.

    Args:
        snapshot: The plugins.
        mixins_of: Returns the mixins that a list shows of a plugin.
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
        """Return the plugins that match filters and search, in order.

        Args:
            filters: The conditions.
            search: Words between blanks and commas; quotes join several. Each must be in the key
                or the name, in any case.
            ordering: Names of :data:`ORDERINGS`. Plugin names compare without case, and the key
                decides between equals.

        Raises:
            ValueError: If *ordering* has another name.
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
                plugins = [known for known in plugins if holds(known) == wanted]
        # Snapshots have their plugins by key, and sorting keeps the order of equals.
        for name in reversed(ordering):
            field, descending = name.removeprefix("-"), name.startswith("-")
            if field not in ORDERINGS:
                allowed = ", ".join(f"{name}, -{name}" for name in ORDERINGS)
                raise ValueError(f"Cannot order by {name!r}; allowed are {allowed}.")
            plugins.sort(key=_KEYS[field], reverse=descending)
        return tuple(plugins)

    def _holding(self, words: tuple[str, ...]) -> list[KnownPlugin]:
        """Return the plugins that hold every one of these words, by key."""
        if not words:
            return [*self.snapshot.plugins.values()]
        return [known for line, known in self._left(words[:-1]) if words[-1] in line]

    def _narrow(self, words: tuple[str, ...]) -> Sequence[_Line]:
        """Return the lines that hold every one of these words, by key."""
        lines = self._lines()
        for word in words:
            lines = [line for line in lines if word in line[0]]
        return lines

    def _read(self) -> Sequence[_Line]:
        """Return the lines of all plugins, by key."""
        return [(_searchable(known), known) for known in self.snapshot.plugins.values()]


class Selection(Sequence[PluginRecord]):
    """Plugins of a snapshot, in order. Records are composed when they are read."""

    def __init__(
        self, plugins: Sequence[KnownPlugin], compose: Callable[[KnownPlugin], PluginRecord]
    ) -> None:
        self.plugins: Final = plugins
        """The same plugins as they are in the snapshot, without composing records."""
        self._compose = compose

    @overload
    def __getitem__(self, index: int) -> PluginRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Selection: ...
    def __getitem__(self, index: int | slice) -> PluginRecord | Selection:
        if isinstance(index, slice):
            return Selection(self.plugins[index], self._compose)
        return self._compose(self.plugins[index])

    def __len__(self) -> int:
        return len(self.plugins)

    def __repr__(self) -> str:
        return f"<selection of {len(self.plugins)} plugins>"


_KEYS: Final[Mapping[str, Callable[[KnownPlugin], Any]]] = MappingProxyType(
    {
        "key": attrgetter("slug"),
        "name": lambda known: known.name.casefold(),
        "active": attrgetter("wanted"),
    }
)


def _words(search: str) -> tuple[str, ...]:
    words = (word.strip("\"'").casefold() for word in _WORD.findall(search))
    return tuple(word for word in dict.fromkeys(words) if word)


def _searchable(known: KnownPlugin) -> str:
    """Return key and name, with a line's end between them that no word crosses."""
    name = known.name.casefold()
    return name if name == known.slug else f"{known.slug}\n{name}"
