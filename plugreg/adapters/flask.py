"""The plugin API as a blueprint of Flask, with the extra ``plugreg[flask]``."""

from __future__ import annotations

from typing import IO, cast
from urllib.parse import quote

from plugreg.admin import PAGE_PATH, AdminPage, make_responder
from plugreg.api.bodies import LONGEST, cut_short, parse_length
from plugreg.api.errors import TooLargeError
from plugreg.api.http import OTHER_PATHS, Form, Identify, Request, Served, as_api, as_prefix
from plugreg.exceptions import MissingExtraError
from plugreg.registry import PluginRegistry

try:
    import flask
    from flask.sansio.blueprints import BlueprintSetupState
    from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
    from werkzeug.routing import BaseConverter
    from werkzeug.wsgi import LimitedStream

    from plugreg.adapters._flask_command import EXTENSION
except ImportError as error:
    raise MissingExtraError.of(error, __name__, "flask") from error


def create_blueprint(
    registry: Served,
    *,
    identify: Identify | None = None,
    prefix: str = "",
    name: str = "plugreg",
    admin: AdminPage | bool = False,
    extended: bool = False,
) -> flask.Blueprint:
    """Return a blueprint that serves the plugin API and the files of plugins.

    ``flask plugreg`` (or the blueprint's *name*) offers the commands of plugreg on the registry,
    with the extra ``plugreg[cli]``. Its paths are ``/api/plugins/…`` and ``/static/plugins/…``,
    behind *prefix*. The endpoints have the ids of the operations, so that
    ``url_for("plugreg.plugins_list")`` works; the endpoint of files is ``plugins_asset``.

    Args:
        registry: The registry, or a PluginAPI with the options of the host.
        identify: Returns the actor of a request. An async function needs ``flask[async]``. Flask
            answers its exceptions. Without it every operation is refused with 401.
        prefix: Put before each path.
        name: The name of the blueprint.
        admin: Whether the page for operators is served, at ``admin/`` behind *prefix*, or its
            options. Its endpoint is ``plugins_page``.
        extended: Whether plugins and settings have more fields, and there are more operations; see
            `plugreg.api.PluginAPI`.
    """
    responder = make_responder(as_api(registry, extended=extended), admin)
    blueprint = flask.Blueprint(name, __name__, url_prefix=as_prefix(prefix) or None)
    blueprint.record(_add_converter)
    blueprint.record(lambda state: _add_command(state, responder.api.registry, name))

    def add(endpoint: str, template: str, method: str) -> None:
        def view(**names: str) -> flask.Response:
            path = template.format(**names)
            if not flask.request.path.endswith(path):
                # Without strict slashes a slash may be missing, or there may be one too many.
                path = flask.request.path
            wait = flask.current_app.async_to_sync
            answer = responder.respond_to(_request(path), flask.request, identify, wait)
            response = flask.Response(answer.blocks or answer.body, answer.status)
            response.headers.clear()
            response.headers.update(answer.headers)
            return response

        rule = template.replace("{path}", "{path:path}").replace("{rest}", "{plugreg_rest:rest}")
        blueprint.add_url_rule(
            rule.translate({ord("{"): "<", ord("}"): ">"}),
            endpoint,
            view,
            methods=[method],
            # Flask would answer OPTIONS itself, and redirect to the path with a slash at its end.
            provide_automatic_options=False,
            strict_slashes=False,
        )

    for operation in responder.api.operations:
        add(operation.id, operation.path, operation.method)
    for endpoint, template in OTHER_PATHS.items():
        add(endpoint, template, "GET")
    if admin:
        add("plugins_page", f"{PAGE_PATH}{{rest}}", "GET")
    blueprint.record(_allow_any_method)
    return blueprint


class _RestConverter(BaseConverter):
    """Matches the rest of a path, newlines too."""

    regex = r"(?s:/.*)?"
    part_isolating = False


def _add_converter(state: BlueprintSetupState) -> None:
    state.app.url_map.converters.setdefault("plugreg_rest", _RestConverter)


def _add_command(state: BlueprintSetupState, registry: PluginRegistry, name: str) -> None:
    state.app.extensions.setdefault(EXTENSION, {})[name] = registry
    from plugreg.cli import group

    state.app.cli.add_command(group(registry, name=name))


def _allow_any_method(state: BlueprintSetupState) -> None:
    # Flask has no option for it; a rule of werkzeug without methods matches any.
    for rule in state.app.url_map.iter_rules():
        if "<plugreg_rest:" in rule.rule:
            rule.methods = None


def _request(path: str) -> Request:
    request = flask.request
    # Werkzeug leaves out an invalid host, for example with an underscore.
    host = request.host or request.headers.get("Host", "")
    return Request(
        method=request.method,
        path=path,
        url=f"{request.scheme}://{host}{quote(request.root_path + request.path)}",
        query=request.query_string,
        headers=request.headers,
        body=lambda: _read_body(request),
    )


def _read_body(request: flask.Request) -> bytes | Form:
    length = parse_length(request.environ)
    if length is None:
        # The client ends the chunks; one byte more shows that there are too many.
        limited = LimitedStream(request.stream, LONGEST + 1, is_max=True)
        request.stream = cast("IO[bytes]", limited)
    try:
        body = request.get_data()
    except RequestEntityTooLarge:
        raise TooLargeError from None
    except (ClientDisconnected, OSError):
        raise cut_short() from None
    if not body and "form" in vars(request):
        # The host has read a form in search of its token. Of fields with the same name the last
        # counts.
        fields = {name: values[-1] for name, values in request.form.lists()}
        return {**fields, **dict.fromkeys(request.files)}
    # A server that marks the end of each body marks it where the client left, too.
    if length is not None and len(body) < length:
        raise cut_short()
    return body
