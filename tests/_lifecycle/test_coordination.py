"""``registry.shared``: watching, work that is done once, and the reports of processes."""

from __future__ import annotations

import logging
import os
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from plugreg import Plugin, PluginRegistry, StorageError, StorageUnavailableError, hookimpl
from plugreg._state.watch import Watch
from plugreg.mixins import SettingsMixin
from plugreg.storage import MemoryStorage, TinyDBStorage, open_storage

LONG = 30.0
"""Seconds after which a test gives up; what it waits for takes far less."""


class Tea(SettingsMixin, Plugin):
    NAME = "tea"
    SETTINGS = {"COLOUR": {"default": "red"}}


class Broken(Plugin):
    NAME = "broken"

    def __init__(self):
        raise ValueError("no")


class Away(TinyDBStorage):
    """A store that can be out of reach."""

    away = False

    def _check(self):
        if self.away:
            raise StorageUnavailableError("here", "it is away")

    def read(self, table):
        self._check()
        return super().read(table)

    def transaction(self):
        self._check()
        return super().transaction()

    def revision(self):
        self._check()
        return super().revision()


class Clocked(MemoryStorage):
    """A store with a clock of its own."""

    time = 1_000.0

    def now(self):
        return self.time


def is_watched():
    return any(thread.name == "plugreg watch" for thread in threading.enumerate())


def eventually(holds):
    deadline = time.monotonic() + LONG
    while not holds():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.005)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "plugins.json"


@pytest.fixture
def start(path):
    """Yield a function that loads one more registry on the same file, as another process has it."""
    started = []

    def start(**options):
        options.setdefault("storage", Away(path))
        options.setdefault("builtin", [Tea, Broken])
        registry = PluginRegistry("shop", **options)
        registry.storage = options["storage"]
        registry.load()
        started.append(registry)
        return registry

    yield start
    for registry in started:
        registry.close()


