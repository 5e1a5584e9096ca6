"""A plugin's descriptions of itself and its settings never show protected values."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from plugreg import Plugin, PluginRegistry, SettingError
from plugreg.api import Actor, APIError, PluginAPI
from plugreg.mixins import SettingsMixin
from plugreg.storage import MemoryStorage

SECRET = "canary-words-51"
READER = Actor(2)


class Lazy:
    """A text that is made when it is asked for, as translations are."""

    def __str__(self):
        return f"uses {SECRET}"


class Teller(SettingsMixin, Plugin):
    TITLE = f"With {SECRET}"
    DESCRIPTION = f"Holds {SECRET}"
    WEBSITE = f"https://example.org/{SECRET}"
    SETTINGS = {
        "KEY": {"protected": True},
        "TOLD": {
            "name": Lazy(),
            "description": Lazy(),
            "units": Lazy(),
            "choices": lambda: [(SECRET, f"is {SECRET}"), ("other", "Other")],
        },
        "DEFAULT": {"default": lambda: f"prefix {SECRET}"},
        "FILTERED": {"model": "shop.item", "model_filters": {"token": SECRET}},
    }


@pytest.fixture
def api(make):
    registry = make(Teller, settings={"KEY": SECRET})
    return PluginAPI(registry, model_url=lambda model: f"/{model}?key={SECRET}")


class TestWords:
    def test_in_settings(self, api):
        """Not their names, choices, filters and addresses, nor a default that the plugin makes."""
        answers = [
            *api.plugins_settings_list(READER, plugin="teller"),
            api.plugins_settings_retrieve(READER, plugin="teller", key="TOLD"),
            *api.plugins_settings_list_all(Actor(1, is_staff=True)).results,
        ]

        assert len(answers) == 9
        assert SECRET not in json.dumps([answer.to_json() for answer in answers])
        shown = {answer.key: answer for answer in answers}
        assert shown["TOLD"].name == "uses ***"
        assert shown["TOLD"].choices[1] == {"value": "other", "display_name": "Other"}
        assert shown["DEFAULT"].value == "prefix ***"

    @pytest.mark.parametrize("extended", [False, True])
    def test_a_list_calls_each_default_a_few_times(self, extended):
        """However many protected settings have a function as their default."""
        calls = Counter()

        def make_default(key):
            def default():
                calls[key] += 1
                return f"secret of {key}"

            return default

        class Many(SettingsMixin, Plugin):
            SETTINGS = {
                f"KEY_{number}": {"protected": True, "default": make_default(number)}
                for number in range(40)
            }

        with PluginRegistry("shop", builtin=[Many], new_plugins="active") as registry:
            registry.load()
            api = PluginAPI(registry, extended=extended)
            calls.clear()
            assert len(api.plugins_settings_list(READER, plugin="many")) == 40
            assert len(api.plugins_settings_list_all(Actor(1, is_staff=True)).results) == 40

        assert max(calls.values()) <= 6

    def test_in_the_schema(self, api):
        """A form is made of the same words."""
        schema = api.service.registry.settings("teller").schema()

        assert SECRET not in json.dumps(schema)
        assert list(schema["properties"]) == list(Teller.SETTINGS)

    def test_in_what_is_shown_of_the_plugin(self, api):
        """Title, description and links are its own words."""
        config = api.plugins_retrieve(READER, plugin="teller")

        assert SECRET not in json.dumps(config.to_json())
        assert config.meta["description"] == "Holds ***"

    def test_what_was_given_in_the_open_stays(self, api):
        """An operator's own open value is shown as it was given, and can be sent back."""
        settings = api.service.registry.settings("teller")
        settings.set("DEFAULT", f"open {SECRET}")

        row = api.plugins_settings_retrieve(READER, plugin="teller", key="DEFAULT")
        assert row.value == f"open {SECRET}"


