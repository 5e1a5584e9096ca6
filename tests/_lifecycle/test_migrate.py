"""Settings of an older version: taken over once and whole, or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

import plugreg
from plugreg import Plugin, PluginRegistry, PluginState, SettingError, StorageUnavailableError
from plugreg.mixins import SettingsMixin
from plugreg.storage import MemoryStorage, TinyDBStorage

SECRET = "canary-7f3a"


def plugin(version=1, settings=(), user_settings=(), migrate=None):
    """Make a class of a plugin; ``migrate`` is called with values, version and user."""
    members = {
        "SETTINGS": dict(settings),
        "USER_SETTINGS": dict(user_settings),
        "SETTINGS_VERSION": version,
    }
    if migrate is not None:
        members["migrate_settings"] = lambda self, values, version, user=None: migrate(
            values, version, user
        )
    return type("Tea", (SettingsMixin, Plugin), members)


OLD = plugin(1, {"MINUTES": {"validator": int}, "TOKEN": {"protected": True}}, {"BADGE": {}})
"""What stored the values."""

NEW = {"SECONDS": {"validator": int}, "TOKEN": {"protected": True}}
NEW_USER = {"BADGE": {"choices": [("gold", "Gold"), ("tin", "Tin")]}}


class Yard:
    """One store, and registries with the plugin ``tea`` on it, one after the other."""

    def __init__(self, storage=None):
        self.storage = storage or MemoryStorage()
        self.registry = None

    def serve(self, cls):
        if self.registry is not None:
            self.registry.close()
        self.registry = PluginRegistry(
            "shop", builtin=[("tea", cls)], storage=self.storage, new_plugins="active"
        )
        self.registry.load()
        return self.registry

    def rows(self):
        tables = ("settings", "user_settings", "versions")
        return {table: dict(self.storage.read(table)) for table in tables}

    def values(self):
        rows = self.rows()
        return {key: row["value"] for t in list(rows)[:2] for key, row in rows[t].items()}

    def version(self):
        row = self.rows()["versions"].get("tea")
        return None if row is None else row["settings"]

    @property
    def failures(self):
        return {failure.subject: failure for failure in self.registry.errors}


@pytest.fixture
def yard():
    return filled(Yard())


def filled(yard):
    """Let the old plugin store values of its own and of two users."""
    registry = yard.serve(OLD)
    registry.settings("tea").set("MINUTES", 3)
    registry.settings("tea").set("TOKEN", SECRET)
    registry.user_settings("tea", 2).set("BADGE", "tin")
    registry.user_settings("tea", 11).set("BADGE", "gold")
    return yard


def to_seconds(values, version, user):
    """Migrate as an author would."""
    if user is None and version < 2:
        values["SECONDS"] = int(values.pop("MINUTES")) * 60
    return values


def test_values_of_any_type_are_handed_over_as_they_are():
    """A value that is stored as JSON is no text to the plugin, and is stored as JSON again."""
    seen = []
    yard = Yard()
    kinds = {"PORT": {"type": int | str}, "NAMES": {"type": list[str] | str}}
    settings = yard.serve(plugin(1, kinds)).settings("tea")
    settings.set("PORT", 80)
    settings.set("NAMES", ["80"])
    later = plugin(2, kinds, migrate=lambda values, *_: seen.append(dict(values)) or values)
    settings = yard.serve(later).settings("tea")

    assert seen == [{"PORT": 80, "NAMES": ["80"]}]
    assert dict(settings) == {"PORT": 80, "NAMES": ["80"]}
    assert yard.registry.errors == ()


class TestVersion:
    def test_is_stored_with_the_first_value(self):
        """Loading alone writes nothing, and no later value writes it again."""
        yard = Yard()
        registry = yard.serve(plugin(3, {"A": {}}))
        assert yard.version() is None
        registry.settings("tea").set("A", "x")
        assert yard.version() == 3
        registry.settings("tea").set("A", "")
        assert yard.version() == 3

    def test_a_user_value_stores_it_too(self):
        """It is the version of both kinds of settings."""
        yard = Yard()
        yard.serve(plugin(2, {}, {"A": {}})).user_settings("tea", 7).set("A", "x")
        assert yard.version() == 2

    def test_goes_when_the_plugin_is_forgotten(self, yard):
        """Whoever is installed under this slug next starts again."""
        yard.registry.deactivate("tea")
        yard.registry.delete("tea")
        assert yard.rows() == {"settings": {}, "user_settings": {}, "versions": {}}
        yard.registry.activate("tea")
        registry = yard.serve(plugin(2, NEW, migrate=pytest.fail))
        registry.settings("tea").set("SECONDS", 5)
        assert yard.version() == 2

    def test_where_nothing_is_stored_nothing_is_migrated(self, yard):
        """A version row may be left of values that were all unset."""
        view = yard.registry.settings("tea")
        for key in view:
            view.set(key, None)
        for user in (2, 11):
            yard.registry.user_settings("tea", user).set("BADGE", None)
        assert yard.version() == 1
        registry = yard.serve(plugin(2, NEW, migrate=pytest.fail))
        registry.settings("tea").set("SECONDS", 5)
        assert yard.version() == 2

    @pytest.mark.parametrize("row", [{"settings": "2"}, {}, {"settings": None}])
    def test_a_row_that_plugreg_has_not_written_is_reported_by_place(self, yard, row):
        """It is the operator's to mend, so the plugin is failed and nothing is touched."""
        with yard.storage.transaction() as transaction:
            transaction.put("versions", "tea", row)
        registry = yard.serve(OLD)
        assert registry.get("tea").state == PluginState.FAILED
        assert "'tea' of table 'versions'" in registry.errors[0].message
        assert yard.storage.read("versions") == {"tea": row}


