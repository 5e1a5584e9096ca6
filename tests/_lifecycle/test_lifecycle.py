"""The life cycle: rows that each change stores, effects of reads, and damaged stores."""

from __future__ import annotations

import sys
import threading

import pytest

from plugreg import (
    Plugin,
    PluginMandatoryError,
    PluginRequiredError,
    PluginState,
    RegistryNotReady,
    hookimpl,
    hookspec,
)
from plugreg._lifecycle import build
from plugreg.mixins import SettingsMixin, UserInterfaceMixin
from plugreg.registry import PluginRegistry
from plugreg.storage import MemoryStorage, open_storage

PATIENCE = 20.0
"""Seconds after which a test gives up; none takes that long unless it fails."""


class Hooks:
    @hookspec
    def price(self, item):
        """Return a price."""


class Cup(Plugin):
    NAME = "cup"


class Tea(SettingsMixin, UserInterfaceMixin, Plugin):
    NAME = "tea"
    ADMIN_SOURCE = "tea.js"
    SETTINGS = USER_SETTINGS = {"COLOUR": {"default": "red"}}

    @hookimpl
    def price(self, item):
        return self.get_setting("COLOUR")

    def get_ui_features(self, feature, params, request):
        return [{"key": "tea", "title": self.get_user_setting("COLOUR", 1)}]


class Shut(MemoryStorage):
    """Fails the test when it is touched while it is shut."""

    shut = False

    def read(self, table):
        assert not self.shut, "a read touched the storage"
        return super().read(table)

    def transaction(self):
        assert not self.shut, "a transaction was begun"
        return super().transaction()

    def revision(self):
        assert not self.shut, "the revision was asked for"
        return super().revision()


