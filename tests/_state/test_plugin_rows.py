"""Stored rows of plugins: desired states, numbers, metadata."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugreg import PluginRegistry
from plugreg._lifecycle.resolve import settle
from plugreg._state.leases import once
from plugreg._state.plugin_rows import MAX_METADATA_BYTES, PluginRows
from plugreg._support.slugs import Slug
from plugreg.exceptions import (
    PluginActiveError,
    RecordCorruptError,
    SettingError,
    StorageError,
    StorageUnavailableError,
)
from plugreg.records import HostRules, PluginSpec, Source, Stage
from plugreg.storage import MemoryStorage, TinyDBStorage

RULES = HostRules()
ACTIVE = HostRules(new_plugins_active=True)


def spec(slug, distribution="", **fields):
    fields.setdefault("source", Source.ENTRY_POINT)
    return PluginSpec(
        slug=Slug(slug), name=slug, value=slug, distribution=distribution or slug, **fields
    )


@pytest.fixture
def storage():
    return MemoryStorage()


@pytest.fixture
def plugin_rows(storage):
    return PluginRows(storage)


def put_settings(storage, *keys, table="settings"):
    with storage.transaction() as transaction:
        for key in keys:
            transaction.put(table, key, {"value": "x", "protected": False})


class Slow(MemoryStorage):
    """A store in which a transaction of another thread takes as long as it is let."""

    def __init__(self):
        super().__init__()
        self.begun, self.may_go_on = threading.Event(), threading.Event()

    def transaction(self):
        if threading.current_thread() is not threading.main_thread():
            self.begun.set()
            assert self.may_go_on.wait(30)
        return super().transaction()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_waits_for_no_write_of_its_parents():
    """Another thread that is storing metadata as the process forks holds up nobody in the child."""
    storage = Slow()
    plugin_rows = PluginRows(storage)
    writer = threading.Thread(target=plugin_rows.set_metadata, args=("tea", {"a": 1}, True))
    writer.start()
    assert storage.begun.wait(30)
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(20)
            os._exit(plugin_rows.set_metadata("milk", {"b": 2}, True) != {"b": 2})
        finally:
            os._exit(1)
    status = os.waitpid(pid, 0)[1]
    storage.may_go_on.set()
    writer.join()
    assert status == 0
    assert plugin_rows.metadata("tea") == {"a": 1}


class TestRemember:
    @pytest.mark.parametrize(("rules", "active"), [(RULES, False), (ACTIVE, True)])
    def test_a_new_plugin_gets_a_number_and_the_hosts_wish(self, plugin_rows, rules, active):
        """A plugin never seen before is wanted as ``new_plugins`` says."""
        rows = plugin_rows.remember([spec("tea"), spec("milk", "dairy")], rules)
        assert {slug: row.active for slug, row in rows.items()} == {
            "tea": active,
            "milk": active,
        }
        assert rows["milk"].distribution == "dairy"
        assert len({row.pk for row in rows.values()}) == 2
        assert plugin_rows.all() == rows

    def test_where_nothing_is_new_nothing_is_written(self, plugin_rows, storage):
        """Loading again, in whatever order, leaves the revision as it is."""
        rules = HostRules(mandatory=frozenset({Slug("tea")}))
        specs = [spec("tea"), spec("milk"), spec("cup", source=Source.DIRECTORY)]
        rows = plugin_rows.remember(specs, rules)
        revision = storage.revision()
        assert plugin_rows.remember(reversed(specs), rules) == rows
        assert plugin_rows.remember([], rules) == rows
        assert storage.revision() == revision
        refusing = Refusing()
        refusing.read = storage.read
        assert PluginRows(refusing).remember(specs, rules) == rows

    def test_the_last_number_is_written_once(self, plugin_rows, storage, monkeypatch):
        """However many plugins are new: on a database server each write takes a round trip."""
        written = []
        with storage.transaction() as transaction:
            kind = type(transaction)
        put = kind.put

        def counting(self, table, key, row):
            written.append(table)
            put(self, table, key, row)

        monkeypatch.setattr(kind, "put", counting)
        plugin_rows.remember([spec(f"p{n}") for n in range(50)], RULES)
        assert written.count("counters") == 1
        assert plugin_rows.remember([spec("q")], RULES)[Slug("q")].pk == 51

    def test_two_plugins_of_one_slug_are_no_news_for_ever(self, plugin_rows, storage):
        """The one that wins the slug is remembered, whoever else claims it."""
        specs = settle([spec("tea", "b-tea"), spec("tea", "a-tea")]).specs.values()
        assert plugin_rows.remember(specs, RULES)["tea"].distribution == "a-tea"
        revision = storage.revision()
        plugin_rows.remember(specs, RULES)
        assert storage.revision() == revision

    @pytest.mark.parametrize("active", [True, False])
    def test_no_other_wish_is_changed(self, plugin_rows, active):
        """An operator's decision stays, whatever comes, goes, or moves elsewhere."""
        plugin_rows.remember([spec("tea"), spec("gone")], RULES)
        plugin_rows.set_active(dict.fromkeys([Slug("tea"), Slug("gone")], active))
        before = plugin_rows.all()
        rules = HostRules(new_plugins_active=not active)
        after = plugin_rows.remember([spec("tea", "other-tea"), spec("milk")], rules)
        assert after["gone"] == before["gone"]
        assert (after["tea"].pk, after["tea"].active) == (before["tea"].pk, active)
        assert after["tea"].distribution == "other-tea"

    def test_a_mandatory_plugin_is_stored_active(self, plugin_rows):
        """New or switched off before: a mandatory plugin is wanted from now on."""
        plugin_rows.remember([spec("tea")], RULES)
        rules = HostRules(mandatory=frozenset({Slug("tea"), Slug("milk")}))
        rows = plugin_rows.remember([spec("tea"), spec("milk")], rules)
        assert all(row.active for row in rows.values())

    def test_a_switch_that_came_meanwhile_is_not_overwritten(self, storage):
        """Another process that switches a plugin on between look and write prevails."""

        class Late(MemoryStorage):
            def transaction(self):
                if self.others:
                    PluginRows(storage).set_active(dict.fromkeys([self.others.pop()], True))
                return storage.transaction()

            def read(self, table):
                return storage.read(table)

        PluginRows(storage).remember([spec("tea")], RULES)
        late = Late()
        late.others = [Slug("tea")]
        rows = PluginRows(late).remember([spec("tea", "other"), spec("milk")], RULES)
        assert rows["tea"].active
        assert not rows["milk"].active

    def test_a_store_that_fails_changes_nothing(self, plugin_rows, storage):
        """StorageError passes, and the next try remembers."""
        storage.close()
        with pytest.raises(StorageError):
            plugin_rows.remember([spec("tea")], RULES)


