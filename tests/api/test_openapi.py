"""The OpenAPI document: the interface of existing clients, made from the table of operations."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV30SpecValidator

import plugreg
from plugreg.api import PluginAPI

KNOWN = json.loads((Path(__file__).parent / "data" / "operations.json").read_text("utf-8"))
"""The structure that clients were made for: names, types, and nothing in prose."""

REFUSALS = {"400", "401", "403", "404", "409"}
"""The answers that plugreg's document has beside the known ones."""

PROSE = {"title", "description", "summary", "example"}


def differences(known, made):
    """Return the structural differences between two documents, a line for each."""
    return list(compare("", structure(known), structure(made)))


def compare(place, known, made):
    if isinstance(known, dict) and isinstance(made, dict):
        for name in sorted({*known, *made}):
            at = f"{place} {name}".strip()
            if name not in made:
                yield f"{at} is missing"
            elif name not in known:
                yield f"{at} is not known"
            else:
                yield from compare(at, known[name], made[name])
    elif type(known) is not type(made) or known != made:
        yield f"{place}: {known} != {made}"


def structure(document):
    """Return the interface of clients, as objects in objects: no prose, no refusals."""
    paths = {
        path: {method: operation_of(item) for method, item in methods.items()}
        for path, methods in document["paths"].items()
    }
    schemas = {
        name: schema_of(schema) for name, schema in document["components"]["schemas"].items()
    }
    return {"paths": paths, "components": {"schemas": schemas}}


def operation_of(operation):
    found = {
        "operationId": operation["operationId"],
        "parameters": {
            parameter["name"]: parameter_of(parameter)
            for parameter in operation.get("parameters", ())
        },
        "responses": {
            status: content_of(response)
            for status, response in operation["responses"].items()
            if status not in REFUSALS
        },
    }
    if body := operation.get("requestBody"):
        found["requestBody"] = {**content_of(body), "required": body.get("required", False)}
    return found


def parameter_of(parameter):
    found = {name: item for name, item in parameter.items() if name not in {"name", *PROSE}}
    return {"required": False, **found, "schema": schema_of(parameter["schema"])}


def content_of(holder):
    return {kind: schema_of(item["schema"]) for kind, item in holder.get("content", {}).items()}


def schema_of(schema):
    # Names of properties may be words of JSON Schema too, so each place is gone through by name.
    found = {name: item for name, item in schema.items() if name not in PROSE}
    if "properties" in found:
        found["properties"] = {name: schema_of(e) for name, e in found["properties"].items()}
    if "required" in found:
        found["required"] = sorted(found["required"])
    return found | {n: schema_of(found[n]) for n in ("items", "additionalProperties") if n in found}


class TestAgainstTheKnownDocument:
    def test_it_is_the_same(self):
        """Clients made for the known document find all of it: operations, shapes, and names."""
        found = differences(KNOWN, PluginAPI.openapi())

        assert not found, "\n".join(found)

    def test_the_known_document_is_whole(self):
        """The comparison is with 24 operations and 19 schemas, not with an empty file."""
        operations = [method for methods in KNOWN["paths"].values() for method in methods]

        assert len(operations) == 24
        assert len(KNOWN["components"]["schemas"]) == 19


LIST = ("paths", "/api/plugins/", "get")
INSTALL = ("paths", "/api/plugins/install/", "post")
ACTIVATE = ("paths", "/api/plugins/{plugin}/activate/", "put")
SETTINGS = ("paths", "/api/plugins/{plugin}/settings/", "get")
DELETE = ("paths", "/api/plugins/{plugin}/", "delete")
SCHEMAS = ("components", "schemas")
SETTING = (*SCHEMAS, "PluginSetting", "properties")
LIMIT = (*LIST, "parameters", 3)
JSON = ("content", "application/json", "schema")
MODEL = "#/components/schemas/PluginConfig"
NOTHING = object()
"""Put in a place, it takes away what is there."""

