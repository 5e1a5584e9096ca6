"""GET /api/plugins/settings/ through every adapter: the settings of all plugins."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from plugreg import Plugin, PluginRegistry
from plugreg.api import Actor, PluginAPI
from plugreg.mixins import SettingsMixin
from plugreg.storage import MemoryStorage

STAFF = Actor(8, is_staff=True)
SUPERUSER = Actor(9, is_superuser=True)
PATH = "/api/plugins/settings/"
SECRET = "canary-91ab"


class Tea(SettingsMixin, Plugin):
    SETTINGS = {"SUGAR": {"default": "1"}, "CUPS": {"name": "Cups"}, "TOKEN": {"protected": True}}


class Apple(SettingsMixin, Plugin):
    SETTINGS = {"Z": {"default": "z"}, "A": {"default": "a"}}


class Milk(SettingsMixin, Plugin):
    SETTINGS = {"PLAIN": {}, "KEY": {"protected": True}, "UNSET": {}}


@pytest.fixture
def storage():
    return MemoryStorage()


@pytest.fixture
def registry(storage):
    """Yield two plugins in service, and one that was set up and then switched off."""
    with PluginRegistry(
        "shop", builtin=[Tea, Apple, Milk], storage=storage, new_plugins="active"
    ) as registry:
        registry.load()
        registry.settings("milk").set("PLAIN", "text")
        registry.settings("milk").set("KEY", SECRET)
        registry.deactivate("milk")
        yield registry


def rows(client, query=()):
    answer = client("GET", PATH, STAFF, query=query)
    assert answer.status == 200, answer
    return [(row["plugin"], row["key"]) for row in answer.body["results"]]


ACTIVE = [("apple", "Z"), ("apple", "A"), ("tea", "SUGAR"), ("tea", "CUPS"), ("tea", "TOKEN")]
STORED = [("milk", "KEY"), ("milk", "PLAIN")]


class TestRows:
    def test_by_plugin_then_as_declared(self, client, registry):
        """Settings that were never stored are there too, in a fixed order."""
        assert rows(client) == ACTIVE[:2] + STORED + ACTIVE[2:]
        registry.settings("tea").set("TOKEN", "x")
        registry.settings("apple").set("A", "x")
        assert rows(client) == ACTIVE[:2] + STORED + ACTIVE[2:]

    def test_a_row_is_what_the_plugin_itself_answers(self, client):
        """Of a plugin in service each row is the setting as its own address has it."""
        for slug in ("apple", "tea"):
            own = client("GET", f"/api/plugins/{slug}/settings/", STAFF).body
            listed = client("GET", PATH, STAFF, query={"plugin__key": slug}).body
            assert listed == {"count": len(own), "next": None, "previous": None, "results": own}

    def test_a_plugin_that_is_off(self, client):
        """Nothing is known of its settings, so that every value is masked."""
        answer = client("GET", PATH, SUPERUSER, query={"plugin__key": "milk"})

        for row, key in zip(answer.body["results"], ("KEY", "PLAIN"), strict=True):
            assert {name: value for name, value in row.items() if name != "pk"} == {
                "key": key,
                "value": "***",
                "name": "",
                "description": "",
                "type": "string",
                "units": "",
                "choices": [],
                "model_name": None,
                "model_filters": {},
                "api_url": None,
                "typ": "plugin",
                "required": False,
                "plugin": "milk",
            }
        assert SECRET not in str(answer.body)

    @pytest.mark.parametrize("builtin", [[Milk], []])
    def test_a_process_that_never_saw_the_definition(self, make_client, storage, registry, builtin):
        """Neither an inactive plugin nor one that is gone shows a secret."""
        with PluginRegistry("shop", builtin=builtin, storage=storage) as later:
            later.load()
            answer = make_client(PluginAPI(later))("GET", PATH, SUPERUSER)

        values = {
            row["key"]: row["value"] for row in answer.body["results"] if row["plugin"] == "milk"
        }
        assert values == {"KEY": "***", "PLAIN": "***"}
        assert SECRET not in str(answer.body)

    def test_the_number_is_that_of_the_setting(self, client, registry):
        """It is the same while the plugin is off and when it is on again."""
        off = {row["key"]: row["pk"] for row in client("GET", PATH, STAFF).body["results"]}
        registry.activate("milk")
        on = client("GET", "/api/plugins/milk/settings/", STAFF).body

        assert {row["key"]: row["pk"] for row in on if row["key"] in ("KEY", "PLAIN")} == {
            key: off[key] for key in ("KEY", "PLAIN")
        }


class TestFilters:
    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({"plugin__active": "true"}, ACTIVE),
            ({"plugin__active": "0"}, STORED),
            ({"plugin__key": "tea"}, ACTIVE[2:]),
            ({"plugin__key": "te"}, []),
            ({"plugin__key": "none"}, []),
            ({"plugin__key": "milk", "plugin__active": "true"}, []),
            ({"plugin__key": "", "plugin__active": ""}, ACTIVE[:2] + STORED + ACTIVE[2:]),
        ],
    )
    def test_by_desired_state_and_by_key(self, client, query, expected):
        """The key is the whole key; both must hold."""
        assert rows(client, query) == expected

    def test_what_is_no_boolean_is_refused(self, client):
        """It is 400 under the parameter's name."""
        answer = client("GET", PATH, STAFF, query={"plugin__active": "perhaps"})

        assert (answer.status, set(answer.body)) == (400, {"plugin__active"})


class TestPages:
    def test_pages_do_not_overlap(self, client, registry):
        """The links lead through every setting once, while values are written."""
        seen, query = [], {"limit": "3"}
        while query is not None:
            answer = client("GET", PATH, STAFF, query=query)
            assert answer.body["count"] == 7
            seen += [(row["plugin"], row["key"]) for row in answer.body["results"]]
            registry.settings("tea").set("SUGAR", str(len(seen)))
            following = answer.body["next"]
            query = following and dict(parse_qsl(urlsplit(following).query))

        assert seen == ACTIVE[:2] + STORED + ACTIVE[2:]

    def test_numbers_that_are_none_are_refused(self, client):
        """They are 400 under their name."""
        for name, value in (("limit", "0"), ("limit", "x"), ("offset", "-1")):
            answer = client("GET", PATH, STAFF, query={name: value})
            assert (answer.status, set(answer.body)) == (400, {name})

    def test_a_plain_array_where_the_host_wants_it(self, make_client, registry):
        """With the option a list without a limit is an array."""
        client = make_client(PluginAPI(registry, bare_list_without_limit=True))
        answer = client("GET", PATH, STAFF)

        assert [(row["plugin"], row["key"]) for row in answer.body][:2] == ACTIVE[:2]
        assert len(answer.body) == 7
