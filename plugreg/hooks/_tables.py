"""A hook as the isolated call needs it, and the implementations that one plugin brings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pluggy import HookCaller, HookCallError, HookImpl
from pluggy._hooks import HookSpec

from plugreg.hooks._loop import Calls, Keep, Loop, Pick, make_loop, make_pick, shaped
from plugreg.hooks._rows import ABSENT, Row, Shape, make_row

if TYPE_CHECKING:
    import importlib.metadata

Rank = tuple[Any, ...]
"""The place of a plugin among the others: those registered later have a greater one."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Implementations:
    """The hook implementations of one plugin, parsed and checked, but not in service.

    ``pairs`` has ``(hook name, implementation)`` in the order in which the plugin lists them,
    ``dist_info`` the metadata folder of the distribution that brought it, if one did.
    """

    name: str
    plugin: Any = field(repr=False)
    pairs: tuple[tuple[str, HookImpl], ...]
    rank: Rank = ()
    dist_info: str | None = None

    def distribution(self) -> importlib.metadata.Distribution | None:
        """Look up the distribution that brought the plugin; None where none did."""
        from importlib.metadata import Distribution

        return None if self.dist_info is None else Distribution.at(self.dist_info)

    def rows(self, hook: str, names: Iterable[str] = ()) -> list[Row]:
        """Return this plugin's own implementations of ``hook``, without wrappers.

        ``names`` are the arguments whose values they are to be given, in this order.
        """
        places = {name: place for place, name in enumerate(names)}
        return [
            make_row(impl, hook, places)
            for name, impl in self.pairs
            if name == hook and not (impl.wrapper or impl.hookwrapper)
        ]

    def invoke(self, hook: str, **kwargs: object) -> list[Any]:
        """Run this plugin's own implementations of ``hook``, without wrappers; return all results.

        Nothing is guarded here.
        """
        values = [*kwargs.values()]
        return [row.run(values) for row in self.rows(hook, kwargs)]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HookTable:
    """A hook as the isolated call needs it, made from one list of implementations and one spec.

    As long as ``hook`` holds the same two objects the table is current. ``rows`` and ``wrappers``
    are in call order, wrappers outermost first and all in new style; ``bare`` has the rows with
    nothing round them. A call has a value for each of ``parameters``, whose ``names`` are a set;
    ``defaults`` has those that the spec gives.

    ``shortcuts`` are for calls that are no more than a loop over all rows: by how many arguments
    one gives, all or those without a default, what picks their values, and the loop, which takes
    ``calls``, a ``Keep`` and these. ``loops`` are those of other calls, made when first needed.
    """

    hook: HookCaller
    impls: list[HookImpl]
    spec: HookSpec | None
    rows: tuple[Row, ...]
    bare: tuple[Row, ...]
    wrappers: tuple[Row, ...]
    parameters: tuple[str, ...]
    names: frozenset[str]
    defaults: Mapping[str, Any]
    firstresult: bool
    is_historic: bool
    shapes: tuple[Shape, ...]
    calls: Calls
    pick: Pick
    shortcuts: Mapping[int, tuple[Pick, Loop]]
    loops: dict[bool, Loop] = field(default_factory=dict)

    def arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call: one for each parameter, and no others.

        Raises HookCallError when one is missing, or unknown to the spec, and for a historic hook.
        """
        found = {**self.defaults, **given}
        return self._checked(found) if self.is_historic or found.keys() != self.names else found

    def values(self, arguments: Mapping[str, Any]) -> list[Any]:
        """Return the values that rows take: those of the arguments, in the order of parameters."""
        return [arguments[each] for each in self.parameters]

    def run(self, arguments: Mapping[str, Any], keep: Keep, *, first: bool) -> list[Any]:
        """Call the rows, all or up to the ``first`` result; return the results that are not None.

        ``arguments`` are those that :meth:`arguments` returns.
        """
        loop = self.loops.get(first)
        if loop is None:
            loop = self.loops[first] = make_loop(self.shapes, len(self.parameters), first=first)
        return loop(self.calls, keep, self.pick(arguments))

    def _checked(self, found: dict[str, Any]) -> dict[str, Any]:
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
        return {each: found[each] for each in self.parameters}


def make_table(hook: HookCaller, around: Callable[[Row], Row] | None = None) -> HookTable:
    """Make the table of a hook from the list of implementations that it has now.

    ``around`` makes of each row the one that stands in its place; of wrappers it is not asked.
    """
    impls, spec = hook._hookimpls, hook.spec
    in_call_order = impls[::-1]
    required, defaults = _parameters(impls, spec)
    parameters = (*required, *defaults)
    places = {name: place for place, name in enumerate(parameters)}

    def made(is_wrapper: bool) -> tuple[Row, ...]:
        return tuple(
            make_row(each, hook.name, places, may_lack=spec is None)
            for each in in_call_order
            if is_wrapper is (section(each) >= 3)
        )

    rows, wrappers = made(False), made(True)
    bare = rows
    if around is not None:
        rows = tuple(map(around, rows))
    shapes, calls = shaped(rows, len(parameters))
    firstresult = spec is not None and bool(spec.opts.get("firstresult"))
    is_historic = spec is not None and bool(spec.opts.get("historic"))
    shortcuts = {}
    if spec is not None and not (wrappers or firstresult or is_historic):
        shortcuts = {
            len(given): (make_pick(given), make_loop(shapes, len(given), others))
            for given, others in ((parameters, ()), (required, (*defaults.values(),)))
        }
    return HookTable(
        hook=hook,
        impls=impls,
        spec=spec,
        rows=rows,
        bare=bare,
        wrappers=wrappers,
        parameters=parameters,
        names=frozenset(parameters),
        defaults=defaults,
        firstresult=firstresult,
        is_historic=is_historic,
        shapes=shapes,
        calls=calls,
        pick=make_pick(parameters),
        shortcuts=shortcuts,
    )


def _parameters(
    impls: Sequence[HookImpl], spec: HookSpec | None
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return the names of what each call must give, and the defaults of what it may leave out."""
    if spec is not None:
        return spec.argnames, spec.kwargdefaults
    # Without a spec, a call must give what the implementations ask for.
    required = dict.fromkeys(name for each in impls for name in each.argnames)
    optional = dict.fromkeys(name for each in impls for name in each.kwargnames)
    return (*required,), {name: ABSENT for name in optional if name not in required}


def section(impl: HookImpl) -> int:
    """Return in which of the six parts of a hook's list pluggy keeps an implementation."""
    position = 0 if impl.trylast else 2 if impl.tryfirst else 1
    return position + 3 if impl.wrapper or impl.hookwrapper else position
