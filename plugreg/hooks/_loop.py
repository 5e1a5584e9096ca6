"""The loop of an isolated call, compiled for a hook's arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from types import CodeType, CoroutineType, FunctionType
from typing import Any, Final

from plugreg.hooks._rows import Row, refuse

Shape = tuple[int, ...]
"""The places of the values of a call that a function takes, in its own order."""

Call = tuple[Callable[..., Any], int, Row]
"""A function, the number of the shape of its arguments, and its row."""

Calls = tuple[Call, ...]

Keep = Callable[[Row, BaseException], None]
"""Records the exception of an implementation, or raises it again."""

Pick = Callable[[Mapping[str, Any]], Any]
"""Takes the arguments of a call; returns the values of some: one as it is, several as a tuple."""

Loop = Callable[[Calls, Keep, Any], list[Any]]
"""Takes calls, a ``Keep`` and the picked values; returns the results that are not None."""

# Calling a function takes half the time when its arguments are written out, and a hook call does
# little else. So the source of the loop is made for the arguments that the implementations take.
# It has numbers for them: no name that a plugin or a host has chosen is ever compiled.
_LOOP: Final = """
def loop(calls, keep, picked{defaults}):
    {values} = picked
    results = []
    for function, shape, row in calls:
        try:
            value = {call}
            if value is not None:
                if type(value) is CoroutineType:
                    refuse(value)
                results.append(value){end}
        except BaseException as error:
            keep(row, error)
    return results
"""
_MOST_SHAPES: Final = 16
"""How many different lists of arguments are written out; beyond it there is one starred call."""


@lru_cache(maxsize=128)
def _code(shapes: tuple[Shape, ...], given: int, defaults: int, first: bool) -> CodeType:
    """Compile the loop for these shapes of ``given + defaults`` values."""
    values = [f"value{place}" for place in range(given + defaults)]
    *others, call = (f"function({', '.join(values[place] for place in shape)})" for shape in shapes)
    for number, other in enumerate(others):
        call = f"{other} if shape == {number} else {call}"
    source = _LOOP.format(
        defaults="".join(f", {value}" for value in values[given:]),
        # One value comes as it is, several as a tuple, as itemgetter gives them.
        values=", ".join(values[:given]) or "_",
        call=call,
        end="\n                break" if first else "",
    )
    module = compile(source, f"<{__name__}>", "exec")
    return next(const for const in module.co_consts if isinstance(const, CodeType))


def make_loop(
    shapes: tuple[Shape, ...], given: int, defaults: tuple[Any, ...] = (), *, first: bool = False
) -> Loop:
    """Make the loop of calls that pick ``given`` values, which ``defaults`` follow.

    It calls all implementations, or with ``first`` those up to the first result.
    """
    if not shapes:
        return _no_results
    code = _code(shapes, given, len(defaults), first)
    names = {"CoroutineType": CoroutineType, "refuse": refuse}
    return FunctionType(code, names, argdefs=defaults)


def _no_results(_calls: Calls, _keep: Keep, _picked: Any) -> list[Any]:
    return []


def make_pick(names: tuple[str, ...]) -> Pick:
    """Make a function that picks these arguments; KeyError if one is missing."""
    return itemgetter(*names) if names else len


def make_calls(rows: Sequence[Row], parameters: Sequence[str]) -> tuple[tuple[Shape, ...], Calls]:
    """Return the different shapes of the functions' arguments, and the calls."""
    places = {name: place for place, name in enumerate(parameters)}
    shapes = [tuple(places[name] for name in row.takes) for row in rows]
    numbers = {shape: number for number, shape in enumerate(dict.fromkeys(shapes))}
    if len(numbers) > _MOST_SHAPES:
        return (tuple(places.values()),), tuple(
            (_with_all(row, parameters), 0, row) for row in rows
        )
    calls = ((row.function, numbers[shape], row) for row, shape in zip(rows, shapes, strict=True))
    return tuple(numbers), tuple(calls)


def _with_all(row: Row, parameters: Sequence[str]) -> Callable[..., Any]:
    """Make a function that is called with all values of a call."""
    return lambda *values: row.run(dict(zip(parameters, values, strict=True)))
