"""What a plugin says of its settings, and the way from a value to its text and back.

Sources: behaviour.md, sections 4.2 to 4.7. Nothing here knows a store, an override or a mask that
is written back: a definition, a value and a text is all there is.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from plugreg._guard import Guard, safe_repr
from plugreg._names import near
from plugreg.exceptions import SettingError
from plugreg.records import EMPTY

MASK: Final = "***"
"""What is shown in place of a protected value that is set."""

MAX_KEY_LENGTH: Final = 50
"""The longest key, in characters."""

MAX_VALUE_LENGTH: Final = 2000
"""The longest value, in characters of its text."""


class LazyText(Protocol):
    """A text that is made anew each time ``str()`` is called, as lazy translations are."""

    def __str__(self) -> str: ...


Validator: TypeAlias = Callable[[Any], object]
"""``bool``, ``int`` or ``float``, which convert, or a function that raises ValueError."""

_CONVERTERS: Final = (bool, int, float)

Choice: TypeAlias = tuple[Any, "str | LazyText"]
"""A value that may be chosen, and its label."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SettingDefinition:
    """What a plugin declares of one setting (behaviour.md, section 4.2).

    ``key`` is upper case. ``name``, ``description``, ``units`` and ``confirm_text`` are for
    people; take ``str()`` of them, since they may be lazy. ``default`` is a value or a callable
    without arguments, None where there is none. ``choices`` are (value, label) pairs, a callable
    that gives them, or None where anything may be chosen. ``before_save`` and ``after_save`` are
    called by the settings of the registry, with the setting.

    The repr shows no value, since the setting may be protected.
    """

    key: str
    name: str | LazyText = ""
    description: str | LazyText = ""
    units: str | LazyText = ""
    default: Any = field(default=None, repr=False)
    validators: tuple[Validator, ...] = field(default=(), repr=False)
    choices: tuple[Choice, ...] | Callable[..., Iterable[Choice]] | None = field(
        default=None, repr=False
    )
    model: str | None = None
    model_filters: Mapping[str, Any] = field(default_factory=dict, repr=False)
    hidden: bool = False
    protected: bool = False
    required: bool = False
    before_save: Callable[[Any], object] | None = field(default=None, repr=False)
    after_save: Callable[[Any], object] | None = field(default=None, repr=False)
    confirm: bool = False
    confirm_text: str | LazyText = ""

    @property
    def converter(self) -> type[bool | int | float] | None:
        """The type of the native value: bool, int or float, or None where it is text."""
        # Identity, because a validator is a plugin's object and its __eq__ may do anything.
        given = {id(each) for each in self.validators}
        return next((kind for kind in _CONVERTERS if id(kind) in given), None)

    @property
    def type(self) -> str:
        """One of the four words that clients switch on (behaviour.md, section 4.4)."""
        if self.converter is bool:
            return "boolean"
        if self.converter is int:
            return "integer"
        return "related field" if self.model is not None else "string"

    @property
    def has_default(self) -> bool:
        """Whether the plugin states a default. An empty text is one, None is not."""
        return self.default is not None


# --- The write and the read path ----------------------------------------------------------------

_TRUE: Final = frozenset({"1", "y", "yes", "t", "true", "ok", "on"})
_FALSE: Final = frozenset({"0", "n", "no", "f", "false", "off"})

_NOT_CONVERTED: Final[Mapping[type, str]] = MappingProxyType(
    {
        bool: "Value must be a boolean value",
        int: "Provided value is not a valid integer",
        float: "Provided value is not a valid float",
    }
)
_NOT_VALID: Final = "Value does not pass validation checks"

# A carriage return is let through as the first half of a newline, as web forms send it. Surrogates
# are refused because no store can write them as UTF-8.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]|\r(?!\n)")


def as_text(value: object) -> str:
    """Return the text form of a native value: None is ``""``, True is ``"True"``."""
    return "" if value is None else str(value)


def to_text(
    definition: SettingDefinition, value: object, *, plugin: Any = None, user: Any = None
) -> str:
    """Return the text to store for ``value``; ``""`` means that nothing is set.

    None and an empty text give ``""``, so do blanks where a bool or a number is expected. Other
    text is never altered. ``plugin`` and ``user`` are for callable choices and otherwise unused.
    A :data:`MASK` has no meaning here: whoever writes a protected setting looks for it first.

    Raises SettingError with the reasons of behaviour.md, section 4.5. What a callable for choices
    raises passes through.
    """
    text = _checked_text(definition.key, value)
    if not text.strip():
        if definition.required:
            raise SettingError(definition.key, "This setting is required")
        if definition.converter is not None or not text:
            return ""
    native = _convert(definition, text)
    text = as_text(native)
    _validate(definition, native, text)
    if definition.choices is not None:
        offered = choices_of(definition, plugin=plugin, user=user)
        if all(text != _choice_text(definition, each) for each, _ in offered):
            raise SettingError(definition.key, "Chosen value is not a valid option")
    return text


