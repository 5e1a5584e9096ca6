"""What a plugin's author wrote in SETTINGS and USER_SETTINGS, read into definitions.

Source: behaviour.md, sections 4.2 and 4.3. All faults are told at once, and nothing that was
written is changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from plugreg._support.guard import Guard, safe_repr
from plugreg._support.names import near
from plugreg._support.strings import own_words
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
    """Read a plugin's ``SETTINGS`` or ``USER_SETTINGS``, whose name is ``attribute``.

    ``raw`` maps keys to dicts as behaviour.md, section 4.2, has them, or to SettingDefinitions;
    None counts as empty. It is not changed and not kept. Returned are the definitions that are
    sound, by upper-case key in the order declared, and every fault as a sentence that names
    attribute and key. A fault shows no default, and nothing of a protected setting's values.

    Raises nothing itself; what ``raw`` and its values raise when they are read passes through.
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
        definition, own_faults = _parse_one(key, value, where)
        faults.extend(own_faults)
        if definition is not None:
            definitions[key] = definition
    return MappingProxyType(definitions), tuple(faults)


def _parse_one(key: str, value: object, where: str) -> tuple[SettingDefinition | None, list[str]]:
    """Return the definition, None if it has a fault, and its faults."""
    faults: list[str] = []
    given: dict[Any, Any]
    if isinstance(value, SettingDefinition):
        given = {each.name: getattr(value, each.name) for each in fields(value) if each.init}
        own_key = given.pop("key")
        if own_key and str(own_key).upper() != key:
            faults.append(f"{where}: the definition's own key is {own_key!r}; use one name")
    elif isinstance(value, Mapping):
        given = dict(value)
    else:
        return None, [f"{where} must be a dict or a SettingDefinition, not {safe_repr(value)}"]
    secret = given.get("protected", False) is not False or is_secret_text(given.get("type"))
    taken: dict[str, Any] = {}
    for name, content in given.items():
        known = _FIELDS.get(name) if isinstance(name, str) else None
        if known is None:
            hint = near(name, _FIELDS) if isinstance(name, str) else ""
            faults.append(f"{where}: field {safe_repr(name)} is not known{hint}")
        elif content is not None:  # None says as little as leaving the field out.
            try:
                taken[name] = known.take(content)
            except TypeError:
                shown = f"a {type(content).__name__!r} object" if secret else safe_repr(content)
                faults.append(f"{where}: field {name!r} must be {known.expected}, not {shown}")
    if faults:
        return None, faults
    definition = SettingDefinition(key=key, **taken)
    faults.extend(f"{where}: {each}" for each in _faults_of_type(definition))
    if not faults and not callable(definition.default):
        with Guard() as guard:
            native = default_of(definition)
            if definition.typed is not None:
                text_of(definition, native)
        if guard.error is not None:
            told = issubclass(type(guard.error), SettingError)
            reason = own_words(guard.error) if told else NOT_VALID
            fitting = "validator" if definition.type is None else "type"
            faults.append(f"{where}: field 'default' must fit its {fitting}: {reason}")
    return (None if faults else definition), faults


def _faults_of_type(definition: SettingDefinition) -> Iterator[str]:
    """Yield what is wrong with the type, alone or together with the validators."""
    if definition.type is None:
        return
    for kind in CONVERTERS:
        if kind is not definition.type and any(kind is each for each in definition.validators):
            yield (
                f"field 'validator' must not hold {kind.__name__!r}, since field 'type' says "
                f"what the value is, and says something else; leave one of them out"
            )
    fault = None if definition.typed is None else definition.typed.fault()
    if fault is not None:
        yield f"field 'type' {fault}"


# Each of these takes a field's content in, or raises TypeError.


def _words(value: object) -> object:
    # What is no str but has a __str__ of its own is a lazy text; numbers and containers have none.
    lazy = type(value).__str__ is not object.__str__ and not isinstance(value, (bytes, bytearray))
    if isinstance(value, str) or lazy:
        return value
    raise TypeError


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise TypeError


def _function(value: object) -> object:
    if callable(value):
        return value
    raise TypeError


def _type(value: object) -> object:
    # Whether an object is a type pydantic can tell, but it takes a text for the name of one.
    if isinstance(value, (str, bytes)):
        raise TypeError
    return value


def _validators(value: object) -> tuple[object, ...]:
    validators = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if all(callable(each) for each in validators):
        return validators
    raise TypeError


def _choices(value: object) -> object:
    # No choices, written as an empty list, means that anything may be chosen.
    return value if callable(value) else (as_pairs(value) or None)


def _model(value: object) -> str | None:
    if isinstance(value, str):
        return value or None
    raise TypeError


def _filters(value: object) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return MappingProxyType(dict(value))
    raise TypeError


def _anything(value: object) -> object:
    return value


class _Field(NamedTuple):
    """A field of a definition: what it must be, and how it is taken in."""

    expected: str
    take: Callable[[object], Any]


_TEXT: Final = _Field("text", _words)
_BOOLEAN: Final = _Field("True or False", _flag)
_HOOK: Final = _Field("a callable that takes the setting", _function)

_FIELDS: Final[Mapping[str, _Field]] = MappingProxyType(
    {
        "name": _TEXT,
        "description": _TEXT,
        "units": _TEXT,
        "default": _Field("a value or a callable without arguments", _anything),
        "type": _Field("a type", _type),
        "validator": _Field("bool, int, float, a callable or a list of these", _validators),
        "choices": _Field("a list of (value, label) pairs or a callable that gives one", _choices),
        "model": _Field("text as 'app.model'", _model),
        "model_filters": _Field("a dict", _filters),
        "hidden": _BOOLEAN,
        "protected": _BOOLEAN,
        "required": _BOOLEAN,
        "before_save": _HOOK,
        "after_save": _HOOK,
        "confirm": _BOOLEAN,
        "confirm_text": _TEXT,
    }
)
