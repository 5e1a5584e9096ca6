"""One way to ask the plugin API, whatever brings the request there.

``client`` stands for the API of the fixture ``api``, in-process and through adapters; a test that
uses it runs once for each. A module that needs other plugins or options overrides ``registry`` or
``api``, or calls ``make_client``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from types import ModuleType
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlencode, urlsplit
from zlib import crc32

import pytest

from plugreg import PluginRegistry
from plugreg.api import Actor, PluginAPI
from plugreg.api.http import Request, Responder

SUPERUSER = Actor(1, is_staff=True, is_superuser=True)
BOUNDARY = "a-line-between"


class Answer(NamedTuple):
    """The answer: the body parsed if it is JSON, None if it is empty, else bytes."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: Any


class Sent(NamedTuple):
    """A request as it stands on the wire; ``target`` is path and query, encoded."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Client:
    """Sends requests one way. ``client("GET", "/api/plugins/", actor)`` gives the Answer.

    ``path`` is sent as it is, with unsafe characters percent-encoded; a ``%`` in it is an escape.
    ``actor`` is an Actor, or None for nobody. ``query`` is a mapping, a list of pairs, or encoded
    text. The body is one of ``json`` (any value), ``form`` and ``multipart`` (mappings of texts; a
    file of a multipart form is a pair of its name and bytes), or ``content`` (bytes, with their
    type in ``headers``).
    """

    def __init__(self, exchange: Callable[[Sent], tuple[int, Any, bytes]]) -> None:
        self._exchange = exchange

    def __call__(
        self,
        method,
        path,
        actor=None,
        *,
        query=(),
        json=None,
        form=None,
        multipart=None,
        content=b"",
        headers=None,
    ) -> Answer:
        sent, body = dict(headers or {}), content
        if json is not None:
            sent, body = {"Content-Type": "application/json", **sent}, _as_json(json)
        elif form is not None:
            sent = {"Content-Type": "application/x-www-form-urlencoded", **sent}
            body = urlencode(form).encode()
        elif multipart is not None:
            kind = f"multipart/form-data; boundary={BOUNDARY}"
            sent, body = {"Content-Type": kind, **sent}, as_multipart(multipart)
        if actor is not None:
            sent["Authorization"] = f"Token {token(actor)}"
        if body:
            sent["Content-Length"] = str(len(body))
        encoded = query if isinstance(query, str) else urlencode(query, doseq=True)
        target = quote(path, safe="/%") + (f"?{encoded}" if encoded else "")
        status, received, content = self._exchange(Sent(method, target, sent, body))
        found = {name.lower(): value for name, value in dict(received).items()}
        is_json = found.get("content-type", "").startswith("application/json")
        return Answer(
            status, found, _from_json(content) if content and is_json else content or None
        )


def as_multipart(fields) -> bytes:
    """Write the fields of a multipart form, bounded by BOUNDARY."""
    parts = []
    for name, value in fields.items():
        file, data = value if isinstance(value, tuple) else (None, value.encode())
        said = f'name="{name}"' + (f'; filename="{file}"' if file else "")
        parts.append(
            f"--{BOUNDARY}\r\nContent-Disposition: form-data; {said}\r\n\r\n".encode()
            + data
            + b"\r\n"
        )
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def _as_json(value) -> bytes:
    return json.dumps(value).encode()


def _from_json(content):
    return json.loads(content)


# -- who asks ---------------------------------------------------------------------------------


def token(actor: Actor) -> str:
    """Write an actor as the token that ``identify_token`` reads."""
    scopes = None if actor.scopes is None else sorted(actor.scopes)
    return json.dumps({**asdict(actor), "scopes": scopes})


def identify_token(header: str | None) -> Actor | None:
    """Read the actor in an Authorization header; this stands for a host's own look-up."""
    if not header:
        return None
    fields = json.loads(header.removeprefix("Token "))
    if fields["scopes"] is not None:
        fields["scopes"] = frozenset(fields["scopes"])
    return Actor(**fields)


def identify(request) -> Actor | None:
    """Identify the actor of a request of any framework."""
    return identify_token(request.headers.get("Authorization"))


# -- the ways ---------------------------------------------------------------------------------


def in_process(api, *, identify=identify, prefix="", **_) -> Client:
    responder = Responder(api)

    def exchange(sent):
        target = urlsplit(sent.target)
        names = {name.lower(): value for name, value in sent.headers.items()}
        response = responder.respond(
            Request(
                method=sent.method,
                path=unquote(target.path).removeprefix(prefix),
                url=f"http://{names.get('host', 'testserver')}{target.path}",
                query=target.query.encode(),
                headers=names,
                body=sent.body,
            ),
            identify and identify_token(names.get("authorization")),
        )
        return response.status, response.headers, response.body

    return Client(exchange)


def over_asgi(app) -> Client:
    """Call an ASGI application as a server would."""

    def exchange(sent):
        target = urlsplit(sent.target)
        messages = []

        async def receive():
            if len(pieces) == 2:
                # The client waits for its answer, and stays as long as that takes.
                await asyncio.Event().wait()
            # In two pieces, as a long body comes.
            half = len(sent.body) // 2
            pieces.append(sent.body[half:] if pieces else sent.body[:half])
            return {"type": "http.request", "body": pieces[-1], "more_body": len(pieces) < 2}

        async def send(message):
            messages.append(message)

        pieces = []
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": sent.method,
            "scheme": "http",
            "path": unquote(target.path),
            "raw_path": target.path.encode(),
            "query_string": target.query.encode(),
            "root_path": "",
            "headers": [
                (name.lower().encode(), value.encode("latin-1"))
                for name, value in {"Host": "testserver", **sent.headers}.items()
            ],
            "server": ("testserver", 80),
        }
        asyncio.run(_completed(app(scope, receive, send), messages))
        start, *bodies = messages
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return start["status"], headers, b"".join(body.get("body", b"") for body in bodies)

    return Client(exchange)