READS = {
    "plugins": lambda registry: [repr(active) for active in registry.plugins.values()],
    "active": lambda registry: [active.title for active in registry.active.values()],
    "get": lambda registry: registry.get("tea").name,
    "errors": lambda registry: registry.errors,
    "status": lambda registry: registry.status(),
    "ui_features": lambda registry: registry.ui_features("panel"),
    "admin": lambda registry: registry.admin("tea"),
    "settings": lambda registry: dict(registry.settings("tea")),
    "user_settings": lambda registry: dict(registry.user_settings("tea", 1)),
    "metadata": lambda registry: registry.metadata("tea"),
    "with_mixin": lambda registry: registry.with_mixin("settings"),
    "call": lambda registry: registry.call("price", item="tea"),
    "outcomes": lambda registry: registry.outcomes("price", item="tea"),
    "relay": lambda registry: registry.hook.price(item="tea"),
    "plugin": lambda registry: registry.get("tea").plugin.check_settings(),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_reads_touch_no_storage(read):
    """A registry that is loaded answers from memory, and answers something."""
    storage = Shut()
    with PluginRegistry(
        "shop", hookspecs=[Hooks], builtin=[Tea], storage=storage, new_plugins="active"
    ) as registry:
        registry.load()
        storage.shut = True
        assert read(registry) is not None
        assert registry.errors == ()
        storage.shut = False


@pytest.mark.parametrize("name", sorted(READS.keys() - {"relay"}))  # The relay is pluggy's own.
def test_reads_are_refused_before_load(name):
    """Nothing is read, and no empty answer is given, before there is something to answer."""
    storage = Shut()
    storage.shut = True
    registry = PluginRegistry("shop", hookspecs=[Hooks], builtin=[Tea], storage=storage)
    with pytest.raises(RegistryNotReady):
        READS[name](registry)


class TestWishes:
    @pytest.mark.parametrize("cascade", [False, True])
    def test_a_mandatory_dependant_keeps_what_it_needs_on(self, cascade):
        """It is named in the error, cascade or not, and no desired state is stored."""

        class Bringer(Plugin):
            NAME = "bringer"

            @hookimpl
            def plugreg_plugins(self):
                return [("brought", Tea), ("other", Tea)]

        storage = MemoryStorage()
        with PluginRegistry(
            "shop",
            builtin=[Bringer],
            storage=storage,
            new_plugins="active",
            mandatory=["brought"],
        ) as registry:
            registry.load()
            assert list(registry.active) == ["bringer", "brought", "other"]
            before = storage.read("plugins")
            with pytest.raises(PluginMandatoryError) as caught:
                registry.deactivate("bringer", cascade=cascade)
            assert caught.value.slug == "brought"
            assert storage.read("plugins") == before
            assert list(registry.active) == ["bringer", "brought", "other"]

    def test_dependants_are_named_unless_they_go_too(self):
        """Without a cascade nothing changes, with one all of them are switched off."""

        class Bringer(Plugin):
            NAME = "bringer"

            @hookimpl
            def plugreg_plugins(self):
                return [("brought", Tea), ("other", Tea)]

        storage = MemoryStorage()
        with PluginRegistry(
            "shop", builtin=[Bringer], storage=storage, new_plugins="active"
        ) as registry:
            registry.load()
            with pytest.raises(PluginRequiredError) as caught:
                registry.deactivate("bringer")
            assert caught.value.needed_by == ("brought", "other")
            registry.deactivate("bringer", cascade=True)
            assert {row["active"] for row in storage.read("plugins").values()} == {False}
            assert list(registry.active) == []

    def test_the_stored_name_follows_the_plugins(self):
        """At each load the NAME that the object states is stored, for when it is gone."""

        class Named(Plugin):
            title_today = "First name"

            @property
            def NAME(self):
                return self.title_today

        storage = MemoryStorage()
        with PluginRegistry(
            "shop", builtin=[("tea", Named)], storage=storage, new_plugins="active"
        ) as registry:
            registry.load()
            assert storage.read("plugins")["tea"]["name"] == "First name"
            Named.title_today = "Second name"
            registry.reload(force=True)
            assert storage.read("plugins")["tea"]["name"] == "Second name"
            assert registry.get("tea").name == "Second name"
            revision = storage.revision()
            registry.reload(force=True)
            assert storage.revision() == revision
        with PluginRegistry("shop", storage=storage) as gone:
            gone.load()
            assert gone.get("tea").name == "Second name"


ROW = {"pk": 1, "active": True, "name": "tea", "distribution": None}


class TestDamagedStore:
    @pytest.mark.parametrize(
        ("table", "key", "row"),
        [
            *[("plugins", "tea", {k: v for k, v in ROW.items() if k != name}) for name in ROW],
            ("counters", "pk", {"next": 1}),
            ("metadata", "tea", {}),
            ("metadata", "tea", {"data": {}}),
            ("settings", "tea:COLOUR", {}),
            ("settings", "tea", {"value": "x"}),
            ("settings", "tea:1:COLOUR", {"value": "x"}),
            ("user_settings", "tea:1:COLOUR", {}),
            ("user_settings", "tea:COLOUR", {"value": "x"}),
            ("user_settings", "tea:alice:COLOUR", {"value": "x"}),
        ],
    )
    def test_rows_of_another_shape(self, table, key, row):
        """A row that plugreg has not written costs its plugin alone; a record names table and key.

        To overwrite it would lose an operator's decision, so it stays as it is.
        """
        storage = MemoryStorage()
        with storage.transaction() as transaction:
            transaction.put(table, key, row)
        options = {"hookspecs": [Hooks], "storage": storage, "new_plugins": "active"}
        with PluginRegistry("shop", builtin=[Cup, Tea], **options) as registry:
            (failure,) = registry.load().failures
            assert f"'{key}' of table '{table}'" in failure.message
            assert [*registry.active] == (["cup", "tea"] if table == "counters" else ["cup"])
            assert storage.read(table)[key] == row
            with storage.transaction() as transaction:
                transaction.delete(table, key)
            registry.reload()
            assert [*registry.active] == ["cup", "tea"]
            assert registry.errors == ()

    @pytest.mark.parametrize(
        ("table", "key", "row"),
        [
            ("plugins", "tea", {**ROW, "pk": "one"}),
            ("plugins", "tea", {**ROW, "active": "no"}),
            ("plugins", "tea", {**ROW, "name": 5}),
            ("plugins", "tea", {**ROW, "distribution": 5}),
            ("plugins", "tea", {**ROW, "distribution": ["x"]}),
            ("counters", "pk", {"last": "x"}),
            ("metadata", "tea", {"metadata": [1]}),
            ("settings", "tea:COLOUR", {"value": 5}),
            ("user_settings", "tea:1:COLOUR", {"value": None}),
        ],
    )
    def test_rows_with_values_of_another_kind(self, table, key, row):
        """A value of the wrong type is none that plugreg has written, either."""
        self.test_rows_of_another_shape(table, key, row)


class TestClosing:
    def test_a_change_after_the_end_is_refused(self):
        """Nothing is stored by it, and no plugin code runs."""
        made = []

        class Counted(Plugin):
            NAME = "tea"

            def __init__(self):
                made.append(self)

        storage = MemoryStorage()
        registry = PluginRegistry("shop", builtin=[Counted], storage=storage, new_plugins="active")
        registry.load()
        revision = storage.revision()
        registry.close()
        for change in (
            registry.reload,
            registry.load,
            lambda: registry.activate("tea"),
            lambda: registry.deactivate("tea"),
            lambda: registry.register(Counted, "more"),
            lambda: registry.delete("tea"),
            lambda: registry.set_metadata("tea", {}),
        ):
            with pytest.raises(RegistryNotReady, match="closed; make a new one"):
                change()
        assert storage.revision() == revision
        assert len(made) == 1


class Slow(SettingsMixin, Plugin):
    """Its constructor waits, where it is asked to, until it may end."""

    NAME = "slow"
    SETTINGS = {"COLOUR": {"default": "red"}}
    waits = False

    def __init__(self):
        if self.waits:
            self.begun.set()
            assert self.may_end.wait(PATIENCE)


class TestValuesBesideAChange:
    """Values and desired states are separate: a slow change keeps no value from anybody."""

    @pytest.fixture
    def here(self, tmp_path, monkeypatch):
        monkeypatch.setattr(Slow, "begun", threading.Event(), raising=False)
        monkeypatch.setattr(Slow, "may_end", threading.Event(), raising=False)
        with self.registry(tmp_path) as here:
            here.load()
            yield here

    def registry(self, tmp_path):
        storage = open_storage(f"tinydb:///{tmp_path}/store")
        return PluginRegistry("shop", builtin=[Slow, Tea], storage=storage, new_plugins="active")

    def change(self, monkeypatch, work):
        monkeypatch.setattr(Slow, "waits", True)
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        assert Slow.begun.wait(PATIENCE)
        return thread

    def test_they_are_written_read_and_taken_in(self, here, tmp_path, monkeypatch):
        """While a constructor has not ended: both ways, and a refresh does not wait for it."""
        with self.registry(tmp_path) as there:
            there.load()
            thread = self.change(monkeypatch, lambda: here.reload(force=True))
            there.settings("tea").set("COLOUR", "green")
            assert here.shared.refresh() is False
            assert here.settings("tea")["COLOUR"] == "green"
            here.settings("slow").set("COLOUR", "blue")
            assert there.shared.refresh() is False
            assert there.settings("slow")["COLOUR"] == "blue"
            assert thread.is_alive()
            Slow.may_end.set()
            thread.join(PATIENCE)
            assert here.settings("tea")["COLOUR"] == "green"

    def test_a_refresh_that_waits_for_desired_states_takes_them_in_meanwhile(
        self, here, tmp_path, monkeypatch
    ):
        """It has come when others want another plugin on, and goes on to see their changes."""
        with self.registry(tmp_path) as there:
            there.load()
            thread = self.change(monkeypatch, lambda: here.reload(force=True))
            there.deactivate("tea")
            refreshing = threading.Thread(target=here.shared.refresh, daemon=True)
            refreshing.start()
            there.settings("slow").set("COLOUR", "green")
            for _ in range(int(PATIENCE * 100)):
                if here.settings("slow")["COLOUR"] == "green":
                    break
                threading.Event().wait(0.01)
            assert thread.is_alive()
            assert here.settings("slow")["COLOUR"] == "green"
            assert "tea" in here.active
            Slow.may_end.set()
            refreshing.join(PATIENCE)
            assert "tea" not in here.active
            thread.join(PATIENCE)


def test_a_plugin_cannot_change_the_report_that_it_is_handed():
    """The report of a load, for the host and the next plugin, has all events."""
    shown = []

    class Emptying(Plugin):
        NAME = "emptying"

        @hookimpl
        def plugreg_plugins_loaded(self, report):
            shown.append(dict(report.states))
            report.states.clear()

    class Other(Emptying):
        NAME = "other"

    with PluginRegistry("shop", builtin=[Emptying, Other], new_plugins="active") as registry:
        report = registry.load()
        assert report.states == dict.fromkeys(["emptying", "other"], PluginState.ACTIVE)
        assert shown == [report.states] * 2


def test_an_object_under_two_slugs_is_refused_by_the_slug_that_has_it():
    """No other registry is blamed for it."""
    plugin = Tea()
    with PluginRegistry(
        "shop",
        hookspecs=[Hooks],
        builtin=[("a", plugin), ("b", plugin)],
        new_plugins="active",
    ) as registry:
        registry.load()
        (failure,) = registry.errors
        assert failure.slug == "b"
        assert failure.message == "its object is that of plugin 'a'; give each slug one of its own"


def test_near_the_recursion_limit_nothing_changes():
    """A caller that has left too little gets RecursionError; healthy plugins stay in service."""

    def down(frames, work):
        return work() if frames == 0 else down(frames - 1, work)

    def used():
        depth, frame = 0, sys._getframe()
        while frame is not None:
            depth, frame = depth + 1, frame.f_back
        return depth

    with PluginRegistry("shop", hookspecs=[Hooks], builtin=[Tea], new_plugins="active") as registry:
        registry.load()
        raised = 0
        for left in range(20, 300, 3):
            try:
                down(sys.getrecursionlimit() - used() - left, lambda: registry.reload(force=True))
            except RecursionError:
                raised += 1
            assert list(registry.active) == ["tea"]
            assert registry.errors == ()
            assert registry.call(Hooks.price, item="cup") == ["red"]
        assert raised
        registry.reload(force=True)
        assert registry.errors == ()


def test_load_decides_few_frames_from_its_call(monkeypatch):
    """A stranger who follows ``load`` soon sees the rules that select plugins."""
    depths = []

    resolve = build.resolve

    def resolve_and_count(*arguments):
        frame, depth = sys._getframe(), 0
        while frame.f_code is not PluginRegistry.load.__code__:
            frame, depth = frame.f_back, depth + 1
        depths.append(depth)
        return resolve(*arguments)

    monkeypatch.setattr(build, "resolve", resolve_and_count)
    with PluginRegistry("shop", builtin=[Cup]) as registry:
        registry.load()
    assert depths == [6]
