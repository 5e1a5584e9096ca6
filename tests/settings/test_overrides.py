"""Overrides of a host: checked at once, above stored values, locked, never stored."""

from __future__ import annotations

import itertools

import pytest

from plugreg import Plugin, PluginRegistry, SettingError, hookimpl
from plugreg.mixins import SettingsMixin
from plugreg.settings.overrides import parse_overrides
from plugreg.storage import MemoryStorage

SECRET = "canary-7f3a"


class Tea(SettingsMixin, Plugin):
    """One setting of its own, one of users, one of both."""

    NAME = "Tea"
    SETTINGS = {
        "PERCENT": {"default": 10, "validator": int, "required": True},
        "TOKEN": {"protected": True},
        "BOTH": {"default": "own", "protected": True},
        "NOTE": {},
    }
    USER_SETTINGS = {"BADGE": {"default": "none"}, "BOTH": {"default": "mine"}}


@pytest.fixture
def storage():
    return MemoryStorage()


@pytest.fixture
def serve(storage):
    """Yield a function that makes and loads a registry with overrides of the plugin ``tea``."""
    made = []

    def serve(plugin=Tea, storage=storage, **overrides):
        registry = PluginRegistry(
            "shop",
            builtin=[("tea", plugin)],
            storage=storage,
            new_plugins="active",
            overrides={"tea": overrides},
        )
        made.append(registry)
        registry.load()
        return registry

    yield serve
    for registry in made:
        registry.close()


def rows(storage):
    return {**storage.read("settings"), **storage.read("user_settings")}


def bad_values(registry):
    """Return the message about bad values, None where there is no such record."""
    found = [failure.message for failure in registry.errors if failure.subject == "settings values"]
    assert len(found) <= 1
    return found[0] if found else None


class TestChecks:
    def test_slugs_and_keys_are_made_uniform(self):
        """As everywhere: slugs are slugified, keys are in upper case."""
        assert parse_overrides({"Tea Pot": {"per_cent": 15}}) == {"tea-pot": {"PER_CENT": 15}}

    @pytest.mark.parametrize(
        ("given", "error", "reason"),
        [
            ([], TypeError, "overrides must be a dict"),
            ({"tea": SECRET}, TypeError, "overrides['tea'] must be a dict"),
            ({"tea": None}, TypeError, "overrides['tea'] must be a dict"),
            ({5: {}}, TypeError, "overrides[5]"),
            ({"": {}}, ValueError, "overrides['']"),
            ({"status": {}}, ValueError, "overrides['status']"),
            ({"Tea": {}, "tea": {}}, ValueError, "overrides['tea']"),
            ({"tea": {"a b": SECRET}}, ValueError, "overrides['tea']['a b']"),
            ({"tea": {5: SECRET}}, ValueError, "overrides['tea'][5]"),
            ({"tea": {"KEY": 1, "key": SECRET}}, ValueError, "overrides['tea']['key']"),
            ({"tea": {"KEY": {"$env": 5}}}, ValueError, "overrides['tea']['KEY']"),
            ({"tea": {"KEY": [{"$env": "X", "or": SECRET}]}}, ValueError, "['tea']['KEY']"),
        ],
    )
    def test_what_cannot_be_is_refused_when_the_registry_is_made(self, given, error, reason):
        """With the slug and the key, and without any value."""
        with pytest.raises(error) as caught:
            PluginRegistry("shop", overrides=given)
        assert reason in str(caught.value)
        assert SECRET not in str(caught.value)

    def test_a_value_that_contains_itself_is_refused(self):
        """It could not be copied."""
        value = []
        value.append(value)
        with pytest.raises(ValueError, match=r"\['tea'\]\['KEY'\].*contain itself"):
            PluginRegistry("shop", overrides={"tea": {"KEY": value}})

    def test_they_are_copied(self, storage):
        """Later changes of the host's dicts have no effect, at any depth."""
        values = {"NOTE": {"$env": "TEA_NOTE"}, "PERCENT": 15}
        given = {"tea": values}
        registry = PluginRegistry(
            "shop", builtin=[Tea], new_plugins="active", overrides=given, storage=storage
        )
        values["NOTE"]["$env"] = "OTHER"
        values["PERCENT"] = 20
        del given["tea"]
        with registry:
            registry.load()
            view = registry.settings("tea")
            assert view["PERCENT"] == 15
            with pytest.raises(SettingError, match="TEA_NOTE"):
                view["NOTE"]


