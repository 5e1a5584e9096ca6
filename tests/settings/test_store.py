"""Protected values: known beyond their definitions, hidden in strings, encrypted in the store."""

from __future__ import annotations

import logging
import os
import signal
import threading
from contextlib import suppress
from datetime import datetime
from typing import Annotated

import pytest
from pydantic import BeforeValidator, HttpUrl

from plugreg import (
    EncryptionError,
    Plugin,
    PluginRegistry,
    RecordCorruptError,
    SettingError,
    StorageError,
    StorageUnavailableError,
    hookimpl,
)
from plugreg._support.redact import MASK
from plugreg.encryption import Encryption
from plugreg.mixins import SettingsMixin, UserInterfaceMixin
from plugreg.settings import plugin_values
from plugreg.settings.declaration import parse_definitions
from plugreg.settings.store import SettingsStore
from plugreg.settings.values import Declared
from plugreg.settings.view import SettingsView
from plugreg.storage import MemoryStorage, TinyDBStorage, export_json

SECRET = "canary-7f3a"
OTHER = "parrot-90b1"


class TeaSettings:
    """A settings store, and the definitions that the plugin ``tea`` declares."""

    def __init__(self, storage=None, *, encryption=None, **overrides):
        self.storage = storage or MemoryStorage()
        self.store = SettingsStore(
            self.storage, lambda *_: None, overrides={"tea": overrides}, encryption=encryption
        )
        self.store.load()
        self.declared = Declared()

    def declare(self, settings=(), user_settings=()):
        own, faults = parse_definitions(dict(settings), "SETTINGS")
        users, more = parse_definitions(dict(user_settings), "USER_SETTINGS")
        assert (faults, more) == ((), ())
        self.declared = Declared(own, users)
        self.store.declare("tea", self.declared)
        return self

    def view(self, user=None):
        return SettingsView(self.store, "tea", self.declared.of(user), user)

    def hides(self, *texts, slug="tea"):
        """Return which of these texts are hidden."""
        scrubber = self.store.scrubber(slug)
        return [text for text in texts if scrubber.text(f"<{text}>") != f"<{text}>"]


TOKEN = {"TOKEN": {"protected": True}}


