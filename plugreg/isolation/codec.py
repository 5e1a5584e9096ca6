"""Codecs: the arguments and results of a function, from values to bytes and back.

The JSON codec sends values by the function's annotations. JSON values are sent unchanged;
pydantic writes and reads the rest, and is imported when that is first needed. The pickle codec
sends anything, and lets the other side run code.
"""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from math import isfinite
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

from plugreg._support.frozen import Frozen
from plugreg._support.guard import Guard, explain, plain, safe_repr
from plugreg._support.lazy import lazy
from plugreg.exceptions import ValueNotSentError
from plugreg.isolation.data import LARGEST_VALUE, REMEDY, RESULT, too_large

Fits = Callable[[Any], bool]
"""Whether a value arrives unchanged when it is written as JSON."""

_dumps: Final = json.JSONEncoder(separators=(",", ":")).encode
_loads: Final = json.loads
_decode: Final = json.JSONDecoder().raw_decode


class Signature(Frozen):
    """The types that are sent for a function.

    Attributes:
        name: The hook, or ``mixin.method``.
        arguments: Types of the arguments by name, in the order in which they are sent.
        result: Type of the result, beside None, which each function may return.
    """

    name: str
    arguments: Mapping[str, Any]
    result: Any = Any


class Codec:
    """Sends the arguments and results of a function. Its subclasses define how.

    Args:
        signature: The function's.
    """

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._names = tuple(signature.arguments)

    def pack_arguments(self, values: Sequence[Any], names: Sequence[str] = ()) -> bytes:
        """Return the bytes of the values of some arguments, by default of all.

        Raises ValueNotSentError for a value that cannot be sent.
        """
        data = self._dump(values, names or self._names)
        if len(data) > LARGEST_VALUE:
            pairs = zip(names or self._names, values, strict=True)
            sizes = {name: (len(self._dump([v], [name])), type(v)) for name, v in pairs}
            name, (size, kind) = max(sizes.items(), key=lambda item: item[1][0])
            raise too_large(self._signature.name, name, _name_of(kind), size)
        return data

    def unpack_arguments(self, data: bytes, names: Sequence[str] = ()) -> list[Any]:
        """Return the values of arguments."""
        raise NotImplementedError

    def pack_result(self, value: Any) -> bytes:
        """Return the bytes of a result. Raises ValueNotSentError."""
        data = self._dump_result(value)
        if len(data) > LARGEST_VALUE:
            raise too_large(self._signature.name, RESULT, _name_of(type(value)), len(data))
        return data

    def unpack_result(self, data: bytes) -> Any:
        """Return a result."""
        raise NotImplementedError

    def _dump(self, values: Sequence[Any], names: Sequence[str]) -> bytes:
        raise NotImplementedError

    def _dump_result(self, value: Any) -> bytes:
        raise NotImplementedError


Kind = Literal["json", "pickle", "own"]


def codec_of(kind: Kind, signature: Signature) -> Codec:
    """Return the codec of a function; ``"own"`` is for hooks that plugreg itself calls."""
    if kind == "own":
        return OwnCodec(signature)
    return JsonCodec(signature) if kind == "json" else PickleCodec(signature)