class TestPrecedence:
    @pytest.mark.parametrize(
        ("default", "stored", "override"), list(itertools.product([False, True], repeat=3))
    )
    @pytest.mark.parametrize("user", [None, 7])
    def test_default_then_stored_then_override(self, serve, default, stored, override, user):
        """Every combination of the three, for a plugin's own settings and for a user's."""
        declared = {"KEY": {"default": "default"} if default else {}}
        kind = "SETTINGS" if user is None else "USER_SETTINGS"
        plugin = type("Tea", (SettingsMixin, Plugin), {kind: declared})
        if stored:
            first = serve(plugin)
            self.view(first, user).set("KEY", "stored")
            first.close()
        registry = serve(plugin, **({"KEY": "override"} if override else {}))
        view = self.view(registry, user)
        layer = "override" if override else "stored" if stored else "default"
        value = layer if layer != "default" or default else ""
        assert view["KEY"] == view["key"] == value
        assert dict(view) == {"KEY": value}
        assert view.shown("KEY") == value
        assert view.layer("key") == layer
        assert view.is_locked("key") is override
        assert view.is_set("key") is (override or stored)
        plugin = registry.get("tea").plugin
        read = (
            plugin.get_setting("key", "backup")
            if user is None
            else plugin.get_user_setting("key", user, "backup")
        )
        assert read == (value or "backup")

    @staticmethod
    def view(registry, user):
        return registry.settings("tea") if user is None else registry.user_settings("tea", user)

    def test_a_user_does_not_fall_back_to_the_plugins_own(self, serve):
        """Neither to the stored value nor to the override."""
        registry = serve(BOTH=SECRET)
        assert registry.settings("tea")["BOTH"] == SECRET
        view = registry.user_settings("tea", 7)
        assert (view["BOTH"], view.layer("BOTH")) == ("mine", "default")
        view.set("BOTH", "yours")
        assert view["BOTH"] == "yours"
        assert bad_values(registry) is None

    def test_one_of_a_user_setting_holds_for_every_user(self, serve):
        """Those who have set a value included."""
        first = serve()
        first.user_settings("tea", 7).set("BADGE", "gold")
        first.close()
        registry = serve(BADGE="tin")
        assert [registry.user_settings("tea", user)["BADGE"] for user in (7, 8)] == ["tin", "tin"]

    def test_of_another_plugin_changes_nothing(self, serve):
        """The same key of another slug is another setting."""
        registry = PluginRegistry(
            "shop",
            builtin=[("tea", Tea), ("milk", Tea)],
            new_plugins="active",
            overrides={"tea": {"PERCENT": 15}},
        )
        with registry:
            registry.load()
            assert [registry.settings(e)["PERCENT"] for e in ("tea", "milk")] == [15, 10]


