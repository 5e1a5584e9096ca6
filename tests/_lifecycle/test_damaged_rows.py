"""One damaged row of a store: it costs the plugin that it belongs to, and nothing else."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest

from plugreg import Plugin, PluginRegistry
from plugreg._state.probe_report import ProbeOutcome, ProbeReport, as_record
from plugreg.exceptions import RecordCorruptError, StorageCorruptError
from plugreg.mixins import SettingsMixin
from plugreg.records import PluginState
from plugreg.storage import MemoryStorage, SQLStorage, copy, export_json, import_json


class Tea(SettingsMixin, Plugin):
    NAME = "tea"
    SETTINGS = {"KIND": {"default": "green"}, "CUPS": {"default": "1"}}


class Milk(SettingsMixin, Plugin):
    NAME = "milk"
    SETTINGS = {"FAT": {"default": "3"}}


def raw(path, statement, *values):
    """Do something in the database that no plugreg does."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, values).fetchall()


class Damaged:
    """A store of two active plugins, in which rows are then damaged."""

    def __init__(self, kind, folder):
        self.kind = kind
        self.path = folder / "store.db"
        self.storage = MemoryStorage() if kind == "content" else self._open()
        self._before = {}
        with self.registry() as registry:
            registry.load()
            registry.activate("tea")
            registry.activate("milk")
            registry.settings("tea").set("KIND", "black")
            registry.set_metadata("tea", {"shelf": 3})
        report = ProbeReport(
            slug="tea", version=None, at=datetime.now(UTC), outcome=ProbeOutcome.OK
        )
        row = {**as_record(report), "distribution": None, "version": None, "stamp": ""}
        with self.storage.transaction() as transaction:
            transaction.put("probes", "tea", row)

    def _open(self):
        return SQLStorage(f"sqlite:///{self.path}")

    def registry(self, **options):
        options = {"storage": self.storage, "builtin": [Tea, Milk], **options}
        return PluginRegistry("damaged", **options)

    def damage(self, table, key, record=None):
        """Make a row unreadable, or let its fields be wrong, as ``record`` or in the first one."""
        self._before[table, key] = self.storage.read(table).get(key)
        if self.kind == "content":
            wrong = {name: [] for name in self._before[table, key] or {"value": ""}}
            with self.storage.transaction() as transaction:
                transaction.put(table, key, wrong)
        else:
            text = {"text": "{", "object": "[1]", "bytes": b'{"value": "hunter2\xa1"}'}[self.kind]
            raw(
                self.path,
                "INSERT OR REPLACE INTO plugreg_records VALUES (?, ?, CAST(? AS TEXT))",
                table.encode(),
                key.encode(),
                text,
            )
            self.raise_revision()

    def raise_revision(self):
        raw(self.path, "UPDATE plugreg_meta SET revision = revision + 1")

    def content(self, table, key):
        """Return the stored row, whatever it is."""
        if self.kind == "content":
            return self.storage.read(table)[key]
        return raw(
            self.path,
            "SELECT CAST(record AS BLOB) FROM plugreg_records "
            "WHERE table_name = ? AND record_key = ?",
            table.encode(),
            key.encode(),
        )

    def mend(self, table, key):
        """Put the row back as it was."""
        if self.kind == "content":
            with self.storage.transaction() as transaction:
                transaction.put(table, key, self._before[table, key])
        else:
            raw(
                self.path,
                "UPDATE plugreg_records SET record = ? WHERE table_name = ? AND record_key = ?",
                json.dumps(self._before[table, key]),
                table.encode(),
                key.encode(),
            )
            self.raise_revision()


@pytest.fixture(params=["content", "text", "object", "bytes"])
def store(request, tmp_path):
    """Yield a store whose rows are damaged in each way there is."""
    made = Damaged(request.param, tmp_path)
    yield made
    made.storage.close()


ROWS = [
    ("plugins", "tea"),
    ("settings", "tea:KIND"),
    ("user_settings", "tea:7:KIND"),
    ("metadata", "tea"),
    ("versions", "tea"),
    ("probes", "tea"),
]