class TestMetadata:
    """Metadata is the client's own: it is shown as it was written, or not at all."""

    STAFF = Actor(1, is_staff=True)

    def put(self, api, metadata):
        body = {"metadata": metadata}
        return api.plugins_metadata_update(self.STAFF, plugin="teller", body=body)

    def get(self, api):
        return api.plugins_metadata_retrieve(self.STAFF, plugin="teller").metadata

    @pytest.mark.parametrize("key", ["note", f"of {SECRET}"])
    def test_a_protected_value_is_refused_when_it_is_written(self, api, key):
        """By each way in; the error names field and key, and nothing has changed."""
        registry = api.service.registry
        plugin = registry.get("teller").plugin
        wrong = {key: {"a": [f"token {SECRET}"]}}
        registry.set_metadata("teller", {"note": "open"})

        for write in (
            lambda: self.put(api, wrong),
            lambda: api.plugins_metadata_partial_update(
                self.STAFF, plugin="teller", body={"metadata": wrong}
            ),
        ):
            with pytest.raises(APIError) as refused:
                write()
            assert refused.value.status == 400
            (reason,) = refused.value.errors["metadata"]
            assert "holds the value of a protected setting" in reason
            assert SECRET not in str(refused.value)
        for write in (
            lambda: registry.set_metadata("teller", wrong),
            lambda: plugin.set_metadata(wrong),
        ):
            with pytest.raises(SettingError) as caught:
                write()
            assert caught.value.field == "metadata"
            assert caught.value.reason == reason
        assert self.get(api) == registry.metadata("teller") == {"note": "open"}

    def test_what_was_read_can_be_written_back(self, api):
        """Nothing in it is replaced, not even strings like a mask or a part of the secret."""
        metadata = {"note": "token ***", "part": SECRET[:-1], "count": 51, "***": [SECRET[1:]]}

        assert self.put(api, metadata).metadata == metadata
        assert self.get(api) == metadata
        assert self.put(api, self.get(api)).metadata == metadata

    def test_a_value_that_becomes_protected_later_is_not_shown(self, api):
        """The answer names the key, and a write without the value mends it; Python reads all."""
        registry = api.service.registry
        metadata = {"note": "token later-on-51", "other": 1}
        self.put(api, metadata)
        registry.settings("teller").set("KEY", "later-on-51")

        with pytest.raises(APIError) as refused:
            self.get(api)
        assert refused.value.status == 409
        assert "'note' of the metadata holds the value of a protected" in str(refused.value)
        assert "later-on-51" not in str(refused.value)
        assert registry.metadata("teller") == metadata
        with pytest.raises(APIError):
            api.plugins_metadata_partial_update(
                self.STAFF, plugin="teller", body={"metadata": {"other": 2}}
            )
        answer = api.plugins_metadata_partial_update(
            self.STAFF, plugin="teller", body={"metadata": {"note": None}}
        )
        assert answer.metadata == self.get(api) == {"note": None, "other": 1}

    def test_a_short_value_is_not_found_by_trying(self, api):
        """Many guesses at once are stored and shown as they are, whichever of them is right."""
        guesses = {"guesses": [f"{number:04}" for number in range(10_000)]}
        api.service.registry.settings("teller").set("KEY", "0451")

        assert self.put(api, guesses).metadata == self.get(api) == guesses


class TestChangedDefinitions:
    def test_an_override_stays_hidden_when_its_setting_is_open_now(self, monkeypatch, make):
        """A value that was protected once in this process is shown to nobody by a later version."""
        monkeypatch.setenv("TOLD_KEY", SECRET)

        class Shop(SettingsMixin, Plugin):
            SETTINGS = {"KEY": {"protected": True, "default": SECRET}, "OWN": {"protected": True}}

        overrides = {"shop": {"OWN": {"$env": "TOLD_KEY"}}}
        registry = make(Shop, overrides=overrides)
        Shop.SETTINGS = {"KEY": {"default": SECRET}, "OWN": {}}
        registry.reload(force=True)
        rows = PluginAPI(registry).plugins_settings_list(READER, plugin="shop")

        assert {row.key: row.value for row in rows} == {"KEY": "", "OWN": "***"}
        assert SECRET not in json.dumps(registry.settings("shop").schema())


class TestReferencesAreTheHostsOwn:
    def test_no_text_of_a_client_becomes_one(self, tmp_path, make):
        """Not even where a plugin reads a value and writes it back, as plugins do."""
        secret = tmp_path / "secret"
        secret.write_text(SECRET)

        class Shop(SettingsMixin, Plugin):
            USER_SETTINGS = {"OPTIONS": {"type": dict[str, object]}, "TEXT": {}}

        registry = make(Shop)
        api = PluginAPI(registry)
        text = json.dumps({"a": {"$file": str(secret)}})
        asked = {"plugin": "shop", "key": "OPTIONS", "body": {"value": text}}

        with pytest.raises(Exception, match="must not hold a reference"):
            api.plugins_user_settings_update(READER, **asked)
        kept = api.plugins_user_settings_update(READER, **{**asked, "key": "TEXT"})
        assert kept.value == text
        with pytest.raises(SettingError, match="must not hold a reference"):
            registry.user_settings("shop", 2).set("OPTIONS", text)
        assert registry.user_settings("shop", 2)["OPTIONS"] is None

    def test_no_migration_makes_one(self, tmp_path):
        """It may pass on the host's values, and parses strings of others into plain data only."""
        secret = tmp_path / "secret"
        secret.write_text(SECRET)
        text = json.dumps({"a": {"$file": str(secret)}})

        class Old(SettingsMixin, Plugin):
            SLUG = "shop"
            SETTINGS = {"OPTIONS": {}, "GIVEN": {}}

        class New(SettingsMixin, Plugin):
            SLUG = "shop"
            SETTINGS = {"OPTIONS": {"type": dict[str, object]}, "GIVEN": {}}
            SETTINGS_VERSION = 2

            def migrate_settings(self, values, version, user=None):
                return {**values, "OPTIONS": json.loads(values["OPTIONS"])}

        storage = MemoryStorage()
        with PluginRegistry("shop", builtin=[Old], new_plugins="active", storage=storage) as first:
            first.load()
            first.settings("shop").set("OPTIONS", text)
            first.settings("shop").set("GIVEN", {"$file": str(secret)})
        before = storage.read("settings")
        with PluginRegistry("shop", builtin=[New], storage=storage) as second:
            second.load()

            assert not second.get("shop").active
            assert "must not hold a reference" in second.get("shop").errors[0].message
        assert storage.read("settings") == before
