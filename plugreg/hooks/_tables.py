"""Implementations, as a plugin brings them and as the isolated call needs them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NamedTuple

from pluggy import HookCaller, HookCallError, HookImpl, Result
from pluggy._hooks import HookSpec

if TYPE_CHECKING:
    import importlib.metadata

Rank = tuple[Any, ...]
"""The place of a plugin among the others: those registered later have a greater one."""


class Row(NamedTuple):
    """One implementation as the isolated call needs it."""

    slug: str
    function: Callable[..., Any]
    argnames: tuple[str, ...]
    kwargnames: tuple[str, ...]

    def run(self, kwargs: Mapping[str, Any]) -> Any:
        """Call the function with those of ``kwargs`` that it asks for."""
        arguments = map(kwargs.__getitem__, self.argnames)
        if self.kwargnames:
            return self.function(
                *arguments, **{each: kwargs[each] for each in self.kwargnames if each in kwargs}
            )
        return self.function(*arguments)


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

    def invoke(self, hook: str, **kwargs: object) -> list[Any]:
        """Run this plugin's own implementations of ``hook``, without wrappers; return all results.

        Nothing is guarded here.
        """
        return [
            _row(impl).run(kwargs)
            for name, impl in self.pairs
            if name == hook and not (impl.wrapper or impl.hookwrapper)
        ]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HookTable:
    """A hook as the isolated call needs it, made from one list of implementations.

    ``impls`` and ``spec`` are what it was made from; as long as the manager holds the same two
    objects the table is current. ``rows`` and ``wrappers`` are in call order, wrappers outermost
    first and all in new style; rows with equal argument names share one tuple of them.
    ``required`` are the arguments each call must give.
    """

    name: str
    impls: list[HookImpl]
    spec: HookSpec | None
    rows: tuple[Row, ...]
    wrappers: tuple[Row, ...]
    required: frozenset[str]
    defaults: Mapping[str, Any]
    firstresult: bool
    historic: bool

    def arguments(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call with the spec's defaults filled in.

        Raises HookCallError when one that the spec declares is missing or one is unknown to it.
        """
        if not self.required <= kwargs.keys():
            missing = ", ".join(repr(each) for each in sorted(self.required - kwargs.keys()))
            raise HookCallError(f"call of hook {self.name!r} must provide argument {missing}")
        if self.spec is not None and len(kwargs) > len(self.required):
            unknown = kwargs.keys() - self.required - set(self.spec.kwargnames)
            if unknown:
                names = ", ".join(repr(each) for each in sorted(unknown))
                raise HookCallError(f"hook {self.name!r} has no argument {names}")
        return {**self.defaults, **kwargs} if self.defaults else kwargs


def section(impl: HookImpl) -> int:
    """Return in which of the six parts of a hook's list pluggy keeps an implementation."""
    position = 0 if impl.trylast else 2 if impl.tryfirst else 1
    return position + 3 if impl.wrapper or impl.hookwrapper else position


def make_table(hook: HookCaller) -> HookTable:
    """Make the table of a hook from the list of implementations that it has now."""
    impls, spec = hook._hookimpls, hook.spec
    in_call_order = impls[::-1]
    same: dict[tuple[str, ...], tuple[str, ...]] = {}
    return HookTable(
        name=hook.name,
        impls=impls,
        spec=spec,
        rows=tuple(
            row._replace(argnames=same.setdefault(row.argnames, row.argnames))
            for row in map(_row, (each for each in in_call_order if section(each) < 3))
        ),
        wrappers=tuple(_row(each) for each in in_call_order if section(each) >= 3),
        # Without a spec, a call must give what the implementations ask for.
        required=frozenset(
            spec.argnames if spec is not None else (n for each in impls for n in each.argnames)
        ),
        defaults=dict(spec.kwargdefaults) if spec is not None else {},
        firstresult=bool(spec is not None and spec.opts.get("firstresult")),
        historic=bool(spec is not None and spec.opts.get("historic")),
    )


def _row(impl: HookImpl) -> Row:
    function: Callable[..., Any] = impl.function
    if inspect.iscoroutinefunction(function):
        function = _refusal_of(function)
    elif impl.hookwrapper:
        function = _in_new_style(function)
    return Row(impl.plugin_name, function, impl.argnames, impl.kwargnames)


def _in_new_style(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make an old-style wrapper, which is sent a ``Result``, work like a new-style one."""

    def wrapper(*args: Any, **kwargs: Any) -> Generator[None, Any, Any]:
        inner = function(*args, **kwargs)
        try:
            next(inner)
        except StopIteration:
            raise RuntimeError("hook wrapper did not yield") from None
        try:
            result = Result((yield), None)
            inner.send(result)
        except StopIteration:
            return result.get_result()
        finally:
            inner.close()
        raise RuntimeError("hook wrapper has a second yield")

    return wrapper


def _refusal_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """Stand in for an async implementation, which a synchronous call cannot wait for."""

    def stand_in(*_args: Any, **_kwargs: Any) -> Any:
        raise _not_async(getattr(function, "__qualname__", ""))

    return stand_in


def refuse(coroutine: CoroutineType[Any, Any, Any]) -> Any:
    """Close a coroutine that an implementation has returned. Raises TypeError."""
    coroutine.close()
    raise _not_async(coroutine.__qualname__)


def _not_async(name: str) -> TypeError:
    return TypeError(f"{name!r} is async, but this call is not; make it a plain function")
