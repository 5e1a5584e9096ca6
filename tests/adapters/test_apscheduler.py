"""The bridge to APScheduler: which jobs there are, when they run, and that one process does it."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from hypothesis import given
from hypothesis import strategies as st

from plugreg import (
    MissingExtraError,
    Plugin,
    PluginRegistry,
    Stage,
    StorageUnavailableError,
    hookimpl,
)
from plugreg.adapters.apscheduler import ScheduleBridge, _CalendarTrigger
from plugreg.mixins import ScheduleMixin
from plugreg.mixins._cron import parse_cron
from plugreg.storage import MemoryStorage

LONG = 30.0
"""Seconds after which a test gives up; what it waits for takes far less."""

NEVER = 1e6
"""An interval that does not come to its end within a test, so that the test says when."""


class Busy(ScheduleMixin, Plugin):
    """Keeps in ``done`` which of its tasks have run."""

    SCHEDULED_TASKS = {
        "tick": {"func": "tick", "schedule": "Y"},
        "fails": {"func": "fails", "schedule": "Y"},
        "twice": {"func": "twice", "schedule": "Y", "repeats": 2},
        "never": {"func": "twice", "schedule": "Y", "repeats": 0},
    }

    def __init__(self):
        self.done = []

    def tick(self):
        self.done.append("tick")

    def twice(self):
        self.done.append("twice")

    def fails(self):
        self.done.append("fails")
        raise OSError("no")


class Other(ScheduleMixin, Plugin):
    given = {"only": {"func": "only", "schedule": "D"}}

    def get_scheduled_tasks(self):
        return self.given

    def only(self):
        """Do nothing."""


class House:
    """A registry, a scheduler and the bridge between them, each real."""

    def __init__(self, storage=None, timezone="UTC", *, start=True, **options):
        self.storage = storage or MemoryStorage()
        self.registry = PluginRegistry(
            "shop",
            group="no.such",
            storage=self.storage,
            builtin=[("busy", Busy), ("other", Other)],
            new_plugins="active",
            **options,
        )
        self.registry.load()
        self.scheduler = BackgroundScheduler(timezone=timezone)
        self.bridge = ScheduleBridge(self.registry, self.scheduler, every=NEVER)
        self.bridge.sync()
        if start:
            self.scheduler.start()

    @property
    def jobs(self):
        return {job.id for job in self.scheduler.get_jobs()} - {"plugreg.follow"}

    @property
    def done(self):
        return self.registry.get("busy").plugin.done

    def job(self, name):
        found = {job.id: job for job in self.scheduler.get_jobs()}
        return found[name]

    def run(self, name, planned=None):
        """Have the scheduler run a job, planned for that moment or now; return its exception."""
        ended, events = threading.Event(), []

        def listener(event):
            if event.job_id == name:
                events.append(event)
                ended.set()

        self.scheduler.add_listener(listener, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
        self.job(name).modify(next_run_time=planned or datetime.now(UTC))
        assert ended.wait(LONG)
        self.scheduler.remove_listener(listener)
        return events[0].exception

    def follow(self):
        """Have the bridge look at switched plugins."""
        assert self.run("plugreg.follow") is None

    def close(self):
        self.registry.close()
        if self.scheduler.running:
            self.scheduler.shutdown()


@pytest.fixture
def make():
    made = []

    def make(*args, **options):
        made.append(House(*args, **options))
        return made[-1]

    yield make
    for item in made:
        item.close()


BUSY = {f"plugin.busy.{item}" for item in ("tick", "fails", "twice", "never")}
OTHER = {"plugin.other.only"}
PAST = datetime(2026, 1, 1, tzinfo=UTC)


class TestJobs:
    @pytest.mark.parametrize("start", [True, False])
    def test_each_task_is_a_job(self, make, start):
        """Whether the scheduler runs already or not; to sync again changes none of them."""
        house = make(start=start)
        assert house.jobs == BUSY | OTHER
        before = {job.id: job for job in house.scheduler.get_jobs()}
        house.bridge.sync()
        after = {job.id: job for job in house.scheduler.get_jobs()}
        assert before.keys() == after.keys()
        assert all(after[name] is job for name, job in before.items())

    @pytest.mark.parametrize("start", [True, False])
    def test_jobs_come_and_go_with_their_plugins(self, make, start):
        """Jobs of the host's own stay."""
        house = make(start=start)
        house.scheduler.add_job(print, "interval", weeks=9, id="plugin.of.host")
        house.registry.deactivate("busy")
        house.bridge.sync()
        assert house.jobs == OTHER | {"plugin.of.host"}
        house.registry.activate("busy")
        house.bridge.sync()
        assert house.jobs == BUSY | OTHER | {"plugin.of.host"}

    def test_it_follows_what_is_switched_here(self, make):
        """Its own job makes the others."""
        house = make()
        house.registry.deactivate("other")
        house.follow()
        assert house.jobs == BUSY
        house.registry.activate("other")
        house.follow()
        assert house.jobs == BUSY | OTHER

    def test_it_follows_what_is_switched_in_another_process(self, make):
        """The reload is done beside its look at the store; the next look makes the jobs."""
        reloaded = threading.Event()

        class Counted(Plugin):
            @hookimpl
            def plugreg_plugins_loaded(self, report):
                reloaded.set()

        house = make()
        there = make(house.storage)
        house.registry.register(Counted())
        there.registry.deactivate("busy")
        house.follow()
        assert reloaded.wait(LONG)
        house.follow()
        assert house.jobs == OTHER

    def test_a_task_that_has_changed_is_another_job(self, make):
        """The others are not touched."""
        house = make()
        tick = house.job("plugin.busy.tick")
        other = house.registry.get("other").plugin
        other.given = {"only": {"func": "only", "schedule": "H"}}
        house.follow()
        assert house.jobs == BUSY | OTHER
        now = datetime(2026, 5, 5, 5, 5, tzinfo=UTC)
        trigger = house.job("plugin.other.only").trigger
        assert trigger.get_next_fire_time(None, now) == datetime(2026, 5, 5, 6, tzinfo=UTC)
        assert house.job("plugin.busy.tick") is tick

    def test_a_closed_registry_leaves_no_jobs(self, make):
        """The scheduler may go on with the host's."""
        house = make()
        house.registry.close()
        house.follow()
        assert house.scheduler.get_jobs() == []

    def test_a_closed_bridge_makes_no_jobs(self, make):
        """Also where it is asked once more."""
        house = make()
        house.bridge.close()
        house.bridge.sync()
        assert house.scheduler.get_jobs() == []

    def test_a_scheduler_has_one_bridge(self, make):
        """A second one would fight with the first over the jobs."""
        house = make()
        with pytest.raises(ValueError, match="plugreg"):
            ScheduleBridge(house.registry, house.scheduler)

    def test_a_task_of_which_no_job_can_be_made_costs_itself(self, make, monkeypatch):
        """It is a record that names the task, the others have their jobs, and it follows."""
        house = make()
        house.bridge.close()
        added = BackgroundScheduler.add_job

        def add_job(self, *args, **options):
            if options["id"] == "plugin.busy.tick":
                raise OverflowError("too large")
            return added(self, *args, **options)

        monkeypatch.setattr(BackgroundScheduler, "add_job", add_job)
        scheduler = BackgroundScheduler(timezone="UTC")
        ScheduleBridge(house.registry, scheduler, every=NEVER).sync()
        jobs = {job.id for job in scheduler.get_jobs()}
        assert jobs == BUSY - {"plugin.busy.tick"} | OTHER | {"plugreg.follow"}
        (failure,) = house.registry.errors
        assert (failure.stage, failure.slug) == (Stage.CALL, "busy")
        assert failure.message == "task 'tick': OverflowError: too large"


