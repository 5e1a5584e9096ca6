"""Duties of an adapter itself; other files are about the operations."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import plugreg
from plugreg import MissingExtraError, PluginRegistry
from plugreg.api import Actor, Operation, PluginAPI
from plugreg.api.access import READ
from plugreg.api.bodies import LONGEST

# The helpers stand in conftest.py, which is imported by its path and not by a name.
READER = Actor(2)
SUPERUSER = Actor(1, is_staff=True, is_superuser=True)
NOBODY = {"detail": "Authentication credentials were not provided."}
CUPS = "/api/plugins/tea/settings/CUPS/"
FRAMEWORKS = ["starlette", "fastapi", "django", "flask"]


@pytest.fixture
def ways(request):
    """Return the module of the helpers."""
    return request.config.pluginmanager.get_plugin(str(Path(__file__).parent / "conftest.py"))


class TestIdentity:
    """The host's function decides who asks; without a function nobody is known."""

    def test_without_a_function_everything_is_refused(self, make_client, api):
        """The door is closed until the host opens it, whatever a request carries."""
        client = make_client(api, identify=None)
        for row in PluginAPI.operations:
            path = row.path.format(plugin="tea", key="CUPS", feature="panel")
            answer = client(row.method, path, SUPERUSER)

            assert (answer.status, answer.body) == (401, NOBODY)
            assert answer.headers["www-authenticate"] == "Token"

    @pytest.mark.parametrize("found", [None, Actor.anonymous(), True, "1"], ids=repr)
    def test_what_is_no_actor_is_nobody(self, ways, api, found):
        """None is nobody, and so is an object that is no Actor."""
        for way in ways.ADAPTERS.values():
            client = way(api, identify=lambda request: found)

            assert client("GET", "/api/plugins/").status == 401

    def test_a_sync_and_an_async_function(self, ways, api):
        """Both are asked, and given the framework's own request."""

        async def identify(request):
            await asyncio.sleep(0)
            return ways.identify(request)

        for way in ways.ADAPTERS.values():
            for chosen in (identify, ways.identify):
                client = way(api, identify=chosen)

                assert client("GET", "/api/plugins/", READER).status == 200
                assert client("GET", "/api/plugins/status/", READER).status == 403
                assert client("GET", "/api/plugins/").status == 401

    def test_an_async_object_that_can_be_called(self, ways, api):
        """A coroutine is awaited wherever it comes from, and is never an open door."""

        class Identify:
            async def __call__(self, request):
                return ways.identify(request)

        for way in ways.ADAPTERS.values():
            client = way(api, identify=Identify())

            assert client("GET", "/api/plugins/", READER).status == 200
            assert client("GET", "/api/plugins/").status == 401

    def test_what_it_raises_opens_nothing(self, ways, api):
        """The framework answers it in its own way, as a fault of the host's."""

        def identify(request):
            raise ValueError("swordfish")

        for name, way in ways.ADAPTERS.items():
            answer = way(api, identify=identify)("GET", "/api/plugins/", SUPERUSER)

            assert answer.status == 500, name
            assert b"swordfish" not in (answer.body or b""), name

    def test_the_frameworks_own_refusals_stay_theirs(self, ways, api):
        """A function may refuse with an exception of its framework."""

        def teapot(name):
            if name in ("starlette", "fastapi"):
                from starlette.exceptions import HTTPException

                return HTTPException(403)
            if name == "django":
                from django.core.exceptions import PermissionDenied

                return PermissionDenied()
            from werkzeug.exceptions import Forbidden

            return Forbidden()

        for name, way in ways.ADAPTERS.items():

            def identify(request, name=name):
                raise teapot(name)

            assert way(api, identify=identify)("GET", "/api/plugins/").status == 403


