"""Taking in changes of other processes: epoch, values, desired states."""

from __future__ import annotations

import random
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from plugreg import (
    Plugin,
    PluginActiveError,
    PluginRegistry,
    PluginState,
    RegistryNotReady,
    Stage,
    StorageUnavailableError,
    hookimpl,
)
from plugreg._state.plugin_rows import PluginRows
from plugreg.api import Actor, PluginAPI
from plugreg.mixins import SettingsMixin
from plugreg.storage import MemoryStorage, TinyDBStorage


class Watchful(SettingsMixin, Plugin):
    """Counts its notifications."""

    SETTINGS = {"COLOUR": {"default": "red"}, "COUNT": {"validator": int, "default": 1}}
    USER_SETTINGS = {"BADGE": {}}

    def __init__(self):
        self.loads = 0
        self.changes = []

    @hookimpl
    def plugreg_plugins_loaded(self, report):
        self.loads += 1

    @hookimpl
    def plugreg_settings_changed(self, changed):
        self.changes.append(changed)


class Tea(Plugin):
    NAME = "tea"


class Milk(Plugin):
    NAME = "milk"


class Faulty(MemoryStorage):
    """Counts the verbs that were used, and can be away."""

    def __init__(self):
        super().__init__()
        self.away = False
        self.fails_in = 0
        self.used = []

    def _use(self, verb):
        self.used.append(verb)
        self.fails_in -= 1
        if self.away or self.fails_in == 0:
            raise StorageUnavailableError("memory", "it is away")

    def read(self, table):
        self._use("read")
        return super().read(table)

    def transaction(self):
        self._use("transaction")
        return super().transaction()

    def revision(self):
        self._use("revision")
        return super().revision()


class Process:
    """A registry as another process has it, on the same storage: with plugins of its own."""

    def __init__(self, storage, *plugins, **options):
        self.watchful = Watchful()
        options.setdefault("mandatory", ["watchful"])
        builtin = [("watchful", self.watchful), *plugins]
        self.registry = PluginRegistry("shop", storage=storage, builtin=builtin, **options)
        self.registry.load()

    @property
    def reloads(self):
        return self.watchful.loads - 1

    @property
    def active(self):
        return {*self.registry.active} - {"watchful"}


@pytest.fixture
def storage():
    return Faulty()


@pytest.fixture
def start(storage):
    """Yield a function that starts one more process; by default it can find tea and milk."""
    started = []

    def start(*plugins, **options):
        started.append(Process(storage, *(plugins or (Tea, Milk)), **options))
        return started[-1]

    yield start
    storage.away = False
    for process in started:
        process.registry.close()


@pytest.fixture
def here(start):
    return start()


@pytest.fixture
def there(start):
    return start()


def epoch(storage):
    return PluginRows(storage).epoch()


