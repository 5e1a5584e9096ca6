"""Bodies as they stand on the wire: in chunks, cut short, and with lengths that are none."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path

import pytest

from plugreg.api import Actor
from plugreg.api.bodies import LONGEST

SUPERUSER = Actor(1, is_staff=True, is_superuser=True)
ACTIVATE = "/api/plugins/tea/activate/"
CUPS = "/api/plugins/tea/settings/CUPS/"
OFF = b'{"active": false}'
JSON = "application/json"
CHUNKED = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}


@pytest.fixture
def ways(request):
    """Return the module of the helpers."""
    return request.config.pluginmanager.get_plugin(str(Path(__file__).parent / "conftest.py"))


@pytest.fixture(params=["django", "flask"])
def application(request, ways, api):
    """Return a WSGI application to which a header names the actor."""
    if request.param == "django":
        from plugreg.adapters.django import urlpatterns

        return ways.django_application(urlpatterns(api, identify=ways.identify, csrf_exempt=True))
    from flask import Flask

    from plugreg.adapters.flask import create_blueprint

    app = Flask("host", static_folder=None)
    app.register_blueprint(create_blueprint(api, identify=ways.identify))
    return app


@pytest.fixture
def send(application, ways):
    """Return a function that calls the application with a raw body, and gives the status code."""
    from werkzeug.test import create_environ, run_wsgi_app

    def send(path, body, *, method="PATCH", kind=JSON, actor=SUPERUSER, **environ):
        made = create_environ(path, method=method)
        made.pop("CONTENT_LENGTH", None)
        made["CONTENT_TYPE"] = kind
        if actor is not None:
            made["HTTP_AUTHORIZATION"] = f"Token {ways.token(actor)}"
        stream = BytesIO(body) if isinstance(body, bytes) else body
        made.update({"wsgi.input": stream, **environ})
        return int(run_wsgi_app(application, made)[1].partition(" ")[0])

    return send


class Blanks:
    """As many blanks as are asked for, as they come from a client that never ends."""

    def __init__(self):
        self.read_so_far = 0

    def read(self, size=-1):
        """Return fewer bytes than were asked for, as sockets do."""
        assert size >= 0
        size = min(size, 50_000)
        self.read_so_far += size
        return b" " * size

    def readline(self):
        """Refuse, for no body is read by lines; Django only asks whether it could be."""
        raise NotImplementedError


class TestChunks:
    """A body without a length is read as it was sent, or refused; it is never taken for empty."""

    @pytest.mark.parametrize(
        ("kind", "body"),
        [
            (JSON, OFF),
            ("application/x-www-form-urlencoded", b"active=false"),
            (
                "multipart/form-data; boundary=b",
                b'--b\r\nContent-Disposition: form-data; name="active"\r\n\r\nfalse\r\n--b--\r\n',
            ),
        ],
    )
    def test_a_body_in_chunks_is_read_as_sent(self, send, registry, kind, body):
        """Whatever its form."""
        assert send(ACTIVATE, body, kind=kind, **CHUNKED) == 200
        assert not registry.get("tea").wanted

    def test_a_server_that_marks_the_end_without_chunks(self, send, registry):
        """As behind HTTP/2, where no header names either."""
        assert send(ACTIVATE, OFF, **{"wsgi.input_terminated": True}) == 200
        assert not registry.get("tea").wanted

    def test_where_the_server_marks_no_end(self, send, registry):
        """411, and nothing is changed: reading would not end."""
        assert send(ACTIVATE, OFF, HTTP_TRANSFER_ENCODING="chunked") == 411
        assert send(CUPS, b'{"value": 5}', HTTP_TRANSFER_ENCODING="chunked") == 411
        assert registry.get("tea").wanted
        assert registry.settings("tea")["CUPS"] == 1

    def test_the_actor_comes_first(self, send):
        """How a body is sent is no business of nobody's."""
        assert send(ACTIVATE, OFF, actor=None, HTTP_TRANSFER_ENCODING="chunked") == 401
        assert send(ACTIVATE, OFF, actor=None, CONTENT_LENGTH="1e3") == 401

    def test_too_many_chunks(self, send):
        """413, and reading ends where it has become too long."""
        blanks = Blanks()

        assert send(CUPS, blanks, **CHUNKED) == 413
        assert blanks.read_so_far == LONGEST + 1

    def test_a_lower_limit_of_djangos(self, ways, api):
        """Stays in force for chunks, too."""
        from django.test import override_settings
        from werkzeug.test import create_environ, run_wsgi_app

        from plugreg.adapters.django import urlpatterns

        app = ways.django_application(
            urlpatterns(api, identify=lambda _: SUPERUSER, csrf_exempt=True)
        )
        for length, status in ((100, 400), (101, 413)):
            made = create_environ(CUPS, method="PUT", content_type=JSON)
            made.pop("CONTENT_LENGTH", None)
            made.update({"wsgi.input": BytesIO(b" " * length), **CHUNKED})
            with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=100):
                assert run_wsgi_app(app, made)[1].startswith(f"{status} ")

    def test_django_under_asgi(self, ways, api, registry):
        """Its server marks the end, with a length and without."""
        from plugreg.adapters.django import urlpatterns

        patterns = urlpatterns(api, identify=ways.identify, csrf_exempt=True)
        client = ways.over_asgi(ways.django_application(patterns, asgi=True))
        headers = {"Content-Type": JSON, "Authorization": f"Token {ways.token(SUPERUSER)}"}

        def chunked(path, body):
            return client._exchange(ways.Sent("PATCH", path, headers, body))[0]

        assert chunked(CUPS, b" " * (LONGEST + 1)) == 413
        assert client("PATCH", CUPS, content=b'{"value": 4}', headers=headers).body["value"] == "4"
        assert chunked(ACTIVATE, OFF) == 200
        assert not registry.get("tea").wanted

    def test_over_a_socket(self, application, ways, registry):
        """From a client that does not know how much it will send, through a real server."""
        with (
            _serving(application) as address,
            contextlib.closing(HTTPConnection(*address, timeout=30)) as connection,
        ):
            headers = {"Content-Type": JSON, "Authorization": f"Token {ways.token(SUPERUSER)}"}
            chunks = iter([OFF[:5], OFF[5:]])
            connection.request("PATCH", ACTIVATE, chunks, headers, encode_chunked=True)

            assert connection.getresponse().status == 200
        assert not registry.get("tea").wanted