class TestPaths:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/api/plugins"),
            ("GET", "/api/plugins/tea"),
            ("PATCH", "/api/plugins/tea/activate"),
            ("GET", "/api/plugins/tea/settings/CUPS/more"),
            ("GET", "/api/plugins//"),
            ("GET", "/api/plugins//tea/"),
            ("GET", "/api/plugins/tea/none/"),
            ("GET", "/api/plugins/a%2Fb/"),
            ("GET", "/api/plugins/%0A"),
            ("GET", "/api/plugins/tea/%0A"),
            ("HEAD", "/api/plugins/a%0Ab/none/"),
            ("GET", "/api/plugins/a%0Ab"),
            ("GET", "/static/plugins/tea"),
            ("GET", "/static/plugins/tea/"),
            ("GET", "/static/plugins/tea//"),
            ("GET", "/static/plugins/t%0Aea"),
            ("HEAD", "/static/plugins/tea%0A"),
            ("GET", "/static/plugins/tea/none.js"),
            ("GET", "/static/plugins/tea/%2E%2E/none.js"),
        ],
    )
    def test_an_unknown_path_is_answered_as_json(self, client, method, path):
        """No page and no redirect of the framework's shows, and no slash is added."""
        answer = client(method, path, SUPERUSER)

        assert (answer.status, answer.body) == (
            404,
            None if method == "HEAD" else {"detail": "Not found."},
        )
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"

    def test_names_with_odd_characters_are_names(self, client):
        """Blanks, newlines and other scripts in the place of a plugin are read alike."""
        for name in ("a b", "é", "a\nb", "%7Btea%7D", "..."):
            answer = client("GET", f"/api/plugins/{name}/", SUPERUSER)
            shown = name.replace("%7B", "{").replace("%7D", "}")

            assert answer.status == 404
            assert answer.body == {"detail": f"Plugin '{shown}' not found"}

    @pytest.mark.parametrize("method", ["POST", "TRACE", "QUERY", "FOO"])
    def test_another_method_is_refused_with_those_that_there_are(self, client, method):
        """405 has the header Allow, also for methods that no framework knows."""
        answer = client(method, "/api/plugins/tea/", SUPERUSER)

        assert (answer.status, answer.headers["allow"]) == (405, "DELETE, GET, HEAD, OPTIONS")
        assert answer.body == {"detail": f'Method "{method}" not allowed.'}

    def test_head_is_get_without_the_body(self, client):
        """With the length that GET has."""
        got = client("GET", "/api/plugins/", READER)
        head = client("HEAD", "/api/plugins/", READER)

        assert (head.status, head.body) == (200, None)
        assert head.headers["content-length"] == got.headers["content-length"]

    def test_behind_a_prefix(self, make_client, api):
        """All paths move, and pages are linked behind it."""
        client = make_client(api, prefix="/shop/x")
        answer = client("GET", "/shop/x/api/plugins/", READER, query={"limit": 1})

        assert answer.status == 200
        assert client("GET", "/shop/x/api/plugins/tea", READER).body == {"detail": "Not found."}
        assert client("GET", "/shop/x/static/plugins/tea/a.js", READER).status == 404

    def test_any_character_of_a_path_stays_one(self, ways, api):
        """Links and redirects include a prefix in the form of addresses."""
        for name, way in ways.ADAPTERS.items():
            client, prefix = way(api, prefix="50% ?a#b", admin=True), "/50%25%20%3Fa%23b"
            moved = client("GET", f"{prefix}/admin", SUPERUSER)
            page = client("GET", f"{prefix}/admin/", SUPERUSER)
            rows = client("GET", f"{prefix}/api/plugins/", READER, query={"limit": 1, "offset": 1})

            assert moved.headers["location"] == f"{prefix}/admin/", name
            assert f'href="{prefix}/admin/attention/"'.encode() in page.body, name
            assert f"testserver{prefix}/api/plugins/?" in rows.body["previous"], name

    def test_nothing_is_served_beside_the_prefix(self, ways, api):
        """The paths without it are the host's."""
        for way in ways.ADAPTERS.values():
            assert way(api, prefix="shop")("GET", "/api/plugins/", READER).status == 404


