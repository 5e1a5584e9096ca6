"""Hosts for plugins under test: their services, their limits, and failures of a test."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

import plugreg.testing
from plugreg import CircuitPolicy, Plugin, PluginRegistry, hookimpl, hookspec
from plugreg.api import Actor
from plugreg.mixins import EventMixin, MixinSpec, ScheduleMixin, SettingsMixin
from plugreg.storage import MemoryStorage
from plugreg.testing import stored
from plugreg.testing.fixtures import hosts

STAFF = Actor(1, is_staff=True, is_superuser=True)


class Hooks:
    @hookspec
    def forecast(self, town: str) -> str | None: ...


class Weather(SettingsMixin, EventMixin, ScheduleMixin, Plugin):
    """A plugin that uses a host's services."""

    SETTINGS = {
        "SNOW": {"name": "Snow", "default": False, "validator": bool},
        "TOWNS": {"name": "Towns", "type": list[str], "default": []},
    }
    USER_SETTINGS = {"UNIT": {"name": "Unit", "default": "C"}}
    SCHEDULED_TASKS = {
        "measure": {"func": "measure", "schedule": "I", "minutes": 10},
        "sum_up": {"func": "measure", "schedule": "D"},
        "first": {"func": "measure", "schedule": "I", "minutes": 1, "repeats": 2},
    }

    def __init__(self) -> None:
        self.seen: list[str] = []

    @hookimpl
    def forecast(self, town: str) -> str:
        if town == "nowhere":
            raise LookupError("no such town")
        return f"{'snow' if self.get_setting('SNOW') else 'sun'} in {town}"

    def process_event(self, event, *args, **kwargs) -> None:
        self.seen.append(event)

    def measure(self) -> str:
        self.seen.append("measured")
        return "20 C"


class Quiet(Plugin):
    """A plugin that does nothing."""


class Bare(Plugin):
    @hookimpl
    def forecast(self, town: str) -> str:
        return "rain"


def failures_of(use, *parts, **options) -> str:
    """Return the words with which a test fails at its end, empty if it does not."""
    try:
        with hosts() as make:
            use(make(*parts, **options))
    except pytest.fail.Exception as error:
        return str(error)
    return ""


def test_the_fixture_comes_with_pytest(plugin_host) -> None:
    """A test asks for plugin_host, and its plugin is active with its settings."""
    host = plugin_host(Hooks, Weather, settings={"snow": True}, host_version="2.1")

    assert host.call(Hooks.forecast, town="Bern") == ["snow in Bern"]
    assert (host.slug, host.settings["SNOW"], type(host.plugin)) == ("weather", True, Weather)
    assert host.registry.options.host_version == "2.1"
    assert host.user(7)["UNIT"] == "C"
    host.user(7).set("UNIT", "F")
    assert (host.user(7)["UNIT"], host.user(8)["UNIT"]) == ("F", "C")


def test_calls_events_tasks_and_http(plugin_host) -> None:
    """Everything that a host does with a plugin can be done, without a server or a scheduler."""
    host = plugin_host(Hooks, Weather)

    assert asyncio.run(host.acall(Hooks.forecast, town="Bern")) == ["sun in Bern"]
    assert host.emit("storm") == ("weather",)
    assert host.run_task("measure") == host.run_task("plugin.weather.measure") == "20 C"
    assert host.plugin.seen[-3:] == ["storm", "measured", "measured"]
    with pytest.raises(LookupError, match="'measure'"):
        host.run_task("mesure")
    client = host.client(STAFF)
    assert client.get("/api/plugins/weather/").json()["active"] is True
    answer = client.patch("weather/settings/SNOW/", json={"value": "True"})
    assert (answer.status_code, host.settings["SNOW"]) == (200, True)
    assert host.client().get("/api/plugins/").status_code == 401


def test_time_goes_on_only_when_a_test_says_so(plugin_host) -> None:
    """Tasks are run when they fall due, in order, as often as they want."""
    host = plugin_host(Hooks, Weather)
    short = [name.rpartition(".")[2] for name in host.time.advance(20 * 60)]

    assert short == ["first", "first", "measure", "measure"]
    assert host.time.advance(0) == ()
    day = [name for name in host.time.advance(24 * 3600) if name.endswith("sum_up")]
    assert len(day) == 1
    with pytest.raises(ValueError, match="below 0"):
        host.time.advance(-1)


