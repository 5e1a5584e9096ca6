"""The contract as a value and as a file, and the changes between two."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from enum import Enum, StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, Optional, TypeVar, Union

import pytest
from annotated_types import Ge, Len
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from plugreg import PluginRegistry, hookspec
from plugreg.contract import (
    Change,
    Contract,
    ContractDamagedError,
    ContractError,
    ContractVersionError,
)
from plugreg.contract.types import accepts, name_of, parse
from plugreg.mixins import MixinSpec


class Order:
    """A class of the host."""


class Rush(Order):
    """One below it."""


class Printing:
    """Plugins that print."""

    def print_label(self, order: Order, copies: int = 1) -> bytes:
        """Print a label."""
        raise NotImplementedError


class Hooks:
    """The hooks."""

    @hookspec(since="2.1", deprecated="2.4: use cost", removed="3.0")
    def price(self, item: str, at: datetime.datetime, unit: str = "kg") -> float | None:
        """Return a price."""

    @hookspec(firstresult=True)
    def owner(self, order: Order) -> Literal["a", "b"]: ...

    @hookspec(historic=True)
    async def opened(self) -> None: ...


class Shade(StrEnum):
    RED = "red"


PRINTING = MixinSpec(key="printing", human_name="Printing", cls=Printing)


def spec(arguments: str = "self, item: str", result: str = "float", marks: str = "") -> Contract:
    """Make the contract of one hook ``price``."""
    names = {"hookspec": hookspec, "Order": Order, "Rush": Rush, "Sequence": Sequence}
    names |= {"Annotated": Annotated, "Ge": Ge}
    code = f"class S:\n    @hookspec({marks})\n    def price({arguments}) -> {result}: ...\n"
    exec(code, names)
    return Contract.of_specs("shop", [names["S"]], version="2.4")


def changes(old: Contract, new: Contract) -> list[tuple[str, str, str]]:
    return [(change.level, change.hook, change.what) for change in old.compare(new)]


def test_a_registry_and_its_specs_have_the_same_contract() -> None:
    """A registry's interface is that of its specs; the registry need not be loaded."""
    with PluginRegistry(
        "shop", host_version="2.4", hookspecs=[Hooks], mixins=[PRINTING]
    ) as registry:
        contract = Contract.of(registry, events=["order_paid"])

    assert contract == Contract.of_specs(
        "shop", [Hooks], mixins=[PRINTING], version="2.4", events=["order_paid"]
    )
    assert (contract.host, contract.version, contract.group) == ("shop", "2.4", "shop.plugins")
    assert [*contract.hooks] == ["opened", "owner", "price"]
    price = contract.hooks["price"]
    assert [(a.name, a.type, a.optional) for a in price.arguments] == [
        ("item", "str", False),
        ("at", "datetime.datetime", False),
        ("unit", "str", True),
    ]
    assert (price.result, price.text) == ("float | None", "Return a price.")
    assert contract.hooks["owner"].result == "Literal['a', 'b']"
    assert contract.mixins["printing"].methods["print_label"].result == "bytes"
    assert {"settings", "schedule", "printing"} <= contract.mixins.keys()
    assert {"order_paid", "plugins_loaded"} <= {*contract.events}


def test_a_file_gives_back_what_was_written(tmp_path) -> None:
    """Reading gives an equal contract, and writing it again the same bytes."""
    contract = Contract.of_specs("shop", [Hooks], mixins=[PRINTING], version="2.4")
    file, again = tmp_path / "shop.json", tmp_path / "again.json"
    contract.write(file)
    read = Contract.read(file)
    read.write(again)

    assert read == contract
    assert file.read_bytes() == again.read_bytes()
    assert json.loads(file.read_bytes())["plugreg-contract"] == 1
    assert contract.compare(read) == read.compare(contract) == ()