class TestBodies:
    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    @pytest.mark.parametrize("form", ["json", "form", "multipart"])
    def test_three_forms_of_a_change(self, client, registry, method, form):
        """Each stores the value, also where the framework reads forms for POST alone."""
        answer = client(method, CUPS, SUPERUSER, **{form: {"value": "12"}})

        assert (answer.status, answer.body["value"]) == (200, "12")
        assert registry.settings("tea")["CUPS"] == 12

    @pytest.mark.parametrize("form", ["json", "form", "multipart"])
    def test_three_forms_of_a_post(self, client, form):
        """And a POST has them too."""
        answer = client("POST", "/api/plugins/reload/", SUPERUSER, **{form: {"full_reload": "on"}})

        assert answer.status == 201
        assert answer.body["full_reload"] is True

    def test_a_file_and_another_media_type_are_refused(self, client):
        """400 names the field of a file, 415 the media type."""
        file = client("PUT", CUPS, SUPERUSER, multipart={"value": ("a.txt", b"1")})
        text = client("PUT", CUPS, SUPERUSER, content=b"1", headers={"Content-Type": "text/plain"})

        assert (file.status, list(file.body)) == (400, ["value"])
        assert text.status == 415

    @pytest.mark.parametrize("length", [LONGEST + 1, LONGEST * 2])
    def test_a_body_that_is_too_long(self, client, length):
        """One answer everywhere, whoever finds out: plugreg, or a limit of the framework's."""
        answer = client(
            "PUT",
            CUPS,
            SUPERUSER,
            content=b" " * length,
            headers={"Content-Type": "application/json"},
        )

        assert (answer.status, list(answer.body)) == (413, ["detail"])

    def test_queries_are_read_alike(self, client):
        """Escapes, UTF-8 that a client has sent unescaped, and broken escapes."""
        found = client("GET", "/api/plugins/", READER, query="search=x&search=t%65a&search=t")
        raw = client("GET", "/api/plugins/", READER, query="limit=1&offset=1&x=é")

        assert (found.status, found.body["count"]) == (200, 1)
        assert raw.body["previous"] == "http://testserver/api/plugins/?x=%C3%A9&limit=1"
        assert client("GET", "/api/plugins/", READER, query="search=%FF").status == 400
        assert client("GET", "/api/plugins/", READER, query="limit=%zz").status == 400


class TestAnswers:
    def test_links_are_addresses_as_the_client_sees_them(self, make_client, site, monkeypatch):
        """Host, prefix and all other parameters are in them, and following them works."""
        points = {"shop.plugins": dict.fromkeys("abc", "nothing")}
        site.dist("three", entry_points=points)
        monkeypatch.syspath_prepend(str(site))
        with PluginRegistry("shop") as registry:
            registry.load()
            client = make_client(registry, prefix="/shop")
            path = "/shop/api/plugins/"
            first = client("GET", path, READER, query="limit=2&active=false&x=a%20b")
            link = urlsplit(first.body["next"])
            second = client("GET", link.path, READER, query=link.query)

        assert first.body["next"] == (
            "http://testserver/shop/api/plugins/?active=false&x=a+b&limit=2&offset=2"
        )
        assert [row["key"] for row in second.body["results"]] == ["c"]
        assert second.body["previous"] == (
            "http://testserver/shop/api/plugins/?active=false&x=a+b&limit=2"
        )

    def test_no_content_has_no_type(self, client, registry):
        """204 carries neither body nor content type, though frameworks like to add one."""
        registry.deactivate("tea")
        answer = client("DELETE", "/api/plugins/tea/", SUPERUSER)

        assert (answer.status, answer.body) == (204, None)
        assert "content-type" not in answer.headers

    def test_an_unforeseen_fault_is_answered_without_words(self, make_client, registry, caplog):
        """500 as JSON; no page of the framework's, and no word of the exception anywhere."""

        def fail(call):
            raise OSError("the password is swordfish")

        class FailingAPI(PluginAPI):
            plugins_fail = Operation(
                method="GET",
                path="/api/plugins/fail/",
                access=READ,
                summary="Fail",
                handler=fail,
                answer=None,
            )
            operations = (plugins_fail, *PluginAPI.operations)

        client = make_client(FailingAPI(registry))
        with caplog.at_level(logging.DEBUG):
            answer = client("GET", "/api/plugins/fail/", READER)

        assert (answer.status, answer.body["error"]) == (500, "OSError")
        assert "swordfish" not in str(answer) + caplog.text

    def test_options_of_the_api_come_along(self, make_client, registry):
        """An adapter takes a PluginAPI, or a registry."""
        client = make_client(PluginAPI(registry, native_values=True, bare_list_without_limit=True))

        assert client("GET", CUPS, READER).body["value"] == 1
        assert [row["key"] for row in client("GET", "/api/plugins/", READER).body] == ["tea"]
        assert make_client(registry)("GET", CUPS, READER).body["value"] == "1"


