"""Bad values of settings: one record for each plugin, that comes and goes with them."""

from __future__ import annotations

import gc
import re
import threading
import weakref

import pytest

from plugreg import Plugin, PluginRegistry
from plugreg.mixins import SettingsMixin
from plugreg.storage import MemoryStorage

SECRET = "canary-7f3a"
FAULTS = re.compile(r"; (?=(?:user setting )?[A-Z]+: )")


def refuse(value):
    if value == "bad":
        raise ValueError("no good")


class Tea(SettingsMixin, Plugin):
    SETTINGS = {
        "URL": {"required": True},
        "COUNT": {"validator": int, "default": 3},
        "NOTE": {"validator": refuse},
        "SIZE": {"choices": [("s", "Small"), ("l", "Large")]},
        "TOKEN": {"protected": True, "validator": int},
    }
    USER_SETTINGS = {"BADGE": {"validator": int}, "NAME": {"required": True}}


class Milk(SettingsMixin, Plugin):
    SETTINGS = {"URL": {"required": True}}


@pytest.fixture
def storage():
    return MemoryStorage()


@pytest.fixture
def serve(storage):
    """Yield a function that makes and loads a registry."""
    made = []

    def serve(**options):
        registry = PluginRegistry(
            "shop", builtin=[Tea, Milk], storage=storage, new_plugins="active", **options
        )
        made.append(registry)
        registry.load()
        return registry

    yield serve
    for plugin in made:
        plugin.close()


def put(storage, **values):
    """Store texts past all checks, as an older version of a plugin may have done."""
    with storage.transaction() as transaction:
        for key, value in values.items():
            table = "user_settings" if key.startswith("_") else "settings"
            row_key = f"tea:{key.strip('_').replace('_', ':')}"
            transaction.put(table, row_key, {"value": value, "protected": key == "TOKEN"})


def faults_of(registry, slug="tea"):
    """Return the faults by key; there is one record at most, and the plugin is active."""
    assert registry.get(slug).active
    found = [e for e in registry.get(slug).errors if e.subject == "settings values"]
    assert len(found) <= 1
    assert [e.stage for e in found] == ["activate"] * len(found)
    parts = [part for e in found for part in FAULTS.split(e.message)]
    return dict(part.split(": ", 1) for part in parts)


MISSING = {"URL": "it is required, and has neither a value nor a default"}