class TestMigration:
    def test_each_owner_of_values_is_asked_once(self, yard):
        """The plugin's own first, then users in order, each with the stored values, as strings."""
        asked = []

        def migrate(values, version, user):
            asked.append((dict(values), version, user))
            return to_seconds(values, version, user)

        registry = yard.serve(plugin(2, NEW, NEW_USER, migrate))
        assert asked == [
            ({"MINUTES": "3", "TOKEN": SECRET}, 1, None),
            ({"BADGE": "tin"}, 1, 2),
            ({"BADGE": "gold"}, 1, 11),
        ]
        assert registry.settings("tea")["SECONDS"] == 180
        assert registry.settings("tea")["TOKEN"] == SECRET
        assert registry.user_settings("tea", 11)["BADGE"] == "gold"
        assert yard.values() == {
            "tea:SECONDS": "180",
            "tea:TOKEN": SECRET,
            "tea:2:BADGE": "tin",
            "tea:11:BADGE": "gold",
        }
        assert yard.rows()["settings"]["tea:TOKEN"]["protected"] is True
        assert yard.version() == 2
        assert registry.errors == ()

    def test_is_over_before_the_plugin_is_activated(self, yard):
        """``plugreg_activated`` reads values of the plugin's own version."""
        seen = []
        cls = plugin(2, NEW, NEW_USER, to_seconds)
        cls.plugreg_activated = plugreg.hookimpl(
            lambda self: seen.append(self.get_setting("SECONDS"))
        )
        yard.serve(cls)
        assert seen == [180]

    def test_is_one_commit_and_done_once(self, yard):
        """Neither a reload nor another start asks again, or writes."""
        revision = yard.storage.revision()
        cls = plugin(2, NEW, NEW_USER, to_seconds)
        registry = yard.serve(cls)
        assert yard.storage.revision() == revision + 1
        registry.reload(force=True)
        yard.serve(cls)
        yard.serve(plugin(2, NEW, NEW_USER, pytest.fail))
        assert yard.storage.revision() == revision + 1

    def test_where_none_is_due_the_store_is_not_asked(self, yard):
        """Loading reads each table once, whatever the number of plugins."""
        reads = []

        class Counting:
            """The same store, which records reads."""

            def __init__(self, storage):
                self.transaction, self.revision = storage.transaction, storage.revision
                self.storage = storage

            def read(self, table):
                reads.append(table)
                return self.storage.read(table)

        cls = plugin(2, NEW, NEW_USER, to_seconds)
        yard.serve(cls)
        Yard(Counting(yard.storage)).serve(cls)
        assert reads.count("settings") == reads.count("versions") == 1

    def test_goes_over_several_versions_at_once(self, yard):
        """The plugin receives the version that it starts from."""
        versions = []

        def migrate(values, version, user):
            versions.append(version)
            return to_seconds(values, version, user)

        yard.serve(plugin(2, NEW, NEW_USER, migrate))
        yard.serve(plugin(5, NEW, NEW_USER, migrate))
        assert versions == [1] * 3 + [2] * 3
        assert yard.version() == 5

    def test_without_a_method_values_stay_as_they_are(self, yard):
        """They are checked like any."""
        registry = yard.serve(plugin(2, OLD.SETTINGS, OLD.USER_SETTINGS))
        assert registry.settings("tea")["MINUTES"] == 3
        assert yard.version() == 2

    def test_what_is_left_out_is_removed(self, yard):
        """So is a blank result."""
        yard.serve(
            plugin(
                2, NEW, NEW_USER, lambda values, version, user: {"TOKEN": ""} if not user else {}
            )
        )
        assert yard.values() == {}
        assert yard.version() == 2

    def test_other_plugins_are_not_touched(self, yard):
        """Not even one whose slug begins alike."""
        rows = {"value": "x", "protected": False}
        with yard.storage.transaction() as transaction:
            transaction.put("settings", "tea-pot:MINUTES", rows)
            transaction.put("user_settings", "tea-pot:2:BADGE", rows)
        yard.serve(plugin(2, NEW, NEW_USER, to_seconds))
        assert yard.values()["tea-pot:MINUTES"] == yard.values()["tea-pot:2:BADGE"] == "x"

    def test_references_come_and_go_as_dicts(self, yard, monkeypatch):
        """They are not resolved, and a reference is stored as a reference."""
        monkeypatch.setenv("TEA_TOKEN", SECRET)
        yard.registry.settings("tea").set("TOKEN", {"$env": "TEA_TOKEN"})
        seen = []

        def migrate(values, version, user):
            seen.append(values.get("TOKEN"))
            return to_seconds(values, version, user)

        registry = yard.serve(plugin(2, NEW, NEW_USER, migrate))
        assert seen[0] == {"$env": "TEA_TOKEN"}
        assert registry.settings("tea")["TOKEN"] == SECRET
        assert yard.rows()["settings"]["tea:TOKEN"] == {
            "value": '{"$env": "TEA_TOKEN"}',
            "protected": True,
            "reference": True,
        }

    def test_what_others_write_meanwhile_is_not_lost(self, yard):
        """It is seen, and everything is done again."""
        other = Yard(yard.storage)
        tries = []

        def migrate(values, version, user):
            if user is None:
                tries.append(values["MINUTES"])
                if len(tries) == 1:
                    other.serve(OLD).settings("tea").set("MINUTES", 4)
            return to_seconds(values, version, user)

        registry = yard.serve(plugin(2, NEW, NEW_USER, migrate))
        assert tries == ["3", "4"]
        assert registry.settings("tea")["SECONDS"] == 240

    def test_it_is_given_up_where_others_write_without_end(self, yard):
        """The plugin fails, and everything is as the others left it."""
        other = Yard(yard.storage)
        registry = other.serve(OLD)
        tries = []

        def migrate(values, version, user):
            if user is None:
                tries.append(1)
                registry.settings("tea").set("MINUTES", len(tries))
            return to_seconds(values, version, user)

        yard.serve(plugin(2, NEW, NEW_USER, migrate))
        assert len(tries) == 10
        assert "10 times" in yard.failures["settings migration"].message
        assert yard.values()["tea:MINUTES"] == "10"

    def test_another_process_that_was_first_is_believed(self, yard):
        """Its stored result is read, and nothing is called or written again."""
        late = Yard(yard.storage)
        cls = plugin(2, NEW, NEW_USER, to_seconds)
        rows = {}

        def migrate(values, version, user):
            if not rows:
                rows.update({"old": 1})
                late.serve(cls)
                rows["new"] = late.rows()
            return to_seconds(values, version, user)

        registry = yard.serve(plugin(2, NEW, NEW_USER, migrate))
        assert yard.rows() == rows["new"]
        assert registry.settings("tea")["SECONDS"] == 180
        registry.settings("tea").set("SECONDS", 5)


