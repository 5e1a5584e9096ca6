"""Settings of types that pydantic knows: the way from a value to its string and back.

A value is stored and sent as a string: a str as it is, a bool as ``"True"`` or ``"False"``, a
number by its digits, None as ``""``, and anything else as compact JSON. A value whose string
another value of its type has too is stored as JSON, and marked so. pydantic is imported when the
first such type is used, since the import is slow.

pydantic imports each entry point of the group ``pydantic`` when a process builds its first
validator, whether a plugin of that distribution is active or not. The variable
``PYDANTIC_DISABLE_PLUGINS`` would switch that off for all models of the process. So
:func:`without_plugins` hides them only from a thread that builds something of plugreg's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from enum import Enum, Flag
from functools import cached_property
from types import MappingProxyType, NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union, get_args, get_origin

from plugreg._support.guard import Guard, cut, plain, safe_str

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError
    from pydantic.json_schema import JsonSchemaValue

_MOST_FAULTS: Final = 20
_LONGEST_FAULT: Final = 500
"""How many faults of a value are reported, and how many characters of each."""

_EXPECTED: Final = MappingProxyType(
    {
        "boolean": "a boolean value",
        "integer": "a whole number",
        "number": "a number",
        "string": "a string",
        "array": "a list",
        "object": "an object",
    }
)

_JSON_WORDS: Final = MappingProxyType({"True": "true", "False": "false"})


class Misfit(ValueError):  # noqa: N818 - a finding, which the caller makes an error of
    """A value does not fit its type. The message is a sentence that shows no part of it."""


class Misread(Misfit):
    """A value does not fit its type. The sentence may quote parts of it."""


_is_building: Final = ContextVar("is_building", default=False)
"""Whether plugreg builds something of pydantic's."""


@contextmanager
def without_plugins() -> Iterator[None]:
    """Hide pydantic's plugins from this context for a ``with`` block."""
    # A pydantic that loads its plugins in another way keeps them.
    with suppress(ImportError, AttributeError):
        _hold_back_plugins()
    before = _is_building.set(True)
    try:
        yield
    finally:
        _is_building.reset(before)


def _hold_back_plugins() -> None:
    """Wrap pydantic's loader, which finds nothing while plugreg builds.

    The wrapper stays: without it another thread that builds right now would get plugins.
    """
    from pydantic.plugin import _loader

    get_plugins = _loader.get_plugins
    if get_plugins.__module__ == __name__:
        return

    def get_plugins_elsewhere() -> Any:
        return () if _is_building.get() else get_plugins()

    vars(_loader)["get_plugins"] = get_plugins_elsewhere


class Typed:
    """A type that pydantic knows. Its TypeAdapter is made when it is first needed.

    Methods raise Misfit for a value that does not fit; exceptions of the type's own code pass
    through. Once :meth:`fault` has returned None, making the adapter does not raise.
    """

    def __init__(self, declared: Any) -> None:
        self.declared: Final = declared

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        """Pydantic's adapter. Pydantic's exceptions for an unknown type pass through."""
        from pydantic import TypeAdapter

        with without_plugins():
            return TypeAdapter(self.declared)

    @cached_property
    def schema(self) -> JsonSchemaValue:
        """The JSON Schema of the type alone."""
        # pydantic builds an adapter for each default in it.
        with without_plugins():
            return self.adapter.json_schema()

    def fault(self) -> str | None:
        """Return why no setting can have this type, or None. Raises nothing."""
        with Guard() as guard:
            if is_sealed(_bare(self.declared)) or _has_secret(self.schema):
                return (
                    "must not hold a secret type of pydantic's, whose value cannot be stored; "
                    "use plain types, with protected=True for the whole setting"
                )
            self.members()  # Their conversion to JSON may fail.
            return None
        assert guard.error is not None
        lines = safe_str(guard.error).strip().splitlines() or [type(guard.error).__name__]
        return f"must be a type that pydantic can handle: {cut(lines[0], _LONGEST_FAULT)}"

    def value_from(self, given: object) -> object:
        """Return the value of an object; a string is tried as itself, then as JSON.

        Args:
            given: The value as it was given, a stored string, or the content of stored JSON.

        Raises:
            Misread: If it is no value of the type.
        """
        from pydantic import ValidationError

        text = given if isinstance(given, str) else None
        try:
            return self.adapter.validate_python(given)
        except ValidationError as error:
            reason = _sentence(error)
        if text is not None:
            try:
                return self.adapter.validate_json(_JSON_WORDS.get(text, text))
            except ValidationError as error:
                # The faults within JSON are of use only for a string that is meant as JSON.
                if text.lstrip()[:1] in ("[", "{"):
                    reason = _sentence(error)
        raise Misread(reason)

    def json_of(self, value: object) -> Any:
        """Return a value of the type as JSON has it, without NaN and infinity.

        Args:
            value: The value.

        Raises:
            Misfit: If JSON cannot hold it.
        """
        with suppress(TypeError, ValueError, RecursionError):
            found = self.adapter.dump_python(
                value, mode="json", by_alias=True, round_trip=True, warnings=False
            )
            if isinstance(value, (set, frozenset)) and isinstance(found, list):
                found.sort(key=json.dumps)  # A set has another order in each process.
            json.dumps(found, allow_nan=False)  # Refuses NaN, and integers of endless digits.
            if found is not None or value is None:  # Pydantic makes None of some NaNs.
                return found
        raise Misfit(
            "Value must be one that JSON can hold: strings, booleans, finite numbers, and lists "
            "and objects of these that do not hold themselves and are not too deep"
        )

    def kept_as(self, value: object, text: str) -> tuple[str, bool]:
        """Return the string to store for a value, and whether it is JSON.

        The string of 5 reads as a string where the type has strings too; then 5 is stored as JSON.

        Args:
            value: The value.
            text: The value's own string.

        Raises:
            Misfit: If the JSON, too, would be read as another value.
        """
        if self._is_read_from(value, text):
            return text, False
        found = self.json_of(value)
        if not isinstance(found, str) and self._is_read_from(value, found):
            return compact(found), True
        raise Misfit(
            "Value cannot be stored, since its string would be read as another value; "
            "the values of this setting's type must have different strings"
        )

    def _is_read_from(self, value: object, given: object) -> bool:
        with suppress(Misfit):
            back = self.value_from(given)
            # 1 equals True, but is another value.
            return bool(back == value) and (type(back) is bool) == (type(value) is bool)
        return False

    @property
    def json_type(self) -> str | None:
        """The JSON type of values other than None, or None if they have several."""
        kind: str | None = _without_null(self.schema).get("type")
        return kind

    @property
    def wire_type(self) -> str:
        """``"boolean"``, ``"integer"`` or ``"string"``, for clients."""
        return kind if (kind := self.json_type) in ("boolean", "integer") else "string"

    @property
    def expected(self) -> str:
        """The expected value in words, made from the type alone."""
        schema = _without_null(self.schema)
        kind = _EXPECTED.get(str(schema.get("type")), "a value")
        form = f" of the format {schema['format']!r}" if "format" in schema else ""
        return f"{kind}{form} that fits the type of this setting"

    def members(self) -> tuple[tuple[object, str], ...]:
        """Return the (value, label) pairs of a Literal or an Enum, else none.

        The values are as JSON has them, without None, which means that nothing is set.
        """
        declared = _bare(self.declared)
        if get_origin(declared) is Literal:
            found = [self.json_of(value) for value in get_args(declared) if value is not None]
            return tuple((value, str(value)) for value in found)
        if isinstance(declared, type) and issubclass(declared, Enum):
            if issubclass(declared, Flag):
                return ()  # Combinations of its members are values, too.
            # The label of DARK_RED is "Dark red".
            labels = {m: m.name.replace("_", " ").strip().capitalize() or m.name for m in declared}
            return tuple((self.json_of(member), label) for member, label in labels.items())
        return ()


