"""Hook calls as mypy sees them. Never run: tests/typing/test_typing.py has it checked.

Lines that must be errors are marked; warn_unused_ignores tells when one is an error no longer.
"""

from __future__ import annotations

from typing import Any, assert_type

from plugreg import PluginRegistry, hookspec
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
    def tags(self) -> list[str] | None:
        """Take nothing."""

    @hookspec
    def told(self, item: str) -> None:
        """Tell, and ask nothing."""


@hookspec
def weight(item: str, unit: str = "kg") -> int | None:
    """Stand in a module."""


def check_calls(registry: PluginRegistry) -> None:
    """Results are lists without None, and arguments those of the spec."""
    assert_type(registry.call(Hooks.price, item="tea"), list[float])
    assert_type(registry.call(Hooks.price, item="tea", currency="CHF"), list[float])
    assert_type(registry.call(Hooks.always, item="tea"), list[float])
    assert_type(registry.call(Hooks.owner, item="tea"), list[str])
    assert_type(registry.call(Hooks.tags), list[list[str]])
    assert_type(registry.call(weight, item="tea", unit="g"), list[int])
    assert_type(registry.call("price", item="tea"), list[Any])
    assert_type(registry.call(Hooks.told, item="tea"), list[None])
    assert_type(registry.outcomes(Hooks.told, item="tea"), list[Outcome[None]])

    registry.call(Hooks.price, item=5)  # type: ignore[call-overload]
    registry.call(Hooks.price)  # type: ignore[call-overload]
    registry.call(Hooks.price, itm="tea")  # type: ignore[call-overload]
    registry.call(Hooks.price, item="tea", currency=5)  # type: ignore[call-overload]
    registry.call(Hooks.tags, item="tea")  # type: ignore[call-overload]
    registry.call(weight, item=5)  # type: ignore[call-overload]
    registry.call(weight, itm="tea")  # type: ignore[call-overload]
    registry.call(Hooks.told, item=5)  # type: ignore[call-overload]
    registry.call(5, item="tea")  # type: ignore[call-overload]


def check_what_is_not_seen(registry: PluginRegistry) -> None:
    """Two mistakes that a type cannot tell from correct calls; both raise HookCallError."""
    registry.call(weight)
    registry.call(Hooks.price, "tea")


def check_first(registry: PluginRegistry) -> None:
    """Return the first result, or None."""
    assert_type(registry.first(Hooks.owner, item="tea"), str | None)
    assert_type(registry.first(Hooks.price, item="tea"), float | None)
    assert_type(registry.first(Hooks.always, item="tea"), float | None)
    assert_type(registry.first(weight, item="tea"), int | None)
    assert_type(registry.first("owner", item="tea"), Any)

    registry.first(Hooks.owner, item=5)  # type: ignore[call-overload]
    registry.first(Hooks.owner)  # type: ignore[call-overload]
    registry.first(weight, item=5)  # type: ignore[call-overload]


def check_outcomes(registry: PluginRegistry) -> None:
    """One outcome for each implementation, its value or None."""
    found = registry.outcomes(Hooks.price, item="tea")
    assert_type(found, list[Outcome[float]])
    assert_type(found[0].value, float | None)
    assert_type(found[0].error, BaseException | None)
    assert_type(found[0].seconds, float)
    assert_type(registry.outcomes(weight, item="tea"), list[Outcome[int]])
    assert_type(registry.outcomes("price", item="tea"), list[Outcome[Any]])

    registry.outcomes(Hooks.price, item=5)  # type: ignore[call-overload]
    registry.outcomes(Hooks.price)  # type: ignore[call-overload]
    found[0].slug = "other"  # type: ignore[misc]


def check_dispatcher(registry: PluginRegistry) -> None:
    """Give the same by the dispatcher, where the registry's short names come from."""
    assert_type(registry.dispatch, Dispatcher)
    assert_type(registry.dispatch.call(Hooks.price, item="tea"), list[float])
    assert_type(registry.dispatch.first(Hooks.owner, item="tea"), str | None)