class TestAssets:
    @pytest.fixture
    def registry(self, site, monkeypatch):
        modules = {
            "adapters_panel/__init__.py": (
                "from plugreg import Plugin\n"
                "from plugreg.mixins import UserInterfaceMixin\n"
                "class Panel(UserInterfaceMixin, Plugin):\n"
                "    ADMIN_SOURCE = 'js/panel.js'\n"
                "    def get_ui_panels(self, request, context, **_):\n"
                "        own = self.get_admin_source()\n"
                "        yield {'key': 'own', 'source': own}\n"
                "        yield {'key': 'far', 'source': '/x.js'}\n"
            ),
            "adapters_panel/static/js/panel.js": "export {}",
        }
        entry = {"shop.plugins": {"panel": "adapters_panel:Panel"}}
        site.dist("adapters-panel", entry_points=entry, modules=modules)
        monkeypatch.syspath_prepend(str(site))
        with PluginRegistry("shop", new_plugins="active") as registry:
            registry.load()
            yield registry
        del sys.modules["adapters_panel"]

    def test_a_file_is_served_once_and_known_by_its_tag(self, client):
        """With its type and tag; a client that has it is not sent it again."""
        path = "/static/plugins/panel/js/panel.js"
        answer = client("GET", path, READER)
        again = client("GET", path, READER, headers={"If-None-Match": answer.headers["etag"]})

        assert (answer.status, answer.body) == (200, b"export {}")
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert (again.status, again.body) == (304, None)
        assert again.headers["etag"] == answer.headers["etag"]

    @pytest.mark.parametrize("prefix", ["", "/shop/x"])
    def test_scripts_are_where_the_answers_say(self, make_client, api, prefix):
        """Addresses of files move with the paths; those of other places stay as they are."""
        client = make_client(api, prefix=prefix)
        source = client("GET", f"{prefix}/api/plugins/panel/admin/", SUPERUSER).body["source"]
        shown = client("GET", f"{prefix}/api/plugins/ui/features/panel/", READER).body

        assert source == f"{prefix}/static/plugins/panel/js/panel.js"
        assert client("GET", source, READER).body == b"export {}"
        assert [item["source"] for item in shown] == [source, "/x.js"]

    def test_nobody_gets_a_file(self, client):
        """Files are for those who may read, as lists are."""
        assert client("GET", "/static/plugins/panel/js/panel.js").status == 401

    @pytest.mark.parametrize(
        "path",
        ["js/../../__init__.py", "js/%2E%2E/%2E%2E/__init__.py", "js%5C..%5Cpanel.js", "js/"],
    )
    def test_nothing_leaves_the_folder(self, client, path):
        """However the way out is written."""
        assert client("GET", f"/static/plugins/panel/{path}", READER).status == 404


class TestStarlette:
    @pytest.mark.parametrize("host", ["starlette", "fastapi"])
    def test_mounted_in_another_application(self, ways, api, host):
        """Paths and links are behind the place where the host has mounted it."""
        from fastapi import FastAPI
        from starlette.applications import Starlette
        from starlette.routing import Mount

        from plugreg.adapters.starlette import create_app

        app = create_app(api, identify=ways.identify, prefix="x")
        if host == "fastapi":
            outer = FastAPI()
            outer.mount("/shop", app)
        else:
            outer = Starlette(routes=[Mount("/shop", app)])
        client = ways.over_asgi(outer)

        assert client("GET", "/shop/x/api/plugins/", READER).status == 200
        assert client("GET", "/shop/x/api/plugins", READER).body == {"detail": "Not found."}
        assert client("GET", "/shop/api/plugins/", READER).status == 404

    @pytest.mark.parametrize("adapter", ["starlette", "fastapi"])
    def test_a_body_without_an_end_is_not_read_to_it(self, ways, api, adapter):
        """Reading stops where the body has become too long, so that it does not fill the memory."""
        from fastapi import FastAPI

        from plugreg.adapters.fastapi import create_router
        from plugreg.adapters.starlette import create_app

        app = create_app(api, identify=lambda request: SUPERUSER)
        if adapter == "fastapi":
            app = FastAPI()
            app.include_router(create_router(api, identify=lambda request: SUPERUSER))
        given, answers = [], []

        async def receive():
            assert sum(given) <= LONGEST
            given.append(1_000_000)
            return {"type": "http.request", "body": b" " * given[-1], "more_body": True}

        async def send(message):
            answers.append(message)

        scope = {
            "type": "http",
            "method": "PUT",
            "path": CUPS,
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
            "server": ("testserver", 80),
        }
        asyncio.run(app(scope, receive, send))

        assert answers[0]["status"] == 413

    def test_work_leaves_the_event_loop_alone(self, ways, registry):
        """Operations and a sync function of the host's run in another thread than the loop's."""
        threads = []

        def identify(request):
            threads.append(threading.current_thread())
            return READER

        class WatchedAPI(PluginAPI):
            plugins_watch = Operation(
                method="GET",
                path="/api/plugins/",
                access=READ,
                summary="Watch",
                handler=lambda call: threads.append(threading.current_thread()),
                answer=None,
            )
            operations = (plugins_watch,)

        ways.through_starlette(WatchedAPI(registry), identify=identify)("GET", "/api/plugins/")

        assert len(threads) == 2
        assert threading.current_thread() not in threads


