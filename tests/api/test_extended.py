"""The extended API: more fields and operations, by the same rules, and not there by default."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from openapi_spec_validator import OpenAPIV30SpecValidator

from plugreg import Plugin, PluginRegistry
from plugreg.api import Actor, APIError, ExtendedPluginAPI, PluginAPI
from plugreg.api.access import SUPERUSER as FOR_SUPERUSERS
from plugreg.api.http import Request, Responder, as_api
from plugreg.mixins import SettingsMixin
from plugreg.storage import TinyDBStorage

SUPERUSER = Actor(1, is_staff=True, is_superuser=True)
READER = Actor(2)
FINE = "from plugreg import Plugin\nclass Plug(Plugin):\n    pass\n"


class Tea(SettingsMixin, Plugin):
    NAME = "tea"
    SETTINGS = {
        "TOKEN": {"protected": True, "default": "open sesame"},
        "CUPS": {"default": 2, "validator": int, "name": "Cups"},
        "LID": {"default": "blue", "hidden": True},
    }


class Broken(Plugin):
    def __init__(self):
        raise ValueError("a secret of the server")


@pytest.fixture
def registry(site, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(site.folder)
    for slug, metadata in {"sugar": "", "cake": "Requires-Dist: shop-sugar\n"}.items():
        site.dist(
            f"shop-{slug}",
            entry_points={"shop.plugins": {slug: f"extended_{slug}:Plug"}},
            metadata=metadata,
            modules={f"extended_{slug}.py": FINE},
        )
    storage = TinyDBStorage(tmp_path / "plugins.json")
    overrides = {"tea": {"LID": "red"}}
    with PluginRegistry(
        "shop", storage=storage, builtin=[Tea, Broken], overrides=overrides, process="web"
    ) as registry:
        registry.load()
        registry.switch({"tea": True, "broken": True, "cake": True})
        yield registry
    for slug in ("sugar", "cake"):
        sys.modules.pop(f"extended_{slug}", None)


@pytest.fixture
def api(registry):
    return PluginAPI(registry, extended=True)


def test_without_it_nothing_differs(registry):
    """Document, fields and paths are those that clients know."""
    assert PluginAPI(registry).openapi() == PluginAPI.openapi()
    assert "state" not in PluginAPI(registry).plugins_retrieve(READER, plugin="tea").to_json()
    own = PluginAPI(registry).plugins_settings_list(READER, plugin="tea")
    assert not {"protected", "schema"} & own[0].to_json().keys()
    answer = Responder(registry).respond(
        Request(method="GET", path="/api/plugins/repairs/"), SUPERUSER
    )
    assert answer.status == 404


def test_the_document_is_valid_and_has_the_operations(api):
    """It is OpenAPI 3.0, with everything that the plain one has."""
    document = api.openapi()
    OpenAPIV30SpecValidator(document).validate()
    assert document == ExtendedPluginAPI.openapi()
    plain = PluginAPI.openapi()["paths"]
    added = {path.removeprefix("/api/plugins/") for path in document["paths"].keys() - plain}
    assert plain.keys() <= document["paths"].keys()
    assert added == {
        *("repairs/", "processes/", "audit/", "plan/", "{plugin}/probe/", "{plugin}/reset/"),
        *("{plugin}/failures/", "{plugin}/settings/schema/"),
    }
    fields = document["components"]["schemas"]["ExtendedPluginSetting"]["properties"]
    assert {"protected", "hidden", "locked", "layer", "default", "schema"} <= fields.keys()


def test_a_plugin_has_its_state(api):
    """Its needs, its dependents, how many processes serve it, and how often it failed."""
    rows = {row.key: row.to_json() for row in api.plugins_list(SUPERUSER).results}
    tea = rows["tea"]
    assert (tea["state"], tea["wanted"], tea["circuit"]) == ("active", True, "closed")
    assert tea["processes"] == {"serving": 1, "live": 1}
    assert tea["isolated"] is False
    assert (rows["cake"]["requires"], rows["cake"]["state"]) == (["sugar"], "failed")
    assert rows["cake"]["version"] == "1.0"
    assert rows["sugar"]["required_by"] == ["cake"]
    broken = api.plugins_retrieve(SUPERUSER, plugin="broken").to_json()
    assert broken["failures"] == 1
    assert "a secret of the server" in broken["reason"]


def test_readers_see_no_message_of_a_fault(api):
    """As with the status, those are for superusers."""
    for row in api.plugins_list(READER).results:
        assert "a secret of the server" not in json.dumps(row.to_json())
    assert api.plugins_retrieve(READER, plugin="broken").reason == "failed"


@pytest.mark.parametrize("row", ExtendedPluginAPI.operations, ids=lambda row: row.id)
def test_access_is_that_of_the_like(api, row):
    """Operations on faults or changes are for superusers; fields change no rule."""
    plain = {operation.id: operation.access for operation in PluginAPI.operations}
    if row.id != "plugins_settings_schema_retrieve":
        assert row.access == plain.get(row.id, FOR_SUPERUSERS)
    with pytest.raises(APIError) as refused:
        getattr(api, row.id).run(None, {"plugin": "tea", "key": "CUPS", "feature": "x"}, dict)
    assert refused.value.status == 401


def test_settings_have_what_a_form_needs(api):
    """The default of a secret is in no byte of it."""
    rows = {row.key: row.to_json() for row in api.plugins_settings_list(READER, plugin="tea")}
    assert rows["CUPS"]["schema"]["type"] == "integer"
    assert (rows["CUPS"]["default"], rows["CUPS"]["layer"]) == ("2", "default")
    assert rows["TOKEN"]["protected"]
    assert rows["TOKEN"]["default"] is None
    assert rows["LID"]["hidden"]
    assert (rows["LID"]["locked"], rows["LID"]["layer"]) == (True, "override")
    changed = api.plugins_settings_partial_update(
        SUPERUSER, plugin="tea", key="CUPS", body={"value": "3"}
    )
    assert changed.to_json()["layer"] == "stored"
    schema = api.plugins_settings_schema_retrieve(READER, plugin="tea").to_json()
    assert schema["properties"].keys() == rows.keys()
    listed = [row.to_json() for row in api.plugins_settings_list_all(SUPERUSER).results]
    assert {row["key"] for row in listed if row["locked"]} == {"LID"}
    assert "open sesame" not in json.dumps([rows, schema, listed])


def test_repairs_processes_and_failures(api):
    """The same as in Python, as JSON."""
    repairs = {row.code: row.to_json() for row in api.plugins_repairs_list(SUPERUSER)}
    assert repairs["P009"]["slug"] == "cake"
    assert repairs["P009"]["actions"][0]["command"] == "plugreg activate sugar"
    (process,) = api.plugins_processes_list(SUPERUSER)
    assert (process.name, process.pid) == ("web", os.getpid())
    (failure,) = api.plugins_failures_list(SUPERUSER, plugin="broken")
    assert (failure.stage, failure.process) == ("init", "web")
    assert "Traceback" in failure.to_json()["traceback"]
    assert api.plugins_audit_list(SUPERUSER) == []
    with pytest.raises(APIError) as refused:
        api.plugins_plan_create(SUPERUSER, body={"packagename": "shop-tea"})
    assert refused.value.errors == {"non_field_errors": ["Plugin installation is disabled"]}


def test_probe_and_reset(api, registry):
    """Looking before, and trying again."""
    probe = api.plugins_probe_create(SUPERUSER, plugin="sugar")
    assert (probe.slug, probe.outcome) == ("sugar", "ok")
    assert api.plugins_reset_create(SUPERUSER, plugin="broken").state == "failed"
    with pytest.raises(APIError) as refused:
        api.plugins_probe_create(SUPERUSER, plugin="nobody")
    assert refused.value.status == 404


def test_over_http(api):
    """The fixed names win over a plugin's, and the schema over a setting's."""
    responder = Responder(api)
    paths = {
        "/api/plugins/repairs/": 200,
        "/api/plugins/tea/settings/schema/": 200,
        "/api/plugins/tea/failures/": 200,
        "/api/plugins/nobody/failures/": 404,
    }
    for path, status in paths.items():
        answer = responder.respond(Request(method="GET", path=path), SUPERUSER)
        assert answer.status == status, path
        json.loads(answer.body)


def test_a_host_with_its_own_operations_keeps_them(registry):
    """Its class counts more than the extension."""

    class Own(PluginAPI):
        plugins_repairs_list = None

    api = Own(registry, extended=True)
    assert isinstance(api, Own)
    ids = {row.id for row in api.operations}
    assert "plugins_processes_list" in ids
    assert "plugins_repairs_list" not in ids


def test_adapters_take_it_with_a_registry_alone(registry, api):
    """An option of a PluginAPI is not repeated."""
    assert as_api(registry, extended=True).extended
    assert as_api(api, extended=True) is api
    assert not as_api(registry).extended
    with pytest.raises(ValueError, match="option of the PluginAPI"):
        as_api(PluginAPI(registry), extended=True)


@pytest.mark.parametrize("name", ["starlette", "fastapi", "django", "flask"])
def test_all_adapters_pass_it_on(registry, name):
    """Each serves the operations under their ids."""
    code = {
        "starlette": "create_app",
        "fastapi": "create_router",
        "django": "urlpatterns",
        "flask": "create_blueprint",
    }[name]
    module = pytest.importorskip(f"plugreg.adapters.{name}")
    made = getattr(module, code)(registry, extended=True)
    if name == "fastapi":
        assert "plugins_repairs_list" in {route.name for route in made.routes}
    if name == "django":
        assert "plugins_repairs_list" in {pattern.name for pattern in made}


def test_what_is_imported_by_default_is_not_more_than_needed():
    """A host that serves the plain API waits for no part of the installer's."""
    code = "import sys, plugreg.api; print('plugreg.repairs.gathering' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
