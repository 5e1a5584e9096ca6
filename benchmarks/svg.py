"""Results as pictures, written by hand: growth curves on log axes, bars where there is one size.

They are legible on light and on dark pages: the colours follow ``prefers-color-scheme``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from model import Case, Part, shown
from table import size_label

if TYPE_CHECKING:
    from measure import Result

WIDTH = 860
LEFT, RIGHT, TOP, BOTTOM = 78, 290, 46, 50
HEIGHT = 200
"""Of the field of a panel of curves."""
LINE = 16
"""From one label to the next."""
BAR = 24
BARS_LEFT = 250

STYLE = """
text { font: 12px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2328; }
.title { font-size: 16px; font-weight: 600; }
.panel { font-size: 13px; font-weight: 600; }
.muted { fill: #59636e; }
.page { fill: #ffffff; }
.rule { stroke: #d8dee4; stroke-width: 1; fill: none; }
.curve { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.ours { stroke-width: 3.2; }
.floor { stroke-dasharray: 5 4; }
.leader { stroke-width: 1; fill: none; opacity: 0.6; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .muted { fill: #9198a1; }
  .page { fill: #0d1117; }
  .rule { stroke: #30363d; }
}
"""
FLOORS = ("#7d8590", "#a3a9b1", "#8f8878")
OURS = ("#2f7fe0", "#17a2b8", "#5b6ee8", "#00a37a", "#7b93d6")
PEERS = ("#d9730d", "#c2459b", "#9a7b0a", "#c0392b", "#8e5bd0", "#5f8f2e", "#b0603a", "#6b7f99")


def picture(title: str, cases: Sequence[tuple[Case, Sequence[Result]]]) -> str:
    """Return one picture with a panel for each case that has anything to show."""
    y = 44
    parts = []
    for case, results in cases:
        there = [each for each in results if each.median]
        if not there:
            continue
        draw = _curves if len({each.size for each in there}) > 1 else _bars
        panel, height = draw(case, there, y)
        parts += panel
        y += height
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}"'
            f' height="{y}" role="img" aria-label="{escape(title, {chr(34): "&quot;"})}">',
            f"<style>{STYLE}</style>",
            f'<rect class="page" width="{WIDTH}" height="{y}"/>',
            _text(16, 28, title, "title"),
            *parts,
            "</svg>",
            "",
        ]
    )


def _curves(case: Case, results: Sequence[Result], top: int) -> tuple[list[str], int]:
    """Return a panel with a curve for each contestant, and its height."""
    sizes = sorted({each.size for each in results})
    values = [each.median for each in results if each.median]
    first, last = _decades(values)
    names = list(dict.fromkeys(each.contestant for each in results))
    height = max(HEIGHT, LINE * len(names))
    left, right = LEFT, WIDTH - RIGHT
    upper = top + TOP

    def x_of(size: float) -> float:
        share = math.log(size / sizes[0]) / math.log(sizes[-1] / sizes[0])
        return left + 12 + share * (right - left - 24)

    def y_of(value: float) -> float:
        return upper + height * (1 - (math.log10(value) - first) / (last - first))

    counting = case.counting + ("/plugins" if size_label(case, sizes[0]).count("/") else "")
    parts = [_text(16, top + 24, case.name, "panel")]
    for decade in range(first, last + 1):
        y = y_of(10.0**decade)
        parts.append(f'<path class="rule" d="M{left} {y:.1f}H{right}"/>')
        parts.append(_text(left - 8, y + 4, _tick(10.0**decade, case.unit), "muted", "end"))
    for size in sizes:
        x = x_of(size)
        parts.append(f'<path class="rule" d="M{x:.1f} {upper}V{upper + height}"/>')
        label = size_label(case, size)
        parts.append(_text(x, upper + height + 18, label, "muted", "middle"))
    parts.append(_text((left + right) / 2, upper + height + 36, counting, "muted", "middle"))
    colours = _colours(case)
    ends = {}
    for name in names:
        own = sorted(
            (each.size, each.median) for each in results if each.contestant == name and each.median
        )
        points = [(x_of(size), y_of(value)) for size, value in own]
        ends[name] = points[-1]
        part = next(each.part for each in case.contestants if each.name == name)
        kind = {Part.PLUGREG: " ours", Part.FLOOR: " floor"}.get(part, "")
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        colour = colours[name]
        parts.append(f'<polyline class="curve{kind}" points="{path}" stroke="{colour}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
    places = _spread([(ends[name][1], name) for name in names], upper, upper + height)
    for name, y in places.items():
        x_end, y_end = ends[name]
        final = [e for e in results if e.contestant == name][-1]
        assert final.median is not None
        label = f"{name}, {shown(final.median, case.unit)}"
        parts.append(
            f'<path class="leader" d="M{x_end + 5:.1f} {y_end:.1f}L{right + 14} {y:.1f}h6"'
            f' stroke="{colours[name]}"/>'
        )
        parts.append(_text(right + 24, y + 4, label))
    return parts, TOP + height + BOTTOM


def _bars(case: Case, results: Sequence[Result], top: int) -> tuple[list[str], int]:
    """Return a panel with a bar for each contestant, on a log axis, and its height."""
    values = [each.median for each in results if each.median]
    first, last = _decades(values)
    left, right = BARS_LEFT, WIDTH - 130
    upper = top + TOP
    height = BAR * len(results)
    colours = _colours(case)
    parts = [_text(16, top + 24, case.name, "panel")]
    for decade in range(first, last + 1):
        x = left + (decade - first) / (last - first) * (right - left)
        parts.append(f'<path class="rule" d="M{x:.1f} {upper}V{upper + height}"/>')
        tick = _tick(10.0**decade, case.unit)
        parts.append(_text(x, upper + height + 18, tick, "muted", "middle"))
    for index, each in enumerate(results):
        assert each.median is not None
        y = upper + BAR * index
        length = (math.log10(each.median) - first) / (last - first) * (right - left)
        parts.append(
            f'<rect x="{left}" y="{y + 4}" width="{max(length, 1):.1f}" height="{BAR - 8}"'
            f' fill="{colours[each.contestant]}"/>'
        )
        parts.append(_text(left - 8, y + 16, each.contestant, "", "end"))
        parts.append(_text(left + length + 6, y + 16, shown(each.median, case.unit)))
    return parts, TOP + height + 36


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """Return the powers of ten between which all values lie."""
    first = math.floor(math.log10(min(values)))
    return first, max(math.ceil(math.log10(max(values))), first + 1)


def _tick(value: float, unit: str) -> str:
    if unit == "B":
        # Powers of ten, which no power of two is.
        factor, name = next(
            each for each in ((1e6, "MB"), (1e3, "kB"), (1, "B")) if value >= each[0]
        )
        return f"{value / factor:.0f} {name}"
    return shown(value, unit).replace(".00", "").replace(".0", "")


def _colours(case: Case) -> dict[str, str]:
    """Return a colour for each contestant, the same for each size and for all results there are."""
    left = {Part.FLOOR: list(FLOORS), Part.PLUGREG: list(OURS), Part.PEER: list(PEERS)}
    found = {}
    for each in case.contestants:
        row = left[each.part]
        row.append(row.pop(0))
        found[each.name] = row[-1]
    return found


def _spread(wished: Sequence[tuple[float, str]], upper: float, lower: float) -> dict[str, float]:
    """Return where each label goes: as near to its wish as no two of them overlap."""
    names = [name for _, name in sorted(wished)]
    ys = [y for y, _ in sorted(wished)]
    for index in range(1, len(ys)):
        ys[index] = max(ys[index], ys[index - 1] + LINE)
    # What went beyond the end goes back up, and pushes those above.
    limit = lower
    for index in reversed(range(len(ys))):
        ys[index] = min(ys[index], limit)
        limit = ys[index] - LINE
    if ys and ys[0] < upper:
        ys = [max(y, upper + LINE * index) for index, y in enumerate(ys)]
    return dict(zip(names, ys, strict=True))


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{style} text-anchor="{anchor}">{escape(text)}</text>'
