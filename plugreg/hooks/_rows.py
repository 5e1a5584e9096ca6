"""One implementation of a hook, as the isolated call needs it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Mapping, Sequence
from types import CoroutineType, FunctionType
from typing import Any, Final

from pluggy import HookCallError, HookImpl, Result

from plugreg._support.named import NamedTuple

Shape = tuple[int, ...]
"""The places of the values of a call that a function takes, in its own order."""

ABSENT: Final = object()
"""Stands for an argument that a call of a hook without a spec does not give."""


class Row(NamedTuple):
    """One implementation as the isolated call needs it.

    ``takes`` are the places of the values that the function is called with, in this order.
    """

    slug: str
    hook: str
    function: Callable[..., Any]
    takes: Shape

    def run(self, values: Sequence[Any]) -> Any:
        """Call the function with those of ``values`` that it takes."""
        return self.function(*[values[place] for place in self.takes])


class AsyncOnly:
    """Stands in for an async ``function``, which a synchronous call cannot wait for."""

    __slots__ = ("_name", "function")

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.function = function
        self._name = name

    def __call__(self, *_: Any) -> Any:
        raise _not_async(self._name)


def make_row(
    impl: HookImpl, hook: str, places: Mapping[str, int], *, may_lack: bool = False
) -> Row:
    """Make the row of an implementation, for calls whose values are at these places.

    With ``may_lack`` the values that it has defaults for may be ``ABSENT``.
    """
    function: Callable[..., Any] = impl.function
    optional = tuple(name for name in impl.kwargnames if name in places)
    unknown = [name for name in impl.argnames if name not in places]
    if unknown:
        return Row(impl.plugin_name, hook, _make_refusal(unknown[0]), ())
    if (may_lack and optional) or not _takes_by_place(impl, optional):
        function = _pass_by_keyword(function, len(impl.argnames), optional)
    if inspect.iscoroutinefunction(impl.function) or inspect.isasyncgenfunction(impl.function):
        function = AsyncOnly(function, getattr(impl.function, "__qualname__", ""))
    elif impl.hookwrapper:
        function = _make_new_style(function)
    takes = tuple(places[name] for name in (*impl.argnames, *optional))
    return Row(impl.plugin_name, hook, function, takes)


def _takes_by_place(impl: HookImpl, optional: tuple[str, ...]) -> bool:
    """Return whether ``optional`` come right after the other parameters.

    pluggy reports for a function with ``__wrapped__`` the parameters of the wrapped function.
    """
    if not optional:
        return True
    function = getattr(impl.function, "__func__", impl.function)
    is_plain = type(function) is FunctionType and "__wrapped__" not in function.__dict__
    return is_plain and impl.kwargnames[: len(optional)] == optional


def _pass_by_keyword(
    function: Callable[..., Any], count: int, names: tuple[str, ...]
) -> Callable[..., Any]:
    """Make a function that passes values after the first ``count`` by name."""

    def caller(*values: Any) -> Any:
        optional = zip(names, values[count:], strict=True)
        return function(
            *values[:count], **{name: value for name, value in optional if value is not ABSENT}
        )

    return caller


def with_all(row: Row) -> Callable[..., Any]:
    """Make a function that is called with all values of a call."""
    return lambda *values: row.run(values)


def _make_new_style(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make an old-style wrapper, which receives a ``Result``, a new-style one."""

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


def _make_refusal(absent: str) -> Callable[..., Any]:
    """Stand in for an implementation with an argument that no call has."""

    def refuse_call(*_: Any) -> Any:
        raise HookCallError(f"hook call must provide argument {absent!r}")

    return refuse_call


def refuse(coroutine: CoroutineType[Any, Any, Any]) -> Any:
    """Close a coroutine that an implementation has returned.

    Args:
        coroutine: The coroutine; none of its code has run.

    Raises:
        TypeError: Always, since a synchronous call cannot wait.
    """
    coroutine.close()
    raise _not_async(coroutine.__qualname__)


def _not_async(name: str) -> TypeError:
    return TypeError(
        f"{name!r} is async, but this call is not; "
        f"make it a plain function, or let the host await registry.acall() or aoutcomes()"
    )
