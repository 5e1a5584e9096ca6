"""Bad input to the methods of PluginAPI: it is refused by name, and changes nothing.

Requests over HTTP, where all values are strings, are in tests/adapters/test_bad_requests.py.
"""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugreg import Plugin, PluginRegistry
from plugreg.api import Actor, APIError, InvalidError, NotFoundError, PluginAPI
from plugreg.api.models import Metadata, PluginActivate
from plugreg.mixins import SettingsMixin, UserInterfaceMixin
from plugreg.storage import MemoryStorage

SUPERUSER = Actor(7, is_superuser=True)
TABLES = ("plugins", "metadata", "counters", "settings", "user_settings", "versions")
RESERVED = ("ui", "reload", "install", "status", "settings")


class Tea(SettingsMixin, UserInterfaceMixin, Plugin):
    SETTINGS = {
        "CUPS": {"validator": int, "default": 1},
        "RATE": {"validator": float},
        "MILK": {"validator": bool},
        "SIZE": {"choices": [("s", "Small")]},
        "TAGS": {"type": list[str]},
        "NOTE": {},
        "TOKEN": {"protected": True},
    }
    USER_SETTINGS = {"BADGE": {}}

    def get_ui_panels(self, request, context, **kwargs):
        return [{"key": "shown"}] if context.get("page") == "1" else []


class Milk(Plugin):
    pass


class Shop:
    """A registry of an active and an inactive plugin, in which something is stored."""

    def __init__(self):
        self.storage = MemoryStorage()
        self.registry = PluginRegistry("shop", builtin=[Tea, Milk], storage=self.storage)
        self.registry.load()
        self.registry.activate("tea")
        self.registry.settings("tea").set("NOTE", "hot")
        self.registry.settings("tea").set("TOKEN", "abcdef")
        self.registry.set_metadata("tea", {"a": {"b": 1}})
        self.api = PluginAPI(self.registry)

    def state(self):
        """Return all stored rows, and the records of the registry."""
        plugins = self.registry.plugins
        return (
            {table: dict(self.storage.read(table)) for table in TABLES},
            self.storage.revision(),
            {slug: (e.wanted, e.state, id(e.plugin), e.errors) for slug, e in plugins.items()},
            self.registry.errors,
        )

    def refused(self, operation, **given):
        """Return the APIError with which a call is refused; it must have changed nothing."""
        before = self.state()
        try:
            getattr(self.api, operation)(SUPERUSER, **given)
        except APIError as error:
            assert self.state() == before
            assert all((str(error), repr(error), error.body))
            return error
        raise AssertionError(f"{operation} was carried out")


@pytest.fixture
def shop():
    shop = Shop()
    with shop.registry:
        yield shop


# -- input that nobody means -------------------------------------------------------------------


def cycle(kind):
    found = kind()
    found.append(found) if kind is list else found.update(a=found)
    return found


def deep(wrap):
    value = wrap(0)
    for _ in range(100_000):
        value = wrap(value)
    return value


WRONG = {
    "object": object(),
    "class": dict,
    "function": len,
    "bytes": b"\xff",
    "bytearray": bytearray(b"\xff"),
    "complex": 1j,
    "NaN": float("nan"),
    "infinity": float("inf"),
    "list": [],
    "list of true": [True],
    "tuple": (1,),
    "set": {1},
    "generator": (item for item in "1"),
    "dict": {"value": 1},
    "cyclic list": cycle(list),
    "cyclic dict": cycle(dict),
    "deep list": deep(lambda value: [value]),
    "deep dict": deep(lambda value: {"a": value}),
    "null character": "a\x00b",
    "escape": "\x1b[31m",
    "lone surrogate": "\ud800",
}
"""Values that stand for no text, number or boolean."""

HUGE = {"400 digits": 10**400, "5000 digits": 10**5000}
NO_NUMBER = {"True": True, "half": 1.5, "minus one": -1, "-1": "-1", "1.0": "1.0", "digit": "٣"}
NO_BOOLEAN = {"2": 2, "-1": -1, "half": 0.5, "yes and no": "yesno", "long": "1" * 1_000_000}
NO_TEXT = {"5": 5, "True": True, "half": 0.5}

QUERY = [(row.id, parameter) for row in PluginAPI.operations for parameter in row.query]
WRONG_IN_QUERY = {bool: NO_BOOLEAN | HUGE, int: NO_NUMBER | HUGE, str: NO_TEXT | HUGE}
EXPECTED_IN_QUERY = {
    bool: "Must be a valid boolean",
    int: "Must be a whole number",
    str: "Must be text without control characters.",
}