def at(*numbers, zone=UTC):
    return datetime(*numbers, tzinfo=zone)


class TestTimes:
    @pytest.mark.parametrize(
        ("task", "expected"),
        [
            ({"schedule": "H"}, at(2026, 5, 6, 8)),
            ({"schedule": "D"}, at(2026, 5, 7)),
            ({"schedule": "W"}, at(2026, 5, 11)),
            ({"schedule": "M"}, at(2026, 6, 1)),
            ({"schedule": "Q"}, at(2026, 7, 1)),
            ({"schedule": "Y"}, at(2027, 1, 1)),
            ({"schedule": "I", "minutes": 15}, at(2026, 5, 6, 7, 15)),
            ({"schedule": "I", "minutes": 1}, at(2026, 5, 6, 7, 9)),
            ({"cron": "30 6 * * *"}, at(2026, 5, 7, 6, 30)),
            ({"cron": "0 0 * * 0"}, at(2026, 5, 10)),
            ({"cron": "0 0 * * 1"}, at(2026, 5, 11)),
            ({"cron": "0 0 13 * fri"}, at(2026, 5, 8)),
            ({"cron": "0 0 13 * *"}, at(2026, 5, 13)),
            ({"cron": "0 0 29 2 *"}, at(2028, 2, 29)),
        ],
    )
    def test_when_a_task_is_due_after_a_wednesday_morning(self, make, task, expected):
        """The same in each process, since nothing depends on when it was started."""
        house = make()
        house.registry.get("other").plugin.given = {"only": {"func": "only", **task}}
        house.bridge.sync()
        trigger = house.job("plugin.other.only").trigger
        assert trigger.get_next_fire_time(None, at(2026, 5, 6, 7, 8, 30)) == expected

    def test_the_calendar_is_that_of_the_schedulers_time_zone(self, make):
        """Midnight is the host's, with its summer time."""
        zone = ZoneInfo("Europe/Berlin")
        house = make(timezone=zone)
        trigger = house.job("plugin.other.only").trigger
        for day in (at(2026, 1, 5, zone=zone), at(2026, 7, 5, zone=zone)):
            assert trigger.get_next_fire_time(None, day - timedelta(hours=3)) == day

    @given(
        text=st.tuples(
            st.sampled_from(["*", "*/7", "3,33", "59"]),
            st.sampled_from(["*", "*/5", "0", "22-23"]),
            st.sampled_from(["*", "*/9", "1", "31", "13,14"]),
            st.sampled_from(["*", "2", "jan,jul"]),
            st.sampled_from(["*", "*/3", "0", "7", "mon-fri", "sat"]),
        ).map(" ".join),
        now=st.integers(0, 365 * 24 * 3600).map(lambda seconds: PAST + timedelta(seconds=seconds)),
    )
    def test_cron_is_due_at_the_next_minute_that_all_fields_suit(self, text, now):
        """The fields as numbers, and a walk from minute to minute, say the same as the job."""
        try:
            cron = parse_cron(text)
        except ValueError:
            return  # A day that never comes.
        found = _trigger_of(text).get_next_fire_time(None, now)
        minute = now.replace(second=0)
        minute += timedelta(minutes=minute < now)
        while not _suits(cron, minute):
            on_this_hour = minute.hour in cron.hours and _suits_day(cron, minute)
            skipped = timedelta(minutes=1 if on_this_hour else 60 - minute.minute)
            minute += skipped
        assert found == minute


