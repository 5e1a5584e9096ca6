"""A clock that stands still until a test advances it: for circuits and for tasks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from plugreg._calls.outcome import Outcome
from plugreg.mixins._cron import parse_cron
from plugreg.schedules import PluginTask

START: Final = datetime(2030, 1, 1, tzinfo=UTC)
"""The moment at which the clock stands first."""


class TestTime:
    """The time of a host under test. It goes on only when a test says so.

    Circuits of the host count by it, and tasks of plugins fall due by it: an interval begins at
    the moment at which the task was first seen, and hours, days and months are those of UTC.

    Args:
        tasks: Returns the tasks of the active plugins.
        run: Runs a task by its full name.
    """

    __test__ = False  # pytest shall not collect it.

    def __init__(
        self, tasks: Callable[[], tuple[PluginTask, ...]], run: Callable[[str], Outcome[Any]]
    ) -> None:
        self.now = START
        """The moment at which the clock stands, in UTC."""
        self._tasks = tasks
        self._run = run
        self._seen: dict[PluginTask, tuple[datetime, int]] = {}

    def monotonic(self) -> float:
        """Return the seconds since some moment, as ``time.monotonic`` does."""
        return self.now.timestamp()

    def advance(self, seconds: float) -> tuple[str, ...]:
        """Let time go on, and run each task that falls due meanwhile, in this thread.

        Args:
            seconds: How long.

        Returns:
            The full names of the tasks that were run, in their order.

        Raises:
            ValueError: If *seconds* is below 0.
            MissingExtraError: If a task goes by the calendar, and cronsim is not installed.
        """
        if seconds < 0:
            raise ValueError(f"time goes on; {seconds!r} seconds are below 0")
        end = self.now + timedelta(seconds=seconds)
        done = []
        self.watch()
        while (first := self._next(end)) is not None:
            moment, task = first
            self.now = moment
            self._seen[task] = (moment, self._seen[task][1] + 1)
            done.append(task.name)
            self._run(task.name)
            self.watch()
        self.now = end
        return tuple(done)

    def watch(self) -> None:
        """Take in the current tasks; intervals of new tasks begin."""
        tasks = self._tasks()
        self._seen = {task: self._seen.get(task, (self.now, 0)) for task in tasks}

    def _next(self, end: datetime) -> tuple[datetime, PluginTask] | None:
        """Return the first moment until *end* at which a task is due, and the task."""
        due = [
            (moment, task)
            for task, (last, count) in self._seen.items()
            if not 0 <= task.task.repeats <= count
            if (moment := _due(task, last)) <= end
        ]
        return min(due, key=lambda pair: pair[0], default=None)


def _due(task: PluginTask, last: datetime) -> datetime:
    expression = task.task.calendar
    if expression is None:
        return last + timedelta(minutes=task.task.minutes or 1)
    moment: datetime = next(parse_cron(expression, last))
    return moment
