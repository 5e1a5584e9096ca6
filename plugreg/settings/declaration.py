"""SETTINGS and USER_SETTINGS of a plugin, parsed into definitions.

All faults are reported at once, and the plugin's objects are never changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from plugreg._support.frozen import arguments
from plugreg._support.guard import Guard, safe_repr
from plugreg._support.slugs import near
from plugreg._support.strings import own_message
from plugreg.exceptions import SettingError
from plugreg.records import EMPTY
from plugreg.settings.definition import (
    CONVERTERS,
    NOT_VALID,
    SettingDefinition,
    as_pairs,
    default_of,
    text_of,
)
from plugreg.settings.types import is_secret_text

MAX_KEY_LENGTH: Final = 50
"""The longest key, in characters."""

_KEY: Final = re.compile(rf"[A-Za-z0-9_]{{1,{MAX_KEY_LENGTH}}}")


def parse_definitions(
    raw: object, attribute: str
) -> tuple[Mapping[str, SettingDefinition], tuple[str, ...]]:
    """Parse a plugin's ``SETTINGS`` or ``USER_SETTINGS``.

    Exceptions that *raw* and its values raise when they are read pass through.

    Args:
        raw: Mapping of keys to dicts of fields or to SettingDefinitions; None counts as empty.
            It is neither changed nor kept.
        attribute: Name of the attribute, for the faults.

    Returns:
        The valid definitions, by upper-case key in the order declared, and every fault as a
        sentence with attribute and key. A fault shows no default, and no value of a protected
        setting.
    """
    if raw is None:
        return EMPTY, ()
    if not isinstance(raw, Mapping):
        shown = type(raw).__name__
        return EMPTY, (f"{attribute} must be a dict of key to definition, not {shown!r}",)
    definitions: dict[str, SettingDefinition] = {}
    faults: list[str] = []
    spellings: dict[str, str] = {}
    for spelling, value in raw.items():
        where = f"{attribute}[{safe_repr(spelling)}]"
        if not isinstance(spelling, str) or not _KEY.fullmatch(spelling):
            faults.append(
                f"{where}: a key is made of letters a-z, digits and underscores, "
                f"at most {MAX_KEY_LENGTH} of them"
            )
            continue
        key = str.upper(spelling)
        if key in spellings:
            faults.append(
                f"{where}: the key differs from {spellings[key]!r} only in case; rename one of them"
            )
            continue
        spellings[key] = spelling
        definition, own_faults = _parse_definition(key, value, where)
        faults.extend(own_faults)
        if definition is not None:
            definitions[key] = definition
    return MappingProxyType(definitions), tuple(faults)


def _parse_definition(
    key: str, value: object, where: str
) -> tuple[SettingDefinition | None, list[str]]:
    """Return the definition, None if it has a fault, and its faults."""
    faults: list[str] = []
    given: dict[Any, Any]
    if isinstance(value, SettingDefinition):
        given = arguments(value)
        own_key = given.pop("key")
        if own_key and str(own_key).upper() != key:
            faults.append(f"{where}: the definition's own key is {own_key!r}; use one name")
    elif isinstance(value, Mapping):
        given = dict(value)
    else:
        return None, [f"{where} must be a dict or a SettingDefinition, not {safe_repr(value)}"]
    is_secret = given.get("protected", False) is not False or is_secret_text(given.get("type"))
    parsed: dict[str, Any] = {}
    for name, content in given.items():
        field = _FIELDS.get(name) if isinstance(name, str) else None
        if field is None:
            hint = near(name, _FIELDS) if isinstance(name, str) else ""
            faults.append(f"{where}: field {safe_repr(name)} is not known{hint}")
        elif content is not None:  # None is the same as leaving the field out.
            expected, parse = field
            try:
                parsed[name] = parse(content)
            except TypeError:
                kind = f"a {type(content).__name__!r} object"
                shown = kind if is_secret else safe_repr(content)
                faults.append(f"{where}: field {name!r} must be {expected}, not {shown}")
    if faults:
        return None, faults
    definition = SettingDefinition(key=key, **parsed)
    faults += [f"{where}: {fault}" for fault in _faults_of_type(definition)]
    if not faults and not callable(definition.default):
        with Guard() as guard:
            native = default_of(definition)
            if definition.typed is not None:
                text_of(definition, native)
        if guard.error is not None:
            is_refusal = isinstance(guard.error, SettingError)
            reason = own_message(guard.error) if is_refusal else NOT_VALID
            fitting = "validator" if definition.type is None else "type"
            faults.append(f"{where}: field 'default' must fit its {fitting}: {reason}")
    return (None if faults else definition), faults


def _faults_of_type(definition: SettingDefinition) -> Iterator[str]:
    """Yield the faults of the type, alone or together with the validators."""
    if definition.type is None:
        return
    for kind in CONVERTERS:
        if kind is not definition.type and any(kind is item for item in definition.validators):
            yield (
                f"field 'validator' must not hold {kind.__name__!r}, since field 'type' states "
                f"another type; leave one of them out"
            )
    fault = None if definition.typed is None else definition.typed.fault()
    if fault is not None:
        yield f"field 'type' {fault}"


def _require(is_valid: Callable[[Any], object]) -> Callable[[Any], Any]:
    """Return a parser that raises TypeError for an invalid argument."""

    def parse(value: Any) -> Any:
        if is_valid(value):
            return value
        raise TypeError

    return parse


def _is_words(value: object) -> bool:
    # A lazy translation is no str, but has its own __str__; numbers and containers have none.
    is_lazy = type(value).__str__ is not object.__str__ and not isinstance(
        value, (bytes, bytearray)
    )
    return isinstance(value, str) or is_lazy


def _validators(value: object) -> tuple[object, ...]:
    validators = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if all(map(callable, validators)):
        return validators
    raise TypeError


def _choices(value: object) -> object:
    # An empty list of choices allows any value.
    return value if callable(value) else (as_pairs(value) or None)


def _filters(value: object) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return MappingProxyType(dict(value))
    raise TypeError


_is_string: Final = _require(lambda value: isinstance(value, str))

_TEXT: Final = ("a string", _require(_is_words))
_BOOLEAN: Final = ("True or False", _require(lambda value: isinstance(value, bool)))
_HOOK: Final = ("a callable that takes the setting", _require(callable))

_FIELDS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = MappingProxyType(
    {
        **dict.fromkeys(("name", "description", "units", "confirm_text"), _TEXT),
        "default": ("a value or a callable without arguments", lambda value: value),
        # pydantic takes a string for the name of a type.
        "type": ("a type", _require(lambda value: not isinstance(value, (str, bytes)))),
        "validator": ("bool, int, float, a callable or a list of these", _validators),
        "choices": ("a list of (value, label) pairs or a callable that returns it", _choices),
        "model": ("a string as 'app.model'", lambda value: _is_string(value) or None),
        "model_filters": ("a dict", _filters),
        **dict.fromkeys(("hidden", "protected", "required", "confirm"), _BOOLEAN),
        **dict.fromkeys(("before_save", "after_save"), _HOOK),
    }
)
"""The expected content of each field, and a parser that raises TypeError for another."""
