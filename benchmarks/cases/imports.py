"""What importing costs on top of what a host has loaded anyway, each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from model import Budget, Case, How, Kind, NotThereError, Place, floor, ours, peer

USUAL = (
    "abc",
    "collections.abc",
    "contextlib",
    "dataclasses",
    "datetime",
    "enum",
    "functools",
    "importlib.metadata",
    "importlib.util",
    "inspect",
    "json",
    "logging",
    "pathlib",
    "re",
    "threading",
    "types",
    "typing",
    "warnings",
)
"""The modules of the standard library that nearly every application has loaded."""


def load_usual() -> None:
    """Import what a host has loaded anyway."""
    for each in USUAL:
        import_module(each)


def importing(code: str) -> Callable[[Place], Callable[[], object]]:
    """Return what prepares the run of an import statement."""

    def start(_: Place) -> Callable[[], object]:
        load_usual()
        compiled = compile(code, "<import>", "exec")

        def run() -> None:
            try:
                exec(compiled, {})
            except ImportError as error:
                raise NotThereError(str(error)) from error

        return run

    return start


def modules(*names: str) -> tuple:
    """Return a peer for each module."""
    return tuple(peer(f"import {each}", importing(f"import {each}")) for each in names)


PLUGREG = "from plugreg import PluginRegistry, Plugin, hookspec, hookimpl"

CASES = {
    each.name: each
    for each in (
        Case(
            name="one import",
            how=How.ONCE,
            together=False,
            contestants=(
                floor("import pluggy", importing("import pluggy")),
                ours("import plugreg", importing(PLUGREG)),
                *modules(
                    "stevedore",
                    "plux",
                    "catalogue",
                    "blinker",
                    "importlib_metadata",
                    "packaging.requirements",
                    "tinydb",
                    "pydantic.main",
                    "sqlalchemy",
                ),
            ),
            budgets=(
                Budget(of="import plugreg", limit=0.003, kind=Kind.PLUS, against="import pluggy"),
            ),
        ),
    )
}