class TestLocked:
    def test_writing_is_refused(self, serve, storage):
        """Through registry and plugin, of own and user settings; nothing is stored."""
        registry = serve(PERCENT=15, BADGE="tin")
        plugin = registry.get("tea").plugin
        revision = storage.revision()
        for write in (
            lambda: registry.settings("tea").set("percent", 5),
            lambda: registry.settings("tea").set("PERCENT", None),
            lambda: plugin.set_setting("PERCENT", 5),
            lambda: registry.user_settings("tea", 7).set("BADGE", "gold"),
            lambda: plugin.set_user_setting("BADGE", "gold", 7),
        ):
            with pytest.raises(SettingError, match="fixed by the host's configuration"):
                write()
        assert storage.revision() == revision
        assert registry.settings("tea")["PERCENT"] == 15

    def test_the_mask_written_back_is_no_write(self, serve):
        """A form that is sent back unchanged goes through."""
        registry = serve(TOKEN=SECRET)
        registry.settings("tea").set("TOKEN", "***")
        assert registry.settings("tea")["TOKEN"] == SECRET

    def test_what_is_stored_waits_below(self, serve, storage):
        """It is not touched, and holds again once the host lets go."""
        first = serve()
        first.settings("tea").set("PERCENT", 5)
        first.close()
        before = rows(storage)
        locked = serve(PERCENT=15, TOKEN=SECRET)
        locked.settings("tea").set("NOTE", "x")
        assert {key: row for key, row in rows(storage).items() if key in before} == before
        assert SECRET not in str(rows(storage))
        locked.close()
        assert serve().settings("tea")["PERCENT"] == 5

    def test_the_schema_says_so(self, serve):
        """A form shows it as read-only, and others not; its title is the slug."""
        schema = serve(PERCENT=15).settings("tea").schema()
        assert schema["title"] == "tea"
        assert schema["properties"]["PERCENT"]["readOnly"] is True
        assert "readOnly" not in schema["properties"]["NOTE"]


