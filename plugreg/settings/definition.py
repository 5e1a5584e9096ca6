"""The definition of a setting, and the conversion of a value to its string and back.

No store, override or mask is known here: only a definition, a value and a string.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeAlias

from plugreg._support.frozen import Frozen, NamedTuple
from plugreg._support.guard import Guard, explain, safe_str
from plugreg._support.redact import strings_in
from plugreg._support.strings import check_string, is_scalar, own_message, reveals
from plugreg.exceptions import SettingError
from plugreg.settings.references import (
    NO_REFERENCE,
    copied,
    has_reference,
    reads_as_reference,
)
from plugreg.settings.types import (
    Misfit,
    Misread,
    Typed,
    compact,
    is_sealed,
    is_secret_text,
    unsealed,
)

MOST_CHOICES: Final = 100_000
"""The most choices of a setting."""


class LazyText(Protocol):
    """An object whose ``str()`` may differ each time, as that of a lazy translation."""

    def __str__(self) -> str: ...


Validator: TypeAlias = Callable[[Any], object]
"""``bool``, ``int`` or ``float``, which convert, or a function that refuses by ValueError."""

Converter: TypeAlias = type[bool] | type[int] | type[float]
"""A type of native values that needs no pydantic."""

CONVERTERS: Final[tuple[Converter, ...]] = (bool, int, float)

Choice: TypeAlias = tuple[Any, "str | LazyText"]
"""A value that may be chosen, and its label."""


class SettingDefinition(Frozen):
    """Declaration of a setting of a plugin.

    Nothing is checked here; the definition is checked when the plugin is loaded. Names and other
    readable strings may be lazy translations: call ``str()`` on them. The repr shows no value,
    since the setting may be protected.

    Args:
        key: Upper-case key. It may be left out where the key in SETTINGS says it.
        name: Label for people.
        description: Explanation for people.
        units: Unit of the value.
        default: Value, or callable without arguments that returns a value. None means no default.
        type: Any type that pydantic knows. Its values are stored as strings, or as JSON if they
            are neither string nor number. With neither value nor default a type other than
            ``str`` reads as None, anything else as ``""``. A SecretStr or SecretBytes is the
            string of a protected setting.
        validator: One, or a list, of ``bool``, ``int`` and ``float``, which convert as they do
            as *type*, and of functions that get the native value and refuse it by ValueError.
        choices: (value, label) pairs, or a callable that returns them. None allows any value.
        model: Model of a related record, as ``"app.model"``.
        model_filters: Filters for such records.
        hidden: Whether pages of settings leave the setting out.
        protected: Whether the value is never shown.
        required: Whether the setting must have a value.
        before_save: Called with a ``SettingChange`` before a write; it refuses by raising.
        after_save: Called with a ``SettingChange`` after a write.
        confirm: Whether a client asks for confirmation of a change.
        confirm_text: Question of that confirmation.
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
    """The pydantic side of ``type``; None where the value is a string or has a converter."""
    converter: Converter | None = field(default=None, init=False, repr=False, compare=False)
    """The type of the native value if it is bool, int or float, else None."""

    def __post_init__(self) -> None:
        # Identity, because a validator is a plugin's object and its __eq__ may do anything.
        given = {id(self.type), *map(id, self.validators)}
        converter = next((kind for kind in CONVERTERS if id(kind) in given), None)
        object.__setattr__(self, "converter", converter)
        if is_secret_text(self.type):
            object.__setattr__(self, "protected", True)
        elif self.type is not None and not any(self.type is kind for kind in (*CONVERTERS, str)):
            object.__setattr__(self, "typed", Typed(self.type))

    @property
    def validators(self) -> tuple[Validator, ...]:
        """All validators in their order, converters included."""
        given: Any = () if self.validator is None else self.validator
        return tuple(given) if isinstance(given, (list, tuple)) else (given,)

    @property
    def wire_type(self) -> str:
        """``"boolean"``, ``"integer"``, ``"string"`` or ``"related field"``, for clients."""
        if self.converter in (bool, int):
            return "boolean" if self.converter is bool else "integer"
        kind = "string" if self.typed is None else self.typed.wire_type
        return "related field" if kind == "string" and self.model is not None else kind

    @property
    def has_default(self) -> bool:
        """Whether the plugin states a default. An empty string is a default, None is not."""
        return self.default is not None

    @property
    def unset(self) -> str | None:
        """The value without stored value and default: ``""``, or None by type."""
        is_text = self.type is None or self.type is str or is_secret_text(self.type)
        return "" if is_text else None


# -- writing and reading --------------------------------------------------------------------------

_TRUE: Final = frozenset({"1", "y", "yes", "t", "true", "ok", "on"})
_FALSE: Final = frozenset({"0", "n", "no", "f", "false", "off"})

