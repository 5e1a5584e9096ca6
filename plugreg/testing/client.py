"""The plugin API over HTTP without a server: requests go to the responder of the adapters."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Mapping
from functools import partialmethod
from typing import Any
from urllib.parse import urlencode

from plugreg._support.frozen import Frozen
from plugreg.api.access import Actor
from plugreg.api.http import API_PATH, Request, Responder


class APIResponse(Frozen):
    """The answer to a request.

    Attributes:
        status_code: The status code.
        headers: The headers.
        content: The body.
    """

    status_code: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def text(self) -> str:
        """The body as a string."""
        return self.content.decode()

    def json(self) -> Any:
        """Return the body, which is JSON, as a value."""
        return jsonlib.loads(self.content)


class APIClient:
    """Sends requests to the plugin API of a registry, as an actor. No server is started.

    Args:
        responder: The responder of the registry.
        actor: Who asks; None is anonymous.
    """

    def __init__(self, responder: Responder, actor: Actor | None) -> None:
        self._responder = responder
        self._actor = actor

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> APIResponse:
        """Send a request.

        Args:
            method: The HTTP method.
            path: The path from ``/api/plugins/`` or ``/static/`` on; any other is below
                ``/api/plugins/``.
            json: The body, as a JSON value; None for no body.
            params: The query.
            headers: Headers beside those of the body.

        Returns:
            The answer, refusals included; nothing is raised for them.
        """
        if not path.startswith(("/api/", "/static/")):
            path = f"{API_PATH}/{path.removeprefix('/')}"
        path, _, query = path.partition("?")
        body = b"" if json is None else jsonlib.dumps(json).encode()
        given = {name.lower(): value for name, value in (headers or {}).items()}
        if json is not None:
            given = {
                "content-type": "application/json",
                "content-length": str(len(body)),
                **given,
            }
        answer = self._responder.respond(
            Request(
                method=method.upper(),
                path=path,
                url=f"http://testserver{path}",
                query=(urlencode(params) if params else query).encode(),
                headers=given,
                body=body,
            ),
            self._actor,
        )
        content = answer.body if answer.blocks is None else b"".join(answer.blocks)
        return APIResponse(status_code=answer.status, headers=dict(answer.headers), content=content)

    get = partialmethod(request, "GET")
    post = partialmethod(request, "POST")
    put = partialmethod(request, "PUT")
    patch = partialmethod(request, "PATCH")
    delete = partialmethod(request, "DELETE")
    options = partialmethod(request, "OPTIONS")