def raising(error):
    def migrate(values, version, user):
        raise error

    return migrate


def for_user(answer):
    """Answer like this for user 11, and well for all others."""
    return lambda values, version, user: answer if user == 11 else to_seconds(values, version, user)


class TestFailure:
    @pytest.mark.parametrize(
        ("migrate", "parts"),
        [
            (raising(OSError("no")), ["OSError: no"]),
            (raising(SystemExit(1)), ["SystemExit"]),
            (raising(RecursionError()), ["RecursionError"]),
            (lambda *_: None, ["must give a dict", "'NoneType'"]),
            (lambda *_: 5, ["must give a dict", "'int'"]),
            (lambda *_: {"SECONDS": "many"}, ["SECONDS: Provided value is not a valid integer"]),
            (lambda *_: {"SECOND": 1}, ["'SECOND' is no setting", "did you mean 'SECONDS'"]),
            (lambda *_: {5: 1}, ["5 is no setting"]),
            (lambda *_: {"TOKEN": {"$env": 5}}, ["TOKEN: "]),
            (
                lambda *_: {"SECONDS": "many", "OTHER": 1, "TOKEN": [SECRET]},
                ["SECONDS: ", "'OTHER' is no setting", "TOKEN: "],
            ),
            (for_user({"BADGE": "lead"}), ["BADGE: Chosen value is not a valid option of user 11"]),
            (for_user(None), ["must give a dict of key to value of user 11"]),
            (raising(ValueError(f"cannot use {SECRET}")), ["ValueError: cannot use ***"]),
        ],
    )
    def test_nothing_changes_and_the_plugin_fails(self, yard, migrate, parts):
        """All faults of its result are reported at once, and none shows a protected value."""
        before = yard.rows()
        revision = yard.storage.revision()
        registry = yard.serve(plugin(2, NEW, NEW_USER, migrate))
        assert yard.rows() == before
        assert yard.storage.revision() == revision
        assert registry.get("tea").state is PluginState.FAILED
        assert registry.get("tea").wanted
        (failure,) = registry.errors
        assert (failure.stage, failure.subject) == ("activate", "settings migration")
        for part in parts:
            assert part in failure.message
        assert SECRET not in failure.message + failure.traceback

    def test_it_is_tried_again_at_each_reload(self, yard):
        """Once it goes well the plugin is in service."""
        answers = [OSError("no"), OSError("no"), None]

        def migrate(values, version, user):
            error = answers[0]
            if error is not None:
                answers.pop(0)
                raise error
            return to_seconds(values, version, user)

        registry = yard.serve(plugin(2, NEW, NEW_USER, migrate))
        registry.reload()
        assert not registry.get("tea").active
        registry.reload()
        assert registry.get("tea").active
        assert registry.errors == ()
        assert registry.settings("tea")["SECONDS"] == 180

    def test_the_old_plugin_still_has_its_values(self, yard):
        """Going back to the older version of a package is a way out."""
        yard.serve(plugin(2, NEW, NEW_USER, raising(OSError())))
        registry = yard.serve(OLD)
        assert registry.settings("tea")["MINUTES"] == 3
        registry.settings("tea").set("MINUTES", 4)

    def test_an_interrupt_passes_and_changes_nothing(self, yard):
        """Ctrl-C is no fault of the plugin's."""
        before = yard.rows()
        with pytest.raises(KeyboardInterrupt):
            yard.serve(plugin(2, NEW, NEW_USER, raising(KeyboardInterrupt())))
        assert yard.rows() == before

    def test_a_store_that_cannot_be_written(self, yard):
        """The plugin fails, the values stay; with the store it is back."""

        class Full:
            """The same store, whose disk is full."""

            def __init__(self, storage):
                self.read, self.revision = storage.read, storage.revision
                self.storage = storage

            @contextmanager
            def transaction(self):
                with self.storage.transaction() as transaction:
                    yield transaction
                    raise StorageUnavailableError("memory", "disk full")

        before = yard.rows()
        full = Yard(Full(yard.storage))
        registry = full.serve(plugin(2, NEW, NEW_USER, to_seconds))
        assert "disk full" in full.failures["settings migration"].message
        assert not registry.get("tea").active
        assert yard.rows() == before
        assert yard.serve(plugin(2, NEW, NEW_USER, to_seconds)).get("tea").active

    def test_writing_a_setting_in_it_is_refused(self, yard):
        """The value would be of one version among values of the other."""
        cls = plugin(2, NEW, NEW_USER)

        def migrate(self, values, version, user=None):
            self.set_setting("SECONDS", 1)
            return values

        cls.migrate_settings = migrate
        before = yard.rows()
        yard.serve(cls)
        assert "version 1, older than the plugin's 2" in yard.failures["settings migration"].message
        assert yard.rows() == before

    def test_a_method_that_cannot_be_called_is_a_fault_of_the_contract(self, yard):
        """It is found out before there is anything to migrate."""
        cls = plugin(2, NEW)
        cls.migrate_settings = lambda self: {}
        registry = yard.serve(cls)
        (failure,) = registry.errors
        assert failure.subject == "settings"
        assert "migrate_settings must accept the arguments" in failure.message


