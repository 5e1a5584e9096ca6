"""The object that the host takes in for an isolated plugin; its methods call the plugin."""

from __future__ import annotations

import keyword
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from plugreg.exceptions import IsolationError
from plugreg.hooks import ASYNC_TWIN
from plugreg.isolation.codec import ABSENT, Codec, DataCodec
from plugreg.isolation.remote import RemotePlugin
from plugreg.isolation.running import RemoteFunction
from plugreg.isolation.setting_data import definitions_from_data
from plugreg.mixins import MixinSpec
from plugreg.plugin import Plugin

REMOTE: Final = "_plugreg_remote"
FOLDERS: Final = "_plugreg_folders"
"""Attributes of a stand-in."""

_MARKS: Final = ("optionalhook", "tryfirst", "trylast", "before", "after")
"""The options of an implementation that count in the host."""


class StandIn:
    """Base of the classes of stand-ins. Its subclasses have a method for each of the plugin's."""

    _plugreg_remote: RemotePlugin
    _plugreg_folders: tuple[Path, ...] = ()

    def __repr__(self) -> str:
        return f"<stand-in for the isolated plugin {self._plugreg_remote.slug!r}>"


def make_stand_in(
    remote: RemotePlugin,
    description: Mapping[str, Any],
    mixins: Iterable[MixinSpec],
    hooks: Mapping[str, RemoteFunction],
    codecs: Mapping[str, Codec],
) -> StandIn:
    """Return the stand-in of a plugin.

    Args:
        remote: Calls the plugin.
        description: The description from its process; it may be anything.
        mixins: The capabilities that the plugin has and that can be isolated.
        hooks: Each hook implementation, by its name.
        codecs: Codecs for methods of the host's mixins, by ``mixin.method``.

    Raises:
        IsolationError: If a name of the plugin cannot be used.
    """
    body: dict[str, Any] = {"__module__": __name__}
    for name, value in description["attributes"].items():
        body[_checked(remote.slug, name)] = value
    if description["settings"]:
        body |= definitions_from_data(description["settings"], remote.call_function)
    for key, names in description["methods"].items():
        for name, is_async in names.items():
            full = f"{key}.{_checked(remote.slug, name)}"
            codec = codecs.get(full) or DataCodec(full)
            function = RemoteFunction(full, codec, remote.options.timeout)
            body[name] = _method(function, is_async=is_async)
    for row in description["hooks"]:
        for name in (row["name"], *row["arguments"], *row["optional"]):
            _checked(remote.slug, name)
        body[row["name"]] = _hook(hooks[row["name"]], row)
    bases = [StandIn, *(spec.cls for spec in mixins if spec.cls is not object)]
    if description["is_plugin"]:
        bases.append(Plugin)
    name = str(description["class"]).rpartition(".")[2] or "Isolated"
    cls = type(name, tuple(_without_bases_of_others(bases)), body)
    # A constructor of the host's mixin is not run: that of the plugin ran in its process.
    stand_in: StandIn = object.__new__(cls)
    vars(stand_in)[REMOTE] = remote
    vars(stand_in)[FOLDERS] = tuple(map(Path, description["folders"]))
    return stand_in


def _checked(slug: str, name: Any) -> str:
    """Return the name of an attribute. Raises IsolationError if it is none."""
    is_name = type(name) is str and name.isidentifier() and not keyword.iskeyword(name)
    if not is_name or name.startswith("__") or name in (REMOTE, FOLDERS):
        raise IsolationError(slug, f"{name!r} cannot be the name of a method")
    return str(name)


def _without_bases_of_others(bases: Sequence[type]) -> list[type]:
    """Return the classes without those that others derive from, so that they can be combined."""
    return [
        base
        for base in dict.fromkeys(bases)
        if not any(other is not base and issubclass(other, base) for other in bases)
    ]


_SOURCE: Final = """
def implementation(self{parameters}):
    return self._plugreg_remote.call(__function, __pack(({names})))
async def async_implementation(self{parameters}):
    return await self._plugreg_remote.acall(__function, __pack(({names})), is_async=__is_async)
"""
"""pluggy reads the arguments of a function off its code."""


def _hook(function: RemoteFunction, row: Mapping[str, Any]) -> Callable[..., Any]:
    """Return a function with the arguments and the marks of the plugin's implementation."""
    codec, is_async = function.codec, bool(row["is_async"])
    # Only whether there is a default matters: the plugin's own is used where none is sent.
    parameters = [f", {n}=__absent" if n in row["optional"] else f", {n}" for n in codec.names]
    source = _SOURCE.format(
        parameters="".join(parameters), names="".join(f"{name}, " for name in codec.names)
    )
    made: dict[str, Any] = {
        "__function": function,
        "__pack": codec.pack_hook if row["optional"] else codec.pack_arguments,
        "__is_async": is_async,
        "__absent": ABSENT,
    }
    exec(compile(source, f"<{__name__}>", "exec"), made)  # noqa: S102 - of identifiers alone
    implementation = made["async_implementation" if is_async else "implementation"]
    if not is_async:
        setattr(implementation, ASYNC_TWIN, made["async_implementation"])
    implementation.__name__ = function.name
    implementation.__qualname__ = f"StandIn.{function.name}"
    options = {key: row["options"][key] for key in _MARKS if row["options"].get(key)}
    implementation.plugreg_impl = {**options, "specname": row["hook"]}
    return implementation  # type: ignore[no-any-return]


def _method(function: RemoteFunction, *, is_async: bool) -> Callable[..., Any]:
    pack = function.codec.pack_call

    def method(self: StandIn, /, *args: Any, **kwargs: Any) -> Any:
        return self._plugreg_remote.call(function, pack(args, kwargs))

    async def amethod(self: StandIn, /, *args: Any, **kwargs: Any) -> Any:
        return await self._plugreg_remote.acall(function, pack(args, kwargs))

    setattr(method, ASYNC_TWIN, amethod)
    made = amethod if is_async else method
    made.__name__ = function.name.rpartition(".")[2]
    return made