ZONES = {
    "Europe/Berlin": 2026,
    "America/New_York": 2026,
    "Australia/Lord_Howe": 2026,  # Half an hour.
    "America/Havana": 2026,  # Back to midnight, and forward from it.
    "Asia/Beirut": 2026,  # At midnight.
    "America/Santiago": 2026,
    "Antarctica/Troll": 2026,  # Two hours.
    "Pacific/Apia": 2011,  # Without a thirtieth of December.
}
"""Time zones, and a year in which their clocks are put forward and back."""


class TestChangesOfClocks:
    @pytest.mark.parametrize("zone", ZONES)
    @pytest.mark.parametrize(
        "text",
        [
            *("0 0 * * *", "0 * * * *", "*/20 * * * *", "30 2 * * *", "15,45 0-3,23 * * *"),
            *("0 0 30 * *", "59 23 * * *", "0 0 * * mon", "30 1-2 * 3-4,10-11 sun"),
        ],
    )
    def test_each_time_around_a_change_is_due_once(self, zone, text):
        """As a walk from minute to minute finds them, which looks at a clock on the wall."""
        cron, zone, year = parse_cron(text), ZoneInfo(zone), ZONES[zone]
        changes = _changes(zone, year)
        assert len(changes) >= 2
        trigger = _CalendarTrigger(text, zone)
        for change in changes:
            first, end = change - timedelta(days=2), change + timedelta(days=3)
            found, due = [], trigger.get_next_fire_time(None, first)
            while due < end:
                found.append(due.astimezone(UTC))
                due = trigger.get_next_fire_time(due, due)
            assert found == _walked(cron, zone, first, end)

    def test_midnight_of_each_day_is_due_at_the_start_of_summer_time(self, make):
        """No day is left out, however late the scheduler looks."""
        zone = ZoneInfo("Europe/Berlin")
        trigger = make(timezone=zone).job("plugin.other.only").trigger
        days = [at(2026, 3, day, zone=zone) for day in (28, 29, 30, 31)]
        for late in (timedelta(), timedelta(hours=1), timedelta(days=9)):
            for day, following in pairwise(days):
                assert trigger.get_next_fire_time(day, day + late) == following

    @pytest.mark.parametrize("task", [{"schedule": "I", "minutes": 15}, {"cron": "*/15 * * * *"}])
    def test_no_moment_of_an_hour_that_clocks_show_twice_is_early(self, make, task):
        """The scheduler compares them with its own time, of the first of the two hours."""
        zone = ZoneInfo("Europe/Berlin")
        house = make(timezone=zone)
        house.registry.get("other").plugin.given = {"only": {"func": "only", **task}}
        house.bridge.sync()
        trigger = house.job("plugin.other.only").trigger
        now = at(2026, 10, 25, 2, 50, zone=zone)
        due = trigger.get_next_fire_time(at(2026, 10, 25, 2, 45, zone=zone), now)
        assert due.astimezone(UTC) == at(2026, 10, 25, 1)
        assert due > now

    def test_a_clock_that_was_ahead_and_is_set_is_followed(self):
        """A run that is due by the wrong time does not delay one that is due by the right time."""
        trigger = _CalendarTrigger("0 0 * * *", UTC)
        assert trigger.get_next_fire_time(at(2036, 1, 1), at(2026, 1, 1, 5)) == at(2026, 1, 2)