_NOT_CONVERTED: Final = MappingProxyType(
    {
        bool: "Value must be a boolean value",
        int: "Provided value is not a valid integer",
        float: "Provided value is not a valid float",
    }
)
_REQUIRED: Final = "This setting is required"
NOT_VALID: Final = "Value does not pass validation checks"


def as_text(value: object) -> str:
    """Return the string of a plain native value: None is ``""``, True is ``"True"``.

    Args:
        value: The value.
    """
    return "" if value is None else str(value)


class Checked(NamedTuple):
    """A value that its definition accepts: native, and the string or JSON to store."""

    native: object
    text: str
    is_json: bool = False


def check(
    definition: SettingDefinition, value: object, *, plugin: Any = None, user: Any = None
) -> Checked:
    """Check a value against the whole definition.

    None and an empty string unset the setting; so do blanks, unless the value is a string itself.
    Other strings are never altered. The mask has no meaning here.

    Args:
        definition: Definition of the setting.
        value: The value to check.
        plugin: Passed on to callable choices.
        user: Passed on to callable choices.

    Returns:
        The native value and the string to store. An empty string means that nothing is set.

    Raises:
        SettingError: If the value is refused. Exceptions of callable choices pass through.
    """
    given = _as_given(definition, value)
    native: object = None
    text = ""
    is_blank = type(given) is str and not given.strip()
    if not is_blank or (given and not definition.required and _takes_blanks(definition)):
        native = native_of(definition, given)
        text = text_of(definition, native)
    if not text:
        if definition.required:
            raise SettingError(definition.key, _REQUIRED)
        return Checked(definition.unset, "")
    kept, is_json = text, False
    if definition.typed is not None:
        kept, is_json = _typed_call(definition, definition.typed.kept_as, native, text)
    _validate(definition, native, text)
    if definition.choices is not None:
        _choose(definition, text, choices_of(definition, plugin=plugin, user=user))
    return Checked(native, kept, is_json)


def check_given(
    definition: SettingDefinition, value: object, *, plugin: Any = None, user: Any = None
) -> Checked:
    """Check a value, which may be or hold references; these are stored as they are.

    Args:
        definition: Definition of the setting.
        value: The value to check.
        plugin: Passed on to callable choices.
        user: Passed on to callable choices.

    Returns:
        As from :func:`check`; a value with references has no native value yet.

    Raises:
        SettingError: If the value is refused, or a string that would read as a reference.
    """
    reference = None
    # A dict or a list may be of a subclass, whose methods do anything.
    with Guard() as guard:
        if has_reference(value):
            reference = json.dumps(copied(value), allow_nan=False)
    if type(guard.error) in (TypeError, ValueError):
        raise SettingError(definition.key, safe_str(guard.error))
    if guard.error is not None:
        kind = explain(guard.error).exception_type
        raise SettingError(definition.key, f"Value cannot be read ({kind}); give plain dicts")
    if reference is not None:
        check_string(definition.key, reference, [reference])
        return Checked(None, reference, is_json=True)
    checked = check(definition, value, plugin=plugin, user=user)
    if definition.typed is not None and reads_as_reference(checked.text):
        raise SettingError(definition.key, NO_REFERENCE)
    return checked


def native_of(definition: SettingDefinition, given: object) -> object:
    """Return the native value of an object.

    Args:
        definition: Definition of the setting.
        given: The value as it was given, a stored string, or the content of stored JSON.

    Raises:
        SettingError: If it has none.
    """
    # A string was checked when it was stored.
    if given is not None and type(given) is not str:
        given = _as_given(definition, given)
    if definition.typed is not None:
        return _typed_call(definition, definition.typed.value_from, given)
    kind, text = definition.converter, as_text(given)
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
    """Return the string of a native value, as it is stored and shown to clients.

    Args:
        definition: Definition of the setting.
        native: The native value.

    Raises:
        SettingError: If it is too long, has control characters, or does not fit into JSON.
    """
    if definition.typed is None or native is None or (type(native) is str and not native):
        text = as_text(native)
        strings = [text]
    else:
        value = _typed_call(definition, definition.typed.json_of, native)
        text = compact(value) if isinstance(value, (dict, list)) else as_text(value)
        strings = list(strings_in(value))
    check_string(definition.key, text, strings)
    return text


def fault_of(
    definition: SettingDefinition, given: object, *, was_checked: bool = False
) -> str | None:
    """Return why a stored value no longer fits the definition, or None.

    Callable choices are not called. Exceptions of the plugin's code do not pass. The reason shows
    no protected value.

    Args:
        definition: Definition of the setting.
        given: A stored string, or the content of stored JSON.
        was_checked: Whether validators accepted the value when it was written, so that they are
            not called.
    """
    with Guard() as guard:
        native = native_of(definition, given)
        text = text_of(definition, native)
        if not was_checked:
            _validate(definition, native, text)
        if definition.choices is not None and not callable(definition.choices):
            _choose(definition, text, choices_of(definition))
        return None
    assert guard.error is not None
    return own_message(guard.error) or NOT_VALID


