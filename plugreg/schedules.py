"""``registry.schedules``: the tasks of the active plugins, and running one of them.

When a task is due is for a scheduler of the host's; ``plugreg.adapters.apscheduler`` has a bridge
to one. Source: behaviour.md, section 11.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from time import perf_counter
from types import CoroutineType
from typing import Any, Final

from plugreg._calls.dispatcher import Outcome
from plugreg._state.leases import PLUGINS
from plugreg._state.ledger import FailureLedger
from plugreg._support.guard import Guard, safe_repr
from plugreg._support.names import near
from plugreg.exceptions import PluginNotActiveError, PluginNotFoundError, PlugregError
from plugreg.hooks import refuse
from plugreg.mixins.schedule import SPEC, ScheduledTask, parse_tasks
from plugreg.records import ActivePlugin, PluginFailure, Snapshot, Stage

_MIXIN: Final = SPEC.key


class TaskNotFoundError(PlugregError, LookupError):
    """No active plugin has this task now.

    ``name`` is what was asked for, ``hint`` an addition to the message.
    """

    def __init__(self, name: str, hint: str = "") -> None:
        super().__init__(name, hint)
        self.name = name
        self.hint = hint

    def __str__(self) -> str:
        return (
            f"task {self.name!r} is not known here{self.hint}; "
            f"it must be 'plugin.<slug>.<task>', one of registry.schedules.tasks()"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginTask:
    """A task of an active plugin: whose it is, and what is to be done when."""

    slug: str
    task: ScheduledTask

    @property
    def name(self) -> str:
        """The full name, ``plugin.<slug>.<task>``."""
        return f"{PLUGINS}{self.slug}.{self.task.name}"


class Schedules:
    """Knows the tasks of the active plugins, and runs one when it is asked to. Keeps nothing."""

    def __init__(self, current: Callable[[], Snapshot], ledger: FailureLedger) -> None:
        self._current = current
        self._ledger = ledger

    def tasks(self) -> tuple[PluginTask, ...]:
        """Return the tasks, in activation order of the plugins, then in the order declared.

        None where the host has switched schedules off. A plugin is asked each time, as its tasks
        may depend on something; what it raises, and each task with a fault, is a failure record of
        stage ``call``, and the other tasks are there. Raises RegistryNotReady before load and
        after close.
        """
        snapshot = self._current()
        return tuple(
            PluginTask(slug=active.slug, task=task)
            for active in snapshot.active.values()
            if _has_tasks(active, snapshot)
            for task in self._tasks_of(active)
        )

    def run(self, name: str) -> Outcome[Any]:
        """Run one task now, in the caller, and return what came of it.

        ``name`` is the full name. A function of a module is imported and called, a method is
        called on the plugin, both without arguments. What is raised, the import included, is a
        failure record of stage ``call``, which names the task, and in the outcome. Nothing is
        counted: ``repeats`` and who else runs it are the scheduler's business.

        Raises PluginNotFoundError, PluginNotActiveError, TaskNotFoundError for a task that the
        plugin does not have now, or a name that is none; RegistryNotReady.
        """
        active, task = self._find(name)
        started = perf_counter()
        with Guard() as guard:
            value = _function(active, task)()
            if type(value) is CoroutineType:
                refuse(value)
            return Outcome(active.slug, value, seconds=perf_counter() - started)
        assert guard.error is not None
        seconds = perf_counter() - started
        failure = self._record(active.slug, f"task {task.name!r}", guard.error)
        return Outcome(active.slug, error=guard.error, failure=failure, seconds=seconds)

    def record(self, task: PluginTask, error: BaseException) -> PluginFailure:
        """Keep a failure record of stage ``call`` of a task that a scheduler could not take."""
        return self._record(task.slug, f"task {task.task.name!r}", error)

    # -- the parts ---------------------------------------------------------------------------

    def _find(self, name: str) -> tuple[ActivePlugin, ScheduledTask]:
        snapshot = self._current()
        slug, _, task_name = name.removeprefix(PLUGINS).partition(".")
        if not name.startswith(PLUGINS) or not task_name:
            raise TaskNotFoundError(name)
        known = snapshot.plugins.get(slug)
        if known is None:
            raise PluginNotFoundError(slug, near(slug, snapshot.plugins))
        active = snapshot.active.get(slug)
        if active is None:
            raise PluginNotActiveError(slug, known.state)
        tasks = self._tasks_of(active) if _has_tasks(active, snapshot) else ()
        found = {each.name: each for each in tasks}
        if task_name not in found:
            raise TaskNotFoundError(name, near(task_name, found))
        return active, found[task_name]

    def _tasks_of(self, active: ActivePlugin) -> tuple[ScheduledTask, ...]:
        with Guard() as guard:
            tasks, faults = parse_tasks(active.plugin)
            for fault in faults:
                self._ledger.record(
                    PluginFailure(
                        stage=Stage.CALL, slug=active.slug, subject="scheduled tasks", message=fault
                    )
                )
            return tasks
        self._record(active.slug, "scheduled tasks", guard.error)
        return ()

    def _record(self, slug: str, subject: str, error: BaseException | None) -> PluginFailure:
        assert error is not None
        return self._ledger.record(
            PluginFailure.of(Stage.CALL, slug, error, subject=subject, what=subject)
        )


def _has_tasks(active: ActivePlugin, snapshot: Snapshot) -> bool:
    # Where the host has switched schedules off, there is no such key.
    return _MIXIN in snapshot.by_mixin and _MIXIN in active.enabled


def _function(active: ActivePlugin, task: ScheduledTask) -> Callable[[], object]:
    if task.is_method:
        function: object = getattr(active.plugin, task.func)
    else:
        module, _, name = task.func.rpartition(".")
        function = getattr(import_module(module), name)
    if not callable(function):
        raise TypeError(f"{task.func!r} must be a function, not {safe_repr(function)}")
    return function
