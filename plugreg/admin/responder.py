"""The function from request to response for the page, beside that of the API."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from plugreg.admin.languages import catalogue, choose
from plugreg.admin.options import OWN_LAYOUT, PAGE_PATH, AdminPage
from plugreg.admin.routes import NAVIGATION, ROUTES
from plugreg.admin.templating import Templates, theme_css
from plugreg.admin.tokens import MESSAGE_AGE, SharedKey, Signer
from plugreg.admin.visits import Message, Redirect, Screen, Visit, access_of, sentences
from plugreg.api import Actor, APIError
from plugreg.api.bodies import read_pairs
from plugreg.api.errors import MethodNotAllowedError, NotFoundError, PermissionDeniedError
from plugreg.api.http import (
    Request,
    Responder,
    Response,
    Served,
    check_site,
    log_fault,
    read_request,
    with_head,
)
from plugreg.api.operations import refusal_of
from plugreg.exceptions import PlugregError

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "form-action 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""The Content-Security-Policy of every answer of the page."""

ERROR_TEMPLATE: Final = "error.html"
"""Name of the template that shows refusals and faults."""

TOKEN_FIELD: Final = "csrf_token"  # noqa: S105 - it is a name
"""Name of the hidden field with the token, where the framework has no token of its own."""

_MESSAGE: Final = "plugreg_message"
_KEY: Final = "plugreg_key"
_STATIC: Final = f"{PAGE_PATH}/static/"
_HEADERS: Final = (
    ("Content-Security-Policy", POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)


class AdminResponder(Responder):
    """Answers requests to the page, and passes those to the API on.

    Immutable except caches; serves many threads.

    Args:
        registry: The registry, or a PluginAPI with the options of the host.
        options: The options of the page.
        secret: A secret of the framework, which signs what a stored key signs otherwise.

    Raises:
        ValueError: If an option cannot be used.
    """

    def __init__(self, registry: Served, options: AdminPage, secret: str | None = None) -> None:
        super().__init__(registry)
        # The page needs more operations than a host may serve.
        self._extended = self.api if self.api.extended else replace(self.api, extended=True)
        self._options = options
        self._templates = Templates(options)
        self._own_templates = Templates(replace(options, layout=OWN_LAYOUT, templates=()))
        self._key = SharedKey(self.api.registry, secret)
        self._plans: dict[str, Any] = {}
        self._static = {
            "theme.css": ("text/css", theme_css(options.theme)),
            "admin.css": ("text/css", _read_static("admin.css")),
            "admin.js": ("text/javascript", _read_static("admin.js")),
        }

    def needs_actor(self, request: Request) -> bool:
        """Return whether the answer depends on the caller.

        Args:
            request: The request.
        """
        return super().needs_actor(request) and not request.path.startswith(_STATIC)

    def respond(self, request: Request, actor: Actor | None) -> Response:
        """Return the answer to a request; refusals and faults are answers too.

        Nothing is raised. Requests to the page are checked in the order of the API's.

        Args:
            request: The request.
            actor: The caller; None is anonymous.
        """
        if request.path != PAGE_PATH and not request.path.startswith(f"{PAGE_PATH}/"):
            return super().respond(request, actor)
        if request.is_preflight:
            return Response(204, {"Cache-Control": "no-store"})
        self.api.registry.shared.keep_up()
        response = self._answer_page(request, actor)
        return response._replace(body=b"") if request.method == "HEAD" else response

    def _answer_page(self, request: Request, actor: Actor | None) -> Response:
        visit = self._visit(request, actor)
        try:
            if request.path.startswith(_STATIC):
                return self._answer_static(request)
            if request.path == PAGE_PATH:
                # Unquoted input of a client is no part of a header.
                query = quote(request.query, safe="!$%&'()*+,-./:;=?@_~")
                return _response(308, {"Location": visit.root + (f"?{query}" if query else "")})
            return self._answer_visit(visit, self._show(visit))
        except PlugregError as error:
            return self._answer_refusal(visit, refusal_of(error))
        except Exception as error:  # noqa: BLE001 - a fault of ours is logged, and ends no server
            kind = log_fault(request, error)
            values = {"status": 500, "sentence": visit.text("The log of the server says where.")}
            return self._render(visit, Screen(ERROR_TEMPLATE, {**values, "kind": kind}, 500))

    def _visit(self, request: Request, actor: Actor | None) -> Visit:
        language = self._options.language or choose(request.header("accept-language"))
        return Visit(
            api=self._extended,
            actor=actor if type(actor) is Actor else Actor.anonymous(),
            request=request,
            root=_root_of(request),
            language=language,
            query={},
            fields={},
            text=partial(_translate, catalogue(language).gettext),
            plans=self._plans,
        )

    def _show(self, visit: Visit) -> Screen | Redirect:
        """Return the answer of the screen of a path, after all checks. Raises APIError."""
        request = visit.request
        path = request.path.removeprefix(f"{PAGE_PATH}/")
        found = ((re.fullmatch(row[1], path), row) for row in ROUTES)
        methods = {row[0]: (match, *row[2:]) for match, row in found if match}
        if not methods:
            raise NotFoundError
        wanted = "GET" if request.method == "HEAD" else request.method
        if wanted not in methods:
            raise MethodNotAllowedError(request.method, with_head(methods))
        match, show, operation = methods[wanted]
        access = access_of(self._extended, operation)
        if access is None:
            raise NotFoundError
        access.check(visit.actor)
        check_site(request, self.api.trusted_origins)
        values: dict[str, Any] = {"query": dict(read_pairs(request.query))}
        if wanted == "POST":
            values["fields"] = self._read_fields(visit)
        return show(visit.__replace__(**values), **match.groupdict())

    def _read_fields(self, visit: Visit) -> Mapping[str, str]:
        """Return the fields of a form that has a valid token. Raises APIError."""
        given = read_request(visit.request)
        pairs = given.items() if isinstance(given, dict) else ()
        sent = {name: value for name, value in pairs if isinstance(value, str)}
        signer, _ = self._signer(visit.request)
        token = sent.pop(TOKEN_FIELD, "")
        # Once a key is stored, the one in a cookie counts no more: others may have planted it.
        if visit.request.token is None and not signer.accepts(visit.actor, token):
            raise PermissionDeniedError(
                visit.text(
                    "The form is too old, or comes from another page; nothing was changed. "
                    "Go back, load the page again, and send it once more."
                )
            )
        return sent

    # -- answers -----------------------------------------------------------------------------

    def _answer_visit(self, visit: Visit, answer: Screen | Redirect) -> Response:
        if isinstance(answer, Screen):
            return self._render(visit, answer)
        headers = {"Location": answer.address}
        if answer.message is not None:
            signer, _ = self._signer(visit.request)
            sealed = signer.seal(visit.actor, answer.message.shortened())
            headers["Set-Cookie"] = _cookie(visit, _MESSAGE, sealed, MESSAGE_AGE)
        return _response(303, headers)

    def _answer_refusal(self, visit: Visit, error: APIError) -> Response:
        values = {"status": error.status, "sentence": sentences(error), "kind": ""}
        response = self._render(visit, Screen(ERROR_TEMPLATE, values, error.status))
        return response._replace(headers={**response.headers, **error.headers})

    def _render(self, visit: Visit, screen: Screen) -> Response:
        signer, is_new = self._signer(visit.request)
        waiting = None if screen.status >= 400 else _message_of(visit, signer)
        values = {
            **screen.values,
            "visit": visit,
            "message": screen.message or waiting,
            "navigation": [place for place in NAVIGATION if visit.may(place.operation)],
            "here": visit.request.path.removeprefix(f"{PAGE_PATH}/"),
            "safe_mode": self.api.registry.safe_mode,
            "form_token": partial(_token, visit, signer),
        }
        try:
            body = self._templates.render(screen.template, visit.language, values)
        except Exception as error:
            if screen.template != ERROR_TEMPLATE:
                raise
            # A template of the host fails on the screen of errors, too.
            log_fault(visit.request, error)
            body = self._own_templates.render(screen.template, visit.language, values)
        headers = {"Content-Type": "text/html; charset=utf-8", "Content-Language": visit.language}
        if waiting is not None:
            headers["Set-Cookie"] = _cookie(visit, _MESSAGE, "", 0)
        elif is_new and screen.status < 400:
            headers["Set-Cookie"] = _cookie(visit, _KEY, signer.key)
        return _response(screen.status, headers, body.encode())

    def _signer(self, request: Request) -> tuple[Signer, bool]:
        """Return what signs for a browser, and whether its key is a new one.

        As long as no process could store a key, each browser keeps one in a cookie that scripts
        and other sites cannot read. Every process accepts what that has signed, too.
        """
        key = self._key.get() or _cookie_of(request, _KEY)
        return Signer(key=key or secrets.token_hex(32)), not key

    def _answer_static(self, request: Request) -> Response:
        kind, content = self._static.get(request.path.removeprefix(_STATIC), (None, b""))
        if kind is None:
            raise NotFoundError
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowedError(request.method, ("GET", "HEAD"))
        etag = f'"{blake2b(content, digest_size=8).hexdigest()}"'
        headers = {"ETag": etag, "Cache-Control": "no-cache"}
        if request.header("if-none-match") == etag:
            return _response(304, headers)
        return _response(200, {"Content-Type": f"{kind}; charset=utf-8", **headers}, content)


def _response(status: int, headers: Mapping[str, str], body: bytes = b"") -> Response:
    length = {} if status == 304 else {"Content-Length": str(len(body))}
    common = {**dict(_HEADERS), "Cache-Control": "no-store", **length}
    return Response(status, {**common, **headers}, body)


def _translate(translate: Callable[[str], str], sentence: str, /, **values: object) -> str:
    words = translate(sentence)
    return words % values if values else words


def _token(visit: Visit, signer: Signer) -> tuple[str, str]:
    """Return name and value of the hidden field that every form has."""
    if visit.request.token is not None:
        name, make = visit.request.token
        return name, make()
    return TOKEN_FIELD, signer.token(visit.actor)


def _message_of(visit: Visit, signer: Signer) -> Message | None:
    """Return the message that the last change has left for this visit."""
    sealed = _cookie_of(visit.request, _MESSAGE)
    if sealed is None or not visit.actor.is_authenticated:
        return None
    found = signer.unseal(visit.actor, sealed)
    return None if found is None else Message(found[0], found[1], tuple(found[2]))


def _cookie_of(request: Request, name: str) -> str | None:
    # The standard library's parser drops all cookies if one of the host's is malformed.
    sent = (pair.strip().partition("=") for pair in request.header("cookie").split(";"))
    return next((value for key, _, value in sent if key == name), None)


def _cookie(visit: Visit, name: str, value: str, age: int | None = None) -> str:
    """Return the header that has a browser keep a cookie, without an age until it is closed."""
    secure = "; Secure" if visit.request.url.startswith("https:") else ""
    path = visit.root.replace(";", "%3B")
    until = "" if age is None else f" Max-Age={age};"
    return f"{name}={value}; Path={path};{until} HttpOnly; SameSite=Lax{secure}"


def _root_of(request: Request) -> str:
    """Return the path of the page as clients see it, behind prefix and mount point."""
    try:
        path = unquote(urlsplit(request.url).path)
    except ValueError:
        path = request.path
    # Two slashes at its begin would make another host of it.
    return "/" + quote(path.removesuffix(request.path) + PAGE_PATH).lstrip("/") + "/"


def _read_static(name: str) -> bytes:
    return Path(__file__).parent.joinpath("static", name).read_bytes()
