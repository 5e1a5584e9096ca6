"""A bridge to APScheduler 3, with the extra ``plugreg[schedule]``: tasks of plugins as its jobs.

The host's scheduler fires the jobs, ``registry.schedules`` runs the tasks, and a lease in the
storage ensures that only a single process runs each.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final

from plugreg._state.leases import PlannedTime
from plugreg._support.guard import Guard
from plugreg.exceptions import MissingExtraError, RegistryNotReady
from plugreg.mixins._cron import next_moment
from plugreg.mixins.schedule import ScheduledTask
from plugreg.registry import PluginRegistry
from plugreg.schedules import PluginTask

try:
    from apscheduler.executors.pool import (  # type: ignore[import-untyped]
        ThreadPoolExecutor,
    )
    from apscheduler.jobstores.base import JobLookupError  # type: ignore[import-untyped]
    from apscheduler.jobstores.memory import MemoryJobStore  # type: ignore[import-untyped]
    from apscheduler.schedulers.base import BaseScheduler  # type: ignore[import-untyped]
    from apscheduler.triggers.base import BaseTrigger  # type: ignore[import-untyped]
    from apscheduler.triggers.interval import IntervalTrigger  # type: ignore[import-untyped]
except ImportError as error:
    raise MissingExtraError.of(error, __name__, "apscheduler", "schedule") from error

ALIAS: Final = "plugreg"
"""The name of the bridge's own job store and executor in the scheduler."""

_FOLLOW: Final = "plugreg.follow"
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)


class ScheduleBridge:
    """Keeps the jobs of a scheduler equal to the tasks of the active plugins.

    :meth:`sync` makes the jobs, named ``plugin.<slug>.<task>``, and one more that follows switched
    plugins, of this process and of others. The host starts the scheduler and shuts it down. A
    scheduler can have one bridge, which adds a job store in memory and an executor of threads,
    both named ``plugreg``.

    Before a task runs, the state of its plugin is read again: no task of a deactivated plugin
    begins. Moments are the same in each process. Intervals count from the year 2000; calendars
    follow the scheduler's time zone, which must be the same in all processes. If the clocks skip
    a moment, the task is due right after. If they show a moment twice, the task is due the first
    time; a task of every hour is due both times.

    One process runs the task, under a lease that is renewed meanwhile (``registry.shared.once``).
    A failed task is done, and its failure is recorded. If the process dies, the task runs at its
    next moment. A machine whose clock is ahead of the storage's by more than a lease runs no task,
    and logs it. A task that is still running skips its next moment, in all processes. A moment
    without any running scheduler is skipped; a late scheduler runs a missed task once.

    ``repeats`` counts over all processes and restarts, as long as the storage lives; a
    MemoryStorage lives as long as its process. A task with a new name is counted from zero.

    Args:
        registry: The registry.
        scheduler: Any scheduler of APScheduler 3, started or not.
        every: Seconds between two looks for switched plugins.
        lease: Seconds of the lease under which a task runs.

    Raises:
        ValueError: If the scheduler has a bridge already.
    """

    def __init__(
        self,
        registry: PluginRegistry,
        scheduler: BaseScheduler,
        *,
        every: float = 5.0,
        lease: float = 60.0,
    ) -> None:
        self._registry = registry
        self._scheduler = scheduler
        self._every = every
        self._lease = lease
        self._syncing = threading.Lock()
        self._is_closed = False
        scheduler.add_jobstore(MemoryJobStore(), ALIAS)
        scheduler.add_executor(_Executor(), ALIAS)

    def sync(self) -> None:
        """Make the jobs equal to the tasks of the active plugins.

        A job whose task has not changed stays. If no job can be made of a task, the plugin has a
        failure record, and the next call retries. After :meth:`close` nothing is done.

        Raises:
            RegistryNotReady: Before load, and after the registry's close.
        """
        wanted = {task.name: task for task in self._registry.schedules.tasks()}
        with self._syncing:
            if self._is_closed:
                return
            there = {job.id: job for job in self._scheduler.get_jobs(jobstore=ALIAS)}
            for name, job in there.items():
                if name != _FOLLOW and job.args != (wanted.get(name),):
                    with suppress(JobLookupError):
                        job.remove()
                else:
                    wanted.pop(name, None)
            # First, because it retries the others.
            if _FOLLOW not in there:
                every = IntervalTrigger(seconds=self._every, timezone=UTC)
                self._add(self._follow, every, _FOLLOW)
            for name, task in wanted.items():
                with Guard() as guard:
                    trigger = _trigger(task.task, self._scheduler.timezone)
                    self._add(self._run, trigger, name, task)
                if guard.error is not None:
                    self._registry.schedules.record(task, guard.error)

    def close(self) -> None:
        """Remove all jobs of the bridge for good. Running jobs end by themselves."""
        with self._syncing:
            self._is_closed = True
            self._scheduler.remove_all_jobs(jobstore=ALIAS)

    def _add(self, function: Any, trigger: Any, name: str, *args: PluginTask) -> None:
        self._scheduler.add_job(
            function,
            trigger,
            args=args,
            kwargs={"planned": None},
            id=name,
            name=name,
            jobstore=ALIAS,
            executor=ALIAS,
            # A late or missed job runs once.
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1,
        )

    def _follow(self, planned: datetime) -> None:  # noqa: ARG002 - as all jobs are called.
        self._registry.shared.keep_up()
        try:
            self.sync()
        except RegistryNotReady:
            self.close()

    def _run(self, task: PluginTask, planned: datetime) -> None:
        """Run a task if its plugin is still active, and no other process runs it.

        If the storage fails, StorageError is raised, which the scheduler logs.
        """
        try:
            self._registry.refresh()
            if task not in self._registry.schedules.tasks():
                return
        except RegistryNotReady:
            return
        repeats = task.task.repeats
        once = self._registry.shared.once(
            task.name,
            self._lease,
            turn=PlannedTime(planned.timestamp()),
            most=None if repeats < 0 else repeats,
        )
        with once as mine:
            if mine:
                self._registry.schedules.run(task.name)


class _Executor(ThreadPoolExecutor):  # type: ignore[misc]  # APScheduler has no types.
    """Passes each job the moment for which it runs, which the scheduler does not."""

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        job.kwargs = {"planned": run_times[-1]}
        super()._do_submit_job(job, run_times)


class _CalendarTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types.
    """Fires when a cron expression is due; APScheduler's own trigger fails when clocks change.

    That one adds intervals to local times, so that it leaves out days and runs some times twice.
    Moments are in UTC, because Python and the scheduler compare two moments of one zone by their
    local times.
    """

    def __init__(self, cron: str, timezone: tzinfo) -> None:
        self._cron = cron
        self._timezone = timezone

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        """Return the moment after the previous moment, or after now if that is in the future.

        Args:
            previous_fire_time: The previous moment, None before the first.
            now: The current time.
        """
        start = now.astimezone(UTC)
        if previous_fire_time is not None and previous_fire_time.astimezone(UTC) <= start:
            start = previous_fire_time.astimezone(UTC) + timedelta(microseconds=1)
        return next_moment(self._cron, self._timezone, start)


def _trigger(task: ScheduledTask, timezone: Any) -> Any:
    if task.calendar is None:
        return IntervalTrigger(minutes=task.minutes, start_date=_EPOCH, timezone=UTC)
    return _CalendarTrigger(task.calendar, timezone)