class TestWatch:
    def test_takes_in_what_others_change(self, start):
        """Nobody has to ask for it, and it ends with its block, leaving no thread."""
        here, there = start(), start()
        threads = {*threading.enumerate()}
        with here.watch(every=0.01):
            there.activate("tea")
            eventually(lambda: "tea" in here.active)
            there.settings("tea").set("COLOUR", "blue")
            eventually(lambda: here.settings("tea")["COLOUR"] == "blue")
        assert {*threading.enumerate()} == threads
        there.deactivate("tea")
        assert "tea" in here.active

    def test_ends_at_once_however_seldom_it_looks(self, start):
        """Leaving its block does not wait for the next look."""
        here, there = start(), start()
        there.activate("tea")
        with here.watch(every=100 * LONG):
            eventually(lambda: "tea" in here.active)
            time.sleep(0.05)  # By now it waits for its next look, on most machines.

    def test_goes_on_when_the_storage_was_away(self, start, caplog):
        """An outage is reported once, the current state serves meanwhile, and it recovers alone."""
        caplog.set_level(logging.INFO, "plugreg")
        here, there = start(), start()
        storage = here.storage
        with here.watch(every=0.01) as watch:
            assert watch.error is None
            storage.away = True
            eventually(lambda: watch.error is not None)
            assert isinstance(watch.error, StorageUnavailableError)
            there.activate("tea")
            assert here.get("tea").wanted is False
            storage.away = False
            eventually(lambda: "tea" in here.active)
            eventually(lambda: watch.error is None)
        statuses = [line.getMessage() for line in caplog.records if "changes" in line.getMessage()]
        assert len(statuses) == 2
        assert "it is away" in statuses[0]
        assert "again" in statuses[1]

    def test_looks_less_often_during_an_outage(self):
        """Each look that fails doubles the pause, up to a second and a half."""
        pauses = []

        def fail():
            if len(pauses) == 12:
                raise SystemExit  # Anything at all may go wrong.
            raise StorageError("away")

        class Hasty(Watch):
            def _pause(self, seconds):
                pauses.append(seconds)
                if len(pauses) == 14:
                    self._ended.set()

        with Hasty(fail, every=0.125):
            eventually(lambda: not is_watched())
        assert pauses == [0.25, 0.5, 1.0] + [1.5] * 11

    def test_ends_with_its_registry(self, start):
        """A registry that is closed has nothing to watch for."""
        here = start()
        with here.watch(every=0.01) as watch:
            here.close()
            eventually(lambda: not is_watched())
        assert watch.error is None

    @pytest.mark.parametrize("every", [0, -1, float("nan"), float("inf")])
    def test_refuses_what_is_no_pause(self, start, every):
        """A pause is a number of seconds, over nothing."""
        with pytest.raises(ValueError, match="every"):
            start().watch(every)

    def test_a_hint_makes_it_look_at_once(self):
        """A storage that says when something was stored saves the wait."""

        class Hinting(MemoryStorage):
            statuses = threading.Event()

            gives_hints = True

            def wait(self, seconds):
                found = self.statuses.wait(seconds)
                self.statuses.clear()
                return found

        storage = Hinting()
        here, there = (PluginRegistry("shop", storage=storage, builtin=[Tea]) for _ in range(2))
        with here, there:
            here.load()
            there.load()
            with here.watch(every=100 * LONG):
                there.activate("tea")
                storage.statuses.set()
                eventually(lambda: "tea" in here.active)

    def test_hints_that_fail_are_gone_without(self):
        """Looking is the truth, and hints are but a help."""

        class Misleading(MemoryStorage):
            gives_hints = True

            def wait(self, seconds):
                raise OSError("no hints")

        storage = Misleading()
        here, there = (PluginRegistry("shop", storage=storage, builtin=[Tea]) for _ in range(2))
        with here, there:
            here.load()
            there.load()
            with here.watch(every=0.01):
                there.activate("tea")
                eventually(lambda: "tea" in here.active)

    def test_a_plugin_that_is_reloaded_in_it_may_end_it(self):
        """It does not wait for the thread that it runs in."""
        ends = []

        class Ending(Plugin):
            @hookimpl
            def plugreg_plugins_loaded(self, report):
                for registry in ends:
                    registry.__exit__()

        storage = MemoryStorage()
        here = PluginRegistry("shop", storage=storage, builtin=[Ending, Tea], mandatory=["ending"])
        there = PluginRegistry("shop", storage=storage, builtin=[Tea])
        with here, there:
            here.load()
            there.load()
            watch = here.watch(every=0.01)
            ends.append(watch)
            with watch:
                there.activate("tea")
                eventually(lambda: not is_watched())
            assert "tea" in here.active
            assert here.errors == ()