class TestEpoch:
    def test_each_changed_desired_state_raises_it_by_one(self, here, storage):
        """Activating, deactivating and deleting do, and an unchanged desired state does not."""
        assert epoch(storage) == 0
        here.registry.activate("tea")
        assert epoch(storage) == 1
        here.registry.activate("tea")
        assert epoch(storage) == 1
        here.registry.deactivate("tea")
        here.registry.deactivate("tea")
        assert epoch(storage) == 2
        here.registry.delete("tea")
        assert epoch(storage) == 3

    def test_several_desired_states_of_one_change_raise_it_once(self, storage):
        """A plugin that goes with those that need it is one change."""
        plugin_rows = PluginRows(storage)
        assert plugin_rows.set_active(dict.fromkeys(["tea", "milk"], True))[1] == 1
        assert plugin_rows.set_active(dict.fromkeys(["tea", "milk"], True))[1] == 0
        assert plugin_rows.set_active(dict.fromkeys(["tea", "milk", "sugar"], False))[1] == 2

    def test_a_change_that_is_not_stored_does_not(self, here, storage):
        """The generation is part of the same transaction as the desired state."""
        storage.away = True
        with pytest.raises(StorageUnavailableError):
            here.registry.activate("tea")
        storage.away = False
        assert epoch(storage) == 0

    def test_loading_and_refreshing_do_not(self, here, storage, start):
        """Nor do their new plugins, or plugins that they cannot load."""
        here.registry.activate("tea")
        before = epoch(storage)
        start(("broken", "no_such_module_x:Broken"), new_plugins="active")
        here.registry.reload(full=True, collect=True)
        here.registry.refresh()
        here.registry.settings("watchful").set("COUNT", 2)
        here.registry.set_metadata("tea", {"a": 1})
        assert epoch(storage) == before

    def test_installing_and_uninstalling_ask_all_to_reload(self, storage, folder_installer):
        """Every other process has to discover plugins again."""
        code = "from plugreg import Plugin\nclass Cup(Plugin): ..."
        points = {"cup": "shop_cup_x:Cup"}
        folder_installer.ready["shop-cup"] = ("1.0", points, {"shop_cup_x.py": code})
        here = Process(storage, installer=folder_installer)
        there = Process(storage)
        here.registry.install("shop-cup")
        assert epoch(storage) == 1
        assert not here.registry.refresh()
        assert there.registry.refresh()
        assert there.registry.get("cup").state is PluginState.INACTIVE
        here.registry.uninstall("cup")
        # Deleting its stored state is one more change.
        assert epoch(storage) == 3
        assert not here.registry.refresh()
        assert there.registry.refresh()
        assert "cup" not in there.registry.plugins
        here.registry.close()
        there.registry.close()

    def test_reloading_over_http_asks_all(self, here, there, storage):
        """An operator who reloads means every process, and this one does so once."""
        api = PluginAPI(here.registry)
        api.plugins_reload_create(Actor(1, is_superuser=True), body={})
        assert epoch(storage) == 1
        assert here.reloads == 1
        assert not here.registry.refresh()
        assert there.registry.refresh()
        assert not there.registry.refresh()
        assert (here.reloads, there.reloads) == (1, 1)

    def test_a_damaged_one_is_reported(self, here, storage):
        """A row that is no generation is a record with its place, and stops no reader."""
        with storage.transaction() as transaction:
            transaction.put("counters", "generation", {"number": "7", "asked": 0})
        here.registry.refresh()
        assert [failure.slug for failure in here.registry.errors] == ["counters"]
        assert "'generation' of table 'counters'" in here.registry.errors[0].message
        assert here.registry.refresh() is False


