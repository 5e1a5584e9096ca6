"""Descriptions of the table of operations: the OpenAPI document, and the answers to OPTIONS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from plugreg.api import errors
from plugreg.api.access import SCOPES
from plugreg.api.bodies import JSON, MULTIPART, URLENCODED
from plugreg.api.models import Model
from plugreg.api.operations import Operation
from plugreg.settings.types import without_plugins

MEDIA_TYPES: Final = (JSON, URLENCODED, MULTIPART)
"""The media types of bodies that operations read."""

_TYPES: Final[Mapping[type, str]] = MappingProxyType(
    {bool: "boolean", int: "integer", str: "string"}
)
_FORM_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {"array": "list", "number": "float", "object": "nested object", "": "field"}
)
_FORMATS: Final[Mapping[str, str]] = MappingProxyType(
    {name: name for name in ("date", "duration", "email", "time")}
    | {"date-time": "datetime", "uri": "url"}
)
_LIMITS: Final = (
    *(("minLength", "min_length"), ("minItems", "min_length"), ("minimum", "min_value")),
    *(("maxLength", "max_length"), ("maxItems", "max_length"), ("maximum", "max_value")),
)


def make_document(
    operations: Sequence[Operation[Any]], *, prefix: str = "", server: str | None = None
) -> dict[str, Any]:
    """Return the OpenAPI 3.0.3 document of operations, as JSON data.

    Each call makes a new document, which a host may change. The security schemes are those that
    clients know; a host with another authentication states its own.

    Args:
        operations: The rows of the table.
        prefix: Put before each path.
        server: The address that the paths follow.
    """
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        methods = paths.setdefault(prefix + operation.path, {})
        methods[operation.method.lower()] = _describe_operation(operation)
    try:
        own_version = version("plugreg")
    except PackageNotFoundError:
        # A source tree that was not installed has no version, and the document needs one.
        own_version = "0"
    refusals = [error for operation in operations for error in _refusals_of(operation)]
    return {
        "openapi": "3.0.3",
        "info": {"title": "plugreg", "version": own_version},
        **({} if server is None else {"servers": [{"url": server}]}),
        "paths": paths,
        "components": {
            "schemas": make_schemas(operations),
            "responses": {error.code: _describe_refusal(error) for error in refusals},
            "securitySchemes": _security_schemes(),
        },
    }


def _describe_operation(operation: Operation[Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(operation.status).phrase}
    if operation.answer is not None:
        schema = _reference(operation.answer)
        schema = {"type": "array", "items": schema} if operation.many else schema
        answer["content"] = {"application/json": {"schema": schema}}
    described = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": ["plugins"],
        "parameters": [
            *(_describe_parameter(name, "path", str) for name in operation.path_parameters),
            *(
                _describe_parameter(query.name, "query", query.type, description=query.description)
                for query in operation.query
            ),
        ],
        "responses": {str(operation.status): answer}
        | {
            str(error.status): {"$ref": f"#/components/responses/{error.code}"}
            for error in _refusals_of(operation)
        },
        "security": [
            *({scheme: []} for scheme in ("tokenAuth", "basicAuth", "cookieAuth")),
            {"oauth2": [] if operation.access.scope is None else [operation.access.scope]},
        ],
    }
    if operation.body is not None:
        described["requestBody"] = {
            "content": {kind: {"schema": _reference(operation.body)} for kind in MEDIA_TYPES},
            "required": operation.body_required,
        }
    return described


def _describe_parameter(name: str, place: str, kind: type, **more: str) -> dict[str, Any]:
    schema = {"type": _TYPES[kind]}
    return {"name": name, "in": place, "required": place == "path", "schema": schema, **more}


def _refusals_of(operation: Operation[Any]) -> list[type[errors.APIError]]:
    has_input = operation.path_parameters or operation.query or operation.body is not None
    return [
        *([errors.InvalidError] if has_input else ()),
        errors.NotAuthenticatedError,
        errors.PermissionDeniedError,
        *([errors.NotFoundError] if operation.path_parameters else ()),
        *([errors.ConflictError] if operation.in_turn else ()),
    ]


def _describe_refusal(error: type[errors.APIError]) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"detail": {"type": "string"}},
        "required": ["detail"],
    }
    if error is errors.InvalidError:
        sentences = {"type": "array", "items": {"type": "string"}}
        schema = {"anyOf": [{"type": "object", "additionalProperties": sentences}, schema]}
    return {
        "description": (error.__doc__ or error.code).partition("\n")[0],
        "content": {"application/json": {"schema": schema}},
    }


class _Schemas(GenerateJsonSchema):
    """JSON Schema as OpenAPI 3.0 writes it, without the titles that repeat the names."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return {**self.generate_inner(schema["schema"]), "nullable": True}

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        json_schema = super().dict_schema(schema)
        if json_schema.get("additionalProperties") is True:
            json_schema["additionalProperties"] = {}
        return json_schema

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        json_schema = super().model_schema(schema)
        del json_schema["title"]
        return json_schema

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - none should
        return False


