"""The five fields of a cron expression: minute, hour, day of month, month, day of week.

Source: crontab(5), without its ``@`` words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
"""The days of the week by their numbers."""

_MONTHS: Final = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)
_LONGEST_MONTHS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class _Field(NamedTuple):
    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()


_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("weekday", 0, 7, WEEKDAYS),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cron:
    """When something is due, as numbers in ascending order; ``weekdays`` has Sunday as 0.

    With ``either_day`` it is due on days that are in ``days`` or in ``weekdays``, else on those in
    both.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    either_day: bool


def parse_cron(text: str) -> Cron:
    """Read five fields: numbers, names of months and weekdays, ``*``, ranges, steps, lists.

    A weekday may be 7, which is Sunday. Where neither field of days begins with ``*``, either may
    suit. Raises ValueError with a sentence that says what is wrong with which field, also for a
    date that never comes.
    """
    fields = text.split()
    if len(fields) != len(_FIELDS):
        names = ", ".join(each.name for each in _FIELDS)
        raise ValueError(f"it must have five fields ({names}), not {len(fields)}")
    minutes, hours, days, months, weekdays = (
        {number for part in given.split(",") for number in _numbers(part, of)}
        for given, of in zip(fields, _FIELDS, strict=True)
    )
    either_day = not fields[2].startswith("*") and not fields[4].startswith("*")
    if not either_day and all(min(days) > _LONGEST_MONTHS[each - 1] for each in months):
        raise ValueError(f"day '{fields[2]}' never comes in month '{fields[3]}'")
    return Cron(
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=tuple(sorted(days)),
        months=tuple(sorted(months)),
        weekdays=tuple(sorted({each % 7 for each in weekdays})),
        either_day=either_day,
    )


def _numbers(part: str, field: _Field) -> range:
    """Return the numbers of one part of a list: ``*``, a number or a range, and maybe a step."""
    wanted, has_step, step = part.partition("/")
    first, is_range, last = wanted.partition("-")
    if has_step and not (_is_number(step) and int(step) > 0):
        raise ValueError(f"{field.name} '{part}' has a step that is no number above 0")
    if wanted == "*":
        low, high = field.first, field.last
    elif is_range:
        low, high = _number(first, field), _number(last, field)
        if field.name == "weekday" and high == 0 < low:
            high = 7  # Sunday ends the week as well as it begins it.
    elif has_step:
        raise ValueError(f"{field.name} '{part}' has a step, but neither '*' nor a range before it")
    else:
        low = high = _number(wanted, field)
    if low > high:
        raise ValueError(f"{field.name} '{part}' is a range that ends before it begins")
    return range(low, high + 1, int(step) if has_step else 1)


def _number(text: str, field: _Field) -> int:
    name = text.lower()
    if name in field.names:
        return field.names.index(name) + field.first
    if _is_number(text) and field.first <= int(text) <= field.last:
        return int(text)
    raise ValueError(
        f"{field.name} '{text}' is no number from {field.first} to {field.last}"
        f"{' or name such as ' + repr(field.names[1]) if field.names else ''}"
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 4
