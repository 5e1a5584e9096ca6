"""The signatures of hooks and methods: their types, found in the host, and sent by name."""

from __future__ import annotations

import collections.abc
import inspect
import pickle
import sys
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from plugreg._support.guard import Guard
from plugreg.exceptions import IsolationError, ValueNotSentError
from plugreg.hooks import PluginManager
from plugreg.isolation.codec import Codec, Kind, Signature, codec_of
from plugreg.isolation.protocol import BeginRequest, Mirrored
from plugreg.isolation.running import HookRow


def begin_request(
    slug: str, codecs: Mapping[str, Codec], overrides: Mapping[str, Any]
) -> BeginRequest:
    """Return the request with the types of a plugin's functions; it has no values yet.

    Raises IsolationError for types that have no names.
    """
    signatures, files = {}, {}
    for name, codec in codecs.items():
        signature = codec.signature
        try:
            signatures[name] = codec.kind, pickle.dumps(signature)
        except Exception as error:  # noqa: BLE001 - pickle raises whatever the type does
            raise IsolationError(
                slug,
                f"the types of {name!r} have no names that its process could import "
                f"({error}); put them at the top of a module",
            ) from None
        files.update(_files([*signature.arguments.values(), signature.result]))
    return BeginRequest(signatures, files, overrides, Mirrored(None, {}, {}))


def signature_of(row: Mapping[str, Any], manager: PluginManager) -> Signature:
    """Return the sent signature of a hook: the arguments of the implementation and of calls."""
    spec = manager.spec_function(row["hook"])
    arguments, optional = row["arguments"], row["optional"]
    if spec is None:
        return Signature(name=row["hook"], arguments=dict.fromkeys([*arguments, *optional], Any))
    known = inspect.signature(spec).parameters
    names = [*arguments, *(name for name in optional if name in known)]
    return _signature(row["hook"], spec, names)


def unsendable(row: HookRow, hook: str, history: Iterable[Mapping[str, object]]) -> Iterable[str]:
    """Yield why historic calls cannot be replayed to the plugin, as sentences."""
    for arguments in history:
        values = [arguments[name] for name in row.names if name in arguments]
        try:
            row.codec.pack_arguments(values, [n for n in row.names if n in arguments])
        except ValueNotSentError as error:
            yield f"an earlier call of the historic hook {hook!r} cannot be sent: {error}"


class TypedMethod:
    """How a method of the host's mixin is called: its signature, without self, and its codec."""

    def __init__(self, signature: inspect.Signature, codec: Codec) -> None:
        self._signature = signature
        self.codec: Final = codec
        self.unpack_result: Final = codec.unpack_result

    def pack_call(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        """Return the bytes of a call. Raises TypeError and ValueNotSentError."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return self.codec.pack_arguments([*bound.arguments.values()])


def typed_method(cls: type, full: str, name: str, kind: Kind) -> TypedMethod | None:
    """Return how a method of a host's class is called, None where its arguments have no names."""
    function = inspect.getattr_static(cls, name, None)
    if not inspect.isfunction(function):
        return None
    parameters = [*inspect.signature(function).parameters.values()][1:]
    if any(item.kind in (item.VAR_POSITIONAL, item.VAR_KEYWORD) for item in parameters):
        return None
    signature = _signature(full, function, [item.name for item in parameters])
    return TypedMethod(inspect.Signature(parameters), codec_of(kind, signature))


def _signature(name: str, function: Callable[..., Any], arguments: Iterable[str]) -> Signature:
    hints = _hints(function)
    return Signature(
        name=name,
        arguments={argument: hints.get(argument, Any) for argument in arguments},
        result=_awaited(hints.get("return", Any)),
    )


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
