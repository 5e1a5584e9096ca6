"""The whole way from the import to the first answer of ten plugins out of all that are installed.

Everybody starts in a host that has the usual modules of the standard library loaded, imports its
library, finds the plugins, makes the first ten and asks them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module

from model import Budget, Case, How, Kind, Place, floor, ours, peer
from sites import GROUP, HOST, PLUX_GROUP, SITES, slug

from cases.discovery import scan
from cases.imports import load_usual

ACTIVE = frozenset(map(slug, range(10)))


def checked(answers: list[float]) -> None:
    """Refuse a start that has not asked everybody."""
    assert len(answers) == len(ACTIVE), answers


def by_hand(_: Place) -> Callable[[], object]:
    load_usual()

    def run() -> None:
        answers = []
        for name, value in scan():
            if name in ACTIVE:
                module, _, attribute = value.partition(":")
                answers.append(getattr(import_module(module), attribute)().price("tea"))
        checked(answers)

    return run


def plugreg(_: Place, **options: object) -> Callable[[], object]:
    load_usual()

    def run() -> None:
        from plugreg import PluginRegistry, hookspec

        class Hooks:
            @hookspec
            def price(self, item: str) -> float | None: ...

        registry = PluginRegistry(HOST, hookspecs=[Hooks], mandatory=ACTIVE, **options)
        registry.load()
        checked(registry.call(Hooks.price, item="tea"))

    return run


def plugreg_index(place: Place) -> Callable[[], object]:
    """Start with the index that an earlier process has left."""
    return plugreg(place, index=place.scratch.parent.parent / f"index-{place.size}")


def pluggy(_: Place) -> Callable[[], object]:
    load_usual()

    def run() -> None:
        from importlib.metadata import entry_points

        import pluggy

        class Hooks:
            @pluggy.HookspecMarker(HOST)
            def price(self, item: str) -> float | None: ...

        manager = pluggy.PluginManager(HOST)
        manager.add_hookspecs(Hooks)
        for each in entry_points(group=GROUP):
            if each.name in ACTIVE:
                manager.register(each.load()(), each.name)
        checked(manager.hook.price(item="tea"))

    return run


def stevedore(place: Place) -> Callable[[], object]:
    """Start with the cache that an earlier process has left."""
    load_usual()
    os.environ["XDG_CACHE_HOME"] = str(place.scratch.parent.parent)

    def run() -> None:
        from stevedore.named import NamedExtensionManager

        manager = NamedExtensionManager(GROUP, names=list(ACTIVE), invoke_on_load=True)
        checked(manager.map_method("price", "tea"))

    return run


def plux(place: Place) -> Callable[[], object]:
    """Start with the cache that an earlier process has left."""
    load_usual()
    os.environ["XDG_CACHE_HOME"] = str(place.scratch.parent.parent)

    def run() -> None:
        import plux

        manager = plux.PluginManager(PLUX_GROUP)
        checked([manager.load(name).price("tea") for name in ACTIVE])

    return run


def plugreg_without_plugins(_: Place) -> Callable[[], object]:
    """Go the whole way in a host that has no plugins: import, construct, load and call."""
    load_usual()

    def run() -> None:
        from plugreg import PluginRegistry, hookspec

        class Hooks:
            @hookspec
            def price(self, item: str) -> float | None: ...

        registry = PluginRegistry(HOST, hookspecs=[Hooks])
        registry.load()
        assert registry.call(Hooks.price, item="tea") == []

    return run


def pluggy_without_plugins(_: Place) -> Callable[[], object]:
    """Go the same way with pluggy, which searches for entry points by importlib.metadata."""
    load_usual()

    def run() -> None:
        import pluggy

        class Hooks:
            @pluggy.HookspecMarker(HOST)
            def price(self, item: str) -> float | None: ...

        manager = pluggy.PluginManager(HOST)
        manager.add_hookspecs(Hooks)
        manager.load_setuptools_entrypoints(GROUP)
        assert manager.hook.price(item="tea") == []

    return run


def import_click(_: Place) -> Callable[[], object]:
    def run() -> None:
        import click

        assert click.Group

    return run


def command_line(_: Place) -> Callable[[], object]:
    """List all plugins from a shell: import, look for them, and write the table."""

    def run() -> None:
        from contextlib import redirect_stdout
        from io import StringIO

        from plugreg.cli import group

        words = ["--store", "memory://", "--group", GROUP, "list"]
        with redirect_stdout(StringIO()) as table:
            group().main(words, standalone_mode=False)
        assert len(table.getvalue().splitlines()) > 100

    return run


CASES = {
    each.name: each
    for each in (
        Case(
            name="no plugins",
            how=How.ONCE,
            together=False,
            contestants=(
                ours("plugreg", plugreg_without_plugins),
                peer("pluggy, load_setuptools_entrypoints", pluggy_without_plugins),
            ),
            budgets=(
                Budget(
                    of="plugreg",
                    limit=0.010,
                    kind=Kind.PLUS,
                    against="pluggy, load_setuptools_entrypoints",
                ),
            ),
        ),
        Case(
            name="ten plugins of all that are installed",
            how=How.ONCE,
            together=False,
            site=True,
            warm=True,
            counting="distributions",
            sizes=tuple(SITES)[:3],
            quick=tuple(SITES)[:2],
            huge=tuple(SITES)[3:],
            contestants=(
                floor("cold floor, import and call", by_hand),
                ours("plugreg", plugreg),
                ours("plugreg, index", plugreg_index),
                peer("pluggy, entry_points", pluggy),
                peer("stevedore, warm", stevedore),
                peer("plux, warm", plux),
            ),
            budgets=(
                Budget(of="plugreg", limit=1.3, against="pluggy, entry_points", sizes=(100,)),
                Budget(of="plugreg", limit=0.75, against="pluggy, entry_points", sizes=(1_000,)),
                Budget(of="plugreg", limit=0.6, against="pluggy, entry_points", sizes=(5_000,)),
                Budget(of="plugreg, index", limit=1.2, against="stevedore, warm", sizes=(1_000,)),
            ),
            note="plux imports every plugin of its group to know their names",
        ),
        Case(
            name="plugins listed from a shell",
            how=How.ONCE,
            together=False,
            site=True,
            warm=True,
            counting="plugins",
            sizes=(100,),
            contestants=(
                floor("import click", import_click),
                ours("plugreg list", command_line),
            ),
            budgets=(
                Budget(of="plugreg list", limit=0.080, kind=Kind.PLUS, against="import click"),
            ),
            note="both in a Python that has nothing imported yet",
        ),
    )
}