class TestScrubber:
    def test_hides_what_is_stored(self):
        """Of the plugin's own and of all users' settings, and nothing of other ones."""
        tea = TeaSettings().declare({**TOKEN, "NOTE": {}}, TOKEN)
        tea.view().set("TOKEN", SECRET)
        tea.view().set("NOTE", "open-note")
        tea.view(7).set("TOKEN", OTHER)
        assert tea.hides(SECRET, OTHER, "open-note") == [SECRET, OTHER]
        assert tea.hides(SECRET, slug="milk") == []

    def test_is_the_same_until_something_changes(self):
        """A new value is hidden at once; one that was deleted may still be held by the plugin."""
        tea = TeaSettings().declare(TOKEN)
        tea.view().set("TOKEN", SECRET)
        scrubber = tea.store.scrubber("tea")
        assert tea.store.scrubber("tea") is scrubber
        tea.view().set("TOKEN", OTHER)
        assert tea.hides(SECRET, OTHER) == [SECRET, OTHER]
        tea.store.forget("tea")
        assert tea.hides(SECRET, OTHER) == [SECRET, OTHER]

    def test_hides_what_was_replaced(self):
        """The plugin may hold the old value still; short and very old ones are given up."""
        tea = TeaSettings().declare(TOKEN)
        for value in (SECRET, "abc", OTHER, ""):
            tea.view().set("TOKEN", value)
        assert tea.hides(SECRET, "abc", OTHER) == [SECRET, OTHER]
        for number in range(20):
            tea.view().set("TOKEN", f"newer-{number:02}")
        assert tea.hides(SECRET, OTHER, "newer-10", "newer-19") == ["newer-10", "newer-19"]

    def test_hides_what_another_process_has_replaced(self):
        """The plugin of this process may still hold the value that it read before."""
        tea = TeaSettings().declare(TOKEN)
        tea.view().set("TOKEN", SECRET)
        other = TeaSettings(tea.storage).declare(TOKEN)
        other.view().set("TOKEN", OTHER)
        tea.store.load()

        assert tea.hides(SECRET, OTHER) == [SECRET, OTHER]

    @pytest.mark.parametrize(
        ("definition", "given"),
        [
            ({"type": datetime}, "2031-02-03T04:05:06Z"),
            ({"type": HttpUrl}, "https://k:Pass@Hooks.Example.COM/T\u00fc"),
            ({"validator": int}, "0918273645"),
            ({"validator": float}, "1e9"),
        ],
    )
    def test_hides_the_value_that_the_plugin_holds(self, definition, given):
        """A plugin quotes its native value, not the string that was given."""
        tea = TeaSettings().declare({"TOKEN": {"protected": True, **definition}})
        tea.view().set("TOKEN", given)
        native, scrubber = tea.view()["TOKEN"], tea.store.scrubber("tea")

        assert scrubber.text(f"at {native} there") == "at *** there"
        if isinstance(native, (int, float)):
            assert scrubber.value([native, int(native), float(native)]) == ["***"] * 3

    def test_knows_protection_without_a_definition(self):
        """It is stored with the value: a plugin that is off has no definitions."""
        first = TeaSettings().declare(TOKEN, TOKEN)
        first.view().set("TOKEN", SECRET)
        first.view(7).set("TOKEN", OTHER)
        assert TeaSettings(first.storage).hides(SECRET, OTHER) == [SECRET, OTHER]

    def test_what_was_once_protected_stays_so(self):
        """In this process, whatever a later version of the plugin declares."""
        tea = TeaSettings().declare(TOKEN)
        tea.declare({"TOKEN": {}})
        tea.view().set("TOKEN", SECRET)
        assert tea.hides(SECRET) == [SECRET]

    def test_a_value_that_another_process_stores_openly_stays_masked(self):
        """That process never knew the setting as a protected one."""
        tea = TeaSettings().declare(TOKEN)
        tea.declare({"TOKEN": {}})
        TeaSettings(tea.storage).declare({"TOKEN": {}}).view().set("TOKEN", SECRET)
        tea.store.load()
        assert tea.view().shown("TOKEN") == MASK
        assert tea.hides(SECRET) == [SECRET]

    def test_a_row_that_does_not_say_counts_as_protected(self):
        """Somebody else has written it, and may have meant it to be."""
        tea = TeaSettings()
        with tea.storage.transaction() as transaction:
            transaction.put("settings", "tea:TOKEN", {"value": SECRET})
        tea.store.load()
        assert tea.hides(SECRET) == [SECRET]

    def test_hides_overrides_of_protected_settings(self):
        """And those of settings that nobody declares, whose protection is not known."""
        tea = TeaSettings(TOKEN=SECRET, NOTE="open-note", MINE=OTHER)
        assert tea.hides(SECRET, OTHER, "open-note") == [SECRET, OTHER, "open-note"]
        tea.declare({**TOKEN, "NOTE": {}}, {"MINE": {"protected": True}})
        assert tea.hides(SECRET, OTHER, "open-note") == [SECRET, OTHER]

    def test_hides_defaults_of_protected_settings(self):
        """They are in force where nothing is set; one that fails costs nothing."""

        def failing():
            raise OSError

        tea = TeaSettings().declare(
            {
                "A": {"protected": True, "default": SECRET},
                "B": {"protected": True, "default": lambda: OTHER},
                "C": {"protected": True, "default": failing},
                "D": {"default": "open-note"},
            }
        )
        assert tea.hides(SECRET, OTHER, "open-note") == [SECRET, OTHER]

    def test_a_constant_default_is_converted_once(self):
        """Listing many protected settings asks for the scrubber of each."""
        converted = []
        counted = Annotated[str, BeforeValidator(lambda text: converted.append(text) or text)]
        definition = {"type": counted, "protected": True, "default": SECRET}
        tea = TeaSettings().declare({"A": definition, "B": definition})
        assert tea.hides(SECRET) == [SECRET]
        before = len(converted)
        assert tea.hides(SECRET) == [SECRET]
        assert len(converted) == before

    def test_a_default_may_ask_for_what_fails(self):
        """Refusing that takes a scrubber, which takes the defaults again: it comes to an end."""
        asked = []

        def asking():
            asked.append(1)
            with suppress(SettingError):
                tea.view()["BAD"]
            return SECRET

        def failing():
            raise OSError(f"no {OTHER}")

        definitions = {key: {"protected": True, "default": asking} for key in ("A", "B", "C")}
        tea = TeaSettings().declare({**definitions, "BAD": {"default": failing}, **TOKEN})
        tea.view().set("TOKEN", OTHER)
        with pytest.raises(SettingError, match=r"OSError: no \*\*\*"):
            tea.view()["BAD"]
        assert len(asked) == 3

    def test_hides_what_references_stand_for(self, monkeypatch, tmp_path):
        """As of now, and never the name, which an error must show."""
        file = tmp_path / "tea-file"
        file.write_text(SECRET, encoding="utf-8")
        monkeypatch.setenv("TEA_TOKEN", OTHER)
        tea = TeaSettings(TOKEN={"$file": str(file)}).declare({**TOKEN, "KEY": {"protected": True}})
        tea.view().set("KEY", {"$env": "TEA_TOKEN"})
        assert tea.hides(SECRET, OTHER, str(file), "TEA_TOKEN") == [SECRET, OTHER]
        file.write_text("renewed-one", encoding="utf-8")
        monkeypatch.delenv("TEA_TOKEN")
        assert tea.hides(SECRET, OTHER, "renewed-one") == ["renewed-one"]

    def test_hides_each_text_within_a_value(self, monkeypatch):
        """A list or dict is hidden as a whole and in its parts, read from JSON too."""
        monkeypatch.setenv("TEA_TOKEN", OTHER)
        definitions = {
            key: {"type": dict[str, list[str]], "protected": True} for key in ("A", "B", "C")
        }
        tea = TeaSettings(A={"x": ["first-part", {"$env": "TEA_TOKEN"}]}).declare(definitions)
        tea.view().set("B", {"x": [SECRET]})
        tea.view().set("C", {"x": ["third-part"]})
        assert tea.hides(SECRET, OTHER, "first-part", "third-part") == [
            SECRET,
            OTHER,
            "first-part",
            "third-part",
        ]

    def test_a_text_that_looks_like_a_reference_is_not_followed(self, monkeypatch):
        """Or a value from outside would make the host read files."""
        monkeypatch.setenv("TEA_TOKEN", OTHER)
        tea = TeaSettings().declare(TOKEN)
        tea.view().set("TOKEN", '{"$env": "TEA_TOKEN"}')
        assert tea.hides(OTHER) == []


