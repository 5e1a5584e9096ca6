"""The table of plugins: filtered, searched and sorted by its address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode

from packaging.version import InvalidVersion, Version

from plugreg._support.frozen import Frozen
from plugreg.admin.visits import Screen, Visit
from plugreg.records import PluginState

PAGE_SIZE: Final = 500
"""Rows of one page. A form with a box for each of them stays below the limits of frameworks."""


class Row(Frozen):
    """One row of the table.

    Attributes:
        slug: The plugin.
        title: Its title, or its name.
        version: Its version, "" if it is unknown.
        state: Its state.
        wanted: Whether it is wanted active.
        serves: How many processes have it in service.
        why: Why it is not in service.
        failures: Number of its failure records.
        circuit: State of its circuit.
        is_mandatory: Whether the host requires it.
        is_installed: Whether it is there.
    """

    slug: str
    title: str
    version: str
    state: str
    wanted: bool
    serves: int
    why: str
    failures: int
    circuit: str
    is_mandatory: bool
    is_installed: bool


def show_plugins(visit: Visit) -> Screen:
    """Return the table of plugins.

    Args:
        visit: The visit; its query has search, state, order and page.
    """
    asked = {name: visit.query.get(name, "") for name in ("search", "state", "sort", "page")}
    listed = visit.call("plugins_list", search=asked["search"]).results
    processes = visit.processes()
    serving = Counter(slug for process in processes or () for slug in process.active)
    rows = [row_of(visit, config, serving[config.key]) for config in listed]
    states = Counter(row.state for row in rows)
    if asked["state"]:
        rows = [row for row in rows if row.state == asked["state"]]
    _sort(rows, asked["sort"])
    first = (int(asked["page"]) - 1) * PAGE_SIZE if asked["page"].isdecimal() else 0
    shown = rows[max(first, 0) :][:PAGE_SIZE]
    kept = {name: value for name, value in asked.items() if value}
    back = f"?{urlencode(kept)}" if kept else ""
    values = {
        "rows": shown,
        "count": len(rows),
        "first": max(first, 0),
        "pages": -(-len(rows) // PAGE_SIZE),
        "page": max(first, 0) // PAGE_SIZE + 1,
        "processes": None if processes is None else len(processes),
        "asked": asked,
        "back": back,
        "back_query": f"?{urlencode({'back': back})}" if back else "",
        "states": [(state.value, states[state.value]) for state in PluginState],
        "columns": columns(asked),
        "may_switch": visit.may("plugins_activate_partial_update"),
    }
    return Screen("plugins.html", values)


def row_of(visit: Visit, config: Any, serves: int) -> Row:
    """Return the row of one plugin of the API's list.

    Args:
        visit: The visit.
        config: The plugin as the API shows it.
        serves: How many processes have it in service.
    """
    record = visit.api.registry.get(config.key)
    return Row(
        slug=config.key,
        title=config.meta.get("human_name") or config.name or config.key,
        version=record.version or "",
        state=str(record.state),
        wanted=config.active,
        serves=serves,
        why=record.reason,
        failures=len(record.errors),
        circuit=record.circuit,
        is_mandatory=config.is_mandatory,
        is_installed=config.is_installed,
    )


# -- the order --------------------------------------------------------------------------------

_STATES: Final = tuple(map(str, PluginState))


def _version_key(row: Row) -> tuple[int, Any]:
    try:
        return 1, Version(row.version)
    except InvalidVersion:
        return 0, row.version


_KEYS: Final[Mapping[str, Callable[[Row], Any]]] = MappingProxyType(
    {
        "plugin": lambda row: row.slug,
        "version": _version_key,
        "state": lambda row: _STATES.index(row.state) if row.state in _STATES else 99,
        "serves": lambda row: row.serves,
        "why": lambda row: (not row.why and not row.failures, row.why.casefold()),
    }
)


def _sort(rows: list[Row], order: str) -> None:
    """Sort rows by a column, with ``-`` in front downwards; by slug without one."""
    column = order.removeprefix("-")
    rows.sort(key=_KEYS["plugin"])
    if column in _KEYS:
        rows.sort(key=_KEYS[column], reverse=order.startswith("-"))


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
