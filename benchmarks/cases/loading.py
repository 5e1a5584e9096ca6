"""Importing and constructing the plugins of a site, without and with finding them before."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module

from model import Budget, Case, How, Place, floor, ours, peer
from sites import GROUP, HOST, PLUX_GROUP, SITES

from cases.discovery import scan


def import_loop(_: Place) -> Callable[[], object]:
    import pluggy  # noqa: F401 - each plugin imports it

    targets = [value.partition(":")[::2] for _, value in scan()]

    def run() -> object:
        return [getattr(import_module(module), attribute)() for module, attribute in targets]

    return run


def load_step(place: Place) -> Callable[[], object]:
    """Take plugreg's load step alone, which has no public name."""
    from plugreg._lifecycle.load import Acceptance, load
    from plugreg.discovery import discover
    from plugreg.hooks import PluginManager
    from plugreg.records import HostRules

    specs = discover(GROUP)
    assert len(specs) == place.size
    rules = HostRules(distribution=HOST)
    acceptance = Acceptance(PluginManager(HOST).has_implementations)

    def run() -> None:
        for each in specs:
            assert load(each, rules, acceptance).loaded is not None

    return run


def plugreg(place: Place) -> Callable[[], object]:
    from plugreg import PluginRegistry, hookspec

    class Hooks:
        @hookspec
        def price(self, item: str) -> float | None: ...

    def run() -> None:
        registry = PluginRegistry(HOST, hookspecs=[Hooks], new_plugins="active")
        assert len(registry.load().active) == place.size

    return run


def stdlib(_: Place) -> Callable[[], object]:
    from importlib.metadata import entry_points

    import pluggy  # noqa: F401

    return lambda: [each.load()() for each in entry_points(group=GROUP)]


def pluggy(place: Place) -> Callable[[], object]:
    """Let pluggy register what the entry points name, which is classes."""
    import pluggy

    def run() -> None:
        assert pluggy.PluginManager(HOST).load_setuptools_entrypoints(GROUP) == place.size

    return run


def stevedore(place: Place) -> Callable[[], object]:
    os.environ["XDG_CACHE_HOME"] = str(place.scratch.parent.parent)
    from stevedore import ExtensionManager

    return lambda: ExtensionManager(GROUP, invoke_on_load=True)


def plux(place: Place) -> Callable[[], object]:
    os.environ["XDG_CACHE_HOME"] = str(place.scratch.parent.parent)
    import plux

    def run() -> None:
        assert len(plux.PluginManager(PLUX_GROUP).load_all()) == place.size

    return run


ON_SITES = {
    "how": How.ONCE,
    "together": False,
    "site": True,
    "counting": "plugins",
    "sizes": tuple(SITES.values())[:3],
    "quick": tuple(SITES.values())[:2],
    "huge": tuple(SITES.values())[3:],
}
CASES = {
    each.name: each
    for each in (
        Case(
            name="import and construct",
            contestants=(
                floor("import loop", import_loop),
                ours("plugreg, load step", load_step),
            ),
            budgets=(Budget(of="plugreg, load step", limit=1.2, against="import loop"),),
            **ON_SITES,
        ),
        Case(
            name="find, load and take in all",
            warm=True,
            contestants=(
                floor("import loop, nothing found", import_loop),
                ours("plugreg", plugreg),
                peer("importlib.metadata", stdlib),
                peer("pluggy", pluggy),
                peer("stevedore, warm", stevedore),
                peer("plux, warm", plux),
            ),
            budgets=(Budget(of="plugreg", limit=0.6, against="pluggy", sizes=(1_000, 10_000)),),
            **ON_SITES,
        ),
    )
}
