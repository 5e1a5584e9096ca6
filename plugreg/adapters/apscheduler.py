"""A bridge to APScheduler 3, with the extra ``plugreg[schedule]``: tasks of plugins as its jobs.

The host's scheduler says when, ``registry.schedules`` runs a task, and the leases in the storage
see to it that of several processes one does it (behaviour.md, section 11.1).
"""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from plugreg.exceptions import MissingExtraError, RegistryNotReady
from plugreg.mixins._cron import WEEKDAYS, parse_cron
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
    from apscheduler.triggers.combining import OrTrigger  # type: ignore[import-untyped]
    from apscheduler.triggers.cron import CronTrigger  # type: ignore[import-untyped]
    from apscheduler.triggers.interval import IntervalTrigger  # type: ignore[import-untyped]
except ModuleNotFoundError as error:
    raise MissingExtraError("plugreg.adapters.apscheduler", "apscheduler", "schedule") from error

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
    which all processes must agree on. One of them does the task, with a lease of ``lease`` seconds
    that is renewed meanwhile (:meth:`plugreg.shared.Shared.once`). A task that has failed was
    done, and its failure is recorded; one whose process died comes at its next moment again. What
    is still running at its next moment leaves that out, in all processes. A moment at which no
    process runs the scheduler is not made up for, one for which a scheduler was late is, once.

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

        A job whose task has not changed stays as it is. After :meth:`close` nothing is done. Raises
        RegistryNotReady before load and after the registry's close.
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
            for name, task in wanted.items():
                trigger = _trigger(task.task, self._scheduler.timezone)
                self._add(self._run, trigger, name, task)
            if _FOLLOW not in there:
                every = IntervalTrigger(seconds=self._every, timezone=self._scheduler.timezone)
                self._add(self._follow, every, _FOLLOW)

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
            turn=planned.timestamp(),
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


def _trigger(task: ScheduledTask, timezone: Any) -> Any:
    if task.calendar is None:
        return IntervalTrigger(minutes=task.minutes, start_date=_EPOCH, timezone=timezone)
    cron = parse_cron(task.calendar)
    times = {"minute": _listed(cron.minutes), "hour": _listed(cron.hours), "second": "0"}
    times["month"] = _listed(cron.months)
    days = _listed(cron.days)
    # APScheduler's own numbers begin with Monday.
    weekdays = ",".join(WEEKDAYS[each] for each in cron.weekdays)
    if not cron.either_day:
        return CronTrigger(day=days, day_of_week=weekdays, timezone=timezone, **times)
    return OrTrigger(
        [
            CronTrigger(day=days, timezone=timezone, **times),
            CronTrigger(day_of_week=weekdays, timezone=timezone, **times),
        ]
    )


def _listed(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))
