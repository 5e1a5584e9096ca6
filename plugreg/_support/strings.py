"""Questions about values and texts that are to be stored, whatever the setting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MappingView, Sequence, Set
from typing import Final

from plugreg._support.guard import Guard, safe_repr, safe_str
from plugreg._support.names import has_control_characters
from plugreg.exceptions import SettingError

MAX_VALUE_LENGTH: Final = 2000
"""The longest value of a setting, in characters of its text, whatever its type."""

_CONTAINERS: Final = (bytes, bytearray, memoryview, Sequence, Set, Mapping, MappingView, Iterator)

CONTROL_CHARACTERS: Final = (
    "Value must not contain control characters, but for tab and newline, or surrogates"
)
"""What is said of a text that has them."""

_PIECE: Final = 4
"""How many characters on end tell something of a secret."""


def is_scalar(kind: type) -> bool:
    """Tell whether ``str()`` of such objects is what was meant, as it is not of a list."""
    if issubclass(kind, (bool, int, float, str)):
        return True
    # A text of its own is what decimals, dates, UUIDs and lazy translations have.
    return kind.__str__ is not object.__str__ and not issubclass(kind, _CONTAINERS)


def check_text(key: str, text: str, strings: Iterable[str]) -> None:
    """Raise SettingError for a text of setting ``key`` that cannot be stored.

    ``strings`` are all that the text holds before it was quoted, at least the text itself.
    """
    if any(map(has_control_characters, strings)):
        raise SettingError(key, CONTROL_CHARACTERS)
    if len(text) > MAX_VALUE_LENGTH:
        raise SettingError(
            key,
            f"Ensure this value has at most {MAX_VALUE_LENGTH} characters (it has {len(text)}).",
        )


def own_words(error: BaseException) -> str:
    """Return the words of a SettingError or ValueError, which are meant to be shown, else ``""``.

    Raises nothing, whatever the error's methods do.
    """
    with Guard():
        # isinstance() would ask the error for its __class__, which may do anything.
        if issubclass(type(error), SettingError):
            return str.__str__(error.reason)  # type: ignore[attr-defined]
        if issubclass(type(error), ValueError):
            return str.__str__(str(error))
    return ""


def tells(reason: str, native: object, text: str) -> bool:
    """Tell whether a reason repeats a value or four characters on end of it, in any case.

    ``text`` is the text of the value ``native``; either may be what the reason quotes.
    """
    reason = reason.casefold()
    for form in (text, repr(text)[1:-1], safe_str(native), safe_repr(native)):
        shown = form.strip().casefold()
        starts = range(max(1, len(shown) - _PIECE + 1))
        pieces = {shown[at : at + _PIECE].strip() for at in starts}
        if any(piece in reason for piece in pieces - {""}):
            return True
    return False