def to_value(definition: SettingDefinition, text: str) -> object:
    """Return the native value of stored ``text``; the default if it is empty or fits no more."""
    if not text:
        return default_of(definition)
    try:
        return _convert(definition, text)
    except SettingError:
        return default_of(definition)


def default_of(definition: SettingDefinition) -> object:
    """Return the default in its native type, ``""`` where there is none.

    Without a bool, int or float validator it is what the plugin gave, as it is. A callable is
    called each time; what it raises passes through, and SettingError is raised if its result
    does not convert.
    """
    default = definition.default() if callable(definition.default) else definition.default
    if default is None:
        return ""
    if definition.converter is None:
        return default
    text = as_text(default)
    return _convert(definition, text) if text.strip() else ""


def choices_of(
    definition: SettingDefinition, *, plugin: Any = None, user: Any = None
) -> tuple[Choice, ...]:
    """Return the (value, label) pairs that may be chosen, none where anything may.

    A callable is called each time, with those of the keywords ``plugin`` and ``user`` that its
    signature accepts; what it raises passes through. SettingError is raised if it gives no pairs.
    """
    if definition.choices is None:
        return ()
    if not callable(definition.choices):
        return definition.choices
    given = call_with_accepted(definition.choices, plugin=plugin, user=user)
    try:
        return _pairs(given)
    except TypeError:
        raise SettingError(
            definition.key, "The choices of this setting are not (value, label) pairs"
        ) from None


def call_with_accepted(function: Callable[..., Any], *args: Any, **offered: Any) -> Any:
    """Call ``function`` with ``args`` and those of the ``offered`` keywords that it can take.

    The signature decides, so that a TypeError from within is never mistaken for a refusal. A
    callable that has no signature, as some builtins, gets no keyword.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return function(*args)
    if not any(each.kind is each.VAR_KEYWORD for each in parameters):
        by_keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        names = {each.name for each in parameters if each.kind in by_keyword}
        offered = {name: value for name, value in offered.items() if name in names}
    return function(*args, **offered)


def _checked_text(key: str, value: object) -> str:
    text = ""
    with Guard() as guard:
        text = as_text(value)
    if guard.error is not None:
        raise SettingError(key, "Value cannot be turned into text")
    if _CONTROL.search(text):
        raise SettingError(
            key, "Value must not contain control characters, but for tab and newline, or surrogates"
        )
    if len(text) > MAX_VALUE_LENGTH:
        raise SettingError(
            key,
            f"Ensure this value has at most {MAX_VALUE_LENGTH} characters (it has {len(text)}).",
        )
    return text


def _convert(definition: SettingDefinition, text: str) -> object:
    kind = definition.converter
    if kind is None:
        return text
    if kind is bool:
        word = text.strip().lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
    else:
        try:
            number = kind(text)
            # An int may be too large for isfinite(), which is asked of floats alone.
            if kind is int or math.isfinite(number):
                return number
        except ValueError:
            pass  # Refused below, like a number that is not finite.
    raise SettingError(definition.key, _NOT_CONVERTED[kind])


def _validate(definition: SettingDefinition, native: object, text: str) -> None:
    for validator in definition.validators:
        if any(validator is each for each in _CONVERTERS):
            continue
        with Guard() as guard:
            validator(native)
        if guard.error is not None:
            # A chained exception would carry a protected value into logs and tracebacks.
            cause = None if definition.protected else guard.error
            raise SettingError(definition.key, _reason(definition, guard.error, text)) from cause


def _reason(definition: SettingDefinition, error: BaseException, text: str) -> str:
    """Return a validator's own words, if it meant them to be shown and they hold no secret."""
    reason = ""
    if isinstance(error, SettingError):
        reason = error.reason
    elif isinstance(error, ValueError):
        with Guard():
            reason = str(error)
    if definition.protected and any(
        each in reason for each in (text, text.strip(), repr(text)[1:-1])
    ):
        reason = ""
    return reason or _NOT_VALID


def _choice_text(definition: SettingDefinition, value: object) -> str:
    """Return a choice as it would be stored, so that 1, 1.0 and "1" meet as the validator says."""
    text = as_text(value)
    try:
        return as_text(_convert(definition, text))
    except SettingError:
        return text


# --- From what a plugin's author wrote ----------------------------------------------------------

_KEY: Final = re.compile(rf"[A-Za-z0-9_]{{1,{MAX_KEY_LENGTH}}}")


