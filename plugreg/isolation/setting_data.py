"""Definitions of settings on their way to the host: data, and the names of functions.

A validator and the like stay in the plugin's process, and the host calls them there.
"""

from __future__ import annotations

import builtins
import collections.abc
import datetime
import decimal
import ipaddress
import pathlib
import types
import typing
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from plugreg._support.guard import safe_str
from plugreg.isolation.data import to_data
from plugreg.settings.declaration import parse_definitions
from plugreg.settings.definition import CONVERTERS, SettingDefinition, default_of, text_of

_ATTRIBUTES: Final = ("SETTINGS", "USER_SETTINGS")
_WORDS: Final = ("name", "description", "units", "confirm_text")
_FACTS: Final = ("hidden", "protected", "required", "confirm", "model")
_FUNCTIONS: Final = ("before_save", "after_save")

_MODULES: Final = MappingProxyType(
    {
        **{m.__name__: m for m in (builtins, datetime, decimal, ipaddress, pathlib, typing, uuid)},
        "collections": collections.abc,
        "pydecimal": decimal,
    }
)
"""Modules whose types both sides have; those of pydantic come to them."""

Call = Callable[..., Any]
"""Calls a function of the plugin's process by its name, with arguments that are data."""


def definitions_to_data(plugin: Any) -> dict[str, Any]:
    """Return the settings that a plugin declares, as it is loaded.

    Faults of the declaration are sent too, because the host cannot find them in the data.
    """
    found: dict[str, Any] = {"version": plugin.SETTINGS_VERSION}
    faults: list[str] = []
    for attribute in _ATTRIBUTES:
        definitions, own = parse_definitions(getattr(plugin, attribute), attribute)
        faults += own
        rows = {}
        for key, definition in definitions.items():
            try:
                rows[key] = _to_data(attribute, definition)
            except TypeError as error:
                faults.append(f"{attribute}[{key!r}]: {error}")
        found[attribute] = rows
    return found | {"faults": faults}


def definition_functions(plugin: Any) -> dict[str, Callable[..., Any]]:
    """Return the functions of a plugin's definitions, by the names that the host calls."""
    found: dict[str, Callable[..., Any]] = {}
    for attribute in _ATTRIBUTES:
        for definition in parse_definitions(getattr(plugin, attribute), attribute)[0].values():
            place = f"{attribute}.{definition.key}"
            if callable(definition.default):
                found[f"{place}.default"] = partial(_default_text, definition)
            if callable(definition.choices):
                found[f"{place}.choices"] = definition.choices
            for number, validator in enumerate(definition.validators):
                found[f"{place}.validator{number}"] = validator
            for name in _FUNCTIONS:
                if (function := getattr(definition, name)) is not None:
                    found[f"{place}.{name}"] = function
    return found


def definitions_from_data(data: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """Return the attributes of a class that declares these settings.

    ``call`` is called with the name of a function and its arguments. Raises for damaged data.
    """
    found: dict[str, Any] = {"SETTINGS_VERSION": data["version"]}
    for attribute in _ATTRIBUTES:
        found[attribute] = {
            key: _from_data(f"{attribute}.{key}", row, call) for key, row in data[attribute].items()
        }
    return found


def _to_data(attribute: str, definition: SettingDefinition) -> dict[str, Any]:
    place = f"{attribute}.{definition.key}"
    row: dict[str, Any] = {
        **{name: safe_str(getattr(definition, name)) for name in _WORDS},
        **{name: getattr(definition, name) for name in _FACTS},
        "model_filters": to_data(place, "model_filters", dict(definition.model_filters)),
        "type": None if definition.type is None else _type_to_data(definition.type),
        "validators": [
            _name_of_converter(validator) or number
            for number, validator in enumerate(definition.validators)
        ],
        "functions": [name for name in _FUNCTIONS if getattr(definition, name) is not None],
    }
    if callable(definition.default) and not definition.protected:
        row["functions"].append("default")
    elif definition.has_default:
        # That of a protected setting is hidden everywhere, and so has to be known at once.
        row["default"] = _default_text(definition)
    if callable(definition.choices):
        row["functions"].append("choices")
    elif definition.choices is not None:
        pairs = [[value, safe_str(label)] for value, label in definition.choices]
        row["choices"] = to_data(place, "choices", pairs)
    return row


def _name_of_converter(validator: object) -> str | None:
    # Identity, because a validator is a plugin's object and its __eq__ may do anything.
    return next((kind.__name__ for kind in CONVERTERS if kind is validator), None)


def _default_text(definition: SettingDefinition) -> Any:
    value = default_of(definition)
    return value if type(value) in (str, int, float, bool) else text_of(definition, value)


def _from_data(place: str, row: Mapping[str, Any], call: Call) -> SettingDefinition:
    fields: dict[str, Any] = {name: row[name] for name in (*_WORDS, *_FACTS, "model_filters")}
    names = {kind.__name__: kind for kind in CONVERTERS}
    fields["validator"] = tuple(
        names[item] if isinstance(item, str) else partial(call, f"{place}.validator{item:d}")
        for item in row["validators"]
    )
    if row["type"] is not None:
        fields["type"] = _type_from_data(row["type"])
    for name in row["functions"]:
        if name not in (*_FUNCTIONS, "default", "choices"):
            raise ValueError(f"a setting has no function {name!r}")
        fields[name] = partial(call, f"{place}.{name}")
    if "choices" in row:
        fields["choices"] = [(value, label) for value, label in row["choices"]]
    if "default" in row:
        fields["default"] = row["default"]
    return SettingDefinition(**fields)


# -- types ----------------------------------------------------------------------------------------


def _type_to_data(kind: Any) -> Any:
    """Return a type that both sides have, as data. Raises TypeError for another."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return {"literal": to_data("type", "literal", inner)}
    if origin is typing.Annotated:
        return _type_to_data(inner[0])
    if origin in (typing.Union, types.UnionType):
        return {"union": [*map(_type_to_data, inner)]}
    if origin is not None:
        arguments = ["..." if item is ... else _type_to_data(item) for item in inner]
        return {"generic": _type_to_data(origin), "of": arguments}
    if kind is None or kind is types.NoneType:
        return "None"
    module, name = getattr(kind, "__module__", ""), getattr(kind, "__qualname__", str(kind))
    if _find_type(module, name) is kind:
        return f"{module}:{name}"
    raise TypeError(f"its type {name} is the plugin's own, which the host cannot have")


def _type_from_data(data: Any) -> Any:
    if data == "None":
        return None
    if data == "...":
        return ...
    if isinstance(data, str):
        module, _, name = data.partition(":")
        kind = _find_type(module, name)
        if kind is None:
            raise TypeError(f"there is no type {data!r}")
        return kind
    if "literal" in data:
        return typing.Literal[tuple(data["literal"])]
    if "union" in data:
        return typing.Union[tuple(map(_type_from_data, data["union"]))]  # noqa: UP007
    return _type_from_data(data["generic"])[tuple(map(_type_from_data, data["of"]))]


def _find_type(module: str, name: str) -> Any:
    """Return a type by its names, None unless it is Python's or pydantic's."""
    # Some modules are private, or in a package: _pydecimal, pathlib._local, collections.abc.
    package = module.partition(".")[0].removeprefix("_")
    if package == "pydantic":
        import pydantic

        # That one imports what the value names, and in the host.
        return None if name == "ImportString" else getattr(pydantic, name, None)
    kind = getattr(_MODULES.get(package), name, None)
    return kind if package != "builtins" or isinstance(kind, type) else None