class TestOnce:
    def test_one_at_a_time_and_never_again(self, start):
        """While one has it, and after it has succeeded, nobody else does the work."""
        here, there = start(), start()
        with here.shared.once("migrate") as mine:
            assert mine
            with there.shared.once("migrate") as theirs:
                assert not theirs
            with here.shared.once("migrate") as again:
                assert not again
            with there.shared.once("other") as other:
                assert other
        for registry in (here, there):
            with registry.shared.once("migrate") as mine:
                assert not mine

    def test_what_has_failed_is_tried_by_the_next(self, start):
        """The exception passes through, and nothing has to run out before."""
        here, there = start(), start()
        with pytest.raises(KeyboardInterrupt), here.shared.once("migrate", lease=100 * LONG):
            raise KeyboardInterrupt
        with there.shared.once("migrate") as mine:
            assert mine

    def test_a_lease_that_runs_out_is_taken_by_another(self):
        """Of a holder that has died nothing is known but the time up to which it had the work."""
        storage = Clocked()
        registry = PluginRegistry("shop", storage=storage)
        entered = registry.shared.once("migrate", lease=60.0)
        assert entered.__enter__()
        storage.time += 59
        with registry.shared.once("migrate") as mine:
            assert not mine
        storage.time += 2
        with registry.shared.once("migrate") as mine:
            assert mine
            # The first one comes back to life, too late: the work is the second one's now.
            entered.__exit__(None, None, None)
            with registry.shared.once("migrate") as third:
                assert not third
        with registry.shared.once("migrate") as mine:
            assert not mine

    def test_whoever_has_lost_it_does_not_end_it_for_others(self, caplog):
        """Work that ended too late is reported and not marked: the other holder may yet fail."""
        storage = Clocked()
        registry = PluginRegistry("shop", storage=storage)
        late = registry.shared.once("migrate", lease=60.0)
        assert late.__enter__()
        storage.time += 61
        taken = registry.shared.once("migrate")
        assert taken.__enter__()
        late.__exit__(None, None, None)
        assert "'migrate' expired" in caplog.text
        error = ValueError("no")
        assert not taken.__exit__(ValueError, error, None)
        with registry.shared.once("migrate") as mine:
            assert mine

    def test_a_holder_that_lives_keeps_it(self):
        """The lease is renewed for as long as the block runs."""
        storage = Clocked()
        here, there = (PluginRegistry("shop", storage=storage) for _ in "ab")

        def until():
            return storage.read("leases")["migrate"]["until"]

        with here.shared.once("migrate", lease=0.3) as mine:
            assert mine
            for _ in range(3):
                # The storage's time stands still until there was a renewal, however late it is.
                storage.time += 0.2
                eventually(lambda: until() == storage.time + 0.3)
                with there.shared.once("migrate") as theirs:
                    assert not theirs

    def test_one_that_was_lost_is_not_renewed(self):
        """Whoever comes back to life too late leaves it to the one that has it now."""

        def renewing():
            return [thread.name for thread in threading.enumerate()].count("plugreg lease migrate")

        storage = Clocked()
        registry = PluginRegistry("shop", storage=storage)
        late = registry.shared.once("migrate", lease=0.3)
        assert late.__enter__()
        assert renewing() == 1
        while not (taken := registry.shared.once("migrate", lease=100 * LONG)).__enter__():
            storage.time += 1  # The first one, being alive, may renew it in between.
        eventually(lambda: renewing() == 1)
        taken.__exit__(None, None, None)
        assert storage.read("leases")["migrate"]["done"] is True
        late.__exit__(None, None, None)

    def test_an_outage_while_it_is_renewed_is_reported_and_survived(self, start, caplog):
        """The next renewal is tried, and the work can be finished."""
        here = start()
        storage = here.storage
        with here.shared.once("migrate", lease=3.0):
            storage.away = True
            eventually(lambda: "'migrate' was not renewed" in caplog.text)
            storage.away = False
        assert storage.read("leases")["migrate"]["done"] is True

    def test_work_that_cannot_be_marked_is_not_done(self, start):
        """It is at least once: work that is not known to be done is done again."""
        here, there = start(), start()
        storage = here.storage
        with pytest.raises(StorageUnavailableError), here.shared.once("migrate", lease=0.1):
            storage.away = True
        storage.away = False

        def is_free():
            with there.shared.once("migrate") as mine:
                return mine

        eventually(is_free)

    def test_an_exception_is_not_hidden_by_an_outage(self, start, caplog):
        """The lease that cannot be released runs out."""
        here = start()
        storage = here.storage

        def work():
            storage.away = True
            raise ValueError("no water")

        with pytest.raises(ValueError, match="no water"), here.shared.once("migrate"):
            work()
        assert "was not released" in caplog.text
        storage.away = False

    def test_threads_are_holders_too(self, path):
        """Of many at once one does the work."""
        registry = PluginRegistry("shop", storage=TinyDBStorage(path))
        start, done = threading.Barrier(8), []

        def work():
            start.wait()
            with registry.shared.once("migrate") as mine:
                if mine:
                    done.append(threading.get_ident())

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(done) == 1

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_a_forked_child_leaves_it_to_its_parent(self, path):
        """The child neither marks the work nor releases it."""
        registry = PluginRegistry("shop", storage=TinyDBStorage(path))
        storage = TinyDBStorage(path)
        once = registry.shared.once("migrate")
        assert once.__enter__()
        pid = os.fork()
        if pid == 0:
            try:
                once.__exit__(None, None, None)
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0
        assert storage.read("leases")["migrate"]["done"] is False
        once.__exit__(None, None, None)
        assert storage.read("leases")["migrate"]["done"] is True

    @pytest.mark.parametrize("lease", [0, -1.0, float("nan"), float("inf")])
    def test_refuses_what_is_no_lease(self, start, lease):
        """A lease is a number of seconds, over nothing."""
        with pytest.raises(ValueError, match="lease"), start().shared.once("migrate", lease=lease):
            pytest.fail("it was entered")

    @pytest.mark.parametrize("key", [5, None, b"migrate", ["migrate"], "\ud800", "x" * 2000])
    @pytest.mark.parametrize("kind", ["memory", "tinydb", "sqlite"])
    def test_refuses_what_is_no_name(self, path, kind, key):
        """A name is a text that every store can keep; all of them say so in the same words."""
        address = {"memory": "", "tinydb": f"/{path}", "sqlite": f"/{path}.db"}[kind]
        storage = open_storage(f"{kind}://{address}")
        shared = PluginRegistry("shop", storage=storage).shared
        with pytest.raises(StorageError, match="refused: its key"), shared.once(key):
            pytest.fail("it was entered")
        assert storage.revision() == 0
        storage.close()

    def test_a_clock_of_whole_seconds_is_one(self):
        """A host's storage may have no finer clock; times that it sets can be read again."""
        storage = Clocked()
        storage.time = 1_000
        registry = PluginRegistry("shop", storage=storage)
        with registry.shared.once("migrate", lease=60) as mine:
            assert mine
            with registry.shared.once("migrate", lease=60) as again:
                assert not again

    def test_a_damaged_row_is_reported(self, start):
        """A row that is no lease is refused, with its place."""
        here = start()
        with here.storage.transaction() as transaction:
            transaction.put("leases", "migrate", {"holder": "x", "until": "soon", "done": False})
        with pytest.raises(StorageError, match="'migrate' of table 'leases'"):
            here.shared.once("migrate").__enter__()


