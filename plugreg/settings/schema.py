"""Settings as a JSON Schema, from which a client can make a form (JSON Schema 2020-12)."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Final

from plugreg._support.guard import Guard, plain, safe_str
from plugreg._support.strings import MAX_VALUE_LENGTH, is_scalar
from plugreg.exceptions import SettingError
from plugreg.settings.definition import SettingDefinition, choices_of, native_of
from plugreg.settings.types import Typed, without_plugins

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_PLAIN: Final[Mapping[type, str]] = MappingProxyType(
    {bool: "boolean", int: "integer", float: "number"}
)


def schema_of(
    definitions: Mapping[str, SettingDefinition], locked: Collection[str] = (), title: str = ""
) -> dict[str, Any]:
    """Return the schema of an object that has the native value of each setting by its key.

    ``definitions`` have passed parse_definitions; ``locked`` are the upper-case keys whose value
    the host decides. Properties are in the order of the definitions. Each has the schema of its
    type, and what it says of itself: ``title``, ``description``, ``default``, ``oneOf`` with a
    ``title`` for each choice, ``writeOnly`` where it is protected, ``readOnly`` where it is locked,
    and ``x-units``. Schemas of models are in ``$defs``.

    Nothing is shown of a protected default, nor are defaults within a model. Callable defaults and
    choices are not asked and left out. The result is new each time. Raises nothing.
    """
    typed = {key: each.typed for key, each in definitions.items() if each.typed is not None}
    schemas, models = _typed_schemas(typed) if typed else ({}, {})
    schema: dict[str, Any] = {"$schema": DIALECT, "type": "object"}
    if title:
        schema["title"] = title
    schema["properties"] = {
        key: (schemas[key] if key in schemas else _plain_schema(each))
        | _words(each)
        | _values(each)
        | _flags(each, key in locked)
        for key, each in definitions.items()
    }
    schema["required"] = [key for key, each in definitions.items() if each.required]
    schema["additionalProperties"] = False
    if models:
        schema["$defs"] = models
    return schema


def _typed_schemas(
    typed: Mapping[str, Typed],
) -> tuple[Mapping[str, dict[str, Any]], dict[str, Any]]:
    """Return what pydantic says of each type, by key, and the models that they refer to."""
    from pydantic import TypeAdapter
    from pydantic.json_schema import GenerateJsonSchema

    class WithoutDefaults(GenerateJsonSchema):
        """Leaves out the defaults within types, since one may be that of a protected setting."""

        def default_schema(self, schema: Any) -> dict[str, Any]:
            return self.generate_inner(schema["schema"])

    with without_plugins():
        found, rest = TypeAdapter.json_schemas(
            [(key, "validation", each.adapter) for key, each in typed.items()],
            schema_generator=WithoutDefaults,
        )
    return {key: found[key, "validation"] for key in typed}, rest.get("$defs", {})


def _plain_schema(definition: SettingDefinition) -> dict[str, Any]:
    if definition.converter is None:
        return {"type": "string", "maxLength": MAX_VALUE_LENGTH}
    return {"type": _PLAIN[definition.converter]}


def _words(definition: SettingDefinition) -> dict[str, Any]:
    words = {
        "title": definition.name,
        "description": definition.description,
        "x-units": definition.units,
    }
    told = {name: safe_str(each) for name, each in words.items()}
    return {name: text for name, text in told.items() if text}


def _values(definition: SettingDefinition) -> dict[str, Any]:
    """Return the default and the choices, as far as they are known without asking the plugin."""
    values: dict[str, Any] = {}
    if definition.has_default and not definition.protected and not callable(definition.default):
        with Guard():
            values["default"] = _as_json(definition, definition.default)
    if not callable(definition.choices):
        choices: dict[str, Any] = {}
        for value, label in choices_of(definition):
            with Guard():
                # A choice that is no value of the setting cannot be chosen, and is left out.
                chosen = _as_json(definition, value)
                choices.setdefault(json.dumps(chosen), {"const": chosen, "title": safe_str(label)})
        if choices:
            values["oneOf"] = list(choices.values())
    return values


def _as_json(definition: SettingDefinition, value: object) -> Any:
    """Return a default or a choice as JSON has it. Raises SettingError where it cannot."""
    native = native_of(definition, value)
    if definition.typed is not None:
        return definition.typed.json_of(native)
    if not is_scalar(type(value)):
        raise SettingError(definition.key, "A text cannot be made of this")
    return plain(native) if isinstance(native, str) else native


def _flags(definition: SettingDefinition, locked: bool) -> dict[str, Any]:
    flags = {"writeOnly": definition.protected, "readOnly": locked}
    return {name: True for name, is_set in flags.items() if is_set}
