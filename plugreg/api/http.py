"""HTTP without a framework: the answer to each request.

The adapters pass requests on to here and decide no rule of the API themselves.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from inspect import isawaitable
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import SplitResult, urlencode, urlsplit

from plugreg._support.guard import explain, places_of
from plugreg.api import errors
from plugreg.api.access import ANY, READ, Actor
from plugreg.api.bodies import LONGEST, file_refused, is_form, read_body, read_pairs
from plugreg.api.models import Model
from plugreg.api.openapi import describe_forms
from plugreg.api.operations import PAGING, Operation, refusal_of
from plugreg.api.plugin_api import PluginAPI
from plugreg.assets import BLOCK
from plugreg.exceptions import PluginNotActiveError, PlugregError
from plugreg.registry import PluginRegistry

API_PATH: Final = "/api/plugins"
"""Path of all operations. Adapters pass on every path below it, known or not."""

ASSETS_PATH: Final = "/static/plugins"
"""Path of the files of plugins, as admin details name them."""

OTHER_PATHS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "plugins_asset": f"{ASSETS_PATH}/{{plugin}}/{{path}}",
        "plugins_other_asset": f"{ASSETS_PATH}/{{plugin}}{{rest}}",
        "plugins_other": f"{API_PATH}{{rest}}",
    }
)
"""Names and templates of the paths that adapters pass on beside those of the operations.

A framework has a route for each, so that neither its pages nor its redirects show. ``{path}`` may
have slashes; ``{rest}`` is empty or begins with a slash.
"""

Served: TypeAlias = PluginRegistry | PluginAPI
"""The argument of adapters: a registry, or a PluginAPI with the options of the host."""


def as_api(served: Served, *, extended: bool = False) -> PluginAPI:
    """Return the API of an adapter, extended if the host requests it.

    Args:
        served: The registry, or a PluginAPI with the options of the host.
        extended: Whether a registry is served with the extended API.

    Raises:
        ValueError: If a PluginAPI was given that has not the extended API.
    """
    api = served if isinstance(served, PluginAPI) else PluginAPI(served, extended=extended)
    if extended and not api.extended:
        raise ValueError(
            "extended=True is an option of the PluginAPI; write PluginAPI(registry, extended=True)"
        )
    return api


Identify: TypeAlias = Callable[[Any], Actor | Awaitable[Actor | None] | None]
"""The host's function that returns the actor of a framework's request; None is anonymous."""

Form: TypeAlias = Mapping[str, str | None]
"""The fields of a form that a framework has read already, None for a file."""

_logger = logging.getLogger("plugreg")
_ASSET: Final = re.compile(rf"{ASSETS_PATH}/(?P<slug>[^/]+)/(?P<path>.+)", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Request of a client.

    Args:
        method: The HTTP method.
        path: The decoded path, from :data:`API_PATH` or :data:`ASSETS_PATH` on. Prefix and mount
            point belong to the adapter.
        url: The address as the client sees it, without the query.
        query: The query as it was sent.
        headers: The headers. A plain dict has its names in lower case; the mappings of
            frameworks ignore case.
        body: The body as it was sent, or a function that reads it and raises the APIError to
            answer if that fails. It is called after all other checks.
        token: The name of the field with the framework's own token of forms, and a function that
            returns it, where the framework has checked the token of a form that was sent.
    """

    method: str
    path: str
    url: str = ""
    query: bytes = b""
    headers: Any = field(default_factory=dict, repr=False)
    body: bytes | Callable[[], bytes | Form] = field(default=b"", repr=False)
    token: tuple[str, Callable[[], str]] | None = field(default=None, repr=False)

    @property
    def is_preflight(self) -> bool:
        """Whether a browser asks if a page of another site may send a request (CORS)."""
        return self.method == "OPTIONS" and bool(self.header("access-control-request-method"))

    def header(self, name: str) -> str:
        """Return a header, empty if it was not sent.

        Args:
            name: The name of the header, in lower case.
        """
        value: str = self.headers.get(name, "")
        return value


