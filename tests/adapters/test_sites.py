"""Requests that pages of other sites can make a browser send, and resources they may load."""

from __future__ import annotations

import sys

import pytest

from plugreg import PluginRegistry
from plugreg.api import Actor, PluginAPI

SUPERUSER = Actor(1, is_staff=True, is_superuser=True)
CUPS = "/api/plugins/tea/settings/CUPS/"
OTHER = "https://other.example"
FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "something-new"},
    {"Sec-Fetch-Site": "cross-site", "Origin": OTHER},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
    {"Origin": OTHER},
    {"Origin": "http://testserver.other.example"},
    {"Origin": "http://testserver:8000"},
    {"Origin": "http://x@testserver"},
    {"Origin": "testserver"},
    {"Origin": "null"},
    {"Host": "shop.example:8000", "Origin": "http://shop.example"},
    {"Host": "shop.example:443", "Origin": "http://shop.example"},
    {"Host": "[::1]:8000", "Origin": "http://[::1]"},
]
OWN = [
    {},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://shop.example"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "http://testserver"},
    {"Origin": "https://testserver"},
    {"Origin": "http://TestServer"},
    {"Host": "shop.example:80", "Origin": "http://shop.example"},
    {"Host": "shop.example:443", "Origin": "https://shop.example"},
    {"Host": "[::1]:8000", "Origin": "http://[::1]:8000"},
]


@pytest.mark.parametrize(
    "path", ["/api/plugins/", "/api/plugins/tea/activate/", "/static/plugins/tea/panel.js"]
)
def test_a_preflight_is_left_to_the_host(make_client, api, path):
    """A browser sends no credentials with it, and takes a refusal for the host's.

    Nobody is identified. Without headers of the host no page of another site is let in.
    """
    identified = []
    client = make_client(api, identify=identified.append)
    headers = {"Origin": OTHER, "Access-Control-Request-Method": "PUT"}
    answer = client("OPTIONS", path, headers=headers)

    assert (answer.status, answer.body) == (204, None)
    assert [name for name in answer.headers if name.startswith("access-control-")] == []
    assert identified == []
    assert client("PUT", path, headers=headers).status in (401, 405)


class TestChanges:
    """A change that a page of another site makes a browser send is refused."""

    @pytest.mark.parametrize("headers", FOREIGN, ids=str)
    def test_a_foreign_page_changes_nothing(self, client, registry, headers):
        """Whatever the form of the body; the answer names the origin."""
        for body in ({"form": {"value": 5}}, {"json": {"value": 5}}, {"multipart": {"value": "5"}}):
            answer = client("PATCH", CUPS, SUPERUSER, headers=headers, **body)

            assert answer.status == 403
            assert headers.get("Origin", "another site") in answer.body["detail"]
        assert registry.settings("tea")["CUPS"] == 1

    @pytest.mark.parametrize(
        ("method", "path"),
        [(row.method, row.path) for row in PluginAPI.operations if row.method != "GET"],
    )
    def test_every_change_is_guarded(self, client, registry, method, path):
        """Each row of the table that is no question."""
        named = path.format(plugin="tea", key="CUPS")
        answer = client(method, named, SUPERUSER, form={"active": "off"}, headers=FOREIGN[0])

        assert answer.status == 403
        assert registry.get("tea").active

    @pytest.mark.parametrize("headers", OWN, ids=str)
    def test_own_pages_and_other_clients_go_on(self, client, registry, headers):
        """Behind a proxy the Host may differ, and a program sends none of these headers."""
        answer = client("PATCH", CUPS, SUPERUSER, form={"value": 5}, headers=headers)

        assert (answer.status, registry.settings("tea")["CUPS"]) == (200, 5)

    @pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
    def test_questions_change_nothing_and_are_answered(self, client, method):
        """Browsers keep the answers from foreign pages themselves."""
        assert client(method, CUPS, SUPERUSER, headers=FOREIGN[3]).status == 200

    def test_the_actor_comes_first(self, client):
        """Nobody stays nobody."""
        assert client("PATCH", CUPS, headers=FOREIGN[0]).status == 401

    @pytest.mark.parametrize("trusted", [[OTHER], {OTHER, "http://b.example:8000"}, "*", ("*",)])
    def test_a_host_may_trust_others(self, make_client, registry, trusted):
        """Origins by name, or all of them."""
        client = make_client(PluginAPI(registry, trusted_origins=trusted))
        headers = {"Sec-Fetch-Site": "cross-site", "Origin": OTHER}

        assert client("PATCH", CUPS, SUPERUSER, json={"value": 5}, headers=headers).status == 200
        headers["Origin"] = "https://else.example"
        status = 200 if "*" in trusted else 403
        assert client("PATCH", CUPS, SUPERUSER, json={"value": 6}, headers=headers).status == status

    @pytest.mark.parametrize(
        "wrong",
        ["shop.example", "https://shop.example/", "https://Shop.example", "null", "", "x y"],
    )
    def test_an_origin_that_no_browser_sends_is_refused(self, registry, wrong):
        """It would never match, and its writer would wonder."""
        with pytest.raises(ValueError, match=r"trusted_origins: .* is not an origin; write scheme"):
            PluginAPI(registry, trusted_origins=[wrong])