def test_the_file_is_the_same_in_every_process(tmp_path) -> None:
    """A contract can be kept under version control: only real changes show."""
    code = (
        "from plugreg import hookspec\nfrom plugreg.contract import Contract\n"
        "class Hooks:\n    @hookspec\n    def b(self, x: 'int | str | None'): ...\n"
        "    @hookspec\n    def a(self): ...\n"
        "print(Contract.of_specs('shop', [Hooks], events=['z', 'y']).dumps())\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(outputs) == 1


def test_a_write_that_fails_leaves_the_old_file(tmp_path) -> None:
    """The old contents are there until the new ones are complete, and no draft stays."""
    file = tmp_path / "shop.json"
    spec().write(file)
    before = file.read_bytes()
    broken = spec()
    object.__setattr__(broken, "host", "\ud800")

    with pytest.raises(UnicodeEncodeError):
        broken.write(file)
    assert file.read_bytes() == before
    assert [*tmp_path.iterdir()] == [file]


DAMAGED = [
    (b"", "", "no JSON"),
    (b"[]", "plugreg-contract", "it is not there"),
    (b"{}", "plugreg-contract", "it is not there"),
    (b'{"plugreg-contract": "1"}', "plugreg-contract", "must be a number"),
    (b'{"plugreg-contract": 1}', "host", "required"),
]


@pytest.mark.parametrize(("content", "field", "reason"), DAMAGED)
def test_a_damaged_file_is_told_with_its_field(tmp_path, content, field, reason) -> None:
    """The error has the field as a value, and the message the remedy."""
    file = tmp_path / "shop.json"
    file.write_bytes(content)

    with pytest.raises(ContractDamagedError, match=reason) as caught:
        Contract.read(file)
    assert (caught.value.field, caught.value.path) == (field, str(file))
    assert "plugreg contract dump" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("host",), 7),
        (("hooks",), []),
        (("hooks", "price", "firstresult"), "yes"),
        (("hooks", "price", "arguments", 0, "name"), None),
        (("mixins", "settings", "source"), 1),
        (("events", 0), {}),
    ],
)
def test_any_field_of_a_wrong_type_is_named(tmp_path, path, value) -> None:
    """A field deep in the file is named by its whole path."""
    document = json.loads(spec().dumps())
    holder = document
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = value
    file = tmp_path / "shop.json"
    file.write_text(json.dumps(document), encoding="utf-8")

    with pytest.raises(ContractDamagedError) as caught:
        Contract.read(file)
    assert caught.value.field == ".".join(map(str, path))


def test_other_versions_of_the_format_are_refused(tmp_path) -> None:
    """A file of a newer plugreg is told apart from a damaged one."""
    file = tmp_path / "shop.json"
    file.write_text(spec().dumps().replace('"plugreg-contract": 1', '"plugreg-contract": 2'))

    with pytest.raises(ContractVersionError, match="update plugreg") as caught:
        Contract.read(file)
    assert (caught.value.found, caught.value.known) == (2, 1)
    assert isinstance(caught.value, ContractError)


def test_keys_of_later_versions_are_left_out(tmp_path) -> None:
    """A key that this version does not know changes nothing."""
    file = tmp_path / "shop.json"
    document = json.loads(spec().dumps()) | {"later": 1}
    file.write_text(json.dumps(document), encoding="utf-8")

    assert Contract.read(file) == spec()


COMPARED = [
    # Arguments.
    (spec(), spec("self, item: str, more: int"), [("minor", "price", "argument added")]),
    (spec(), spec("self"), [("major", "price", "argument removed")]),
    (spec(), spec("self, article: str"), [
        ("major", "price", "argument removed"), ("minor", "price", "argument added")]),
    (spec("self, a: int, b: str"), spec("self, b: str, a: int"), []),
    (spec(), spec("self, item: str | None"), [("major", "price", "argument type")]),
    (spec("self, item: str | None"), spec(), [("minor", "price", "argument type")]),
    (spec("self, item: int"), spec("self, item: float"), [("major", "price", "argument type")]),
    (spec("self, item: Order"), spec("self, item: Rush"), [("minor", "price", "argument type")]),
    (spec("self, item: Rush"), spec("self, item: Order"), [("major", "price", "argument type")]),
    (spec(), spec("self, item"), [("major", "price", "argument type")]),
    # Results.
    (spec(), spec(result="float | None"), [("minor", "price", "result type")]),
    (spec(result="float | None"), spec(), [("major", "price", "result type")]),
    (spec(result="int"), spec(result="float"), [("minor", "price", "result type")]),
    (spec(), spec(result="int"), [("major", "price", "result type")]),
    (spec(result="Rush"), spec(result="Order"), [("minor", "price", "result type")]),
    (spec(result="list[int]"), spec(result="Sequence[int]"), [("minor", "price", "result type")]),
    (spec(result="Sequence[int]"), spec(result="list[int]"), [("major", "price", "result type")]),
    # Constraints.
    (spec(result="int"), spec(result="Annotated[int, Ge(0)]"), [("major", "price", "result type")]),
    (spec(result="Annotated[int, Ge(0)]"), spec(result="int"), [("minor", "price", "result type")]),
    (spec("self, item: int"), spec("self, item: Annotated[int, Ge(0)]"), [
        ("minor", "price", "argument type")]),
    (spec("self, item: Annotated[int, Ge(0)]"), spec("self, item: Annotated[int, Ge(1)]"), [
        ("major", "price", "argument type")]),
    # The way of calling, and notes.
    (spec(), spec(marks="firstresult=True"), [("major", "price", "firstresult")]),
    (spec(marks="historic=True"), spec(), [("major", "price", "historic")]),
    (spec(), spec(marks="since='2.4'"), [("minor", "price", "since")]),
    (spec(), spec(marks="deprecated='2.4: use cost'"), [("minor", "price", "deprecated")]),
    (spec(), spec(marks="removed='3.0'"), [("minor", "price", "removed")]),
    (spec(), spec(marks="removed='2.4'"), [
        ("minor", "price", "removed"), ("major", "price", "removed")][::-1]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), COMPARED)