class JsonCodec(Codec):
    """Sends JSON, typed by the annotations."""

    def __init__(self, signature: Signature) -> None:
        super().__init__(signature)
        kinds = [*signature.arguments.values()]
        fits = [fits_json(kind) for kind in kinds]
        # None where a value may need pydantic.
        self._fits = [fit for fit in fits if fit is not None] if None not in fits else None
        self._result_fits = fits_json(signature.result)
        # Most hooks take and return strings and numbers, which need no encoder.
        self._scalars = [*map(scalars_of, kinds)]
        self._result_scalars = scalars_of(signature.result)

    def unpack_arguments(self, data: bytes, names: Sequence[str] = ()) -> list[Any]:
        """Return the values of the JSON array."""
        if self._fits is not None and not names and data[:1] == b"[":
            values: list[Any] = _decode(data.decode())[0]
            if len(values) == len(self._fits) and (
                _are_scalars(self._scalars, values) or _all_fit(self._fits, values)
            ):
                return values
        return self._load(names or self._names, data)

    def unpack_result(self, data: bytes) -> Any:
        """Return the result of JSON."""
        if data == b"null":
            return None
        fits = self._result_fits
        if fits is not None and data[:1] != _TAGGED:
            value = _decode(data.decode())[0]
            if type(value) in self._result_scalars or fits(value):
                return value
        try:
            whole = data if data.startswith(_TAGGED) else b"[%b]" % data
            return _read(self._result_adapter, whole)[0]
        except Exception as error:  # noqa: BLE001 - any exception of pydantic, or of the value
            with Guard():
                raise self._refusal(RESULT, _loads(data), error) from None
            raise self._refusal(RESULT, None, error) from None

    # -- the parts ---------------------------------------------------------------------------

    def _dump(self, values: Sequence[Any], names: Sequence[str]) -> bytes:
        if names is self._names and len(values) == len(names):
            if _are_scalars(self._scalars, values):
                return f"[{','.join([_WRITERS[type(v)](v) for v in values])}]".encode()
            if self._fits is not None and _all_fit(self._fits, values):
                with suppress(ValueError):  # It refers to itself, which is reported below.
                    return _dumps(values).encode()
        for name, value in zip(names, values, strict=True):
            self._check_untyped(name, self._signature.arguments[name], value)
        try:
            return _write(self._adapter_for(names), tuple(values))
        except Exception:
            # One by one, to name the value that is refused.
            for name, value in zip(names, values, strict=True):
                try:
                    kind = tuple[self._signature.arguments[name]]  # type: ignore[name-defined]
                    _write(_adapter(kind), (value,))
                except Exception as error:  # noqa: BLE001 - as above
                    raise self._refusal(name, value, error) from None
            raise

    def _dump_result(self, value: Any) -> bytes:
        if value is None:
            return b"null"
        kind = type(value)
        if kind in self._result_scalars:
            return _WRITERS[kind](value).encode()
        fits = self._result_fits
        if fits is not None and fits(value):
            with suppress(ValueError):
                return _dumps(value).encode()
        self._check_untyped(RESULT, self._signature.result, value)
        try:
            # In a tuple, as arguments are: bytes in a dataclass are base64 there alone.
            data = _write(self._result_adapter, (value,))
        except Exception as error:  # noqa: BLE001 - as above
            raise self._refusal(RESULT, value, error) from None
        return data if data.startswith(_TAGGED) else data[1:-1]

    @lazy
    def _result_adapter(self) -> Any:
        return _adapter(tuple[self._signature.result])  # type: ignore[name-defined]

    @lazy
    def _adapters(self) -> dict[tuple[str, ...], Any]:
        return {}

    def _adapter_for(self, names: Sequence[str]) -> Any:
        key = tuple(names)
        found = self._adapters.get(key)
        if found is None:
            kinds = tuple(self._signature.arguments[name] for name in key)
            found = self._adapters.setdefault(key, _adapter(tuple[kinds]))  # type: ignore[valid-type]
        return found

    def _load(self, names: Sequence[str], data: bytes) -> list[Any]:
        try:
            return [*_read(self._adapter_for(names), data)]
        except Exception as error:  # noqa: BLE001 - as above
            place = getattr(error, "errors", lambda: [{"loc": (0,)}])()[0]["loc"]
            index = place[0] if place and type(place[0]) is int and place[0] < len(names) else 0
            name = names[index] if names else ""
            with Guard():
                raise self._refusal(name, _loads(data)[index], error) from None
            raise self._refusal(name, None, error) from None

    def _check_untyped(self, name: str, kind: Any, value: Any) -> None:
        if (kind is Any or kind is object) and not is_json(value):
            raise self._refusal(name, value, None)

    def _refusal(self, name: str, value: Any, error: Exception | None) -> ValueNotSentError:
        kind = self._signature.result if name == RESULT else self._signature.arguments.get(name)
        untyped = kind is Any or kind is object
        expected = "what JSON holds, since it has no annotation" if untyped else _shown(kind)
        reason = expected if error is None else f"{expected} ({_sentence(error)})"
        return ValueNotSentError(
            self._signature.name,
            name,
            _name_of(type(value)),
            f"expected {reason}; {REMEDY}",
        )


class PickleCodec(Codec):
    """Sends anything that pickle takes."""

    def unpack_arguments(self, data: bytes, names: Sequence[str] = ()) -> list[Any]:  # noqa: ARG002
        """Return the values."""
        values: list[Any] = pickle.loads(data)  # noqa: S301 - the host chose the codec
        return values

    def unpack_result(self, data: bytes) -> Any:
        """Return the result; the plugin's code may run."""
        return pickle.loads(data)  # noqa: S301 - the host trusts the plugin, and says so

    def _dump(self, values: Sequence[Any], names: Sequence[str]) -> bytes:
        try:
            return pickle.dumps([*values])
        except Exception:
            for name, value in zip(names, values, strict=True):
                self._dump_one(name, value)
            raise

    def _dump_result(self, value: Any) -> bytes:
        return self._dump_one(RESULT, value)

    def _dump_one(self, name: str, value: Any) -> bytes:
        try:
            return pickle.dumps(value)
        except Exception as error:  # noqa: BLE001 - pickle raises whatever the value does
            reason = f"it cannot be pickled ({_sentence(error)})"
            raise ValueNotSentError(
                self._signature.name, name, _name_of(type(value)), reason
            ) from None


