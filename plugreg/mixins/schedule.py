"""The capability to schedule tasks, as data.

Nothing runs here: ``registry.schedules`` runs a task, and a scheduler of the host decides when.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from plugreg._support.frozen import Frozen
from plugreg._support.guard import cut, plain, safe_repr
from plugreg.exceptions import MissingExtraError
from plugreg.mixins._contract import callable_fault
from plugreg.mixins._cron import parse_cron
from plugreg.mixins._spec import MixinSpec
from plugreg.records import EMPTY

CALENDAR: Final = MappingProxyType(
    {
        "H": "0 * * * *",
        "D": "0 0 * * *",
        "W": "0 0 * * mon",
        "M": "0 0 1 * *",
        "Q": "0 0 1 1,4,7,10 *",
        "Y": "0 0 1 1 *",
    }
)
"""Cron expressions of the schedules that go by the calendar: at full hours; at midnight; of
Mondays; of the first day of each month, of January, April, July and October, of January."""

SCHEDULES: Final = ("I", *CALENDAR)
"""Interval in minutes; hourly, daily, weekly, monthly, quarterly, yearly."""

LONGEST_INTERVAL: Final = 525_600
"""The most ``minutes`` between two runs: a year. Rarer tasks use ``cron``."""

LONGEST_NAME: Final = 190
"""The most characters of a task's name: with any slug, every storage takes it as a key."""

FOR_EVER: Final = -1
"""The ``repeats`` of a task that never ends."""


class ScheduledTask(Frozen):
    """A task that a plugin wants done at intervals.

    Args:
        name: Name of the task, unique in the plugin.
        func: Dotted name of a function, or name of a method of the plugin.
        schedule: One of ``SCHEDULES``, None if *cron* is given.
        cron: Cron expression of five fields, in the scheduler's time zone.
        minutes: Interval of the schedule ``"I"``.
        repeats: How often the task is done in all. Below 0 means for ever.
    """

    name: str
    func: str
    schedule: str | None = None
    cron: str | None = None
    minutes: int | None = None
    repeats: int = FOR_EVER

    @property
    def is_method(self) -> bool:
        """Whether ``func`` is a method of the plugin."""
        return "." not in self.func

    @property
    def calendar(self) -> str | None:
        """The cron expression of the task, None if it is due every ``minutes``."""
        return self.cron if self.schedule is None else CALENDAR.get(self.schedule)