# Each kind of change: its place, the new value, and the line that reports it.
CHANGES = [
    (("paths", "/api/plugins/status/"), NOTHING, "paths /api/plugins/status/ is missing"),
    (DELETE, NOTHING, "paths /api/plugins/{plugin}/ delete is missing"),
    (
        (*LIST[:2], "put"),
        {"operationId": "x", "responses": {}},
        "paths /api/plugins/ put is not known",
    ),
    (
        (*LIST, "operationId"),
        "plugins",
        "paths /api/plugins/ get operationId: plugins_list != plugins",
    ),
    (LIMIT, NOTHING, "paths /api/plugins/ get parameters limit is missing"),
    (
        (*LIMIT, "in"),
        "header",
        "paths /api/plugins/ get parameters limit in: query != header",
    ),
    (
        (*LIMIT, "required"),
        True,
        "paths /api/plugins/ get parameters limit required: False != True",
    ),
    (
        (*LIMIT, "schema", "type"),
        "string",
        "paths /api/plugins/ get parameters limit schema type: integer != string",
    ),
    (
        (*LIMIT, "schema", "maximum"),
        5,
        "paths /api/plugins/ get parameters limit schema maximum is not known",
    ),
    (
        (*LIMIT, "allowReserved"),
        True,
        "paths /api/plugins/ get parameters limit allowReserved is not known",
    ),
    (
        (*INSTALL, "requestBody"),
        NOTHING,
        "paths /api/plugins/install/ post requestBody is missing",
    ),
    (
        (*INSTALL, "requestBody", "required"),
        False,
        "paths /api/plugins/install/ post requestBody required: True != False",
    ),
    (
        (*ACTIVATE, "requestBody", "content", "multipart/form-data"),
        NOTHING,
        "paths /api/plugins/{plugin}/activate/ put requestBody multipart/form-data is missing",
    ),
    (
        (*ACTIVATE, "requestBody", *JSON, "$ref"),
        MODEL,
        "paths /api/plugins/{plugin}/activate/ put requestBody application/json $ref: "
        "#/components/schemas/PluginActivate != #/components/schemas/PluginConfig",
    ),
    (
        (*ACTIVATE, "responses", "200", *JSON, "$ref"),
        MODEL,
        "paths /api/plugins/{plugin}/activate/ put responses 200 application/json $ref: "
        "#/components/schemas/PluginActivate != #/components/schemas/PluginConfig",
    ),
    (
        (*ACTIVATE, "responses", "200", "content"),
        NOTHING,
        "paths /api/plugins/{plugin}/activate/ put responses 200 application/json is missing",
    ),
    (
        (*SETTINGS, "responses", "200", *JSON, "type"),
        "object",
        "paths /api/plugins/{plugin}/settings/ get responses 200 application/json type: "
        "array != object",
    ),
    (
        (*SETTINGS, "responses", "200", *JSON, "items", "$ref"),
        MODEL,
        "paths /api/plugins/{plugin}/settings/ get responses 200 application/json items $ref: "
        "#/components/schemas/PluginSetting != #/components/schemas/PluginConfig",
    ),
    (
        (*DELETE, "responses", "204"),
        NOTHING,
        "paths /api/plugins/{plugin}/ delete responses 204 is missing",
    ),
    (
        (*DELETE, "responses", "503"),
        {},
        "paths /api/plugins/{plugin}/ delete responses 503 is not known",
    ),
    ((*SCHEMAS, "Metadata"), NOTHING, "components schemas Metadata is missing"),
    ((*SCHEMAS, "Extra"), {"type": "object"}, "components schemas Extra is not known"),
    (
        (*SETTING, "typ"),
        NOTHING,
        "components schemas PluginSetting properties typ is missing",
    ),
    (
        (*SETTING, "title"),
        {"type": "string"},
        "components schemas PluginSetting properties title is not known",
    ),
    (
        (*SETTING, "pk", "type"),
        "string",
        "components schemas PluginSetting properties pk type: integer != string",
    ),
    (
        (*SETTING, "value", "nullable"),
        NOTHING,
        "components schemas PluginSetting properties value nullable is missing",
    ),
    (
        (*SETTING, "value", "nullable"),
        1,
        "components schemas PluginSetting properties value nullable: True != 1",
    ),
    (
        (*SETTING, "key", "readOnly"),
        False,
        "components schemas PluginSetting properties key readOnly: True != False",
    ),
    (
        (*SETTING, "choices", "items", "type"),
        "string",
        "components schemas PluginSetting properties choices items type is not known",
    ),
    (
        (*SETTING, "model_filters", "additionalProperties", "type"),
        "string",
        "components schemas PluginSetting properties model_filters additionalProperties type "
        "is not known",
    ),
    (
        (*SCHEMAS, "PluginConfig", "properties", "name", "maxLength"),
        256,
        "components schemas PluginConfig properties name maxLength: 255 != 256",
    ),
    (
        (*SCHEMAS, "PluginReload", "properties", "full_reload", "default"),
        True,
        "components schemas PluginReload properties full_reload default: False != True",
    ),
    (
        (*SCHEMAS, "PaginatedPluginConfigList", "properties", "next", "format"),
        NOTHING,
        "components schemas PaginatedPluginConfigList properties next format is missing",
    ),
    (
        (*SCHEMAS, "Metadata", "required"),
        [],
        "components schemas Metadata required: ['metadata'] != []",
    ),
]


