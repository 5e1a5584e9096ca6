"""Settings as a JSON Schema, from which forms are made."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Literal

import pytest
from annotated_types import Ge
from pydantic import BaseModel, EmailStr, Field, SecretStr

from plugreg.settings.declaration import parse_definitions
from plugreg.settings.definition import SettingDefinition, default_of
from plugreg.settings.schema import schema_of

SECRET = "hunter2"


class Colour(Enum):
    DARK_RED = "red"
    BLUE = "blue"


class Server(BaseModel):
    host: str = SECRET
    colour: Colour = Colour.BLUE


class Backup(BaseModel):
    main: Server
    spare: Server | None = None


def parsed(raw):
    """Return the definitions that an author's dict gives; they must be sound."""
    definitions, faults = parse_definitions(raw, "SETTINGS")
    assert faults == ()
    return definitions


def property_of(**fields):
    """Return the schema of one setting."""
    return schema_of(parsed({"KEY": fields}))["properties"]["KEY"]


def test_nothing_declared():
    """Without settings the schema allows an empty object alone."""
    assert schema_of({}) == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {},
        "required": [],
        "additionalProperties": False,
    }


def test_the_whole():
    """Properties are in the order declared, with strings, flags and required keys."""
    definitions = parsed(
        {
            "z": {"name": "Last", "description": "d", "required": True, "default": "x"},
            "a": {"type": int, "units": "%"},
            "m": {"type": EmailStr, "protected": True},
        }
    )
    schema = schema_of(definitions, locked={"A"}, title="tea")

    assert schema["title"] == "tea"
    assert list(schema["properties"]) == ["Z", "A", "M"]
    assert schema["required"] == ["Z"]
    assert schema["properties"] == {
        "Z": {
            "type": "string",
            "maxLength": 2000,
            "title": "Last",
            "description": "d",
            "default": "x",
        },
        "A": {"type": "integer", "x-units": "%", "readOnly": True},
        "M": {"type": "string", "format": "email", "writeOnly": True},
    }
    assert "$defs" not in schema


@pytest.mark.parametrize(
    ("kind", "word"), [(bool, "boolean"), (int, "integer"), (float, "number"), (str, "string")]
)
def test_plain_types(kind, word):
    """The type of a setting is that of its native value, however it was stated."""
    assert property_of(type=kind)["type"] == word
    if kind is not str:
        assert property_of(validator=kind) == {"type": word}


def test_typed():
    """A type brings its own schema, to which the setting's words are added."""
    assert property_of(type=Annotated[int, Ge(1)], name="N") == {
        "type": "integer",
        "minimum": 1,
        "title": "N",
    }


def test_models_are_shared():
    """A model that several settings use stands once among the definitions."""
    schema = schema_of(parsed({"A": {"type": Backup}, "B": {"type": Server, "name": "Other"}}))

    assert schema["properties"]["A"] == {"$ref": "#/$defs/Backup"}
    assert schema["properties"]["B"] == {"$ref": "#/$defs/Server", "title": "Other"}
    assert set(schema["$defs"]) == {"Backup", "Server", "Colour"}
    assert schema["$defs"]["Backup"]["required"] == ["main"]