class TestWish:
    def test_known_and_unknown_plugins(self, plugin_rows):
        """A desired state of a plugin never seen waits for it, with a number of its own."""
        plugin_rows.remember([spec("tea")], RULES)
        plugin_rows.set_active(dict.fromkeys([Slug("tea"), Slug("milk")], True))
        rows = plugin_rows.all()
        assert all(row.active for row in rows.values())
        assert rows["milk"].pk != rows["tea"].pk
        assert plugin_rows.remember([spec("milk", "dairy")], RULES)["milk"].active

    def test_the_same_wish_again_writes_nothing(self, plugin_rows, storage):
        """Switching on an active plugin is no change."""
        plugin_rows.set_active(dict.fromkeys([Slug("tea")], True))
        revision = storage.revision()
        plugin_rows.set_active(dict.fromkeys([Slug("tea")], True))
        assert storage.revision() == revision


class TestRename:
    def test_name_is_refreshed_and_the_rest_stays(self, plugin_rows, storage):
        """The name that a load saw is stored; for plugins that are not stored it is not."""
        before = plugin_rows.remember([spec("tea"), spec("milk")], ACTIVE)
        plugin_rows.rename({Slug("tea"): "Fine tea", Slug("other"): "Other"})
        after = plugin_rows.all()
        assert after["tea"].name == "Fine tea"
        assert (after["tea"].pk, after["tea"].active) == (before["tea"].pk, True)
        assert after["milk"] == before["milk"]
        assert "other" not in after
        revision = storage.revision()
        plugin_rows.rename({Slug("tea"): "Fine tea", Slug("other"): "Other"})
        plugin_rows.rename({})
        assert storage.revision() == revision


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["remember", "want", "unwant", "forget", "restart"]),
            st.sampled_from("abcd"),
        ),
        max_size=40,
    )
)
def test_a_number_is_never_used_twice(steps):
    """Whatever is seen, wanted, forgotten and seen again: one number, one life of one plugin."""
    storage = MemoryStorage()
    plugin_rows = PluginRows(storage)
    given_to = {}
    lives = dict.fromkeys("abcd", 0)
    for step, name in steps:
        if step == "remember":
            plugin_rows.remember([spec(name)], RULES)
        elif step == "want":
            plugin_rows.set_active(dict.fromkeys([Slug(name)], True))
        elif step == "unwant":
            plugin_rows.set_active(dict.fromkeys([Slug(name)], False))
        elif step == "forget":
            with suppress(PluginActiveError):
                lives[name] += plugin_rows.forget(Slug(name))
                assert Slug(name) not in plugin_rows.all()
        else:
            plugin_rows = PluginRows(storage)
        for slug, row in plugin_rows.all().items():
            assert row.pk > 0
            assert given_to.setdefault(row.pk, (slug, lives[slug])) == (slug, lives[slug])


