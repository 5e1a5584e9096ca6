"""Values of mixins' methods and attributes as data: what JSON holds, and plugreg's own values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from plugreg._support.guard import plain
from plugreg.exceptions import ValueNotSentError
from plugreg.records import LoadReport

_KIND: Final = "$plugreg"
"""The key of an object that stands for a value of plugreg's."""

MOST_ITEMS: Final = 10_000
"""How many values of an iterator are sent: it may have no end."""


def pack_call(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
    """Return the bytes of a call. Raises ValueNotSentError, with the place of the argument."""
    given = [to_data(name, str(place), value) for place, value in enumerate(args, start=1)]
    named = {key: to_data(name, key, value) for key, value in kwargs.items()}
    return json.dumps([given, named]).encode()


def unpack_call(data: bytes) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of a call."""
    args, kwargs = json.loads(data)
    return [from_data(value) for value in args], {k: from_data(v) for k, v in kwargs.items()}


def pack_value(name: str, value: Any) -> bytes:
    """Return the bytes of a result. Raises ValueNotSentError."""
    return json.dumps(to_data(name, "result", value)).encode()


def unpack_value(data: bytes) -> Any:
    """Return a result."""
    return from_data(json.loads(data))


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
    if isinstance(value, Mapping):
        names = [*value]
        if all(isinstance(key, str) for key in names):
            return {plain(key): to_data(name, argument, value[key]) for key in names}
    elif isinstance(value, (list, tuple, set, frozenset, Iterator)):
        items = islice(value, MOST_ITEMS) if isinstance(value, Iterator) else value
        return [to_data(name, argument, item) for item in items]
    known = _known_to_data(name, argument, value)
    if known is not None:
        return known
    raise ValueNotSentError(name, argument, kind.__qualname__, "expected what JSON holds")


def from_data(value: Any) -> Any:
    """Return the value of data."""
    if type(value) is list:
        return [from_data(item) for item in value]
    if type(value) is dict:
        if _KIND in value:
            return _known_from_data(value)
        return {key: from_data(item) for key, item in value.items()}
    return value


def _known_to_data(name: str, argument: str, value: Any) -> dict[str, Any] | None:
    from plugreg.mixins.ui import UIRequest
    from plugreg.settings.view import SettingChange

    kind = type(value)
    if kind is UIRequest:
        fields = {"feature": value.feature, "params": value.params, "actor": value.actor}
    elif kind is SettingChange:
        fields = value._asdict()
    elif kind.__name__ == "Actor" and kind.__module__ == "plugreg.api.access":
        names = ("id", "is_authenticated", "is_staff", "is_superuser", "scopes")
        fields = {field: getattr(value, field) for field in names}
    else:
        return None
    data = {key: to_data(name, argument, item) for key, item in fields.items()}
    return {_KIND: kind.__name__, **data}


def _known_from_data(data: Mapping[str, Any]) -> Any:
    fields = {key: from_data(item) for key, item in data.items() if key != _KIND}
    if data[_KIND] == "UIRequest":
        from plugreg.mixins.ui import UIRequest

        return UIRequest(**fields)
    if data[_KIND] == "SettingChange":
        from plugreg.settings.view import SettingChange

        return SettingChange(**fields)
    from plugreg.api.access import Actor

    scopes = fields["scopes"]
    return Actor(**{**fields, "scopes": None if scopes is None else frozenset(scopes)})


def report_to_data(report: LoadReport) -> Any:
    """Return a report that can be pickled."""
    from plugreg._support.frozen import replace

    return replace(report, states=dict(report.states))