def parse_definitions(
    raw: object, attribute: str
) -> tuple[Mapping[str, SettingDefinition], tuple[str, ...]]:
    """Read a plugin's ``SETTINGS`` or ``USER_SETTINGS``, whose name is ``attribute``.

    ``raw`` maps keys to dicts as behaviour.md, section 4.2, has them, or to SettingDefinitions;
    None counts as empty. It is not changed and not kept. Returned are the definitions that are
    sound, by upper-case key in the order declared, and every fault as a sentence that names
    attribute and key. A fault shows no default, and nothing of a protected setting's values.

    Raises nothing itself; what ``raw`` and its values raise when they are read passes through.
    """
    if raw is None:
        return EMPTY, ()
    if not isinstance(raw, Mapping):
        shown = type(raw).__name__
        return EMPTY, (f"{attribute} must be a dict of key to definition, not {shown!r}",)
    definitions: dict[str, SettingDefinition] = {}
    faults: list[str] = []
    spellings: dict[str, str] = {}
    for spelling, value in raw.items():
        where = f"{attribute}[{safe_repr(spelling)}]"
        if not isinstance(spelling, str) or not _KEY.fullmatch(spelling):
            faults.append(
                f"{where}: a key is made of letters a-z, digits and underscores, "
                f"at most {MAX_KEY_LENGTH} of them"
            )
            continue
        key = str.upper(spelling)
        if key in spellings:
            faults.append(
                f"{where}: the key differs from {spellings[key]!r} only in case; rename one of them"
            )
            continue
        spellings[key] = spelling
        definition, own_faults = _parse_one(key, value, where)
        faults.extend(own_faults)
        if definition is not None:
            definitions[key] = definition
    return MappingProxyType(definitions), tuple(faults)


def _parse_one(key: str, value: object, where: str) -> tuple[SettingDefinition | None, list[str]]:
    """Return the definition, None if it has a fault, and its faults."""
    faults: list[str] = []
    given: dict[Any, Any]
    if isinstance(value, SettingDefinition):
        if value.key.upper() != key:
            faults.append(f"{where}: the definition's own key is {value.key!r}; use one name")
        given = {each.name: getattr(value, each.name) for each in fields(value)}
        given["validator"] = given.pop("validators")
        del given["key"]
    elif isinstance(value, Mapping):
        given = dict(value)
    else:
        return None, [f"{where} must be a dict or a SettingDefinition, not {safe_repr(value)}"]
    secret = given.get("protected", False) is not False
    taken: dict[str, Any] = {}
    for name, content in given.items():
        known = _FIELDS.get(name) if isinstance(name, str) else None
        if known is None:
            hint = near(name, _FIELDS) if isinstance(name, str) else ""
            faults.append(f"{where}: field {safe_repr(name)} is not known{hint}")
        elif content is not None:  # None says as little as leaving the field out.
            try:
                taken[known.target or name] = known.take(content)
            except TypeError:
                shown = f"a {type(content).__name__!r} object" if secret else safe_repr(content)
                faults.append(f"{where}: field {name!r} must be {known.expected}, not {shown}")
    if faults:
        return None, faults
    definition = SettingDefinition(key=key, **taken)
    if not callable(definition.default):
        with Guard() as guard:
            default_of(definition)
        if guard.error is not None:
            reason = guard.error.reason if isinstance(guard.error, SettingError) else _NOT_VALID
            faults.append(f"{where}: field 'default' must fit its validator: {reason}")
    return (None if faults else definition), faults


# Each of these takes a field's content in, or raises TypeError.


def _words(value: object) -> object:
    # What is no str but has a __str__ of its own is a lazy text; numbers and containers have none.
    lazy = type(value).__str__ is not object.__str__ and not isinstance(value, (bytes, bytearray))
    if isinstance(value, str) or lazy:
        return value
    raise TypeError


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise TypeError


def _function(value: object) -> object:
    if callable(value):
        return value
    raise TypeError


def _validators(value: object) -> tuple[object, ...]:
    validators = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if all(callable(each) for each in validators):
        return validators
    raise TypeError


def _pairs(value: object) -> tuple[Choice, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError
    pairs = tuple(value)
    if all(isinstance(each, (list, tuple)) and len(each) == 2 for each in pairs):
        return tuple((chosen, label) for chosen, label in pairs)
    raise TypeError


def _choices(value: object) -> object:
    # No choices, written as an empty list, means that anything may be chosen.
    return value if callable(value) else (_pairs(value) or None)


def _model(value: object) -> str | None:
    if isinstance(value, str):
        return value or None
    raise TypeError


def _filters(value: object) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return MappingProxyType(dict(value))
    raise TypeError


def _anything(value: object) -> object:
    return value


class _Field(NamedTuple):
    """A field of a definition: what it must be, how it is taken in, and its name in the record."""

    expected: str
    take: Callable[[object], Any]
    target: str | None = None


_TEXT: Final = _Field("text", _words)
_BOOLEAN: Final = _Field("True or False", _flag)
_HOOK: Final = _Field("a callable that takes the setting", _function)

_FIELDS: Final[Mapping[str, _Field]] = MappingProxyType(
    {
        "name": _TEXT,
        "description": _TEXT,
        "units": _TEXT,
        "default": _Field("a value or a callable without arguments", _anything),
        "validator": _Field(
            "bool, int, float, a callable or a list of these", _validators, "validators"
        ),
        "choices": _Field("a list of (value, label) pairs or a callable that gives one", _choices),
        "model": _Field("text as 'app.model'", _model),
        "model_filters": _Field("a dict", _filters),
        "hidden": _BOOLEAN,
        "protected": _BOOLEAN,
        "required": _BOOLEAN,
        "before_save": _HOOK,
        "after_save": _HOOK,
        "confirm": _BOOLEAN,
        "confirm_text": _TEXT,
    }
)
