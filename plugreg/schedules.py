"""``registry.schedules``: the tasks of the active plugins.

A scheduler of the host's decides when a task is due; ``plugreg.adapters.apscheduler`` has a
bridge to APScheduler.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from time import perf_counter
from types import CoroutineType
from typing import Any

from plugreg._calls.outcome import Outcome
from plugreg._state.leases import PLUGINS
from plugreg._state.ledger import FailureLedger
from plugreg._support.guard import Guard, safe_repr
from plugreg._support.slugs import near
from plugreg.exceptions import FormattedError
from plugreg.hooks import refuse
from plugreg.mixins.schedule import SPEC, ScheduledTask, parse_tasks
from plugreg.records import ActivePlugin, PluginFailure, Snapshot, Stage


class TaskNotFoundError(FormattedError, LookupError):
    """No active plugin has this task now.

    Args:
        name: The name that was asked for.
        hint: An addition to the message.
    """

    name: str
    hint: str = ""
    template = (
        "task {name!r} is not known here{hint}; "
        "it must be 'plugin.<slug>.<task>', one of registry.schedules.tasks()"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginTask:
    """A task of an active plugin.

    Attributes:
        slug: The plugin.
        task: The task's name, function and schedule.
    """

    slug: str
    task: ScheduledTask

    @property
    def name(self) -> str:
        """The full name, ``plugin.<slug>.<task>``."""
        return f"{PLUGINS}{self.slug}.{self.task.name}"


class Schedules:
    """Lists the tasks of the active plugins, and runs them on request.

    Args:
        current: Returns the snapshot; raises RegistryNotReady before load and after close.
        ledger: Records the faults.
    """

    def __init__(self, current: Callable[[], Snapshot], ledger: FailureLedger) -> None:
        self._current = current
        self._ledger = ledger

    def tasks(self) -> tuple[PluginTask, ...]:
        """Return the tasks of the active plugins.

        Each call asks the plugins again, since their tasks may change. An exception of a plugin,
        and each damaged task, is recorded at stage ``call``; the other tasks are returned.

        Returns:
            The tasks, in activation order of the plugins, then in the order declared; an empty
            tuple where the host has switched schedules off.

        Raises:
            RegistryNotReady: Before load and after close.
        """
        return tuple(
            PluginTask(slug=active.slug, task=task)
            for active in self._current().with_mixin(SPEC.key)
            for task in self._tasks_of(active)
        )

    def run(self, name: str) -> Outcome[Any]:
        """Run a task now, in the calling thread.

        A function of a module is imported and called, a method is called on the plugin, both
        without arguments. An exception, also of the import, is recorded at stage ``call``.
        Nothing is counted: ``repeats`` and other processes are the scheduler's business.

        Args:
            name: The full name, ``plugin.<slug>.<task>``.

        Returns:
            The returned value, or the exception and its record.

        Raises:
            PluginNotFoundError: If no plugin has this slug.
            PluginNotActiveError: If the plugin is not active.
            TaskNotFoundError: If the plugin has no such task now, or *name* is malformed.
            RegistryNotReady: Before load and after close.
        """
        active, task = self._find(name)
        started = perf_counter()
        with Guard() as guard:
            value = _find_function(active, task)()
            if type(value) is CoroutineType:
                refuse(value)
            return Outcome(active.slug, value, seconds=perf_counter() - started)
        seconds = perf_counter() - started
        failure = self._ledger.record_call(active.slug, f"task {task.name!r}", guard.error)
        return Outcome(active.slug, error=guard.error, failure=failure, seconds=seconds)

    def record(self, task: PluginTask, error: BaseException) -> PluginFailure:
        """Record at stage ``call`` that a scheduler could not take a task.

        Args:
            task: The task.
            error: The scheduler's exception.

        Returns:
            The record.
        """
        return self._ledger.record_call(task.slug, f"task {task.task.name!r}", error)

    # -- the parts ---------------------------------------------------------------------------

    def _find(self, name: str) -> tuple[ActivePlugin, ScheduledTask]:
        snapshot = self._current()
        slug, _, task_name = name.removeprefix(PLUGINS).partition(".")
        if not name.startswith(PLUGINS) or not task_name:
            raise TaskNotFoundError(name)
        active = snapshot.get_active(slug)
        has_tasks = active in snapshot.with_mixin(SPEC.key)
        tasks = {task.name: task for task in self._tasks_of(active)} if has_tasks else {}
        if task_name not in tasks:
            raise TaskNotFoundError(name, near(task_name, tasks))
        return active, tasks[task_name]

    def _tasks_of(self, active: ActivePlugin) -> tuple[ScheduledTask, ...]:
        subject = "scheduled tasks"
        with Guard() as guard:
            tasks, faults = parse_tasks(active.plugin)
            for message in faults:
                self._ledger.record(
                    PluginFailure(
                        stage=Stage.CALL, slug=active.slug, subject=subject, message=message
                    )
                )
            return tasks
        self._ledger.record_call(active.slug, subject, guard.error)
        return ()


def _find_function(active: ActivePlugin, task: ScheduledTask) -> Callable[[], object]:
    if task.is_method:
        function: object = getattr(active.plugin, task.func)
    else:
        module, _, name = task.func.rpartition(".")
        function = getattr(import_module(module), name)
    if not callable(function):
        raise TypeError(f"{task.func!r} must be a function, not {safe_repr(function)}")
    return function