class TestFastAPI:
    def test_its_document_has_every_operation(self, api):
        """Ids, status codes, parameters, bodies and answers are those of the table."""
        from fastapi import FastAPI

        from plugreg.adapters.fastapi import create_router

        app = FastAPI()
        app.include_router(create_router(api, prefix="shop"))
        paths = app.openapi()["paths"]

        assert set(paths) == {f"/shop{row.path}" for row in PluginAPI.operations}
        for row in PluginAPI.operations:
            shown = paths[f"/shop{row.path}"][row.method.lower()]
            parameters = {
                (parameter["in"], parameter["name"]) for parameter in shown.get("parameters", ())
            }

            assert shown["operationId"] == row.id
            assert str(row.status) in shown["responses"]
            assert {"401", "403"} <= set(shown["responses"])
            assert "422" not in shown["responses"]
            assert parameters == {("path", name) for name in row.path_parameters} | {
                ("query", item.name) for item in row.query
            }
            assert ("requestBody" in shown) is (row.body is not None)
            if row.answer is not None:
                schema = shown["responses"][str(row.status)]["content"]["application/json"][
                    "schema"
                ]
                named = schema["items"] if row.many else schema
                assert named["$ref"].endswith(f"/{row.answer.__name__}")

    def test_dependencies_run_before_every_answer(self, ways, api):
        """Also before refusals and HEAD, which no route of an operation takes."""
        from fastapi import Depends, FastAPI, HTTPException

        from plugreg.adapters.fastapi import create_router

        def closed():
            raise HTTPException(418)

        app = FastAPI()
        app.include_router(
            create_router(api, identify=ways.identify, dependencies=[Depends(closed)])
        )
        client = ways.over_asgi(app)
        for method, path in (
            ("GET", "/api/plugins/"),
            ("HEAD", "/api/plugins/"),
            ("GET", "/api/plugins/tea"),
            ("FOO", "/api/plugins/"),
            ("GET", "/static/plugins/tea/x.js"),
        ):
            assert client(method, path, SUPERUSER).status == 418


