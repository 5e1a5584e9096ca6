"""OPTIONS: what a client asks before it builds a form, as Django REST framework answers it."""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import Field

from plugreg.api import Actor, Operation, PluginAPI
from plugreg.api.access import STAFF
from plugreg.api.models import Model

ACTORS = {
    "user": Actor(3),
    "service": Actor(None),
    "staff": Actor(2, is_staff=True),
    "superuser": Actor(1, is_staff=True, is_superuser=True),
    "a token to read": Actor(1, is_staff=True, is_superuser=True, scopes=frozenset({"g:read"})),
}
SUPERUSER = ACTORS["superuser"]
PATHS = sorted({row.path for row in PluginAPI.operations})
NAMES = {"plugin": "tea", "key": "CUPS", "feature": "panel"}


class TestEveryPath:
    @pytest.mark.parametrize("actor", ACTORS.values(), ids=ACTORS)
    def test_actions_are_the_changes_that_the_actor_may_make(self, client, actor):
        """The methods named are those that are not refused; PATCH has the fields of PUT."""
        for path in PATHS:
            answer = client("OPTIONS", path.format(**NAMES), actor)
            rows = [row for row in PluginAPI.operations if row.path == path]
            usable = {row.method for row in rows if row.access.allows(actor)}

            assert answer.status == 200, path
            assert set(answer.body) - {"actions"} == {"name", "description", "renders", "parses"}
            assert set(answer.body.get("actions", ())) == usable - {"GET", "PATCH"}, path
            assert answer.body.get("actions") != {}
            also = {"OPTIONS"} | ({"HEAD"} if "GET" in usable else set())
            assert set(answer.headers["allow"].split(", ")) == usable | also
            for row in rows:
                assert (row.summary in answer.body["description"]) is (
                    row.summary in {item.summary for item in rows if item.access.allows(actor)}
                )

    def test_an_actor_who_may_is_not_refused_what_is_named(self, client):
        """A service has no settings of its own, and learns of no way to change them."""
        path = "/api/plugins/tea/user-settings/CUPS/"
        answer = client("OPTIONS", path, ACTORS["service"])

        assert "actions" not in answer.body
        assert client("PUT", path, ACTORS["service"], json={"value": 1}).status == 403
        assert "PUT" in client("OPTIONS", path, ACTORS["user"]).body["actions"]

    def test_nobody_is_refused_as_elsewhere(self, client):
        """Without an actor there is no answer, and without a path neither."""
        for path in PATHS:
            answer = client("OPTIONS", path.format(**NAMES))

            assert answer.status == 401
            assert answer.body == {"detail": "Authentication credentials were not provided."}
        no_scopes = Actor(1, is_superuser=True, scopes=frozenset())
        assert client("OPTIONS", "/api/plugins/", no_scopes).status == 403
        assert client("OPTIONS", "/api/plugins/nothing/at/all/", SUPERUSER).status == 404

    def test_behind_a_prefix(self, make_client, api):
        """As every other method."""
        client = make_client(api, prefix="/shop")

        assert client("OPTIONS", "/shop/api/plugins/install/", SUPERUSER).status == 200


