"""The plugin API as an ASGI application, with the extra ``plugreg[starlette]``."""

from __future__ import annotations

import re
from inspect import isawaitable
from typing import Any
from urllib.parse import quote

from plugreg.admin import AdminPage, make_responder
from plugreg.api.bodies import LONGEST
from plugreg.api.http import Identify, Request, Responder, Served, as_api, as_prefix
from plugreg.exceptions import MissingExtraError

try:
    from starlette import requests, responses
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.routing import Mount
    from starlette.types import Receive, Scope, Send
except ImportError as error:
    raise MissingExtraError.of(error, __name__, "starlette") from error


def create_app(
    registry: Served,
    *,
    identify: Identify | None = None,
    prefix: str = "",
    admin: AdminPage | bool = False,
    extended: bool = False,
) -> Starlette:
    """Return an ASGI application for the plugin API and the files of plugins.

    It stands alone, or is mounted in another application (``Mount("/shop", app)``). Its paths are
    ``/api/plugins/…`` and ``/static/plugins/…``, behind *prefix*. All work of plugreg runs in a
    worker thread.

    Args:
        registry: The registry, or a PluginAPI with the options of the host.
        identify: Returns the actor of a request from its headers, session or state; sync (in a
            worker thread) or async. It must not read the body. Starlette answers its exceptions.
            Without it every operation is refused with 401.
        prefix: Put before each path.
        admin: Whether the page for operators is served, at ``admin/`` behind *prefix*, or its
            options.
        extended: Whether plugins and settings have more fields, and there are more operations; see
            `plugreg.api.PluginAPI`.
    """
    forward = Forwarder(make_responder(as_api(registry, extended=extended), admin), identify)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = requests.Request(scope, receive, send)
        # A mounted application sees the whole path; its own part follows the root path.
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        await (await forward(request, path))(scope, receive, send)

    mount = Mount(as_prefix(prefix), app=app)
    # The framework's own pattern stops at a newline, and its own page would show.
    mount.path_regex = re.compile(mount.path_regex.pattern, re.DOTALL)
    return Starlette(routes=[mount])


class Forwarder:
    """Passes requests of Starlette to a responder, and its answers back.

    Args:
        responder: The responder.
        identify: Returns the actor of a request.
    """

    def __init__(self, responder: Responder, identify: Identify | None) -> None:
        self._responder = responder
        self._identify = identify

    async def __call__(self, request: requests.Request, path: str) -> responses.Response:
        """Return the answer to a request.

        Args:
            request: The request of the framework.
            path: Its path without mount point and prefix.
        """
        body = bytearray()
        own = Request(
            method=request.method,
            path=path,
            url=_url(request),
            query=request.scope.get("query_string", b""),
            headers=request.headers,
            body=lambda: bytes(body),
        )
        actor: Any = None
        if self._identify is not None and self._responder.needs_actor(own):
            # An async function runs no code in the thread, and returns an awaitable.
            actor = await run_in_threadpool(self._identify, request)
            if isawaitable(actor):
                actor = await actor
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > LONGEST:
                    # The responder refuses it.
                    break
        except requests.ClientDisconnect:
            # The client has left.
            return responses.Response(status_code=400)
        answer = await run_in_threadpool(self._responder.respond, own, actor)
        headers = dict(answer.headers)
        if answer.blocks is not None:
            return responses.StreamingResponse(answer.blocks, answer.status, headers)
        return responses.Response(answer.body, answer.status, headers)


def _url(request: requests.Request) -> str:
    host = request.headers.get("host") or request.url.netloc
    return f"{request.url.scheme}://{host}{quote(request.scope['path'])}"