def messages(registry):
    return [(failure.slug, failure.message) for failure in registry.errors]


class TestRowOfAPlugin:
    @pytest.mark.parametrize(("table", "key"), ROWS)
    def test_costs_that_plugin_alone(self, store, table, key):
        """It is failed with a record that names the place, others serve, the row stays."""
        store.damage(table, key)
        before = store.content(table, key)
        with store.registry() as registry:
            report = registry.load()
            assert [*registry.active] == ["milk"]
            assert registry.get("tea").state == PluginState.FAILED
            ((slug, message),) = messages(registry)
            assert (slug, report.failures) == ("tea", registry.errors)
            assert f"record {key!r} of table {table!r} is damaged" in message
            assert "hunter2" not in str(registry.errors)
            registry.settings("milk").set("FAT", "1")
            registry.deactivate("milk")
            registry.activate("milk")
            registry.reload(force=True)
            assert [*registry.active] == ["milk"]
        assert store.content(table, key) == before

    @pytest.mark.parametrize(("table", "key"), ROWS)
    def test_lets_safe_mode_start(self, store, table, key):
        """Safe mode shows the fault, and loads and writes nothing."""
        store.damage(table, key)
        revision = store.storage.revision()
        with store.registry(safe_mode=True) as registry:
            registry.load()
            assert any(
                f"record {key!r} of table {table!r}" in line for _, line in messages(registry)
            )
        assert store.storage.revision() == revision

    @pytest.mark.parametrize(("table", "key"), ROWS)
    def test_is_noticed_by_a_refresh_and_so_is_its_mending(self, store, table, key):
        """A process that serves takes the plugin out of service, and in again."""
        if table in ("user_settings", "versions") and store.kind == "content":
            with store.storage.transaction() as transaction:
                row = {"settings": 1} if table == "versions" else {"value": "x", "protected": False}
                transaction.put(table, key, row)
        with store.registry() as registry:
            registry.load()
            assert sorted(registry.active) == ["milk", "tea"]
            store.damage(table, key)
            registry.refresh()
            assert [*registry.active] == ["milk"]
            assert len(registry.errors) == 1
            assert not registry.refresh()
            if store._before[table, key] is not None:
                store.mend(table, key)
                registry.refresh()
                assert sorted(registry.active) == ["milk", "tea"]
                assert registry.errors == ()

    def test_is_not_written(self, store):
        """Whoever asks for it explicitly is refused, with the place, and nothing has changed."""
        writes = {
            ("plugins", "tea"): lambda registry: registry.activate("tea"),
            ("metadata", "tea"): lambda registry: registry.set_metadata("tea", {}, merge=False),
            ("probes", "tea"): lambda registry: registry.probe("tea"),
            ("settings", "milk:FAT"): lambda registry: registry.settings("milk").set("FAT", "2"),
            ("versions", "milk"): lambda registry: registry.settings("milk").set("FAT", "2"),
        }
        with store.registry() as registry:
            registry.load()
            registry.settings("milk").set("FAT", "1")
            for place, write in writes.items():
                store.damage(*place)
                before, revision = store.content(*place), store.storage.revision()
                with pytest.raises(StorageCorruptError, match="is damaged") as caught:
                    write(registry)
                assert (caught.value.table, caught.value.key) == place
                assert (store.content(*place), store.storage.revision()) == (before, revision)
                store.mend(*place)

    def test_goes_with_the_plugin_that_is_deleted(self, store):
        """An operator who has everything of a plugin forgotten is rid of the damage."""
        store.damage("settings", "tea:KIND")
        with store.registry() as registry:
            registry.load()
            registry.deactivate("tea")
            registry.delete("tea")
            registry.activate("tea")
            assert sorted(registry.active) == ["milk", "tea"]
            assert registry.errors == ()

    def test_of_one_that_is_off_is_reported(self, store):
        """Several rows are several records."""
        with store.registry() as registry:
            registry.load()
            registry.deactivate("tea")
        store.damage("settings", "tea:KIND")
        store.damage("metadata", "tea")
        with store.registry() as registry:
            registry.load()
            assert [slug for slug, _ in messages(registry)] == ["tea", "tea"]

    def test_keeps_its_mandatory_plugin_off(self, store):
        """An unreadable row is not overwritten by the host's desired state either."""
        store.damage("plugins", "tea")
        before = store.content("plugins", "tea")
        with store.registry(mandatory=["tea"]) as registry:
            registry.load()
            assert registry.get("tea").state == PluginState.FAILED
            assert not registry.ready
        assert store.content("plugins", "tea") == before


