"""A page of 50 out of 10,000 plugins, beside the same from a plain list of slotted dataclasses.

Run it with the plugreg that is installed::

    python benchmarks/page_of_plugins.py

Both filter by one flag, search one word in key and name, order by wish, name and key, and take 50
rows. Of plugreg the figures are: a page of a list that was asked for before (the next page of the
same search), one whose search is new, and the first after a load, which has to filter and order
too.
The budget is 0.35 times the plain list (design.md, section 7).
"""

from __future__ import annotations

import random
import timeit
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from plugreg import PluginRegistry
from plugreg.api import Actor, PluginAPI

WORDS = ("tea", "coffee", "discount", "panel", "tax", "report", "gift", "wrap", "label", "audit")
PLUGINS = 10_000


@dataclass(slots=True)
class Row:
    """What a list without any preparation holds."""

    key: str
    name: str
    active: bool
    builtin: bool


def best(function: Callable[[], object], number: int = 20) -> float:
    """Return the least milliseconds that one call took, of seven rounds."""
    return min(timeit.repeat(function, number=number, repeat=7)) / number * 1_000


def page_of(api: PluginAPI, actor: Actor, search: str) -> object:
    """Return the third page of 50 of what a search finds."""
    return api.plugins_list(actor, builtin="true", search=search, limit=50, offset=100)


def main() -> None:
    chosen = random.Random(1)
    names = [f"{chosen.choice(WORDS)}-{chosen.choice(WORDS)}-{n}" for n in range(PLUGINS)]
    actor = Actor(1, is_superuser=True)
    firsts = []
    for _ in range(5):
        registry = PluginRegistry("shop", builtin=[(name, "nowhere:Plugin") for name in names])
        registry.load()
        api = PluginAPI(registry)
        started = perf_counter()
        page_of(api, actor, "tea")
        firsts.append((perf_counter() - started) * 1_000)
    rows = [
        Row(each.slug, each.name, each.wanted, each.is_builtin)
        for each in registry.plugins.values()
    ]
    searches = map(str, range(1_000_000))

    def plain(word: str = "tea") -> list[Row]:
        found = [
            each
            for each in rows
            if each.builtin and (word in each.key.lower() or word in each.name.lower())
        ]
        found.sort(key=lambda each: (not each.active, each.name.casefold(), each.key))
        return found[100:150]

    floor = best(plain)
    print(f"plain list                {floor:7.3f} ms   1.00")
    for name, took in (
        ("asked for before", best(lambda: page_of(api, actor, "tea"))),
        ("a new search", best(lambda: page_of(api, actor, next(searches)))),
        ("the first after a load", min(firsts)),
        ("every row, no search", best(lambda: api.plugins_list(actor), number=2)),
    ):
        print(f"{name:25s} {took:7.3f} ms   {took / floor:.2f}")


if __name__ == "__main__":
    main()
