"""A page of 50 out of many plugins: one flag, one word in key and name, ordered.

Beside it is the same from a plain list of slotted dataclasses, without any preparation.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any

from model import Budget, Case, How, Place, Timed, floor, ours

WORDS = ("tea", "coffee", "discount", "panel", "tax", "report", "gift", "wrap", "label", "audit")


@dataclass(slots=True)
class Row:
    """What a list without any preparation holds."""

    key: str
    name: str
    active: bool
    builtin: bool


def names(size: int) -> list[str]:
    """Return the same names for everybody."""
    import random

    chosen = random.Random(1)
    return [f"{chosen.choice(WORDS)}-{chosen.choice(WORDS)}-{n}" for n in range(size)]


def plain(place: Place) -> Timed:
    rows = [Row(each, each, active=False, builtin=True) for each in names(place.size)]

    def run() -> list[Row]:
        found = [
            each
            for each in rows
            if each.builtin and ("tea" in each.key.lower() or "tea" in each.name.lower())
        ]
        found.sort(key=lambda each: (not each.active, each.name.casefold(), each.key))
        return found[:50]

    return Timed(run=run)


def pages(search: Any, *, anew: bool = False) -> Any:
    """Return what prepares a page of what ``search()`` finds, after a reload each time or not."""

    def start(place: Place) -> Timed:
        from plugreg import PluginRegistry
        from plugreg.api import Actor, PluginAPI

        actor = Actor(1, is_superuser=True)
        registry = PluginRegistry(
            "bench",
            group="no.such",
            builtin=[(each, "nowhere:Plugin") for each in names(place.size)],
        )
        registry.load()
        api = PluginAPI(registry)
        words = map(search, count())

        def run() -> object:
            return api.plugins_list(actor, builtin="true", search=next(words), limit=50, offset=0)

        if place.size >= 10_000:
            assert len(run().results) == 50
        return Timed(run=run, after=registry.reload if anew else None)

    return start


PLAIN = "list of slotted dataclasses"
COMMON = {
    "how": How.EACH,
    "counting": "plugins",
    "sizes": (100, 1_000, 10_000),
    "quick": (100, 10_000),
}
CASES = {
    each.name: each
    for each in (
        Case(
            name="a page",
            contestants=(
                floor(PLAIN, plain),
                ours("plugreg, search asked before", pages(lambda _: "tea")),
                ours("plugreg, new search", pages(lambda number: f"tea {number}")),
            ),
            budgets=(
                Budget(
                    of="plugreg, search asked before", limit=0.35, against=PLAIN, sizes=(10_000,)
                ),
                Budget(of="plugreg, new search", limit=0.35, against=PLAIN, sizes=(10_000,)),
            ),
            **COMMON,
        ),
        Case(
            name="the first page after a reload",
            contestants=(floor(PLAIN, plain), ours("plugreg", pages(lambda _: "tea", anew=True))),
            **{**COMMON, "quick": (1_000,), "rounds": 6},
        ),
    )
}
