"""Exceptions and failures on their way from the plugin's process to the host, as data."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping
from typing import Any, Final

import plugreg.exceptions
from plugreg._support.guard import LONGEST_MESSAGE, Explanation, Guard, cut, explain, plain
from plugreg.exceptions import FormattedError, NotReadyYet, PluginRaisedError
from plugreg.records import PluginFailure, Stage

_LONGEST_TRACEBACK: Final = 50_000

_STRINGS: Final = ("message", "subject", "exception_type", "traceback", "place")
"""Fields of a failure record."""

_REFUSAL: Final = ("plugreg.mixins.validation", "ValidationFault")
"""Module and name of the exception that is an answer."""


def error_to_data(error: BaseException) -> dict[str, Any]:
    """Return an exception in strings, and the fields of those that plugreg knows."""
    data: dict[str, Any] = explain(error)._asdict()
    kind = type(error)
    with Guard():
        if (kind.__module__, kind.__name__) == _REFUSAL:
            data["fields"] = {"message": error.message}  # type: ignore[attr-defined]
        elif kind is NotReadyYet:
            fields = {"reason": error.reason, "retry_after": error.retry_after}  # type: ignore[attr-defined]
            data["fields"] = fields
        elif issubclass(kind, FormattedError) and kind.__module__ == plugreg.exceptions.__name__:
            data["fields"] = error.fields  # type: ignore[attr-defined]
        elif kind.__module__ == "builtins" and len(error.args) == 1:
            data["fields"] = {"text": plain(str.__str__(error.args[0]))}
    return data


def error_from_data(slug: str, data: Mapping[str, Any]) -> Exception:
    """Return the exception that the host raises instead.

    It is of the same class where that is plugreg's or Python's own, and else a PluginRaisedError.
    Its failure record has the traceback of the plugin's process. Raises for damaged data.
    """
    explanation = Explanation(**{name: _plain(name, data[name]) for name in Explanation._fields})
    error = _known_error(explanation, data.get("fields"))
    if error is None:
        error = PluginRaisedError(slug, explanation.exception_type, explanation.message)
    vars(error)["_plugreg_explanation"] = explanation
    return error


def _known_error(explanation: Explanation, fields: Any) -> Exception | None:
    module, _, name = explanation.exception_type.rpartition(".")
    if not isinstance(fields, dict):
        fields = {}
    with Guard():
        if (module, name) == _REFUSAL:
            from plugreg.mixins.validation import ValidationFault

            return ValidationFault(fields["message"])
        if module == plugreg.exceptions.__name__:
            kind = getattr(plugreg.exceptions, name)
            if issubclass(kind, (FormattedError, NotReadyYet)):
                known: Exception = kind(**fields)
                return known
        kind = getattr(builtins, name, None) if not module else None
        # A BaseException such as KeyboardInterrupt would end the host.
        if isinstance(kind, type) and issubclass(kind, Exception):
            built: Exception = kind(*[plain(text) for text in fields.values()])
            return built
    return None


def failure_to_data(failure: PluginFailure) -> dict[str, Any]:
    """Return a failure record as data."""
    return {name: getattr(failure, name) for name in (*_STRINGS, "stage", "retry_after")}


def failures_from_data(slug: str, rows: Iterable[Mapping[str, Any]]) -> tuple[PluginFailure, ...]:
    """Return failure records of a plugin. Raises for damaged data."""
    return tuple(
        PluginFailure(
            stage=Stage(row["stage"]),
            slug=slug,
            retry_after=None if row["retry_after"] is None else float(row["retry_after"]),
            **_strings(row),
        )
        for row in rows
    )


def _strings(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(name, row[name]) for name in _STRINGS if row[name] is not None}


def _plain(name: str, text: str) -> str:
    return cut(plain(text), _LONGEST_TRACEBACK if name == "traceback" else LONGEST_MESSAGE)
