"""Moments at which cron expressions are due, with the package cronsim of ``plugreg[schedule]``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Final

from plugreg.exceptions import MissingExtraError

if TYPE_CHECKING:
    from cronsim import CronSim

_FIELDS: Final = ("minute", "hour", "day", "month", "weekday")
_HOURS: Final = 24
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_TO_SUNDAY: Final = re.compile(r"(?<!sun)(?<!0)-(?:sun|0)(?![^,/])", re.IGNORECASE)
"""The end of a range of weekdays that ends with Sunday, which cronsim takes as 7 alone."""
_LONE_STEP: Final = re.compile(r"(?<![\w-])(\w+)(?:-\1)?/")
"""A step after a single number, which each implementation of cron reads in another way."""


def parse_cron(text: str, start: datetime = _EPOCH) -> CronSim:
    """Parse five fields as crontab(5) describes them, without its ``@`` words.

    Args:
        text: Cron expression.
        start: Aware moment after which the parsed expression iterates.

    Raises:
        ValueError: If the expression is not valid, or names a date that never comes.
        MissingExtraError: If cronsim is not installed.
    """
    try:
        from cronsim import CronSim, CronSimError
    except ImportError as error:
        raise MissingExtraError.of(error, "a cron expression", "cronsim", "schedule") from error
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"it must have five fields ({', '.join(_FIELDS)}), not {len(fields)}")
    if _LONE_STEP.search(text):
        raise ValueError("a step must have '*' or a range before it; write 5-59/10 for 5/10")
    fields[-1] = _TO_SUNDAY.sub("-7", fields[-1])
    try:
        return CronSim(" ".join(fields), start)
    except CronSimError as error:
        subject = str(error).replace("Bad", "field", 1)
    except ValueError:  # Python refuses a number of thousands of digits.
        subject = "the expression"
    raise ValueError(
        f"{subject} is not valid or never matches; "
        "write numbers, names, '*', ranges, steps or lists"
    )


def next_moment(text: str, zone: tzinfo, start: datetime) -> datetime | None:
    """Return the first moment from *start* on that the expression matches.

    A time that clocks skip is due at the moment after the gap. A time that clocks repeat is due
    the first time only, unless the expression matches every hour: then it is due both times.

    Args:
        text: Valid cron expression.
        zone: Time zone of the clocks.
        start: Aware moment; it may be the result itself.

    Returns:
        The moment, or None if there is none within 50 years or before the year 10000.
    """
    # CronSim drops fractions of a second, and begins after the moment that it is given.
    begin = (start - timedelta(microseconds=1)).astimezone(zone)
    parsed = parse_cron(text)
    minutes, hours = (",".join(map(str, sorted(field))) for field in (parsed.minutes, parsed.hours))
    days = " ".join(parsed.parts[-3:])
    # Only where minute and hour do not begin with "*", cronsim handles gaps and repeated times.
    found = [_first(parse_cron(f"{minutes} {hours} {days}", begin), start)]
    if len(parsed.hours) == _HOURS:
        found.append(_first(parse_cron(f"{minutes} * {days}", begin), start))
    return min((moment for moment in found if moment is not None), default=None)


def _first(moments: Iterator[datetime], start: datetime) -> datetime | None:
    """Return the first of the moments that is not before *start*, in UTC."""
    with suppress(OverflowError):
        for moment in moments:
            if moment.astimezone(UTC) >= start:
                return moment.astimezone(UTC)
    return None
