"""The plugin API as a router of FastAPI, with the extra ``plugreg[fastapi]``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from plugreg.admin import PAGE_PATH, AdminPage, make_responder
from plugreg.api.http import OTHER_PATHS, Identify, Served, as_api, as_prefix
from plugreg.api.operations import Operation
from plugreg.exceptions import MissingExtraError

try:
    from fastapi import APIRouter, Request, Response
    from fastapi.params import Depends
    from starlette.convertors import PathConvertor, register_url_convertor
except ImportError as error:
    raise MissingExtraError.of(error, __name__, "fastapi") from error

from plugreg.adapters.starlette import Forwarder


def create_router(
    registry: Served,
    *,
    identify: Identify | None = None,
    prefix: str = "",
    dependencies: Sequence[Depends] = (),
    admin: AdminPage | bool = False,
    extended: bool = False,
) -> APIRouter:
    """Return a router with the operations of the plugin API.

    It is for ``app.include_router``. Each operation is a route of its own, named by its id, so
    that FastAPI's document has it. The document names no security scheme unless
    ``dependencies=[Security(scheme)]`` adds the host's.

    Args:
        registry: The registry, or a PluginAPI with the options of the host.
        identify: Returns the actor of a request, as for
            :func:`plugreg.adapters.starlette.create_app`.
        prefix: Put before each path.
        dependencies: FastAPI's dependencies. They run before every answer, refusals included, but
            not before public assets. They must not read the body.
        admin: Whether the page for operators is served, at ``admin/`` behind *prefix*, or its
            options.
        extended: Whether plugins and settings have more fields, and there are more operations; see
            `plugreg.api.PluginAPI`.
    """
    responder = make_responder(as_api(registry, extended=extended), admin)
    forward = Forwarder(responder, identify)
    document = responder.api.openapi()
    router = APIRouter(prefix=as_prefix(prefix))

    def endpoint(template: str) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            path = template.format(**request.path_params)
            # The "$" that ends the routes' patterns matches before a last newline.
            end = "" if request.scope["path"].endswith(path) else "\n"
            return await forward(request, path + end)

        return answer

    for operation in responder.api.operations:
        router.add_api_route(
            operation.path,
            endpoint(operation.path),
            methods=[operation.method],
            name=operation.id,
            dependencies=list(dependencies),
            **_describe(operation, document),
        )
    register_url_convertor("plugreg_rest", _RestConvertor())
    templates = [OTHER_PATHS[name] for name in ("plugins_other", "plugins_other_asset")]
    for template in [*templates, *([f"{PAGE_PATH}{{rest}}"] if admin else [])]:
        # A route without methods accepts any; it needs an id, which would else be made of its
        # methods.
        is_public = responder.api.public_assets and template == OTHER_PATHS["plugins_other_asset"]
        router.add_api_route(
            template.replace("{rest}", "{rest:plugreg_rest}"),
            endpoint(template),
            methods=[],
            operation_id="plugins_other",
            dependencies=() if is_public else list(dependencies),
            include_in_schema=False,
        )
    return router


class _RestConvertor(PathConvertor):
    """Matches the rest of a path, newlines too."""

    regex = "(?s:/.*)?"


def _describe(operation: Operation[Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of an operation for FastAPI's document.

    Bodies are described in place, since a router cannot add to the named schemas of its host.
    """
    own = document["paths"][operation.path][operation.method.lower()]
    refusals = document["components"]["responses"]
    extra = {"parameters": own["parameters"]} if "parameters" in own else {}
    if body := own.get("requestBody"):
        schema = operation.input.model_json_schema()
        content = {kind: {"schema": schema} for kind in body["content"]}
        extra["requestBody"] = {**body, "content": content}
    answer: Any = operation.answer
    return {
        "operation_id": operation.id,
        "summary": operation.summary,
        "tags": own["tags"],
        "status_code": operation.status,
        "response_model": list[answer] if operation.many else answer,
        "responses": {
            int(status): refusals[response["$ref"].rpartition("/")[2]]
            for status, response in own["responses"].items()
            if "$ref" in response
        },
        "openapi_extra": extra,
    }
