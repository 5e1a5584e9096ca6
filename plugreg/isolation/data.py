"""Values of mixins' methods and attributes as data: JSON values, and plugreg's own values.

plugreg's own values are pickled, and only the plugin's process reads those.
"""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from plugreg._support.guard import plain
from plugreg.exceptions import ValueNotSentError
from plugreg.isolation.frames import LARGEST

_PICKLED: Final = "$plugreg"
"""The key of an object that stands for a value of plugreg's."""

_OWN: Final = frozenset(
    {
        ("plugreg.mixins.ui", "UIRequest"),
        ("plugreg.settings.view", "SettingChange"),
        ("plugreg.api.access", "Actor"),
    }
)
"""Module and name of the classes of such values."""

RESULT: Final = "result"
"""The name instead of an argument's in an error about a result."""

REMEDY: Final = (
    "annotate the hook's specification, or trust the plugin with Isolated(codec='pickle')"
)

LARGEST_VALUE: Final = LARGEST - 1024
"""The most bytes of a call's values; the rest of a frame is for its first line."""

MOST_ITEMS: Final = 10_000
"""How many values of an iterator are sent: it may have no end."""


def to_data(name: str, argument: str, value: Any) -> Any:
    """Return a value as JSON holds it; tuples and iterators become lists.

    Args:
        name: The method, for the error.
        argument: The argument, for the error.
        value: The value.

    Raises:
        ValueNotSentError: If any part of it is no data.
    """
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if isinstance(value, str):
        return plain(value)
    if (kind.__module__, kind.__name__) in _OWN:
        if kind.__name__ == "UIRequest":
            to_data(name, argument, [value.params, value.actor])
        return {_PICKLED: base64.b64encode(pickle.dumps(value)).decode()}
    if isinstance(value, Mapping):
        names = [*value]
        if all(isinstance(key, str) for key in names):
            return {plain(key): to_data(name, argument, value[key]) for key in names}
    elif isinstance(value, (list, tuple, set, frozenset, Iterator)):
        items = islice(value, MOST_ITEMS) if isinstance(value, Iterator) else value
        return [to_data(name, argument, item) for item in items]
    raise ValueNotSentError(
        name, argument, kind.__qualname__, f"expected what JSON holds; {REMEDY}"
    )


def dump(name: str, argument: str, data: Any, largest: int | None = None) -> bytes:
    """Return the bytes of data. Raises ValueNotSentError if there are too many."""
    found = json.dumps(data).encode()
    if len(found) > (largest or LARGEST_VALUE):
        raise too_large(name, argument, type(data).__qualname__, len(found), largest)
    return found


def too_large(
    name: str, argument: str, kind: str, size: int, largest: int | None = None
) -> ValueNotSentError:
    """Return the error about a value of too many bytes."""
    limit = f"{largest or LARGEST_VALUE:,} are sent; put it into a file, and send the path"
    reason = f"it has {size:,} bytes, and no more than {limit}"
    return ValueNotSentError(name, argument, kind, reason)


def unpickled(found: dict[str, Any]) -> Any:
    """Return plugreg's own value that an object of JSON stands for, or the object."""
    if _PICKLED in found:
        return pickle.loads(base64.b64decode(found[_PICKLED]))  # noqa: S301 - it is the host's
    return found