class Response(NamedTuple):
    """Answer to a request.

    Attributes:
        status: The status code.
        headers: The headers, with their names in title case.
        body: The body.
        blocks: The content of a long file, in place of the body; None for all other answers.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    blocks: Iterator[bytes] | None = None


class Responder:
    """Answers requests to the plugin API of a registry. Immutable; serves many threads.

    Args:
        registry: The registry, or a PluginAPI with the options of the host.
    """

    def __init__(self, registry: Served) -> None:
        self.api = as_api(registry)
        paths: dict[str, dict[str, Operation[Any]]] = {}
        for operation in self.api.operations:
            paths.setdefault(operation.path, {})[operation.method] = operation
        # A fixed name wins over a parameter at the same place.
        ordered = sorted(paths, key=lambda path: [part[:1] == "{" for part in path.split("/")])
        self._routes = [(_pattern_of(path), paths[path]) for path in ordered]

    def respond(self, request: Request, actor: Actor | None) -> Response:
        """Return the answer to a request; refusals and faults are answers too.

        Nothing is raised. The request is checked in this order: the path (404), the method (405),
        the actor (401, 403), the site that has sent a change (403), the query (400), the plugin
        or setting (404), the body (400, 411, 413, 415). Changes that other processes have stored
        are applied before.

        Args:
            request: The request.
            actor: The caller; None is anonymous.
        """
        try:
            self.api.registry.shared.keep_up()
            response = self._answer(request, actor)
        except PlugregError as error:
            refusal = refusal_of(error)
            response = _json(refusal.status, refusal.body, refusal.headers)
        except Exception as error:  # noqa: BLE001 - a fault of ours is logged, and ends no server
            response = _answer_fault(request, error)
        if request.method == "HEAD":
            return response._replace(body=b"", blocks=None)
        return response

    def respond_to(
        self,
        request: Request,
        native: Any,
        identify: Identify | None,
        async_to_sync: Callable[[Callable[..., Any]], Callable[..., Any]],
    ) -> Response:
        """Return the answer to a request of a sync framework.

        Args:
            request: The request.
            native: The framework's own request.
            identify: The host's function, which is given *native*. Its exceptions pass through.
            async_to_sync: Makes a sync function of an async function.
        """
        actor: Any = None
        if identify is not None and self.needs_actor(request):
            actor = identify(native)
            if isawaitable(actor):
                actor = async_to_sync(_wait)(actor)
        return self.respond(request, actor)

    def needs_actor(self, request: Request) -> bool:
        """Return whether the answer depends on the caller.

        Args:
            request: The request.
        """
        is_public = self.api.public_assets and request.path.startswith(f"{ASSETS_PATH}/")
        return not (is_public or request.is_preflight)

    def _answer(self, request: Request, actor: Actor | None) -> Response:
        if request.is_preflight:
            # Whether other sites may ask is for the host to say, in headers that it adds.
            return Response(204, {"Cache-Control": "no-store"})
        if asset := _ASSET.fullmatch(request.path):
            _choose({"GET": None}, request.method)
            if not self.api.public_assets:
                READ.check(actor)
            return self._answer_asset(request, asset["slug"], asset["path"])
        methods, names = self._route(request.path)
        if request.method == "OPTIONS" and "OPTIONS" not in methods:
            return _answer_options(methods, ANY.check(actor))
        operation = _choose({"OPTIONS": None, **methods}, request.method)
        operation.access.check(actor)
        check_site(request, self.api.trusted_origins)
        query = read_pairs(request.query)
        given = dict(query)
        answer = getattr(self.api, operation.id).run(
            actor,
            {**given, **names},
            lambda: read_request(request),
            form=is_form(request.header("content-type")),
        )
        if answer is None:
            return Response(operation.status, {"Cache-Control": "no-store"})
        if operation.many:
            return _json(operation.status, [_with_source(request, item) for item in answer])
        value = _with_source(request, answer)
        if PAGING[0] in operation.query:
            if self.api.bare_list_without_limit and not given.get("limit"):
                return _json(operation.status, value["results"])
            value["next"] = _link(request, query, answer.next)
            value["previous"] = _link(request, query, answer.previous)
        return _json(operation.status, value)

    def _route(self, path: str) -> tuple[Mapping[str, Operation[Any]], dict[str, str]]:
        """Return the operations of a path by their methods, and the parameters in it."""
        for pattern, methods in self._routes:
            if match := pattern.fullmatch(path):
                return methods, match.groupdict()
        raise errors.NotFoundError

    def _answer_asset(self, request: Request, slug: str, path: str) -> Response:
        """Answer a file of an active plugin. Its content at the same address may change."""
        try:
            asset = self.api.registry.assets(slug, path)
            body = asset.content if asset.size <= BLOCK else b""
        except (LookupError, PluginNotActiveError, OSError):
            raise errors.NotFoundError from None
        headers = {
            "ETag": asset.etag,
            "Cache-Control": "no-cache" if self.api.public_assets else "private, no-cache",
            "X-Content-Type-Options": "nosniff",
        }
        tags = request.header("if-none-match").split(",")
        if any(tag.strip().removeprefix("W/") in (asset.etag, "*") for tag in tags):
            return Response(304, headers)
        if re.search("html|xml", asset.content_type):
            # A document that is opened itself would run its scripts as the host's own.
            headers["Content-Security-Policy"] = "sandbox"
        content = {"Content-Type": asset.content_type, "Content-Length": str(asset.size)}
        blocks = asset.blocks() if asset.size > BLOCK else None
        return Response(200, {**content, **headers}, body, blocks)


async def _wait(awaitable: Awaitable[Actor | None]) -> Actor | None:
    return await awaitable


def as_prefix(prefix: str) -> str:
    """Return a prefix of paths with a slash before it and none behind.

    An empty prefix stays empty.

    Args:
        prefix: The prefix, with slashes or without.
    """
    name = prefix.strip("/")
    return f"/{name}" if name else ""


def _pattern_of(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path))


def _choose(methods: Mapping[str, Any], method: str) -> Any:
    """Return the item of a method; HEAD is GET. Raises MethodNotAllowedError."""
    wanted = "GET" if method == "HEAD" else method
    if wanted not in methods:
        raise errors.MethodNotAllowedError(method, with_head(methods))
    return methods[wanted]


def with_head(methods: Collection[str]) -> list[str]:
    """Return methods in order, with HEAD where GET is.

    Args:
        methods: The methods.
    """
    return sorted({*methods, *(["HEAD"] if "GET" in methods else [])})


def _answer_options(methods: Mapping[str, Operation[Any]], actor: Actor) -> Response:
    """Answer OPTIONS with the operations that this actor may use at a path, and no others."""
    usable = [operation for operation in methods.values() if operation.access.allows(actor)]
    allow = with_head(["OPTIONS", *(operation.method for operation in usable)])
    described = describe_forms(next(iter(methods.values())).path, usable)
    return _json(200, described, {"Allow": ", ".join(allow)})


def check_site(request: Request, trusted: Collection[str]) -> None:
    """Refuse a change that a page of another site has made a browser send.

    Where a browser says how the sites are related, that decides: behind a proxy the Host may be
    another one than its user sees. A sibling ("same-site") is as foreign as any other, since
    domains below the same domain may have different owners. Other clients send neither header.

    Args:
        request: The request.
        trusted: Origins of other sites whose pages may make changes.

    Raises:
        CrossSiteError: If such a page has sent it.
    """
    origin, fetch_site = request.header("origin"), request.header("sec-fetch-site")
    if request.method in ("GET", "HEAD") or "*" in trusted or origin in trusted:
        return
    if fetch_site:
        is_own = fetch_site in ("same-origin", "none")
    else:
        is_own = not origin or _is_at(request.url, origin)
    if not is_own:
        raise errors.CrossSiteError(origin)


def _is_at(url: str, origin: str) -> bool:
    """Return whether *origin* names the host of *url*, whose schemes may differ behind a proxy.

    Some proxies write the usual port of a scheme into Host, which no browser writes.
    """
    scheme, separator, own = origin.lower().partition("://")
    port = {"http": ":80", "https": ":443"}.get(scheme, "")
    host = _split(url).netloc.lower()
    return bool(separator) and own.removesuffix(port) == host.removesuffix(port) != ""


def _split(url: str) -> SplitResult:
    """Return the parts of a URL, the path alone where the client's Host is no host."""
    try:
        return urlsplit(url)
    except ValueError:
        _, slash, path = url.partition("://")[2].partition("/")
        return SplitResult("", "", slash + path, "", "")


