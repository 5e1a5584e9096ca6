"""Codecs: the arguments and results of a function, from values to bytes and back.

The JSON codec sends values by the function's annotations. JSON values are sent unchanged;
pydantic writes and reads the rest, and is imported when that is first needed. The pickle codec
sends anything, and lets the other side run code.
"""

from __future__ import annotations

import base64
import copyreg
import inspect
import io
import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from math import isfinite
from types import MappingProxyType, NoneType, UnionType
from typing import Any, ClassVar, Final, Literal, Union, get_args, get_origin

from plugreg._support.guard import Guard, explain, plain, safe_repr
from plugreg.exceptions import ValueNotSentError
from plugreg.isolation.data import (
    LARGEST_VALUE,
    REMEDY,
    RESULT,
    dump,
    to_data,
    too_large,
    unpickled,
)

Fits = Callable[[Any], bool]
"""Whether a value arrives unchanged when it is written as JSON."""

_dumps: Final = json.JSONEncoder(separators=(",", ":")).encode
_decode: Final = json.JSONDecoder().raw_decode


Kind = Literal["json", "pickle", "own"]

RETURN: Final = ("return",)
"""The name of a result among the types, which no argument can have."""


ABSENT: Final = object()
"""Placeholder of an argument that a call does not pass."""


class Codec:
    """Sends the arguments and results of a function. Its subclasses define how.

    Args:
        name: The hook, or ``mixin.method``.
        kinds: Types of the arguments by name, in the order in which they are sent, and that of the
            result. The result may also be None.
        parameters: Parameters of a method, without self.
    """

    kind: ClassVar[Kind]

    def __init__(
        self, name: str, kinds: Mapping[str, Any], parameters: inspect.Signature | None = None
    ) -> None:
        self.name: Final = name
        self.kinds: Final = {RETURN[0]: Any, **kinds}
        self.names: Final = tuple(name for name in kinds if name not in RETURN)
        self._parameters = parameters

    def pack_call(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        """Return the bytes of a call of a method. Raises TypeError and ValueNotSentError."""
        assert self._parameters is not None
        bound = self._parameters.bind(*args, **kwargs)
        bound.apply_defaults()
        return self.pack_arguments([*bound.arguments.values()])

    def pack_arguments(self, values: Sequence[Any], names: Sequence[str] | None = None) -> bytes:
        """Return the bytes of the values of some arguments, by default of all.

        Raises ValueNotSentError for a value that cannot be sent.
        """
        names = self.names if names is None else names
        data = self._dump(values, names)
        if len(data) > LARGEST_VALUE:
            pairs = zip(names, values, strict=True)
            sizes = {name: (len(self._dump([v], [name])), type(v)) for name, v in pairs}
            name, (size, kind) = max(sizes.items(), key=lambda item: item[1][0])
            raise too_large(self.name, _label(name), _name_of(kind), size)
        return data

    def pack_hook(self, values: Sequence[Any]) -> bytes:
        """Return the bytes of a call of a hook; the names come along if an argument is absent."""
        if all(value is not ABSENT for value in values):
            return self.pack_arguments(values)
        given = {n: v for n, v in zip(self.names, values, strict=True) if v is not ABSENT}
        head = json.dumps({"names": [*given]}).encode()
        return head + b"\n" + self.pack_arguments([*given.values()], [*given])

    def unpack_arguments(self, data: bytes, names: Sequence[str] | None = None) -> Sequence[Any]:
        """Return the values of arguments."""
        raise NotImplementedError

    def unpack_call(self, data: bytes) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Return the arguments of a call, by place and by name."""
        if data[:1] != b"{":
            return self.unpack_arguments(data), {}
        # It names its arguments, because some were left out.
        head, _, data = data.partition(b"\n")
        names = json.loads(head)["names"]
        return (), dict(zip(names, self.unpack_arguments(data, names), strict=True))

    def pack_result(self, value: Any) -> bytes:
        """Return the bytes of a result. Raises ValueNotSentError."""
        return b"null" if value is None else self.pack_arguments([value], RETURN)

    def unpack_result(self, data: bytes) -> Any:
        """Return a result."""
        return None if data == b"null" else self.unpack_arguments(data, RETURN)[0]

    def _dump(self, values: Sequence[Any], names: Sequence[str]) -> bytes:
        raise NotImplementedError

    def _refusal(self, name: str, value: Any, reason: str) -> ValueNotSentError:
        kind = _name_of(type(value))
        return ValueNotSentError(self.name, _label(name), kind, reason)


def codec_of(kind: Kind, name: str, kinds: Mapping[str, Any], parameters: Any = None) -> Codec:
    """Return the codec of a function; ``"own"`` is for hooks that plugreg itself calls."""
    codecs = (JsonCodec, PickleCodec, OwnCodec)
    return next(codec(name, kinds, parameters) for codec in codecs if codec.kind == kind)


class JsonCodec(Codec):
    """Sends JSON, typed by the annotations."""

    kind: ClassVar[Kind] = "json"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._fits = {n: fits_json(kind) or (lambda _: False) for n, kind in self.kinds.items()}
        # Most hooks take and return strings and numbers. An encoder would be made for each call.
        self._writers = {
            name: {scalar: write for scalar, write in _WRITERS.items() if fit(scalar())}
            for name, fit in self._fits.items()
        }
        self._adapters: dict[tuple[str, ...], Any] = {}

    def unpack_arguments(self, data: bytes, names: Sequence[str] | None = None) -> Sequence[Any]:
        """Return the values of the JSON array."""
        names = self.names if names is None else names
        value: Any = None
        try:
            if data[:1] != _TAGGED:
                values: list[Any] = _decode(data.decode())[0]
                if len(values) == len(names) and all(map(self._fit, names, values)):
                    return values
            return _read(self._adapter_for(names), data)
        except Exception as error:  # noqa: BLE001 - any exception of pydantic, or of the value
            place = getattr(error, "errors", lambda: [{"loc": (0,)}])()[0]["loc"]
            index = place[0] if place and type(place[0]) is int and place[0] < len(names) else 0
            with Guard():
                value = json.loads(data)[index]
            raise self._misfit(names[index] if names else "", value, error) from None

    # -- the parts ---------------------------------------------------------------------------

    def _fit(self, name: str, value: Any) -> bool:
        """Return whether a value needs no pydantic."""
        return type(value) in self._writers[name] or self._fits[name](value)

    def _write(self, name: str, value: Any) -> str:
        """Return a string or a number as JSON. Raises KeyError for any other value."""
        return self._writers[name][type(value)](value)

    def _dump(self, values: Sequence[Any], names: Sequence[str]) -> bytes:
        try:
            return f"[{','.join(map(self._write, names, values))}]".encode()
        except KeyError:
            pass
        if all(map(self._fit, names, values)):
            with suppress(ValueError):  # It refers to itself, which is reported below.
                return _dumps(values).encode()
        for name, value in zip(names, values, strict=True):
            if _is_untyped(self.kinds[name]) and not is_json(value):
                raise self._misfit(name, value, None)
        try:
            return _write(self._adapter_for(names), tuple(values))
        except Exception as error:
            if len(names) == 1:
                raise self._misfit(names[0], values[0], error) from None
            # One by one, to name the value that is refused.
            for name, value in zip(names, values, strict=True):
                self._dump([value], [name])
            raise

    def _adapter_for(self, names: Sequence[str]) -> Any:
        key = tuple(names)
        if key not in self._adapters:
            # A result is in a tuple, too: bytes in a dataclass are base64 there alone.
            self._adapters[key] = _adapter(tuple(self.kinds[name] for name in key))
        return self._adapters[key]

    def _misfit(self, name: str, value: Any, error: Exception | None) -> ValueNotSentError:
        kind = self.kinds.get(name)
        untyped = "what JSON holds, since it has no annotation"
        expected = untyped if _is_untyped(kind) else _shown(kind)
        reason = expected if error is None else f"{expected} ({explain(error).message})"
        return self._refusal(name, value, f"expected {reason}; {REMEDY}")


class PickleCodec(Codec):
    """Sends anything that pickle takes."""

    kind = "pickle"

    def unpack_arguments(self, data: bytes, names: Sequence[str] | None = None) -> Sequence[Any]:  # noqa: ARG002
        """Return the values; the other side's code may run."""
        values: list[Any] = pickle.loads(data)  # noqa: S301 - the host chose the codec, and says so
        return values

    def _dump(self, values: Sequence[Any], names: Sequence[str]) -> bytes:
        try:
            return pickle.dumps([*values])
        except Exception as error:
            if len(names) == 1:
                reason = f"it cannot be pickled ({explain(error).message})"
                raise self._refusal(names[0], values[0], reason) from None
            for name, value in zip(names, values, strict=True):
                self._dump([value], [name])
            raise


class OwnCodec(JsonCodec):
    """Sends plugreg's own values pickled, to the plugin's process alone; results are JSON."""

    kind = "own"

    def unpack_arguments(self, data: bytes, names: Sequence[str] | None = None) -> Sequence[Any]:
        """Return the values."""
        if names is RETURN:
            return super().unpack_arguments(data, names)
        values: list[Any] = pickle.loads(data)  # noqa: S301 - they are the host's
        return values

    def _dump(self, values: Sequence[Any], names: Sequence[str]) -> bytes:
        if names is RETURN:
            return super()._dump(values, names)
        stream = io.BytesIO()
        pickler = pickle.Pickler(stream)
        # A view of a mapping is pickled as its contents.
        views: dict[type, Any] = {MappingProxyType: lambda view: (dict, (dict(view),))}
        pickler.dispatch_table = copyreg.dispatch_table | views
        pickler.dump([*values])
        return stream.getvalue()


class DataCodec(Codec):
    """Sends the arguments and the result of a function as data, by no annotations."""

    def __init__(self, name: str) -> None:
        super().__init__(name, {})

    def pack_call(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        """Return the bytes of a call. Raises ValueNotSentError, with the place of the argument."""
        given = [to_data(self.name, str(place), item) for place, item in enumerate(args, start=1)]
        named = {key: to_data(self.name, key, item) for key, item in kwargs.items()}
        return dump(self.name, "arguments", [given, named])

    def unpack_call(self, data: bytes) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Return the arguments of a call of the host."""
        args, kwargs = json.loads(data, object_hook=unpickled)
        return args, kwargs

    def pack_result(self, value: Any) -> bytes:
        """Return the bytes of a result. Raises ValueNotSentError."""
        return dump(self.name, RESULT, to_data(self.name, RESULT, value))

    def unpack_result(self, data: bytes) -> Any:
        """Return a result."""
        return json.loads(data)


# -- types that JSON has itself -------------------------------------------------------------------


def _write_float(value: float) -> str:
    return repr(value) if isfinite(value) else _dumps(value)


_WRITERS: Final[Mapping[type, Callable[[Any], str]]] = MappingProxyType(
    {
        str: json.encoder.encode_basestring_ascii,
        int: repr,
        float: _write_float,
        bool: _dumps,
        NoneType: _dumps,
    }
)
"""How each scalar is written, as the encoder of the standard library does it."""

_SCALARS: Final = frozenset(_WRITERS)


def is_json(value: Any) -> bool:
    """Return whether JSON returns the same value, in all its depth."""
    kind = type(value)
    if kind in _SCALARS:
        return True
    try:
        # Without a helper for each level, values may be twice as deep.
        if kind is list:
            return all(map(is_json, value))
        if kind is dict:
            return all(type(key) is str for key in value) and all(map(is_json, value.values()))
    except RecursionError:
        pass
    return False


def fits_json(kind: Any) -> Fits | None:
    """Return a function that says whether a value needs no pydantic, None where each does."""
    if _is_untyped(kind):
        return is_json
    scalars = scalars_of(kind)
    if scalars:
        return lambda value: type(value) in scalars
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        # With a type beside it that needs pydantic, a string may stand for a value of that type.
        found = [fit for fit in map(fits_json, inner) if fit is not None]
        if len(found) < len(inner):
            return None
        return lambda value: any(fit(value) for fit in found)
    if kind is list or (origin is list and len(inner) == 1):
        item = fits_json(*inner or (Any,))
        return None if item is None else partial(_is_list_of, item)
    if kind is dict or (origin is dict and len(inner) == 2 and inner[0] is str):
        item = fits_json((*inner, Any, Any)[1])
        return None if item is None else partial(_is_dict_of, item)
    return None


def scalars_of(kind: Any) -> frozenset[type]:
    """Return the classes of all values of a type of strings, numbers, booleans and None alone."""
    if get_origin(kind) in (Union, UnionType):
        found = [*map(scalars_of, get_args(kind))]
        return frozenset().union(*found) if all(found) else frozenset()
    if kind is float:
        return frozenset({float, int})
    kind = NoneType if kind is None else kind
    return frozenset({kind}) & _SCALARS


def _is_list_of(fits: Fits, value: Any) -> bool:
    return type(value) is list and all(map(fits, value))


def _is_dict_of(fits: Fits, value: Any) -> bool:
    if type(value) is not dict:
        return False
    return all(type(key) is str for key in value) and all(map(fits, value.values()))


def _is_untyped(kind: Any) -> bool:
    return kind is Any or kind is object


# -- pydantic -------------------------------------------------------------------------------------


def _adapter(kinds: tuple[Any, ...]) -> Any:
    """Return pydantic's adapter of a tuple of such types; bytes are base64."""
    from pydantic import ConfigDict, TypeAdapter

    from plugreg.settings.types import without_plugins

    config = ConfigDict(
        ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants"
    )
    with without_plugins():
        return TypeAdapter(tuple[kinds], config=config)  # type: ignore[valid-type]


_TAGGED: Final = b"T"
"""Begins JSON in which bytes have a tag: pydantic's models write bytes as UTF-8 alone."""

_BYTES: Final = "$bytes"


def _write(adapter: Any, values: tuple[Any, ...]) -> bytes:
    """Return values as a JSON array. Raises exceptions of pydantic."""
    try:
        data: bytes = adapter.dump_json(values, warnings="error")
    except Exception:
        found = adapter.dump_python(values, round_trip=True, warnings="error")
        if not _has_bytes(found):
            raise
        return _TAGGED + json.dumps(found, default=_leaf).encode()
    return data


def _read(adapter: Any, data: bytes) -> tuple[Any, ...]:
    """Return the values of such an array. Raises exceptions of pydantic."""
    if data.startswith(_TAGGED):
        found = json.loads(data[1:], object_hook=_untagged)
        return adapter.validate_python(found)  # type: ignore[no-any-return]
    return adapter.validate_json(data)  # type: ignore[no-any-return]


def _has_bytes(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_bytes, value.values()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return any(map(_has_bytes, value))
    return isinstance(value, (bytes, bytearray))


def _leaf(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return {_BYTES: base64.b64encode(value).decode()}
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(value)


def _untagged(found: dict[str, Any]) -> Any:
    return base64.b64decode(found[_BYTES]) if found.keys() == {_BYTES} else found


def _name_of(kind: type) -> str:
    with Guard():
        if kind.__module__ != "builtins":
            return plain(f"{kind.__module__}.{kind.__qualname__}")
    return plain(type.__dict__["__name__"].__get__(kind))


def _shown(kind: Any) -> str:
    return _name_of(kind) if isinstance(kind, type) and not get_args(kind) else safe_repr(kind)


def _label(name: str) -> str:
    return RESULT if name == RETURN[0] else name
