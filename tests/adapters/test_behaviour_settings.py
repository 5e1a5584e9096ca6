"""The settings of a plugin through every adapter: their fields, and their visibility.

How values are written is in test_behaviour_values.py.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from plugreg import Plugin, PluginRegistry
from plugreg.api import Actor, PluginAPI
from plugreg.mixins import SettingsMixin
from plugreg.storage import MemoryStorage

USER = Actor(7)
STAFF = Actor(8, is_staff=True)
SUPERUSER = Actor(9, is_superuser=True)
PATH = "/api/plugins/discount/settings/"


def sizes(plugin=None):
    return [("s", "Small"), ("l", f"Large of {plugin}")]


def no_sizes():
    raise TypeError("of the function itself")


class Discount(SettingsMixin, Plugin):
    SETTINGS = {
        "PERCENT": {
            "name": "Per cent",
            "description": "How much less",
            "units": "%",
            "default": 10,
            "validator": int,
        },
        "rate": {"default": 1.5, "validator": float},
        "ENABLED": {"default": True, "validator": [bool]},
        "TITLE": {"required": True},
        "SIZE": {"choices": [("s", "Small"), (2, "Two")], "default": "s"},
        "PART": {"model": "part.part", "model_filters": {"active": True}},
        "STOCK": {"model": "stock.row"},
        "TOKEN": {"protected": True},
        "HIDDEN": {"hidden": True},
        "_INTERNAL": {"default": "x"},
        "ASKED": {"choices": sizes},
        "BROKEN": {"choices": no_sizes},
    }


class Bare(SettingsMixin, Plugin):
    """Has the mixin, and nothing to set."""


class Off(SettingsMixin, Plugin):
    SETTINGS = {"A": {}}


class Failing(SettingsMixin, Plugin):
    SETTINGS = {"A": {}}

    def __init__(self):
        raise OSError("no")


class Kinds(SettingsMixin, Plugin):
    SETTINGS = {
        "TAGS": {"type": list[str]},
        "LIMITS": {"type": dict[str, int]},
        "PORT": {"type": int | str},
        "ANY": {"type": Any},
        "LEVEL": {"type": int},
        "DAY": {"type": date},
        "NAME": {},
    }


@pytest.fixture
def kinds():
    """Yield a registry with a plugin whose settings are of many types."""
    with PluginRegistry("shop", builtin=[Kinds], new_plugins="active") as registry:
        registry.load()
        yield registry


KEYS = [key.upper() for key in Discount.SETTINGS]


def setting(key, **fields):
    """Return a setting as it is shown, without its number; a field not given has its default."""
    return {
        "key": key,
        "value": "",
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
        "plugin": "discount",
        **fields,
    }


SETTINGS = [
    setting(
        "PERCENT",
        value="10",
        name="Per cent",
        description="How much less",
        units="%",
        type="integer",
    ),
    setting("RATE", value="1.5"),
    setting("ENABLED", value="True", type="boolean"),
    setting("TITLE", required=True),
    setting(
        "SIZE",
        value="s",
        choices=[
            {"value": "s", "display_name": "Small"},
            {"value": "2", "display_name": "Two"},
        ],
    ),
    setting(
        "PART",
        type="related field",
        model_name="part.part",
        model_filters={"active": True},
        api_url="/api/part/",
    ),
    setting("STOCK", type="related field", model_name="stock.row"),
    setting("TOKEN"),
    setting("HIDDEN"),
    setting("_INTERNAL", value="x"),
    setting(
        "ASKED",
        choices=[
            {"value": "s", "display_name": "Small"},
            {"value": "l", "display_name": "Large of discount"},
        ],
    ),
    setting("BROKEN"),
]


@pytest.fixture
def storage():
    return MemoryStorage()


@pytest.fixture
def registry(storage):
    with PluginRegistry(
        "shop", builtin=[Bare, Discount, Failing, Off], storage=storage
    ) as registry:
        registry.load()
        for slug in ("bare", "discount", "failing"):
            registry.activate(slug)
        yield registry


@pytest.fixture
def api(registry):
    """Return an API whose host knows where parts are, and fails for all else."""
    return PluginAPI(registry, model_url={"part.part": "/api/part/"}.__getitem__)


def get(client, key=None, actor=USER):
    answer = client("GET", PATH if key is None else f"{PATH}{key}/", actor)
    assert answer.status == 200, answer
    return answer.body


def without_pk(settings):
    return [{name: value for name, value in row.items() if name != "pk"} for row in settings]


class TestList:
    def test_every_setting_as_declared(self, client):
        """Each field is as the definition says, or the published default.

        Filters are an object, an address that the host does not know is null, a float is a string,
        and choices that fail cost themselves alone.
        """
        assert without_pk(get(client)) == SETTINGS

    def test_one_setting_says_the_same(self, client):
        """A single setting is the same as in the list."""
        for row in get(client):
            assert get(client, row["key"]) == row

    def test_hidden_settings_are_there(self, client, registry):
        """The API shows them; a page of settings leaves them out."""
        assert {"HIDDEN", "_INTERNAL"} <= {row["key"] for row in get(client)}
        visible = [row.key for row in registry.settings("discount").visible()]
        assert visible == [key for key in KEYS if key not in ("HIDDEN", "_INTERNAL")]

    def test_the_order_stays_that_of_the_declaration(self, client):
        """Storing a setting, the last one first, moves none."""
        for key, value in (("ASKED", "l"), ("SIZE", "2"), ("TITLE", "x"), ("PERCENT", "1")):
            client("PATCH", f"{PATH}{key}/", STAFF, json={"value": value})

        assert [row["key"] for row in get(client)] == KEYS

    def test_leftovers_are_not_shown(self, make_client, storage, registry):
        """Stored values of a setting that is no longer declared are not listed."""
        registry.settings("discount").set("TITLE", "old")

        class Later(SettingsMixin, Plugin):
            SLUG = "discount"
            SETTINGS = {"NEW": {}}

        with PluginRegistry("shop", builtin=[Later], storage=storage) as later:
            later.load()
            client = make_client(PluginAPI(later))
            assert [row["key"] for row in get(client)] == ["NEW"]
            assert client("GET", f"{PATH}TITLE/", USER).status == 404

    def test_a_plugin_without_settings(self, client):
        """It has an empty list, and the mixin all the same."""
        answer = client("GET", "/api/plugins/bare/settings/", USER)

        assert (answer.status, answer.body) == (200, [])
        mixins = client("GET", "/api/plugins/bare/", USER).body["mixins"]
        assert set(mixins) == {"base", "settings"}


class TestNumbers:
    def test_every_setting_has_a_number(self, client):
        """It is an integer that JavaScript can hold, and no two are the same."""
        numbers = [row["pk"] for row in get(client)]

        assert all(type(number) is int and 0 <= number < 2**53 for number in numbers)
        assert len(set(numbers)) == len(KEYS)

    def test_a_number_stays(self, make_client, storage, registry):
        """It is the same before and after a write, and in another process."""
        client = make_client(PluginAPI(registry))
        before = [row["pk"] for row in get(client)]
        answer = client("PATCH", f"{PATH}PERCENT/", STAFF, json={"value": 3})
        assert answer.body["pk"] == before[0]

        with PluginRegistry("shop", builtin=[Discount], storage=storage) as later:
            later.load()
            assert [row["pk"] for row in get(make_client(PluginAPI(later)))] == before


class TestActivePlugins:
    @pytest.mark.parametrize("tail", ["settings/", "settings/A/", "user-settings/"])
    @pytest.mark.parametrize(
        ("slug", "detail"),
        [
            ("none", "Plugin 'none' not installed"),
            ("off", "Plugin 'off' is not active"),
            ("failing", "Plugin 'failing' is not active"),
        ],
    )
    def test_settings_need_a_plugin_in_service(self, client, tail, slug, detail):
        """The state counts, not the stored flag: a failed plugin is not active."""
        answer = client("GET", f"/api/plugins/{slug}/{tail}", USER)

        assert (answer.status, answer.body) == (404, {"detail": detail})

    def test_a_plugin_without_a_stored_flag_has_settings(self, client, registry):
        """A plugin that was registered by hand is in service, and no flag is stored."""
        registry.register(Off(), slug="by-hand")
        answer = client("GET", "/api/plugins/by-hand/settings/A/", USER)

        assert (answer.status, answer.body["plugin"]) == (200, "by-hand")

    def test_a_wanted_plugin_that_is_gone(self, make_client, storage, registry):
        """A config without a plugin behind it is not installed."""
        with PluginRegistry("shop", builtin=[Bare], storage=storage) as later:
            later.load()
            answer = make_client(PluginAPI(later))("GET", PATH, USER)

        assert (answer.status, answer.body) == (404, {"detail": "Plugin 'discount' not installed"})


class TestKeys:
    def test_any_case_is_understood(self, client):
        """A definition in lower case has its default and type, under any spelling."""
        for key in ("rate", "RATE", "Rate"):
            assert get(client, key)["key"] == "RATE"
            assert get(client, key)["value"] == "1.5"
        answer = client("PATCH", f"{PATH}rAtE/", STAFF, json={"value": "2.5"})
        assert (answer.body["key"], answer.body["value"]) == ("RATE", "2.5")

    def test_keys_that_differ_in_case_alone_are_a_fault(self, client, registry):
        """Such a plugin is refused, which is recorded, and the others serve."""

        class Twice(SettingsMixin, Plugin):
            SETTINGS = {"key": {}, "KEY": {}}

        registry.register(Twice, slug="twice")

        assert client("GET", "/api/plugins/twice/settings/", USER).status == 404
        status = client("GET", "/api/plugins/status/", SUPERUSER).body
        assert "twice" in {failure["name"] for failure in status["registry_errors"]}
        assert len(get(client)) == len(KEYS)

    @pytest.mark.parametrize("method", ["GET", "PATCH", "PUT"])
    def test_an_unknown_key(self, client, registry, storage, method):
        """It is 404, and asking for it makes no setting."""
        revision = storage.revision()
        body = {} if method == "GET" else {"json": {"value": "x"}}
        answer = client(method, f"{PATH}NONE/", STAFF, **body)

        assert (answer.status, answer.body) == (
            404,
            {"detail": "Plugin 'discount' has no setting matching 'NONE'"},
        )
        assert storage.revision() == revision
        assert [row["key"] for row in get(client)] == KEYS
        with pytest.raises(KeyError):
            registry.settings("discount")["NONE"]


class TestReading:
    def test_reading_writes_nothing(self, client, storage):
        """No read of this API, of a setting or of anything, reaches the store."""
        revision = storage.revision()
        for path in (
            "/api/plugins/",
            "/api/plugins/settings/",
            "/api/plugins/status/",
            "/api/plugins/ui/features/panel/",
            "/api/plugins/discount/",
            "/api/plugins/discount/admin/",
            "/api/plugins/discount/metadata/",
            PATH,
            *(f"{PATH}{key}/" for key in KEYS),
            "/api/plugins/discount/user-settings/",
        ):
            assert client("GET", path, SUPERUSER).status == 200

        assert storage.revision() == revision

    def test_a_new_default_counts_for_what_was_only_read(self, make_client, storage, registry):
        """Reading keeps no default for later."""
        assert get(make_client(PluginAPI(registry)), "PERCENT")["value"] == "10"

        class Later(SettingsMixin, Plugin):
            SLUG = "discount"
            SETTINGS = {"PERCENT": {"default": 25, "validator": int}}

        with PluginRegistry("shop", builtin=[Later], storage=storage) as later:
            later.load()
            assert get(make_client(PluginAPI(later)), "PERCENT")["value"] == "25"

    def test_values_are_text(self, client, registry):
        """On the wire the published shape holds, in Python the type."""
        assert all(type(row["value"]) is str for row in get(client))
        view = registry.settings("discount")
        assert (view["PERCENT"], view["RATE"], view["ENABLED"]) == (10, 1.5, True)
        assert [type(view[key]) for key in ("PERCENT", "RATE", "ENABLED")] == [int, float, bool]
        client("PATCH", f"{PATH}RATE/", STAFF, json={"value": "0.25"})
        assert view["RATE"] == 0.25

    def test_native_values_where_the_host_wants_them(self, make_client, registry):
        """With the option booleans and numbers are those of JSON; secrets stay masked."""
        client = make_client(PluginAPI(registry, native_values=True))
        client("PATCH", f"{PATH}TOKEN/", STAFF, json={"value": "5"})
        values = {row["key"]: row["value"] for row in get(client)}

        assert {key: values[key] for key in ("PERCENT", "RATE", "TITLE", "TOKEN")} == {
            "PERCENT": 10,
            "RATE": 1.5,
            "TITLE": "",
            "TOKEN": "***",
        }
        assert values["ENABLED"] is True

    @pytest.mark.parametrize(
        ("key", "value", "word"),
        [
            ("TAGS", ["a", "b"], "array"),
            ("LIMITS", {"a": 1}, "object"),
            ("PORT", 80, "string"),
            ("PORT", "80", "string"),
            ("ANY", [1, {"a": None}], "string"),
            ("ANY", True, "string"),
            ("ANY", "[1]", "string"),
            ("LEVEL", 3, "integer"),
            ("DAY", "2020-01-02", "string"),
        ],
    )
    def test_native_values_of_any_type(self, make_client, kinds, key, value, word):
        """Each is shown and accepted as JSON has it, in lists too, and may be sent back."""
        client = make_client(PluginAPI(kinds, native_values=True))
        path = f"/api/plugins/kinds/settings/{key}/"
        assert client("GET", path, STAFF).body["value"] == ""

        for sent in ({"value": value}, client("PATCH", path, STAFF, json={"value": value}).body):
            answer = client("PUT", path, STAFF, json=sent)
            assert (answer.status, answer.body["value"]) == (200, value)
            assert type(answer.body["value"]) is type(value)
            assert answer.body["type"] == word
        every = client("GET", "/api/plugins/settings/", STAFF)
        assert {row["key"]: row["value"] for row in every.body["results"]}[key] == value
        assert client("PATCH", path, STAFF, json={"value": ""}).body["value"] == ""

    @pytest.mark.parametrize(
        ("key", "value", "reason"),
        [
            ("TAGS", {"a": 1}, "valid list"),
            ("TAGS", [1], "valid string"),
            ("LEVEL", [3], "Not a valid string."),
            ("NAME", ["a"], "Not a valid string."),
            ("ANY", {"$env": "HOME"}, "must not hold a reference"),
            ("ANY", [{"$file": "/etc/hostname", "a": 1}], "must not hold a reference"),
        ],
    )
    def test_native_values_that_do_not_fit(self, make_client, kinds, key, value, reason):
        """The refusal names the field; no client's object becomes a reference."""
        client = make_client(PluginAPI(kinds, native_values=True))
        answer = client("PUT", f"/api/plugins/kinds/settings/{key}/", STAFF, json={"value": value})

        assert answer.status == 400
        assert reason in answer.body["value"][0]
        assert not kinds.settings("kinds").is_set(key)

    @pytest.mark.parametrize(
        ("key", "value", "text"),
        [("PORT", 80, "80"), ("ANY", [1, "a"], '[1,"a"]'), ("TAGS", ["a"], '["a"]')],
    )
    def test_the_text_of_a_value_sent_back_changes_nothing(
        self, make_client, kinds, key, value, text
    ):
        """Where values are text, one that was not entered as text keeps its type."""
        client = make_client(PluginAPI(kinds))
        kinds.settings("kinds").set(key, value)
        path = f"/api/plugins/kinds/settings/{key}/"
        received = client("GET", path, STAFF).body

        assert (received["value"], received["type"]) == (text, "string")
        assert client("PUT", path, STAFF, json=received).body == received
        assert kinds.settings("kinds")[key] == value
        assert client("PUT", path, STAFF, json={"value": ["x"]}).status == 400
