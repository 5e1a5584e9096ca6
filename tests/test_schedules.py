"""``registry.schedules``: the tasks of plugins, running a task, and valid declarations."""

from __future__ import annotations

import json
import pickle
import sys
from types import ModuleType

import pytest

from plugreg import (
    Plugin,
    PluginNotActiveError,
    PluginNotFoundError,
    PluginRegistry,
    PluginState,
    RegistryNotReady,
    Stage,
)
from plugreg.mixins import ScheduledTask, ScheduleMixin
from plugreg.mixins._cron import parse_cron
from plugreg.mixins.schedule import CALENDAR
from plugreg.schedules import PluginTask, TaskNotFoundError


class Busy(ScheduleMixin, Plugin):
    SCHEDULED_TASKS = {
        "tick": {"func": "tick", "schedule": "I", "minutes": 5, "repeats": 2},
        "night": {"func": "shop_tasks.clean", "cron": "30 3 * * mon-fri"},
    }

    def tick(self):
        return f"tick of {self.slug}"


def failing(error):
    def tick(self):
        raise error

    return type("Failing", (Busy,), {"tick": tick})


class Varying(Busy):
    """Has tasks that are other each time."""

    given = Busy.SCHEDULED_TASKS

    def get_scheduled_tasks(self):
        if isinstance(self.given, BaseException):
            raise self.given
        return self.given


@pytest.fixture
def tasks_module(monkeypatch):
    """Return the module ``shop_tasks``, which a plugin names in its tasks."""
    module = ModuleType("shop_tasks")
    monkeypatch.setitem(sys.modules, "shop_tasks", module)
    return module


def names(registry):
    return [task.name for task in registry.schedules.tasks()]


def messages(registry):
    assert {failure.stage for failure in registry.errors} <= {Stage.CALL}
    return [(failure.slug, failure.message) for failure in registry.errors]


class TestTasks:
    def test_a_task_says_whose_it_is_and_what_is_due_when(self, make):
        """Its full name is made of both; the record is a value."""
        tick, night = make(busy=Busy).schedules.tasks()

        assert tick == PluginTask(
            slug="busy",
            task=ScheduledTask(name="tick", func="tick", schedule="I", minutes=5, repeats=2),
        )
        assert (tick.name, night.name) == ("plugin.busy.tick", "plugin.busy.night")
        assert (tick.task.is_method, night.task.is_method) == (True, False)
        assert (night.task.schedule, night.task.cron) == (None, "30 3 * * mon-fri")
        assert (tick.task.calendar, night.task.calendar) == (None, "30 3 * * mon-fri")
        assert pickle.loads(pickle.dumps(tick)) == tick

    def test_only_active_plugins_have_tasks(self, make):
        """In activation order; one that is switched off has none at once."""
        registry = make(b=Busy, a=Busy, idle=type("Idle", (ScheduleMixin, Plugin), {}))
        order = [slug for slug in registry.active if slug != "idle"]
        assert names(registry) == [f"plugin.{s}.{t}" for s in order for t in ("tick", "night")]
        registry.deactivate("a")
        assert names(registry) == ["plugin.b.tick", "plugin.b.night"]

    def test_a_plugin_with_a_faulty_task_fails_alone(self, make):
        """It does not come into service, its record says why, and the others have theirs (93)."""
        tasks = {"t": {"func": "tick", "cron": "61 * * * *"}}
        registry = make(bad=type("Bad", (Busy,), {"SCHEDULED_TASKS": tasks}), busy=Busy, fails=True)

        assert registry.get("bad").state is PluginState.FAILED
        (failure,) = registry.errors
        assert failure.stage is Stage.ACTIVATE
        assert "mixin 'schedule': Task 't': Cron '61 * * * *'" in failure.message
        assert names(registry) == ["plugin.busy.tick", "plugin.busy.night"]

    def test_a_task_that_has_become_faulty_costs_itself(self, make):
        """Tasks may depend on something; a task that is faulty then is a record."""
        registry = make(varying=Varying, busy=Busy, fails=True)
        varying = registry.get("varying").plugin
        varying.given = {"a": {"func": "tick"}, "b": {"func": "tick", "schedule": "d"}}
        assert names(registry)[-1:] == ["plugin.varying.b"] or names(registry)[0] == (
            "plugin.varying.b"
        )
        assert len(names(registry)) == 3
        assert messages(registry) == [("varying", "Task 'a' is missing 'schedule' parameter")]

    @pytest.mark.parametrize("error", [OSError("no"), SystemExit(3)])
    def test_a_plugin_that_fails_when_it_is_asked_costs_its_tasks(self, make, error):
        """The others are there."""
        registry = make(varying=Varying, busy=Busy, fails=True)
        registry.get("varying").plugin.given = error
        assert names(registry) == ["plugin.busy.tick", "plugin.busy.night"]
        expected = f"scheduled tasks: {type(error).__name__}: {error}"
        assert messages(registry) == [("varying", expected)]

    def test_a_host_may_switch_schedules_off(self, make):
        """Then there are no tasks, and none can be run."""
        registry = make(busy=Busy, switches={"schedule": False})
        assert registry.schedules.tasks() == ()
        with pytest.raises(TaskNotFoundError):
            registry.schedules.run("plugin.busy.tick")

    def test_there_are_none_before_load_and_after_close(self, make):
        """As with all that asks plugins."""
        registry = make(busy=Busy)
        registry.close()
        with pytest.raises(RegistryNotReady):
            registry.schedules.tasks()
        with pytest.raises(RegistryNotReady):
            PluginRegistry("shop").schedules.run("plugin.busy.tick")


