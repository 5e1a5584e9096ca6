"""Results as text: a table for each case, and the ratios against a baseline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from model import Case, shown, times
from sites import SITES

if TYPE_CHECKING:
    from measure import Result


def size_label(case: Case, size: int) -> str:
    """Return a size as the head of a column says it; of a site both numbers."""
    if case.site and case.counting == "distributions":
        return f"{size:,}/{SITES[size]:,}"
    return f"{size:,}" if case.counting else ""


def case_table(case: Case, results: Sequence[Result]) -> str:
    """Return the table of one case: a row for each contestant, a column for each size."""
    sizes = list(dict.fromkeys(each.size for each in results))
    head = f"{case.name}{f', by {case.counting}' if case.counting else ''}"
    if case.site and case.counting == "distributions":
        head += "/plugins"
    rows = []
    if case.counting:
        grows = "grows" if len(sizes) > 1 else ""
        rows.append(["", *(size_label(case, each) for each in sizes), grows])
    for contestant in case.contestants:
        own = [each for each in results if each.contestant == contestant.name]
        rows.append([contestant.name, *map(_cell, own), _slope(own)])
    lines = [head, *_aligned(rows)]
    lines += _budgets(case, results)
    if case.note:
        lines.append(f"  ({case.note})")
    return "\n".join(lines)


def _budgets(case: Case, results: Sequence[Result]) -> Iterator[str]:
    """Yield a line for each contestant with a budget, and what it is read against."""
    verdicts: dict[str, list[str]] = {}
    for each in results:
        for verdict in each.verdicts:
            head = f"{each.contestant}{verdict.against and f' against {verdict.against}'}"
            label = size_label(case, each.size)
            text = f"{label and f'{label} '}{verdict.text} {'✓' if verdict.holds else '✗'}"
            verdicts.setdefault(head, []).append(text)
    for head, texts in verdicts.items():
        yield f"  {head}: {', '.join(texts)}"


def summary(results: Iterable[Result]) -> str:
    """Return how many budgets hold, and which do not."""
    verdicts = [(each, verdict) for each in results for verdict in each.verdicts]
    broken = [(each, verdict) for each, verdict in verdicts if not verdict.holds]
    lines = [f"Budgets: {len(verdicts) - len(broken)} of {len(verdicts)} hold."]
    lines += [
        f"  ✗ {each.group}: {each.case}, {each.contestant}, {each.size:,}: {verdict.text}"
        for each, verdict in broken
    ]
    return "\n".join(lines)


def comparison(now: Iterable[dict[str, Any]], before: Iterable[dict[str, Any]]) -> str:
    """Return the ratios of each figure, and of its ratio to the floor, against a baseline."""
    known = {_key(each): each for each in before if each["median"] is not None}
    rows = [["", "size", "before", "now", "ratio", "to its floor"]]
    for each in now:
        old = known.get(_key(each))
        if old is None or each["median"] is None:
            continue
        to_floor = ""
        if each["ratio"] and old["ratio"]:
            to_floor = f"{times(old['ratio'])} → {times(each['ratio'])}"
        ratio = times(each["median"] / old["median"]) if old["median"] else ""
        rows.append(
            [
                f"{each['group']}: {each['case']}: {each['contestant']}",
                f"{each['size']:,}",
                shown(old["median"], each["unit"]),
                shown(each["median"], each["unit"]),
                ratio,
                to_floor,
            ]
        )
    return "\n".join(_aligned(rows))


def _key(result: dict[str, Any]) -> tuple[object, ...]:
    return tuple(result[each] for each in ("group", "case", "size", "contestant"))


def _cell(result: Result) -> str:
    if result.median is None or result.low is None or result.high is None:
        return f"{result.missing}"
    text = shown(result.median, result.unit)
    if result.runs > 1 and result.median:
        text += f" ±{(result.high - result.low) / result.median * 50:2.0f} %"
    if result.ratio is not None:
        text += f" {times(result.ratio):>6}"
    return text


def _slope(results: Sequence[Result]) -> str:
    """Return the power of the size that the figure grows with, from the first to the last."""
    there = [each for each in results if each.median]
    if len(there) < 2 or there[0].median is None or there[-1].median is None:
        return ""
    times = there[-1].median / there[0].median
    return f"n^{math.log(times) / math.log(there[-1].size / there[0].size):.2f}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    # What is missing says so at length, once, and does not widen its column.
    narrow = [[_short(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*narrow, strict=True)]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in narrow
    ]


def _short(cell: str) -> str:
    return cell.partition(":")[0] if cell.startswith(("not there", "failed")) else cell
