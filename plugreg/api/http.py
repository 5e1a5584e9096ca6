"""HTTP without a framework: a request comes in, its answer goes out (behaviour.md, section 1).

The adapters bring requests here; what is a rule of the API is decided here or further down.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import SplitResult, urlencode, urlsplit

from plugreg._support.guard import explain, places_of
from plugreg.api.access import ANY, READ, Actor
from plugreg.api.bodies import LONGEST, file_refused, is_form, read_body, read_pairs
from plugreg.api.errors import (
    APIError,
    CrossSiteError,
    InvalidError,
    MethodNotAllowedError,
    NotAuthenticatedError,
    NotFoundError,
    TooLargeError,
)
from plugreg.api.forms import describe
from plugreg.api.operations import Operation, refusal_of
from plugreg.api.paging import PAGING
from plugreg.api.plugin_api import PluginAPI
from plugreg.assets import BLOCK
from plugreg.exceptions import (
    AssetNotFoundError,
    PluginNotActiveError,
    PluginNotFoundError,
    PlugregError,
)
from plugreg.registry import PluginRegistry

API_PATH: Final = "/api/plugins"
"""Where all operations are; adapters hand on everything below it, known or not."""

ASSETS_PATH: Final = "/static/plugins"
"""Where the files of plugins are, as admin details name them (behaviour.md, section 13)."""

_logger = logging.getLogger("plugreg")
_ASSET: Final = re.compile(rf"{ASSETS_PATH}/(?P<slug>[^/]+)/(?P<path>.+)", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a client asks.

    ``path`` is decoded, and begins with :data:`API_PATH` or :data:`ASSETS_PATH`: what is before
    them is the adapter's. ``url`` is the address as the client sees it, without the query.
    ``query`` and ``body`` are as they came; ``body`` is None if it was too long to be read, and
    the APIError to answer if it could not be read otherwise. ``origin`` and ``fetch_site`` are the
    headers Origin and Sec-Fetch-Site. ``form`` are the fields of a form that the framework has read
    already, the value of a file being None; it is None itself for all other bodies.
    """

    method: str
    path: str
    url: str = ""
    query: bytes = b""
    content_type: str = ""
    if_none_match: str = ""
    origin: str = ""
    fetch_site: str = ""
    body: bytes | APIError | None = field(default=b"", repr=False)
    form: Mapping[str, str | None] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered: a status code, headers with their names in title case, and the body.

    ``blocks`` is not None for a long file, whose content they yield instead of ``body``.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    blocks: Iterator[bytes] | None = None


class Responder:
    """Answers requests to the plugin API of one registry. Never changes; serves many threads.

    Over a PluginRegistry it makes a PluginAPI without options; a host that wants options hands
    over the PluginAPI.
    """

    def __init__(self, registry: PluginRegistry | PluginAPI) -> None:
        self.api = registry if isinstance(registry, PluginAPI) else PluginAPI(registry)
        paths: dict[str, dict[str, Operation[Any]]] = {}
        for operation in self.api.operations:
            paths.setdefault(operation.path, {})[operation.method] = operation
        # A fixed name wins over a parameter at the same place (section 1.5).
        ordered = sorted(paths, key=lambda path: [part[:1] == "{" for part in path.split("/")])
        self._routes = tuple((_pattern(path), MappingProxyType(paths[path])) for path in ordered)

    def respond(self, request: Request, actor: Actor | None) -> Response:
        """Return the answer to ``request``, which ``actor`` made; None is nobody.

        Nothing is raised: what is refused, and what fails without having been foreseen, is an
        answer too. The order of refusals is the path (404), the method (405), the actor (401,
        403), a change that a page of another site has sent (403), the query (400), the plugin or
        setting (404), the body (400, 411, 413, 415). What other processes have stored is taken in
        before, by ``registry.shared.keep_up``.
        """
        try:
            self.api.service.registry.shared.keep_up()
            response = self._answer(request, actor)
        except APIError as refusal:
            response = _refused(refusal)
        except Exception as error:  # noqa: BLE001 - a fault of ours is logged, and ends no server
            response = _failed(request, error)
        if request.method == "HEAD":
            return replace(response, body=b"", blocks=None)
        return response

    def is_public(self, path: str) -> bool:
        """Return whether ``path`` is answered without asking who made the request."""
        return self.api.service.public_assets and path.startswith(f"{ASSETS_PATH}/")

    def _answer(self, request: Request, actor: Actor | None) -> Response:
        if asset := _ASSET.fullmatch(request.path):
            _chosen({"GET": None}, request.method)
            if not self.api.service.public_assets:
                READ.check(actor)
            return self._asset(request, asset["slug"], asset["path"])
        methods, names = self._routed(request)
        if request.method == "OPTIONS" and "OPTIONS" not in methods:
            return _described(methods, ANY.check(actor))
        operation = _chosen({"OPTIONS": None, **methods}, request.method)
        operation.access.check(actor)
        _check_site(request, self.api.service.trusted_origins)
        query = read_pairs(request.query)
        given = dict(query)
        answer = getattr(self.api, operation.id).run(
            actor,
            {**given, **names},
            lambda: _body(request),
            form=request.form is not None or is_form(request.content_type),
        )
        if answer is None:
            return Response(operation.status, {"Cache-Control": "no-store"})
        if operation.many:
            return _json(operation.status, [_placed(request, each.to_json()) for each in answer])
        value = _placed(request, answer.to_json())
        if PAGING[0] in operation.query:
            if self.api.service.bare_list_without_limit and not given.get("limit"):
                return _json(operation.status, value["results"])
            value["next"] = _link(request, query, answer.next)
            value["previous"] = _link(request, query, answer.previous)
        return _json(operation.status, value)

    def _routed(self, request: Request) -> tuple[Mapping[str, Operation[Any]], dict[str, str]]:
        """Return the operations of a path by their methods, and what the path names."""
        for pattern, methods in self._routes:
            if found := pattern.fullmatch(request.path):
                return methods, found.groupdict()
        raise NotFoundError

    def _asset(self, request: Request, slug: str, path: str) -> Response:
        """Answer a file of an active plugin. One address may have other content tomorrow."""
        try:
            asset = self.api.service.registry.assets(slug, path)
            body = asset.content if asset.size <= BLOCK else b""
        except (AssetNotFoundError, PluginNotActiveError, PluginNotFoundError, OSError):
            raise NotFoundError from None
        except PlugregError as error:
            raise refusal_of(error) from None
        headers = {
            "ETag": asset.etag,
            "Cache-Control": "no-cache" if self.api.service.public_assets else "private, no-cache",
            "X-Content-Type-Options": "nosniff",
        }
        tags = (each.strip().removeprefix("W/") for each in request.if_none_match.split(","))
        if any(each in (asset.etag, "*") for each in tags):
            return Response(304, headers)
        if re.search("html|xml", asset.content_type):
            # A document that is opened itself would run its scripts as the host's own.
            headers["Content-Security-Policy"] = "sandbox"
        told = {"Content-Type": asset.content_type, "Content-Length": str(asset.size)}
        blocks = asset.blocks() if asset.size > BLOCK else None
        return Response(200, {**told, **headers}, body, blocks)