def _changes(zone, year):
    """Return the days of a year, in UTC, at whose end clocks go other than at their beginning."""
    days = [at(year, 1, 1) + timedelta(days=number) for number in range(365)]
    offsets = [item.astimezone(zone).utcoffset() for item in days]
    return [day for day, (old, new) in zip(days, pairwise(offsets), strict=False) if old != new]


def _walked(cron, zone, first, end):
    """Return the runs due from ``first`` to before ``end``, which are in UTC, minute by minute.

    It goes by a clock on the wall: once, or whenever it shows the time if cron has each hour;
    and when it leaps, by the times that it leaves out.
    """
    due, seen = [], set()
    moment, minute = first, timedelta(minutes=1)
    before = (first - minute).astimezone(zone).replace(tzinfo=None)
    while moment < end:
        shown = moment.astimezone(zone).replace(tzinfo=None)
        left_out = before + minute
        is_due = _suits(cron, shown) and (len(cron.hours) == 24 or shown not in seen)
        while left_out < shown and not is_due:
            is_due = _suits(cron, left_out)
            left_out += minute
        if is_due:
            due.append(moment)
            seen.add(shown)
        before, moment = shown, moment + minute
    return due


def _suits(cron, minute):
    is_time = minute.minute in cron.minutes and minute.hour in cron.hours
    return is_time and _suits_day(cron, minute)


def _suits_day(cron, minute):
    number = minute.isoweekday()
    day = minute.day in cron.days
    weekday = bool({number, number % 7} & cron.weekdays)
    suits = (day and weekday) if cron.day_and else (day or weekday)
    return suits and minute.month in cron.months