def statuses(registry):
    return {
        process.name: (process.generation, process.active)
        for process in registry.shared.processes()
    }


class TestProcesses:
    def test_each_tells_what_it_runs(self, start):
        """One that lags behind is seen to, with its number, its plugins and its errors."""
        here, there = start(process="web"), start(process="worker")
        here.activate("tea")
        for registry in (here, there):
            assert statuses(registry) == {"web": (1, ("tea",)), "worker": (0, ())}
        there.activate("broken")
        assert statuses(here) == {"web": (1, ("tea",)), "worker": (0, ())}
        there.refresh()
        assert statuses(here)["worker"] == (2, ("tea",))
        here.refresh()
        mine, other = here.shared.processes()
        assert (mine.name, other.name) == ("web", "worker")
        assert (mine.generation, other.generation) == (2, 2)
        assert (mine.errors, other.errors) == (1, 1)
        assert mine.pid == other.pid == os.getpid()
        assert mine.host == other.host != ""
        assert datetime.now(UTC) - other.seen < timedelta(seconds=LONG)

    def test_own_comes_first_and_is_as_it_is_now(self, start):
        """Stored rows of this process do not matter to itself."""
        here, _ = start(process="z"), start(process="a")
        storage = here.storage
        assert [process.name for process in here.shared.processes()] == ["z", "a"]
        (key,) = [key for key, row in storage.read("processes").items() if row["name"] == "z"]
        with storage.transaction() as transaction:
            transaction.delete("processes", key)
        assert [process.name for process in here.shared.processes()] == ["z", "a"]

    def test_status_has_them_when_asked(self, start):
        """As data that JSON can hold, beside its usual keys."""
        here = start(process="web")
        assert "processes" not in here.status()
        status = here.status(processes=True)
        (process,) = status["processes"]
        assert {**process, "host": "", "seen": ""} == {
            "name": "web",
            "pid": os.getpid(),
            "host": "",
            "generation": 0,
            "active": (),
            "errors": 0,
            "seen": "",
        }
        assert datetime.fromisoformat(process["seen"]).tzinfo is not None
        assert status["active_plugins"] == 0

    def test_telling_makes_nobody_tell_or_reload(self, start):
        """Each change is reported once, however often the others look."""
        everybody = [start() for _ in range(3)]
        everybody[0].activate("tea")
        for registry in everybody * 2:
            registry.refresh()
        revision = everybody[0].storage.revision()
        for registry in everybody * 2:
            assert registry.refresh() is False
            registry.reload()
        assert everybody[0].storage.revision() == revision

    def test_one_that_ends_is_gone(self, start):
        """A process that is closed takes its row with it."""
        here, there = start(process="web"), start(process="worker")
        there.close()
        assert set(statuses(here)) == {"web"}

    def test_one_that_has_died_is_left_out_and_removed(self, start):
        """After a few minutes it counts as gone, and the next that says removes its row."""
        here, there = start(process="web"), start(process="worker")
        storage = here.storage
        with storage.transaction() as transaction:
            for key, row in transaction.items("processes"):
                if row["name"] == "worker":
                    transaction.put("processes", key, {**row, "seen": row["seen"] - 300})
        assert set(statuses(here)) == {"web"}
        assert len(storage.read("processes")) == 2
        here.activate("tea")
        assert len(storage.read("processes")) == 1
        assert "worker" in statuses(there)

    def test_one_that_watches_tells_again(self, start, monkeypatch):
        """So it stays in the list though nothing changes."""
        monkeypatch.setattr("plugreg._state.heartbeat._INTERVAL", 0.1)
        here = start(process="web")
        with here.watch(every=0.01):
            for _ in range(3):
                (before,) = here.storage.read("processes").values()
                eventually(
                    lambda before=before: before not in here.storage.read("processes").values()
                )

    def test_asking_writes_nothing(self, start):
        """A read is a read."""
        here = start()
        revision = here.storage.revision()
        here.shared.processes()
        here.status(processes=True)
        here.status()
        assert here.storage.revision() == revision

    @pytest.mark.parametrize("options", [{"safe_mode": True}, {"storage": MemoryStorage()}])
    def test_nothing_is_reported_in_safe_mode_or_in_memory(self, start, path, options):
        """Safe mode writes nothing by itself, and nobody else sees memory."""
        here = start(process="web", **options)
        here.activate("tea")
        assert here.storage.read("processes") == {}
        assert set(statuses(here)) == {"web"}

    def test_a_change_stands_though_it_cannot_be_reported(self, start, caplog):
        """It is logged, and reported with the next change."""
        here = start(process="web")
        storage = here.storage
        transaction, failed = storage.transaction, []

        def fail_at_telling():
            # The mark of the load is removed first.
            if here.get("tea").active and not storage.read("loading") and not failed:
                failed.append(True)
                raise StorageUnavailableError("here", "it is away")
            return transaction()

        storage.transaction = fail_at_telling
        assert here.activate("tea").active
        assert "heartbeat of this process cannot be stored" in caplog.text
        there = start(process="worker")
        assert statuses(there)["web"] == (0, ())
        here.reload()
        assert statuses(there)["web"] == (1, ("tea",))
        del storage.transaction

    def test_a_storage_that_stays_full_is_logged_once(self, start, caplog, monkeypatch):
        """Neither each look nor each change adds a line, and there is one when it ends."""
        monkeypatch.setattr("plugreg._state.heartbeat._INTERVAL", 0.0)
        caplog.set_level(logging.INFO, "plugreg")
        here = start(process="web")
        storage, transaction = here.storage, here.storage.transaction
        asked = []

        def fail():
            asked.append(True)
            raise StorageUnavailableError("here", "no space left on device")

        storage.transaction = fail
        with here.watch(every=0.01):
            eventually(lambda: len(asked) > 5)
            here.reload()
            storage.transaction = transaction
            eventually(lambda: any("again" in message for message in caplog.messages))
        logged = [line for line in caplog.messages if "heartbeat of this process" in line]
        assert len(logged) == 2
        assert "no space left on device" in logged[0]

    def test_only_a_process_that_serves_is_listed(self, start):
        """One that watches, that answers requests or that was given a name; no other stores a row.

        An operator's command that loads, changes something and closes is none.
        """
        command, watching, answering = start(), start(), start()
        storage = command.storage
        command.activate("tea")
        command.reload()
        assert storage.read("processes") == {}
        with watching.watch(every=0.01):
            eventually(lambda: len(storage.read("processes")) == 1)
        answering.shared.keep_up()
        eventually(lambda: len(storage.read("processes")) == 2)
        start(process="worker")
        assert len(storage.read("processes")) == 3

    def test_ending_needs_no_storage(self, start, caplog):
        """A row that cannot be removed is left out by readers, in time."""
        here = start()
        here.storage.close()
        here.close()
        assert "Traceback" not in caplog.text

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_a_forked_child_has_a_row_of_its_own(self, start):
        """It says with its first change, and takes nothing of its parent's with it."""
        here = start(process="web")
        storage = here.storage
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                here.reload()
                os.write(writing, str(len(storage.read("processes"))).encode())
                here.close()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0
        assert os.read(reading, 10) == b"2"
        assert [row["pid"] for row in storage.read("processes").values()] == [os.getpid()]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_a_forked_child_tells_at_its_first_look(self, start, monkeypatch):
        """A worker that was forked from a loaded registry is listed before anything changes."""
        monkeypatch.setattr("plugreg._state.heartbeat._INTERVAL", 100 * LONG)
        here = start(process="web")
        storage = here.storage
        here.refresh()
        assert not here.refresh()  # There is nothing more to take in.
        pid = os.fork()
        if pid == 0:
            try:
                with here.watch(every=0.01):
                    eventually(lambda: len(storage.read("processes")) == 2)
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0

    def test_a_clock_of_whole_seconds_is_one(self, path):
        """A host's storage may have no finer clock; times that it sets can be read again."""

        class Whole(Away):
            def now(self):
                return int(time.time())

        registries = [
            PluginRegistry("shop", storage=Whole(path), process=name) for name in ("web", "worker")
        ]
        for registry in registries:
            registry.load()
        assert set(statuses(registries[0])) == {"web", "worker"}
        for registry in registries:
            registry.close()

    def test_a_damaged_row_is_reported(self, start):
        """A row that is no process is in no list, and keeps no other out of it."""
        here = start(process="web")
        with here.storage.transaction() as transaction:
            transaction.put("processes", "x", {"seen": time.time(), "name": 5})
            transaction.put("processes", "y", {"seen": "soon"})
        assert [process.name for process in here.shared.processes()] == ["web"]
        there = start(process="worker")
        assert {process.name for process in there.shared.processes()} == {"web", "worker"}
        assert {"x", "y"} <= here.storage.read("processes").keys()

    def test_the_program_is_the_name_where_none_is_given(self, start, monkeypatch):
        """It is the name that an operator would use."""
        monkeypatch.setattr("sys.argv", ["/usr/bin/shop-worker", "--fast"])
        assert set(statuses(start())) == {"shop-worker"}