def as_prefix(prefix: str) -> str:
    """Return a prefix of paths with one slash before it and none behind; "" stays empty."""
    named = prefix.strip("/")
    return f"/{named}" if named else ""


# -- the parts --------------------------------------------------------------------------------


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path))


def _chosen(methods: Mapping[str, Any], method: str) -> Any:
    """Return what is there for a method; HEAD is GET. Raises MethodNotAllowedError."""
    wanted = "GET" if method == "HEAD" else method
    if wanted not in methods:
        raise MethodNotAllowedError(
            method, sorted({*methods, *({"HEAD"} if "GET" in methods else ())})
        )
    return methods[wanted]


def _described(methods: Mapping[str, Operation[Any]], actor: Actor) -> Response:
    """Answer OPTIONS with what this actor may do at a path, and nothing else."""
    usable = [each for each in methods.values() if each.access.allows(actor)]
    names = {each.method for each in usable}
    allow = sorted({*names, "OPTIONS", *({"HEAD"} if "GET" in names else ())})
    described = describe(next(iter(methods.values())).path, usable)
    return _json(200, described, {"Allow": ", ".join(allow)})


def _check_site(request: Request, trusted: Collection[str]) -> None:
    """Refuse a change that a page of another site has made a browser send.

    Where a browser says how the sites are related, that decides: behind a proxy the Host may be
    another one than its user sees. A sibling ("same-site") is as foreign as any other, since who
    owns one domain below another need not own all. Other clients send neither header.
    """
    if request.method in ("GET", "HEAD") or "*" in trusted or request.origin in trusted:
        return
    if request.fetch_site:
        is_own = request.fetch_site in ("same-origin", "none")
    else:
        is_own = not request.origin or _is_at(request.url, request.origin)
    if not is_own:
        raise CrossSiteError(request.origin)


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


def _body(request: Request) -> Any:
    if request.form is not None:
        for name, text in request.form.items():
            if text is None:
                raise file_refused(name)
        return request.form
    if isinstance(request.body, APIError):
        raise request.body
    if request.body is None or len(request.body) > LONGEST:
        raise TooLargeError
    body = read_body(request.content_type, request.body)
    if body is None:
        # In Python None is no body at all; null is one, and none that says anything.
        raise InvalidError(
            {"non_field_errors": ["Invalid data. Expected a dictionary, but got null."]}
        )
    return body


def _placed(request: Request, value: dict[str, Any]) -> dict[str, Any]:
    """Return an answer whose script is where this API serves it, behind prefix and mount point."""
    source = value.get("source")
    if isinstance(source, str) and source.startswith(f"{ASSETS_PATH}/"):
        before = _split(request.url).path.rpartition(API_PATH)[0]
        return {**value, "source": before + source}
    return value


def _link(
    request: Request, query: Iterable[tuple[str, str]], page: tuple[int, int] | None
) -> str | None:
    """Return the address of another page, with all else in the query kept (section 1.4)."""
    if page is None:
        return None
    limit, offset = page
    pairs = [pair for pair in query if pair[0] not in ("limit", "offset")]
    pairs += [("limit", str(limit)), *([("offset", str(offset))] if offset else [])]
    return f"{request.url}?{urlencode(pairs)}"


def _refused(refusal: APIError) -> Response:
    headers = {}
    if isinstance(refusal, NotAuthenticatedError):
        headers["WWW-Authenticate"] = "Token"
    if isinstance(refusal, MethodNotAllowedError):
        headers["Allow"] = ", ".join(refusal.allowed)
    return _json(refusal.status, refusal.body, headers)


def _failed(request: Request, error: Exception) -> Response:
    """Log an unforeseen exception and answer it. Its text is in neither: it may hold a secret."""
    kind = explain(error).exception_type
    places = places_of(error)
    _logger.error("%s %r failed with %s at %s", request.method, request.path, kind, places)
    return _json(
        500,
        {
            "error": kind.rpartition(".")[2],
            "error_class": kind,
            "detail": "The request failed; the log of the server says where.",
            "path": request.path,
            "status_code": 500,
        },
    )


def _json(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Response:
    content = json.dumps(value, allow_nan=False).encode()
    plain = {
        "Content-Type": "application/json",
        # An answer to HEAD has the length too, but no content to count.
        "Content-Length": str(len(content)),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(status, {**plain, **(headers or {})}, content)