class TestRunning:
    def test_a_method_is_called_on_the_plugin(self, make):
        """Its result is the value of the outcome."""
        outcome = make(busy=Busy).schedules.run("plugin.busy.tick")

        assert (outcome.slug, outcome.value, outcome.error) == ("busy", "tick of busy", None)
        assert outcome.failure is None
        assert outcome.seconds >= 0

    def test_a_function_is_found_by_its_dotted_name(self, make, tasks_module):
        """Its module is imported; the task's own name may have dots, too."""
        tasks_module.clean = lambda: "clean"
        tasks = {"of a.b": {"func": "shop_tasks.clean", "schedule": "D"}}
        registry = make(busy=type("B", (Busy,), {"SCHEDULED_TASKS": tasks}))

        assert registry.schedules.run("plugin.busy.of a.b").value == "clean"

    @pytest.mark.parametrize("error", [OSError("no"), SystemExit(3)])
    def test_a_task_that_fails_is_recorded_with_its_name(self, make, error):
        """It is counted, and the outcome has the exception and the record."""
        registry = make(busy=failing(error), other=Busy, fails=True)
        for count in (1, 2):
            outcome = registry.schedules.run("plugin.busy.tick")
            assert (outcome.slug, outcome.value, outcome.error) == ("busy", None, error)
            assert outcome.failure == registry.errors[0]
            assert outcome.failure.count == count
        assert messages(registry) == [("busy", f"task 'tick': {type(error).__name__}: {error}")]
        assert registry.schedules.run("plugin.other.tick").value == "tick of other"

    def test_a_function_that_is_not_there_is_a_fault(self, make, tasks_module):
        """So is one that cannot be called, and one that has to be awaited."""
        tasks_module.number = 5

        async def later():
            """Come later."""

        tasks_module.later = later
        funcs = {
            "a": ("no_such_module_x.f", "ModuleNotFoundError"),
            "b": ("shop_tasks.absent", "module 'shop_tasks' has no attribute 'absent'"),
            "c": ("shop_tasks.number", "'shop_tasks.number' must be a function, not 5"),
            "d": ("shop_tasks.later", "is async, but this call is not"),
        }
        tasks = {name: {"func": func, "schedule": "D"} for name, (func, _) in funcs.items()}
        registry = make(busy=type("B", (Busy,), {"SCHEDULED_TASKS": tasks}), fails=True)
        for name, (_, words) in funcs.items():
            assert words in registry.schedules.run(f"plugin.busy.{name}").failure.message

    def test_what_belongs_to_the_process_passes(self, make):
        """Ctrl-C is nobody's fault."""
        registry = make(busy=failing(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            registry.schedules.run("plugin.busy.tick")
        assert registry.errors == ()

    def test_a_plugin_that_is_off_is_refused(self, make):
        """With the error that everything else has for it, and a near name."""
        registry = make(busy=Busy)
        registry.deactivate("busy")
        with pytest.raises(PluginNotActiveError, match="'busy' is inactive"):
            registry.schedules.run("plugin.busy.tick")
        with pytest.raises(PluginNotFoundError, match="did you mean 'busy'"):
            registry.schedules.run("plugin.busi.tick")

    @pytest.mark.parametrize(
        "name", ["", "tick", "busy.tick", "plugin.busy", "plugin.busy.", "plugin.busy.tock"]
    )
    def test_a_name_that_is_none_is_refused(self, make, name):
        """The error shows the form of a name, has the name as a field, and can be pickled."""
        registry = make(busy=Busy)
        with pytest.raises(TaskNotFoundError, match=r"it must be 'plugin.<slug>.<task>'") as caught:
            registry.schedules.run(name)
        assert caught.value.name == name
        assert ("did you mean 'tick'" in str(caught.value)) == (name == "plugin.busy.tock")
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


ALL = {
    "minutes": set(range(60)),
    "hours": set(range(24)),
    "days": set(range(1, 32)),
    "months": set(range(1, 13)),
    "weekdays": set(range(7)),
    "day_and": True,
}


def numbers_of(text):
    """Return the numbers that the fields of a cron expression stand for, Sunday as 0."""
    cron = parse_cron(text)
    numbers = {name: getattr(cron, name) for name in ALL}
    return {**numbers, "weekdays": {number % 7 for number in cron.weekdays}}


class TestCron:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("* * * * *", {}),
            ("*/15 * * * *", {"minutes": {0, 15, 30, 45}}),
            ("5-20/5,3 * * * *", {"minutes": {3, 5, 10, 15, 20}}),
            ("00 09 * * *", {"minutes": {0}, "hours": {9}}),
            ("1,1,1-2 * * * *", {"minutes": {1, 2}}),
            ("* * */10 * *", {"days": {1, 11, 21, 31}}),
            ("* * * JAN,mar-May *", {"months": {1, 3, 4, 5}}),
            ("* * * * mon-fri", {"weekdays": {1, 2, 3, 4, 5}}),
            ("* * * * 0", {"weekdays": {0}}),
            ("* * * * 7", {"weekdays": {0}}),
            ("* * * * 5-7", {"weekdays": {0, 5, 6}}),
            ("* * * * Sat-Sun", {"weekdays": {0, 6}}),
            ("* * * * fri-0/2,wed", {"weekdays": {0, 3, 5}}),
            ("* * * * sun-sun", {"weekdays": {0}}),
            ("* * * * sun-tue", {"weekdays": {0, 1, 2}}),
            ("* * * * */2", {"weekdays": {0, 2, 4, 6}}),
            ("* * 13 * fri", {"days": {13}, "weekdays": {5}, "day_and": False}),
            ("* * */13 * fri", {"days": {1, 14, 27}, "weekdays": {5}}),
            ("* * 29 feb *", {"days": {29}, "months": {2}}),
            ("* * 29-31 feb *", {"days": {29, 30, 31}, "months": {2}}),
            ("* * 31 feb,mar *", {"days": {31}, "months": {2, 3}}),
            ("* * 31 feb mon", {"days": {31}, "months": {2}, "weekdays": {1}, "day_and": False}),
            ("  *\t* *  * * ", {}),
        ],
    )
    def test_fields(self, text, expected):
        """Numbers, names, stars, ranges, steps and lists, as crontab(5) has them."""
        assert numbers_of(text) == {**ALL, **expected}

    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("", "it must have five fields (minute, hour, day, month, weekday), not 0"),
            ("* * * *", "it must have five fields (minute, hour, day, month, weekday), not 4"),
            ("0 * * * * *", "it must have five fields (minute, hour, day, month, weekday), not 6"),
            ("@daily", "it must have five fields (minute, hour, day, month, weekday), not 1"),
            ("60 * * * *", "field minute is"),
            ("* 24 * * *", "field hour is"),
            ("* * 0 * *", "field day-of-month is"),
            ("* * * 13 *", "field month is"),
            ("* * * * 8", "field day-of-week is"),
            ("* * * * monday", "field day-of-week is"),
            ("jan * * * *", "field minute is"),
            ("-5 * * * *", "field minute is"),
            ("1, * * * *", "field minute is"),
            ("1.5 * * * *", "field minute is"),
            ("² * * * *", "field minute is"),
            (f"{'9' * 5000} * * * *", "the expression is"),
            ("20-10 * * * *", "field minute is"),
            ("* * * * fri-mon", "field day-of-week is"),
            ("*/0 * * * *", "field minute is"),
            ("*/ * * * *", "field minute is"),
            ("5/10 * * * *", "a step must have '*' or a range before it; write 5-59/10 for 5/10"),
            ("0 0 30 2 *", "field day-of-month is"),
            ("0 0 31 4,6,9,11 *", "field day-of-month is"),
        ],
    )
    def test_faults(self, text, fault):
        """The fault names the field and its expected content."""
        if fault.endswith(" is"):
            fault += (
                " not valid or never matches; write numbers, names, '*', ranges, steps or lists"
            )
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared.
            parse_cron(text)
        assert str(caught.value) == fault

    def test_without_the_extra_the_plugin_that_has_cron_fails_alone(self, make, monkeypatch):
        """The record names the extra; letters need no package."""
        monkeypatch.setitem(sys.modules, "cronsim", None)
        letters = {"t": {"func": "tick", "schedule": "D"}}
        registry = make(
            busy=Busy, letters=type("Letters", (Busy,), {"SCHEDULED_TASKS": letters}), fails=True
        )
        assert names(registry) == ["plugin.letters.t"]
        (failure,) = registry.errors
        assert failure.slug == "busy"
        assert failure.message == (
            "mixin 'schedule': Task 'night': a cron expression needs 'cronsim'; "
            "install it: pip install 'plugreg[schedule]'"
        )

    @pytest.mark.parametrize(
        ("task", "fault"),
        [
            (
                {"cron": "* * * * *", "schedule": "D"},
                "Task 't' must have 'schedule' or 'cron', not both",
            ),
            ({"cron": "", "schedule": ""}, "Task 't' is missing 'schedule' parameter"),
            ({"cron": 5}, "Task 't': 'cron' must be a string of five fields, not 5"),
            (
                {"cron": "* * *"},
                "Task 't': Cron '* * *' is not a valid option: it must have five fields "
                "(minute, hour, day, month, weekday), not 3",
            ),
        ],
    )
    def test_a_task_has_a_schedule_or_cron(self, make, task, fault):
        """One of the two, and each fault in the words of the others."""
        tasks = {"t": {"func": "tick", **task}}
        registry = make(bad=type("Bad", (Busy,), {"SCHEDULED_TASKS": tasks}), fails=True)
        (failure,) = registry.errors
        assert failure.message == f"mixin 'schedule': {fault}"

    @pytest.mark.parametrize("name", ["", "a\nb", "\ud800"])
    def test_a_name_of_a_task_can_be_shown(self, make, name):
        """It becomes the name of a job, and of a row in the store."""
        tasks = {name: {"func": "tick", "schedule": "D"}}
        registry = make(bad=type("Bad", (Busy,), {"SCHEDULED_TASKS": tasks}), fails=True)
        (failure,) = registry.errors
        assert "the name of a task must be printable and not empty" in failure.message
        json.dumps(failure.message).encode()

    def test_an_interval_is_at_most_a_year(self, make):
        """Rarer tasks use cron; no scheduler is given a number that it cannot handle."""
        for minutes, is_fine in [(525_600, True), (525_601, False), (10**13, False)]:
            tasks = {"t": {"func": "tick", "schedule": "I", "minutes": minutes}}
            registry = make(one=type("One", (Busy,), {"SCHEDULED_TASKS": tasks}), fails=not is_fine)
            assert names(registry) == ["plugin.one.t"] * is_fine
            assert [failure.message for failure in registry.errors] == [
                f"mixin 'schedule': Task 't': 'minutes' must be at most 525600, which is a year, "
                f"not {minutes}; use 'cron' for rarer tasks"
            ] * (not is_fine)

    def test_a_name_of_a_task_fits_every_store(self, make):
        """The longest one, with the longest slug, names a lease; a longer one is a fault."""
        for length in (190, 191):
            tasks = {"\N{TEACUP WITHOUT HANDLE}" * length: {"func": "tick", "schedule": "D"}}
            slug = "s" * 255
            registry = make(
                **{slug: type("One", (Busy,), {"SCHEDULED_TASKS": tasks})}, fails=length > 190
            )
            for name in names(registry):
                with registry.shared.once(name) as mine:
                    assert mine
            messages = [failure.message.partition(": the ")[2] for failure in registry.errors]
            assert messages == ["name of a task must have at most 190 characters, not 191"] * (
                length > 190
            )

    def test_letters_go_by_the_calendar(self):
        """A monthly task is due on the first, a quarterly task in the month after a quarter."""
        parsed = {letter: numbers_of(text) for letter, text in CALENDAR.items()}
        on_the_hour = {**ALL, "minutes": {0}}
        at_midnight = {**on_the_hour, "hours": {0}}
        on_the_first = {**at_midnight, "days": {1}}
        assert parsed == {
            "H": on_the_hour,
            "D": at_midnight,
            "W": {**at_midnight, "weekdays": {1}},
            "M": on_the_first,
            "Q": {**on_the_first, "months": {1, 4, 7, 10}},
            "Y": {**on_the_first, "months": {1}},
        }
