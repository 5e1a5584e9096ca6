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

_PLAIN: Final = MappingProxyType({bool: "boolean", int: "integer", float: "number"})


def schema_of(
    definitions: Mapping[str, SettingDefinition],
    locked: Collection[str] = (),
    protected: Collection[str] = (),
    title: str = "",
) -> dict[str, Any]:
    """Return the schema of an object with the native value of each setting.

    Properties are in the order of the definitions. Each has the schema of its type, and where
    stated ``title``, ``description``, ``default``, ``oneOf`` with a ``title`` for each choice,
    ``writeOnly`` if protected, ``readOnly`` if locked, and ``x-units``. Schemas of models are in
    ``$defs``. Protected defaults and defaults within a model are not shown. Callable defaults and
    choices are not called, but left out. Raises nothing.

    Args:
        definitions: Valid definitions by upper-case key.
        locked: Keys of values that the host fixes.
        protected: Keys of values that are not shown, beside those declared protected.
        title: Title of the schema.

    Returns:
        A new dict.
    """
    typed = {key: item.typed for key, item in definitions.items() if item.typed is not None}
    schemas, models = _typed_schemas(typed) if typed else ({}, {})
    schema: dict[str, Any] = {"$schema": DIALECT, "type": "object"}
    if title:
        schema["title"] = title
    schema["properties"] = {
        key: (schemas[key] if key in schemas else _plain_schema(item))
        | _describe(item, is_locked=key in locked, is_protected=item.protected or key in protected)
        for key, item in definitions.items()
    }
    schema["required"] = [key for key, item in definitions.items() if item.required]
    schema["additionalProperties"] = False
    if models:
        schema["$defs"] = models
    return schema


def _typed_schemas(
    typed: Mapping[str, Typed],
) -> tuple[Mapping[str, dict[str, Any]], dict[str, Any]]:
    """Return pydantic's schemas by key, and the models that they refer to."""
    from pydantic import TypeAdapter
    from pydantic.json_schema import GenerateJsonSchema

    class WithoutDefaults(GenerateJsonSchema):
        """Generator that leaves out defaults within types, since they may be protected."""

        def default_schema(self, schema: Any) -> dict[str, Any]:
            return self.generate_inner(schema["schema"])

    with without_plugins():
        found, rest = TypeAdapter.json_schemas(
            [(key, "validation", item.adapter) for key, item in typed.items()],
            schema_generator=WithoutDefaults,
        )
    return {key: found[key, "validation"] for key in typed}, rest.get("$defs", {})


def _plain_schema(definition: SettingDefinition) -> dict[str, Any]:
    if definition.converter is None:
        return {"type": "string", "maxLength": MAX_VALUE_LENGTH}
    return {"type": _PLAIN[definition.converter]}


def _describe(
    definition: SettingDefinition, *, is_locked: bool, is_protected: bool
) -> dict[str, Any]:
    """Return everything but the type, without calling the plugin's code."""
    described: dict[str, Any] = {
        "title": safe_str(definition.name),
        "description": safe_str(definition.description),
        "x-units": safe_str(definition.units),
    }
    default, choices = definition.default, definition.choices
    if default is not None and not is_protected and not callable(default):
        with Guard():
            described["default"] = _as_json(definition, default)
    if not callable(choices):
        offered: dict[str, Any] = {}
        for value, label in choices_of(definition):
            with Guard():
                # A choice that is no value of the setting is left out.
                chosen = _as_json(definition, value)
                offered.setdefault(json.dumps(chosen), {"const": chosen, "title": safe_str(label)})
        described["oneOf"] = list(offered.values())
    described |= {"writeOnly": is_protected, "readOnly": is_locked}
    return {name: value for name, value in described.items() if value or name == "default"}


def _as_json(definition: SettingDefinition, value: object) -> Any:
    """Return a default or a choice as JSON. Raises SettingError if it cannot."""
    native = native_of(definition, value)
    if definition.typed is not None:
        return definition.typed.json_of(native)
    if not is_scalar(type(value)):
        raise SettingError(definition.key, "It cannot be converted to a string")
    return plain(native) if isinstance(native, str) else native
