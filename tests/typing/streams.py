"""Streams, reductions and the marker as mypy sees them. Never run, as hooks.py beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, assert_type

from plugreg import Plugin, PluginRegistry, hookimpl, hookspec
from plugreg._calls.outcome import Outcome


class Hooks:
    @hookspec
    def search(self, q: str, limit: int = 10) -> list[str] | None:
        """Return the result, or None."""

    @hookspec(firstresult=True)
    def owner(self, item: str) -> str | None:
        """Return a single value."""

    @hookspec
    def told(self, item: str) -> None:
        """Tell, and ask nothing."""

    @hookspec
    def discounted(self, price: float, item: str) -> float | None:
        """Give another price, or None."""

    @hookspec
    def rounded(self, price: float) -> int:
        """Return a value of another type."""
        return 0


@hookspec
def scaled(price: float, by: int) -> float | None:
    """Stand in a module."""


@hookspec
def weight(item: str, unit: str = "kg") -> int | None:
    """Stand in a module."""


def check_iterate(registry: PluginRegistry) -> None:
    """Return one outcome at a time, of the type that the spec gives."""
    iterate = registry.dispatch.iterate
    assert_type(iterate(Hooks.search, q="tea"), Iterator[Outcome[list[str]]])
    assert_type(iterate(Hooks.owner, item="tea"), Iterator[Outcome[str]])
    assert_type(iterate(Hooks.told, item="tea"), Iterator[Outcome[None]])
    assert_type(iterate(weight, item="tea", unit="g"), Iterator[Outcome[int]])
    assert_type(iterate("search", q="tea"), Iterator[Outcome[Any]])
    for each in registry.dispatch.iterate(Hooks.search, q="tea", limit=5):
        assert_type(each.value, list[str] | None)

    registry.dispatch.iterate(Hooks.search, q=5)  # type: ignore[call-overload]
    registry.dispatch.iterate(Hooks.search)  # type: ignore[call-overload]
    registry.dispatch.iterate(Hooks.search, query="tea")  # type: ignore[call-overload]
    registry.dispatch.iterate(weight, item=5)  # type: ignore[call-overload]
    registry.dispatch.iterate(5, q="tea")  # type: ignore[call-overload]


def check_first(registry: PluginRegistry) -> None:
    """Return a single value or None, with firstresult and without."""
    assert_type(registry.dispatch.first(Hooks.owner, item="tea"), str | None)
    assert_type(registry.dispatch.first(Hooks.search, q="tea"), list[str] | None)
    assert_type(registry.call(Hooks.owner, item="tea"), list[str])


def check_reduce(registry: PluginRegistry) -> None:
    """Return the spec's first argument, or its result."""
    assert_type(registry.dispatch.reduce(Hooks.discounted, 10.0, item="tea"), float)
    assert_type(registry.dispatch.reduce(Hooks.rounded, 10.5), float | int)
    assert_type(registry.dispatch.reduce(scaled, 10.0, by=3), float)
    assert_type(registry.dispatch.reduce("discounted", 10.0, item="tea"), Any)

    registry.dispatch.reduce(Hooks.discounted, "ten", item="tea")  # type: ignore[call-overload]
    registry.dispatch.reduce(Hooks.discounted, 10.0, item=5)  # type: ignore[call-overload]
    registry.dispatch.reduce(Hooks.discounted, item="tea")  # type: ignore[call-overload]
    registry.dispatch.reduce(Hooks.discounted, 10.0)  # type: ignore[call-overload]
    registry.dispatch.reduce(scaled, 10.0, by="three")  # type: ignore[call-overload]


def check_explain(registry: PluginRegistry) -> None:
    """Each place is a pair, and has names."""
    for slug, reason in registry.explain(Hooks.search):
        assert_type(slug, str)
        assert_type(reason, str)
    assert_type(registry.explain("search")[0].slug, str)

    registry.explain(5)  # type: ignore[arg-type]


class Marked(Plugin):
    """Methods keep their types, however they are marked."""

    @hookimpl
    def bare(self, q: str) -> list[str]:
        return [q]

    @hookimpl(before="tax", after=("audit", "log"), tryfirst=True)
    def asking(self, q: str) -> list[str]:
        return [q]

    @staticmethod
    @hookimpl(after={"audit"}, specname="owner")
    def static(item: str) -> str:
        return item


def check_marker(marked: Marked) -> None:
    """A marked function can be called as before; wrong options are errors."""
    assert_type(marked.bare("tea"), list[str])
    assert_type(marked.asking("tea"), list[str])
    assert_type(marked.static("tea"), str)
    plain: Callable[[str], str] = hookimpl(after=["a"])(Marked.static)

    marked.asking(5)  # type: ignore[arg-type]
    plain(5)  # type: ignore[arg-type]
    hookimpl(before=5)  # type: ignore[call-overload]
    hookimpl(after=[5])  # type: ignore[list-item]
    hookimpl(beside="tax")  # type: ignore[call-overload]
