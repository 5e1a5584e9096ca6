"""The five fields of a cron expression: minute, hour, day of month, month, day of week.

And the moments at which the clocks of a time zone show what they say. Source: crontab(5), without
its ``@`` words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final, NamedTuple

WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
"""The days of the week by their numbers."""

_MONTHS: Final = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)
_HOURS: Final = 24
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

    @property
    def is_every_hour(self) -> bool:
        """Whether no hour of a day is left out."""
        return len(self.hours) == _HOURS

    def suits(self, day: date) -> bool:
        """Tell whether something is due on this day."""
        if day.month not in self.months:
            return False
        is_day, is_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return (is_day or is_weekday) if self.either_day else (is_day and is_weekday)


def next_moment(cron: Cron, zone: tzinfo, start: datetime) -> datetime | None:
    """Return the first moment at or after ``start`` at which clocks in ``zone`` show what is due.

    ``start`` is aware, and what is returned is in UTC. Where clocks are put forward, a time that
    they leave out is due as soon as they go on. Where they are put back, a time that they show
    twice is due the first time only; but what is due in every hour is due both times, so that it
    does not pause. Nothing is due twice at one moment. None after the year 9999.
    """
    start = start.astimezone(UTC)
    # From the earliest time that a clock may show from now on.
    begin = start.replace(tzinfo=None) + min(_offsets(start, zone))
    turns = (0, -1) if cron.is_every_hour else (0,)
    found = (_first(cron, zone, start, begin, turn) for turn in turns)
    return min((each for each in found if each is not None), default=None)


def _first(
    cron: Cron, zone: tzinfo, start: datetime, begin: datetime, turn: int
) -> datetime | None:
    """Return the first moment that is due, of a time that is shown twice the first or the last.

    The moments of such times come in the order of the times, so that the first to suit is it.
    """
    moments = (_moments(each, zone)[turn] for each in _times(cron, begin))
    return next((each for each in moments if each >= start), None)


def _times(cron: Cron, begin: datetime) -> Iterator[datetime]:
    """Yield what a clock shows when something is due, in ascending order, without a zone."""
    for ordinal in range(begin.toordinal(), date.max.toordinal()):
        day = date.fromordinal(ordinal)
        if not cron.suits(day):
            continue
        for hour in cron.hours:
            if day == begin.date() and hour < begin.hour:
                continue
            for minute in cron.minutes:
                yield datetime(day.year, day.month, day.day, hour, minute)  # noqa: DTZ001


def _moments(time: datetime, zone: tzinfo) -> list[datetime]:
    """Return the moments at which clocks show ``time``, in ascending order, in UTC.

    If there is none, it is the moment at which they leap over it.
    """
    utc = time.replace(tzinfo=UTC)
    moments = sorted(utc - each for each in _offsets(utc, zone))
    shown = [each for each in moments if each.astimezone(zone).replace(tzinfo=None) == time]
    return shown or [_leap(moments[0], moments[-1], zone)]


def _offsets(moment: datetime, zone: tzinfo) -> set[timedelta]:
    """Return by how much clocks are ahead of UTC a day before, at, and a day after a moment."""
    around = (moment + timedelta(days=each) for each in (-1, 0, 1))
    return {each.astimezone(zone).utcoffset() or timedelta() for each in around}


def _leap(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """Return the moment between two, to the second, at which clocks were put to another time."""
    earlier = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == earlier:
            before = middle
        else:
            after = middle
    return after


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
