"""Answers to OPTIONS, from which clients build forms: the fields of each change.

The shape is that of Django REST framework's SimpleMetadata.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from plugreg.api.openapi import MEDIA_TYPES, make_schemas
from plugreg.api.operations import Operation

_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {"array": "list", "number": "float", "object": "nested object", "": "field"}
)
_FORMATS: Final[Mapping[str, str]] = MappingProxyType(
    {name: name for name in ("date", "duration", "email", "time")}
    | {"date-time": "datetime", "uri": "url"}
)
_LIMITS: Final = (
    ("minLength", "min_length"),
    ("maxLength", "max_length"),
    ("minItems", "min_length"),
    ("maxItems", "max_length"),
    ("minimum", "min_value"),
    ("maximum", "max_value"),
)


def describe(path: str, operations: Sequence[Operation[Any]]) -> dict[str, Any]:
    """Return the answer to OPTIONS.

    Args:
        path: The path of the operations, with its parameters in braces.
        operations: Those at this path that the client may use.

    Returns:
        Name, description, media types and, if there is a change that the client may make, the
        fields of each method. PATCH has those of PUT, none of which it requires.

    """
    words = [part for part in path.split("/") if part and part[0] != "{"][1:]
    schemas = make_schemas(operations)
    actions = {
        operation.method: (
            {} if operation.body is None else _fields(schemas[operation.body.__name__], schemas)
        )
        for operation in operations
        if operation.method not in ("GET", "PATCH")
    }
    return {
        "name": " ".join(words).replace("-", " ").title(),
        "description": "\n".join(dict.fromkeys(operation.summary for operation in operations)),
        "renders": ["application/json"],
        "parses": list(MEDIA_TYPES),
        **({"actions": actions} if actions else {}),
    }


def _fields(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> dict[str, Any]:
    required = schema.get("required", ())
    return {
        name: _field(name, field, name in required, schemas)
        for name, field in schema["properties"].items()
    }


def _field(
    name: str, schema: Mapping[str, Any], required: bool, schemas: Mapping[str, Any]
) -> dict[str, Any]:
    for part in (schema, *schema.get("allOf", ())):
        if "$ref" in part:
            schema = {**schemas[part["$ref"].rpartition("/")[2]], **schema}
    choices = schema.get("enum", [schema["const"]] if "const" in schema else None)
    read_only = schema.get("readOnly", False)
    json_type = schema.get("type", "")
    kind = _FORMATS.get(schema.get("format", "")) or _TYPES.get(json_type, json_type)
    field: dict[str, Any] = {
        "type": "choice" if choices else kind,
        "required": required and not read_only,
        "read_only": read_only,
    }
    if name:
        field["label"] = name.replace("_", " ").capitalize()
    if help_text := schema.get("description"):
        field["help_text"] = help_text
    field |= {limit: schema[keyword] for keyword, limit in _LIMITS if keyword in schema}
    child = schema.get("items", schema.get("additionalProperties"))
    if isinstance(child, Mapping):
        field["child"] = _field("", child, True, schemas)
    elif "properties" in schema:
        field["children"] = _fields(schema, schemas)
    if choices and not read_only:
        field["choices"] = [{"value": value, "display_name": str(value)} for value in choices]
    return field