class TestLengths:
    @pytest.mark.parametrize(
        "length", ["1e3", "²", "٣", "-5", "+5", " 5", "1_0", "0x5", "5,5", "x", "9" * 5_000]
    )
    def test_what_is_no_length_is_refused(self, send, registry, length):
        """400, where a body that nobody could read would have been an empty one."""
        assert send(ACTIVATE, OFF, CONTENT_LENGTH=length) == 400
        assert registry.get("tea").wanted

    @pytest.mark.parametrize("kind", [JSON, "application/x-www-form-urlencoded"])
    @pytest.mark.parametrize("marks_end", [False, True])
    def test_a_body_that_was_cut_short_is_refused(self, send, registry, kind, marks_end):
        """A client that left in the middle has not finished its request."""
        body = b"value=12" if "form" in kind else b'{"value": 12}'
        sent = {"kind": kind, "CONTENT_LENGTH": str(len(body) + 2)}
        if marks_end:
            sent["wsgi.input_terminated"] = True

        assert send(CUPS, body, **sent) == 400
        assert registry.settings("tea")["CUPS"] == 1

    def test_a_body_of_which_nothing_came_is_refused(self, send, registry):
        """It is no empty body, which switches a plugin on."""
        registry.deactivate("tea")
        environ = {"CONTENT_LENGTH": "17", "wsgi.input_terminated": True}

        assert send(ACTIVATE, b"", **environ) == 400
        assert not registry.get("tea").wanted

    def test_a_connection_that_breaks_is_refused(self, send, registry):
        """Whatever the server raises while the body is read."""

        class Broken(Blanks):
            def read(self, size=-1):
                raise ConnectionResetError

            readline = read

        assert send(CUPS, Broken(), CONTENT_LENGTH="10") == 400
        assert registry.settings("tea")["CUPS"] == 1

    @pytest.mark.parametrize("row", ["settings/CUPS/", "metadata/"])
    def test_an_empty_body_where_one_is_needed(self, send, row):
        """400 names the field that is missing."""
        for environ in ({}, {"CONTENT_LENGTH": "0"}, CHUNKED):
            assert send(f"/api/plugins/tea/{row}", b"", method="PUT", **environ) == 400