def make_schemas(operations: Iterable[Operation[Any]]) -> dict[str, Any]:
    """Return the schemas of all bodies and answers and their parts, by name.

    Args:
        operations: The rows of the table.
    """
    models = {row.body for row in operations} | {row.answer for row in operations}
    with without_plugins():
        _, definitions = models_json_schema(
            [(model, "validation") for model in models if model is not None],
            ref_template="#/components/schemas/{model}",
            schema_generator=_Schemas,
        )
    # There are none without a model.
    schemas: dict[str, Any] = definitions.get("$defs", {})
    return schemas


def _reference(model: type[Model]) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _security_schemes() -> dict[str, Any]:
    meanings = ("Read", "All that staff may do", "All that superusers may do")
    scopes = dict(zip(SCOPES, meanings, strict=True))
    urls = {"tokenUrl": "/o/token/", "refreshUrl": "/o/token/", "scopes": scopes}
    return {
        "tokenAuth": {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "The word Token, a blank, and the token",
        },
        "basicAuth": {"type": "http", "scheme": "basic"},
        "cookieAuth": {"type": "apiKey", "in": "cookie", "name": "sessionid"},
        "oauth2": {
            "type": "oauth2",
            "flows": {
                "authorizationCode": {"authorizationUrl": "/o/authorize/", **urls},
                "clientCredentials": urls,
            },
        },
    }


def describe_forms(path: str, operations: Sequence[Operation[Any]]) -> dict[str, Any]:
    """Return the answer to OPTIONS, in the shape of Django REST framework's SimpleMetadata.

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
        operation.method: _fields(schemas[operation.body.__name__], schemas)
        if operation.body
        else {}
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
        name: _field(field, schemas, name in required, name)
        for name, field in schema["properties"].items()
    }


def _field(
    schema: Mapping[str, Any], schemas: Mapping[str, Any], is_required: bool, name: str = ""
) -> dict[str, Any]:
    for part in (schema, *schema.get("allOf", ())):
        if "$ref" in part:
            schema = {**schemas[part["$ref"].rpartition("/")[2]], **schema}
    choices = schema.get("enum", [schema["const"]] if "const" in schema else None)
    read_only = schema.get("readOnly", False)
    json_type = schema.get("type", "")
    kind = _FORMATS.get(schema.get("format", "")) or _FORM_TYPES.get(json_type, json_type)
    field: dict[str, Any] = {
        "type": "choice" if choices else kind,
        "required": is_required and not read_only,
        "read_only": read_only,
        "label": name.replace("_", " ").capitalize(),
        "help_text": schema.get("description"),
        **{limit: schema.get(keyword) for keyword, limit in _LIMITS if keyword in schema},
    }
    child = schema.get("items", schema.get("additionalProperties"))
    if isinstance(child, Mapping):
        field["child"] = _field(child, schemas, True)
    elif "properties" in schema:
        field["children"] = _fields(schema, schemas)
    if choices and not read_only:
        field["choices"] = [{"value": value, "display_name": str(value)} for value in choices]
    return {key: value for key, value in field.items() if value not in (None, "")}