class TestRowOfNoPlugin:
    @pytest.mark.parametrize(
        ("table", "key"),
        [
            ("settings", "gone:KEY"),
            ("settings", "no colon"),
            ("probes", "gone"),
            ("counters", "pk"),
        ],
    )
    def test_is_one_record(self, store, table, key):
        """Every plugin serves, and the record names the place."""
        store.damage(table, key)
        before = store.content(table, key)
        with store.registry() as registry:
            registry.load()
            registry.reload()
            assert sorted(registry.active) == ["milk", "tea"]
            ((_, message),) = messages(registry)
            assert f"record {key!r} of table {table!r} is damaged" in message
        assert store.content(table, key) == before

    def test_of_the_numbers_gives_no_new_ones(self, store):
        """A plugin that was never seen is not stored, as its number may be another's."""
        store.damage("counters", "pk")

        class Cup(Plugin):
            NAME = "cup"

        with store.registry(builtin=[Tea, Cup], mandatory=["cup"]) as registry:
            registry.load()
            assert sorted(registry.active) == ["cup", "tea"]
            assert registry.get("cup").pk == 0
        assert "cup" not in store.storage.read("plugins")
        store.mend("counters", "pk")
        with store.registry(builtin=[Tea, Cup], mandatory=["cup"]) as registry:
            registry.load()
            assert registry.get("cup").pk == 3

    @pytest.mark.parametrize("is_deleted", [False, True])
    def test_of_the_generation_stops_changes_alone(self, store, is_deleted):
        """Loading and settings go on; a change of plugins raises until it is restored or deleted.

        Other processes could not notice the change.
        """
        store.damage("counters", "generation")
        with store.registry() as registry:
            registry.load()
            assert sorted(registry.active) == ["milk", "tea"]
            registry.settings("milk").set("FAT", "1")
            with pytest.raises(StorageCorruptError, match="'generation' of table 'counters'"):
                registry.deactivate("tea")
            assert sorted(registry.active) == ["milk", "tea"]
            if is_deleted:
                with store.storage.transaction() as transaction:
                    assert transaction.delete("counters", "generation")
            else:
                store.mend("counters", "generation")
            registry.deactivate("tea")
            assert sorted(registry.active) == ["milk"]


class TestDatabase:
    def test_with_a_key_that_is_no_text_serves(self, tmp_path):
        """A name that nobody could write is reported, and harms nobody."""
        store = Damaged("text", tmp_path)
        for table in ("plugins", "settings", "metadata"):
            raw(
                store.path,
                "INSERT INTO plugreg_records VALUES (?, ?, '{}')",
                table.encode(),
                b"tea\xff",
            )
        with store.registry() as registry:
            registry.load()
            assert sorted(registry.active) == ["milk", "tea"]
            assert len(registry.errors) == 3
            json.dumps(registry.status()).encode()
            assert sorted(registry.plugins) == ["milk", "tea"]
        store.storage.close()

    def test_is_not_copied_with_a_record_less(self, tmp_path):
        """A copy and an export are refused, with the place, rather than being incomplete."""
        store = Damaged("text", tmp_path)
        store.damage("settings", "tea:KIND")
        target = MemoryStorage()
        for move in (lambda: export_json(store.storage), lambda: copy(store.storage, target)):
            with pytest.raises(RecordCorruptError, match="'tea:KIND' of table 'settings'"):
                move()
        assert target.revision() == 0
        import_json(store.storage, '{"plugreg": 1, "tables": {}}', replace=True)
        assert store.storage.read("settings") == {}
        store.storage.close()
