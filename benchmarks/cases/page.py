"""The page for operators: its table of plugins, from the request to the response.

Beside it is a table of the same cells, joined by hand and without any of the promises.
"""

from __future__ import annotations

from html import escape
from typing import Any

from model import Budget, Case, How, Kind, Place, Timed, floor, ours


def by_hand(place: Place) -> Timed:
    slugs = [f"plugin-{number:04}" for number in range(place.size)][:500]

    def run() -> bytes:
        cells = (
            f'<tr><td><input type="checkbox" name="{escape(slug)}"><th>{escape(slug)}'
            f"<td>1.0<td>inactive<td>0/1<td>switched off<td><a href=activate>Activate</a>"
            for slug in slugs
        )
        return f"<table>{''.join(cells)}</table>".encode()

    return Timed(run=run)


def table(query: bytes) -> Any:
    """Return what asks for the table with a query, as an adapter does."""

    def start(place: Place) -> Timed:
        from plugreg import PluginRegistry
        from plugreg.admin import make_responder
        from plugreg.api import Actor
        from plugreg.api.http import Request

        actor = Actor(1, is_superuser=True)
        registry = PluginRegistry(
            "bench",
            group="no.such",
            builtin=[(f"plugin-{n:04}", "nowhere:Plugin") for n in range(place.size)],
        )
        registry.load()
        responder = make_responder(registry, admin=True)
        url = "http://shop.example/admin/"

        def run() -> object:
            request = Request(method="GET", path="/admin/", url=url, query=query)
            return responder.respond(request, actor)

        assert run().status == 200
        return Timed(run=run)

    return start


CASES = {
    "the table of plugins": Case(
        name="the table of plugins",
        how=How.EACH,
        counting="plugins",
        sizes=(100, 1_000, 10_000),
        quick=(100, 1_000),
        rounds=10,
        note="A page has 500 rows at most.",
        contestants=(
            floor("strings joined by hand", by_hand),
            ours("plugreg", table(b"")),
            ours("plugreg, sorted by state", table(b"sort=-state")),
            ours("plugreg, searched", table(b"search=plugin-00")),
        ),
        budgets=(Budget(of="plugreg", limit=0.2, kind=Kind.AT_MOST, sizes=(1_000,)),),
    )
}
