"""Looking up one plugin by its slug, and all that have a capability."""

from __future__ import annotations

from typing import Any

from model import Budget, Case, How, Place, Timed, floor, ours, peer, statement


class Table:
    """A dict behind a method: the least that any look-up of a registry can be."""

    def __init__(self, rows: dict[str, object]) -> None:
        self.rows = rows

    def get(self, key: str) -> object:
        return self.rows[key]


def table(text: str) -> Any:
    def start(place: Place) -> Timed:
        rows = {f"plugin-{number}": object() for number in range(place.size)}
        return statement(text, table=Table(rows), key="plugin-3")

    return start


def registry(text: str) -> Any:
    def start(place: Place) -> Timed:
        from cases.objects import plain_registry

        return statement(text, registry=plain_registry(place.size), key="plugin-3")

    return start


def pluggy(place: Place) -> Timed:
    from cases.objects import plain_manager

    manager = plain_manager(place.size)
    return statement("manager.get_plugin(key)", manager=manager, key="plugin-3")


def stevedore(place: Place) -> Timed:
    from stevedore.extension import Extension, ExtensionManager

    rows = [Extension(f"plugin-{n}", None, None, object()) for n in range(place.size)]
    manager = ExtensionManager.make_test_instance(rows)
    return statement("manager[key]", manager=manager, key="plugin-3")


def catalogue(place: Place) -> Timed:
    import catalogue

    found = catalogue.create("bench", f"lookups-{place.size}")
    for number in range(place.size):
        found.register(f"plugin-{number}", func=object())
    return statement("registry.get(key)", registry=found, key="plugin-3")


COMMON = {
    "how": How.LOOP,
    "counting": "plugins",
    "sizes": (10, 100, 1_000),
    "quick": (10, 1_000),
}
METHOD = "a method that reads a dict"
CASES = {
    case.name: case
    for case in (
        Case(
            name="one plugin",
            contestants=(
                floor(METHOD, table("table.get(key)")),
                floor("an attribute and a dict", table("table.rows[key]")),
                ours("plugreg, get", registry("registry.get(key)")),
                ours("plugreg, active[slug]", registry("registry.active[key]")),
                ours("plugreg, plugins[slug]", registry("registry.plugins[key]")),
                peer("pluggy, get_plugin", pluggy),
                peer("stevedore, manager[name]", stevedore),
                peer("catalogue, get", catalogue),
            ),
            budgets=(
                Budget(of="plugreg, get", limit=1.1, against=METHOD),
                Budget(of="plugreg, active[slug]", limit=3, against=METHOD),
                Budget(of="plugreg, plugins[slug]", limit=3, against=METHOD),
            ),
            note="plugreg gives a record, with state, wish and failures; the others an object",
            **COMMON,
        ),
        Case(
            name="those with a capability",
            contestants=(
                floor(METHOD, table("table.get(key)")),
                floor("an attribute and a dict", table("table.rows[key]")),
                ours("plugreg, with_mixin", registry("registry.with_mixin('base')")),
            ),
            budgets=(Budget(of="plugreg, with_mixin", limit=1.1, against=METHOD),),
            **COMMON,
        ),
    )
}
