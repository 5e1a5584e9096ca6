"""The signatures of hooks and methods: their types, found in the host, and sent by name."""

from __future__ import annotations

import collections.abc
import inspect
import pickle
import sys
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from plugreg._support.frozen import Frozen
from plugreg._support.guard import Guard
from plugreg.exceptions import IsolationError, ValueNotSentError
from plugreg.hooks import PluginManager
from plugreg.isolation.codec import OwnCodec, Signature, codec_of
from plugreg.isolation.data import report_to_data
from plugreg.isolation.protocol import BeginRequest, Mirrored
from plugreg.isolation.remote import RemotePlugin
from plugreg.isolation.running import HookRow
from plugreg.isolation.standin import TypedMethod
from plugreg.records import LoadReport

if TYPE_CHECKING:
    from plugreg._lifecycle.binding import BoundContext


class Opening(Frozen, kw_only=False):
    """The preparation of an isolated plugin for service, once it has a context."""

    remote: RemotePlugin
    refusals: list[str]
    signatures: Mapping[tuple[bytes, str], tuple[str, Any]]
    overrides: Mapping[str, Any]
    activated: list[HookRow]

    def run(self, context: BoundContext) -> None:
        """Send the types and values. Raises IsolationError."""
        slug = self.remote.slug
        if self.refusals:
            raise IsolationError(slug, "; ".join(self.refusals))
        signatures, files = {}, {}
        for place, (kind, signature) in self.signatures.items():
            try:
                signatures[place] = kind, pickle.dumps(signature)
            except Exception as error:  # noqa: BLE001 - as above
                raise IsolationError(
                    slug,
                    f"the types of {place[1]!r} have no names that its process could import "
                    f"({error}); put them at the top of a module",
                ) from None
            kinds = [*signature.arguments.values(), signature.result]
            files.update(_files(kinds))

        def make(mirrored: Mirrored) -> BeginRequest:
            return BeginRequest(signatures, files, self.overrides, mirrored)

        self.remote.begin(context, make, next(iter(self.activated), None))


class ReportCodec(OwnCodec):
    """Sends the report on a load."""

    def _dump(self, values: Sequence[Any], names: Sequence[str]) -> bytes:
        return super()._dump(
            [report_to_data(v) if type(v) is LoadReport else v for v in values], names
        )


def signature_of(row: Mapping[str, Any], manager: PluginManager) -> Signature:
    """Return the sent signature of a hook: the arguments of the implementation and of calls."""
    spec = manager.spec_function(row["hook"])
    arguments, optional = row["arguments"], row["optional"]
    if spec is None:
        return Signature(name=row["hook"], arguments=dict.fromkeys([*arguments, *optional], Any))
    hints, known = _hints(spec), inspect.signature(spec).parameters
    names = [*arguments, *(name for name in optional if name in known)]
    return Signature(
        name=row["hook"],
        arguments={name: hints.get(name, Any) for name in names},
        result=_awaited(hints.get("return", Any)),
    )


def unsendable(row: HookRow, hook: str, history: Iterable[Mapping[str, object]]) -> Iterable[str]:
    """Yield why historic calls cannot be replayed to the plugin, as sentences."""
    for arguments in history:
        values = [arguments[name] for name in row.names if name in arguments]
        try:
            row.codec.pack_arguments(values, [n for n in row.names if n in arguments])
        except ValueNotSentError as error:
            yield f"an earlier call of the historic hook {hook!r} cannot be sent: {error}"


def typed_method(
    cls: type, full: str, name: str, codec: Any
) -> tuple[TypedMethod, Signature] | None:
    """Return how a method of a host's class is called, None where its arguments have no names."""
    function = inspect.getattr_static(cls, name, None)
    if not inspect.isfunction(function):
        return None
    parameters = [*inspect.signature(function).parameters.values()][1:]
    if any(item.kind in (item.VAR_POSITIONAL, item.VAR_KEYWORD) for item in parameters):
        return None
    hints = _hints(function)
    signature = Signature(
        name=full,
        arguments={item.name: hints.get(item.name, Any) for item in parameters},
        result=_awaited(hints.get("return", Any)),
    )
    return TypedMethod(inspect.Signature(parameters), codec_of(codec, signature)), signature


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