class TestValues:
    @pytest.mark.parametrize(
        ("fields", "default"),
        [
            ({"default": 10}, "10"),
            ({"default": "10", "validator": int}, 10),
            ({"default": False, "type": bool}, False),
            ({"default": "red", "type": Colour}, "red"),
            ({"default": Colour.BLUE, "type": Colour}, "blue"),
            ({"default": {"host": "h"}, "type": Server}, {"host": "h", "colour": "blue"}),
            ({"default": ("1",), "type": list[int]}, [1]),
        ],
    )
    def test_default(self, fields, default):
        """The default is the native value, as JSON has it."""
        assert property_of(**fields)["default"] == default

    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"default": ["a"]},
            {"default": object()},
            {"default": "", "validator": int},
            {"default": SECRET, "protected": True},
            {"default": SECRET, "type": SecretStr},
            {"default": [SECRET], "type": list[str], "protected": True},
            {"type": Annotated[str, Field(default=SECRET)], "protected": True},
        ],
    )
    def test_no_default(self, fields):
        """A default that JSON cannot hold is left out, and so is that of a protected setting."""
        assert "default" not in property_of(**fields)
        assert SECRET not in str(property_of(**fields))

    def test_defaults_within_a_protected_model(self):
        """The model of a protected setting shows no defaults of its fields."""
        schema = schema_of(
            parsed({"A": {"type": Server, "protected": True, "default": Server()}, "B": {}})
        )

        assert SECRET not in str(schema)

    def test_the_plugin_is_not_asked(self):
        """Callable defaults and choices are for those who read and write."""
        calls = []
        schema = property_of(default=lambda: calls.append(1), choices=lambda: calls.append(2))

        assert (schema, calls) == ({"type": "string", "maxLength": 2000}, [])

    @pytest.mark.parametrize(
        ("fields", "choices"),
        [
            ({"choices": [("a", "A"), (2, "two")]}, [("a", "A"), ("2", "two")]),
            ({"choices": [("1", "one"), (1, "again")], "validator": int}, [(1, "one")]),
            ({"choices": [("x", "?"), (1, "one")], "validator": int}, [(1, "one")]),
            ({"choices": [([1], "one")], "type": list[int]}, [([1], "one")]),
            ({"type": Literal["a", 1]}, [("a", "a"), (1, "1")]),
            ({"type": Colour}, [("red", "Dark red"), ("blue", "Blue")]),
        ],
    )
    def test_choices(self, fields, choices):
        """Each value that can be chosen stands once, native and with its label."""
        assert property_of(**fields)["oneOf"] == [
            {"const": value, "title": label} for value, label in choices
        ]

    def test_hostile_words(self):
        """A label or name without a text spoils nothing."""

        class Mute:
            def __str__(self):
                raise SystemExit

        schema = property_of(name=Mute(), choices=[("a", Mute())], default="\ud800")

        assert "Mute" in schema["title"]
        assert "Mute" in schema["oneOf"][0]["title"]
        assert schema["default"].isascii()


DEFINITIONS = {
    "TEXT": {"default": "x", "name": "Text", "units": "mm"},
    "FLAG": {"type": bool, "default": True, "required": True},
    "SIZE": {"type": Annotated[int, Ge(1)], "default": 3, "choices": [(1, "S"), (3, "L")]},
    "MAIL": {"type": EmailStr, "default": "a@example.org"},
    "COLOUR": {"type": Colour, "default": "red"},
    "MAYBE": {"type": Colour | None, "default": "red"},
    "NAMES": {"type": list[str], "default": ["a"]},
    "SERVER": {"type": Backup, "default": {"main": {"host": "h"}}},
    "TOKEN": {"type": SecretStr, "default": SECRET},
}


def test_is_valid_and_the_defaults_fit():
    """The schema is one by the rules of JSON Schema, and the values of the settings fit it."""
    import jsonschema_rs as jsonschema

    definitions = parsed(DEFINITIONS)
    schema = schema_of(definitions, {"FLAG"}, "tea")
    defaults = {
        key: item["default"] for key, item in schema["properties"].items() if "default" in item
    }

    jsonschema.meta.validate(schema)
    checker = jsonschema.Draft202012Validator(schema)
    assert set(defaults) == set(DEFINITIONS) - {"TOKEN"}
    assert [error.message for error in checker.iter_errors(defaults)] == []
    assert not checker.is_valid(defaults | {"SIZE": 2})
    assert not checker.is_valid(defaults | {"OTHER": 1})
    assert not checker.is_valid({})


def test_is_new_and_the_same_each_time():
    """Whoever changes a schema changes his own; another call gives the same again."""
    definitions = parsed(DEFINITIONS)
    first = schema_of(definitions)
    copied = repr(first)
    first["properties"]["NAMES"]["default"].append("b")
    first["$defs"].clear()

    assert repr(schema_of(definitions)) == copied
    assert default_of(definitions["NAMES"]) == ["a"]


def test_plain_settings_leave_pydantic_alone():
    """A schema of definitions that were made by hand needs no more than they say."""
    assert schema_of({"A": SettingDefinition(key="A", validator=float)})["properties"] == {
        "A": {"type": "number"}
    }
