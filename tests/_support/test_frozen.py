"""Frozen values behave as frozen dataclasses with slots do, before and after many were made."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import sys
from dataclasses import FrozenInstanceError, dataclass, field
from typing import ClassVar, Generic, TypeVar

import pytest

from plugreg._support import frozen
from plugreg._support.frozen import Frozen, NamedTuple, replace
from plugreg._support.guard import _is_own

T = TypeVar("T")


class Tea(Frozen):
    """A value with every kind of field."""

    kinds: ClassVar[int] = 3
    name: str
    strength: int = 2
    notes: list[str] = field(default_factory=list, hash=False)
    secret: str = field(default="s", repr=False)
    place: object = field(default=None, compare=False)
    cups: dict[str, int] = field(default_factory=dict, init=False, compare=False)
    pot: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.strength < 0:
            raise ValueError("strength is below 0")
        object.__setattr__(self, "name", self.name.lower())

    @property
    def label(self) -> str:
        return f"{self.name} {self.strength}"


class GreenTea(Tea):
    """A value with the fields of another class and one more."""

    steamed: bool = True


class Pair(Frozen, Generic[T], kw_only=False):
    """A value whose arguments may be given by position."""

    first: T
    second: int = 1


class Leaf(Frozen, eq=False):
    """A value that equals itself alone."""

    name: str = ""


class LeafDraft(Frozen, frozen=False):
    """An object that can be filled, and become a value."""

    name: str

    def __init__(self, name):
        self.name = name


class Nothing(Frozen):
    """A value without fields."""


def as_written(cls: type, **options: bool) -> type:
    """Return the dataclass that stands for one of these classes."""

    class PlainTea:
        kinds: ClassVar[int] = 3
        name: str
        strength: int = 2
        notes: list[str] = field(default_factory=list, hash=False)
        secret: str = field(default="s", repr=False)
        place: object = field(default=None, compare=False)
        cups: dict[str, int] = field(default_factory=dict, init=False, compare=False)
        pot: str | None = field(default=None, init=False)
        __post_init__ = Tea.__post_init__

    class PlainPair:
        first: object
        second: int = 1

    plain = {Tea: PlainTea, Pair: PlainPair}[cls]
    plain.__qualname__ = cls.__qualname__
    return dataclass(frozen=True, slots=True, **options)(plain)


@pytest.fixture(params=["few", "many"], autouse=True)
def many(request, monkeypatch):
    """Run each test with the shared constructor, and with those that are compiled for a class."""
    if request.param == "many":
        monkeypatch.setattr(frozen, "_MANY", 1)
    for cls in (Tea, GreenTea, Pair, Leaf, Nothing):
        monkeypatch.setattr(cls, "__init__", frozen._construct)


ARGUMENTS = [
    {"name": "Earl"},
    {"name": "Earl", "strength": 3, "notes": ["x"], "secret": "t", "place": 4},
    {},
    {"strength": 3},
    {"name": "Earl", "sugar": 1},
    {"sugar": 1},
    {"name": "Earl", "cups": {}},
    {"name": "Earl", "strength": -1},
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_construction_is_that_of_a_dataclass(arguments):
    """Defaults, refusals and their messages are the same, the first time and after that."""
    plain = as_written(Tea, kw_only=True)

    def outcome(cls):
        try:
            made = cls(**arguments)
        except (TypeError, ValueError) as error:
            return type(error), str(error)
        return repr(made), dataclasses.asdict(made), made.notes, made.cups, made.pot

    assert outcome(Tea) == outcome(plain)
    assert outcome(Tea) == outcome(plain)


@pytest.mark.parametrize(
    ("positional", "named"),
    [
        *[((1,), {}), ((1, 2), {}), ((1,), {"second": 3}), ((), {"first": 1})],
        *[((1, 2, 3), {}), ((1,), {"first": 2}), ((), {})],
    ],
)
def test_arguments_by_position_are_those_of_a_dataclass(positional, named):
    """A class that allows them takes and refuses the same; the others refuse all of them."""

    def outcome(cls):
        try:
            return repr(cls(*positional, **named))
        except TypeError as error:
            return str(error)

    assert outcome(Pair) == outcome(as_written(Pair))
    with pytest.raises(TypeError, match="positional"):
        Tea("Earl")


def test_each_value_has_containers_of_its_own():
    """The value of a factory is made for each object."""
    assert Tea(name="a").notes is not Tea(name="a").notes


def test_values_of_one_class_with_equal_fields_are_equal():
    """Fields that are not compared, and subclasses, count as they do for a dataclass."""
    tea = Tea(name="Earl", notes=["x"], place=1)

    assert tea == Tea(name="Earl", notes=["x"], place=2)
    assert tea != Tea(name="Earl", notes=["y"])
    assert tea != Tea(name="Earl", notes=["x"], secret="t")
    assert tea != GreenTea(name="Earl", notes=["x"])
    assert tea != ("earl", 2, ["x"], "s")
    assert hash(tea) == hash(Tea(name="Earl", notes=["y"], place=2))
    assert hash(tea) != hash(Tea(name="Grey"))
    assert Nothing() == Nothing()
    assert hash(Nothing()) == hash(Nothing())
    with pytest.raises(TypeError, match="unhashable"):
        hash(Pair([]))


def test_a_value_without_equality_equals_itself_alone():
    """``eq=False`` leaves identity."""
    leaf = Leaf()

    assert leaf in [leaf]
    assert leaf != Leaf()
    assert len({leaf, Leaf()}) == 2


def test_nothing_of_a_value_can_be_changed():
    """No field can be set or deleted, and no other attribute be added."""
    tea = Tea(name="Earl")

    for name in ("name", "cups", "other", "label"):
        with pytest.raises(FrozenInstanceError, match=f"cannot assign to field {name!r}"):
            setattr(tea, name, 1)
        with pytest.raises(FrozenInstanceError, match=f"cannot delete field {name!r}"):
            delattr(tea, name)
    assert not hasattr(tea, "__dict__")
    assert not hasattr(GreenTea(name="x"), "__dict__")


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_and_copies_have_all_fields(protocol):
    """Also those that are neither compared nor arguments; ``__post_init__`` does not run again."""
    tea = Tea(name="Earl", strength=4, notes=["x"], place="here")
    tea.cups["big"] = 2

    for again in (
        pickle.loads(pickle.dumps(tea, protocol)),
        copy.copy(tea),
        copy.deepcopy(tea),
    ):
        assert again == tea
        assert (again.place, again.cups) == ("here", {"big": 2})
    assert copy.copy(tea).notes is tea.notes
    assert copy.deepcopy(tea).notes is not tea.notes


def test_a_copy_with_changes_runs_the_checks():
    """The fields that are not named stay; a wrong change is refused, as a construction is."""
    tea = Tea(name="Earl", notes=["x"], place=1)
    ways = [replace, dataclasses.replace]
    if sys.version_info >= (3, 13):
        ways.append(copy.replace)

    for way in ways:
        changed = way(tea, strength=5)
        assert (changed.name, changed.strength, changed.place) == ("earl", 5, 1)
        assert changed.notes is tea.notes
        with pytest.raises(ValueError, match="below 0"):
            way(tea, strength=-1)
        with pytest.raises(TypeError, match="sugar"):
            way(tea, sugar=1)
        with pytest.raises((TypeError, ValueError), match="cups"):
            way(tea, cups={})


def test_dataclasses_know_the_fields():
    """Libraries that ask ``dataclasses`` for the fields of a class or an object get them."""
    plain = as_written(Tea, kw_only=True)

    for of in (Tea, Tea(name="Earl")):
        assert dataclasses.is_dataclass(of)
        assert list(map(repr, dataclasses.fields(of))) == list(map(repr, dataclasses.fields(plain)))
    assert [found.name for found in dataclasses.fields(GreenTea)][-1] == "steamed"
    assert dataclasses.fields(Nothing()) == ()
    assert inspect.signature(Tea) == inspect.signature(plain)


def test_a_pattern_takes_fields():
    """By name all of them, by position those that may be given so."""
    match Tea(name="Earl"):
        case Tea(name=name, strength=2):
            assert name == "earl"
        case _:
            pytest.fail("no match")
    match Pair("a", 2):
        case Pair(first, second):
            assert (first, second) == ("a", 2)
    assert (Tea.__match_args__, Pair.__match_args__) == ((), ("first", "second"))


def test_a_field_of_a_class_variable_is_none():
    """It stays the attribute of the class that it is."""
    assert Tea.kinds == 3
    assert "kinds" not in Tea.__slots__


def test_what_is_filled_becomes_frozen_with_its_class():
    """Until then its fields can be set."""
    leaf = LeafDraft("x")
    leaf.name = "y"
    leaf.__class__ = Leaf

    assert (type(leaf), leaf.name) == (Leaf, "y")
    with pytest.raises(FrozenInstanceError):
        leaf.name = "z"


def test_annotations_may_be_types():
    """A module that does not postpone the evaluation of its annotations can have such classes."""
    annotations = {"sugar": int, "milk": ClassVar[int]}
    cls = type(Tea)("SweetTea", (Tea,), {"__annotations__": annotations, "sugar": 1, "milk": 5})

    assert repr(cls(name="Earl")).endswith("sugar=1)")
    assert (cls.milk, cls(name="Earl", sugar=2).sugar) == (5, 2)
    assert [found.name for found in dataclasses.fields(cls)][-1] == "sugar"


def places(prefix):
    """Make a class of named tuples, in which nothing was made yet."""

    class Place(NamedTuple):
        """A tuple with names."""

        shelf: str
        row: int = 2
        notes: tuple[str, ...] = ()

        @property
        def label(self):
            return f"{prefix}{self.shelf}{self.row}"

    return Place


def test_tuples_take_the_arguments_of_named_tuples():
    """By position, by name and by default, the first time and after many were made."""
    cls = places("at ")

    for _ in range(frozen._MANY + 3 if frozen._MANY < 1000 else 3):
        place = cls("a", notes=("x",))
        assert place == ("a", 2, ("x",))
        assert (place.shelf, place.row, place.label) == ("a", 2, "at a2")
        assert cls("a", 3) == cls(shelf="a", row=3) == cls._make(("a", 3)) == ("a", 3, ())
        assert place._replace(row=4) == ("a", 4, ("x",))
        assert copy.copy(place) == place
        assert type(copy.deepcopy(place)) is cls
        for positional, named in ((), {}), (("a", 1, (), 2), {}), (("a",), {"shelf": "b"}):
            with pytest.raises(TypeError):
                cls(*positional, **named)
        with pytest.raises(TypeError):
            cls("a", colour="red")


def test_constructors_that_are_compiled_are_those_of_plugreg():
    """A record of a failure leaves their frames out, as all of plugreg's own."""
    assert _is_own(frozen._compiled(Tea).__code__)