def _trigger_of(cron):
    """Return the trigger that the bridge makes for a cron expression."""
    given = {"only": {"func": "only", "cron": cron}}
    plugin = type("One", (Other,), {"given": given, "NAME": "one"})
    with PluginRegistry("shop", group="no.such", builtin=[plugin], mandatory=["one"]) as registry:
        registry.load()
        scheduler = BackgroundScheduler(timezone="UTC")
        ScheduleBridge(registry, scheduler).sync()
        return {job.id: job for job in scheduler.get_jobs()}["plugin.one.only"].trigger


class TestRunning:
    def test_a_job_runs_its_task(self, make):
        """In a thread of the scheduler's."""
        house = make()
        assert house.run("plugin.busy.tick") is None
        assert house.done == ["tick"]

    def test_a_scheduler_in_an_event_loop_has_threads_for_tasks(self):
        """Tasks are plain functions, which would stop the loop; jobs are made from there, too."""
        threads = []

        class Waiting(Other):
            def only(self):
                threads.append(threading.get_ident())

        async def main(registry):
            ended = {name: asyncio.Event() for name in ("plugin.waiting.only", "plugreg.follow")}
            loop = asyncio.get_running_loop()
            scheduler = AsyncIOScheduler(timezone="UTC")
            scheduler.add_listener(
                lambda event: loop.call_soon_threadsafe(ended[event.job_id].set),
                EVENT_JOB_EXECUTED,
            )
            ScheduleBridge(registry, scheduler, every=NEVER).sync()
            scheduler.start()
            registry.activate("waiting")
            for name in reversed(ended):
                scheduler.get_job(name).modify(next_run_time=datetime.now(UTC))
                await asyncio.wait_for(ended[name].wait(), LONG)
            scheduler.shutdown()

        with PluginRegistry("shop", group="no.such", builtin=[Waiting]) as registry:
            registry.load()
            asyncio.run(main(registry))
        assert threads
        assert threading.get_ident() not in threads

    def test_a_task_that_fails_is_the_plugins_fault(self, make):
        """It is recorded, the scheduler has no error, and it is not done again for that moment."""
        house = make()
        for planned in (PAST, PAST, PAST + timedelta(minutes=1)):
            assert house.run("plugin.busy.fails", planned) is None
        assert house.done == ["fails", "fails"]
        (failure,) = house.registry.errors
        assert (failure.slug, failure.message, failure.count) == (
            "busy",
            "task 'fails': OSError: no",
            2,
        )

    def test_a_job_of_a_plugin_that_was_switched_off_does_nothing(self, make):
        """Though its job is still there."""
        house = make()
        done = house.done
        house.registry.deactivate("busy")
        assert house.run("plugin.busy.tick") is None
        assert done == []

    def test_a_job_of_a_plugin_that_another_process_has_switched_off_does_nothing(self, make):
        """Rows that were stored there are read before each run."""
        house = make()
        there = make(house.storage)
        done = house.done
        there.registry.deactivate("busy")
        assert house.run("plugin.busy.tick") is None
        assert done == []
        assert not house.registry.get("busy").active

    def test_a_job_after_the_close_does_nothing(self, make):
        """It is no error."""
        house = make()
        done = house.done
        house.registry.close()
        assert house.run("plugin.busy.tick") is None
        assert done == []

    def test_a_task_ends_after_its_repeats(self, make):
        """They are counted over all processes and restarts of those that share a store."""
        storage = MemoryStorage()
        first, second, third = make(storage), make(storage), make(storage)
        for number, item in enumerate([first, second, third, first]):
            assert item.run("plugin.busy.twice", PAST + timedelta(minutes=number)) is None
        assert first.done + second.done + third.done == ["twice", "twice"]
        assert first.run("plugin.busy.never", PAST) is None
        assert len(first.done) == 1

    def test_one_of_several_does_it_once_for_each_moment(self, make):
        """Whoever comes second for a moment, or later for an earlier one, has nothing to do."""
        storage = MemoryStorage()
        here, there = make(storage), make(storage)
        for minute, house in [(1, here), (1, there), (2, there), (2, here), (1, here), (3, here)]:
            assert house.run("plugin.busy.tick", PAST + timedelta(minutes=minute)) is None
        assert (here.done, there.done) == (["tick"] * 2, ["tick"])
        assert list(storage.read("leases")) == ["plugin.busy.tick"]

    def test_a_machine_whose_clock_is_ahead_does_not_stop_the_others(self, make, caplog):
        """Nothing that is due by its time is done, so that it is done when it is due."""
        storage = MemoryStorage()
        here, there = make(storage), make(storage)
        ahead = datetime.now(UTC) + timedelta(days=3650)
        here.bridge._run(here.job("plugin.busy.tick").args[0], ahead)
        assert here.done == []
        assert "'plugin.busy.tick' is not done: it was planned for" in caplog.text
        assert there.run("plugin.busy.tick") is None
        assert there.done == ["tick"]

    def test_a_store_that_is_away_keeps_a_task_from_being_done_twice(self, make):
        """Who cannot ask does nothing, and the scheduler has the error."""

        class Away(MemoryStorage):
            away = False

            def transaction(self):
                if self.away:
                    raise StorageUnavailableError("here", "it is away")
                return super().transaction()

        storage = Away()
        house = make(storage)
        storage.away = True
        assert isinstance(house.run("plugin.busy.tick", PAST), StorageUnavailableError)
        assert house.done == []
        storage.away = False
        assert house.run("plugin.busy.tick", PAST) is None
        assert house.done == ["tick"]