class Leaky(SettingsMixin, UserInterfaceMixin, Plugin):
    """A plugin that shows its secret wherever it can."""

    NAME = "Tea"
    SETTINGS = TOKEN

    @hookimpl
    def plugreg_settings_changed(self, changed):
        raise OSError(self.get_setting("TOKEN"))

    def get_ui_features(self, feature_type, context, request):
        return [{"key": "a", "title": self.get_setting("TOKEN"), "context": {"a": [SECRET]}}]

    def get_admin_context(self):
        return {"token": self.get_setting("TOKEN")}


class TestRegistry:
    def test_a_protected_value_is_in_no_record_log_or_answer(self, caplog):
        """Of a plugin that is active, and of one that failed and has no definitions any more."""
        caplog.set_level(logging.DEBUG)
        storage, shown = MemoryStorage(), []

        def serve(cls):
            registry = PluginRegistry(
                "shop",
                builtin=[("tea", cls)],
                storage=storage,
                new_plugins="active",
                on_failure=lambda failure: shown.append(repr(failure) + failure.traceback),
            )
            registry.load()
            return registry

        with serve(Leaky) as registry:
            registry.settings("tea").set("TOKEN", SECRET)
            assert registry.settings("tea")["TOKEN"] == SECRET
            shown += [repr(registry.ui_features("panel")), repr(registry.admin("tea"))]
            shown += [failure.message + failure.traceback for failure in registry.errors]
            shown += [repr(registry.status()), repr(registry.config.scrubbed("tea", [SECRET]))]
            assert len(registry.errors) == 1

        def broken(self):
            raise OSError(f"cannot use {SECRET}")

        with serve(type("Tea", (Plugin,), {"__init__": broken})) as registry:
            shown += [failure.message + failure.traceback for failure in registry.errors]
            shown += [repr(registry.config.listed())]
            assert len(registry.errors) == 1
        assert "cannot use ***" in "".join(shown)
        assert SECRET not in "".join(shown)
        assert SECRET not in caplog.text

    def test_what_after_save_raises_is_a_failure_of_the_plugin(self):
        """It is scrubbed, counted, and among the registry's errors."""

        def failing(change):
            raise OSError(f"cannot use {change.value}")

        cls = type(
            "Tea",
            (SettingsMixin, Plugin),
            {"SETTINGS": {"TOKEN": {"protected": True, "after_save": failing}}},
        )
        with PluginRegistry("shop", builtin=[cls], new_plugins="active") as registry:
            registry.load()
            registry.settings("tea").set("TOKEN", SECRET)
            (failure,) = registry.errors
            assert (failure.stage, failure.subject) == ("call", "after_save")
            assert failure.message == "after_save of setting 'TOKEN': OSError: cannot use ***"
            assert SECRET not in failure.traceback