def read_request(request: Request) -> Any:
    """Return the value of a request's body: any JSON value, or a form's fields as a dict.

    Args:
        request: The request.

    Raises:
        APIError: If the body is too large, of an unknown type, cannot be parsed, or has a file.
    """
    sent = request.body() if callable(request.body) else request.body
    if not isinstance(sent, bytes):
        for name, value in sent.items():
            if value is None:
                raise file_refused(name)
        return sent
    if len(sent) > LONGEST:
        raise errors.TooLargeError
    body = read_body(request.header("content-type"), sent)
    if body is None:
        # In Python None stands for no body; in JSON null is a body, of the wrong type.
        raise errors.InvalidError(
            {"non_field_errors": ["Invalid data. Expected a dictionary, but got null."]}
        )
    return body


def _with_source(request: Request, answer: Model) -> dict[str, Any]:
    """Return an answer whose script is where this API serves it, behind prefix and mount point."""
    value = answer.to_json()
    source = value.get("source")
    if isinstance(source, str) and source.startswith(f"{ASSETS_PATH}/"):
        value["source"] = _split(request.url).path.rpartition(API_PATH)[0] + source
    return value


def _link(
    request: Request, query: Iterable[tuple[str, str]], page: tuple[int, int] | None
) -> str | None:
    """Return the address of another page, with the other parameters of the query."""
    if page is None:
        return None
    limit, offset = page
    pairs = [pair for pair in query if pair[0] not in ("limit", "offset")]
    pairs += [("limit", str(limit)), *([("offset", str(offset))] if offset else [])]
    return f"{request.url}?{urlencode(pairs)}"


def log_fault(request: Request, error: Exception) -> str:
    """Log an unforeseen exception without its message and its secrets; return its type's name.

    Args:
        request: The request that failed.
        error: The exception.
    """
    kind = explain(error).exception_type
    places = places_of(error)
    _logger.error("%s %r failed with %s at %s", request.method, request.path, kind, places)
    return kind


def _answer_fault(request: Request, error: Exception) -> Response:
    """Log an unforeseen exception and answer it, both without its message and its secrets."""
    kind = log_fault(request, error)
    fault = {
        "error": kind.rpartition(".")[2],
        "error_class": kind,
        "detail": "The request failed; the log of the server says where.",
        "path": request.path,
        "status_code": 500,
    }
    return _json(500, fault)


def _json(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Response:
    content = json.dumps(value, allow_nan=False).encode()
    common = {
        "Content-Type": "application/json",
        # An answer to HEAD has the length too, but no content to count.
        "Content-Length": str(len(content)),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(status, {**common, **(headers or {})}, content)
