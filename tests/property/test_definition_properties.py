"""Laws of settings that hold for every value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugreg.declarations import parse_definitions
from plugreg.definitions import (
    MAX_VALUE_LENGTH,
    SettingDefinition,
    to_text,
    to_value,
)
from plugreg.exceptions import SettingError

TEXT = SettingDefinition(key="K")
BOOL = SettingDefinition(key="K", validators=(bool,))
INT = SettingDefinition(key="K", validators=(int,))
FLOAT = SettingDefinition(key="K", validators=(float,))

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


plain = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.just(int), st.just(bool)
)
fields = st.sampled_from(
    ["name", "units", "default", "validator", "choices", "model", "hidden", "protected", "x"]
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