def default_of(definition: SettingDefinition) -> object:
    """Return the native default, or the value of an unset setting without a default.

    Without type and converter it is the plugin's object itself. A callable is called each time;
    its exceptions pass through.

    Args:
        definition: Definition of the setting.

    Raises:
        SettingError: If the default does not convert.
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
    """Return the (value, label) pairs that are allowed; none means that any value is.

    A type that is a Literal or an Enum has choices of its own, unless the definition states some.
    A callable is called each time, with the keywords ``plugin`` and ``user`` if it accepts them;
    its exceptions pass through.

    Args:
        definition: Definition of the setting.
        plugin: Passed on to callable choices.
        user: Passed on to callable choices.

    Raises:
        SettingError: If callable choices return no pairs, or more than ``MOST_CHOICES``.
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
    """Return the string that is stored for a choice.

    So 1, 1.0 and "1" may be equal. A choice that is no value of the setting is shown by its
    ``str()``, and cannot be chosen.

    Args:
        definition: Definition of the setting.
        value: The value of the choice.
    """
    try:
        return text_of(definition, native_of(definition, value))
    except SettingError:
        return safe_str(value)


def as_pairs(value: object) -> tuple[Choice, ...]:
    """Return (value, label) pairs as tuples.

    Args:
        value: An iterable of pairs.

    Raises:
        TypeError: If it is none, or has more than ``MOST_CHOICES``.
    """
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError
    # A generator may have no end.
    pairs = tuple(islice(value, MOST_CHOICES + 1))
    if len(pairs) <= MOST_CHOICES and all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs
    ):
        return tuple((chosen, label) for chosen, label in pairs)
    raise TypeError


def call_with_accepted(function: Callable[..., Any], *args: Any, **offered: Any) -> Any:
    """Call a function with *args* and the *offered* keywords that it accepts.

    So a TypeError from within is never mistaken for a refusal of a keyword. A callable without a
    signature, as some builtins, gets no keyword.

    Args:
        function: The function.
        *args: Positional arguments.
        **offered: Keyword arguments that the function may lack.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return function(*args)
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        by_keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        names = {parameter.name for parameter in parameters if parameter.kind in by_keyword}
        offered = {name: value for name, value in offered.items() if name in names}
    return function(*args, **offered)


def _as_given(definition: SettingDefinition, value: object) -> object:
    """Return a plain string to convert, or the value as it is for pydantic."""
    if value is None:
        return ""
    if definition.typed is not None and not issubclass(type(value), str):
        return value
    text = None
    with Guard():
        if definition.protected:
            value = unsealed(value)
        if is_scalar(type(value)) and not is_sealed(type(value)):
            # The result of str() may be of a subclass, whose methods do anything.
            text = str.__str__(str(value))
    if text is None:
        raise SettingError(
            definition.key,
            "Value must be a string, a number or a boolean value; give it as a string",
        )
    check_string(definition.key, text, [text])
    return text


def _takes_blanks(definition: SettingDefinition) -> bool:
    """Return whether blanks are a value, rather than none."""
    if definition.typed is None:
        return definition.converter is None
    with Guard() as guard:
        definition.typed.value_from("")
    return guard.error is None


def _typed_call(
    definition: SettingDefinition, function: Callable[..., Any], *arguments: object
) -> Any:
    """Call a method of ``definition.typed``; raise SettingError if it raises.

    The error carries no other exception, since those of pydantic hold the value.
    """
    with Guard() as guard:
        return function(*arguments)
    assert definition.typed is not None
    kind = type(guard.error)
    if kind is Misfit or (kind is Misread and not definition.protected):
        raise SettingError(definition.key, str(guard.error))
    raise SettingError(definition.key, f"Value must be {definition.typed.expected}")


def _choose(definition: SettingDefinition, text: str, offered: Iterable[Choice]) -> None:
    if all(text != choice_text(definition, choice) for choice, _ in offered):
        raise SettingError(definition.key, "Chosen value is not a valid option")


def _validate(definition: SettingDefinition, native: object, text: str) -> None:
    for validator in definition.validators:
        if any(validator is kind for kind in CONVERTERS):
            continue
        with Guard() as guard:
            validator(native)
        if guard.error is not None:
            # A chained exception would carry a protected value into logs and tracebacks.
            cause = None if definition.protected else guard.error
            reason = own_message(guard.error)
            if definition.protected and reveals(reason, native, text):
                reason = ""
            raise SettingError(definition.key, reason or NOT_VALID) from cause