class TestRecord:
    def test_lists_every_bad_key_and_why(self, storage, serve):
        """Missing ones, and stored ones that fit no more, in the order declared."""
        put(storage, COUNT="many", NOTE="bad", SIZE="m", TOKEN=SECRET, OLD="x", _7_BADGE="gold")
        put(storage, _8_BADGE="tin", _9_BADGE="5")
        registry = serve()
        faults = faults_of(registry)
        assert list(faults) == ["URL", "COUNT", "NOTE", "SIZE", "TOKEN", "user setting BADGE"]
        assert faults["URL"] == MISSING["URL"]
        assert faults["COUNT"] == "Provided value is not a valid integer"
        assert faults["NOTE"] == "no good"
        assert faults["SIZE"] == "Chosen value is not a valid option"
        assert faults["user setting BADGE"] == "Provided value is not a valid integer"
        assert SECRET not in str(registry.errors)
        assert faults_of(registry, "milk") == MISSING

    def test_a_plugin_in_service_is_not_said_to_have_failed(self, serve, caplog):
        """The log names the missing settings, and the stage."""
        registry = serve()
        assert {*registry.active} == {"tea", "milk"}
        assert f"plugin milk, at activate: URL: {MISSING['URL']}" in caplog.messages
        assert "failed" not in caplog.text

    def test_a_required_user_setting_is_nobodys_fault(self, storage, serve):
        """A user who has set nothing is no user of the plugin."""
        put(storage, _7_BADGE="5")
        assert list(faults_of(serve())) == ["URL"]

    def test_there_is_none_where_all_is_well(self, storage, serve):
        """Nor for a plugin without settings."""
        put(storage, URL="x")
        assert faults_of(serve()) == {}

    def test_a_default_that_fails_is_reported_where_it_is_needed(self, storage, serve, monkeypatch):
        """A required setting has no value then."""

        def failing():
            raise OSError("no")

        monkeypatch.setitem(Tea.SETTINGS, "URL", {"required": True, "default": failing})
        assert faults_of(serve()) == {"URL": "its default is not available: OSError: no"}

    def test_a_default_that_fails_is_reported_where_it_is_not(self, storage, serve, monkeypatch):
        """Whoever reads the setting gets the error, required or not."""
        put(storage, URL="x")
        monkeypatch.setitem(Tea.SETTINGS, "NOTE", {"default": lambda: 1 / 0})
        monkeypatch.setitem(Tea.USER_SETTINGS, "BADGE", {"default": lambda: 1 / 0})
        registry = serve()
        reason = "its default is not available: ZeroDivisionError: division by zero"
        assert faults_of(registry) == {"NOTE": reason, "user setting BADGE": reason}
        registry.settings("tea").set("NOTE", "y")
        assert faults_of(registry) == {"user setting BADGE": reason}

    def test_it_goes_when_the_plugin_goes(self, storage, serve):
        """It is no fault of a plugin that is off."""
        registry = serve()
        registry.deactivate("tea")
        assert [failure.slug for failure in registry.errors] == ["milk"]
        registry.activate("tea")
        assert faults_of(registry) == MISSING

    @pytest.mark.parametrize("leave", ["deactivate", "close"])
    def test_nothing_holds_a_plugin_that_has_left(self, serve, leave):
        """Nor are later writes recorded."""
        registry = serve()
        view = registry.settings("tea")
        gone = weakref.ref(registry.get("tea").plugin)
        if leave == "deactivate":
            registry.deactivate("tea")
        else:
            registry.close()
        view.set("NOTE", {"$env": "NO_SUCH_TEA"})
        assert "NO_SUCH_TEA" not in str(registry.errors)
        gc.collect()
        assert gone() is None