class Away(MemoryStorage):
    """A store that can be out of reach for those who write."""

    away = False

    def transaction(self):
        if self.away:
            raise StorageUnavailableError("here", "it is away")
        return super().transaction()


class TestProtectedLater:
    OPEN = {"TOKEN": {}, "NOTE": {}}
    NOW = {**TOKEN, "NOTE": {}}

    def stored(self, storage=None):
        """Return settings whose values were stored before any of them was protected."""
        tea = TeaSettings(storage).declare(self.OPEN, self.OPEN)
        tea.view().set("TOKEN", SECRET)
        tea.view().set("NOTE", "open-note")
        tea.view(7).set("TOKEN", OTHER)
        return tea

    def test_values_are_protected_where_they_are_stored(self):
        """In one commit, own and users' alike, so that an export leaves them out; no others."""
        first = self.stored()
        revision = first.storage.revision()
        assert SECRET in export_json(first.storage)
        second = TeaSettings(first.storage).declare(self.NOW, self.NOW)
        assert first.storage.revision() == revision + 1
        assert SECRET not in export_json(first.storage)
        assert OTHER not in export_json(first.storage)
        assert first.storage.read("settings") == {
            "tea:NOTE": {"value": "open-note", "protected": False},
            "tea:TOKEN": {"value": SECRET, "protected": True},
        }
        # It is known here, too, so that nothing is done again.
        second.declare(self.NOW, self.NOW)
        TeaSettings(first.storage).declare(self.NOW, self.NOW)
        assert first.storage.revision() == revision + 1
        assert second.store.load() == {}

    def test_own_and_users_settings_are_kept_apart(self):
        """A key that is protected for users only stays open as the plugin's own."""
        first = self.stored()
        TeaSettings(first.storage).declare(self.OPEN, self.NOW)
        assert first.storage.read("settings")["tea:TOKEN"]["protected"] is False
        assert first.storage.read("user_settings")["tea:7:TOKEN"]["protected"] is True

    def test_what_cannot_be_had_stays_as_it_is(self):
        """There is no text of it that could be stored as a protected one."""
        row = {"value": "no token of these keys", "protected": False, "encrypted": True}
        storage = MemoryStorage()
        with storage.transaction() as transaction:
            transaction.put("settings", "tea:TOKEN", row)
        TeaSettings(storage).declare(self.NOW)
        assert storage.read("settings") == {"tea:TOKEN": row}

    def test_what_others_have_stored_meanwhile_is_kept(self):
        """The newer value is protected, not the one that was read before."""
        first = self.stored()
        second = TeaSettings(first.storage)
        first.view().set("TOKEN", "newer-secret")
        second.declare(self.NOW, self.NOW)
        assert first.storage.read("settings")["tea:TOKEN"] == {
            "value": "newer-secret",
            "protected": True,
        }
        assert second.view()["TOKEN"] == "newer-secret"

    def test_a_storage_that_fails_keeps_no_plugin_off(self, caplog):
        """It is logged, shown to nobody meanwhile, and done when the plugin is taken in again."""
        storage = Away()
        self.stored(storage)
        second = TeaSettings(storage)
        storage.away = True
        second.declare(self.NOW, self.NOW)
        assert "'tea' are protected by now" in caplog.text
        assert "it is away" in caplog.text
        assert second.view().shown("TOKEN") == "***"
        storage.away = False
        second.declare(self.NOW, self.NOW)
        assert SECRET not in export_json(storage)

    def test_a_registry_does_so_as_it_loads(self):
        """Its plugin's new version is all that it takes."""

        def serve(settings):
            cls = type("Tea", (SettingsMixin, Plugin), {"SETTINGS": settings})
            registry = PluginRegistry("shop", builtin=[cls], storage=storage, mandatory=["tea"])
            registry.load()
            return registry

        storage = MemoryStorage()
        with serve(self.OPEN) as registry:
            registry.settings("tea").set("TOKEN", SECRET)
        with serve(self.NOW) as registry:
            assert SECRET not in export_json(storage)
            assert registry.settings("tea")["TOKEN"] == SECRET
            assert registry.errors == ()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_waits_for_no_write_of_its_parents():
    """Another thread that is storing a value as the process forks holds up nobody in the child."""

    class Slow(MemoryStorage):
        def transaction(self):
            if threading.current_thread() is not threading.main_thread():
                begun.set()
                assert may_go_on.wait(30)
            return super().transaction()

    begun, may_go_on = threading.Event(), threading.Event()
    tea = TeaSettings(Slow()).declare({"NOTE": {}})
    writer = threading.Thread(target=tea.view().set, args=("NOTE", "parent's"))
    writer.start()
    assert begun.wait(30)
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(20)
            tea.view().set("NOTE", "child's")
            os._exit(tea.view()["NOTE"] != "child's")
        finally:
            os._exit(1)
    status = os.waitpid(pid, 0)[1]
    may_go_on.set()
    writer.join()
    assert status == 0
    assert tea.view()["NOTE"] == "parent's"