def compact(value: Any) -> str:
    """Return a JSON value as JSON without blanks.

    Args:
        value: The value.
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def is_secret_text(declared: object) -> bool:
    """Return whether a type is pydantic's SecretStr or SecretBytes.

    Args:
        declared: Type of a setting.
    """
    return any(declared is secret for secret in _secrets("SecretStr", "SecretBytes"))


def is_sealed(declared: object) -> bool:
    """Return whether a type is a secret type of pydantic, whose ``str()`` is stars.

    Args:
        declared: The type.
    """
    kind = get_origin(declared) or declared
    secrets = _secrets("SecretStr", "SecretBytes", "Secret")
    return isinstance(kind, type) and issubclass(kind, secrets)


def unsealed(value: Any) -> object:
    """Return the content of a secret string of pydantic's, or the value itself.

    Args:
        value: The value.

    Raises:
        UnicodeDecodeError: If it holds bytes that are not UTF-8.
    """
    if not is_sealed(type(value)):
        return value
    inside = value.get_secret_value()
    return inside.decode() if isinstance(inside, bytes) else inside


def _secrets(*names: str) -> tuple[type, ...]:
    # A process with such a type has imported the module. While another thread imports it, some
    # names are missing, and nobody has such a type yet.
    types = sys.modules.get("pydantic.types")
    return tuple(kind for name in names if (kind := getattr(types, name, None)) is not None)


def _has_secret(schema: Any) -> bool:
    """Return whether a JSON Schema is, at any depth, that of a secret type."""
    if isinstance(schema, Mapping):
        if schema.get("writeOnly") is True and schema.get("format") == "password":
            return True
        return any(map(_has_secret, schema.values()))
    return isinstance(schema, list) and any(map(_has_secret, schema))


def _without_null(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of values other than None, as of ``int | None``."""
    others = [item for item in schema.get("anyOf", ()) if item.get("type") != "null"]
    found: Mapping[str, Any] = others[0] if len(others) == 1 else schema
    place = str(found.get("$ref", "")).removeprefix("#/$defs/")
    return schema.get("$defs", {}).get(place, found)  # type: ignore[no-any-return]


def _bare(declared: Any) -> Any:
    """Return a type without ``Annotated``, ``| None`` and the name of an alias."""
    while True:
        if get_origin(declared) is Annotated:
            declared = get_args(declared)[0]
        elif get_origin(declared) in (Union, UnionType):
            others = [item for item in get_args(declared) if item is not NoneType]
            if len(others) != 1:
                return declared
            declared = others[0]
        elif type(declared).__name__ == "TypeAliasType":
            declared = declared.__value__
        else:
            return declared


def _sentence(error: ValidationError) -> str:
    """Return all faults of a value, each with its place, without the input."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    faults = []
    for fault in found[:_MOST_FAULTS]:
        place = ".".join(map(str, fault["loc"]))
        shown = f"{place}: {fault['msg']}" if place else fault["msg"]
        faults.append(cut(plain(shown), _LONGEST_FAULT))
    if len(found) > _MOST_FAULTS:
        faults.append(f"and {len(found) - _MOST_FAULTS} more")
    return "; ".join(faults)