NUMBERS = """
import sys
from plugreg._state.plugin_rows import PluginRows
from plugreg.records import PluginSpec, Source
from plugreg.records import HostRules
from plugreg.storage import TinyDBStorage

store, *names = sys.argv[1:]
plugin_rows = PluginRows(TinyDBStorage(store))
for name in names:
    spec = PluginSpec(slug=name, name=name, value=name, source=Source.BUILTIN)
    pk = plugin_rows.remember([spec], HostRules())[name].pk
    print(pk)
    if name.startswith("gone"):
        plugin_rows.forget(name)
"""


def test_a_number_is_never_used_twice_by_processes(tmp_path):
    """Three processes that remember and forget at the same time, and one after them."""
    store = str(tmp_path / "store.json")

    def begin(number):
        names = [f"{kind}-{number}-{n}" for n in range(8) for kind in ("gone", "kept")]
        return subprocess.Popen(
            [sys.executable, "-c", NUMBERS, store, *names], stdout=subprocess.PIPE, text=True
        )

    running = [begin(number) for number in range(3)]
    answers = [process.communicate(timeout=60)[0] for process in running]
    answers.append(begin("last").communicate(timeout=60)[0])
    numbers = [int(number) for answer in answers for number in answer.split()]
    assert len(numbers) == 4 * 16
    assert len(set(numbers)) == len(numbers)


class TestForget:
    def test_takes_what_is_stored_of_exactly_that_plugin(self, plugin_rows, storage):
        """Slugs that are the beginning of others are distinguished, in every table."""
        slugs = ["tea", "tea-2", "te", "teapot", "a-tea"]
        plugin_rows.remember(map(spec, slugs), RULES)
        put_settings(storage, *(f"{slug}:KEY" for slug in slugs), "tea:OTHER")
        put_settings(
            storage,
            *(f"{slug}:{user}:KEY" for slug in slugs for user in (1, 2)),
            table="user_settings",
        )
        for slug in slugs:
            plugin_rows.set_metadata(slug, {"of": slug}, merge=True)
        plugin_rows.load()

        assert plugin_rows.forget(Slug("tea"))

        others = sorted(set(slugs) - {"tea"})
        assert sorted(plugin_rows.all()) == others
        assert sorted(storage.read("metadata")) == others
        assert list(storage.read("settings")) == sorted(f"{slug}:KEY" for slug in others)
        assert len(storage.read("user_settings")) == 2 * len(others)
        assert not any(key.startswith("tea:") for key in storage.read("user_settings"))
        assert plugin_rows.metadata("tea") == {}
        assert [plugin_rows.metadata(slug) for slug in others] == [{"of": slug} for slug in others]

    def test_nothing_stored_is_nothing_written(self, plugin_rows, storage):
        """It returns so, and the revision stays."""
        assert not plugin_rows.forget(Slug("tea"))
        assert storage.revision() == 0

    def test_settings_alone_are_something(self, plugin_rows, storage):
        """Leftovers of a plugin that has no row any more can be forgotten."""
        put_settings(storage, "tea:KEY")
        assert plugin_rows.forget(Slug("tea"))