class TestNewer:
    def test_no_hook_of_the_definition_is_asked(self, yard):
        """Effects of before_save elsewhere would be in vain."""
        yard.serve(plugin(3, NEW, NEW_USER, to_seconds))
        cls = plugin(1, {"MINUTES": {"before_save": pytest.fail}})
        with pytest.raises(SettingError, match="of version 3"):
            yard.serve(cls).settings("tea").set("MINUTES", 4)

    def test_settings_of_a_newer_version_are_read_only(self, yard):
        """They are reported, read as far as they fit, and never written; the plugin is active."""
        yard.serve(plugin(3, NEW, NEW_USER, to_seconds))
        before = yard.rows()
        registry = yard.serve(OLD)
        assert registry.get("tea").active
        assert registry.settings("tea")["TOKEN"] == SECRET
        for write in (
            lambda: registry.settings("tea").set("MINUTES", 4),
            lambda: registry.settings("tea").set("TOKEN", None),
            lambda: registry.user_settings("tea", 5).set("BADGE", "x"),
        ):
            with pytest.raises(SettingError, match=r"of version 3, .* knows version 1"):
                write()
        assert yard.rows() == before
        (failure,) = registry.errors
        assert (failure.stage, failure.subject) == ("activate", "settings version")
        assert "version 3" in failure.message
        assert "version 1" in failure.message
        registry.reload()
        assert [record.subject for record in registry.errors] == ["settings version"]
        assert yard.serve(plugin(3, NEW, NEW_USER)).errors == ()

    def test_a_process_that_has_not_seen_it_yet_writes_nothing_either(self, yard):
        """The store itself is looked at in each write."""
        registry = yard.registry
        Yard(yard.storage).serve(plugin(2, NEW, NEW_USER, to_seconds))
        before = yard.rows()
        with pytest.raises(SettingError, match=r"of version 2, .* knows version 1"):
            registry.settings("tea").set("MINUTES", 4)
        assert yard.rows() == before
        assert registry.errors == ()
        registry.reload()
        assert [failure.subject for failure in registry.errors] == ["settings version"]

    def test_older_values_that_come_later_are_reported(self):
        """A process with the older plugin may be first to write."""
        yard, old = Yard(), Yard()
        old.storage = yard.storage
        registry = yard.serve(plugin(2, NEW, NEW_USER, to_seconds))
        old.serve(OLD).settings("tea").set("MINUTES", 3)
        with pytest.raises(SettingError, match="version 1, older than the plugin's 2"):
            registry.settings("tea").set("SECONDS", 1)
        registry.reload()
        assert [failure.subject for failure in registry.errors] == ["settings version"]
        registry.reload(force=True)
        assert registry.errors == ()
        assert registry.settings("tea")["SECONDS"] == 180