class TestDjango:
    def test_operations_have_names(self, ways, api):
        """``reverse`` gives the path of each operation by its id, and of a file."""
        from types import ModuleType

        from django.urls import reverse

        from plugreg.adapters.django import urlpatterns

        urls = ModuleType("urls")
        urls.urlpatterns = urlpatterns(api, prefix="shop")
        ways.django_application([])
        for row in PluginAPI.operations:
            names = dict.fromkeys(row.path_parameters, "tea")

            assert reverse(row.id, urls, kwargs=names) == f"/shop{row.path.format(**names)}"
        assert reverse("plugins_asset", urls, kwargs={"plugin": "tea", "path": "a/b.js"}) == (
            "/shop/static/plugins/tea/a/b.js"
        )

    def test_under_asgi(self, ways, api):
        """The same patterns, with functions sync and async."""
        from plugreg.adapters.django import urlpatterns

        async def identify(request):
            return ways.identify(request)

        for chosen in (ways.identify, identify):
            patterns = urlpatterns(api, identify=chosen, csrf_exempt=True)
            client = ways.over_asgi(ways.django_application(patterns, asgi=True))

            raw = client("GET", "/api/plugins/", READER, query="limit=1&offset=1&x=é")
            assert raw.body["previous"] == "http://testserver/api/plugins/?x=%C3%A9&limit=1"
            assert client("PATCH", CUPS, SUPERUSER, form={"value": 3}).body["value"] == "3"
            assert client("GET", "/api/plugins/tea", READER).status == 404
            assert client("GET", "/api/plugins/").status == 401

    def test_its_csrf_protection_stays_in_force(self, ways, api):
        """A change without the token is refused by Django, unless the host has said otherwise."""
        client = ways.through_django(api, csrf_exempt=False)

        assert client("PATCH", CUPS, SUPERUSER, json={"value": 3}).status == 403
        assert client("GET", CUPS, READER).body["value"] == "1"

    @pytest.mark.parametrize("form", ["form", "multipart"])
    def test_a_form_that_its_csrf_protection_has_read(self, ways, api, form):
        """The token may be a field of the form, which Django then reads before the view."""
        client = ways.through_django(api, csrf_exempt=False)
        token = "a" * 32
        fields = {"csrfmiddlewaretoken": token, "full_reload": "on"}
        answer = client(
            "POST",
            "/api/plugins/reload/",
            SUPERUSER,
            headers={"Cookie": f"csrftoken={token}"},
            **{form: fields},
        )

        assert (answer.status, answer.body["full_reload"]) == (201, True)

    def test_a_file_in_a_form_that_its_csrf_protection_has_read(self, ways, api):
        """It is refused by the name of its field, as everywhere."""
        client = ways.through_django(api, csrf_exempt=False)
        token = "a" * 32
        answer = client(
            "POST",
            "/api/plugins/reload/",
            SUPERUSER,
            headers={"Cookie": f"csrftoken={token}"},
            multipart={"csrfmiddlewaretoken": token, "full_reload": ("a.txt", b"on")},
        )

        assert (answer.status, answer.body) == (400, {"full_reload": ["Must be text, not a file."]})

    def test_a_body_that_is_too_long_is_not_read(self, ways, api):
        """Also where the host has lifted Django's own limit."""
        from django.test import override_settings

        from plugreg.adapters.django import urlpatterns

        app = ways.django_application(
            urlpatterns(api, identify=lambda request: SUPERUSER, csrf_exempt=True)
        )
        with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=None):
            for length, status, read in ((LONGEST, 400, LONGEST), (LONGEST + 1, 413, 0)):
                body = CountedBody(length)

                assert put_cups(app, body, CONTENT_LENGTH=str(length)) == status
                assert body.read_so_far == read

    def test_included_below_another_path(self, ways, api):
        """``include`` moves the patterns, and their refusals with them."""
        from django.urls import include, path

        from plugreg.adapters.django import urlpatterns

        patterns = urlpatterns(api, identify=ways.identify)
        host = [path("shop/", include((patterns, "plugins")))]
        client = ways.over_wsgi(ways.django_application(host))

        assert client("GET", "/shop/api/plugins/tea/", READER).body["key"] == "tea"
        assert client("GET", "/shop/api/plugins/tea", READER).body == {"detail": "Not found."}