def test_leases_of_a_forgotten_plugin_go_with_it():
    """Its tasks count from zero when it comes again; those of others, and other work, stay."""
    storage = MemoryStorage()
    work = ["plugin.tea.tick", "plugin.tea.a.b", "plugin.tea-2.tick", "plugin.te.tick", "tea"]
    for key in work:
        with once(storage, key, 60.0, turn=1):
            pass
    assert PluginRows(storage).forget(Slug("tea"))
    assert sorted(storage.read("leases")) == sorted(work[2:])
    assert not PluginRows(storage).forget(Slug("tea"))


class Refusing(MemoryStorage):
    """A store that cannot be written to."""

    refuses = True

    def transaction(self):
        if self.refuses:
            raise StorageUnavailableError("memory", "disk full")
        return super().transaction()


class TestMetadata:
    def test_merge_is_shallow(self, plugin_rows):
        """Keys of the first level are replaced whole, others stay, None is a value (section 6)."""
        plugin_rows.set_metadata("tea", {"a": {"x": 1}, "b": 1}, merge=True)
        merged = plugin_rows.set_metadata("tea", {"a": {"y": 2}, "c": None}, merge=True)
        assert merged == {"a": {"y": 2}, "b": 1, "c": None}
        assert plugin_rows.metadata("tea") == merged

    def test_replace(self, plugin_rows):
        """Without merge, the earlier metadata is gone."""
        plugin_rows.set_metadata("tea", {"a": 1}, merge=True)
        assert plugin_rows.set_metadata("tea", {"b": 2}, merge=False) == {"b": 2}

    def test_of_a_plugin_without_any(self, plugin_rows):
        """It is empty, and reading it writes nothing."""
        assert plugin_rows.metadata("tea") == {}

    @pytest.mark.parametrize("data", [None, [], "text", 5, [("a", 1)]])
    @pytest.mark.parametrize("merge", [True, False])
    def test_what_is_no_dict_is_refused(self, plugin_rows, storage, data, merge):
        """The words are those of section 6, and nothing is written."""
        with pytest.raises(SettingError) as caught:
            plugin_rows.set_metadata("tea", data, merge)
        assert caught.value.field == "metadata"
        assert caught.value.reason == "Metadata must be a python dict object"
        assert storage.revision() == 0

    @pytest.mark.parametrize(
        "data",
        [
            {"a": object()},
            {"a": {1, 2}},
            {5: 1},
            {"a": float("nan")},
            {"a": b"x"},
            {"a": "\ud800"},
            {"a": "x\0"},
            {"x\0": 1},
            {"a": [{"b\x07": 1}]},
        ],
    )
    def test_what_no_client_could_send_is_refused(self, plugin_rows, storage, data):
        """The error names the field, and neither store nor memory has changed then."""
        plugin_rows.set_metadata("tea", {"a": 1}, merge=True)
        revision = storage.revision()
        with pytest.raises(SettingError) as caught:
            plugin_rows.set_metadata("tea", data, merge=True)
        assert caught.value.field == "metadata"
        assert caught.value.reason.startswith("Value must")
        assert plugin_rows.metadata("tea") == {"a": 1}
        assert storage.revision() == revision

    def test_the_length_of_all_is_limited(self, plugin_rows):
        """The limit is on the resulting metadata, so that merging does not grow it either."""
        whole = {"a": "é" * ((MAX_METADATA_BYTES - len('{"a":""}')) // 2)}
        assert plugin_rows.set_metadata("tea", whole, merge=False) == whole
        for data, merge in (({"b": 1}, True), ({"a": whole["a"] + "é"}, False)):
            with pytest.raises(SettingError, match=f"at most {MAX_METADATA_BYTES} bytes"):
                plugin_rows.set_metadata("tea", data, merge)
        assert plugin_rows.metadata("tea") == whole
        assert plugin_rows.set_metadata("tea", {"a": None}, merge=True) == {"a": None}

    def test_what_goes_in_and_out_is_copied(self, plugin_rows):
        """Changing a dict afterwards changes nothing that is kept."""
        data = {"a": {"x": [1]}}
        given_back = plugin_rows.set_metadata("tea", data, merge=True)
        data["a"]["x"].append(2)
        given_back["a"]["x"].append(3)
        plugin_rows.metadata("tea")["a"]["x"].append(4)
        assert plugin_rows.metadata("tea") == {"a": {"x": [1]}}
        plugin_rows.load()
        assert plugin_rows.metadata("tea") == {"a": {"x": [1]}}

    def test_a_store_that_fails_leaves_the_old_one_readable(self):
        """StorageError passes, and reads go on as before."""
        storage = Refusing()
        storage.refuses = False
        plugin_rows = PluginRows(storage)
        plugin_rows.set_metadata("tea", {"a": 1}, merge=True)
        storage.refuses = True
        with pytest.raises(StorageUnavailableError):
            plugin_rows.set_metadata("tea", {"a": 2}, merge=True)
        assert plugin_rows.metadata("tea") == {"a": 1}

    def test_a_damaged_row_is_told_of_and_kept(self, plugin_rows, storage):
        """A row that plugreg has not written is never overwritten; deleting it is the way out."""
        with storage.transaction() as transaction:
            transaction.put("metadata", "tea", {"x": 1})
        for merge in (True, False):
            with pytest.raises(RecordCorruptError, match="'tea' of table 'metadata'"):
                plugin_rows.set_metadata("tea", {"a": 1}, merge=merge)
        assert storage.read("metadata") == {"tea": {"x": 1}}
        plugin_rows.forget("tea")
        assert plugin_rows.set_metadata("tea", {"a": 1}, merge=False) == {"a": 1}

    def test_load_reads_what_others_wrote(self, plugin_rows, storage):
        """Rows that another process stored are there after the next load."""
        PluginRows(storage).set_metadata("tea", {"a": 1}, merge=True)
        assert plugin_rows.metadata("tea") == {}
        plugin_rows.load()
        assert plugin_rows.metadata("tea") == {"a": 1}

    def test_two_writers_lose_nothing(self, plugin_rows, storage):
        """Merging is one operation of the store: 8 threads of two objects lose no key."""
        writers = [plugin_rows, PluginRows(storage)]

        def write(number):
            for n in range(25):
                writers[number % 2].set_metadata("tea", {f"{number}-{n}": n}, merge=True)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(storage.read("metadata")["tea"]["metadata"]) == 200


def test_everything_is_there_again_after_a_restart(tmp_path):
    """Numbers, desired states and metadata come back from a file as they were."""
    path = tmp_path / "store.json"
    with_file = PluginRows(TinyDBStorage(path))
    with_file.remember([spec("tea"), spec("milk")], RULES)
    with_file.set_active(dict.fromkeys([Slug("tea")], True))
    with_file.set_metadata("tea", {"a": [1, {"b": None}]}, merge=True)
    again = PluginRows(TinyDBStorage(path))
    again.load()
    assert again.all() == with_file.all()
    assert again.metadata("tea") == {"a": [1, {"b": None}]}


@pytest.mark.parametrize("row", [{"x": 1}, {"active": "no"}])
def test_a_wish_on_a_damaged_row_is_told_of(plugin_rows, storage, row):
    """A row that plugreg has not written is refused with its place, and stays."""
    with storage.transaction() as transaction:
        transaction.put("plugins", "tea", row)
    with pytest.raises(StorageError, match="'tea' of table 'plugins'"):
        plugin_rows.set_active(dict.fromkeys([Slug("milk"), Slug("tea")], True))
    assert storage.read("plugins") == {"tea": row}


class TestDamagedStore:
    def test_what_was_set_aside_is_a_failure(self, tmp_path):
        """An operator sees in the registry that an empty store has begun, and where the old is."""
        path = tmp_path / "plugins.json"
        path.write_text("no store at all")
        storage = TinyDBStorage(path, on_corrupt="set_aside")
        with PluginRegistry("shop", storage=storage) as registry:
            report = registry.load()
            registry.reload()
            (failure,) = registry.errors

        (kept,) = tmp_path.glob("plugins.json.corrupt-*")
        assert kept.read_text() == "no store at all"
        assert str(kept) in failure.message
        assert (failure.stage, failure.slug) == (Stage.DISCOVERY, kept.name)
        assert report.failures[0].message == failure.message
        assert failure.count == 2