HOST = """
import json, os, sys
from plugreg import Plugin, PluginRegistry
from plugreg.mixins import SettingsMixin
from plugreg.storage import TinyDBStorage

class Tea(SettingsMixin, Plugin):
    SETTINGS = {"SECONDS": {"validator": int}, "TOKEN": {"protected": True}}
    USER_SETTINGS = {"BADGE": {}}
    SETTINGS_VERSION = 2
    def migrate_settings(self, values, version, user=None):
        with open(sys.argv[2], "a") as file:
            file.write(f"{user}\\n")
        if user is None:
            values["SECONDS"] = int(values.pop("MINUTES")) * 60
        elif sys.argv[3:] == ["die"] and user == 11:
            os._exit(9)
        return values

storage = TinyDBStorage(sys.argv[1])
with PluginRegistry("shop", builtin=[Tea], storage=storage, new_plugins="active") as registry:
    registry.load()
    print(json.dumps([dict(registry.settings("tea")), [e.message for e in registry.errors]]))
"""


class TestProcesses:
    @pytest.fixture
    def start(self, tmp_path):
        """Return a function that starts a host in a process of its own on the same store."""
        path = tmp_path / "store.json"
        filled(Yard(TinyDBStorage(path)))

        def start(*options):
            return subprocess.Popen(
                [sys.executable, "-c", HOST, str(path), str(tmp_path / "asked"), *options],
                env={**os.environ, "PYTHONPATH": str(Path(plugreg.__file__).parents[1])},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )

        start.path, start.asked = path, tmp_path / "asked"
        return start

    def test_a_second_one_finds_it_done(self, start):
        """It reads the migrated values, and the plugin's method is not called again."""
        for _ in range(2):
            out, err = start().communicate(timeout=60)
            assert err == ""
            assert json.loads(out) == [{"SECONDS": 180, "TOKEN": SECRET}, []]
        assert start.asked.read_text().split() == ["None", "2", "11"]

    def test_several_at_once_agree(self, start):
        """Whoever is first, all read the same, and nothing is migrated twice in turn."""
        hosts = [start() for _ in range(4)]
        answers = [host.communicate(timeout=60) for host in hosts]
        assert {err for _, err in answers} == {""}
        assert [json.loads(out) for out, _ in answers] == [
            [{"SECONDS": 180, "TOKEN": SECRET}, []]
        ] * 4

    def test_one_that_dies_in_the_middle_leaves_the_old_values(self, start):
        """The next one does it all."""
        before = Yard(TinyDBStorage(start.path)).rows()
        dying = start("die")
        dying.communicate(timeout=60)
        assert dying.returncode == 9
        assert Yard(TinyDBStorage(start.path)).rows() == before
        out, _ = start().communicate(timeout=60)
        assert json.loads(out) == [{"SECONDS": 180, "TOKEN": SECRET}, []]