class ScheduleMixin:
    """For plugins with scheduled tasks.

    ``SCHEDULED_TASKS`` maps names to dicts with ``func`` and ``schedule`` or ``cron``, and
    optionally ``minutes`` and ``repeats``; see :class:`ScheduledTask`.
    """

    SCHEDULED_TASKS: Mapping[str, Mapping[str, Any]] = EMPTY

    def get_scheduled_tasks(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the tasks. Override it to compute them."""
        return self.SCHEDULED_TASKS


def scheduled_tasks(plugin: ScheduleMixin) -> tuple[ScheduledTask, ...]:
    """Return the tasks of a plugin that have no faults, in the order declared.

    Args:
        plugin: The plugin, whose code is run; its exceptions pass through.
    """
    return parse_tasks(plugin)[0]


def parse_tasks(plugin: ScheduleMixin) -> tuple[tuple[ScheduledTask, ...], tuple[str, ...]]:
    """Get the tasks of a plugin once, and parse them.

    Args:
        plugin: The plugin, whose code is run; its exceptions pass through.

    Returns:
        The tasks without faults, and a sentence for each fault.
    """
    given: object = plugin.get_scheduled_tasks()
    if given is None:
        return (), ("SCHEDULED_TASKS not defined",)
    if not isinstance(given, Mapping):
        kind = type(given).__name__
        return (), (f"SCHEDULED_TASKS must be a dict of name to task, not a {kind!r} object",)
    tasks: list[ScheduledTask] = []
    faults: list[str] = []
    for name, task in given.items():
        own_faults = tuple(_faults(name, task, plugin))
        faults += own_faults
        if not own_faults:
            schedule, cron = task.get("schedule"), task.get("cron")
            tasks.append(
                ScheduledTask(
                    name=plain(name),
                    func=plain(task["func"]),
                    schedule=plain(schedule).upper() if schedule else None,
                    cron=plain(cron) if cron else None,
                    minutes=task.get("minutes"),
                    repeats=task.get("repeats", FOR_EVER),
                )
            )
    return tuple(tasks), tuple(faults)


def _faults(name: object, task: object, plugin: ScheduleMixin) -> Iterator[str]:
    where = f"Task {safe_repr(name)}"
    if not isinstance(name, str):
        yield f"{where}: the name of a task must be a string"
    elif not name or not name.isprintable():
        yield f"{where}: the name of a task must be printable and not empty"
    elif len(name) > LONGEST_NAME:
        yield (
            f"Task {cut(name, LONGEST_NAME)!r}: the name of a task must have at most "
            f"{LONGEST_NAME} characters, not {len(name)}"
        )
    elif not isinstance(task, Mapping):
        yield f"{where} must be a dict, not {safe_repr(task)}"
    else:
        faults = (*_function_faults(task.get("func"), plugin), *_time_faults(task))
        yield from (f"{where}{fault}" for fault in faults)


def _function_faults(func: object, plugin: ScheduleMixin) -> Iterator[str]:
    if func is None or func == "":
        yield " is missing 'func' parameter"
    elif not isinstance(func, str):
        yield f": 'func' must be the name of a function or method, not {safe_repr(func)}"
    elif "." not in func:
        method = inspect.getattr_static(plugin, func, None)
        fault = "does not exist" if method is None else callable_fault(method)
        if fault is not None:
            yield f": 'func' {func!r} {fault}"


def _time_faults(task: Mapping[str, Any]) -> Iterator[str]:
    schedule, cron = task.get("schedule"), task.get("cron")
    minutes, repeats = task.get("minutes"), task.get("repeats", FOR_EVER)
    if cron is not None and cron != "":
        if schedule is not None and schedule != "":
            yield " must have 'schedule' or 'cron', not both"
        yield from _cron_faults(cron)
    elif schedule is None or schedule == "":
        yield " is missing 'schedule' parameter"
    elif not isinstance(schedule, str) or schedule.upper() not in SCHEDULES:
        shown = schedule if isinstance(schedule, str) else safe_repr(schedule)
        yield f": Schedule '{shown}' is not a valid option"
    elif schedule.upper() == "I" and minutes is None:
        yield " is missing 'minutes' parameter"
    if minutes is not None and not (_is_whole(minutes) and minutes > 0):
        yield f": 'minutes' must be a whole number above 0, not {safe_repr(minutes)}"
    elif minutes is not None and minutes > LONGEST_INTERVAL:
        yield (
            f": 'minutes' must be at most {LONGEST_INTERVAL}, which is a year, "
            f"not {safe_repr(minutes)}; use 'cron' for rarer tasks"
        )
    if not _is_whole(repeats):
        yield f": 'repeats' must be a whole number, not {safe_repr(repeats)}"


def _cron_faults(cron: object) -> Iterator[str]:
    if not isinstance(cron, str):
        yield f": 'cron' must be a string of five fields, not {safe_repr(cron)}"
        return
    try:
        parse_cron(cron)
    except MissingExtraError as error:
        yield f": {error}"
    except ValueError as error:
        yield f": Cron '{cron}' is not a valid option: {error}"


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


SPEC = MixinSpec(
    key="schedule",
    human_name="Schedule",
    cls=ScheduleMixin,
    enabled="get_scheduled_tasks",
    switch="schedule",
    order=20,
    check=lambda plugin: parse_tasks(plugin)[1],
)