def test_circuits_count_by_the_same_time(plugin_host) -> None:
    """A circuit that is open is half-open after its time, without a wait."""
    policy = CircuitPolicy(max_failures=1, within=60, cool_down=30)
    host = plugin_host(Hooks, Weather, circuit=policy)
    host.expect_failure(stage="call")
    host.call(Hooks.forecast, town="nowhere")

    assert host.registry.get("weather").circuit == "open"
    host.time.advance(31)
    assert host.registry.get("weather").circuit == "half-open"
    assert host.call(Hooks.forecast, town="Bern") == ["sun in Bern"]
    assert host.registry.get("weather").circuit == "closed"


def test_an_older_version_can_have_stored_settings(plugin_host) -> None:
    """A migration is tested without the old class."""

    class Migrated(SettingsMixin, Plugin):
        SETTINGS_VERSION = 2
        SETTINGS = {"WEATHER": {"name": "Weather", "default": "sun"}}
        USER_SETTINGS = {"UNIT": {"name": "Unit", "default": "C"}}

        def migrate_settings(self, values, version, user=None):
            if user is not None:
                return values
            return {"WEATHER": "snow" if values.pop("SNOW") == "True" else "sun"}

    before = stored(version=1, SNOW="True", users={7: {"UNIT": "F"}})
    host = plugin_host(Migrated, stored=before)

    assert host.settings["WEATHER"] == "snow"
    assert host.user(7)["UNIT"] == "F"


def test_what_is_installed_is_not_seen(site, monkeypatch, plugin_host) -> None:
    """An installed plugin of the same name does not collide with the one under test."""
    site.dist("other", entry_points={"host.plugins": {"weather": "other:Weather"}})
    monkeypatch.syspath_prepend(str(site))
    host = plugin_host(Hooks, Weather)

    assert [*host.registry.plugins] == ["weather"]
    assert not host.registry.get("weather").is_package


def test_variables_of_plugreg_are_hidden_and_come_back(monkeypatch) -> None:
    """A developer's own PLUGREG_SAFE_MODE does not switch the tested plugin off."""
    monkeypatch.setenv("PLUGREG_SAFE_MODE", "1")
    with hosts() as make:
        assert make(Hooks, Weather).registry.active

    assert os.environ["PLUGREG_SAFE_MODE"] == "1"


def test_several_plugins_capabilities_and_hosts(plugin_host) -> None:
    """Parts come in any order; with two plugins a slug says which one is meant."""
    row = MixinSpec(key="print", human_name="Printing", cls=Bare)
    host = plugin_host(
        Bare, ("sunny", Weather), Hooks, row, settings={"sunny": {"TOWNS": ["Bern"]}}
    )
    other = plugin_host(Quiet)

    assert sorted(host.registry.active) == ["bare", "sunny"]
    assert host.registry.settings("sunny")["TOWNS"] == ["Bern"]
    assert "print" in host.registry.get("bare").mixins
    assert [*other.registry.plugins] == ["quiet"]
    with pytest.raises(ValueError, match="2 plugins"):
        _ = host.plugin


def test_a_wrong_setting_is_told_to_the_author() -> None:
    """A key that is not declared, and a value that does not fit, raise where they are given."""
    with hosts() as make:
        with pytest.raises(KeyError, match="did you mean 'SNOW'"):
            make(Weather, settings={"SNOWY": True})
        with pytest.raises(plugreg.SettingError):
            make(Weather, settings={"TOWNS": 7})
        with pytest.raises(ValueError, match="exclude each other"):
            make(Weather, settings={"SNOW": True}, stored=stored(SNOW="True"))


def test_a_failure_that_is_not_expected_fails_the_test() -> None:
    """A failure that a registry would only record is reported at the end of the test."""

    def use(host):
        assert host.call(Hooks.forecast, town="nowhere") == []

    told = failures_of(use, Hooks, Weather)

    assert "plugin 'weather' at stage 'call'" in told
    assert "no such town" in told


def test_an_expected_failure_does_not() -> None:
    """Before or after, alone or as a block, by stage, words and plugin."""

    def use(host):
        with host.expect_failure(stage="call", match="no such", slug="weather"):
            host.call(Hooks.forecast, town="nowhere")

    assert failures_of(use, Hooks, Weather) == ""


