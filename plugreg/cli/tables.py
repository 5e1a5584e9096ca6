"""Rows as a table that fits a terminal, as CSV, as names or as their number."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

FORMATS: Final = ("table", "json", "csv", "names", "count")
"""Values of ``--format``."""

Row = Mapping[str, Any]
"""A row: JSON values by name."""

GAP: Final = 2
"""Columns between two cells."""

COLOURS: Final = MappingProxyType(
    {
        "active": "green",
        "failed": "red",
        "error": "red",
        "incompatible": "yellow",
        "missing": "yellow",
        "blocked": "yellow",
        "warning": "yellow",
        "unknown": "bright_black",
        "inactive": "bright_black",
        "✓": "green",
        "✗": "red",
    }
)
"""Colours of words that a cell may be."""

_HEADS: Final = MappingProxyType({"slug": "PLUGIN", "target": "PLUGIN", "kind": "CHANGE"})
"""Heads of columns that are not named like their value."""


def fields_of(record: object, *names: str) -> dict[str, Any]:
    """Return attributes of a record as JSON values by name.

    Args:
        record: The record.
        *names: Names of the attributes.
    """
    return {name: _as_json(getattr(record, name)) for name in names}


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, (tuple, frozenset)):
        return sorted(value) if isinstance(value, frozenset) else [*value]
    return dict(value) if isinstance(value, Mapping) else value


def cell(value: object) -> str:
    """Return a value as a table cell, without control characters of a terminal.

    Args:
        value: A JSON value.
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={cell(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(cell, value))
    text = " ".join(str(value).split())
    return _clock(text) if _MOMENT.fullmatch(text) else printable(text)


_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")


def _clock(text: str) -> str:
    """Return a moment as the time of today, or as an earlier day, where the reader is."""
    moment = datetime.fromisoformat(text).astimezone()
    is_today = moment.date() == datetime.now().astimezone().date()
    return f"{moment:%H:%M:%S}" if is_today else f"{moment:%Y-%m-%d}"


def counted(number: int, word: str) -> str:
    """Return a number with its noun, in the plural where that is due.

    Args:
        number: The number.
        word: The noun in the singular.
    """
    plural = "es" if word.endswith("s") else "s"
    return f"{number} {word}{plural * (number != 1)}"


def printable(text: str) -> str:
    """Return *text* with control characters, such as escapes, spelled out.

    Args:
        text: The string.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def width_of(text: str) -> int:
    """Return how many columns of a terminal a string takes.

    Args:
        text: The string.
    """
    if text.isascii():
        return len(text)
    from unicodedata import east_asian_width

    return sum(2 if east_asian_width(char) in "WF" else 1 for char in text)


def cut(text: str, width: int) -> str:
    """Return *text*, or its beginning with an ellipsis, in at most *width* columns.

    Args:
        text: The string.
        width: The most columns.
    """
    if width_of(text) <= width:
        return text
    while text and width_of(text) > width - 1:
        text = text[:-1]
    return f"{text.rstrip()}…"[:width]


def fit(widths: Sequence[int], room: int) -> list[int]:
    """Return the widths that columns get: those of the widest are reduced until all fit.

    Args:
        widths: Width of each column.
        room: Columns of the terminal, without the gaps.
    """
    cap = max(widths, default=0)
    while cap > 1 and sum(min(width, cap) for width in widths) > room:
        cap -= 1
    fitted = [min(width, cap) for width in widths]
    # Columns lost to rounding go to the cells that were cut, from the left.
    spare = max(0, room - sum(fitted))
    for place, width in enumerate(widths):
        if spare and width > fitted[place]:
            fitted[place] += 1
            spare -= 1
    return fitted


def head_of(name: str) -> str:
    """Return the head of a column.

    Args:
        name: Name of the value.
    """
    return _HEADS.get(name) or name.replace("_", " ").upper()


def _plain(text: str, **_styles: Any) -> str:
    return text


def aligned_table(
    rows: Sequence[Row], columns: Sequence[str], width: int, style: Callable[..., str] = _plain
) -> str:
    """Return rows as an aligned table with heads, whose cells are cut to fit.

    Args:
        rows: The rows.
        columns: Names of the values.
        width: Columns of the terminal.
        style: Colours a string, given what `click.style` takes.
    """
    heads = [*map(head_of, columns)]
    lines = [heads, *([cell(row.get(name)) for name in columns] for row in rows)]
    natural = [max(map(width_of, texts)) for texts in zip(*lines, strict=True)]
    widths = fit(natural, width - GAP * (len(heads) - 1))
    text = ""
    for line in lines:
        shown = ""
        for value, room in zip(line, widths, strict=True):
            fitting = cut(value, room)
            blanks = " " * (room - width_of(fitting) + GAP)
            if line is heads:
                fitting = style(fitting, bold=True)
            elif value in COLOURS:
                fitting = style(fitting, fg=COLOURS[value])
            shown += fitting + blanks
        text += shown.rstrip() + "\n"
    return text


def _field(value: object) -> str:
    return "" if value is None else value if isinstance(value, str) else cell(value)


def csv_table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Return rows as CSV with a head.

    Args:
        rows: The rows.
        columns: Names of the values.
    """
    import csv

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_field(row.get(name)) for name in columns])
    return text.getvalue()