def test_changes_are_judged_from_the_side_of_implementations(old, new, expected) -> None:
    """Each rule of the contract has its level; breaking changes come first."""
    assert changes(old, new) == expected
    assert changes(old, old) == changes(new, new) == []


def test_hooks_mixins_and_events_come_and_go() -> None:
    """An addition is minor and a removal major, for each kind; a renamed hook is told as such."""

    class Renamed:
        @hookspec
        def cost(self, item: str) -> float: ...

    old = spec()
    new = Contract.of_specs("shop", [Renamed], mixins=[PRINTING], version="2.4", events=["paid"])

    assert changes(old, new) == [
        ("major", "price", "hook removed"),
        ("minor", "cost", "hook added"),
        ("minor", "printing", "mixin added"),
        ("minor", "paid", "event added"),
    ]
    assert "'cost' is new and has the same arguments" in old.compare(new)[0].detail
    assert {level for level, _, _ in changes(new, old)} == {"major", "minor"}
    assert ("major", "printing", "mixin removed") in changes(new, old)


def test_a_text_is_a_patch_and_another_group_is_major() -> None:
    """Descriptions break nobody; plugins that nobody finds any more are broken."""

    class Hooks:
        @hookspec
        def price(self, item: str) -> float:
            """Say it."""

    described = Contract.of_specs("shop", [Hooks], version="2.4")
    moved = Contract.of_specs("shop", [Hooks], version="2.4", group="shop.addons")

    assert changes(spec(), described) == [("patch", "price", "text")]
    assert changes(described, moved) == [("major", "", "group")]
    assert isinstance(described.compare(moved)[0], Change)


def test_what_a_file_cannot_tell_is_breaking_with_the_reason(tmp_path) -> None:
    """From files alone it is not known which class of the host derives from which."""
    old, new = spec("self, item: Order"), spec("self, item: Rush")
    files = tmp_path / "old.json", tmp_path / "new.json"
    for contract, file in zip((old, new), files, strict=True):
        contract.write(file)
    [change] = Contract.read(files[0]).compare(Contract.read(files[1]))

    assert (change.level, change.what) == ("major", "argument type")
    assert "only the name is known" in change.detail
    assert changes(old, new) == [("minor", "price", "argument type")]


def test_the_methods_of_a_mixin_are_part_of_it() -> None:
    """An argument that a mixin's method loses breaks plugins as one of a hook does."""

    class Smaller:
        def print_label(self, order: Order) -> bytes:
            """Print a label."""
            raise NotImplementedError

    row = MixinSpec(key="printing", human_name="Printing", cls=Smaller)
    old = Contract.of_specs("shop", [Hooks], mixins=[PRINTING])
    new = Contract.of_specs("shop", [Hooks], mixins=[row])

    assert ("major", "printing.print_label", "argument removed") in changes(old, new)


class Colour(Enum):
    RED = 1


