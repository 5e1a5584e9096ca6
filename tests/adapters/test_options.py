"""OPTIONS: the methods that an actor may use at a path."""

from __future__ import annotations

import pytest

from plugreg.api import Actor, Operation, PluginAPI
from plugreg.api.access import STAFF

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
    def test_names_the_methods_that_the_actor_may_use(self, client, actor):
        """They are those that are not refused."""
        for path in PATHS:
            answer = client("OPTIONS", path.format(**NAMES), actor)
            rows = [row for row in PluginAPI.operations if row.path == path]
            usable = {row.method for row in rows if row.access.allows(actor)}

            assert answer.status == 204, path
            also = {"OPTIONS"} | ({"HEAD"} if "GET" in usable else set())
            assert set(answer.headers["allow"].split(", ")) == usable | also

    def test_an_actor_who_may_is_not_refused_what_is_named(self, client):
        """A service has no settings of its own, and learns of no way to change them."""
        path = "/api/plugins/tea/user-settings/CUPS/"
        answer = client("OPTIONS", path, ACTORS["service"])

        assert answer.headers["allow"] == "OPTIONS"
        assert client("PUT", path, ACTORS["service"], json={"value": 1}).status == 403
        assert "PUT" in client("OPTIONS", path, ACTORS["user"]).headers["allow"]

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

        assert client("OPTIONS", "/shop/api/plugins/install/", SUPERUSER).status == 204

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
                status=202,
            )

        assert make_client(OwnAPI(registry))("OPTIONS", "/api/plugins/", SUPERUSER).status == 202