class TestRefresh:
    def test_is_one_look_where_nothing_was_stored(self, here, storage):
        """It asks for the revision once, and touches nothing else."""
        here.registry.refresh()  # Its own load has stored the plugins that it found.
        storage.used.clear()
        assert here.registry.refresh() is False
        assert storage.used == ["revision"]

    def test_needs_a_registry_in_use(self, storage):
        """Before load and after close it is refused."""
        registry = PluginRegistry("shop", storage=storage)
        with pytest.raises(RegistryNotReady):
            registry.refresh()
        with pytest.raises(RegistryNotReady):
            registry.watch()
        registry.load()
        registry.close()
        with pytest.raises(RegistryNotReady):
            registry.refresh()

    def test_takes_in_what_was_switched_on_and_off(self, here, there):
        """A plugin activated in one process serves in the other, and no longer once it is off."""
        here.registry.activate("tea")
        assert there.registry.refresh() is True
        assert there.active == {"tea"}
        assert there.registry.refresh() is False
        here.registry.deactivate("tea")
        assert there.registry.refresh() is True
        assert there.active == set()
        assert here.reloads == 0

    def test_what_comes_to_nothing_reloads_nothing(self, here, there):
        """On and off again, the desired states are those that the snapshot was made from."""
        here.registry.activate("tea")
        here.registry.deactivate("tea")
        assert there.registry.refresh() is False
        assert there.reloads == 0
        assert there.registry.shared.processes()[0].generation == 2

    def test_own_changes_reload_nothing(self, here):
        """A process has carried out its own stored changes."""
        here.registry.activate("tea")
        here.registry.settings("watchful").set("COUNT", 2)
        here.registry.set_metadata("tea", {"a": 1})
        here.registry.deactivate("tea")
        here.registry.delete("tea")
        here.registry.shared.reload_everywhere()
        assert here.reloads == 1
        assert here.registry.refresh() is False
        assert here.reloads == 1

    def test_reads_settings_and_metadata_again(self, here, there):
        """A value stored by one process is read in the other, without a reload."""
        here.registry.settings("watchful").set("COLOUR", "blue")
        here.registry.user_settings("watchful", 7).set("BADGE", "gold")
        here.registry.set_metadata("tea", {"a": 1})
        view = there.registry.settings("watchful")
        assert view["COLOUR"] == "red"
        assert there.registry.refresh() is False
        assert view["COLOUR"] == "blue"
        assert there.registry.user_settings("watchful", 7)["BADGE"] == "gold"
        assert there.registry.metadata("tea") == {"a": 1}
        assert there.reloads == 0

    @pytest.mark.parametrize("take_in", ["refresh", "reload"])
    def test_tells_a_plugin_once_of_its_changed_settings(self, here, there, take_in):
        """It hears the keys that have another value now, and nothing where there are none."""
        there.registry.refresh()
        here.registry.settings("watchful").set("COLOUR", "blue")
        here.registry.user_settings("watchful", 7).set("BADGE", "gold")
        here.registry.set_metadata("watchful", {"a": 1})
        getattr(there.registry, take_in)()
        assert there.watchful.changes == [frozenset({"COLOUR", "BADGE"})]
        here.registry.set_metadata("watchful", {"a": 2})
        getattr(there.registry, take_in)()
        assert len(there.watchful.changes) == 1

    def test_an_object_that_is_made_again_is_not_reported(self, storage):
        """It was made with the values as they are now; the one before is gone."""
        seen_changes = []

        class Fresh(SettingsMixin, Plugin):
            NAME = "fresh"
            SETTINGS = {"COLOUR": {"default": "red"}}

            @hookimpl
            def plugreg_settings_changed(self, changed):
                seen_changes.append(changed)

        here, there = (Process(storage, Fresh, new_plugins="active") for _ in range(2))
        there.registry.settings("fresh").set("COLOUR", "blue")
        seen_changes.clear()
        here.registry.reload(force=True)
        assert here.registry.settings("fresh")["COLOUR"] == "blue"
        assert seen_changes == []
        here.registry.close()
        there.registry.close()

    @pytest.mark.parametrize("how", ["refreshed meanwhile", "written here", "refreshed later"])
    def test_an_object_hears_of_what_is_stored_while_it_is_activated(self, storage, how):
        """It may have read the value before; its own writes are no news to it."""
        begun, stored = threading.Event(), threading.Event()

        class Slow(SettingsMixin, Plugin):
            NAME = "slow"
            SETTINGS = {"COLOUR": {"default": "red"}, "STARTS": {"default": "0"}}
            USER_SETTINGS = {"BADGE": {}}

            @hookimpl
            def plugreg_activated(self):
                self.seen_changes = []
                self.set_setting("starts", self.get_setting("STARTS") + "1")
                self.set_user_setting("badge", self.get_setting("STARTS"), 7)
                self.colour = self.get_setting("COLOUR")
                begun.set()
                assert stored.wait(30)

            @hookimpl
            def plugreg_settings_changed(self, changed):
                self.seen_changes.append(changed)
                self.colour = self.get_setting("COLOUR")

        stored.set()
        here, there = (Process(storage, Slow, new_plugins="active") for _ in range(2))
        begun.clear()
        stored.clear()
        thread = threading.Thread(target=here.registry.reload, kwargs={"force": True})
        thread.start()
        assert begun.wait(30)
        writer = here if how == "written here" else there
        writer.registry.settings("slow").set("COLOUR", "blue")
        if how == "refreshed meanwhile":
            here.registry.refresh()
            assert here.registry.settings("slow")["COLOUR"] == "blue"
        stored.set()
        thread.join()
        here.registry.refresh()
        plugin = here.registry.get("slow").plugin
        assert (plugin.colour, plugin.seen_changes) == ("blue", [frozenset({"COLOUR"})])
        here.registry.settings("slow").set("COLOUR", "green")
        assert (plugin.colour, len(plugin.seen_changes)) == ("green", 2)
        here.registry.close()
        there.registry.close()

    def test_changed_settings_are_reported_where_the_reload_fails(self, here, there, storage):
        """The values are read by then, and a later reload finds no difference any more."""
        here.registry.settings("watchful").set("COLOUR", "blue")
        reads, read = [], storage.read

        def fail_at_wishes(table):
            reads.append(table)
            if table == "plugins":
                raise StorageUnavailableError("memory", "it is away")
            return read(table)

        storage.read = fail_at_wishes
        with pytest.raises(StorageUnavailableError):
            there.registry.reload()
        del storage.read
        assert "settings" in reads
        assert there.watchful.changes == [frozenset({"COLOUR"})]

    def test_renews_the_record_of_bad_values(self, start, storage):
        """A value of another process may be invalid here, and be corrected there."""
        here = start()
        with storage.transaction() as transaction:
            row = {"value": "many", "protected": False}
            transaction.put("settings", "watchful:COUNT", row)
        assert here.registry.errors == ()
        here.registry.refresh()
        (failure,) = here.registry.errors
        assert (failure.slug, failure.stage) == ("watchful", Stage.ACTIVATE)
        assert "COUNT" in failure.message
        with storage.transaction() as transaction:
            transaction.delete("settings", "watchful:COUNT")
        here.registry.refresh()
        assert here.registry.errors == ()

    def test_what_another_process_finds_is_no_change(self, here, start):
        """Its load stores plugins that this one cannot find, wanted or not."""
        start(Tea, ("cup", Milk), new_plugins="active")
        assert here.registry.refresh() is False
        here.registry.activate("tea")
        here.registry.deactivate("tea")
        assert here.registry.refresh() is False
        assert here.reloads == 0

    def test_what_another_process_must_have_is_taken_in(self, here, start):
        """Nobody wanted it, and it is stored as wanted all the same, for a plugin known here."""
        start(Tea, Milk, mandatory=["watchful", "tea"])
        assert here.registry.refresh() is True
        assert here.active == {"tea"}
        assert here.registry.refresh() is False

    def test_a_desired_state_for_what_cannot_be_found_reloads_once(self, here, start):
        """It might have been installed; that it was not is no reason to look again."""
        there = start(("cup", Milk))
        there.registry.activate("cup")
        assert here.registry.refresh() is True
        assert here.registry.get("cup").state is PluginState.MISSING
        assert here.registry.refresh() is False
        assert there.registry.refresh() is False
        assert (here.reloads, there.reloads) == (1, 0)

    def test_what_fails_here_is_not_tried_for_ever(self, here, start):
        """A plugin that serves in one process and fails in the other is wanted in both."""

        class BadTea(Plugin):
            NAME = "tea"

            def __init__(self):
                raise ValueError("no water")

        there = start(BadTea)
        here.registry.activate("tea")
        assert there.registry.refresh() is True
        assert there.registry.get("tea").state is PluginState.FAILED
        assert there.registry.get("tea").wanted
        for process in (here, there, here, there):
            assert process.registry.refresh() is False
        assert here.active == {"tea"}

    def test_all_that_are_asked_look_for_new_plugins(self, storage, tmp_path):
        """A request to reload everywhere finds new plugins, in each process once."""
        here, there = (Process(storage, directories=[tmp_path]) for _ in range(2))
        source = "from plugreg import Plugin\nclass Cup(Plugin):\n    NAME = 'cup'\n"
        Path(tmp_path, "cup_x.py").write_text(source)
        here.registry.shared.reload_everywhere(collect=True)
        assert "cup" in here.registry.plugins
        assert there.registry.refresh() is True
        assert "cup" in there.registry.plugins
        assert there.registry.refresh() is False
        here.registry.close()
        there.registry.close()

    def test_an_own_request_does_not_answer_that_of_others(self, here, there):
        """Reloading without a discovery leaves requests of another process open."""
        there.registry.shared.reload_everywhere(collect=True)
        here.registry.shared.reload_everywhere()
        assert here.registry.refresh() is True
        assert here.registry.refresh() is False

    @pytest.mark.parametrize("failing", range(1, 16))
    def test_a_request_survives_a_storage_that_fails_meanwhile(self, storage, tmp_path, failing):
        """It is carried out at a later refresh, wherever the storage failed."""
        here, there = (Process(storage, directories=[tmp_path]) for _ in range(2))
        source = "from plugreg import Plugin\nclass Cup(Plugin):\n    NAME = 'cup'\n"
        Path(tmp_path, "cup_x.py").write_text(source)
        here.registry.shared.reload_everywhere(collect=True)
        storage.fails_in = failing
        with suppress(StorageUnavailableError):
            there.registry.refresh()
        storage.fails_in = 0
        there.registry.refresh()
        assert "cup" in there.registry.plugins
        assert there.registry.refresh() is False
        here.registry.close()
        there.registry.close()

    def test_a_failed_reload_of_all_is_tried_again_here(self, here, there, storage):
        """The process that asked does what it asked for, too, at its next refresh."""
        here.registry.refresh()
        storage.fails_in = 9
        with pytest.raises(StorageUnavailableError):
            here.registry.shared.reload_everywhere(collect=True)
        storage.fails_in = 0
        assert here.registry.refresh() is True
        assert here.registry.refresh() is False

    def test_a_request_and_a_desired_state_reload_once(self, here, there):
        """A reload that the desired state causes answers the request to look for plugins."""
        before = here.reloads
        there.registry.activate("milk")
        there.registry.activate("tea")
        there.registry.shared.reload_everywhere(collect=True)
        assert here.registry.refresh() is True
        assert here.reloads == before + 1

    def test_a_desired_state_that_is_not_carried_out_yet_stays_news(self, here, there):
        """Carrying out a desired state of one plugin takes in no other one's."""
        here.registry.activate("tea")
        there.registry.activate("milk")
        assert there.active == {"milk"}
        assert there.registry.refresh() is True
        assert there.active == {"milk", "tea"}

    @pytest.mark.parametrize("reading", ["refresh", "reload"])
    @pytest.mark.parametrize("table", ["counters", "plugins", "settings", "metadata"])
    def test_what_is_stored_while_it_reads_is_taken_in_next(
        self, here, there, storage, table, reading
    ):
        """Whichever table was read before, the next refresh sees the changes since then."""
        here.registry.settings("watchful").set("COUNT", 2)
        read, late = storage.read, []

        def read_and_then(name):
            found = read(name)
            if name == table and not late:
                late.append(True)
                here.registry.activate("tea")
                here.registry.settings("watchful").set("COLOUR", "blue")
                here.registry.set_metadata("tea", {"a": 1})
            return found

        storage.read = read_and_then
        getattr(there.registry, reading)()
        assert late
        there.registry.refresh()
        assert there.active == {"tea"}
        assert there.registry.settings("watchful")["COLOUR"] == "blue"
        assert there.registry.metadata("tea") == {"a": 1}
        assert there.registry.refresh() is False

    @pytest.mark.parametrize("table", ["counters", "plugins"])
    def test_a_desired_state_for_the_unknown_is_not_missed_meanwhile(
        self, here, start, storage, table
    ):
        """The desired states and the generation that are compared are of one moment."""
        there = start(("cup", Milk))
        read, late = storage.read, []

        def read_and_then(name):
            found = read(name)
            if name == table and not late:
                late.append(True)
                there.registry.activate("cup")
            return found

        storage.read = read_and_then
        assert here.registry.refresh() is True
        assert here.registry.get("cup").wanted

    def test_threads_take_turns(self, here, there):
        """However many ask at once, plugins are reloaded once."""
        here.registry.activate("tea")
        start = threading.Barrier(8)

        def refresh():
            start.wait()
            there.registry.refresh()

        threads = [threading.Thread(target=refresh) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert there.reloads == 1
        assert there.active == {"tea"}

    def test_plugin_code_may_ask_for_it(self, storage):
        """While plugins are being loaded it is put off, and nothing waits for itself."""
        answers = []

        class Asking(Plugin):
            @hookimpl
            def plugreg_plugins_loaded(self, report):
                answers.append(registry.refresh())

        registry = PluginRegistry("shop", storage=storage, builtin=[Asking], new_plugins="active")
        with registry:
            registry.load()
            assert answers == [False]

    def test_the_state_in_hand_serves_while_the_storage_is_away(self, here, there, storage):
        """The error passes through, and once the storage is back so are the changes."""
        there.registry.activate("milk")
        here.registry.refresh()
        there.registry.activate("tea")
        there.registry.settings("watchful").set("COLOUR", "blue")
        storage.away = True
        with pytest.raises(StorageUnavailableError):
            here.registry.refresh()
        assert here.active == {"milk"}
        assert here.registry.settings("watchful")["COLOUR"] == "red"
        storage.away = False
        assert here.registry.refresh() is True
        assert here.active == {"milk", "tea"}
        assert here.registry.settings("watchful")["COLOUR"] == "blue"

    def test_a_store_that_was_put_back_is_taken_in(self, tmp_path):
        """An older copy of the store has an older revision, which is another one all the same."""
        path = tmp_path / "plugins.json"
        here, there = (Process(TinyDBStorage(path), Tea) for _ in range(2))
        here.registry.refresh()
        copy = path.read_bytes()
        there.registry.activate("tea")
        assert here.registry.refresh() is True
        path.write_bytes(copy)
        assert here.registry.refresh() is True
        assert here.active == set()
        here.registry.close()
        there.registry.close()

    def test_safe_mode_reads_and_runs_nothing(self, there, start):
        """A plugin that was switched on elsewhere is shown as wanted, and stays off."""
        here = start(safe_mode=True)
        there.registry.activate("tea")
        there.registry.set_metadata("tea", {"a": 1})
        assert here.registry.refresh() is True
        assert here.registry.get("tea").wanted
        assert here.active == set()
        assert here.registry.metadata("tea") == {"a": 1}


@pytest.mark.parametrize("seed", range(6))
def test_processes_with_other_plugins_converge(storage, seed):
    """Invariant 7: whatever each can load, they agree on the desired states, and then come to rest.

    Nobody reloads more often than others have changed something.
    """
    chance = random.Random(seed)
    slugs = [f"plugin-{number}" for number in range(8)]
    plugins = {slug: type("Any", (Plugin,), {"NAME": slug}) for slug in slugs}

    class Broken(Plugin):
        def __init__(self):
            raise ValueError("no")

    everybody = []
    for _ in range(6):
        own = chance.sample(slugs, 5)
        broken = set(chance.sample(own, 2))
        found = [(slug, Broken if slug in broken else plugins[slug]) for slug in own]
        new = chance.choice(["active", "inactive"])
        process = Process(storage, *found, new_plugins=new)
        process.loadable = {*own} - broken
        everybody.append(process)
    for process in everybody:
        process.registry.refresh()
    reloads = {process: process.reloads for process in everybody}
    changes = 0
    for _ in range(150):
        who, slug = chance.choice(everybody), chance.choice(slugs)
        action = chance.choice(["on", "off", "on", "off", "refresh", "refresh", "ask", "delete"])
        before = epoch(storage)
        if action == "refresh":
            who.registry.refresh()
        elif action == "ask":
            who.registry.shared.reload_everywhere(collect=True)
            reloads[who] += 1
        elif slug in who.registry.plugins:
            record = who.registry.get(slug)
            if action == "on" and record.is_installed:
                who.registry.activate(slug)
            elif action == "off":
                who.registry.deactivate(slug)
            elif action == "delete":
                # The store decides whether it is on, not the memory of a process.
                with suppress(PluginActiveError):
                    who.registry.delete(slug)
        changes += epoch(storage) - before
    for process in everybody:
        process.registry.refresh()
    assert changes > 30
    for process in everybody:
        assert process.reloads - reloads[process] <= changes
        process.registry.refresh()
    quiet = [process.reloads for process in everybody]
    for process in everybody * 2:
        assert process.registry.refresh() is False
    assert [process.reloads for process in everybody] == quiet
    rows = PluginRows(storage).all()
    wanted = {slug for slug, row in rows.items() if row.active}
    for process in everybody:
        assert process.active == wanted & process.loadable
        process.registry.close()


def test_a_plugin_deleted_elsewhere_has_its_new_pk():
    """Its number is another one, and plugins in service stay as they are."""
    storage = MemoryStorage()
    builtin = [(slug, type(slug.upper(), (Plugin,), {})) for slug in "ab"]
    here, there = (
        PluginRegistry("shop", group="no.such", builtin=builtin, storage=storage) for _ in "12"
    )
    with here, there:
        here.load()
        there.load()
        there.activate("b")
        here.refresh()
        plugin, old = here.get("b").plugin, there.get("a").pk
        here.delete("a")

        assert there.refresh() is True
        assert there.get("a").pk == here.get("a").pk != old
        assert (there.refresh(), here.refresh()) == (False, False)
        assert here.get("b").plugin is plugin
