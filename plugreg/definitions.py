"""What a setting is, and the way from a value to its text and back.

Sources: behaviour.md, sections 4.2 to 4.7. Nothing here knows a store, an override or a mask that
is written back: a definition, a value and a text is all there is.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeAlias

from plugreg._guard import Guard
from plugreg.exceptions import SettingError

MASK: Final = "***"
"""What is shown in place of a protected value that is set."""

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
NOT_VALID: Final = "Value does not pass validation checks"

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
        return as_pairs(given)
    except TypeError:
        raise SettingError(
            definition.key, "The choices of this setting are not (value, label) pairs"
        ) from None


def as_pairs(value: object) -> tuple[Choice, ...]:
    """Return (value, label) pairs as tuples. Raises TypeError for anything else."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError
    pairs = tuple(value)
    if all(isinstance(each, (list, tuple)) and len(each) == 2 for each in pairs):
        return tuple((chosen, label) for chosen, label in pairs)
    raise TypeError


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
    # isinstance() would ask the error for its __class__, which may do anything.
    if issubclass(type(error), SettingError):
        reason = error.reason  # type: ignore[attr-defined]
    elif issubclass(type(error), ValueError):
        with Guard():
            reason = str(error)
    if definition.protected and any(
        each in reason for each in (text, text.strip(), repr(text)[1:-1])
    ):
        reason = ""
    return reason or NOT_VALID


def _choice_text(definition: SettingDefinition, value: object) -> str:
    """Return a choice as it would be stored, so that 1, 1.0 and "1" meet as the validator says."""
    text = as_text(value)
    try:
        return as_text(_convert(definition, text))
    except SettingError:
        return text
