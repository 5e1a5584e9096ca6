"""The signatures of hooks and methods: their types, found in the host, and sent by name."""

from __future__ import annotations

import collections.abc
import inspect
import pickle
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from plugreg._support.guard import Guard
from plugreg.exceptions import IsolationError, ValueNotSentError
from plugreg.hooks import PluginManager
from plugreg.isolation.codec import RETURN, Codec, Kind, codec_of
from plugreg.isolation.protocol import BeginRequest, Mirrored


def begin_request(
    slug: str, codecs: Mapping[str, Codec], overrides: Mapping[str, Any]
) -> BeginRequest:
    """Return the request with the types of a plugin's functions; it has no values yet.

    Raises IsolationError for types that have no names.
    """
    signatures, files = {}, {}
    for name, codec in codecs.items():
        try:
            signatures[name] = codec.kind, pickle.dumps((codec.name, codec.kinds))
        except Exception as error:  # noqa: BLE001 - pickle raises whatever the type does
            raise IsolationError(
                slug,
                f"the types of {name!r} have no names that its process could import "
                f"({error}); put them at the top of a module",
            ) from None
        files.update(_files(codec.kinds.values()))
    return BeginRequest(signatures, files, overrides, Mirrored(None, {}, {}))


def hook_codec(row: Mapping[str, Any], manager: PluginManager, kind: Kind) -> Codec:
    """Return the codec of a hook: of the arguments of the implementation and of calls."""
    hook, spec = row["hook"], manager.spec_function(row["hook"])
    arguments, optional = row["arguments"], row["optional"]
    if spec is None:
        return codec_of(kind, hook, dict.fromkeys([*arguments, *optional], Any))
    known = inspect.signature(spec).parameters
    names = [*arguments, *(name for name in optional if name in known)]
    return codec_of(kind, hook, _kinds(spec, names))


def unsendable(codec: Codec, history: Iterable[Mapping[str, object]]) -> Iterable[str]:
    """Yield why historic calls cannot be replayed to the plugin, as sentences."""
    for arguments in history:
        names = [name for name in codec.names if name in arguments]
        try:
            codec.pack_arguments([arguments[name] for name in names], names)
        except ValueNotSentError as error:
            yield f"an earlier call of the historic hook {codec.name!r} cannot be sent: {error}"


def method_codec(cls: type, full: str, name: str, kind: Kind) -> Codec | None:
    """Return the codec of a method of a host's class, None where its arguments have no names."""
    function = inspect.getattr_static(cls, name, None)
    if not inspect.isfunction(function):
        return None
    parameters = [*inspect.signature(function).parameters.values()][1:]
    if any(item.kind in (item.VAR_POSITIONAL, item.VAR_KEYWORD) for item in parameters):
        return None
    kinds = _kinds(function, [item.name for item in parameters])
    return codec_of(kind, full, kinds, inspect.Signature(parameters))


def _kinds(function: Callable[..., Any], arguments: Iterable[str]) -> dict[str, Any]:
    hints = _hints(function)
    kinds = {name: hints.get(name, Any) for name in arguments}
    return kinds | {RETURN[0]: _awaited(hints.get("return", Any))}


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a function; those that cannot be evaluated are left out."""
    with Guard():
        return typing.get_type_hints(function, include_extras=True)
    found: dict[str, Any] = {}
    for name, annotation in inspect.get_annotations(function).items():
        with Guard():
            holder = type("Holder", (), {"__annotations__": {name: annotation}})
            found |= typing.get_type_hints(
                holder, vars(sys.modules[function.__module__]), include_extras=True
            )
    return found


def _awaited(kind: Any) -> Any:
    """Return the result type of an awaitable of this type, or the type itself."""
    awaitables = (collections.abc.Awaitable, collections.abc.Coroutine)
    if typing.get_origin(kind) in awaitables:
        return typing.get_args(kind)[-1]
    return kind


def _files(kinds: Iterable[Any]) -> dict[str, str]:
    """Return the files of the modules of classes in some types."""
    found: dict[str, str] = {}
    for kind in kinds:
        module = sys.modules.get(getattr(kind, "__module__", ""))
        file = getattr(module, "__file__", None)
        if module is not None and file and isinstance(kind, type) and module.__name__ != "__main__":
            found[module.__name__] = str(file)
        found |= _files(typing.get_args(kind))
    return found
