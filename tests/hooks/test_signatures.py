"""Specifications of hooks as data: arguments, types and notes."""

from __future__ import annotations

import datetime
import subprocess
import sys
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

import pluggy
import pytest

from plugreg import PluginRegistry, hookspec
from plugreg.hooks.signatures import annotations_of, signatures, signatures_of

if TYPE_CHECKING:
    from decimal import Decimal

host = pluggy.HookspecMarker("shop")


class Hooks:
    @hookspec(since="2.1", deprecated="2.4: use cost", removed="3.0")
    def price(self, item: str, at: datetime.datetime, rate: Decimal, unit: str = "kg") -> float:
        """Return a price."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    async def owner(self, item) -> str | None: ...

    @hookspec(historic=True)
    def opened(self) -> Awaitable[int]: ...

    @host
    def own(self, item: str) -> None: ...


def test_types_and_notes_are_read() -> None:
    """Types are objects; a name that only a type checker imports stays the written string."""
    opened, own, owner, price = signatures_of("shop", [Hooks])

    assert [hook.name for hook in (opened, own, owner, price)] == [
        "opened",
        "own",
        "owner",
        "price",
    ]
    assert price.arguments == {
        "item": str,
        "at": datetime.datetime,
        "rate": "Decimal",
        "unit": str,
    }
    assert [*price.arguments] == ["item", "at", "rate", "unit"]
    assert (price.result, price.optional, price.text) == (float, {"unit"}, "Return a price.")
    assert (price.since, price.deprecated, price.removed) == ("2.1", "2.4: use cost", "3.0")
    assert (owner.arguments, owner.result, owner.firstresult) == ({"item": Any}, str | None, True)
    assert (opened.result, opened.historic) == (int, True)
    assert (own.arguments, own.namespace) == ({"item": str}, Hooks)


def test_the_specs_of_a_registry_are_those_of_its_host() -> None:
    """Plugreg's own hooks, and names without a specification, are not among them."""
    with PluginRegistry("shop", hookspecs=[Hooks]) as registry:
        registry.manager.register(
            type("P", (), {"nobody": pluggy.HookimplMarker("shop")(lambda self: 1)})()
        )

        found = [hook.name for hook in signatures(registry.manager)]

    assert found == ["opened", "own", "owner", "price"]


def test_notes_change_nothing_for_pluggy() -> None:
    """A spec with notes has pluggy's options beside them, and calls as it did."""
    manager = pluggy.PluginManager("plugreg")
    manager.add_hookspecs(Hooks)

    assert manager.hook.price.spec.argnames == ("item", "at", "rate")
    assert manager.hook.owner.spec.opts["firstresult"] is True
    assert set(hookspec(lambda: None).plugreg_spec) == set(
        pluggy.HookspecMarker("plugreg")(lambda: None).plugreg_spec
    )
    with pytest.raises(ValueError, match="historic"):
        hookspec(firstresult=True, historic=True)(lambda: None)


@pytest.mark.parametrize("name", ["since", "deprecated", "removed"])
def test_a_note_is_a_string(name: str) -> None:
    """A version as a number would be read differently as JSON."""
    with pytest.raises(TypeError, match=f"{name} must be a version such as '2.1', not 2.1"):
        hookspec(**{name: 2.1})


def test_annotations_that_raise_are_strings() -> None:
    """One annotation that cannot be evaluated costs its own type alone."""

    def function(item: str, bad: missing.name) -> int: ...  # noqa: F821

    assert annotations_of(function) == {"item": str, "bad": "missing.name", "return": int}


def test_a_program_that_reads_no_types_does_not_pay_for_it() -> None:
    """Importing plugreg and marking a spec does not import the reader of annotations."""
    code = (
        "import sys, plugreg; plugreg.hookspec(since='1')(lambda: None);"
        "print('plugreg.hooks.signatures' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"
