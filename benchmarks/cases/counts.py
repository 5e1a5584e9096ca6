"""What is counted and not timed: calls of the file system, and modules that stay out.

Calls are those that strace sees which name a file, or list a folder; without strace an audit hook
counts what Python opens and lists.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

from model import Budget, Case, How, Kind, Place, Unit, floor, ours
from sites import HOST, SITES, slug

from cases import discovery

UNWANTED = (
    "pydantic",
    "pydantic_core",
    "tinydb",
    "importlib_metadata",
    "sqlalchemy",
    "packaging.requirements",
)
"""What section 7 of the design keeps out of a start."""

ACTIVE = [slug(number) for number in range(10)]


def registry_with_ten() -> object:
    """Return a registry that was loaded, with ten active plugins of the site."""
    from plugreg import Plugin, PluginRegistry, hookimpl, hookspec  # noqa: F401

    registry = PluginRegistry(HOST, mandatory=ACTIVE)
    assert len(registry.load().active) == len(ACTIVE)
    return registry


def imported(names: tuple[str, ...]) -> Callable[[Place], Callable[[], object]]:
    """Return what counts how many of these modules a start has imported."""

    def start(_: Place) -> Callable[[], object]:
        def run() -> int:
            registry_with_ten()
            return len(set(names) & sys.modules.keys())

        return run

    return start


def look_ups(_: Place) -> Callable[[], object]:
    registry = registry_with_ten()

    def run() -> None:
        for _ in range(2_500):
            registry.get(ACTIVE[3])
            registry.active[ACTIVE[4]]
            registry.plugins[ACTIVE[5]]
            registry.with_mixin("base")

    return run


def setting_reads(_: Place) -> Callable[[], object]:
    from cases.settings import registry
    from plugreg.storage import MemoryStorage

    view = registry(MemoryStorage(), 10).settings("plugin-0")

    def run() -> None:
        for _ in range(10_000):
            view["SETTING_3"]

    return run


def load_again(place: Place) -> Callable[[], object]:
    """Load a second registry from the index; all that is imported has been."""
    from plugreg import PluginRegistry

    def run() -> None:
        registry = PluginRegistry(HOST, mandatory=ACTIVE, index=place.scratch / "index")
        assert len(registry.load().active) == len(ACTIVE)

    run()
    return run


def reload(_: Place) -> Callable[[], object]:
    """Reload and look for plugins again: a second load, of which everything is imported."""
    registry = registry_with_ten()
    return lambda: registry.reload(collect=True)


COUNTED = {
    "how": How.CALLS,
    "unit": Unit.COUNT,
    "together": False,
    "site": True,
    "counting": "distributions",
    "sizes": tuple(SITES)[:2],
    "quick": (1_000,),
}
CASES = {
    each.name: each
    for each in (
        Case(
            name="file-system calls of finding plugins",
            contestants=(
                floor("cold floor", discovery.cold_floor),
                floor("warm floor", discovery.index_floor),
                ours("plugreg", discovery.plugreg),
                ours("plugreg, index", discovery.plugreg_index),
                ours("plugreg, verified", partial(discovery.plugreg_index, verify=True)),
                ours("plugreg, load() from an index", load_again),
                ours("plugreg, reload(collect=True)", reload),
                *discovery.CASES["without an index"].contestants[2:],
                *discovery.CASES["with an index"].contestants[2:],
            ),
            budgets=(
                Budget(of="plugreg, index", limit=1.5, against="warm floor"),
                # The index, and of each active plugin its folder and its METADATA.
                Budget(
                    of="plugreg, load() from an index",
                    limit=3 + 3 * len(ACTIVE),
                    kind=Kind.PLUS,
                    against="warm floor",
                ),
            ),
            **COUNTED,
        ),
        Case(
            name="file-system calls of 10,000 reads",
            contestants=(
                ours("plugreg, look-ups", look_ups),
                ours("plugreg, settings", setting_reads),
            ),
            budgets=(
                Budget(of="plugreg, look-ups", limit=0, kind=Kind.AT_MOST),
                Budget(of="plugreg, settings", limit=0, kind=Kind.AT_MOST),
            ),
            **{**COUNTED, "sizes": (1_000,)},
        ),
        Case(
            name="modules imported by a start that should not be",
            contestants=tuple(ours(each, imported((each,))) for each in UNWANTED),
            budgets=tuple(Budget(of=each, limit=0, kind=Kind.AT_MOST) for each in UNWANTED),
            **{**COUNTED, "how": How.VALUE, "sizes": (1_000,)},
        ),
    )
}