class TestFlask:
    def test_operations_have_endpoints(self, api):
        """``url_for`` gives the path of each operation by its id, and of a file."""
        from flask import Flask, url_for

        from plugreg.adapters.flask import create_blueprint

        app = Flask("host")
        app.register_blueprint(create_blueprint(api, prefix="shop", name="plugins"))
        with app.test_request_context():
            for row in PluginAPI.operations:
                names = dict.fromkeys(row.path_parameters, "tea")

                assert url_for(f"plugins.{row.id}", **names) == f"/shop{row.path.format(**names)}"
            assert url_for("plugins.plugins_asset", plugin="tea", path="a/b.js") == (
                "/shop/static/plugins/tea/a/b.js"
            )

    def test_beside_the_static_files_of_the_host(self, ways, api):
        """Flask's own folder is at /static, too; each keeps its files and its pages."""
        from flask import Flask

        from plugreg.adapters.flask import create_blueprint

        app = Flask("host")
        app.register_blueprint(create_blueprint(api, identify=ways.identify))
        client = ways.over_wsgi(app)

        assert client("GET", "/static/plugins/tea/x.js").body == NOBODY
        assert client("GET", "/static/x.js").headers["content-type"].startswith("text/html")
        assert client("POST", "/static/x.js").status == 405

    @pytest.mark.parametrize("form", ["form", "multipart"])
    def test_a_form_that_the_host_has_read(self, ways, api, form):
        """Protection against forged requests looks for its token before the view."""
        from flask import Flask, request

        from plugreg.adapters.flask import create_blueprint

        app = Flask("host")
        app.before_request(lambda: request.form.get("token") and None)
        app.register_blueprint(create_blueprint(api, identify=ways.identify))
        answer = ways.over_wsgi(app)("PATCH", CUPS, SUPERUSER, **{form: {"value": "4"}})

        assert (answer.status, answer.body["value"]) == (200, "4")

    @pytest.mark.parametrize("fields", [{}, {"value": "4"}])
    def test_a_file_in_a_form_that_the_host_has_read(self, ways, api, fields):
        """It is refused by the name of its field, as everywhere, and changes nothing."""
        from flask import Flask, request

        from plugreg.adapters.flask import create_blueprint

        app = Flask("host")
        app.before_request(lambda: request.form.get("token") and None)
        app.register_blueprint(create_blueprint(api, identify=ways.identify))
        client = ways.over_wsgi(app)
        answer = client("PATCH", CUPS, SUPERUSER, multipart={**fields, "file": ("a.txt", b"5")})

        assert (answer.status, answer.body) == (400, {"file": ["Must be text, not a file."]})
        assert client("GET", CUPS, READER).body["value"] == "1"

    def test_a_body_that_is_too_long_is_not_read(self, ways, api):
        """With a length it is not begun, and without one it is left where it is too long."""
        app = self.application(api)
        known, endless = CountedBody(LONGEST + 1), CountedBody(LONGEST * 10)

        assert put_cups(app, known, CONTENT_LENGTH=str(LONGEST + 1)) == 413
        assert known.read_so_far == 0
        assert put_cups(app, endless, **self.CHUNKED) == 413
        assert endless.read_so_far == LONGEST + 1

    def test_a_body_of_unknown_length(self, api, registry):
        """It is read to its end, also where the host has read it before."""
        from io import BytesIO

        from flask import request

        for number, read_before in ((2, False), (3, True)):
            app = self.application(api)
            if read_before:
                app.before_request(lambda: request.get_json() and None)
            body = BytesIO(b'{"value": %d}' % number)

            assert put_cups(app, body, **self.CHUNKED) == 200
            assert registry.settings("tea")["CUPS"] == number

    def test_a_lower_limit_of_the_hosts(self, ways, api):
        """Stays in force, and is answered as the limit of plugreg."""
        app = self.application(api)
        app.config["MAX_CONTENT_LENGTH"] = 100
        answer = ways.over_wsgi(app)("PUT", CUPS, json={"value": "1" * 100})

        assert (answer.status, answer.body) == (413, {"detail": "The body is too large."})

    CHUNKED = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}

    def application(self, api):
        """Return a host to which everybody is a superuser."""
        from flask import Flask

        from plugreg.adapters.flask import create_blueprint

        app = Flask("host")
        app.register_blueprint(create_blueprint(api, identify=lambda request: SUPERUSER))
        return app


class CountedBody:
    """A body of so many blanks, as a WSGI server gives it, that knows how much of it was read."""

    def __init__(self, length):
        self.left = length
        self.read_so_far = 0

    def read(self, size=-1):
        """Return the next bytes: all that there are, or so many."""
        size = self.left if size < 0 else min(size, self.left)
        self.left -= size
        self.read_so_far += size
        return b" " * size

    def readline(self):
        """Refuse, for no body is read by lines; Django only asks whether it could be."""
        raise NotImplementedError


def put_cups(app, body, **environ):
    """Call a WSGI application with a body of JSON for the setting, and return the status code."""
    from werkzeug.test import create_environ, run_wsgi_app

    made = create_environ(CUPS, method="PUT", content_type="application/json")
    made.update({"wsgi.input": body, **environ})
    if "CONTENT_LENGTH" not in environ:
        made.pop("CONTENT_LENGTH", None)
    return int(run_wsgi_app(app, made)[1].partition(" ")[0])


