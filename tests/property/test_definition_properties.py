"""Laws of settings that hold for every value."""

from __future__ import annotations

from contextlib import suppress
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, EmailStr, JsonValue, StrictBool

from plugreg._support.strings import MAX_VALUE_LENGTH
from plugreg.exceptions import SettingError
from plugreg.settings.declaration import parse_definitions
from plugreg.settings.definition import (
    SettingDefinition,
    check,
    default_of,
    fault_of,
    native_of,
)
from plugreg.settings.values import StoredValue


def to_text(definition, value, **who):
    """Return the text that is stored for a value."""
    return check(definition, value, **who).text


def to_value(definition, text):
    """Return the value of a stored string: the default if it is empty or no longer fits."""
    if text:
        with suppress(SettingError):
            return native_of(definition, text)
    return default_of(definition)


TEXT = SettingDefinition(key="K")
BOOL = SettingDefinition(key="K", validator=(bool,))
INT = SettingDefinition(key="K", validator=(int,))
FLOAT = SettingDefinition(key="K", validator=(float,))

allowed_text = st.text(
    st.one_of(st.characters(exclude_categories=["Cc", "Cs"]), st.sampled_from("\t\n\x7f\x85")),
    max_size=MAX_VALUE_LENGTH,
)


@given(st.booleans())
def test_booleans_come_back(value):
    """A boolean reads as it was written."""
    assert to_value(BOOL, to_text(BOOL, value)) is value


@given(st.integers(min_value=-(10**1900), max_value=10**1900))
def test_integers_come_back(value):
    """An integer of any size that fits reads as it was written."""
    assert to_value(INT, to_text(INT, value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_finite_floats_come_back(value):
    """A finite float reads as it was written, to the last bit."""
    assert to_value(FLOAT, to_text(FLOAT, value)).hex() == value.hex()


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**20), 10**20),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text('ab1 \n[]{}"\\,:.-eE\u00e9', max_size=8),
        st.sampled_from(["null", "true", "True", "5", "1.0", "[]", "{}", '"a"', "NaN", "-0"]),
    ),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("ab1", max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values, st.sampled_from([JsonValue, Any]))
def test_json_values_come_back(value, declared):
    """Any value of JSON reads as it was written, with its types, or as nothing if it is nothing."""
    definition = SettingDefinition(key="K", type=declared)
    _, text, is_json = check(definition, value)
    stored = StoredValue(text, is_protected=False, is_json=is_json)
    native = native_of(definition, stored.given) if text else None

    assert repr(native) == repr(None if value == "" else value)


@given(
    st.one_of(
        st.integers(),
        st.text("015-.ae ", max_size=4),
        st.booleans(),
        st.lists(st.text('ab"', max_size=2)),
    ),
    st.sampled_from([int | str, str | int, str | bool | int, list[str] | str, str | list[str]]),
)
def test_values_of_unions_come_back_or_are_refused(value, declared):
    """No value of a union is read as one of another type."""
    definition = SettingDefinition(key="K", type=declared)
    try:
        native, text, is_json = check(definition, value)
    except SettingError:
        return
    stored = StoredValue(text, is_protected=False, is_json=is_json)

    if text:
        assert repr(native_of(definition, stored.given)) == repr(native)
    if type(value) in (str, list):
        assert native == (None if value == "" else value)


@given(st.sampled_from([float("nan"), float("inf"), float("-inf"), "NaN", "-Infinity", "1e999"]))
def test_floats_that_are_not_finite_are_refused(value):
    """No store ever holds a float that JSON cannot."""
    with pytest.raises(SettingError):
        to_text(FLOAT, value)


@given(allowed_text)
def test_text_is_never_altered(value):
    """Text is stored and read exactly as it came."""
    assert to_text(TEXT, value) == value
    assert to_value(TEXT, value) == value


@given(st.text(max_size=20), st.sampled_from([TEXT, BOOL, INT, FLOAT]))
def test_what_is_stored_can_be_stored_again(value, definition):
    """Whatever was accepted is accepted once more and stays the same."""
    try:
        text = to_text(definition, value)
    except SettingError:
        return
    assert to_text(definition, text) == text
    assert to_text(definition, to_value(definition, text)) == text


@given(st.text(), st.sampled_from([TEXT, BOOL, INT, FLOAT]))
def test_reading_never_fails(text, definition):
    """No stored text, however odd, makes a read fail."""
    assert isinstance(to_value(definition, text), (str, bool, int, float))