class TestQuery:
    @pytest.mark.parametrize(
        ("operation", "parameter"), QUERY, ids=[f"{name}-{item.name}" for name, item in QUERY]
    )
    def test_wrong_values(self, shop, operation, parameter):
        """A value of another type or form is refused, with its name and the expectation."""
        for name, value in (WRONG | WRONG_IN_QUERY[parameter.type]).items():
            error = shop.refused(operation, **{parameter.name: value})
            assert type(error) is InvalidError, name
            assert list(error.errors) == [parameter.name], name
            assert EXPECTED_IN_QUERY[parameter.type] in error.errors[parameter.name][0], name

    def test_numbers_as_large_as_over_http(self, shop):
        """Limit and offset have 19 digits at most, here as there, so that a page has links."""
        largest = 10**19 - 1
        page = shop.api.plugins_list(SUPERUSER, limit=largest, offset=str(largest))

        assert (page.count, page.results, page.previous) == (2, [], (largest, 0))
        for value in (largest + 1, str(largest + 1)):
            assert list(shop.refused("plugins_list", limit=value).errors) == ["limit"]

    @pytest.mark.parametrize("ordering", ["pk", "key,--name", "-", "name;key", "__class__"])
    def test_unknown_orderings(self, shop, ordering):
        """A name that nothing can be ordered by is refused, with those that can be."""
        error = shop.refused("plugins_list", ordering=ordering)

        assert "allowed are key, -key, name, -name, active, -active" in error.errors["ordering"][0]

    def test_parts_that_no_plugin_has(self, shop):
        """A search, a mixin or a key that nothing matches is a list without rows."""
        for query in ({"search": "x" * 1_000_000}, {"search": "'\"[(*\\"}, {"mixin": "__init__"}):
            assert shop.api.plugins_list(SUPERUSER, **query).count == 0
        for key in (*RESERVED, "nobody", "TEA", "x" * 1_000_000):
            assert shop.api.plugins_settings_list_all(SUPERUSER, plugin__key=key).count == 0


class TestPath:
    NAMES = [
        (row.id, name)
        for row in PluginAPI.operations
        for name in row.path_parameters
        if name != "feature"
    ]

    @pytest.mark.parametrize(("operation", "name"), NAMES)
    def test_nothing_of_that_name(self, shop, operation, name):
        """An unknown plugin or setting is not found, whatever it is, and repeated shortly."""
        right = {"plugin": "tea", "key": "badge" if "user" in operation else "note"}
        row = getattr(PluginAPI, operation)
        names = {name: right[name] for name in row.path_parameters}
        odd = {"": "", "blank": " ", "slash": "a/b", "dots": "..", "long": "x" * 1_000_000}
        odd |= {item: item for item in RESERVED} | {"other": "nobody", "newline": "tea\n"}
        for value in (WRONG | HUGE | NO_TEXT | {"None": None} | odd).values():
            error = shop.refused(operation, **{**names, name: value})
            assert type(error) is NotFoundError, value
            assert len(error.body["detail"]) < 400

    def test_features_that_nobody_has(self, shop):
        """An unknown type of feature is no error: nobody shows anything of it."""
        before = shop.state()
        for value in (WRONG | HUGE | NO_TEXT | {"long": "x" * 1_000_000}).values():
            assert shop.api.plugins_ui_features_list(SUPERUSER, feature=value) == []
        assert shop.state() == before

    def test_context_of_features(self, shop):
        """Arguments for plugins may be anything; an object that is no mapping is passed on."""
        ask = shop.api.plugins_ui_features_list
        before = shop.state()
        for value in (WRONG | HUGE).values():
            assert ask(SUPERUSER, feature="panel", context=value) == []
            assert [e.key for e in ask(SUPERUSER, feature="panel", page="1", context=value)] == [
                "shown"
            ]
        assert [e.key for e in ask(SUPERUSER, feature="panel", context={"page": "1"})] == ["shown"]
        assert shop.state() == before


# -- bodies -----------------------------------------------------------------------------------


