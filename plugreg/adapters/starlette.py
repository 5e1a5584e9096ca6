"""The plugin API as an ASGI application, with the extra ``plugreg[starlette]``."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, TypeAlias
from urllib.parse import quote

from plugreg.api.access import Actor
from plugreg.api.bodies import LONGEST
from plugreg.api.http import Request, Responder, as_prefix
from plugreg.api.plugin_api import PluginAPI
from plugreg.exceptions import MissingExtraError
from plugreg.registry import PluginRegistry

try:
    from starlette import requests, responses
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.routing import Mount
    from starlette.types import Receive, Scope, Send
except ImportError as error:
    raise MissingExtraError.of(
        error, "plugreg.adapters.starlette", "starlette", "starlette"
    ) from error

Identify: TypeAlias = Callable[[requests.Request], Actor | Awaitable[Actor | None] | None]
"""The host's function that says who makes a request; None is nobody."""


def create_app(
    registry: PluginRegistry | PluginAPI, *, identify: Identify | None = None, prefix: str = ""
) -> Starlette:
    """Return an ASGI application that serves the plugin API of ``registry``, and plugins' files.

    It stands alone, or is mounted in another application (``Mount("/shop", app)``); its paths are
    ``/api/plugins/…`` and ``/static/plugins/…``, behind ``prefix``. ``identify`` is the host's: a
    function, sync or async, that makes an Actor of a request from its headers, session or state.
    It must leave the body alone; what it raises is the framework's to answer. Without it every
    operation is refused with 401. Sync functions and all work of plugreg run in a worker thread.
    A PluginAPI instead of the registry brings its options along.
    """
    forward = Forwarder(Responder(registry), identify)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = requests.Request(scope, receive, send)
        # What is mounted sees the whole path, and in the root path what is not its own.
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        await (await forward(request, path))(scope, receive, send)

    mount = Mount(as_prefix(prefix), app=app)
    # The framework's own pattern stops at a newline, and its own page would show.
    mount.path_regex = re.compile(mount.path_regex.pattern, re.DOTALL)
    return Starlette(routes=[mount])


class Forwarder:
    """Brings requests of the framework's to a responder, and back what it answers."""

    def __init__(self, responder: Responder, identify: Identify | None) -> None:
        self._responder = responder
        self._identify = identify

    async def __call__(self, request: requests.Request, path: str) -> responses.Response:
        """Return the answer to a request at ``path``, which is that within the plugin API."""
        actor = None if self._responder.is_public(path) else await self._actor(request)
        try:
            body = await _body(request)
        except requests.ClientDisconnect:
            # Nobody waits for an answer.
            return responses.Response(status_code=400)
        answer = await run_in_threadpool(
            self._responder.respond,
            Request(
                method=request.method,
                path=path,
                url=_url(request),
                query=request.scope.get("query_string", b""),
                content_type=request.headers.get("content-type", ""),
                if_none_match=request.headers.get("if-none-match", ""),
                origin=request.headers.get("origin", ""),
                fetch_site=request.headers.get("sec-fetch-site", ""),
                body=body,
            ),
            actor,
        )
        headers = dict(answer.headers)
        if answer.blocks is not None:
            return responses.StreamingResponse(answer.blocks, answer.status, headers)
        return responses.Response(answer.body, answer.status, headers)

    async def _actor(self, request: requests.Request) -> Actor | None:
        if self._identify is None:
            return None
        # An async function does nothing there yet, and gives what is awaited here.
        found: Any = await run_in_threadpool(self._identify, request)
        actor: Actor | None = await found if isawaitable(found) else found
        return actor


async def _body(request: requests.Request) -> bytes | None:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST:
            return None
    return bytes(body)


def _url(request: requests.Request) -> str:
    host = request.headers.get("host") or request.url.netloc
    return f"{request.url.scheme}://{host}{quote(request.scope['path'])}"
