"""What a plugin tells of itself, its settings' words included, never tells what it protects."""

from __future__ import annotations

import json

import pytest

from plugreg import Plugin, PluginRegistry, SettingError
from plugreg.api import Actor, PluginAPI
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
def api():
    with PluginRegistry("shop", builtin=[Teller], new_plugins="active") as registry:
        registry.load()
        registry.settings("teller").set("KEY", SECRET)
        yield PluginAPI(registry, model_url=lambda model: f"/{model}?key={SECRET}")


class TestWords:
    def test_settings_do_not_tell(self, api):
        """Not their names, choices, filters and addresses, nor a default that the plugin makes."""
        answers = [
            *api.plugins_settings_list(READER, plugin="teller"),
            api.plugins_settings_retrieve(READER, plugin="teller", key="TOLD"),
            *api.plugins_settings_list_all(Actor(1, is_staff=True)).results,
        ]

        assert len(answers) == 9
        assert SECRET not in json.dumps([each.to_json() for each in answers])
        told = {each.key: each for each in answers}
        assert told["TOLD"].name == "uses ***"
        assert told["TOLD"].choices[1] == {"value": "other", "display_name": "Other"}
        assert told["DEFAULT"].value == "prefix ***"

    def test_the_schema_does_not_tell(self, api):
        """A form is made of the same words."""
        schema = api.service.registry.settings("teller").schema()

        assert SECRET not in json.dumps(schema)
        assert list(schema["properties"]) == list(Teller.SETTINGS)

    def test_the_plugin_does_not_tell(self, api):
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


class TestChangedDefinitions:
    def test_an_override_stays_hidden_when_its_setting_is_open_now(self, monkeypatch):
        """What was protected once in this process is shown to nobody by a later version."""
        monkeypatch.setenv("TOLD_KEY", SECRET)

        class Shop(SettingsMixin, Plugin):
            SETTINGS = {"KEY": {"protected": True, "default": SECRET}, "OWN": {"protected": True}}

        overrides = {"shop": {"OWN": {"$env": "TOLD_KEY"}}}
        with PluginRegistry(
            "shop", builtin=[Shop], new_plugins="active", overrides=overrides
        ) as registry:
            registry.load()
            Shop.SETTINGS = {"KEY": {"default": SECRET}, "OWN": {}}
            registry.reload(force=True)
            rows = PluginAPI(registry).plugins_settings_list(READER, plugin="shop")

            assert {each.key: each.value for each in rows} == {"KEY": "", "OWN": "***"}
            assert SECRET not in json.dumps(registry.settings("shop").schema())


class TestReferencesAreTheHostsOwn:
    def test_no_text_of_a_client_becomes_one(self, tmp_path):
        """Not even where a plugin reads a value and writes it back, as plugins do."""
        secret = tmp_path / "secret"
        secret.write_text(SECRET)

        class Shop(SettingsMixin, Plugin):
            USER_SETTINGS = {"OPTIONS": {"type": dict[str, object]}, "TEXT": {}}

        with PluginRegistry("shop", builtin=[Shop], new_plugins="active") as registry:
            registry.load()
            api = PluginAPI(registry)
            text = json.dumps({"a": {"$file": str(secret)}})
            asked = {"plugin": "shop", "key": "OPTIONS", "body": {"value": text}}

            with pytest.raises(Exception, match="must not hold a reference"):
                api.plugins_user_settings_update(READER, **asked)
            kept = api.plugins_user_settings_update(READER, **{**asked, "key": "TEXT"})
            assert kept.value == text
            with pytest.raises(SettingError, match="must not hold a reference"):
                registry.user_settings("shop", 2).set("OPTIONS", text)
            assert registry.user_settings("shop", 2)["OPTIONS"] == ""

    def test_no_migration_makes_one(self, tmp_path):
        """It may pass on what the host gave, and parses texts of others into plain data only."""
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
