"""The plugin API as a blueprint of Flask, with the extra ``plugreg[flask]``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import IO, Any, TypeAlias, cast
from urllib.parse import quote

from plugreg.api.access import Actor
from plugreg.api.bodies import LONGEST, cut_short, length_of
from plugreg.api.errors import APIError, TooLargeError
from plugreg.api.http import API_PATH, ASSETS_PATH, Request, Responder, as_prefix
from plugreg.api.plugin_api import PluginAPI
from plugreg.exceptions import MissingExtraError
from plugreg.registry import PluginRegistry

try:
    import flask
    from flask.sansio.blueprints import BlueprintSetupState
    from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
    from werkzeug.routing import BaseConverter
    from werkzeug.wsgi import LimitedStream
except ImportError as error:
    raise MissingExtraError.of(error, "plugreg.adapters.flask", "flask", "flask") from error

Identify: TypeAlias = Callable[[flask.Request], Actor | Awaitable[Actor | None] | None]
"""The host's function that says who makes a request; None is nobody."""


def create_blueprint(
    registry: PluginRegistry | PluginAPI,
    *,
    identify: Identify | None = None,
    prefix: str = "",
    name: str = "plugreg",
) -> flask.Blueprint:
    """Return a blueprint that serves the plugin API of ``registry``, and plugins' files.

    Its paths are ``/api/plugins/…`` and ``/static/plugins/…``, behind ``prefix``; the endpoints
    are named by the ids of the operations, so that ``url_for("plugreg.plugins_list")`` works, and
    ``plugins_asset``. ``identify`` is the host's: a function that makes an Actor of a request; an
    async one needs ``flask[async]``. What it raises is Flask's to answer. Without it every
    operation is refused with 401. A PluginAPI instead of the registry brings its options along.
    """
    responder = Responder(registry)
    blueprint = flask.Blueprint(name, __name__, url_prefix=as_prefix(prefix) or None)
    blueprint.record(_know_rest)

    def add(rule: str, template: str, endpoint: str, method: str = "GET") -> None:
        def view(**names: str) -> flask.Response:
            path = template.format(**names)
            if not flask.request.path.endswith(path):
                # Without strict slashes one may be missing, or be one too many.
                path = flask.request.path
            actor = None
            if identify is not None and not responder.is_public(path):
                actor = _actor(identify(flask.request))
            answer = responder.respond(_request(path), actor)
            response = flask.Response(answer.blocks or answer.body, answer.status)
            response.headers.clear()
            response.headers.update(answer.headers)
            return response

        blueprint.add_url_rule(
            rule,
            endpoint,
            view,
            methods=[method],
            # Flask would answer OPTIONS itself, and redirect to the path with a slash at its end.
            provide_automatic_options=False,
            strict_slashes=False,
        )

    for each in responder.api.operations:
        rule = each.path.replace("{", "<").replace("}", ">")
        add(rule, each.path, each.id, each.method)
    asset = f"{ASSETS_PATH}/<plugin>"
    add(f"{asset}/<path:path>", f"{ASSETS_PATH}/{{plugin}}/{{path}}", "plugins_asset")
    # All else, so that neither the framework's pages nor its redirects show.
    add(f"{asset}<plugreg_rest:rest>", f"{ASSETS_PATH}/{{plugin}}{{rest}}", "plugins_other_asset")
    add(f"{API_PATH}<plugreg_rest:rest>", f"{API_PATH}{{rest}}", "plugins_other")
    blueprint.record(_allow_any_method)
    return blueprint


class _Rest(BaseConverter):
    """Takes the rest of a path, whatever is in it."""

    regex = r"(?s:/.*)?"
    part_isolating = False


def _know_rest(state: BlueprintSetupState) -> None:
    state.app.url_map.converters.setdefault("plugreg_rest", _Rest)


def _allow_any_method(state: BlueprintSetupState) -> None:
    # Flask has no word for it; in werkzeug's it is a rule without methods.
    for rule in state.app.url_map.iter_rules():
        if "<plugreg_rest:" in rule.rule:
            rule.methods = None


def _actor(found: Any) -> Actor | None:
    async def awaited() -> Any:
        return await found

    if isawaitable(found):
        found = flask.current_app.async_to_sync(awaited)()
    actor: Actor | None = found
    return actor


def _request(path: str) -> Request:
    request = flask.request
    body: bytes | APIError
    form = None
    try:
        body = _body(request)
        # The host may have read a form in search of its token; then no bytes are left.
        form = None if body else _form(request)
    except RequestEntityTooLarge:
        body = TooLargeError()
    except APIError as error:
        body = error
    return Request(
        method=request.method,
        path=path,
        url=request.base_url if request.host else _url(request),
        query=request.query_string,
        content_type=request.headers.get("Content-Type", ""),
        if_none_match=request.headers.get("If-None-Match", ""),
        origin=request.headers.get("Origin", ""),
        fetch_site=request.headers.get("Sec-Fetch-Site", ""),
        body=body,
        form=form,
    )


def _url(request: flask.Request) -> str:
    """Return the address of a request whose Host werkzeug leaves out, as one with an underscore."""
    path = quote(f"{request.root_path}{request.path}")
    return f"{request.scheme}://{request.headers.get('Host', '')}{path}"


def _body(request: flask.Request) -> bytes:
    length = length_of(request.environ)
    if length is None:
        # Chunks end where the client likes; one byte more tells that there are too many.
        limited = LimitedStream(request.stream, LONGEST + 1, is_max=True)
        request.stream = cast("IO[bytes]", limited)
    try:
        body = request.get_data()
    except (ClientDisconnected, OSError):
        raise cut_short() from None
    # A server that marks the end of each body marks it where the client left, too.
    if length is not None and len(body) < length and "form" not in vars(request):
        raise cut_short()
    return body


def _form(request: flask.Request) -> dict[str, str | None] | None:
    """Return the fields of a form, the last of each name, if there are any."""
    texts = {name: values[-1] for name, values in request.form.lists()}
    return {**texts, **dict.fromkeys(request.files)} or None
