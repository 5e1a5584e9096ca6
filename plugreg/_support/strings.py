"""Checks of strings to store and to show, whatever the setting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MappingView, Sequence, Set
from typing import Final

from plugreg._support.guard import Guard, safe_repr, safe_str
from plugreg._support.slugs import has_control_characters
from plugreg.exceptions import SettingError

MAX_VALUE_LENGTH: Final = 2000
"""The longest value of a setting, in characters of its string, whatever its type."""

_CONTAINERS: Final = (bytes, bytearray, memoryview, Sequence, Set, Mapping, MappingView, Iterator)

CONTROL_CHARACTERS: Final = (
    "Value must not contain control characters, but for tab and newline, or surrogates"
)
"""The fault of a string that has them."""

_PIECE: Final = 4
"""How many characters in a row reveal a part of a secret."""


def is_scalar(kind: type) -> bool:
    """Return whether ``str()`` of such objects is their value, as it is not of a list."""
    if issubclass(kind, (bool, int, float, str)):
        return True
    # Decimals, dates, UUIDs and lazy translations have a ``__str__`` of their own.
    return kind.__str__ is not object.__str__ and not issubclass(kind, _CONTAINERS)


def check_string(key: str, text: str, strings: Iterable[str]) -> None:
    """Raise SettingError if the string of a setting cannot be stored.

    *strings* are all strings in *text* before it was quoted, at least *text* itself.
    """
    if any(map(has_control_characters, strings)):
        raise SettingError(key, CONTROL_CHARACTERS)
    if len(text) > MAX_VALUE_LENGTH:
        raise SettingError(
            key,
            f"Ensure this value has at most {MAX_VALUE_LENGTH} characters (it has {len(text)}).",
        )


def own_message(error: BaseException) -> str:
    """Return the message of a SettingError or ValueError, which is fit to be shown, else ``""``.

    Raises nothing, whatever the error's methods do.
    """
    with Guard():
        # isinstance() would ask the error for its __class__, which may do anything.
        if issubclass(type(error), SettingError):
            return str.__str__(error.reason)  # type: ignore[attr-defined]
        if issubclass(type(error), ValueError):
            return str.__str__(str(error))
    return ""


def reveals(reason: str, native: object, text: str) -> bool:
    """Return whether a reason quotes a value or four characters in a row of it, in any case.

    *text* is the string of the value *native*; the reason may quote either.
    """
    reason = reason.casefold()
    for form in (text, repr(text)[1:-1], safe_str(native), safe_repr(native)):
        shown = form.strip().casefold()
        starts = range(max(1, len(shown) - _PIECE + 1))
        pieces = {shown[at : at + _PIECE].strip() for at in starts}
        if any(piece in reason for piece in pieces - {""}):
            return True
    return False
