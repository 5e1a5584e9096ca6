"""The plugin API as URL patterns of Django, with the extra ``plugreg[django]``."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import quote

from plugreg.admin import PAGE_PATH, AdminPage, make_responder
from plugreg.api.bodies import LONGEST, cut_short, parse_length, read_to_end
from plugreg.api.errors import TooLargeError
from plugreg.api.http import OTHER_PATHS, Form, Identify, Request, Served, as_api, as_prefix
from plugreg.exceptions import MissingExtraError

try:
    from asgiref.sync import async_to_sync, sync_to_async
    from django import conf
    from django.core.exceptions import RequestDataTooBig
    from django.http import (
        HttpRequest,
        HttpResponse,
        RawPostDataException,
        StreamingHttpResponse,
    )
    from django.http.response import HttpResponseBase
    from django.middleware.csrf import get_token
    from django.urls import URLPattern, re_path
    from django.views.decorators import csrf
except ImportError as error:
    raise MissingExtraError.of(error, __name__, "django") from error


def urlpatterns(
    registry: Served,
    *,
    identify: Identify | None = None,
    prefix: str = "",
    csrf_exempt: bool = False,
    admin: AdminPage | bool = False,
    extended: bool = False,
) -> list[URLPattern]:
    """Return URL patterns for the plugin API of a registry, to use or to include.

    Their paths are ``/api/plugins/…`` and ``/static/plugins/…``, behind *prefix*. Their names are
    the ids of the operations, and ``plugins_asset`` for files of plugins. A host whose own static
    files are at ``/static/`` serves those first. The view is sync; under ASGI Django runs it in a
    worker thread.

    Args:
        registry: The registry, or a PluginAPI with the options of the host.
        identify: Returns the actor of a request; sync or async. Django answers its exceptions.
            Without it every operation is refused with 401.
        prefix: Put before each path.
        csrf_exempt: Whether Django's CSRF middleware ignores the paths. An *identify* that trusts
            the session's cookie needs the middleware. One that reads a header, as a token, which
            no page of another site can make a browser send, does not.
        admin: Whether the page for operators is served, at ``admin/`` behind *prefix*, or its
            options. Django's CSRF protection always guards its forms. Its name is
            ``plugins_page``. Where Django's own admin is at that path, give a prefix.
        extended: Whether plugins and settings have more fields, and there are more operations; see
            `plugreg.api.PluginAPI`.
    """
    api = as_api(registry, extended=extended)
    responder = make_responder(api, admin, conf.settings.SECRET_KEY if admin else None)

    def view_of(template: str) -> Callable[..., HttpResponseBase]:
        is_page = template.startswith(PAGE_PATH)

        def view(request: HttpRequest, **names: str) -> HttpResponseBase:
            own = _request(request, template.format(**names), has_token=is_page)
            answer = responder.respond_to(own, request, identify, async_to_sync)
            headers = dict(answer.headers)
            if answer.blocks is not None:
                blocks = _stream(answer.blocks) if _is_asgi(request) else answer.blocks
                return StreamingHttpResponse(blocks, status=answer.status, headers=headers)
            response = HttpResponse(answer.body, status=answer.status, headers=headers)
            if "Content-Type" not in answer.headers:
                del response["Content-Type"]
            return response

        guard: Any = csrf.csrf_protect if is_page else csrf.csrf_exempt if csrf_exempt else None
        guarded: Callable[..., HttpResponseBase] = view if guard is None else guard(view)
        return guarded

    templates = {operation.id: operation.path for operation in responder.api.operations}
    pages = {"plugins_page": f"{PAGE_PATH}{{rest}}"} if admin else {}
    return [
        re_path(_regex(as_prefix(prefix) + template), view_of(template), name=name)
        for name, template in {**templates, **OTHER_PATHS, **pages}.items()
    ]


def _regex(template: str) -> str:
    """Return the pattern of the paths that a template stands for. Django has no slash before it."""
    groups = {"path": r"[\s\S]+", "rest": r"(?:/[\s\S]*)?"}
    pattern = re.sub(
        r"\\{(\w+)\\}",
        lambda name: f"(?P<{name[1]}>{groups.get(name[1], '[^/]+')})",
        re.escape(template.lstrip("/")),
    )
    return rf"^{pattern}\Z"


def _request(request: HttpRequest, within: str, *, has_token: bool = False) -> Request:
    # Bytes of the query are decoded as Latin-1 under WSGI, as UTF-8 under ASGI.
    encoding = "utf-8" if _is_asgi(request) else "latin-1"
    return Request(
        method=request.method or "",
        path=within,
        # Django's own function would take a % or ? within the path as it stands.
        url=f"{request.scheme}://{request.get_host()}{quote(request.path)}",
        query=request.META.get("QUERY_STRING", "").encode(encoding),
        headers=request.headers,
        body=lambda: _read_body(request),
        # Asking for the token sets its cookie.
        token=("csrfmiddlewaretoken", lambda: get_token(request)) if has_token else None,
    )


def _is_asgi(request: HttpRequest) -> bool:
    return hasattr(request, "scope")


def _read_body(request: HttpRequest) -> bytes | Form:
    """Return the body as it was sent. For Django a body without a length is empty."""
    # An ASGI server always marks the end.
    length = parse_length({"wsgi.input_terminated": _is_asgi(request), **request.META})
    try:
        if length is None:
            most = conf.settings.DATA_UPLOAD_MAX_MEMORY_SIZE
            return read_to_end(
                request if _is_asgi(request) else request.META["wsgi.input"],
                LONGEST if most is None else min(most, LONGEST),
            )
        body: bytes = request.body
    except RequestDataTooBig:
        raise TooLargeError from None
    except OSError:
        raise cut_short() from None
    except RawPostDataException:
        # The CSRF middleware has parsed a multipart form in search of its token.
        return {**request.POST.dict(), **dict.fromkeys(request.FILES)}
    if len(body) < length:
        raise cut_short()
    return body


async def _stream(blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
    read = sync_to_async(lambda: next(blocks, b""))
    while block := await read():
        yield block
