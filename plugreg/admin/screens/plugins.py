"""The table of plugins: filtered, searched and sorted by its address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode

from packaging.version import InvalidVersion, Version

from plugreg.admin.reading import PluginSummary, read_lines
from plugreg.admin.visits import Screen, Visit
from plugreg.records import PluginState

PAGE_SIZE: Final = 500
"""Rows of a page. A form with a checkbox for each stays below the limits of frameworks."""


def show_plugins(visit: Visit) -> Screen:
    """Return the table of plugins.

    Args:
        visit: The visit; its query has search, state, order and page.
    """
    asked = {name: visit.query.get(name, "") for name in ("search", "state", "sort", "page")}
    search, state, order = asked["search"], asked["state"], asked["sort"]
    # Python reads no numbers of thousands of digits.
    number = asked["page"] if asked["page"].isdecimal() else "1"
    found = visit.api.registry.catalogue.select(search=search).plugins
    states = Counter(str(plugin.state) for plugin in found)
    count = states[state] if state else len(found)
    pages = max(-(-count // PAGE_SIZE), 1)
    # A plugin may be gone since an address was made, and the last page with it.
    page = min(max(int(number[:9]), 1), pages)
    first = (page - 1) * PAGE_SIZE
    column, is_down = order.removeprefix("-"), order.startswith("-")
    if state or column in _KEYS.keys() - {"plugin"}:
        rows = [row for row in read_lines(visit, search) if state in ("", row.state)]
        rows.sort(key=_KEYS["plugin"])
        if column in _KEYS:
            rows.sort(key=_KEYS[column], reverse=is_down)
        rows = rows[first:][:PAGE_SIZE]
    else:
        # The rows of one page, however many plugins there are.
        ordering = "-key" if is_down and column in _KEYS else "key"
        rows = read_lines(visit, search, ordering=ordering, first=first, most=PAGE_SIZE)
    kept = {name: value for name, value in asked.items() if value}
    back = f"?{urlencode(kept)}" if kept else ""
    values = {
        "rows": rows,
        "count": count,
        "pages": pages,
        "page": page,
        "is_away": any(row.live is None for row in rows),
        "asked": asked,
        "back": back,
        "back_query": f"?{urlencode({'back': back})}" if back else "",
        "states": [(state.value, states[state.value]) for state in PluginState],
        "columns": columns(asked),
        "may_trace": visit.may("plugins_failures_list"),
        "may_switch": visit.may("plugins_activate_partial_update"),
    }
    return Screen("plugins.html", values)


# -- the order --------------------------------------------------------------------------------

_STATES: Final = tuple(map(str, PluginState))


def _version_key(row: PluginSummary) -> tuple[int, Any]:
    try:
        return 1, Version(row.version)
    except InvalidVersion:
        return 0, row.version


_KEYS: Final[Mapping[str, Callable[[PluginSummary], Any]]] = MappingProxyType(
    {
        "plugin": lambda row: row.slug,
        "version": _version_key,
        "state": lambda row: _STATES.index(row.state) if row.state in _STATES else 99,
        "serves": lambda row: row.serving,
        "why": lambda row: (not row.why and not row.failures, row.why.casefold()),
    }
)


def columns(asked: Mapping[str, str]) -> Sequence[tuple[str, str, str]]:
    """Return name, ``aria-sort`` and query of each column that the table can be sorted by.

    Args:
        asked: The query of the table.
    """
    current = asked["sort"] or "plugin"
    found = []
    for name in _KEYS:
        is_up, is_down = current == name, current == f"-{name}"
        sorting = "ascending" if is_up else "descending" if is_down else "none"
        query = {**asked, "sort": f"-{name}" if is_up else name, "page": ""}
        pairs = {key: value for key, value in query.items() if value}
        found.append((name, sorting, urlencode(pairs)))
    return found
