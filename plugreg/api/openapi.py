"""The OpenAPI document of the plugin API, made from the table of operations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from plugreg.api.access import SCOPES, Access
from plugreg.api.errors import (
    APIError,
    ConflictError,
    InvalidError,
    NotAuthenticatedError,
    NotFoundError,
    PermissionDeniedError,
)
from plugreg.api.models import Model
from plugreg.api.operations import Operation
from plugreg.settings.types import without_plugins

MEDIA_TYPES: Final = (
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
)
"""The media types of bodies that operations read."""
_TYPES: Final[Mapping[type, str]] = MappingProxyType(
    {bool: "boolean", int: "integer", str: "string"}
)
_REFUSALS: Final[tuple[type[APIError], ...]] = (
    InvalidError,
    NotAuthenticatedError,
    PermissionDeniedError,
    NotFoundError,
    ConflictError,
)


def document(
    operations: Sequence[Operation[Any]], *, prefix: str = "", server: str | None = None
) -> dict[str, Any]:
    """Return the OpenAPI 3.0.3 document of these operations, made of what JSON can hold.

    ``prefix`` is put before each path, ``server`` is the address that the paths follow. The
    document is a new one at each call, so that a host may change it: the security schemes are
    those that clients know, and a host that knows its callers another way states its own.
    """
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        paths.setdefault(prefix + each.path, {})[each.method.lower()] = _operation(each)
    return {
        "openapi": "3.0.3",
        "info": {"title": "plugreg", "version": _version()},
        **({} if server is None else {"servers": [{"url": server}]}),
        "paths": paths,
        "components": {
            "schemas": schemas_of(operations),
            "responses": {each.code: _refused(each) for each in _REFUSALS},
            "securitySchemes": _security_schemes(),
        },
    }


def _version() -> str:
    try:
        return version("plugreg")
    except PackageNotFoundError:
        # A source tree that was not installed has none, and the document must have one.
        return "0"


def _operation(operation: Operation[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": ["plugins"],
    }
    if parameters := _parameters(operation):
        found["parameters"] = parameters
    if operation.body is not None:
        found["requestBody"] = {
            "content": {each: {"schema": _reference(operation.body)} for each in MEDIA_TYPES},
            "required": operation.body_required,
        }
    return {
        **found,
        "responses": {
            str(operation.status): _answer(operation),
            **{
                str(each.status): {"$ref": f"#/components/responses/{each.code}"}
                for each in _refusals_of(operation)
            },
        },
        "security": _security(operation.access),
    }


def _parameters(operation: Operation[Any]) -> list[dict[str, Any]]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in operation.path_parameters
    ]
    in_query = [
        {
            "name": each.name,
            "in": "query",
            "required": False,
            "schema": {"type": _TYPES[each.type]},
            "description": each.description,
        }
        for each in operation.query
    ]
    return in_path + in_query


# -- answers ----------------------------------------------------------------------------------


def _answer(operation: Operation[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"description": HTTPStatus(operation.status).phrase}
    if operation.answer is not None:
        schema: dict[str, Any] = _reference(operation.answer)
        if operation.many:
            schema = {"type": "array", "items": schema}
        found["content"] = {"application/json": {"schema": schema}}
    return found


def _refusals_of(operation: Operation[Any]) -> Iterable[type[APIError]]:
    if operation.path_parameters or operation.query or operation.body is not None:
        yield InvalidError
    yield NotAuthenticatedError
    yield PermissionDeniedError
    if operation.path_parameters:
        yield NotFoundError
    if operation.in_turn:
        yield ConflictError


def _refused(error: type[APIError]) -> dict[str, Any]:
    detail: dict[str, Any] = {
        "type": "object",
        "properties": {"detail": {"type": "string"}},
        "required": ["detail"],
    }
    by_field = {
        "type": "object",
        "additionalProperties": {"type": "array", "items": {"type": "string"}},
    }
    schema = {"anyOf": [by_field, detail]} if error is InvalidError else detail
    return {
        "description": error.__doc__ or error.code,
        "content": {"application/json": {"schema": schema}},
    }


# -- schemas ----------------------------------------------------------------------------------


class _Schemas(GenerateJsonSchema):
    """JSON Schema as OpenAPI 3.0 writes it, without the titles that repeat the names."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return {**self.generate_inner(schema["schema"]), "nullable": True}

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        found = super().dict_schema(schema)
        if found.get("additionalProperties") is True:
            found["additionalProperties"] = {}
        return found

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        found = super().model_schema(schema)
        del found["title"]
        return found

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - none should
        return False


def schemas_of(operations: Iterable[Operation[Any]]) -> dict[str, Any]:
    """Return the schemas of all bodies and answers, and of what these are made of, by name."""
    models = {model for each in operations for model in (each.body, each.answer) if model}
    with without_plugins():
        _, found = models_json_schema(
            [(each, "validation") for each in models],
            ref_template="#/components/schemas/{model}",
            schema_generator=_Schemas,
        )
    # There are none where there is no model.
    schemas: dict[str, Any] = found.get("$defs", {})
    return schemas


def _reference(model: type[Model]) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


# -- access -----------------------------------------------------------------------------------


def _security(access: Access) -> list[dict[str, list[str]]]:
    scopes = [] if access.scope is None else [access.scope]
    return [{"tokenAuth": []}, {"basicAuth": []}, {"cookieAuth": []}, {"oauth2": scopes}]


def _security_schemes() -> dict[str, Any]:
    scopes = dict(zip(SCOPES, ("Read", "What staff may", "What superusers may"), strict=True))
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