@pytest.mark.parametrize("wrong", [{"stage": "import"}, {"match": "other"}, {"slug": "bare"}])
def test_an_expectation_that_is_not_met_fails_the_test(wrong) -> None:
    """A test that expects a failure does not pass once the fault is mended."""

    def use(host):
        host.expect_failure(**wrong)
        host.call(Hooks.forecast, town="nowhere")

    told = failures_of(use, Hooks, Weather)

    assert "there was no failure with" in told
    assert "at stage 'call'" in told


def test_a_plugin_that_cannot_be_activated_is_judged_at_the_end() -> None:
    """A test of a plugin that must fail makes its host first."""

    class Broken(Plugin):
        def __init__(self) -> None:
            raise RuntimeError("no key")

    assert "no key" in failures_of(lambda _: None, Broken)
    assert failures_of(lambda host: host.expect_failure("init", "no key"), Broken) == ""


class Leaky(Plugin):
    """A plugin that leaves the residue of its ``leak``."""

    def leak(self) -> None:
        raise NotImplementedError

    @hookimpl
    def plugreg_activated(self) -> None:
        self.leak()


RELEASE = threading.Event()
HANDLER = logging.StreamHandler()


def _thread(self) -> None:
    threading.Thread(target=RELEASE.wait, name="left", daemon=True).start()


def _handler(self) -> None:
    logging.getLogger("left").addHandler(HANDLER)


def _signal(self) -> None:
    signal.signal(signal.SIGUSR2, lambda *_: None)


def _path(self) -> None:
    sys.path.append("/left")


def _environ(self) -> None:
    os.environ["LEFT"] = "1"


def _folder(self) -> None:
    os.chdir("/")


def _level(self) -> None:
    logging.root.setLevel(logging.DEBUG)


LEAKS = {
    "thread 'left' runs": _thread,
    "logger 'left' has a StreamHandler more": _handler,
    "signal SIGUSR2": _signal,
    "sys.path has changed": _path,
    "variable 'LEFT' is set": _environ,
    "the working folder is '/'": _folder,
    "the root logger's level is DEBUG": _level,
}


@pytest.fixture
def mended():
    """Take back the residue of the leaks of this module."""
    path, folder = list(sys.path), Path.cwd()
    level, old = logging.root.level, signal.getsignal(signal.SIGUSR2)
    yield
    RELEASE.set()
    for thread in threading.enumerate():
        if thread.name == "left":
            thread.join(10)
    RELEASE.clear()
    logging.getLogger("left").removeHandler(HANDLER)
    logging.root.setLevel(level)
    signal.signal(signal.SIGUSR2, old)
    sys.path[:] = path
    os.environ.pop("LEFT", None)
    os.chdir(folder)


@pytest.mark.parametrize("told", LEAKS)
def test_each_leak_is_caught(told, mended) -> None:
    """The residue of a plugin after it was switched off fails the test, by name."""
    leaking = type("Leaking", (Leaky,), {"leak": LEAKS[told]})

    found = failures_of(lambda _: None, leaking)

    assert told in found
    assert failures_of(lambda _: None, Quiet) == ""


def test_a_handler_that_does_nothing_is_no_leak() -> None:
    """Libraries have one at their own loggers, which a plugin may import late."""
    name = "of-a-library"
    leak = {"leak": lambda _: logging.getLogger(name).addHandler(logging.NullHandler())}
    try:
        assert failures_of(lambda _: None, type("Leaking", (Leaky,), leak)) == ""
    finally:
        logging.getLogger(name).handlers.clear()


class Pouring(Plugin):
    """A plugin with a task on the loop of its host, which it ends if it is asked to."""

    is_tidy = False

    @hookimpl
    def plugreg_activated(self) -> None:
        self.task = asyncio.get_running_loop().create_task(asyncio.sleep(60), name="pouring")

    @hookimpl
    def plugreg_deactivating(self) -> None:
        if self.is_tidy:
            self.task.cancel()