WRITES = [row for row in PluginAPI.operations if row.body is not None]
NULL = {"null": None}
BOOLEAN = ("Must be a valid boolean.", "This field may not be null.")
STRING = (
    "Not a valid string.",
    "This field may not be null.",
    "Value must not contain control characters, but for tab and newline, or surrogates",
    "Ensure this value has at most 2000 characters.",
)
TEXT = NULL | {"True": True, "5000 digits": HUGE["5000 digits"]}
FIELDS = [
    (row.id, name, *((NO_BOOLEAN | HUGE | NULL, BOOLEAN) if field is bool else (TEXT, STRING)))
    for row in WRITES
    for name, field in ((n, f.annotation) for n, f in row.input.model_fields.items())
    if name not in ("metadata", "value")
]
SETTINGS = [
    ("CUPS", "not a valid integer", {"half": 0.5, "text": "many", "True": True}),
    ("RATE", "not a valid float", {"text": "nan", "inf": "inf", "1e400": "1e400"}),
    ("MILK", "must be a boolean", {"2": 2, "text": "maybe"}),
    ("SIZE", "not a valid option", {"other": "xl", "0": 0, "True": True}),
    ("TAGS", "valid ", {"number": 5, "text": "a,b", "JSON": '{"a": 1}', "open": "["}),
    ("NOTE", "at most 2000 characters", {"long": "x" * 1_000_000}),
    ("TOKEN", "at most 2000 characters", {"long": "x" * 2001}),
]


def names_of(row):
    every = {"plugin": "tea", "key": "badge" if "user" in row.id else "note"}
    return {name: every[name] for name in row.path_parameters}


class TestBody:
    @pytest.mark.parametrize("row", WRITES, ids=lambda row: row.id)
    def test_what_is_no_object(self, shop, row):
        """A body is a mapping or a model; anything else is refused, with its type."""
        mappings = ("dict", "cyclic dict", "deep dict")
        wrong = WRONG | HUGE | NO_TEXT | {"text": '{"value": "1"}'}
        for name, value in wrong.items():
            if name not in mappings:
                error = shop.refused(row.id, **names_of(row), body=value)
                (sentence,) = error.errors["non_field_errors"]
                kind = type(value).__name__
                assert sentence == f"Invalid data. Expected a dictionary, but got {kind}."

    @pytest.mark.parametrize(
        ("operation", "field", "more", "expected"),
        FIELDS,
        ids=[f"{item[0]}-{item[1]}" for item in FIELDS],
    )
    def test_wrong_fields(self, shop, operation, field, more, expected):
        """A field of another type is refused, with its name and the expectation."""
        names = names_of(getattr(PluginAPI, operation))
        rest = {"confirm": True, "packagename": "tea"} if "install_" in operation else {}
        for name, value in (WRONG | more).items():
            error = shop.refused(operation, **names, body={**rest, field: value})
            assert list(error.errors) == [field], name
            assert error.errors[field][0] in expected, name

    def test_all_faults_at_once(self, shop):
        """Each wrong field has its own sentence."""
        body = {"full_reload": [], "force_reload": None, "collect_plugins": "maybe"}

        assert shop.refused("plugins_reload_create", body=body).errors == {
            "full_reload": ["Must be a valid boolean."],
            "force_reload": ["This field may not be null."],
            "collect_plugins": ["Must be a valid boolean."],
        }

    def test_models_that_were_not_checked(self, shop):
        """A model that holds invalid values is read like a mapping."""
        body = PluginActivate.model_construct(active=WRONG["object"])
        error = shop.refused("plugins_activate_update", plugin="tea", body=body)
        assert type(error) is InvalidError

    def test_unknown_keys(self, shop):
        """Keys that are not known are ignored, whatever they and their values are."""
        body = {1: 2, None: 3, "pk": WRONG["object"], "__class__": 1}
        before = shop.state()
        answer = shop.api.plugins_activate_update(SUPERUSER, plugin="tea", body=body)

        assert answer.active
        assert shop.state() == before


