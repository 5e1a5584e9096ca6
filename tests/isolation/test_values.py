"""Values between host and plugin: each side gets the specification's types."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import enum
import re
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from plugreg import ValueNotSentError
from plugreg.isolation import Isolated
from plugreg.isolation.codec import OwnCodec, is_json

SHOP = """
import datetime, decimal, enum, uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple
from pydantic import BaseModel
from plugreg import hookspec

class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"

@dataclass
class Item:
    name: str
    price: decimal.Decimal
    size: Size
    at: datetime.datetime
    raw: bytes = b""
    tags: set[str] = field(default_factory=set)

class Order(BaseModel):
    number: int
    items: list[Item]
    raw: bytes = b""

class Hooks:
    @hookspec
    def text(self, value: str) -> str: ...
    @hookspec
    def number(self, value: int) -> int: ...
    @hookspec
    def real(self, value: float) -> float: ...
    @hookspec
    def truth(self, value: bool) -> bool: ...
    @hookspec
    def maybe(self, value: int | None) -> int | None: ...
    @hookspec
    def raw(self, value: bytes) -> bytes: ...
    @hookspec
    def path(self, value: Path) -> Path: ...
    @hookspec
    def when(self, value: datetime.datetime) -> datetime.datetime: ...
    @hookspec
    def span(self, value: datetime.timedelta) -> datetime.timedelta: ...
    @hookspec
    def money(self, value: decimal.Decimal) -> decimal.Decimal: ...
    @hookspec
    def ident(self, value: uuid.UUID) -> uuid.UUID: ...
    @hookspec
    def size(self, value: Size) -> Size: ...
    @hookspec
    def item(self, value: Item) -> Item: ...
    @hookspec
    def order(self, value: Order) -> Order: ...
    @hookspec
    def pair(self, value: tuple[int, str]) -> tuple[int, str]: ...
    @hookspec
    def names(self, value: set[str]) -> set[str]: ...
    @hookspec
    def many(self, value: dict[str, list[Item]]) -> dict[str, list[Item]]: ...
    @hookspec
    def word(self, value: Literal["a", "b"]) -> Literal["a", "b"]: ...
    @hookspec
    def either(self, value: int | str) -> int | str: ...
    @hookspec
    def anything(self, value): ...
    @hookspec
    def several(self, first: int, second: Item, third: str = "3") -> str: ...
    @hookspec(firstresult=True)
    def best(self, value: Item) -> Item: ...
    @hookspec(historic=True)
    def started(self, value: Size): ...
"""

MIRROR = """
import shop_values as shop
from plugreg import Plugin, hookimpl
seen = []

class Victim(Plugin):
    pass

KINDS = dict(text=str, number=int, real=float, truth=bool, raw=bytes, item=shop.Item,
             order=shop.Order, size=shop.Size, pair=tuple, names=set)

def add(name):
    def implementation(self, value):
        kind = KINDS.get(name)
        assert kind is None or type(value) is kind, (name, value)
        return value
    implementation.__name__ = name
    setattr(Victim, name, hookimpl(implementation))

for name in ("text number real truth maybe raw path when span money ident size item order pair "
             "names many word either anything best").split():
    add(name)

def several(self, second, third, first):
    return f"{first} {second.name} {third} {type(second).__module__}"

def started(self, value):
    seen.append(value)

Victim.several, Victim.started = hookimpl(several), hookimpl(started)
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yield the module of the host's specifications."""
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "shop_values.py").write_text(SHOP, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "host"))
    import shop_values

    yield shop_values
    del sys.modules["shop_values"]


def test_every_type_arrives(host: Any, shop: Any) -> None:
    """Each value comes back unchanged, and the plugin has had one of the spec's type."""
    host.write("victim", MIRROR)
    registry = host.open(hookspecs=[shop.Hooks])
    item = shop.Item(
        "tea",
        decimal.Decimal("1.10"),
        shop.Size.LARGE,
        datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        bytes(range(256)),
        {"hot"},
    )
    values: dict[str, list[Any]] = {
        "text": ["tea", "", "té\n\0☃", "x" * 100_000],
        "number": [0, -1, 2**70],
        "real": [1.5, float("inf")],
        "truth": [True, False],
        "maybe": [3, None],
        "raw": [b"", bytes(range(256)), b"\xff" * 1000],
        "path": [Path("/tmp/x")],
        "when": [item.at, datetime.datetime(2026, 1, 2, 3, 4, 5, 6)],  # noqa: DTZ001 - it has none
        "span": [datetime.timedelta(days=1, microseconds=1)],
        "money": [decimal.Decimal("1.10")],
        "ident": [uuid.UUID(int=5)],
        "size": [shop.Size.SMALL],
        "item": [item],
        "order": [shop.Order(number=1, items=[item], raw=b"\xff\x00")],
        "pair": [(1, "x")],
        "names": [{"a", "b"}],
        "many": [{"a": [item, item], "b": []}],
        "word": ["a"],
        "either": [1, "1"],
        "anything": [None, 1, "x", [1, {"a": None}]],
        "best": [item],
    }
    for name, given in values.items():
        for value in given:
            [outcome] = registry.outcomes(name, value=value)

            assert outcome.error is None, (name, outcome.error)
            assert (outcome.value, type(outcome.value)) == (value, type(value)), name
            [outcome] = asyncio.run(registry.aoutcomes(name, value=value))
            assert outcome.value == value
    several = registry.call(shop.Hooks.several, first=1, second=item)
    assert several == ["1 tea 3 shop_values"]
    assert registry.first(shop.Hooks.best, value=item) == item


