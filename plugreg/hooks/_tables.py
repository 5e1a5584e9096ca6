"""A hook as the isolated call needs it."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from types import CodeType, CoroutineType, FunctionType
from typing import TYPE_CHECKING, Any, Final

from pluggy import HookCaller, HookCallError, HookImpl
from pluggy._hooks import HookSpec

if TYPE_CHECKING:
    from plugreg.hooks._order import Position
    from plugreg.hooks._rows import Row

    Shape = tuple[int, ...]
    """The places of the values of a call that a function takes, in its own order."""

    Call = tuple[Callable[..., Any], int, Row]
    """A function, the number of the shape of its arguments, and its row."""

    Calls = tuple[Call, ...]

    Pick = Callable[[Mapping[str, Any]], Any]
    """Takes the arguments of a call; returns some values: a single value, or a tuple of several."""

    Loop = Callable[["Calls", "Keep", Any], list[Any]]
    """Takes calls, a ``Keep`` and the picked values; returns the results that are not None."""

Keep = Callable[["Row", BaseException], None]
"""Records the exception of an implementation, or raises it again."""


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
"""Number of argument lists that are written out; beyond it a starred call is used."""


@lru_cache(maxsize=128)
def _code(shapes: tuple[Shape, ...], given: int, defaults: int, first: bool) -> CodeType:
    """Compile the loop for these shapes of ``given + defaults`` values."""
    values = [f"value{place}" for place in range(given + defaults)]
    *others, call = (f"function({', '.join(values[place] for place in shape)})" for shape in shapes)
    for number, other in enumerate(others):
        call = f"{other} if shape == {number} else {call}"
    source = _LOOP.format(
        defaults="".join(f", {value}" for value in values[given:]),
        # A single value comes as it is, several as a tuple, as itemgetter returns them.
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
    from plugreg.hooks._rows import refuse

    code = _code(shapes, given, len(defaults), first)
    names = {"CoroutineType": CoroutineType, "refuse": refuse}
    return FunctionType(code, names, argdefs=defaults)


def _no_results(_calls: Calls, _keep: Keep, _picked: Any) -> list[Any]:
    return []


def make_pick(names: tuple[str, ...]) -> Pick:
    """Make a function that picks these arguments; KeyError if an argument is missing."""
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


class HookTable:
    """A hook as the isolated call needs it.

    It is made from a list of implementations and a spec. The table is current as long as
    ``hook`` holds the same two objects. ``rows`` and ``wrappers`` are in call order, wrappers
    outermost first and all in new style. ``bare`` has the rows without supervision. A call has a
    value for each of ``parameters``, whose ``names`` are a set; ``defaults`` has the spec's default
    values.

    ``shortcuts`` are for calls that are no more than a loop over all rows. By the number of
    arguments, all or those without a default, they have the function that picks their values, and
    the loop, which takes ``calls``, a ``Keep`` and these. ``loops`` are the loops of other calls,
    made when first needed. ``parts`` are tables of some plugins alone, which go with this one.
    """

    def __init__(self, hook: HookCaller, around: Callable[[Row], Row] | None = None) -> None:
        impls, spec = hook._hookimpls, hook.spec
        options: Mapping[str, Any] = {} if spec is None else spec.opts
        required, defaults = _parameters(impls, spec)
        self.hook: Final = hook
        self.impls: Final = impls
        self.spec: Final = spec
        self.parameters: Final = (*required, *defaults)
        self.names: Final = frozenset(self.parameters)
        self.defaults: Final = defaults
        self.firstresult: Final = bool(options.get("firstresult"))
        self.is_historic: Final = bool(options.get("historic"))

        def make_rows(is_wrapper: bool) -> tuple[Row, ...]:
            found = [impl for impl in impls[::-1] if is_wrapper is (section(impl) >= 3)]
            return _make_rows(found, hook.name, self.names, may_lack=spec is None)

        self.bare: Final = make_rows(False)
        self.wrappers: Final = make_rows(True)
        self.rows: Final = self.bare if around is None else tuple(map(around, self.bare))
        self.shapes, self.calls = make_calls(self.rows, self.parameters)
        self.pick: Final = make_pick(self.parameters)
        self.loops: dict[bool, Loop] = {}
        self.parts: dict[frozenset[str], HookTable] = {}
        self.shortcuts: dict[int, tuple[Pick, Loop]] = {}
        if spec is not None and not (self.wrappers or self.firstresult or self.is_historic):
            for given, others in ((self.parameters, ()), (required, (*defaults.values(),))):
                loop = make_loop(self.shapes, len(given), others)
                self.shortcuts[len(given)] = (make_pick(given), loop)

    def arguments(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the arguments of a call: a value for each parameter, and no others.

        Args:
            given: The arguments of the caller.

        Raises:
            HookCallError: If an argument is missing, or unknown to the spec, or the hook is
                historic.
        """
        if len(given) == len(self.parameters) and not self.is_historic:
            try:
                self.pick(given)
            except KeyError:
                pass  # An argument is missing, and another unknown.
            else:
                return given
        found = {**self.defaults, **given}
        return self._check(found) if self.is_historic or found.keys() != self.names else found

    def loop(self, first: bool) -> Loop:
        """Return the loop over the rows, for the values that ``pick`` picks.

        Args:
            first: Whether it ends at the first result.
        """
        loop = self.loops.get(first)
        if loop is None:
            loop = self.loops[first] = make_loop(self.shapes, len(self.parameters), first=first)
        return loop

    def explain(self) -> tuple[Position, ...]:
        """Return all implementations in call order, with reasons."""
        from plugreg.hooks._order import explain_order

        return explain_order(self.impls)

    def _check(self, found: dict[str, Any]) -> dict[str, Any]:
        name = self.hook.name
        if self.is_historic:
            raise HookCallError(
                f"hook {name!r} is historic; use registry.hook.{name}.call_historic()"
            )
        missing = self.names - found.keys()
        if missing:
            names = ", ".join(map(repr, sorted(missing)))
            raise HookCallError(f"call of hook {name!r} must provide argument {names}")
        unknown = found.keys() - self.names
        if unknown and self.spec is not None:
            names = ", ".join(map(repr, sorted(unknown)))
            raise HookCallError(f"hook {name!r} has no argument {names}")
        return {name: found[name] for name in self.parameters}


def _parameters(
    impls: Sequence[HookImpl], spec: HookSpec | None
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return the names of the required arguments, and the defaults of the others."""
    if spec is not None:
        return spec.argnames, spec.kwargdefaults
    from plugreg.hooks._rows import ABSENT

    # Without a spec, a call needs the arguments of the implementations.
    required = dict.fromkeys(name for impl in impls for name in impl.argnames)
    optional = dict.fromkeys(name for impl in impls for name in impl.kwargnames)
    return (*required,), {name: ABSENT for name in optional if name not in required}


def _make_rows(
    impls: Sequence[HookImpl], hook: str, known: Container[str], *, may_lack: bool = False
) -> tuple[Row, ...]:
    """Make the rows of implementations, for calls with the ``known`` arguments."""
    if not impls:
        return ()
    # Imported with the first implementation, as hosts without plugins have none.
    from plugreg.hooks._rows import make_row

    return tuple(make_row(impl, hook, known, may_lack=may_lack) for impl in impls)


def section(impl: HookImpl) -> int:
    """Return the part, of six, of a hook's list that has an implementation."""
    position = 0 if impl.trylast else 2 if impl.tryfirst else 1
    return position + 3 if impl.wrapper or impl.hookwrapper else position