class TestSettings:
    @pytest.mark.parametrize("way", ["update", "partial_update"])
    @pytest.mark.parametrize(("key", "expected", "more"), SETTINGS)
    def test_wrong_values(self, shop, way, key, expected, more):
        """Of whatever type a setting is, a value that does not fit is refused as its value."""
        operation = f"plugins_settings_{way}"
        for value in WRONG.values():
            error = shop.refused(operation, plugin="tea", key=key, body={"value": value})
            assert list(error.errors) == ["value"]
        for value in more.values():
            error = shop.refused(operation, plugin="tea", key=key, body={"value": value})
            assert expected in error.errors["value"][0]
        huge = shop.refused(operation, plugin="tea", key=key, body={"value": 10**5000})
        assert huge.errors == {"value": ["Ensure this value has at most 2000 characters."]}

    @pytest.mark.parametrize("way", ["update", "partial_update"])
    def test_of_users(self, shop, way):
        """The same holds for a user's own."""
        operation = f"plugins_user_settings_{way}"
        for value in (WRONG | {"long": "x" * 2001}).values():
            error = shop.refused(operation, plugin="tea", key="BADGE", body={"value": value})
            assert list(error.errors) == ["value"]

    def test_references_are_text(self, shop):
        """Who writes over the API names no variable and no file: as an object it is refused."""
        reference = {"$env": "PATH"}
        body = PluginAPI.plugins_settings_partial_update.body.model_construct(value=reference)
        for given_body in ({"value": reference}, body):
            error = shop.refused(
                "plugins_settings_partial_update", plugin="tea", key="NOTE", body=given_body
            )
            assert error.errors == {"value": ["Not a valid string."]}
        written = shop.api.plugins_settings_update(
            SUPERUSER, plugin="tea", key="NOTE", body={"value": '{"$env": "PATH"}'}
        )
        assert written.value == '{"$env": "PATH"}'
        assert shop.registry.settings("tea")["NOTE"] == '{"$env": "PATH"}'


class TestMetadata:
    NO_OBJECT = {name: item for name, item in WRONG.items() if "dict" not in name} | HUGE | NO_TEXT
    INSIDE = WRONG | {"5000 digits": HUGE["5000 digits"]}
    for name in ("dict", "list", "list of true"):
        del INSIDE[name]

    @pytest.mark.parametrize("way", ["update", "partial_update"])
    def test_what_is_no_object(self, shop, way):
        """Metadata is an object; anything else is refused, null in its own words."""
        operation = f"plugins_metadata_{way}"
        for value in (self.NO_OBJECT | {"JSON": '{"a": 1}'}).values():
            error = shop.refused(operation, plugin="tea", body={"metadata": value})
            assert error.errors == {"metadata": ["Metadata must be a python dict object"]}
        error = shop.refused(operation, plugin="tea", body={"metadata": None})
        assert error.errors == {"metadata": ["This field may not be null."]}

    @pytest.mark.parametrize("way", ["update", "partial_update"])
    def test_what_cannot_be_stored(self, shop, way):
        """At no depth may there be a value that JSON does not return unchanged."""
        operation = f"plugins_metadata_{way}"
        for name, value in self.INSIDE.items():
            for metadata in ({"a": value}, {"a": [{"b": value}]}, Metadata(metadata={"c": value})):
                body = metadata if isinstance(metadata, Metadata) else {"metadata": metadata}
                error = shop.refused(operation, plugin="tea", body=body)
                assert list(error.errors) == ["metadata"], name
                assert error.errors["metadata"][0].startswith("Value must"), name

    def test_keys(self, shop):
        """Keys are texts, and hold no characters that values may not hold."""
        for key in (1, None, True, b"a", "\x00", "\ud800"):
            for metadata in ({key: 1}, {"a": {key: 1}}):
                body = {"metadata": metadata}
                error = shop.refused("plugins_metadata_update", plugin="tea", body=body)
                assert list(error.errors) == ["metadata"]


# -- anything ---------------------------------------------------------------------------------


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.text(string.printable)
    | st.sampled_from([400, 5000]).map(lambda digits: 10**digits),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
fields = st.sampled_from(
    ["value", "metadata", "active", "confirm", "packagename", "url", "version", "delete_config"]
)
bodies = st.dictionaries(fields, json_values, max_size=3) | json_values
names = st.sampled_from(["tea", "milk", *RESERVED]) | st.text()
keys = st.sampled_from(["CUPS", "note", "BADGE", "TOKEN", "TAGS"]) | st.text()


paths = st.fixed_dictionaries({"plugin": names, "key": keys, "feature": st.text()})


@given(
    row=st.sampled_from(PluginAPI.operations),
    path=paths,
    values=st.lists(json_values, min_size=10, max_size=10),
    body=bodies,
)
def test_anything(row, path, values, body):
    """Whatever is given, it is carried out, or refused by name without having changed anything."""
    shop = Shop()
    parameters = {name: path[name] for name in row.path_parameters}
    parameters |= {item.name: value for item, value in zip(row.query, values, strict=False)}
    known = {"detail", "non_field_errors", *(item.name for item in row.query)}
    if row.body is not None:
        known |= row.input.model_fields.keys()
    before = shop.state()
    try:
        getattr(shop.api, row.id)(SUPERUSER, **parameters, body=body)
    except APIError as error:
        assert error.status in (400, 404)
        assert set(error.errors) <= known
        assert shop.state() == before
    else:
        assert row.method != "GET" or shop.state() == before