class TestEncryption:
    @pytest.fixture
    def keys(self):
        return [Encryption.new_key(), Encryption.new_key()]

    def row(self, tea, key="tea:TOKEN", table="settings"):
        return tea.storage.read(table)[key]

    def test_protected_values_are_encrypted_where_they_are_stored(self, keys, tmp_path):
        """Own and users', references too; others stay readable. The file shows no secret."""
        storage = TinyDBStorage(tmp_path / "store.json")
        tea = TeaSettings(storage, encryption=Encryption(keys))
        tea.declare({**TOKEN, "NOTE": {}, "REF": {"protected": True}}, TOKEN)
        tea.view().set("TOKEN", SECRET)
        tea.view().set("NOTE", "open-note")
        tea.view().set("REF", {"$env": "TEA_CANARY"})
        tea.view(7).set("TOKEN", OTHER)
        content = (tmp_path / "store.json").read_text(encoding="utf-8")
        for text in (SECRET, OTHER, "TEA_CANARY"):
            assert text not in content
        assert self.row(tea, "tea:NOTE") == {"value": "open-note", "protected": False}
        assert self.row(tea, "tea:REF")["reference"] is True
        assert {**self.row(tea), "value": ""} == {
            "value": "",
            "protected": True,
            "encrypted": True,
        }
        again = TeaSettings(TinyDBStorage(tmp_path / "store.json"), encryption=Encryption(keys))
        again.declare({**TOKEN, "REF": {"protected": True}}, TOKEN)
        assert again.view()["TOKEN"] == SECRET
        assert again.view(7)["TOKEN"] == OTHER
        assert again.store.stored("tea").of(None)["REF"].given == {"$env": "TEA_CANARY"}

    def test_values_in_clear_are_still_read(self, keys):
        """Encryption may be added to a store that is in use."""
        tea = TeaSettings().declare(TOKEN)
        tea.view().set("TOKEN", SECRET)
        again = TeaSettings(tea.storage, encryption=Encryption(keys)).declare(TOKEN)
        assert again.view()["TOKEN"] == SECRET
        again.view().set("TOKEN", OTHER)
        assert self.row(again)["encrypted"] is True

    @pytest.mark.parametrize(
        ("encryption", "reason"),
        [
            (lambda: None, r"'plugreg\[secrets\]'.*encryption=Encryption"),
            (lambda: Encryption([Encryption.new_key()]), "none of the registry's keys opens it"),
        ],
    )
    def test_without_the_key_it_is_set_and_cannot_be_read(self, keys, encryption, reason):
        """The row stays as it is until it is written again, or the key is back."""
        tea = TeaSettings(encryption=Encryption(keys)).declare(TOKEN)
        tea.view().set("TOKEN", SECRET)
        row = self.row(tea)
        keyless = TeaSettings(tea.storage, encryption=encryption()).declare({**TOKEN, "NOTE": {}})
        view = keyless.view()
        with pytest.raises(SettingError, match=reason) as caught:
            view["TOKEN"]
        assert caught.value.field == "TOKEN"
        assert (view.is_set("TOKEN"), view.shown("TOKEN")) == (True, "***")
        assert view.fault("TOKEN") == caught.value.reason
        view.set("TOKEN", "***")
        view.set("NOTE", "x")
        assert self.row(keyless) == row
        tea.store.load()
        assert tea.view()["TOKEN"] == SECRET
        view.set("TOKEN", OTHER)
        assert view["TOKEN"] == OTHER

    def test_keys_are_rotated(self, keys):
        """One commit: every protected row has the first key, those in clear before too."""
        old, new = keys
        clear = TeaSettings().declare({**TOKEN, "NOTE": {}}, TOKEN)
        clear.view().set("TOKEN", SECRET)
        clear.view().set("NOTE", "open-note")
        first = TeaSettings(clear.storage, encryption=Encryption([old])).declare(TOKEN, TOKEN)
        first.view(7).set("TOKEN", OTHER)
        revision = clear.storage.revision()
        both = TeaSettings(clear.storage, encryption=Encryption([new, old]))
        assert both.store.rotate_secrets() == 2
        assert clear.storage.revision() == revision + 1
        assert self.row(both, "tea:NOTE") == {"value": "open-note", "protected": False}
        last = TeaSettings(clear.storage, encryption=Encryption([new])).declare(TOKEN, TOKEN)
        assert (last.view()["TOKEN"], last.view(7)["TOKEN"]) == (SECRET, OTHER)

    def test_what_is_known_as_protected_is_encrypted_whatever_its_row_says(self, keys):
        """A later version of the plugin may have protected a setting."""
        tea = TeaSettings(encryption=Encryption(keys)).declare({"TOKEN": {}})
        tea.view().set("TOKEN", SECRET)
        assert self.row(tea)["value"] == SECRET
        tea.declare(TOKEN)
        assert tea.store.rotate_secrets() == 1
        assert self.row(tea)["protected"] is self.row(tea)["encrypted"] is True
        tea.store.load()
        assert tea.view()["TOKEN"] == SECRET

    def test_what_was_stored_open_is_encrypted_once_it_is_protected(self, keys):
        """As a write would do it, when the plugin is taken in that declares it so."""
        tea = TeaSettings().declare({"TOKEN": {}})
        tea.view().set("TOKEN", SECRET)
        again = TeaSettings(tea.storage, encryption=Encryption(keys)).declare(TOKEN)
        assert self.row(again)["protected"] is self.row(again)["encrypted"] is True
        assert SECRET not in export_json(again.storage, secrets=True)
        again.store.load()
        assert again.view()["TOKEN"] == SECRET

    def test_where_one_cannot_be_opened_nothing_is_rotated(self, keys):
        """EncryptionError names its place; without keys StorageError has the remedy."""
        tea = TeaSettings(encryption=Encryption(keys[:1])).declare(TOKEN, TOKEN)
        tea.view().set("TOKEN", SECRET)
        other = TeaSettings(tea.storage, encryption=Encryption(keys[1:])).declare(TOKEN, TOKEN)
        other.view(7).set("TOKEN", OTHER)
        rows = [self.row(tea), self.row(tea, "tea:7:TOKEN", "user_settings")]
        for mine, subject in (
            (tea, "'tea:7:TOKEN' of table 'user_settings'"),
            (other, "'tea:TOKEN' of table 'settings'"),
        ):
            with pytest.raises(EncryptionError, match=subject):
                mine.store.rotate_secrets()
        with pytest.raises(StorageError, match="encryption=Encryption"):
            TeaSettings(tea.storage).store.rotate_secrets()
        assert rows == [self.row(tea), self.row(tea, "tea:7:TOKEN", "user_settings")]

    @pytest.mark.parametrize(
        ("key", "change"), [("tea:TOKEN", {"value": 7}), ("tea:TOKEN", {"reference": True})]
    )
    def test_where_a_protected_row_is_damaged_nothing_is_rotated(self, keys, key, change):
        """Its secret would be lost with the old key, if nobody was told of it."""
        tea = TeaSettings(encryption=Encryption(keys[:1])).declare(TOKEN, TOKEN)
        tea.view().set("TOKEN", SECRET)
        tea.view(7).set("TOKEN", OTHER)
        with tea.storage.transaction() as transaction:
            transaction.put("settings", key, {**self.row(tea), **change})
        rows = [self.row(tea), self.row(tea, "tea:7:TOKEN", "user_settings")]
        both = TeaSettings(tea.storage, encryption=Encryption([keys[1], keys[0]]))
        with pytest.raises(RecordCorruptError, match=key):
            both.store.rotate_secrets()
        assert rows == [self.row(tea), self.row(tea, "tea:7:TOKEN", "user_settings")]

    def test_values_of_many_users_cost_a_list_nothing(self, monkeypatch):
        """What hides the values of one user is made once, and constant secrets are read once."""
        tea = TeaSettings(TOKEN={"$env": "TEA_TOKEN"}).declare(
            {**TOKEN, "PIN": TOKEN["TOKEN"]}, TOKEN
        )
        monkeypatch.setenv("TEA_TOKEN", SECRET)
        for user in range(30):
            tea.view(user).set("TOKEN", f"{OTHER}-{user}")
        first = tea.store.scrubber_for("tea", 7)
        read, texts_of = [], plugin_values._texts_of
        monkeypatch.setattr(
            plugin_values, "_texts_of", lambda given: texts_of(read.append(s) or s for s in given)
        )
        assert tea.store.scrubber_for("tea", 7) is first
        assert len(read) == 1

    def test_a_migration_waits_for_the_key(self, keys):
        """A value that the plugin cannot be given must not be lost."""

        class Tea(SettingsMixin, Plugin):
            SETTINGS = TOKEN

        def serve(encryption):
            registry = PluginRegistry(
                "shop",
                builtin=[Tea],
                storage=storage,
                new_plugins="active",
                encryption=encryption,
            )
            registry.load()
            return registry

        storage = MemoryStorage()
        with serve(Encryption(keys)) as registry:
            registry.settings("tea").set("TOKEN", SECRET)
            assert registry.config.rotate_secrets() == 1
        row = storage.read("settings")
        Tea.SETTINGS_VERSION = 2
        with serve(None) as registry:
            (failure,) = registry.errors
            assert failure.subject == "settings migration"
            assert "TOKEN: it is stored encrypted" in failure.message
            assert storage.read("settings") == row
        with serve(Encryption(keys)) as registry:
            assert registry.settings("tea")["TOKEN"] == SECRET
            assert registry.errors == ()


def test_a_row_that_plugreg_has_not_written_is_reported_with_its_place():
    """Nothing of it is shown."""
    tea = TeaSettings()
    with tea.storage.transaction() as transaction:
        transaction.put("settings", "tea:TOKEN", {"value": [SECRET], "protected": True})
    tea.store.load()
    (error,) = tea.store.damaged
    assert "'tea:TOKEN' of table 'settings'" in str(error)
    assert SECRET not in str(error)
