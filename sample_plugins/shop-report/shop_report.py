"""A schedule: work to be done at intervals, as data for the host's own scheduler.

A name without a dot is a method of the plugin; with one it is a function anywhere. Both are
checked when the plugin is activated, so that a slip of the pen is told at once.
"""

from plugreg import Plugin
from plugreg.mixins import ScheduleMixin


def weekly() -> None:
    """Sum up the week. A function, since it needs nothing of the plugin."""


class Report(ScheduleMixin, Plugin):
    """Sums up every quarter of an hour, and every week."""

    SCHEDULED_TASKS = {
        "takings": {"func": "sum_up", "schedule": "I", "minutes": 15},
        "week": {"func": "shop_report.weekly", "schedule": "W"},
    }

    def sum_up(self) -> None:
        """Sum up what was sold so far."""