class OwnCodec(JsonCodec):
    """Sends plugreg's own values pickled, to the plugin's process alone; results are JSON."""

    def unpack_arguments(self, data: bytes, names: Sequence[str] = ()) -> list[Any]:  # noqa: ARG002
        """Return the values."""
        values: list[Any] = pickle.loads(data)  # noqa: S301 - they are the host's
        return values

    def _dump(self, values: Sequence[Any], names: Sequence[str]) -> bytes:  # noqa: ARG002
        return pickle.dumps([*values])


# -- types that JSON has itself -------------------------------------------------------------------


def is_json(value: Any) -> bool:
    """Return whether JSON returns the same value, in all its depth."""
    kind = type(value)
    if kind in (str, int, float, bool, NoneType):
        return True
    try:
        if kind is list:
            return all(map(is_json, value))
        if kind is dict:
            return all(type(key) is str for key in value) and all(map(is_json, value.values()))
    except RecursionError:
        return False
    return False


def fits_json(kind: Any) -> Fits | None:
    """Return a function that says whether a value needs no pydantic, None where each does."""
    if kind is Any or kind is object:
        return is_json
    scalars = scalars_of(kind)
    if scalars:
        return lambda value: type(value) in scalars
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        # With a type beside it that needs pydantic, a string may stand for a value of that type.
        found = [fit for fit in map(fits_json, inner) if fit is not None]
        return partial(_fits_any, found) if len(found) == len(inner) else None
    if origin is list and len(inner) == 1:
        item = fits_json(inner[0])
        return None if item is None else partial(_is_list_of, item)
    if kind is list or kind is dict:
        return partial(_is_list_of if kind is list else _is_dict_of, is_json)
    if origin is dict and len(inner) == 2 and inner[0] is str:
        item = fits_json(inner[1])
        return None if item is None else partial(_is_dict_of, item)
    return None


def scalars_of(kind: Any) -> frozenset[type]:
    """Return the classes of values that are strings, numbers, booleans or None, and of this type.

    A type with others in it cannot be recognized by its class alone.
    """
    if kind is float:
        return frozenset({float, int})
    if kind is None or kind is NoneType:
        return frozenset({NoneType})
    if kind in _SCALARS:
        return frozenset({kind})
    if get_origin(kind) in (Union, UnionType):
        found = [*map(scalars_of, get_args(kind))]
        return frozenset().union(*found) if all(found) else frozenset()
    return frozenset()


def _write_float(value: float) -> str:
    return float.__repr__(value) if isfinite(value) else _dumps(value)


_WRITERS: Final[Mapping[type, Callable[[Any], str]]] = MappingProxyType(
    {
        str: json.encoder.encode_basestring_ascii,
        int: int.__repr__,
        float: _write_float,
        bool: lambda value: "true" if value else "false",
        NoneType: lambda _: "null",
    }
)
"""How each scalar is written, as the encoder of the standard library does it."""

_SCALARS: Final = frozenset(_WRITERS)


def _fits_any(fits: Sequence[Fits], value: Any) -> bool:
    return any(fit(value) for fit in fits)


def _is_list_of(fits: Fits, value: Any) -> bool:
    return type(value) is list and all(map(fits, value))


def _is_dict_of(fits: Fits, value: Any) -> bool:
    if type(value) is not dict:
        return False
    return all(type(key) is str for key in value) and all(map(fits, value.values()))


def _are_scalars(scalars: Sequence[frozenset[type]], values: Sequence[Any]) -> bool:
    for kinds, value in zip(scalars, values, strict=True):  # noqa: SIM110 - all() is slower
        if type(value) not in kinds:
            return False
    return True


def _all_fit(fits: Sequence[Fits], values: Sequence[Any]) -> bool:
    return all(fit(value) for fit, value in zip(fits, values, strict=True))


# -- pydantic -------------------------------------------------------------------------------------


def _adapter(kind: Any) -> Any:
    """Return pydantic's adapter of a type; bytes are base64."""
    from pydantic import ConfigDict, TypeAdapter
    from pydantic.errors import PydanticUserError

    from plugreg.settings.types import without_plugins

    config = ConfigDict(
        ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants"
    )
    with without_plugins():
        try:
            return TypeAdapter(kind, config=config)
        except PydanticUserError as error:
            if error.code != "type-adapter-config-unused":
                raise
            # A class with a configuration of its own.
            return TypeAdapter(kind)


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


def _sentence(error: Exception) -> str:
    return explain(error).message