@contextlib.contextmanager
def _serving_asgi(app):
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield listening.getsockname()
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def _serving_wsgi(app):
    from wsgiref.simple_server import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_):
            """Say nothing."""

    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address
        finally:
            server.shutdown()
            thread.join()


class TestRealServers:
    """The same requests over sockets, as clients send them."""

    @pytest.fixture(params=FRAMEWORKS)
    def served(self, request, ways, api):
        if request.param in ("starlette", "fastapi"):
            from fastapi import FastAPI

            from plugreg.adapters.fastapi import create_router
            from plugreg.adapters.starlette import create_app

            app = create_app(api, identify=ways.identify)
            if request.param == "fastapi":
                app = FastAPI()
                app.include_router(create_router(api, identify=ways.identify))
            serving = _serving_asgi(app)
        elif request.param == "django":
            from plugreg.adapters.django import urlpatterns

            patterns = urlpatterns(api, identify=ways.identify, csrf_exempt=True)
            serving = _serving_wsgi(ways.django_application(patterns))
        else:
            from flask import Flask

            from plugreg.adapters.flask import create_blueprint

            app = Flask("host")
            app.register_blueprint(create_blueprint(api, identify=ways.identify))
            serving = _serving_wsgi(app)
        with serving as address:
            yield address, ways.over_socket(address)

    def test_a_life_over_the_wire(self, served, registry):
        """Reading, changing in three forms, refusals, HEAD, links and no content."""
        _, client = served
        listed = client("GET", "/api/plugins/", READER, query={"limit": 1})

        assert (listed.status, listed.body["count"]) == (200, 1)
        for number, form in enumerate(("json", "form", "multipart"), start=2):
            answer = client("PATCH", CUPS, SUPERUSER, **{form: {"value": str(number)}})
            assert (answer.status, answer.body["value"]) == (200, str(number))
        head = client("HEAD", "/api/plugins/", READER, query={"limit": 1})
        assert (head.status, head.body) == (200, None)
        assert head.headers["content-length"] == listed.headers["content-length"]
        assert client("GET", "/api/plugins/tea", READER).body == {"detail": "Not found."}
        assert client("FOO", "/api/plugins/", READER).status == 405
        assert client("GET", "/api/plugins/").body == NOBODY
        registry.deactivate("tea")
        gone = client("DELETE", "/api/plugins/tea/", SUPERUSER)
        assert (gone.status, gone.body) == (204, None)
        assert "content-type" not in gone.headers

    def test_links_name_the_host_and_the_port(self, served, registry):
        """The address that the client has used."""
        (host, port), client = served
        answer = client("GET", "/api/plugins/", READER, query={"limit": 1, "offset": 1})

        assert answer.body["previous"] == f"http://{host}:{port}/api/plugins/?limit=1"


class TestMissingFrameworks:
    @pytest.mark.parametrize("name", FRAMEWORKS)
    def test_a_missing_framework_is_named_with_its_remedy(self, name):
        """In a process where it cannot be imported, the adapter's import names the extra."""
        code = (
            f"import sys; sys.modules[{name!r}] = None\n"
            f"sys.path.insert(0, {str(Path(plugreg.__file__).parent.parent)!r})\n"
            "from plugreg import MissingExtraError\n"
            f"try: import plugreg.adapters.{name}\n"
            "except MissingExtraError as error: print(error.package, error.extra, error)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )

        assert done.stdout.strip() == f"{name} {name} " + str(
            MissingExtraError(f"plugreg.adapters.{name}", name, name)
        )
        assert f"pip install 'plugreg[{name}]'" in done.stdout

    def test_the_package_of_the_adapters_imports_none(self):
        """Each framework is imported by its own module alone."""
        code = (
            f"import sys; sys.path.insert(0, {str(Path(plugreg.__file__).parent.parent)!r})\n"
            "import plugreg.adapters, plugreg.api.http\n"
            f"print([name for name in {FRAMEWORKS!r} if name in sys.modules])\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )

        assert done.stdout.strip() == "[]"
