"""The capability to have work done at intervals, as data (behaviour.md, section 11.1).

Nothing runs here: the host's own scheduler takes the tasks.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from plugreg._guard import safe_repr
from plugreg.mixins._spec import MixinSpec, callable_fault
from plugreg.records import EMPTY

SCHEDULES: Final = ("I", "H", "D", "W", "M", "Q", "Y")
"""Every so many minutes; hourly, daily, weekly, monthly, quarterly, yearly."""

FOR_EVER: Final = -1
"""The ``repeats`` of a task that never ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduledTask:
    """Work that a plugin wants done at intervals.

    ``func`` is the dotted name of a function, or without a dot the name of one of the plugin's
    methods. ``schedule`` is one of :data:`SCHEDULES`; ``minutes`` is there for ``"I"``.
    """

    name: str
    func: str
    schedule: str
    minutes: int | None = None
    repeats: int = FOR_EVER

    @property
    def is_method(self) -> bool:
        """Whether ``func`` is a method of the plugin."""
        return "." not in self.func


class ScheduleMixin:
    """For plugins with scheduled tasks.

    ``SCHEDULED_TASKS`` maps names to dicts with ``func``, ``schedule``, and optionally
    ``minutes`` and ``repeats``.
    """

    SCHEDULED_TASKS: Mapping[str, Mapping[str, Any]] = EMPTY

    def get_scheduled_tasks(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the tasks; override it where they depend on something."""
        return self.SCHEDULED_TASKS


def scheduled_tasks(plugin: ScheduleMixin) -> tuple[ScheduledTask, ...]:
    """Return the tasks of a plugin whose contract has no faults, in the order declared."""
    return tuple(
        ScheduledTask(
            name=name,
            func=task["func"],
            schedule=task["schedule"].upper(),
            minutes=task.get("minutes"),
            repeats=task.get("repeats", FOR_EVER),
        )
        for name, task in plugin.get_scheduled_tasks().items()
    )


def _check(plugin: ScheduleMixin) -> Iterator[str]:
    tasks: object = plugin.get_scheduled_tasks()
    if tasks is None:
        yield "SCHEDULED_TASKS not defined"
        return
    if not isinstance(tasks, Mapping):
        kind = type(tasks).__name__
        yield f"SCHEDULED_TASKS must be a dict of name to task, not a {kind!r} object"
        return
    for name, task in tasks.items():
        where = f"Task {safe_repr(name)}"
        if not isinstance(name, str):
            yield f"{where}: the name of a task must be text"
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
    schedule = task.get("schedule")
    if schedule is None or schedule == "":
        yield f"{where} is missing 'schedule' parameter"
    elif not isinstance(schedule, str) or schedule.upper() not in SCHEDULES:
        shown = schedule if isinstance(schedule, str) else safe_repr(schedule)
        yield f"{where}: Schedule '{shown}' is not a valid option"
    elif schedule.upper() == "I" and task.get("minutes") is None:
        yield f"{where} is missing 'minutes' parameter"
    minutes = task.get("minutes")
    if minutes is not None and not (_is_whole(minutes) and minutes > 0):
        yield f"{where}: 'minutes' must be a whole number above 0, not {safe_repr(minutes)}"
    repeats = task.get("repeats", FOR_EVER)
    if not _is_whole(repeats):
        yield f"{where}: 'repeats' must be a whole number, not {safe_repr(repeats)}"


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
