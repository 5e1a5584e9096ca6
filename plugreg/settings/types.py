"""Settings whose type pydantic knows: the way from a value to its text and back.

Stored and on the wire a value is text: a str as it is, a bool ``"True"`` or ``"False"``, a number
its digits, None ``""``, and anything else compact JSON. A value whose text another value of its
type has too is stored as JSON, and marked so. pydantic is imported when the first such type is
asked for something, since importing it takes long.

pydantic imports each entry point of the group ``pydantic`` when a process builds its first
validator, whether a plugin of that distribution is on or off. Its switch against this, the variable
``PYDANTIC_DISABLE_PLUGINS``, holds for the models of everybody. So :func:`without_plugins` makes
its loader find none in a thread that builds something of plugreg's; all other models have theirs.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
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
"""How many faults of a value are told, and how many characters of each."""

_EXPECTED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "boolean": "a boolean value",
        "integer": "a whole number",
        "number": "a number",
        "string": "a text",
        "array": "a list",
        "object": "an object",
    }
)


_JSON_WORDS: Final[Mapping[str, str]] = MappingProxyType({"True": "true", "False": "false"})


class Misfit(ValueError):  # noqa: N818 - it is a finding, which the caller makes an error of
    """A value does not fit its type; ``reason`` is a sentence.

    ``quoting`` tells that the reason may repeat parts of the value.
    """

    def __init__(self, reason: str, *, quoting: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.quoting = quoting


_thread: Final = threading.local()
"""Whether this thread builds for plugreg: ``is_building``, False where it is missing."""


@contextmanager
def without_plugins() -> Iterator[None]:
    """Keep pydantic from loading and asking its plugins, in this thread, for a ``with`` block."""
    # A pydantic that loads its plugins in another way goes on with them.
    with suppress(ImportError, AttributeError):
        _hold_back_plugins()
    before = _is_building()
    _thread.is_building = True
    try:
        yield
    finally:
        _thread.is_building = before


def _is_building() -> bool:
    return getattr(_thread, "is_building", False)


def _hold_back_plugins() -> None:
    """Put a function in the place of pydantic's loader that finds nothing while one builds here.

    It stays: taking it away again would give plugins to another thread that builds right now.
    """
    from pydantic.plugin import _loader

    get_plugins = _loader.get_plugins
    if get_plugins.__module__ == __name__:
        return

    def get_plugins_of_others() -> Any:
        return () if _is_building() else get_plugins()

    vars(_loader)["get_plugins"] = get_plugins_of_others


class Typed:
    """One type that pydantic knows. Its TypeAdapter is made once, when it is first needed.

    Methods raise Misfit for a value that does not fit, and pass on what the code of the type
    raises. Once :meth:`fault` has given None, making the adapter raises no more.
    """

    def __init__(self, declared: Any) -> None:
        self.declared: Final = declared

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        """Pydantic's adapter. What pydantic raises for a type it cannot handle passes through."""
        from pydantic import TypeAdapter

        with without_plugins():
            return TypeAdapter(self.declared)

    @cached_property
    def schema(self) -> JsonSchemaValue:
        """The JSON Schema of the type alone."""
        # pydantic makes an adapter for each default in it.
        with without_plugins():
            return self.adapter.json_schema()

    def fault(self) -> str | None:
        """Return why no setting can have this type, None if one can. Raises nothing."""
        with Guard() as guard:
            if _is_sealed(_bare(self.declared)) or _has_secret(self.schema):
                return (
                    "must not hold a secret type of pydantic's, whose value cannot be stored; "
                    "use plain types, with protected=True for the whole setting"
                )
            self.members()  # Their values are written as JSON, which may fail.
            return None
        assert guard.error is not None
        lines = safe_str(guard.error).strip().splitlines() or [type(guard.error).__name__]
        return f"must be a type that pydantic can handle: {cut(lines[0], _LONGEST_FAULT)}"

    def value_of(self, text: str) -> object:
        """Return the value that a text stands for, as itself or as JSON."""
        from pydantic import ValidationError

        try:
            return self.adapter.validate_python(text)
        except ValidationError as error:
            first = error
        try:
            return self.adapter.validate_json(_JSON_WORDS.get(text, text))
        except ValidationError as error:
            # Of a text that is meant as JSON its parts are of interest, else the text itself.
            reason = _sentence(error if text.lstrip()[:1] in ("[", "{") else first)
        raise Misfit(reason, quoting=True)

    def value_from(self, given: object) -> object:
        """Return the value that an object stands for; a str is taken as :meth:`value_of` does."""
        from pydantic import ValidationError

        if isinstance(given, str):
            return self.value_of(given)
        try:
            return self.adapter.validate_python(given)
        except ValidationError as error:
            reason = _sentence(error)
        raise Misfit(reason, quoting=True)

    def json_of(self, value: object) -> Any:
        """Return a value of the type as dicts, lists, texts, finite numbers, booleans and None."""
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
            "Value must be one that JSON can hold: texts, booleans, finite numbers, and lists and "
            "objects of these that do not hold themselves and are not too deep"
        )

    def kept_as(self, value: object, text: str) -> tuple[str, bool]:
        """Return what a value of the bare *text* is stored as, and whether that is JSON.

        The bare text of 5 is read as a string where the type has strings too; the value is
        stored as JSON then.

        Raises:
            Misfit: If the value cannot be told from others by its JSON either.
        """
        if self._is_read_from(value, text):
            return text, False
        found = self.json_of(value)
        if not isinstance(found, str) and self._is_read_from(value, found):
            return json.dumps(found, ensure_ascii=False, separators=(",", ":")), True
        raise Misfit(
            "Value cannot be stored, since its text would be read as another value; "
            "the type of this setting must tell its values apart by their texts"
        )

    def _is_read_from(self, value: object, given: object) -> bool:
        with suppress(Misfit):
            back = self.value_from(given)
            # 1 equals True, but is another value.
            return bool(back == value) and (type(back) is bool) == (type(value) is bool)
        return False

    @property
    def json_type(self) -> str | None:
        """The type that values which are set have in JSON, None where they have several."""
        kind: str | None = _without_null(self.schema).get("type")
        return kind

    @property
    def wire_type(self) -> str:
        """``"boolean"``, ``"integer"`` or ``"string"`` (behaviour.md, section 4.4)."""
        return kind if (kind := self.json_type) in ("boolean", "integer") else "string"

    @property
    def expected(self) -> str:
        """What a value must be, in words that are taken from the type alone."""
        schema = _without_null(self.schema)
        kind = _EXPECTED.get(str(schema.get("type")), "a value")
        form = f" of the format {schema['format']!r}" if "format" in schema else ""
        return f"{kind}{form} that fits the type of this setting"

    def members(self) -> tuple[tuple[object, str], ...]:
        """Return the (value, label) pairs of a Literal or an Enum, else none.

        The values are as JSON has them. None is left out, since it means that nothing is set.
        """
        declared = _bare(self.declared)
        if get_origin(declared) is Literal:
            values = [each for each in get_args(declared) if each is not None]
            found = [self.json_of(each) for each in values]
            return tuple((each, str(each)) for each in found)
        if isinstance(declared, type) and issubclass(declared, Enum):
            if issubclass(declared, Flag):
                return ()  # Its members may be combined, so that they are not all there is.
            return tuple((self.json_of(each), _readable(each.name)) for each in declared)
        return ()


