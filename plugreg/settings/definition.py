"""What a setting is, and the way from a value to its text and back.

Sources: behaviour.md, sections 4.2 to 4.7. Nothing here knows a store, an override or a mask that
is written back: a definition, a value and a text is all there is.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from plugreg._support.guard import Guard, safe_str
from plugreg._support.strings import check_text, is_scalar, own_words, tells
from plugreg.exceptions import SettingError
from plugreg.settings.types import (
    Misfit,
    Typed,
    is_sealed,
    is_secret_text,
    strings_in,
    text_from_json,
    unsealed,
)

MOST_CHOICES: Final = 100_000
"""The most choices that a setting may have."""


class LazyText(Protocol):
    """A text that is made anew each time ``str()`` is called, as lazy translations are."""

    def __str__(self) -> str: ...


Validator: TypeAlias = Callable[[Any], object]
"""``bool``, ``int`` or ``float``, which convert, or a function that raises ValueError."""

Converter: TypeAlias = type[bool] | type[int] | type[float]
"""A type of native values that needs no pydantic."""

CONVERTERS: Final[tuple[Converter, ...]] = (bool, int, float)

Choice: TypeAlias = tuple[Any, "str | LazyText"]
"""A value that may be chosen, and its label."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SettingDefinition:
    """What a plugin declares of one setting (behaviour.md, section 4.2).

    ``key`` is upper case; it may be left out where the key in SETTINGS says it. ``name``,
    ``description``, ``units`` and ``confirm_text`` are for people; take ``str()`` of them, since
    they may be lazy. ``default`` is a value or a callable without arguments, None where there is
    none. ``type`` is any type that pydantic knows; its values are checked by pydantic, and kept as
    text or, where they are no text or number, as JSON. With neither value nor default a setting
    whose type is another than ``str`` reads as None, and any other setting as ``""``. A SecretStr
    or SecretBytes is text of a setting that is ``protected``. ``validator`` is one or a list of
    ``bool``, ``int`` and ``float``, which do the same as these as ``type``, and of functions, which
    get the native value and refuse it with a ValueError. ``choices`` are (value, label) pairs, a
    callable that gives them, or None where anything may be chosen. ``before_save`` and
    ``after_save`` are called by the settings of the registry, with the setting.

    Nothing is checked here, but by parse_definitions when a plugin is loaded. The repr shows no
    value, since the setting may be protected.
    """

    key: str = ""
    name: str | LazyText = ""
    description: str | LazyText = ""
    units: str | LazyText = ""
    default: Any = field(default=None, repr=False)
    type: Any = field(default=None, repr=False)
    validator: Validator | Sequence[Validator] | None = field(default=None, repr=False)
    choices: Sequence[Choice] | Callable[..., Iterable[Choice]] | None = field(
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
    typed: Typed | None = field(default=None, init=False, repr=False, compare=False)
    """What does the work of ``type``; None where the value is text or made by a converter."""

    def __post_init__(self) -> None:
        # A frozen record is complete once this has run.
        if is_secret_text(self.type):
            object.__setattr__(self, "protected", True)
        elif self.type is not None and all(self.type is not each for each in (*CONVERTERS, str)):
            object.__setattr__(self, "typed", Typed(self.type))

    @property
    def validators(self) -> tuple[Validator, ...]:
        """The validators, converting ones included, in their order."""
        if self.validator is None:
            return ()
        if isinstance(self.validator, (list, tuple)):
            return tuple(self.validator)
        return (self.validator,)  # type: ignore[return-value]  # No other sequence passes a load.

    @property
    def converter(self) -> Converter | None:
        """The type of the native value: bool, int or float, or None where it is another."""
        # Identity, because a validator is a plugin's object and its __eq__ may do anything.
        given = {id(self.type), *(id(each) for each in self.validators)}
        return next((kind for kind in CONVERTERS if id(kind) in given), None)

    @property
    def wire_type(self) -> str:
        """One of the four words that clients switch on (behaviour.md, section 4.4)."""
        if self.converter is bool:
            return "boolean"
        if self.converter is int:
            return "integer"
        kind = "string" if self.typed is None else self.typed.wire_type
        return "related field" if kind == "string" and self.model is not None else kind

    @property
    def has_default(self) -> bool:
        """Whether the plugin states a default. An empty text is one, None is not."""
        return self.default is not None

    @property
    def unset(self) -> str | None:
        """What the setting reads as with neither value nor default.

        None where ``type`` states something other than a plain string, else an empty string.
        """
        is_text = self.type is None or self.type is str or is_secret_text(self.type)
        return "" if is_text else None


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
_REQUIRED: Final = "This setting is required"
NOT_VALID: Final = "Value does not pass validation checks"


def as_text(value: object) -> str:
    """Return the text form of a plain native value: None is ``""``, True is ``"True"``."""
    return "" if value is None else str(value)


class Checked(NamedTuple):
    """A value that its definition accepts: native, and what is stored of it, text or JSON."""

    native: object
    text: str
    is_json: bool = False


def to_text(
    definition: SettingDefinition, value: object, *, plugin: Any = None, user: Any = None
) -> str:
    """Return the text of what `check` accepts."""
    return check(definition, value, plugin=plugin, user=user).text


def check(
    definition: SettingDefinition, value: object, *, plugin: Any = None, user: Any = None
) -> Checked:
    """Return what to store for ``value``; an empty text means that nothing is set.

    None and an empty text give ``""``, so do blanks unless the value is text itself. Other text is
    never altered. ``plugin`` and ``user`` are for callable choices and otherwise unused.
    A :data:`MASK` has no meaning here: whoever writes a protected setting looks for it first.

    Raises SettingError with the reasons of behaviour.md, section 4.5. What a callable for choices
    raises passes through.
    """
    given = _given(definition, value)
    if type(given) is str and not given.strip():
        if definition.required:
            raise SettingError(definition.key, _REQUIRED)
        if not given or not _takes_blanks(definition):
            return Checked(definition.unset, "")
    native = native_of(definition, given)
    text = text_of(definition, native)
    kept, is_json = text, False
    if definition.typed is not None:
        if not text:
            if definition.required:
                raise SettingError(definition.key, _REQUIRED)
            return Checked(definition.unset, "")
        kept, is_json = _typed_call(definition, definition.typed.kept_as, native, text)
    _validate(definition, native, text)
    if definition.choices is not None:
        _choose(definition, text, choices_of(definition, plugin=plugin, user=user))
    return Checked(native, kept, is_json)


def to_value(definition: SettingDefinition, text: str) -> object:
    """Return the native value of stored ``text``; the default if it is empty or fits no more."""
    if not text:
        return default_of(definition)
    try:
        return native_of(definition, text)
    except SettingError:
        return default_of(definition)


def native_of_stored(definition: SettingDefinition, given: object) -> object:
    """Return the native value of what is stored: a text, or what its JSON gives.

    Raises SettingError if there is none.
    """
    return native_of(definition, given if type(given) is str else _given(definition, given))


def native_of(definition: SettingDefinition, given: object) -> object:
    """Return the native value of a text, or of any object that stands for one.

    Raises SettingError if there is none.
    """
    if definition.typed is not None:
        return _typed_call(definition, definition.typed.value_from, given)
    kind = definition.converter
    text = as_text(given)
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


def text_of(definition: SettingDefinition, native: object) -> str:
    """Return the text of a native value, as it is stored and shown on the wire.

    Raises SettingError if it has none: it is too long, holds characters that cannot be stored, or
    is nothing that JSON can hold.
    """
    if definition.typed is None or native is None or (type(native) is str and not native):
        text = as_text(native)
        strings = [text]
    else:
        value = _typed_call(definition, definition.typed.json_of, native)
        text = text_from_json(value)
        strings = list(strings_in(value))
    check_text(definition.key, text, strings)
    return text


def fault_of(
    definition: SettingDefinition, given: object, *, was_checked: bool = False
) -> str | None:
    """Return why what is stored does not fit the definition any more, None if it does.

    Callable choices are not asked, nor validators for what ``was_checked`` when it was written.
    Raises nothing of the plugin's. The reason shows nothing of a protected value.
    """
    with Guard() as guard:
        native = native_of_stored(definition, given)
        text = text_of(definition, native)
        if not was_checked:
            _validate(definition, native, text)
        if definition.choices is not None and not callable(definition.choices):
            _choose(definition, text, choices_of(definition))
        return None
    assert guard.error is not None
    return own_words(guard.error) or NOT_VALID


def default_of(definition: SettingDefinition) -> object:
    """Return the default in its native type, and where there is none what is read while unset.

    Without a type and a bool, int or float validator it is what the plugin gave, as it is. A
    callable is called each time; what it raises passes through, and SettingError is raised if its
    result does not convert.
    """
    default = definition.default() if callable(definition.default) else definition.default
    if default is None:
        return definition.unset
    if definition.typed is None:
        if definition.converter is None:
            return unsealed(default)
        default = as_text(default)
    if isinstance(default, str) and not default.strip() and not _takes_blanks(definition):
        return definition.unset
    return native_of(definition, default)


def choices_of(
    definition: SettingDefinition, *, plugin: Any = None, user: Any = None
) -> tuple[Choice, ...]:
    """Return the (value, label) pairs that may be chosen, none where anything may.

    Where the definition states none, a type that is a Literal or an Enum gives its own.
    A callable is called each time, with those of the keywords ``plugin`` and ``user`` that its
    signature accepts; what it raises passes through. SettingError is raised if it gives no pairs.
    """
    if definition.choices is None:
        return () if definition.typed is None else definition.typed.members()
    if not callable(definition.choices):
        return tuple(definition.choices)
    given = call_with_accepted(definition.choices, plugin=plugin, user=user)
    try:
        return as_pairs(given)
    except TypeError:
        raise SettingError(
            definition.key,
            f"The choices of this setting are not (value, label) pairs, {MOST_CHOICES:,} at most",
        ) from None


def choice_text(definition: SettingDefinition, value: object) -> str:
    """Return a choice as it would be stored, so that 1, 1.0 and "1" meet as the type says.

    A choice that is no value of the setting is shown as it is, and cannot be chosen.
    """
    try:
        return text_of(definition, native_of(definition, value))
    except SettingError:
        return safe_str(value)


def as_pairs(value: object) -> tuple[Choice, ...]:
    """Return (value, label) pairs as tuples. Raises TypeError for anything else, and too many."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError
    # A generator may have no end.
    pairs = tuple(islice(value, MOST_CHOICES + 1))
    if len(pairs) <= MOST_CHOICES and all(
        isinstance(each, (list, tuple)) and len(each) == 2 for each in pairs
    ):
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


def _given(definition: SettingDefinition, value: object) -> object:
    """Return what is to be converted: a plain text, or the value as it is for pydantic."""
    if value is None:
        return ""
    if definition.typed is not None and not issubclass(type(value), str):
        return value
    text = None
    with Guard() as guard:
        if definition.protected:
            value = unsealed(value)
        if is_scalar(type(value)) and not is_sealed(value):
            # The result of str() may be of a subclass, whose methods do anything.
            text = str.__str__(str(value))
    if guard.error is not None:
        raise SettingError(
            definition.key,
            "Value cannot be turned into text; give a text, a number or a boolean value",
        )
    if text is None:
        raise SettingError(
            definition.key, "Value must be text, a number or a boolean value; give it as text"
        )
    check_text(definition.key, text, [text])
    return text


def _takes_blanks(definition: SettingDefinition) -> bool:
    """Tell whether blanks are a text like any other, rather than nothing."""
    if definition.typed is None:
        return definition.converter is None
    with Guard():
        definition.typed.value_of("")
        return True
    return False


def _typed_call(
    definition: SettingDefinition, function: Callable[..., Any], *arguments: object
) -> Any:
    """Return what a method of ``definition.typed`` gives; what it raises is a refusal.

    The refusal carries no other exception, since pydantic's hold what was given.
    """
    with Guard() as guard:
        return function(*arguments)
    assert definition.typed is not None
    reason = f"Value must be {definition.typed.expected}"
    if type(guard.error) is Misfit and not (definition.protected and guard.error.quoting):
        reason = guard.error.reason
    raise SettingError(definition.key, reason)


def _choose(definition: SettingDefinition, text: str, offered: Iterable[Choice]) -> None:
    if all(text != choice_text(definition, each) for each, _ in offered):
        raise SettingError(definition.key, "Chosen value is not a valid option")


def _validate(definition: SettingDefinition, native: object, text: str) -> None:
    for validator in definition.validators:
        if any(validator is each for each in CONVERTERS):
            continue
        with Guard() as guard:
            validator(native)
        if guard.error is not None:
            # A chained exception would carry a protected value into logs and tracebacks.
            cause = None if definition.protected else guard.error
            reason = own_words(guard.error)
            if definition.protected and tells(reason, native, text):
                reason = ""
            raise SettingError(definition.key, reason or NOT_VALID) from cause