async def _completed(call, messages) -> None:
    try:
        await call
    except Exception:
        # A framework answers an exception of a host's function, and raises it to the server too.
        if not messages:
            raise


def over_wsgi(app) -> Client:
    """Call a WSGI application as a server would."""
    from werkzeug.test import Client as WSGIClient

    def exchange(sent):
        # The path goes in as text, so that nothing on the way repairs it.
        target = urlsplit(sent.target)
        response = WSGIClient(app, use_cookies=False).open(
            path="/",
            method=sent.method,
            query_string=target.query,
            data=sent.body,
            headers=sent.headers,
            base_url="http://testserver",
            environ_overrides={"PATH_INFO": unquote(target.path, "latin-1")},
        )
        return response.status_code, response.headers, response.data

    return Client(exchange)


def over_socket(address) -> Client:
    """Ask a server that listens at ``address``, a host and a port."""
    from http.client import HTTPConnection

    def exchange(sent):
        connection = HTTPConnection(*address, timeout=30)
        try:
            connection.request(sent.method, sent.target, sent.body, sent.headers)
            response = connection.getresponse()
            return response.status, response.headers.items(), response.read()
        finally:
            connection.close()

    return Client(exchange)


def through_starlette(api, **options) -> Client:
    from plugreg.adapters.starlette import create_app

    return over_asgi(create_app(api, **{"identify": identify, **options}))


def through_fastapi(api, **options) -> Client:
    from fastapi import FastAPI

    from plugreg.adapters.fastapi import create_router

    app = FastAPI()
    app.include_router(create_router(api, **{"identify": identify, **options}))
    return over_asgi(app)


def through_django(api, **options) -> Client:
    from plugreg.adapters.django import urlpatterns

    options = {"identify": identify, "csrf_exempt": True, **options}
    # A URL configuration is read by a Django that has its settings.
    django_application([])
    return over_wsgi(django_application(urlpatterns(api, **options)))


def through_flask(api, **options) -> Client:
    from flask import Flask

    from plugreg.adapters.flask import create_blueprint

    app = Flask("host", static_folder=None)
    app.register_blueprint(create_blueprint(api, **{"identify": identify, **options}))
    return over_wsgi(app)


def django_application(patterns, asgi=False):
    """Return Django as an application whose URLs are these patterns.

    Django has one configuration for a process, so each application sets its own for each request.
    """
    from django.conf import settings
    from django.test import override_settings

    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["*"],
            SECRET_KEY="a secret of the tests",
            MIDDLEWARE=[
                "django.middleware.common.CommonMiddleware",
                "django.middleware.csrf.CsrfViewMiddleware",
            ],
        )
        import django

        django.setup(set_prefix=False)
    from django.core.handlers.asgi import ASGIHandler
    from django.core.handlers.wsgi import WSGIHandler

    urls = ModuleType("urls")
    urls.urlpatterns = patterns
    if asgi:

        async def asgi_application(scope, receive, send):
            with override_settings(ROOT_URLCONF=urls):
                await ASGIHandler()(scope, receive, send)

        return asgi_application

    def wsgi_application(environ, start_response):
        with override_settings(ROOT_URLCONF=urls):
            return WSGIHandler()(environ, start_response)

    return wsgi_application


WAYS = {
    "in-process": in_process,
    "starlette": through_starlette,
    "fastapi": through_fastapi,
    "django": through_django,
    "flask": through_flask,
}
ADAPTERS = {name: way for name, way in WAYS.items() if name != "in-process"}
RULES = ("test_behaviour_", "test_options")
"""How the names of modules begin that test rules of the API."""


# -- fixtures ---------------------------------------------------------------------------------


@pytest.fixture
def registry() -> PluginRegistry:
    """Yield a loaded registry of one active plugin, ``tea``, that has a setting."""
    from plugreg import Plugin
    from plugreg.mixins import SettingsMixin

    class Tea(SettingsMixin, Plugin):
        NAME = "Tea"
        SETTINGS = {"CUPS": {"name": "Cups", "default": 1, "validator": int}}

    with PluginRegistry("shop", builtin=[Tea], new_plugins="active") as registry:
        registry.load()
        yield registry


@pytest.fixture
def api(registry) -> PluginAPI:
    """Return the plugin API of the registry. It starts no child process before an activation."""
    return PluginAPI(registry, probe=False)


def pytest_generate_tests(metafunc):
    """Yield ``make_client``, which makes a Client of a registry or PluginAPI, one way at a time.

    It takes the options of the adapters, ``prefix`` and ``identify`` (None: nobody is known).

    A test of an adapter runs all ways. A test of a rule of the API, which is decided below the
    adapters, runs in-process and through the one adapter that the name of the test selects.
    """
    if "make_client" in metafunc.fixturenames:
        names = list(WAYS)
        if metafunc.module.__name__.rpartition(".")[2].startswith(RULES):
            adapters = list(ADAPTERS)
            chosen = crc32(metafunc.definition.nodeid.encode()) % len(adapters)
            names = ["in-process", adapters[chosen]]
        metafunc.parametrize("make_client", [WAYS[name] for name in names], ids=names)


@pytest.fixture
def client(make_client, api) -> Client:
    """Return a Client of the plugin API; see the class for how it is called."""
    return make_client(api)