class TestFields:
    """The shapes are those of SimpleMetadata in Django REST framework 3.16."""

    def ask(self, client, path, method="PUT"):
        return client("OPTIONS", path, SUPERUSER).body["actions"][method]

    def test_what_is_around_the_fields(self, client):
        """Name and description in words, and media types in and out."""
        body = client("OPTIONS", "/api/plugins/tea/user-settings/CUPS/", SUPERUSER).body

        assert body["name"] == "Plugins User Settings"
        assert body["renders"] == ["application/json"]
        assert body["parses"] == [
            "application/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
        ]

    def test_a_setting(self, client):
        """Fields that cannot be written are read only, and never required."""
        fields = self.ask(client, "/api/plugins/tea/settings/CUPS/")

        assert fields["value"] == {
            "type": "string",
            "required": True,
            "read_only": False,
            "label": "Value",
        }
        assert fields["pk"] == {
            "type": "integer",
            "required": False,
            "read_only": True,
            "label": "Pk",
        }
        assert fields["choices"] == {
            "type": "list",
            "required": False,
            "read_only": True,
            "label": "Choices",
            "child": {"type": "field", "required": True, "read_only": False},
        }
        assert fields["model_filters"]["type"] == "nested object"
        assert [name for name in fields if not fields[name]["read_only"]] == ["value"]

    def test_a_switch_and_an_installation(self, client):
        """What has a default is not required; a description is the help."""
        assert self.ask(client, "/api/plugins/tea/activate/")["active"] == {
            "type": "boolean",
            "required": False,
            "read_only": False,
            "label": "Active",
            "help_text": "Whether the plugin is wanted active",
        }
        install = self.ask(client, "/api/plugins/install/", "POST")
        assert {name: field["required"] for name, field in install.items()} == {
            "packagename": False,
            "url": False,
            "version": False,
            "confirm": True,
        }

    def test_a_change_without_fields(self, client):
        """Deleting takes none."""
        assert self.ask(client, "/api/plugins/tea/", "DELETE") == {}

    def test_a_body_of_the_hosts(self, make_client, registry):
        """Limits, choices, lists and objects in objects, of any model that a row has."""

        class Size(Enum):
            SMALL = 1
            LARGE = 2

        class Box(Model):
            height: float = Field(ge=0, le=2.5)

        class Parcel(Model):
            color: Literal["red", "green"] = "red"
            size: Size
            only: Literal["x"]
            seen: Literal["a", "b"] = Field(json_schema_extra={"readOnly": True})
            first_name: str = Field(min_length=2, max_length=9)
            boxes: list[Box] = Field(min_length=1, max_length=3)
            box: Box
            either: int | str
            count: int | None = Field(ge=1)
            counts: dict[str, int]
            anything: Any

        class ParcelAPI(PluginAPI):
            parcels_create = Operation(
                method="POST",
                path="/api/plugins/parcels/",
                access=STAFF,
                summary="Send a parcel",
                handler=lambda call: None,
                answer=None,
                body=Parcel,
            )

        fields = self.ask(make_client(ParcelAPI(registry)), "/api/plugins/parcels/", "POST")

        def expected(kind, label, *, required=True, read_only=False, **more):
            found = {"type": kind, "required": required, "read_only": read_only, **more}
            return {**found, "label": label} if label else found

        height = {"height": expected("float", "Height", min_value=0, max_value=2.5)}

        def choices(*values):
            return [{"value": value, "display_name": str(value)} for value in values]

        assert fields == {
            "color": expected("choice", "Color", required=False, choices=choices("red", "green")),
            "size": expected("choice", "Size", choices=choices(1, 2)),
            "only": expected("choice", "Only", choices=choices("x")),
            "seen": expected("choice", "Seen", required=False, read_only=True),
            "first_name": expected("string", "First name", min_length=2, max_length=9),
            "boxes": expected(
                "list",
                "Boxes",
                min_length=1,
                max_length=3,
                child=expected("nested object", "", children=height),
            ),
            "box": expected("nested object", "Box", children=height),
            "either": expected("field", "Either"),
            "count": expected("integer", "Count", min_value=1),
            "counts": expected("nested object", "Counts", child=expected("integer", "")),
            "anything": expected("field", "Anything"),
        }

    def test_a_row_of_the_hosts_for_options_wins(self, make_client, registry):
        """A host may answer OPTIONS itself."""

        class OwnAPI(PluginAPI):
            plugins_options = Operation(
                method="OPTIONS",
                path="/api/plugins/",
                access=STAFF,
                summary="Answer it here",
                handler=lambda call: None,
                answer=None,
                status=204,
            )

        assert make_client(OwnAPI(registry))("OPTIONS", "/api/plugins/", SUPERUSER).status == 204
