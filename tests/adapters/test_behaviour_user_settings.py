"""Everybody's own settings with a plugin, through every adapter."""

from __future__ import annotations

import pytest

from plugreg import Plugin, PluginRegistry
from plugreg.api import Actor, PluginAPI
from plugreg.mixins import SettingsMixin
from plugreg.storage import MemoryStorage

USER = Actor(7)
OTHER = Actor(70)
SUPERUSER = Actor(9, is_superuser=True)
PATH = "/api/plugins/mailer/user-settings/"


class Mailer(SettingsMixin, Plugin):
    NAME = "Mailer"
    SETTINGS = {"SUBJECT": {"default": "of the plugin"}}
    USER_SETTINGS = {
        "NOTIFY": {"name": "Notify me", "default": True, "validator": bool},
        "SUBJECT": {},
        "colour": {"choices": [("r", "Red")], "hidden": True},
        "TOKEN": {"protected": True},
    }


class Bare(Plugin): ...


@pytest.fixture
def storage():
    return MemoryStorage()


@pytest.fixture
def registry(storage):
    with PluginRegistry(
        "shop", builtin=[Bare, Mailer], new_plugins="active", storage=storage
    ) as registry:
        registry.load()
        yield registry


def values(client, actor):
    answer = client("GET", PATH, actor)
    assert answer.status == 200, answer
    return {row["key"]: row["value"] for row in answer.body}


class TestReading:
    def test_every_setting_as_declared(self, client):
        """The fields are those of a setting, with the user; hidden ones are there.

        There is no fallback to the plugin's own setting of the same name.
        """
        answer = client("GET", PATH, USER)
        common = {
            "description": "",
            "units": "",
            "model_name": None,
            "model_filters": {},
            "api_url": None,
            "typ": "plugin_user",
            "required": False,
            "plugin": "mailer",
            "user": 7,
        }
        rows = [{k: v for k, v in row.items() if k != "pk"} for row in answer.body]

        assert answer.status == 200
        assert rows == [
            {
                "key": "NOTIFY",
                "value": "True",
                "name": "Notify me",
                "type": "boolean",
                "choices": [],
                **common,
            },
            {"key": "SUBJECT", "value": "", "name": "", "type": "string", "choices": [], **common},
            {
                "key": "COLOUR",
                "value": "",
                "name": "",
                "type": "string",
                "choices": [{"value": "r", "display_name": "Red"}],
                **common,
            },
            {"key": "TOKEN", "value": "", "name": "", "type": "string", "choices": [], **common},
        ]

    def test_one_setting_says_the_same(self, client):
        """A single setting is the same as in the list, under any spelling of its key."""
        for row in client("GET", PATH, USER).body:
            assert client("GET", f"{PATH}{row['key']}/", USER).body == row
            assert client("GET", f"{PATH}{row['key'].lower()}/", USER).body == row

    def test_numbers_differ_by_user(self, client):
        """Every setting of every user has a number of its own, without a write."""
        own = [row["pk"] for row in client("GET", PATH, USER).body]
        others = [row["pk"] for row in client("GET", PATH, OTHER).body]
        plugins = [row["pk"] for row in client("GET", "/api/plugins/mailer/settings/", USER).body]
        numbers = own + others + plugins

        assert all(type(number) is int and 0 <= number < 2**53 for number in numbers)
        assert len(set(numbers)) == 9
        assert own == [row["pk"] for row in client("GET", PATH, USER).body]

    def test_reading_writes_nothing(self, client, storage):
        """Neither the list nor a single setting reaches the store."""
        revision = storage.revision()
        client("GET", PATH, USER)
        client("GET", f"{PATH}NOTIFY/", USER)

        assert storage.revision() == revision

    def test_an_unknown_key(self, client):
        """The sentence names user settings."""
        for method in ("GET", "PATCH", "PUT"):
            body = {} if method == "GET" else {"json": {"value": "x"}}
            answer = client(method, f"{PATH}NONE/", USER, **body)
            assert (answer.status, answer.body) == (
                404,
                {"detail": "Plugin 'mailer' has no user setting matching 'NONE'"},
            )

    def test_a_plugin_without_any(self, client):
        """It has an empty list."""
        answer = client("GET", "/api/plugins/bare/user-settings/", USER)

        assert (answer.status, answer.body) == (200, [])


