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
    explanation = Explanation(
        cut(plain(data["message"]), LONGEST_MESSAGE),
        cut(plain(data["exception_type"]), LONGEST_MESSAGE),
        cut(plain(data["traceback"]), _LONGEST_TRACEBACK),
        cut(plain(data["place"]), LONGEST_MESSAGE),
    )
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
    names = ("stage", "message", "subject", "exception_type", "traceback", "place", "retry_after")
    return {name: getattr(failure, name) for name in names}


def failures_from_data(slug: str, rows: Iterable[Mapping[str, Any]]) -> tuple[PluginFailure, ...]:
    """Return failure records of a plugin. Raises for damaged data."""
    return tuple(
        PluginFailure(
            stage=Stage(row["stage"]),
            slug=slug,
            message=cut(plain(row["message"]), LONGEST_MESSAGE),
            subject=cut(plain(row["subject"]), LONGEST_MESSAGE),
            exception_type=_short(row["exception_type"]),
            traceback=cut(plain(row["traceback"]), _LONGEST_TRACEBACK),
            place=cut(plain(row["place"]), LONGEST_MESSAGE),
            retry_after=None if row["retry_after"] is None else float(row["retry_after"]),
        )
        for row in rows
    )


def _short(text: str | None) -> str | None:
    return None if text is None else cut(plain(text), LONGEST_MESSAGE)