class TestHosts:
    """A client may send any Host, and learns that it is none where it matters."""

    @pytest.mark.parametrize("host", ["[", "[::1", "[x]", "x]", "a b", "x/y", "x@y", ":"])
    def test_what_is_no_host_fails_nothing(self, make_client, registry, host, caplog):
        """Django answers 400 to some of them; nothing is logged as a fault of the server."""
        client = make_client(PluginAPI(registry))
        headers = {"Host": host}
        for method, body in (("GET", {}), ("PATCH", {"json": {"value": 5}})):
            answer = client(method, CUPS, SUPERUSER, headers=headers, **body)
            assert answer.status in (200, 400)
        headers["Origin"] = "null"
        answer = client("PATCH", CUPS, SUPERUSER, json={"value": 6}, headers=headers)
        assert answer.status in (400, 403)
        assert registry.settings("tea")["CUPS"] != 6
        assert "failed with" not in caplog.text

    def test_a_host_with_an_underscore(self, make_client, registry):
        """Containers have such names; Django alone takes them for no host."""
        client = make_client(PluginAPI(registry))
        headers = {"Host": "my_shop:8000", "Origin": "http://my_shop:8000"}
        answer = client("PATCH", CUPS, SUPERUSER, json={"value": 5}, headers=headers)

        if answer.status == 400:
            # Django refuses the host itself, before the plugin API is asked.
            assert b"Bad Request (400)" in answer.body
            assert registry.settings("tea")["CUPS"] != 5
            return
        assert answer.status == 200
        headers["Origin"] = "null"
        assert client("PATCH", CUPS, SUPERUSER, json={"value": 6}, headers=headers).status == 403


class TestPublicAssets:
    """``public_assets`` serves plugins' files to everybody, and nothing else."""

    SCRIPT = "/static/plugins/panel/panel.js"

    @pytest.fixture
    def registry(self, site, monkeypatch):
        modules = {
            "public_panel/__init__.py": "from plugreg import Plugin\nclass Panel(Plugin): ...\n",
            "public_panel/static/panel.js": "export {}",
        }
        entry = {"shop.plugins": {"panel": "public_panel:Panel"}}
        site.dist("public-panel", entry_points=entry, modules=modules)
        monkeypatch.syspath_prepend(str(site))
        with PluginRegistry("shop", new_plugins="active") as registry:
            registry.load()
            yield registry
        sys.modules.pop("public_panel", None)

    @pytest.fixture
    def client(self, make_client, registry):
        return make_client(PluginAPI(registry, public_assets=True))

    def test_a_script_is_served_to_nobody(self, client):
        """As ``import()`` asks for it, also from a page of another site."""
        for actor in (None, Actor(2)):
            answer = client("GET", self.SCRIPT, actor, headers={"Sec-Fetch-Site": "cross-site"})
            tag = answer.headers["etag"]

            assert (answer.status, answer.body) == (200, b"export {}")
            assert answer.headers["cache-control"] == "no-cache"
            assert client("GET", self.SCRIPT, actor, headers={"If-None-Match": tag}).status == 304

    def test_nothing_else_is(self, client, registry):
        """Operations ask who it is, and only files of active plugins are there."""
        for row in PluginAPI.operations:
            path = row.path.format(plugin="panel", key="X", feature="panel")
            assert client(row.method, path).status == 401
        assert client("GET", "/static/plugins/panel/../__init__.py").status == 404
        assert client("POST", self.SCRIPT).status == 405
        registry.deactivate("panel")
        assert client("GET", self.SCRIPT).status == 404

    def test_it_is_off_by_default(self, make_client, registry):
        """A host that says nothing serves files to those who may read."""
        assert make_client(registry)("GET", self.SCRIPT).status == 401

    def test_nobody_is_asked_for(self, request, registry):
        """A function of the host's that refuses strangers does not see these requests."""
        ways = request.config.pluginmanager.get_plugin(
            str(request.path.parent / "conftest.py")
        ).ADAPTERS

        def identify(asked):
            raise ValueError("who is this?")

        for name, way in ways.items():
            client = way(PluginAPI(registry, public_assets=True), identify=identify)

            assert client("GET", self.SCRIPT).status == 200, name
            assert client("GET", "/api/plugins/").status == 500, name

    def test_dependencies_of_fastapi_do_not_run(self, request, registry):
        """They ask who it is, as a rule; elsewhere they run as ever."""
        from fastapi import Depends, FastAPI, HTTPException

        from plugreg.adapters.fastapi import create_router

        def closed():
            raise HTTPException(418)

        ways = request.config.pluginmanager.get_plugin(str(request.path.parent / "conftest.py"))
        for is_public, status in ((True, 200), (False, 418)):
            app = FastAPI()
            api = PluginAPI(registry, public_assets=is_public)
            app.include_router(create_router(api, dependencies=[Depends(closed)]))
            client = ways.over_asgi(app)

            assert client("GET", self.SCRIPT).status == status
            assert client("GET", "/api/plugins/").status == 418
            assert client("GET", "/api/plugins/none").status == 418
