"""A bridge to APScheduler 3, with the extra ``plugreg[schedule]``: tasks of plugins as its jobs.

The host's scheduler says when, ``registry.schedules`` runs a task, and the leases in the storage
see to it that of several processes one does it (behaviour.md, section 11.1).
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
    raise MissingExtraError.of(
        error, "plugreg.adapters.apscheduler", "apscheduler", "schedule"
    ) from error

ALIAS: Final = "plugreg"
"""The name of the bridge's own job store and executor in the scheduler."""

_FOLLOW: Final = "plugreg.follow"
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)


class ScheduleBridge:
    """Keeps the jobs of a scheduler the same as the tasks of the active plugins.

    ``scheduler`` is any scheduler of APScheduler 3, started or not; the host starts it and shuts
    it down. It can have one bridge, which brings a job store in memory and an executor of threads,
    both named ``plugreg``. :meth:`sync` makes the jobs, named ``plugin.<slug>.<task>``, and one
    more that looks every so many seconds (``every``) at what was switched on and off since, here
    or in another process. Nothing else is needed to follow.

    Before a task runs, its plugin is looked at once more, as all processes know it: of one that
    was switched off none begins. In each process the same moments are due: every so many minutes
    counts from the year 2000, and the rest goes by the calendar, in the scheduler's time zone,
    which all processes must agree on. Where its clocks are put forward, what is due at a time that
    they leave out is due as soon as they go on; where they are put back, what is due at a time
    that they show twice is due the first time, and both times if it is due in every hour.

    One of the processes does the task, with a lease of ``lease`` seconds that is renewed meanwhile
    (``registry.shared.once``). A task that has failed was done, and its failure is
    recorded; one whose process died comes at its next moment again. A machine whose clock is ahead
    of the storage's by more than a lease does none, and logs it. What is still running at its next
    moment leaves that out, in all processes. A moment at which no process runs the scheduler is
    not made up for, one for which a scheduler was late is, once.

    ``repeats`` counts over all processes and over restarts, as long as the storage remembers: with
    a MemoryStorage, as long as the process lives. A task of another name begins anew.
    """

    def __init__(
        self,
        registry: PluginRegistry,
        scheduler: BaseScheduler,
        *,
        every: float = 5.0,
        lease: float = 60.0,
    ) -> None:
        """Bring in job store and executor. Raises ValueError for a scheduler that has a bridge."""
        self._registry = registry
        self._scheduler = scheduler
        self._every = every
        self._lease = lease
        self._syncing = threading.Lock()
        self._is_closed = False
        scheduler.add_jobstore(MemoryJobStore(), ALIAS)
        scheduler.add_executor(_Executor(), ALIAS)

    def sync(self) -> None:
        """Add, exchange and remove jobs, so that they are the tasks of the active plugins now.

        A job whose task has not changed stays as it is. A task of which no job can be made is a
        failure record of its plugin, and tried again the next time. After :meth:`close` nothing is
        done. Raises RegistryNotReady before load and after the registry's close.
        """
        wanted = {each.name: each for each in self._registry.schedules.tasks()}
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
            # First, as it makes good what may go wrong with the others.
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
        """Remove all jobs of the bridge, for good; those that run end by themselves."""
        with self._syncing:
            self._is_closed = True
            self._scheduler.remove_all_jobs(jobstore=ALIAS)

    # -- the parts ---------------------------------------------------------------------------

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
            # However late it is, and however often it was missed: once.
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
        """Run a task if it is still wanted, and no other process does it.

        Where the storage cannot tell, it raises StorageError, which the scheduler logs.
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
    """Tells each job the moment for which it runs, which the scheduler keeps to itself."""

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
        """Return the moment after the previous one, or if that is still to come, after now."""
        start = now.astimezone(UTC)
        if previous_fire_time is not None and previous_fire_time.astimezone(UTC) <= start:
            start = previous_fire_time.astimezone(UTC) + timedelta(microseconds=1)
        return next_moment(self._cron, self._timezone, start)


def _trigger(task: ScheduledTask, timezone: Any) -> Any:
    if task.calendar is None:
        return IntervalTrigger(minutes=task.minutes, start_date=_EPOCH, timezone=UTC)
    return _CalendarTrigger(task.calendar, timezone)