class TestClientsThatLeave:
    @pytest.mark.parametrize("adapter", ["starlette", "fastapi"])
    def test_in_the_middle_of_a_body(self, ways, api, registry, adapter, caplog):
        """Nothing is changed, and nothing is raised that a server would log."""
        from fastapi import FastAPI

        from plugreg.adapters.fastapi import create_router
        from plugreg.adapters.starlette import create_app

        app = create_app(api, identify=lambda _: SUPERUSER)
        if adapter == "fastapi":
            app = FastAPI()
            app.include_router(create_router(api, identify=lambda _: SUPERUSER))
        messages = iter(
            [
                {"type": "http.request", "body": b'{"value"', "more_body": True},
                {"type": "http.disconnect"},
            ]
        )

        async def receive():
            return next(messages)

        async def send(message):
            """Take the bytes that nobody will read."""

        scope = {
            "type": "http",
            "method": "PUT",
            "path": CUPS,
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
            "server": ("testserver", 80),
        }
        with caplog.at_level(logging.INFO):
            asyncio.run(app(scope, receive, send))

        assert caplog.records == []
        assert registry.settings("tea")["CUPS"] == 1


class TestLongFiles:
    """A file of a plugin that is longer than a block comes in blocks, and whole."""

    @pytest.fixture
    def registry(self, site, monkeypatch):
        import sys

        from plugreg import PluginRegistry

        modules = {
            "long_files/__init__.py": "from plugreg import Plugin\nclass Panel(Plugin): ...\n",
            "long_files/static/long.wasm": "0123456789abcdef" * 65_536,
        }
        site.dist(
            "long-files",
            entry_points={"shop.plugins": {"long": "long_files:Panel"}},
            modules=modules,
        )
        monkeypatch.syspath_prepend(str(site))
        with PluginRegistry("shop", new_plugins="active") as registry:
            registry.load()
            yield registry
        sys.modules.pop("long_files", None)

    def test_it_comes_whole(self, ways, api):
        """With its length, in each adapter; a client that has it is not sent it again."""
        clients = {name: way(api) for name, way in ways.ADAPTERS.items()}
        from plugreg.adapters.django import urlpatterns

        patterns = urlpatterns(api, identify=ways.identify)
        clients["django, asgi"] = ways.over_asgi(ways.django_application(patterns, asgi=True))
        path = "/static/plugins/long/long.wasm"
        for name, client in clients.items():
            answer = client("GET", path, SUPERUSER)
            tag = {"If-None-Match": answer.headers["etag"]}
            head = client("HEAD", path, SUPERUSER)

            assert (answer.status, answer.body) == (200, b"0123456789abcdef" * 65_536), name
            assert answer.headers["content-length"] == str(len(answer.body)), name
            assert answer.headers["content-type"] == "application/wasm", name
            assert client("GET", path, SUPERUSER, headers=tag).status == 304, name
            assert (head.status, head.body) == (200, None), name
            assert head.headers["content-length"] == str(len(answer.body)), name

    def test_no_more_than_a_block_is_in_an_answer(self, api):
        """A body that an adapter receives is read as the client takes it."""
        from plugreg.api.http import Request, Responder
        from plugreg.assets import BLOCK

        request = Request(method="GET", path="/static/plugins/long/long.wasm")
        answer = Responder(api).respond(request, SUPERUSER)

        assert answer.body == b""
        assert [len(block) for block in answer.blocks] == [BLOCK] * 4


@contextlib.contextmanager
def _serving(app):
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log(self, *_):
            """Say nothing."""

    server = make_server("127.0.0.1", 0, app, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