class TestWriting:
    @pytest.mark.parametrize("how", ["json", "form", "multipart"])
    @pytest.mark.parametrize("method", ["PATCH", "PUT"])
    def test_anybody_may_set_their_own(self, client, registry, method, how):
        """An ordinary user's value is stored, for that user alone."""
        answer = client(method, f"{PATH}NOTIFY/", USER, **{how: {"value": "no"}})

        assert answer.status == 200
        assert (answer.body["value"], answer.body["user"]) == ("False", 7)
        assert values(client, USER)["NOTIFY"] == "False"
        assert values(client, OTHER)["NOTIFY"] == "True"
        assert registry.user_settings("mailer", 7)["NOTIFY"] is False
        assert registry.user_settings("mailer", 70)["NOTIFY"] is True

    def test_a_plugin_may_set_them_too(self, client, registry):
        """A value that the plugin stores for an ordinary user is read by that user."""
        registry.get("mailer").plugin.set_user_setting("SUBJECT", "Hello", 7)

        assert values(client, USER)["SUBJECT"] == "Hello"
        assert values(client, OTHER)["SUBJECT"] == ""

    def test_nobody_sets_anothers(self, client):
        """A user in the body or in the query is ignored, whoever asks."""
        answer = client(
            "PATCH",
            f"{PATH}SUBJECT/",
            SUPERUSER,
            query={"user": "7"},
            json={"value": "x", "user": 7, "pk": 7},
        )
        assert (answer.status, answer.body["user"]) == (200, 9)
        assert values(client, USER)["SUBJECT"] == ""
        assert values(client, SUPERUSER)["SUBJECT"] == "x"

    def test_values_are_checked_as_others(self, client):
        """The same sentences, under ``value``, and nothing is stored."""
        for key, value, sentence in (
            ("NOTIFY", "maybe", "Value must be a boolean value"),
            ("COLOUR", "g", "Chosen value is not a valid option"),
        ):
            answer = client("PATCH", f"{PATH}{key}/", USER, json={"value": value})
            assert (answer.status, answer.body) == (400, {"value": [sentence]})
        assert values(client, USER)["NOTIFY"] == "True"

    def test_put_needs_a_value_and_patch_does_not(self, client):
        """PUT without one is 400; PATCH without one answers the setting as it is."""
        answer = client("PUT", f"{PATH}NOTIFY/", USER, json={})
        assert (answer.status, answer.body) == (400, {"value": ["This field is required."]})
        answer = client("PATCH", f"{PATH}NOTIFY/", USER, json={})
        assert (answer.status, answer.body["value"]) == (200, "True")

    def test_secrets_are_masked(self, client, registry):
        """The user sees that it is set; the mask written back keeps it."""
        client("PATCH", f"{PATH}TOKEN/", USER, json={"value": "canary"})
        assert values(client, USER)["TOKEN"] == "***"
        client("PUT", f"{PATH}TOKEN/", USER, json={"value": "***"})

        assert registry.user_settings("mailer", 7)["TOKEN"] == "canary"
        assert values(client, OTHER)["TOKEN"] == ""


class TestWhoseTheyAre:
    def test_a_service_has_none(self, client):
        """An actor without a number of a user may read plugins, and has no own settings."""
        service = Actor(None)

        assert client("GET", "/api/plugins/mailer/", service).status == 200
        for method, path in (("GET", PATH), ("GET", f"{PATH}NOTIFY/"), ("PUT", f"{PATH}NOTIFY/")):
            assert client(method, path, service).status == 403

    def test_they_end_with_the_plugin(self, client, registry):
        """A plugin that is switched off has no user settings, and a new definition counts."""
        client("PATCH", f"{PATH}SUBJECT/", USER, json={"value": "x"})
        registry.deactivate("mailer")
        answer = client("GET", PATH, USER)
        assert (answer.status, answer.body) == (404, {"detail": "Plugin 'mailer' is not active"})

        registry.activate("mailer")
        assert values(client, USER)["SUBJECT"] == "x"

    def test_a_definition_that_is_gone(self, make_client, storage, registry):
        """After an upgrade the old definitions are nowhere."""

        class Later(SettingsMixin, Plugin):
            SLUG = "mailer"
            USER_SETTINGS = {"NEW": {"default": "n"}}

        with PluginRegistry("shop", builtin=[Later], storage=storage) as later:
            later.load()
            assert values(make_client(PluginAPI(later)), USER) == {"NEW": "n"}
