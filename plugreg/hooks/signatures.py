"""The specifications of hooks as data: arguments, types, result and notes.

Only this module reads the annotations of a hook's specification. The contract writes
them down, and isolation sends values by them.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin, get_type_hints

from plugreg._support.frozen import Frozen
from plugreg._support.guard import Guard

if TYPE_CHECKING:
    from plugreg.hooks._manager import PluginManager

_EMPTY: Final = inspect.Parameter.empty


class HookSignature(Frozen):
    """The specification of a hook.

    A type is the annotation as an object, ``Any`` where there is none, and the string that was
    written where its names cannot be found at run time (a class that only type checkers import).

    Attributes:
        name: The hook.
        namespace: The class or module that holds the specification.
        function: The specification.
        arguments: Types by the names of the arguments, in their order.
        optional: Names of the arguments that have a default.
        result: Type of an implementation's result; that of the awaited value if it is async.
        firstresult: Whether the first result other than None ends the call.
        historic: Whether plugins that come later are called, too.
        is_async: Whether it is awaited: an ``async def``, or a function whose result is awaitable.
        since: Version of the host that brought the hook.
        deprecated: Version that deprecated it, with the replacement.
        removed: Version from which on it is not called.
        text: Its docstring.
    """

    name: str
    namespace: Any
    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    optional: frozenset[str] = frozenset()
    result: Any = Any
    firstresult: bool = False
    historic: bool = False
    is_async: bool = False
    since: str | None = None
    deprecated: str | None = None
    removed: str | None = None
    text: str = ""


def signatures(manager: PluginManager) -> tuple[HookSignature, ...]:
    """Return the specifications that were added to a manager, sorted by the hook's name.

    plugreg's own hooks are not among them.

    Args:
        manager: The manager, such as ``registry.manager``.
    """
    found = []
    for name, caller in sorted(vars(manager.hook).items()):
        spec = getattr(caller, "spec", None)
        if spec is not None:
            found.append(_signature(name, spec))
    return tuple(found)


def signatures_of(host: str, hookspecs: Iterable[Any]) -> tuple[HookSignature, ...]:
    """Return the specifications of classes or modules, sorted by the hook's name.

    Args:
        host: Name of the host, whose own markers count.
        hookspecs: The classes and modules.

    Raises:
        ValueError: If a class or module has no specification.
    """
    from plugreg.hooks._manager import PluginManager

    manager = PluginManager(host)
    for holder in hookspecs:
        manager.add_hookspecs(holder)
    return signatures(manager)


def annotations_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a function by parameter, that of the result as ``return``.

    Args:
        function: The function. None of its code runs, but that of its annotations may.

    Returns:
        Types; strings where an annotation cannot be evaluated.
    """
    with Guard():
        return get_type_hints(function, include_extras=True)
    names = getattr(function, "__globals__", {})
    found: dict[str, Any] = {}
    for name, written in inspect.get_annotations(function).items():
        found[name] = written
        with Guard():
            alone = type(name, (), {"__annotations__": {name: written}})
            found[name] = get_type_hints(alone, names, {}, include_extras=True)[name]
    return found


def _signature(name: str, spec: Any) -> HookSignature:
    options = spec.opts
    # A bound method of a host's object has the function that was annotated.
    function = inspect.unwrap(getattr(spec.function, "__func__", spec.function))
    types = annotations_of(function)
    names = (*spec.argnames, *spec.kwargnames)
    written = types.get("return", Any)
    result = _awaited(written)
    return HookSignature(
        name=name,
        namespace=spec.namespace,
        function=function,
        arguments={argument: types.get(argument, Any) for argument in names},
        optional=frozenset(spec.kwargnames),
        result=result,
        firstresult=bool(options.get("firstresult")),
        historic=bool(options.get("historic")),
        is_async=inspect.iscoroutinefunction(function) or result is not written,
        since=options.get("since"),
        deprecated=options.get("deprecated"),
        removed=options.get("removed"),
        text=inspect.getdoc(function) or "",
    )


def _awaited(result: Any) -> Any:
    """Return the type of an awaitable's value, other types as they are."""
    origin = get_origin(result)
    if isinstance(origin, type) and issubclass(origin, Awaitable):
        return get_args(result)[-1]
    return result
