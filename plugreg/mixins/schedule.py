"""The capability to have work done at intervals, as data (behaviour.md, section 11.1).

Nothing runs here: ``registry.schedules`` runs a task, and the host's own scheduler says when.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from plugreg._support.guard import cut, plain, safe_repr
from plugreg.exceptions import MissingExtraError
from plugreg.mixins._cron import parse_cron
from plugreg.mixins._spec import MixinSpec, callable_fault
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
"""The schedules that go by the calendar, as cron expressions: at full hours; at midnight; of
Mondays; of the first day of each month, of January, April, July and October, of January."""

SCHEDULES: Final = ("I", *CALENDAR)
"""Every so many minutes; hourly, daily, weekly, monthly, quarterly, yearly."""

LONGEST_INTERVAL: Final = 525_600
"""The most ``minutes`` between two runs: a year. What is rarer has a date, and thus ``cron``."""

LONGEST_NAME: Final = 190
"""The most characters of a task's name: with any slug, it is a key that every store takes."""

FOR_EVER: Final = -1
"""The ``repeats`` of a task that never ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduledTask:
    """Work that a plugin wants done at intervals.

    ``func`` is the dotted name of a function, or without a dot the name of one of the plugin's
    methods. Either ``schedule`` is there, one of :data:`SCHEDULES`, with ``minutes`` for ``"I"``;
    or ``cron``, five fields in the scheduler's time zone. ``repeats`` is how often it is done in
    all; below 0 is for ever.
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
        """The cron expression by which it is due, None if it is due every ``minutes``."""
        return self.cron if self.schedule is None else CALENDAR.get(self.schedule)


class ScheduleMixin:
    """For plugins with scheduled tasks.

    ``SCHEDULED_TASKS`` maps names to dicts with ``func`` and ``schedule`` or ``cron``, and
    optionally ``minutes`` and ``repeats``; see :class:`ScheduledTask`.
    """

    SCHEDULED_TASKS: Mapping[str, Mapping[str, Any]] = EMPTY

    def get_scheduled_tasks(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the tasks; override it where they depend on something."""
        return self.SCHEDULED_TASKS


def scheduled_tasks(plugin: ScheduleMixin) -> tuple[ScheduledTask, ...]:
    """Return the tasks of a plugin that have no faults, in the order declared.

    It runs the plugin's code; what that raises passes through.
    """
    return parse_tasks(plugin)[0]


def parse_tasks(plugin: ScheduleMixin) -> tuple[tuple[ScheduledTask, ...], tuple[str, ...]]:
    """Ask a plugin once for its tasks; return those without faults, and a sentence for each fault.

    What the plugin raises passes through.
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
        wrong = tuple(_faults(name, task, plugin))
        faults += wrong
        if not wrong:
            tasks.append(_task(name, task))
    return tuple(tasks), tuple(faults)


def _task(name: str, task: Mapping[str, Any]) -> ScheduledTask:
    schedule, cron = task.get("schedule"), task.get("cron")
    return ScheduledTask(
        name=plain(name),
        func=plain(task["func"]),
        schedule=plain(schedule).upper() if schedule else None,
        cron=plain(cron) if cron else None,
        minutes=task.get("minutes"),
        repeats=task.get("repeats", FOR_EVER),
    )


def _check(plugin: ScheduleMixin) -> tuple[str, ...]:
    return parse_tasks(plugin)[1]


def _faults(name: object, task: object, plugin: ScheduleMixin) -> Iterator[str]:
    where = f"Task {safe_repr(name)}"
    if not isinstance(name, str):
        yield f"{where}: the name of a task must be text"
    elif not name or not name.isprintable():
        yield f"{where}: the name of a task must be text without control characters, and not empty"
    elif len(name) > LONGEST_NAME:
        where = f"Task {cut(name, LONGEST_NAME)!r}"
        yield (
            f"{where}: the name of a task must have at most {LONGEST_NAME} characters, "
            f"not {len(name)}"
        )
    elif not isinstance(task, Mapping):
        yield f"{where} must be a dict, not {safe_repr(task)}"
    else:
        yield from _function_faults(where, task.get("func"), plugin)
        yield from _interval_faults(where, task)


def _function_faults(where: str, func: object, plugin: ScheduleMixin) -> Iterator[str]:
    if func is None or func == "":
        yield f"{where} is missing 'func' parameter"
    elif not isinstance(func, str):
        yield f"{where}: 'func' must be the name of a function or method, not {safe_repr(func)}"
    elif "." not in func:
        method = inspect.getattr_static(plugin, func, None)
        fault = "does not exist" if method is None else callable_fault(method)
        if fault is not None:
            yield f"{where}: 'func' {func!r} {fault}"


def _interval_faults(where: str, task: Mapping[str, Any]) -> Iterator[str]:
    schedule, cron = task.get("schedule"), task.get("cron")
    if cron is not None and cron != "":
        if schedule is not None and schedule != "":
            yield f"{where} must have 'schedule' or 'cron', not both"
        yield from _cron_faults(where, cron)
    elif schedule is None or schedule == "":
        yield f"{where} is missing 'schedule' parameter"
    elif not isinstance(schedule, str) or schedule.upper() not in SCHEDULES:
        shown = schedule if isinstance(schedule, str) else safe_repr(schedule)
        yield f"{where}: Schedule '{shown}' is not a valid option"
    elif schedule.upper() == "I" and task.get("minutes") is None:
        yield f"{where} is missing 'minutes' parameter"
    minutes = task.get("minutes")
    if minutes is not None and not (_is_whole(minutes) and minutes > 0):
        yield f"{where}: 'minutes' must be a whole number above 0, not {safe_repr(minutes)}"
    elif minutes is not None and minutes > LONGEST_INTERVAL:
        yield (
            f"{where}: 'minutes' must be at most {LONGEST_INTERVAL}, which is a year, "
            f"not {safe_repr(minutes)}; what is rarer has 'cron'"
        )
    repeats = task.get("repeats", FOR_EVER)
    if not _is_whole(repeats):
        yield f"{where}: 'repeats' must be a whole number, not {safe_repr(repeats)}"


def _cron_faults(where: str, cron: object) -> Iterator[str]:
    if not isinstance(cron, str):
        yield f"{where}: 'cron' must be a text of five fields, not {safe_repr(cron)}"
        return
    try:
        parse_cron(cron)
    except MissingExtraError as error:
        yield f"{where}: {error}"
    except ValueError as error:
        yield f"{where}: Cron '{cron}' is not a valid option: {error}"


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


SPEC = MixinSpec(
    key="schedule",
    human_name="Schedule",
    cls=ScheduleMixin,
    enabled="get_scheduled_tasks",
    switch="schedule",
    order=20,
    check=_check,
)