class TestValues:
    def test_are_converted_and_shown_as_text(self, serve):
        """A text that converts is as good as the native value."""
        view = serve(PERCENT="15", NOTE=7).settings("tea")
        assert (view["PERCENT"], view["NOTE"]) == (15, "7")
        assert (view.shown("PERCENT"), view.shown("NOTE")) == ("15", "7")

    def test_a_protected_one_is_masked(self, serve):
        """It is read in clear by the plugin alone."""
        registry = serve(TOKEN=SECRET)
        view = registry.settings("tea")
        assert view["TOKEN"] == SECRET
        assert view.shown("TOKEN") == "***"
        assert SECRET not in repr(view)
        assert SECRET not in repr(registry)

    def test_a_list_is_every_readers_own(self, serve):
        """A change by one reader is seen by no other reader."""
        plugin = type("Tea", (SettingsMixin, Plugin), {"SETTINGS": {"KEYS": {"type": list[str]}}})
        view = serve(plugin, KEYS=["a", "b"]).settings("tea")
        view["KEYS"].append("c")
        assert view["KEYS"] == ["a", "b"]

    def test_one_whose_text_would_be_another_value(self, serve):
        """A number of a type that has strings too stays a number."""
        declared = {"PORT": {"type": int | str}, "NAMES": {"type": str | list[str]}}
        plugin = type("Tea", (SettingsMixin, Plugin), {"SETTINGS": declared})
        registry = serve(plugin, PORT=80, NAMES=["80"])
        assert dict(registry.settings("tea")) == {"PORT": 80, "NAMES": ["80"]}
        assert bad_values(registry) is None

    def test_a_reference_is_looked_up_at_each_read(self, serve, monkeypatch, tmp_path):
        """At any depth, and its value is shown."""
        (tmp_path / "note").write_text("steep\n", encoding="utf-8")
        plugin = type(
            "Tea",
            (SettingsMixin, Plugin),
            {"SETTINGS": {"PERCENT": {"validator": int}, "NOTE": {}, "KEYS": {"type": list[str]}}},
        )
        monkeypatch.setenv("TEA_PERCENT", "15")
        view = serve(
            plugin,
            PERCENT={"$env": "TEA_PERCENT"},
            NOTE={"$file": str(tmp_path / "note")},
            KEYS=["a", {"$env": "TEA_PERCENT"}],
        ).settings("tea")
        assert dict(view) == {"PERCENT": 15, "NOTE": "steep", "KEYS": ["a", "15"]}
        assert [view.shown(key) for key in view] == ["15", "steep", '["a","15"]']
        monkeypatch.setenv("TEA_PERCENT", "16")
        assert (view["PERCENT"], view["KEYS"]) == (16, ["a", "16"])

    @pytest.mark.parametrize("value", ["many", [1], {"$env": "TEA_BAD"}, {"$env": "NO_SUCH_TEA"}])
    def test_one_that_cannot_be_used_raises_when_it_is_read(self, serve, monkeypatch, value):
        """The default would be dangerous. Other settings are read as ever."""
        monkeypatch.setenv("TEA_BAD", "many")
        registry = serve(PERCENT=value)
        view = registry.settings("tea")
        for _ in range(2):
            with pytest.raises(SettingError) as caught:
                view["PERCENT"]
            assert caught.value.field == "PERCENT"
        assert view.shown("PERCENT") == ""
        assert view["BOTH"] == "own"
        assert bad_values(registry) == f"PERCENT: {caught.value.reason}"
        assert registry.get("tea").active
        assert registry.get("tea").plugin.check_settings() == (False, ("PERCENT",))

    def test_for_a_setting_that_is_not_there(self, serve):
        """One record, with a name that may have been meant; the plugin is active."""
        registry = serve(PERCENTS=15, BADGES="x", PERCENT="many")
        message = bad_values(registry)
        assert "PERCENTS: " in message
        assert "did you mean 'PERCENT'" in message
        assert "BADGES: " in message
        assert "did you mean 'BADGE'" in message
        assert "PERCENT: Provided value is not a valid integer" in message
        assert registry.get("tea").active
        (failure,) = registry.errors
        assert (failure.stage, failure.slug) == ("activate", "tea")

    def test_for_a_setting_of_a_plugin_that_has_none(self):
        """A plain pluggy plugin has no settings, so that nothing can be fixed."""

        class Plain:
            @hookimpl
            def plugreg_health(self):
                return True

        with PluginRegistry(
            "shop",
            builtin=[("tea", Plain)],
            new_plugins="active",
            overrides={"tea": {"PERCENT": 15}},
        ) as registry:
            registry.load()
            assert bad_values(registry) == (
                "PERCENT: the host overrides it, and the plugin has no such setting"
            )

    def test_for_a_plugin_that_is_not_there(self):
        """One record each, with the name that may have been meant, for as long as it holds."""
        with PluginRegistry(
            "shop",
            builtin=[("tea", Tea), ("milk", Tea)],
            new_plugins="active",
            overrides={"taa": {"PERCENT": 15}, "tea": {"PERCENT": 15}, "mine": {"PERCENT": 15}},
        ) as registry:
            report = registry.load()
            taa, mine = registry.errors
            assert report.failures == registry.errors
            assert [(failure.stage, failure.slug) for failure in (taa, mine)] == [
                ("resolve", "taa"),
                ("resolve", "mine"),
            ]
            assert "no such plugin; did you mean 'tea'?" in taa.message
            assert "no such plugin; install it" in mine.message

            registry.register(Tea(), slug="mine")
            registry.deactivate("milk")
            assert registry.errors == (taa,)
            assert registry.settings("mine")["PERCENT"] == 15
            registry.unregister("mine")
            assert [failure.slug for failure in registry.errors] == ["taa", "mine"]
            assert registry.reload().failures == registry.errors
            assert [(failure.slug, failure.count) for failure in registry.errors] == [
                ("taa", 2),
                ("mine", 2),
            ]

    def test_for_a_plugin_that_is_off_or_missing(self, storage):
        """It is known, and its overrides hold once it is active."""
        for builtin in ([("tea", Tea)], [], [("tea", Tea)]):
            with PluginRegistry(
                "shop", builtin=builtin, storage=storage, overrides={"tea": {"PERCENT": 15}}
            ) as registry:
                registry.load()
                assert registry.errors == ()
        storage.close()

    def test_a_bad_one_of_a_user_setting_is_reported_once(self, serve):
        """Whether or not there are users who have set it."""
        declared = {"BADGE": {"validator": int}}
        plugin = type("Tea", (SettingsMixin, Plugin), {"USER_SETTINGS": declared})
        first = serve(plugin)
        for user in (1, 2):
            first.user_settings("tea", user).set("BADGE", 5)
        first.close()
        message = "user setting BADGE: Provided value is not a valid integer"
        assert bad_values(serve(plugin, BADGE="many")) == message
        assert bad_values(serve(plugin, storage=MemoryStorage(), BADGE="many")) == message