class Colour(Enum):
    RED = "red"
    ONE = 1


class Server(BaseModel):
    host: str
    ports: list[int] = []


short = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=10)
TYPES = {
    Annotated[int, Ge(-5)]: st.integers(min_value=-5, max_value=10**1900),
    Annotated[float, Ge(-1e300)]: st.floats(
        min_value=-1e300, allow_nan=False, allow_infinity=False
    ),
    StrictBool: st.booleans(),
    Colour: st.sampled_from(Colour),
    Literal["a", 1]: st.sampled_from(["a", 1]),
    date: st.dates(),
    timedelta: st.timedeltas(timedelta(-10_000), timedelta(10_000)),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False),
    int | None: st.integers(),
    list[str]: st.lists(short, max_size=10),
    tuple[int, str]: st.tuples(st.integers(), short),
    set[int]: st.sets(st.integers(), max_size=10),
    dict[str, list[float]]: st.dictionaries(
        short, st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3), max_size=3
    ),
    Server: st.builds(Server, host=short, ports=st.lists(st.integers(), max_size=3)),
    str | list[str]: short.filter(bool),
}
TYPED = {declared: SettingDefinition(key="K", type=declared) for declared in TYPES}
EMAIL = SettingDefinition(key="K", type=EmailStr)
ANY = SettingDefinition(key="K", type=Any)
ANYTHING = SettingDefinition(key="K", type=list[Any])


@given(st.data(), st.sampled_from(list(TYPES)))
def test_typed_values_come_back(data, declared):
    """A value of any type reads as it was written, and its string as itself."""
    definition = TYPED[declared]
    value = data.draw(TYPES[declared])
    text = to_text(definition, value)

    assert to_value(definition, text) == value
    assert to_text(definition, text) == text
    assert fault_of(definition, text) is None


class Hostile:
    """An object that answers nothing."""

    def __repr__(self):
        raise RuntimeError

    __str__ = __eq__ = __len__ = __iter__ = __getattr__ = __repr__
    __hash__ = None


def nested(levels):
    """Return lists within lists."""
    found = []
    for _ in range(levels):
        found = [found]
    return found


junk = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=30),
        st.binary(max_size=5),
        st.dates(),
        st.decimals(),
        st.sampled_from(["[", "{}", "null", "True", '["a"]', "NaN", "-0", "1e999", "9" * 5_000]),
        st.builds(Hostile),
        st.builds(lambda: 10**5_000),
        st.sampled_from([object, Colour.RED, Server(host="h"), Hostile]),
        st.builds(nested, st.sampled_from([1, 300, 3_000])),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.text(max_size=3), st.integers()), inner, max_size=3),
        st.tuples(inner),
    ),
    max_leaves=5,
)


@given(junk, st.sampled_from([TEXT, BOOL, INT, FLOAT, EMAIL, ANY, ANYTHING, *TYPED.values()]))
def test_whatever_is_written_is_stored_or_refused(value, definition):
    """Any object at all gives a text that can be stored, or a SettingError, and nothing else."""
    try:
        text = to_text(definition, value)
    except SettingError as error:
        assert error.reason.strip()
        return
    assert type(text) is str
    assert len(text.encode()) <= 4 * MAX_VALUE_LENGTH
    assert to_text(definition, to_value(definition, text)) == text


@given(st.text(max_size=30), st.sampled_from([EMAIL, ANY, ANYTHING, *TYPED.values()]))
def test_reading_a_typed_text_never_fails(text, definition):
    """No stored string makes a read fail, and its fault is a sentence or nothing."""
    to_value(definition, text)
    assert fault_of(definition, text) != ""


plain = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.just(int), st.just(bool)
)
fields = st.sampled_from(
    ["name", "units", "default", "type", "validator", "choices", "model", "hidden", "protected"]
)


@given(
    st.dictionaries(
        st.text(st.sampled_from("aAbB_1-"), max_size=3),
        st.one_of(plain, st.dictionaries(fields, st.one_of(plain, st.lists(plain, max_size=2)))),
        max_size=5,
    )
)
def test_every_key_is_read_or_told_of(raw):
    """Nothing an author declares gets lost: each key gives a definition or a fault."""
    definitions, faults = parse_definitions(raw, "SETTINGS")

    for key in raw:
        told = any(fault.startswith(f"SETTINGS[{key!r}]") for fault in faults)
        assert told or key.upper() in definitions
    assert all(key == key.upper() == definition.key for key, definition in definitions.items())