T = TypeVar("T", bound=int)
Id = NewType("Id", str)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "int"),
        (None, "None"),
        (Any, "Any"),
        (Optional[float], "float | None"),  # noqa: UP045
        (Union[int, None, str], "int | None | str"),  # noqa: UP007
        (list[dict[str, "int"]], "list[dict[str, int]]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (Iterable[Path], "collections.abc.Iterable[pathlib.Path]"),
        (Annotated[int, "meta"], "int"),
        (Annotated[int, Ge(0), "meta"], "Annotated[int, Ge(ge=0)]"),
        (Annotated[int, Field(le=3, ge=0)], "Annotated[int, Ge(ge=0), Le(le=3)]"),
        (list[Annotated[str, Len(2)]], "list[Annotated[str, MinLen(min_length=2)]]"),
        (Literal["a", 1, None], "Literal['a', 1, None]"),
        (Literal[Shade.RED] | None, "Literal[Shade.RED] | None"),
        (Id, "str"),
        (T, "int"),
        (datetime.date, "datetime.date"),
        (Colour, f"{__name__}.Colour"),
        ("Decimal", "Decimal"),
    ],
)
def test_types_are_written_with_full_names(annotation, text) -> None:
    """The string of a type is an expression that anybody can read, and parses to the same."""
    assert name_of(annotation) == text
    assert str(parse(text)) == text


TYPES = st.recursive(
    st.sampled_from(
        ["int", "bool", "float", "str", "None", "object", "datetime.date", "datetime.datetime"]
    ),
    lambda inner: st.one_of(
        inner.map("list[{}]".format),
        st.tuples(inner, inner).map(" | ".join),
        inner.map("dict[str, {}]".format),
        inner.map("tuple[{}, ...]".format),
        inner.map("collections.abc.Iterable[{}]".format),
    ),
    max_leaves=6,
)


@given(TYPES, TYPES, TYPES)
def test_fitting_is_an_order(first, second, third) -> None:
    """Each type fits itself and any union with it, and fitting is transitive."""
    one, two, three = map(parse, (first, second, third))

    assert accepts(one, one, {}).fits
    assert accepts(parse(f"{first} | {second}"), one, {}).fits
    assert accepts(parse("object"), one, {}).fits
    if accepts(one, two, {}).fits and accepts(two, three, {}).fits:
        assert accepts(one, three, {}).fits


@pytest.mark.parametrize(
    ("wide", "narrow", "fits"),
    [
        ("float", "bool", True),
        ("str", "int", False),
        ("int | None", "None", True),
        ("str", "Literal['a']", True),
        ("Literal['a', 'b']", "Literal['a']", True),
        ("Literal['a']", "Literal['a', 'b']", False),
        ("Literal['a']", "str", False),
        ("tuple[int, int]", "tuple[int, str]", False),
        ("tuple[int, int]", "tuple[int, ...]", False),
        ("tuple[int, ...]", "tuple[int, int]", True),
        ("collections.abc.Sequence[float]", "tuple[int, int]", True),
        ("collections.abc.Mapping[str, float]", "dict[str, int]", True),
        ("list[int]", "list", None),
        ("int", "Annotated[int, Ge(ge=0)]", True),
        ("Annotated[float, Ge(ge=0)]", "Annotated[int, Ge(ge=0), Le(le=3)]", True),
        ("Annotated[int, Ge(ge=0)]", "int", None),
        ("Annotated[int, Ge(ge=0)]", "Annotated[int, Ge(ge=-1)]", None),
        ("Annotated[int, Ge(ge=0)]", "str", False),
        ("list[Annotated[int, Ge(ge=0)]] | None", "list[int]", None),
        ("datetime.date", "datetime.datetime", True),
        ("shop.Order", "shop.Rush", None),
        ("collections.abc.Callable[[int], int]", "collections.abc.Callable[[str], int]", None),
    ],
)
def test_values_fit_as_python_has_it(wide, narrow, fits) -> None:
    """A type is the set of its values; an unknown type is neither yes nor no."""
    assert accepts(parse(wide), parse(narrow), {}).fits is fits


def test_no_type_of_a_file_is_imported() -> None:
    """Reading and comparing a file imports no module that it names."""
    assert accepts(parse("this.Zen"), parse("antigravity.Flight"), {}).fits is None
    assert "this" not in sys.modules
    assert "antigravity" not in sys.modules


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("it cannot be shown")


@pytest.mark.parametrize(
    ("annotation", "written"),
    [(Annotated[int, Ge(Unshowable())], "int"), (Annotated[int, Unshowable(), Ge(0)], "ge=0"),
     (Unshowable(), "Any")],
)  # fmt: skip
def test_an_annotation_that_cannot_be_shown_is_left_out(annotation, written) -> None:
    """A constraint or a type whose repr raises costs itself, and not the contract."""

    class Strange:
        @hookspec
        def price(self, amount): ...

    Strange.price.__annotations__["amount"] = annotation
    contract = Contract.of_specs("shop", [Strange])

    assert written in contract.hooks["price"].arguments[0].type
    assert contract.compare(contract) == ()