def changed(place, value):
    """Return the known document with another value in one place."""
    document = copy.deepcopy(KNOWN)
    *way, last = place
    holder = document
    for item in way:
        holder = holder[item]
    if value is NOTHING:
        del holder[last]
    else:
        holder[last] = value
    return document


class TestTheComparison:
    @pytest.mark.parametrize(
        ("place", "value", "line"), CHANGES, ids=[change[-1] for change in CHANGES]
    )
    def test_a_difference_is_one_line(self, place, value, line):
        """The comparison reports each kind of difference, with its place, in one line."""
        assert differences(KNOWN, changed(place, value)) == [line]

    def test_several_differences_are_several_lines(self):
        """The first difference does not hide the others."""
        made = changed((*SETTING, "typ"), NOTHING)
        del made["paths"]["/api/plugins/"]

        assert differences(KNOWN, made) == [
            "components schemas PluginSetting properties typ is missing",
            "paths /api/plugins/ is missing",
        ]

    @pytest.mark.parametrize(
        ("place", "value"),
        [
            ((*LIST, "summary"), "Something"),
            ((*LIMIT, "description"), "Something"),
            ((*SETTING, "pk", "description"), "Something"),
            ((*SCHEMAS, "Metadata", "title"), "Something"),
            *(((*LIST, "responses", status), {"description": "No"}) for status in sorted(REFUSALS)),
        ],
    )
    def test_prose_and_refusals_are_no_difference(self, place, value):
        """Descriptions, and the answers that refuse, may be in one document alone."""
        assert differences(KNOWN, changed(place, value)) == []


def operations(document):
    """Yield each row with its part of the document."""
    for row in PluginAPI.operations:
        yield row, document["paths"][row.path][row.method.lower()]


class TestDocument:
    def test_it_is_valid(self):
        """The document is OpenAPI 3.0: every key where it may be, every reference with a target."""
        OpenAPIV30SpecValidator(
            PluginAPI.openapi(prefix="/shop", server="http://x.test")
        ).validate()

    def test_it_says_what_it_is(self):
        """Version of OpenAPI, name, and a version as text are there; nothing else is claimed."""
        document = PluginAPI.openapi()

        assert document["openapi"] == "3.0.3"
        assert document["info"]["title"] == "plugreg"
        assert isinstance(document["info"]["version"], str)
        assert document["info"]["version"]
        assert "servers" not in document

    def test_objects_give_the_same(self):
        """A class has the document without a registry, and its objects have it too."""
        registry = plugreg.PluginRegistry("shop")

        assert PluginAPI(registry).openapi() == PluginAPI.openapi()

    def test_prefix_and_server(self):
        """A host that serves the operations elsewhere says so, and nothing else changes."""
        plain, moved = (
            PluginAPI.openapi(),
            PluginAPI.openapi(prefix="/shop", server="http://x.test"),
        )

        assert moved["servers"] == [{"url": "http://x.test"}]
        assert moved["paths"] == {f"/shop{path}": item for path, item in plain["paths"].items()}
        assert moved["components"] == plain["components"]

    def test_it_belongs_to_the_caller(self):
        """A host may change its document; the next one is as the first was."""
        first = PluginAPI.openapi()
        before = json.dumps(first)
        first["components"]["securitySchemes"].clear()
        first["components"]["schemas"]["Metadata"]["properties"].clear()
        for _, operation in operations(first):
            operation["security"].clear()
            operation["responses"].clear()

        assert json.dumps(PluginAPI.openapi()) == before

    def test_it_is_the_same_in_every_process(self):
        """The text depends on the table alone, not on the order of sets in this process."""
        code = (
            "import json; from plugreg.api import PluginAPI; print(json.dumps(PluginAPI.openapi()))"
        )
        texts = {
            subprocess.run(
                [sys.executable, "-c", code],
                env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
                capture_output=True,
                check=True,
                text=True,
            ).stdout
            for seed in ("1", "2", "3")
        }

        assert texts == {json.dumps(PluginAPI.openapi()) + "\n"}

    def test_names_are_not_repeated_as_titles(self):
        """A client's generator names things by their names, and by nothing beside them."""
        for schema in PluginAPI.openapi()["components"]["schemas"].values():
            assert "title" not in schema
            assert not [item for item in schema["properties"].values() if "title" in item]

    def test_everything_is_described_for_people(self):
        """Operations, parameters of the query and schemas have a description of one line."""
        document = PluginAPI.openapi()
        said = [schema["description"] for schema in document["components"]["schemas"].values()]
        said += [
            response["description"] for response in document["components"]["responses"].values()
        ]
        for row, operation in operations(document):
            assert operation["summary"] == row.summary
            assert operation["tags"] == ["plugins"]
            said.append(operation["summary"])
            said += [
                parameter["description"]
                for parameter in operation.get("parameters", ())
                if parameter["in"] == "query"
            ]

        assert all(said)
        assert not [item for item in said if "\n" in item or "section" in item]