@pytest.mark.parametrize(
    ("hook", "value", "kind"),
    [
        ("text", object(), "object"),
        ("text", 5, "int"),
        ("number", "x", "str"),
        ("truth", "x", "str"),
        ("raw", "text", "str"),
        ("item", {"name": "tea"}, "dict"),
        ("anything", {1, 2}, "set"),
        ("anything", b"x", "bytes"),
        ("anything", {1: 2}, "dict"),
        ("anything", (1, 2), "tuple"),
        ("path", enum.Enum, "enum.EnumType"),
    ],
)
def test_an_argument_that_cannot_be_sent(
    host: Any, shop: Any, hook: str, value: Any, kind: str
) -> None:
    """It is a typed error of this plugin's outcome, and its neighbours are served."""
    host.write("victim", MIRROR)
    host.write(
        "neighbour",
        f"from plugreg import hookimpl\n@hookimpl\ndef {hook}(value): return 'healthy'",
    )
    registry = host.open(hookspecs=[shop.Hooks])
    outcomes = {outcome.slug: outcome for outcome in registry.outcomes(hook, value=value)}
    error = outcomes["victim"].error

    assert type(error) is ValueNotSentError
    assert (error.hook, error.argument) == (hook, "value")
    assert error.type in (kind, "enum.EnumMeta")
    assert outcomes["neighbour"].value == "healthy"
    assert registry.get("victim").process.restarts == 0


LIAR = """
from plugreg import hookimpl
@hookimpl
def number(value): return "no number"
@hookimpl
def item(value): return 5
@hookimpl
def anything(value): return b"raw"
"""


def test_a_result_of_another_type(host: Any, shop: Any) -> None:
    """A result that does not match the specification is a typed error."""
    host.write("victim", LIAR)
    registry = host.open(hookspecs=[shop.Hooks])
    item = shop.Item("x", decimal.Decimal(1), shop.Size.SMALL, datetime.datetime.now(datetime.UTC))
    for hook, value, kind in (
        ("number", 1, "str"),
        ("item", item, "int"),
        ("anything", 1, "bytes"),
    ):
        [outcome] = registry.outcomes(hook, value=value)

        assert type(outcome.error) is ValueNotSentError
        assert (outcome.error.argument, outcome.error.type) == ("result", kind)


def test_a_deep_value() -> None:
    """A value without types may be as deep as Python's own JSON allows."""
    value: Any = "end"
    for _ in range(400):
        value = {"more": [value]}

    assert is_json(value)


def test_plugregs_own_values_are_pickled_as_usual() -> None:
    """Views of mappings become dicts, and what Python registers with copyreg arrives, too."""
    codec = OwnCodec("plugreg_hook", {"value": Any})
    values = [MappingProxyType({"key": re.compile("a+")})]

    assert codec.unpack_arguments(codec.pack_arguments(values)) == [{"key": re.compile("a+")}]


def test_pickle_sends_anything(host: Any, shop: Any) -> None:
    """A plugin that is trusted with pickle gets and gives any value."""
    host.write("victim", MIRROR.replace("assert kind is None or", "assert True or"))
    registry = host.open({"victim": Isolated(codec="pickle")}, hookspecs=[shop.Hooks])

    for value in ({1, 2}, shop.Size.SMALL, 1j, slice(1)):
        assert registry.call(shop.Hooks.anything, value=value) == [value]
    [outcome] = registry.outcomes(shop.Hooks.anything, value=lambda: 1)
    assert type(outcome.error) is ValueNotSentError


def test_historic_calls(host: Any, shop: Any) -> None:
    """Earlier calls reach the plugin; one that cannot be sent keeps it out of service."""
    host.write("victim", MIRROR)
    registry = host.open(hookspecs=[shop.Hooks])
    registry.deactivate("victim")
    registry.hook.started.call_historic(kwargs={"value": shop.Size.SMALL})

    assert registry.activate("victim").state == "active"
    registry.deactivate("victim")
    registry.hook.started.call_historic(kwargs={"value": object()})
    record = registry.activate("victim")
    assert record.state == "failed"
    assert "'started'" in record.errors[0].message
    assert "object" in record.errors[0].message


def test_types_of_a_program(host: Any) -> None:
    """Types that have no name for another process are a failure at activation."""

    class Local:
        pass

    class Hooks:
        def act(self, what: Local) -> str:
            """Take a value of a class that nobody can import."""

    from plugreg import hookspec

    hookspec(Hooks.act)
    Hooks.act.__annotations__["what"] = Local
    host.write("victim", host.neighbour)
    registry = host.open(hookspecs=[Hooks])
    record = registry.get("victim")

    assert record.state == "failed"
    assert [failure.stage for failure in record.errors] == ["activate"]
    assert "'act'" in record.errors[0].message
