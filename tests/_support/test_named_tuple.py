"""Named tuples behave as those of ``typing`` do."""

from __future__ import annotations

import copy
import pickle
import sys
import typing

import pytest

from plugreg._support.frozen import NamedTuple


class Tea(NamedTuple):
    """A tuple with and without a default, and a method."""

    name: str
    strength: int = 2

    def label(self) -> str:
        return f"{self.name} {self.strength}"


class PlainTea(typing.NamedTuple):
    """The same, as ``typing`` makes it."""

    name: str
    strength: int = 2

    def label(self) -> str:
        return f"{self.name} {self.strength}"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        *[(("Earl",), {}), (("Earl", 3), {}), ((), {"name": "Earl"}), (("Earl",), {"strength": 3})],
        *[((), {}), (("Earl", 3, 4), {}), (("Earl",), {"name": "Grey"}), (("Earl",), {"x": 1})],
        *[((), {"strength": 3, "name": "Earl"}), ((), {"strength": 3})],
    ],
)
def test_construction_is_that_of_typing(values, named):
    """The same arguments are taken, and the same refused."""

    def outcome(cls):
        try:
            made = cls(*values, **named)
        except TypeError:
            return TypeError
        return tuple(made), made.name, made.strength, made.label(), made._asdict()

    assert outcome(Tea) == outcome(PlainTea)


def test_it_is_a_tuple_in_every_other_way():
    """Equality, hash, unpacking, patterns, pickles, copies and changes."""
    tea, plain = Tea("Earl"), PlainTea("Earl")
    name, strength = tea

    assert (name, strength, len(tea), tea[1]) == ("Earl", 2, 2, 2)
    assert tea == plain == ("Earl", 2)
    assert hash(tea) == hash(plain)
    assert repr(tea) == "Tea(name='Earl', strength=2)"
    assert (Tea._fields, Tea.__match_args__) == (PlainTea._fields, PlainTea.__match_args__)
    assert Tea._field_defaults == PlainTea._field_defaults
    assert tea._replace(strength=3) == plain._replace(strength=3)
    assert Tea._make(["Earl", 3]) == PlainTea._make(["Earl", 3])
    for again in (pickle.loads(pickle.dumps(tea)), copy.copy(tea), copy.deepcopy(tea)):
        assert type(again) is Tea
        assert again == tea
    if sys.version_info >= (3, 13):
        assert copy.replace(tea, strength=3) == ("Earl", 3)
    with pytest.raises((TypeError, ValueError)):
        tea._replace(sugar=1)
    with pytest.raises(AttributeError):
        tea.name = "Grey"
    with pytest.raises(AttributeError):
        tea.sugar = 1
    match tea:
        case Tea(name, strength=2):
            assert name == "Earl"
        case _:
            pytest.fail("no match")