def test_a_task_that_is_left_is_caught_and_a_cancelled_one_is_none() -> None:
    """A task of the test's own loop is the test's, whatever the plugin does."""

    async def run(plugin) -> str:
        mine = asyncio.create_task(asyncio.sleep(60), name="mine")
        found = failures_of(lambda _: None, plugin)
        mine.cancel()
        return found

    tidy = type("Tidy", (Pouring,), {"is_tidy": True})

    assert asyncio.run(run(Pouring)) == ("after the plugin was switched off, task 'pouring' runs")
    assert asyncio.run(run(tidy)) == ""


def test_what_the_test_itself_changes_is_no_leak(monkeypatch) -> None:
    """Variables, folders and levels that the test has set are not the plugin's."""

    def use(host):
        monkeypatch.setenv("MINE", "1")
        monkeypatch.syspath_prepend("/mine")
        monkeypatch.chdir("/")

    assert failures_of(use, Quiet) == ""


def test_residue_can_be_looked_at_and_left_out(mended) -> None:
    """A test of a leak sees it as data, and may allow it."""
    leaking = type("Leaking", (Leaky,), {"leak": _environ})

    def use(host):
        assert host.residue == ("environment variable 'LEFT' is set",)

    assert failures_of(use, leaking, residue=False) == ""


def test_a_host_gives_its_authors_a_fixture() -> None:
    """The host's own registry, with its hooks and markers, and with the plugins of the test."""
    import pluggy

    given: dict[str, object] = {}

    def make_registry(**options) -> PluginRegistry:
        given.update(options)
        return PluginRegistry("shop", **{"host_version": "2.4", "hookspecs": [Hooks], **options})

    class Foreign:
        @pluggy.HookimplMarker("shop")
        def forecast(self) -> str:
            return "fog"

    with hosts(make_registry) as make:
        host = make(Foreign)

        assert host.call(Hooks.forecast, town="Bern") == ["fog"]
        assert isinstance(given["storage"], MemoryStorage)
        assert host.registry.options.host_version == "2.4"


def test_a_host_that_uses_its_own_store_is_refused() -> None:
    """A test never writes into the store of a developer's machine."""
    with (
        hosts(lambda **_: PluginRegistry("shop")) as make,
        pytest.raises(ValueError, match="store"),
    ):
        make(Bare)


ISOLATED = """
from plugreg import Plugin, hookimpl

class Weather(Plugin):
    @hookimpl
    def forecast(self, town: str) -> str:
        return f"isolated in {town}"
"""


def test_a_plugin_can_be_tried_in_a_process_of_its_own(tmp_path, monkeypatch, plugin_host) -> None:
    """Nothing of it is imported here, and its answers are the same."""
    (tmp_path / "weather_apart.py").write_text(ISOLATED, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    host = plugin_host(Hooks, ("weather", "weather_apart:Weather"), isolate=True)

    assert host.call(Hooks.forecast, town="Bern") == ["isolated in Bern"]
    assert host.registry.get("weather").isolated
    assert "weather_apart" not in sys.modules


AUTHORS = """
    import sys
    import pytest
    from plugreg import Plugin, PluginRegistry, hookimpl, hookspec
    import plugreg.testing

    class Hooks:
        @hookspec
        def price(self): ...

    def make_registry(**options):
        return PluginRegistry("shop", hookspecs=[Hooks], **options)

    plugin_host = plugreg.testing.host_fixture(make_registry)

    class Fine(Plugin):
        @hookimpl
        def price(self): return 1

    class Broken(Plugin):
        @hookimpl
        def price(self): return 1 / 0

    @pytest.mark.parametrize("plugin", [Fine, Broken])
    def test_price(plugin_host, plugin):
        plugin_host(plugin).call(Hooks.price)
"""


def test_an_author_runs_it_in_a_project_of_their_own(tmp_path) -> None:
    """The fixture of a host replaces the one of plugreg, and the failing test says why."""
    (tmp_path / "test_price.py").write_text(textwrap.dedent(AUTHORS), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "2 passed, 1 error" in done.stdout
    assert "plugin 'broken' at stage 'call'" in done.stdout


def test_the_plugin_of_pytest_imports_nothing_else() -> None:
    """In everybody's test runs it costs one small module, and none of plugreg."""
    code = (
        "import sys, pytest, collections.abc\n"
        "before = {*sys.modules}\n"
        "import pytest_plugreg\n"
        "print(sorted({*sys.modules} - before))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "['pytest_plugreg']\n"