def text_from_json(value: Any) -> str:
    """Return the text of a JSON value: how it is stored, and shown on the wire."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, int, float)):
        return str(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def strings_in(value: Any) -> Iterator[str]:
    """Yield every text in a JSON value, those of the keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield key
            yield from strings_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings_in(each)


def is_secret_text(declared: object) -> bool:
    """Tell whether a type is pydantic's SecretStr or SecretBytes."""
    return any(declared is secret for secret in _secrets("SecretStr", "SecretBytes"))


def is_sealed(value: object) -> bool:
    """Tell whether a value is one of pydantic's secrets, whose text is stars."""
    return _is_sealed(type(value))


def unsealed(value: Any) -> object:
    """Return what is in a SecretStr or SecretBytes; what is none of them is given back.

    Raises UnicodeDecodeError for bytes that are no text.
    """
    if not is_sealed(value):
        return value
    inside = value.get_secret_value()
    return inside.decode() if isinstance(inside, bytes) else inside


def _is_sealed(declared: object) -> bool:
    kind = get_origin(declared) or declared
    secrets = _secrets("SecretStr", "SecretBytes", "Secret")
    return isinstance(kind, type) and issubclass(kind, secrets)


def _secrets(*names: str) -> tuple[type, ...]:
    # Whoever has one of these has imported the module. While another thread imports it, it lacks
    # some, and nobody has any.
    types = sys.modules.get("pydantic.types")
    return tuple(kind for name in names if (kind := getattr(types, name, None)) is not None)


def _has_secret(schema: Any) -> bool:
    """Tell whether a JSON Schema is, at any depth, that of a secret type."""
    if isinstance(schema, Mapping):
        if schema.get("writeOnly") is True and schema.get("format") == "password":
            return True
        return any(_has_secret(each) for each in schema.values())
    return isinstance(schema, list) and any(_has_secret(each) for each in schema)


def _without_null(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of a value that is set: that of ``int`` for ``int | None``."""
    others = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    found: Mapping[str, Any] = others[0] if len(others) == 1 else schema
    place = str(found.get("$ref", "")).removeprefix("#/$defs/")
    return schema.get("$defs", {}).get(place, found)  # type: ignore[no-any-return]


def _bare(declared: Any) -> Any:
    """Return a type without ``Annotated``, without ``| None`` and without an alias's name."""
    while True:
        if get_origin(declared) is Annotated:
            declared = get_args(declared)[0]
        elif get_origin(declared) in (Union, UnionType):
            others = [each for each in get_args(declared) if each is not NoneType]
            if len(others) != 1:
                return declared
            declared = others[0]
        elif type(declared).__name__ == "TypeAliasType":
            declared = declared.__value__
        else:
            return declared


def _readable(name: str) -> str:
    """Return the name of an Enum's member as a label: ``DARK_RED`` is ``Dark red``."""
    return name.replace("_", " ").strip().capitalize() or name


def _sentence(error: ValidationError) -> str:
    """Return all faults of a value, each with its place, without what was given."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    faults = []
    for each in found[:_MOST_FAULTS]:
        place = ".".join(str(part) for part in each["loc"])
        told = f"{place}: {each['msg']}" if place else each["msg"]
        faults.append(cut(plain(told), _LONGEST_FAULT))
    if len(found) > _MOST_FAULTS:
        faults.append(f"and {len(found) - _MOST_FAULTS} more")
    return "; ".join(faults)
