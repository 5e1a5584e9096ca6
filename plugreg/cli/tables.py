"""Rows as a table that fits a terminal, as CSV, as names or as their number."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, TextIO

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
    from datetime import datetime

    moment = datetime.fromisoformat(text).astimezone()
    is_today = moment.date() == datetime.now().astimezone().date()
    return f"{moment:%H:%M:%S}" if is_today else f"{moment:%Y-%m-%d}"


def printable(text: str) -> str:
    """Return *text* with control characters, such as escapes, spelled out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def width_of(text: str) -> int:
    """Return how many columns of a terminal a string takes."""
    if text.isascii():
        return len(text)
    from unicodedata import east_asian_width

    return sum(2 if east_asian_width(char) in "WF" else 1 for char in text)


def cut(text: str, width: int) -> str:
    """Return *text*, or its beginning with an ellipsis, in at most *width* columns."""
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


def as_cells(
    rows: Sequence[Row], columns: Mapping[str, str], width: int
) -> tuple[list[str], list[list[str]], list[int]]:
    """Return heads and cells, cut to fit, and the widths of the columns.

    Args:
        rows: The rows.
        columns: Heads by the name of the value.
        width: Columns of the terminal.
    """
    cells = [[cell(row.get(name)) for name in columns] for row in rows]
    heads = [*columns.values()]
    natural = [max(map(width_of, texts)) for texts in zip(heads, *cells, strict=True)]
    widths = fit(natural, width - GAP * (len(heads) - 1))
    cut_cells = [[cut(text, w) for text, w in zip(row, widths, strict=True)] for row in cells]
    return [cut(head, w) for head, w in zip(heads, widths, strict=True)], cut_cells, widths


def plain_table(rows: Sequence[Row], columns: Mapping[str, str], width: int) -> str:
    """Return rows as an aligned table without colours."""
    heads, cells, widths = as_cells(rows, columns, width)
    lines = []
    for line in (heads, *cells):
        padded = [text + " " * (w - width_of(text)) for text, w in zip(line, widths, strict=True)]
        lines.append((" " * GAP).join(padded).rstrip())
    return "\n".join(lines) + "\n"


def rich_table(rows: Sequence[Row], columns: Mapping[str, str], width: int, out: TextIO) -> None:
    """Write rows as a coloured table to a terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    heads, cells, widths = as_cells(rows, columns, width)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for head, w in zip(heads, widths, strict=True):
        table.add_column(Text(head), no_wrap=True, min_width=w)
    for line in cells:
        table.add_row(*(Text(text, style=COLOURS.get(text, "")) for text in line))
    # A table of rich is padded behind its last column, too.
    console = Console(
        file=out, width=width + GAP, force_terminal=True, color_system="standard", no_color=False
    )
    with console.capture() as captured:
        console.print(table)
    out.writelines(f"{_without_end(line)}\n" for line in captured.get().splitlines())


def _without_end(line: str) -> str:
    """Return a line without the blanks at its end, some of which have a style."""
    return re.sub(r"(?: |\x1b\[[0-9;]*m)+$", lambda end: "\x1b[0m" * ("\x1b" in end[0]), line)


def _field(value: object) -> str:
    return "" if value is None else value if isinstance(value, str) else cell(value)


def csv_table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Return rows as CSV with a head."""
    import csv

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_field(row.get(name)) for name in columns])
    return text.getvalue()
