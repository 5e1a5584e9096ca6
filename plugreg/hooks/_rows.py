"""The implementations of a plugin, and each as the isolated call needs it.

It is imported with the first plugin.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Generator, Mapping
from copy import copy
from dataclasses import field
from operator import itemgetter
from types import CoroutineType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final

from pluggy import HookCallError, HookImpl, Result

from plugreg._support.frozen import Frozen, NamedTuple, replace
from plugreg.hooks._specs import SLUG, slug_of

if TYPE_CHECKING:
    import importlib.metadata

    Rank = tuple[Any, ...]
    """The place of a plugin among the others: plugins registered later have a greater rank."""

ABSENT: Final = object()
"""Placeholder of an argument that a call of a hook without a spec does not pass."""


_ASYNC: Final = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR

Pick = Callable[[Mapping[str, Any]], tuple[Any, ...]]
"""Returns the values that a function takes of the arguments of a call."""


def _pick_none(_: Mapping[str, Any]) -> tuple[Any, ...]:
    return ()


class Row(NamedTuple):
    """An implementation as the isolated call needs it.

    ``takes`` are the names of the arguments that the function is called with, in this order;
    ``pick`` picks these.
    """

    slug: str
    hook: str
    function: Callable[..., Any]
    takes: tuple[str, ...] = ()
    pick: Pick = _pick_none

    def run(self, arguments: Mapping[str, Any]) -> Any:
        """Call the function with those of the arguments that it takes.

        Args:
            arguments: The arguments of the call by name.
        """
        return self.function(*self.pick(arguments))


def _make_pick(names: tuple[str, ...]) -> Pick:
    if len(names) > 1:
        return itemgetter(*names)
    if names:
        # A single value would come as it is.
        [name] = names
        return lambda arguments: (arguments[name],)
    return _pick_none


class AsyncOnly:
    """Stands in for an async ``function``, which a synchronous call cannot wait for."""

    __slots__ = ("_name", "function")

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.function = function
        self._name = name

    def __call__(self, *_: Any) -> Any:
        raise _not_async(self._name)


class BothWays(AsyncOnly):
    """A function for synchronous calls, with an async function that does the same.

    The call of an isolated plugin is such a function: an asynchronous call awaits its answer.
    """

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any], function: Callable[..., Any]) -> None:
        super().__init__(function, "")
        self._call = call

    def __call__(self, *values: Any) -> Any:
        return self._call(*values)


ASYNC_TWIN: Final = "plugreg_async_twin"
"""The attribute of a function with the async function that does the same."""


def make_row(impl: HookImpl, hook: str, known: Container[str], *, may_lack: bool = False) -> Row:
    """Make the row of an implementation, for calls with the ``known`` arguments.

    With ``may_lack`` the values that it has defaults for may be ``ABSENT``.
    """
    function: Callable[..., Any] = impl.function
    optional = tuple(name for name in impl.kwargnames if name in known)
    unknown = [name for name in impl.argnames if name not in known]
    if unknown:
        return Row(slug_of(impl), hook, _make_refusal(unknown[0]))
    if (may_lack and optional) or not _takes_by_place(impl, optional):
        function = _pass_by_keyword(function, len(impl.argnames), optional)
    twin = _async_twin(impl.function)
    if twin is not None:
        twin = twin.__get__(impl.plugin)
        if not _takes_by_place(impl, optional):
            twin = _pass_by_keyword(twin, len(impl.argnames), optional)
        function = BothWays(function, twin)
    elif _is_async(impl.function):
        function = AsyncOnly(function, getattr(impl.function, "__qualname__", ""))
    elif impl.hookwrapper:
        function = _make_new_style(function)
    takes = (*impl.argnames, *optional)
    return Row(slug_of(impl), hook, function, takes, _make_pick(takes))


def _is_async(function: Any) -> bool:
    """Return whether a function is a coroutine function or an async generator function."""
    plain = function.__func__ if type(function) is MethodType else function
    if type(plain) is FunctionType and not plain.__code__.co_flags & _ASYNC:
        # Marked by inspect.markcoroutinefunction, it is one all the same.
        return hasattr(plain, "_is_coroutine_marker") and inspect.iscoroutinefunction(function)
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _async_twin(function: Any) -> Any:
    """Return the async function that does the same as a method, or None; no code runs."""
    plain = function.__func__ if type(function) is MethodType else None
    return plain.__dict__.get(ASYNC_TWIN) if type(plain) is FunctionType else None


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


def _make_new_style(function: Callable[..., Any]) -> Callable[..., Any]:
    """Convert an old-style wrapper, which receives a ``Result``, to a new-style wrapper."""

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


# -- a plugin's implementations ----------------------------------------------------------------


class Implementations(Frozen, eq=False):
    """The hook implementations of a plugin, parsed and checked, but not in service.

    Attributes:
        slug: The plugin's identity.
        name: The plugin's name on the manager.
        plugin: The plugin object.
        pairs: ``(hook name, implementation)`` in the order in which the plugin lists them.
        rank: The plugin's place among the others.
        dist_info: Metadata folder of the plugin's distribution, or None.
    """

    slug: str
    name: str
    plugin: Any = field(repr=False)
    pairs: tuple[tuple[str, HookImpl], ...]
    rank: Rank = ()
    dist_info: str | None = None

    def renamed(self, name: str) -> Implementations:
        """Return these implementations of the plugin under another name on the manager.

        Args:
            name: The name.
        """
        pairs = [(hook, copy(impl)) for hook, impl in self.pairs]
        for _, impl in pairs:
            impl.plugin_name = name  # type: ignore[misc]
            impl.opts[SLUG] = self.slug  # type: ignore[typeddict-unknown-key]
        return replace(self, name=name, pairs=(*pairs,))

    def distribution(self) -> importlib.metadata.Distribution | None:
        """Read the plugin's distribution; None for a plugin without."""
        from importlib.metadata import Distribution

        return None if self.dist_info is None else Distribution.at(self.dist_info)

    def rows(self, hook: str, names: Container[str] = ()) -> tuple[Row, ...]:
        """Return this plugin's own implementations of a hook, without wrappers.

        Args:
            hook: The hook's name.
            names: The arguments of the calls.
        """
        return tuple(
            make_row(impl, hook, names)
            for name, impl in self.pairs
            if name == hook and not (impl.wrapper or impl.hookwrapper)
        )

    def invoke(self, hook: str, **kwargs: object) -> list[Any]:
        """Run this plugin's own implementations of a hook, without a guard.

        Args:
            hook: The hook's name.
            **kwargs: Arguments of the hook.

        Returns:
            All results, None included.
        """
        return [row.run(kwargs) for row in self.rows(hook, kwargs)]