class TestRenewal:
    def test_after_a_write_of_that_plugin(self, storage, serve):
        """Fixed keys leave it, and with the last one it goes; it is the same record meanwhile."""
        put(storage, COUNT="many")
        registry = serve()
        (before,) = [e for e in registry.errors if e.slug == "tea"]
        registry.settings("tea").set("COUNT", 5)
        assert faults_of(registry) == MISSING
        registry.get("tea").plugin.set_setting("URL", "x")
        assert faults_of(registry) == {}
        assert faults_of(registry, "milk") == MISSING
        assert before not in registry.errors

    def test_after_a_write_of_a_user(self, storage, serve):
        """Once nobody has a bad value any more it goes."""
        put(storage, URL="x", _7_BADGE="gold", _8_BADGE="tin")
        registry = serve()
        for user in (7, 8):
            assert list(faults_of(registry)) == ["user setting BADGE"]
            registry.user_settings("tea", user).set("BADGE", 5)
        assert faults_of(registry) == {}

    def test_a_reference_that_leads_nowhere_is_reported_at_once(self, serve, monkeypatch):
        """And gone after the next load once it leads somewhere."""
        monkeypatch.setenv("TEA_URL", "x")
        registry = serve()
        view = registry.settings("tea")
        view.set("URL", {"$env": "TEA_URL"})
        assert faults_of(registry) == {}
        view.set("NOTE", {"$env": "NO_SUCH_TEA"})
        assert "'NO_SUCH_TEA' is not set" in str(faults_of(registry))
        monkeypatch.setenv("NO_SUCH_TEA", "x")
        registry.reload()
        assert faults_of(registry) == {}
        monkeypatch.delenv("TEA_URL")
        registry.reload()
        assert list(faults_of(registry)) == ["URL"]

    def test_at_each_load(self, storage, serve):
        """Values of another process are checked, and plugins stay as they are."""
        registry = serve()
        plugin = registry.get("tea").plugin
        put(storage, URL="x", NOTE="bad")
        registry.reload()
        assert faults_of(registry) == {"NOTE": "no good"}
        assert registry.get("tea").plugin is plugin

    def test_an_activation_looks_at_no_other_plugin(self, storage, serve):
        """Its cost does not grow with the number of plugins."""
        asked = []
        registry = serve()
        put(storage, URL="x", NOTE="y")
        registry.reload()
        registry.deactivate("milk")
        definition = registry.settings("tea").definitions["NOTE"]
        object.__setattr__(definition, "validator", asked.append)
        registry.activate("milk")
        assert asked == []
        registry.reload()
        assert asked == ["y"]

    def test_counts_go_on(self, serve):
        """The record is one failure that is seen again."""
        registry = serve()
        counts = []
        for _ in range(3):
            (failure,) = registry.get("milk").errors
            counts.append((failure.count, failure.first_seen))
            registry.reload()
        assert [count for count, _ in counts] == [1, 2, 3]
        assert len({first for _, first in counts}) == 1

    @pytest.mark.parametrize("occasion", ["write", "load"])
    def test_what_is_written_while_it_is_looked_at_counts(self, serve, monkeypatch, occasion):
        """A value that another thread corrects meanwhile is not reported as bad afterwards."""
        due = []

        def mend(value):
            if due:
                due.clear()
                thread = threading.Thread(target=lambda: view.set("URL", "x"))
                thread.start()
                thread.join()

        # URL is looked at before NOTE, whose validator mends it.
        monkeypatch.setitem(Tea.SETTINGS, "NOTE", {"validator": mend})
        registry = serve()
        view = registry.settings("tea")
        view.set("NOTE", "y")
        assert faults_of(registry) == MISSING
        if occasion == "write":
            monkeypatch.setenv("TEA_NOTE", "y")
            due.append(1)
            view.set("NOTE", {"$env": "TEA_NOTE"})
        else:
            due.append(1)
            registry.reload()
        assert due == []
        assert view["URL"] == "x"
        assert faults_of(registry) == {}

    @pytest.mark.parametrize("given", ["validator", "default"])
    def test_a_plugin_may_write_whenever_it_is_asked(self, storage, serve, monkeypatch, given):
        """The check ends all the same, and its writes count."""
        asked, views = [], []

        def write(*_):
            asked.append(1)
            # There is an end to it, so that a look without one fails this test and no more.
            if views and len(asked) < 50:
                views[0].set("URL", len(asked))
            return "y"

        monkeypatch.setitem(Tea.SETTINGS, "NOTE", {given: write})
        if given == "validator":
            put(storage, NOTE="y")
        registry = serve()
        assert faults_of(registry) == MISSING
        views.append(registry.settings("tea"))
        asked.clear()
        registry.reload()
        assert 0 < len(asked) < 5
        assert faults_of(registry) == {}

    def test_defaults_that_write_each_other_come_to_an_end(self, serve, monkeypatch):
        """A plugin's writes are checked while the plugin is, and its writes then are not."""
        asked, views = [], []

        def writing(other):
            def default():
                asked.append(other)
                if views and len(asked) < 50:
                    views[0].set(other, "x")
                    views[0].set(other, "")
                return "y"

            return default

        monkeypatch.setitem(Tea.SETTINGS, "NOTE", {"default": writing("MEMO")})
        monkeypatch.setitem(Tea.SETTINGS, "MEMO", {"default": writing("NOTE")})
        registry = serve()
        views.append(registry.settings("tea"))
        asked.clear()
        registry.reload()
        assert {"MEMO", "NOTE"} == set(asked)
        assert len(asked) < 10
        assert faults_of(registry) == MISSING

    def test_a_write_is_a_look_at_what_was_written_alone(self, storage, serve, monkeypatch):
        """Whatever else is wrong, however many users have values, and of writers at once."""
        asked = []
        monkeypatch.setitem(Tea.SETTINGS, "NOTE", {"default": lambda: asked.append("default")})
        monkeypatch.setitem(Tea.USER_SETTINGS, "BADGE", {"validator": asked.append})
        put(storage, **{f"_{user}_BADGE": "old" for user in range(100)})
        registry = serve()
        assert faults_of(registry) == MISSING
        asked.clear()

        def write(first):
            for user in range(first, 100, 4):
                registry.user_settings("tea", user).set("BADGE", f"new {user}")

        threads = [threading.Thread(target=write, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        registry.settings("tea").set("COUNT", 5)
        assert sorted(asked) == sorted(f"new {user}" for user in range(100))
        assert faults_of(registry) == MISSING

    def test_a_load_looks_whether_values_of_users_still_convert(self, storage, serve, monkeypatch):
        """They were held against validators when written; references could not be."""
        asked = []

        def check(value):
            asked.append(value)
            refuse(value)

        definitions = {"BADGE": {"validator": [int, asked.append]}, "NAME": {"validator": check}}
        definitions["SIZE"] = {"choices": [("s", "Small")]}
        for key, definition in definitions.items():
            monkeypatch.setitem(Tea.USER_SETTINGS, key, definition)
        put(storage, URL="x", _7_BADGE="5", _8_BADGE="gold", _7_NAME="bad", _7_SIZE="m")
        registry = serve()
        faults = {
            "user setting BADGE": "Provided value is not a valid integer",
            "user setting SIZE": "Chosen value is not a valid option",
        }
        assert faults_of(registry) == faults
        assert asked == []
        monkeypatch.setenv("TEA_NAME", "bad")
        registry.user_settings("tea", 7).set("NAME", {"$env": "TEA_NAME"})
        faults["user setting NAME"] = "no good"
        assert faults_of(registry) == faults
        registry.reload()
        assert faults_of(registry) == faults
        assert set(asked) == {"bad"}

    def test_what_is_found_of_a_value_goes_with_it(self, serve, monkeypatch):
        """Another thread has written a better one while this one was looked at."""

        def check(value):
            if value == "bad":
                thread = threading.Thread(target=lambda: view.set("NOTE", "y"))
                thread.start()
                thread.join()
                raise ValueError("no good")

        monkeypatch.setitem(Tea.SETTINGS, "NOTE", {"validator": check})
        monkeypatch.setenv("TEA_NOTE", "bad")
        registry = serve()
        view = registry.settings("tea")
        view.set("NOTE", {"$env": "TEA_NOTE"})
        assert view["NOTE"] == "y"
        assert faults_of(registry) == MISSING

    def test_an_older_record_never_takes_the_place_of_a_newer_one(self, serve, monkeypatch):
        """A value written while a record is made and scrubbed is in the record afterwards."""
        names, views, busy = [], [], []

        def write():
            view, name = views[0], f"NO_SUCH_{len(names)}"
            view.set("URL", {"$env": name})
            names.append(name)

        def default():
            # Whoever scrubs asks for it; so does the thread that is started here.
            if views and not busy:
                busy.append(1)
                thread = threading.Thread(target=write)
                thread.start()
                thread.join()
                busy.clear()
            return ""

        monkeypatch.setitem(Tea.SETTINGS, "TOKEN", {"protected": True, "default": default})
        registry = serve()
        views.append(registry.settings("tea"))
        for occasion in (
            lambda: views[0].set("NOTE", {"$env": "NO_SUCH_TEA"}),
            registry.reload,
            lambda: views[0].set("NOTE", "y"),
        ):
            before = len(names)
            occasion()
            faults = faults_of(registry)
            assert len(names) > before
            assert f"'{names[-1]}' is not set" in faults["URL"]
        assert list(faults) == ["URL"]

    def test_the_last_write_decides(self, storage, serve):
        """Of writers at once none leaves a record that is not true."""
        registry = serve()
        registry.settings("tea").set("URL", "x")
        view = registry.settings("tea")

        def write(key):
            for value in [{"$env": "NO_SUCH_TEA"}, "fine"] * 20:
                view.set(key, value)

        threads = [threading.Thread(target=write, args=(key,)) for key in ("NOTE", "URL")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert faults_of(registry) == {}