def test_without_apscheduler_it_says_what_to_install(monkeypatch):
    """The error names the extra."""
    monkeypatch.delitem(sys.modules, "plugreg.adapters.apscheduler")
    monkeypatch.setitem(sys.modules, "apscheduler.executors.pool", None)
    with pytest.raises(MissingExtraError, match=r"plugreg\[schedule\]"):
        importlib.import_module("plugreg.adapters.apscheduler")


PROCESS = """
import sys, threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from apscheduler.events import EVENT_JOB_EXECUTED
from apscheduler.schedulers.background import BackgroundScheduler
from plugreg import Plugin, PluginRegistry
from plugreg.adapters.apscheduler import ScheduleBridge
from plugreg.mixins import ScheduleMixin
from plugreg.storage import open_storage

url, log, moments = sys.argv[1], sys.argv[2], int(sys.argv[3])


class Busy(ScheduleMixin, Plugin):
    NAME = "busy"
    SCHEDULED_TASKS = {"tick": {"func": "tick", "schedule": "Y"}}

    def tick(self):
        with open(log, "a") as file:
            file.write("tick\\n")


storage = open_storage(url)
with PluginRegistry(
    "shop", group="no.such", storage=storage, builtin=[Busy], mandatory=["busy"]
) as registry:
    registry.load()
    scheduler = BackgroundScheduler(timezone="UTC")
    ScheduleBridge(registry, scheduler).sync()
    scheduler.start()
    ended = threading.Semaphore(0)
    scheduler.add_listener(
        lambda event: event.job_id == "plugin.busy.tick" and ended.release(), EVENT_JOB_EXECUTED
    )
    print("ready", flush=True)
    for number in range(moments):
        sys.stdin.readline()
        planned = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
        scheduler.get_job("plugin.busy.tick").modify(next_run_time=planned)
        assert ended.acquire(timeout=60)
        print("ran", flush=True)
    scheduler.shutdown()
storage.close()
"""


@pytest.mark.parametrize("kind", ["tinydb", "sqlite"])
def test_two_processes_do_each_moment_once(tmp_path, kind):
    """Both have the same job due at the same moments, at the same time."""
    moments = 10
    url = {"tinydb": f"tinydb:///{tmp_path}/s.json", "sqlite": f"sqlite:///{tmp_path}/s.db"}[kind]
    log = tmp_path / "log"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, url, str(log), str(moments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
        for number in range(moments):
            for process in processes:
                process.stdin.write("\n")
                process.stdin.flush()
            assert [process.stdout.readline() for process in processes] == ["ran\n"] * 2
            assert log.read_text() == "tick\n" * (number + 1)
        assert [process.wait(LONG) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