class TestSecurity:
    def test_each_operation_says_who_may(self):
        """The scope that an OAuth2 caller needs is in the document; own settings need none."""
        scope_of = {
            "plugins_list": ["g:read"],
            "plugins_settings_list_all": ["a:staff"],
            "plugins_metadata_update": ["a:staff"],
            "plugins_install_create": ["a:superuser"],
            "plugins_user_settings_update": [],
        }
        found = {
            item["operationId"]: item["security"] for _, item in operations(PluginAPI.openapi())
        }

        for operation, scopes in scope_of.items():
            assert found[operation] == [
                {"tokenAuth": []},
                {"basicAuth": []},
                {"cookieAuth": []},
                {"oauth2": scopes},
            ]

    def test_no_operation_is_open(self):
        """An operation without security would be read as one for everybody."""
        assert all(operation["security"] for _, operation in operations(PluginAPI.openapi()))

    def test_scopes_and_schemes_are_declared(self):
        """The requirements of operations are explained where schemes are."""
        document = PluginAPI.openapi()
        schemes = document["components"]["securitySchemes"]

        for _, operation in operations(document):
            assert {name for one in operation["security"] for name in one} == set(schemes)
            asked = {scope for one in operation["security"] for scope in one.get("oauth2", ())}
            assert all(asked <= set(flow["scopes"]) for flow in schemes["oauth2"]["flows"].values())


class TestRefusals:
    def test_which_operations_give_which(self):
        """Each refusal is listed where it can happen: 400, 404 by the request, 409 by waiting."""
        has = {
            row.id: REFUSALS & set(operation["responses"])
            for row, operation in operations(PluginAPI.openapi())
        }
        always = {"401", "403"}

        assert all(always <= codes for codes in has.values())
        assert has["plugins_status_retrieve"] == always
        assert has["plugins_list"] == {"400", *always}
        assert has["plugins_retrieve"] == {"400", "404", *always}
        assert {name for name, codes in has.items() if "409" in codes} == {
            "plugins_install_create",
            "plugins_reload_create",
            "plugins_destroy",
            "plugins_activate_update",
            "plugins_activate_partial_update",
            "plugins_uninstall_update",
            "plugins_uninstall_partial_update",
        }
        assert {name for name, codes in has.items() if "404" not in codes} == {
            "plugins_list",
            "plugins_install_create",
            "plugins_reload_create",
            "plugins_settings_list_all",
            "plugins_status_retrieve",
        }

    def test_each_has_the_body_that_is_answered(self):
        """One text under ``detail``; a wrong request has sentences by field, or a detail too."""
        detail = {
            "type": "object",
            "properties": {"detail": {"type": "string"}},
            "required": ["detail"],
        }
        by_field = {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
        }
        document = PluginAPI.openapi()
        for _, operation in operations(document):
            for status in REFUSALS & set(operation["responses"]):
                place = operation["responses"][status]["$ref"].removeprefix("#/").split("/")
                found = document
                for item in place:
                    found = found[item]
                schema = found["content"]["application/json"]["schema"]
                assert schema == ({"anyOf": [by_field, detail]} if status == "400" else detail)
