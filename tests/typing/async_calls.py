"""Asynchronous hook calls as mypy sees them. Never run: tests/typing/test_typing.py checks it.

Lines that must be errors are marked; warn_unused_ignores tells when one is an error no longer.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from typing import Any, assert_type

from plugreg import PluginRegistry, hookimpl, hookspec
from plugreg._calls.dispatcher import Dispatcher
from plugreg._calls.outcome import Outcome


class Hooks:
    @hookspec
    def price(self, item: str, currency: str = "EUR") -> float | None:
        """Take an argument with a default, and give a value or None."""

    @hookspec
    def always(self, item: str) -> float:
        """Return a value always."""
        return 0.0

    @hookspec(firstresult=True)
    def owner(self, item: str) -> str | None:
        """Return a single value."""

    @hookspec
    def told(self, item: str) -> None:
        """Tell, and ask nothing."""

    @hookspec
    def promised(self, item: str) -> Awaitable[float | None]:
        """Give something to await."""
        raise NotImplementedError

    @hookspec
    async def fetch(self, item: str) -> float | None:
        """Ask for it in an async spec."""

    @hookspec
    async def fetch_always(self, item: str) -> float:
        """Ask for a value always."""
        return 0.0

    @hookspec
    async def sent(self, item: str) -> None:
        """Tell in an async spec."""


@hookspec
def weight(item: str, unit: str = "kg") -> int | None:
    """Stand in a module."""


@hookspec
async def stock(item: str) -> int | None:
    """Stand in a module, and be async."""


class Implementations:
    @hookimpl
    async def price(self, item: str) -> float | None:
        """Be async, whatever the spec is."""
        return None

    @hookimpl(wrapper=True)
    async def owner(self, item: str) -> AsyncGenerator[str | None, str | None]:
        """Be an async wrapper."""
        value = yield None
        yield value


async def check_acall(registry: PluginRegistry) -> None:
    """Results are typed as those of ``call``; the result of an async spec is the awaited value."""
    assert_type(await registry.acall(Hooks.price, item="tea"), list[float])
    assert_type(await registry.acall(Hooks.price, item="tea", currency="CHF"), list[float])
    assert_type(await registry.acall(Hooks.always, item="tea"), list[float])
    assert_type(await registry.acall(Hooks.owner, item="tea"), list[str])
    assert_type(await registry.acall(Hooks.told, item="tea"), list[None])
    assert_type(await registry.acall(Hooks.promised, item="tea"), list[float])
    assert_type(await registry.acall(Hooks.fetch, item="tea"), list[float])
    assert_type(await registry.acall(Hooks.fetch_always, item="tea"), list[float])
    assert_type(await registry.acall(Hooks.sent, item="tea"), list[None])
    assert_type(await registry.acall(weight, item="tea", unit="g"), list[int])
    assert_type(await registry.acall(stock, item="tea"), list[int])
    assert_type(await registry.acall("price", item="tea"), list[Any])

    await registry.acall(Hooks.price, item=5)  # type: ignore[call-overload]
    await registry.acall(Hooks.price)  # type: ignore[call-overload]
    await registry.acall(Hooks.price, itm="tea")  # type: ignore[call-overload]
    await registry.acall(Hooks.fetch, item=5)  # type: ignore[call-overload]
    await registry.acall(weight, itm="tea")  # type: ignore[call-overload]
    await registry.acall(stock, item=5)  # type: ignore[call-overload]
    await registry.acall(5, item="tea")  # type: ignore[call-overload]


async def check_aoutcomes(registry: PluginRegistry) -> None:
    """One outcome for each implementation, its value or None."""
    found = await registry.aoutcomes(Hooks.price, item="tea")
    assert_type(found, list[Outcome[float]])
    assert_type(found[0].value, float | None)
    assert_type(await registry.aoutcomes(Hooks.told, item="tea"), list[Outcome[None]])
    assert_type(await registry.aoutcomes(Hooks.fetch, item="tea"), list[Outcome[float]])
    assert_type(await registry.aoutcomes(Hooks.sent, item="tea"), list[Outcome[None]])
    assert_type(await registry.aoutcomes(weight, item="tea"), list[Outcome[int]])
    assert_type(await registry.aoutcomes(stock, item="tea"), list[Outcome[int]])
    assert_type(await registry.aoutcomes("price", item="tea"), list[Outcome[Any]])

    await registry.aoutcomes(Hooks.price, item=5)  # type: ignore[call-overload]
    await registry.aoutcomes(Hooks.fetch)  # type: ignore[call-overload]


async def check_bind(registry: PluginRegistry) -> None:
    """A dispatcher with another time limit has the same calls."""
    bound = registry.dispatch.bind(timeout=2.0)
    assert_type(bound, Dispatcher)
    assert_type(await bound.acall(Hooks.price, item="tea"), list[float])
    assert_type(bound.call(Hooks.price, item="tea"), list[float])
    registry.dispatch.bind(timeout=None)
    registry.dispatch.bind(timeout="2")  # type: ignore[arg-type]
    PluginRegistry("shop", call_timeout=2.0)
