"""Reports of probes, and their records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from plugreg._support.guard import LONGEST_MESSAGE, cut, plain
from plugreg.exceptions import FormattedError
from plugreg.storage.base import Record
from plugreg.storage.base import field as field_of

_LARGEST: Final = 2**63
"""No process has so many bytes of memory, nor runs for so many seconds."""
_STRINGS: Final = ("key", "name", "description", "units", "type")
"""The fields of a setting that are always strings."""


class ProbeOutcome(StrEnum):
    """How a child process ended in which a plugin was imported and constructed."""

    OK = "ok"
    """The plugin was constructed."""
    ERROR = "error"
    """It raised an exception, was refused, or could not be probed. It does a host no harm."""
    EXIT = "exit"
    """It ended the process, by ``sys.exit``, ``os._exit`` or in code that is not Python."""
    SIGNAL = "signal"
    """A signal ended the process, as after a fault in code that is not Python."""
    TIMEOUT = "timeout"
    """It was not constructed in time, and was ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbedSetting:
    """A setting as the plugin declares it, in strings.

    Attributes:
        key: Upper case.
        name: For people.
        description: For people.
        units: For people, empty where there is none.
        type: ``boolean``, ``integer``, ``string`` or ``related field``.
        default: The string that would be stored. None if there is no default, if only the plugin
            can compute it, and for each protected setting.
        choices: Pairs of value and label. Empty if any value may be chosen, or only the plugin
            can compute them.
        required: Whether the plugin needs a value.
        protected: Whether the value is a secret.
        hidden: Whether the setting is left out of forms.
    """

    key: str
    name: str
    description: str
    units: str
    type: str
    default: str | None
    choices: tuple[tuple[str, str], ...]
    required: bool
    protected: bool
    hidden: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeReport:
    """The contents of a plugin, or how it ended the child process that loaded it.

    Attributes:
        slug: The plugin.
        version: Its version, None where it states none.
        at: When it was probed (aware, UTC).
        outcome: How the process ended.
        detail: The cause in a sentence, empty for ``ok``.
        stdout: Its output, with the middle left out where that is long. Not stored.
        stderr: Its error output, likewise.
        seconds: The time of import and construction, or of the process where it died.
        memory: Bytes by which the peak memory grew meanwhile, None where that is unknown.
        mixins: Human names by key.
        settings: Settings by key, in the order declared.
        user_settings: Settings of users, likewise.
        settings_version: Version of the declared settings.
        hooks: Sorted names of the hooks that it implements, whether the host has them or not.
        warnings: Sentences: Python warnings, and faults that do not keep the plugin off.
    """

    slug: str
    version: str | None
    at: datetime
    outcome: ProbeOutcome
    detail: str = ""
    stdout: str = field(default="", repr=False)
    stderr: str = field(default="", repr=False)
    seconds: float = 0.0
    memory: int | None = None
    mixins: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, ProbedSetting] = field(default_factory=dict)
    user_settings: Mapping[str, ProbedSetting] = field(default_factory=dict)
    settings_version: int = 1
    hooks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def ends_host(self) -> bool:
        """Whether the plugin would end its host's process: all but ``ok`` and ``error``."""
        return self.outcome not in (ProbeOutcome.OK, ProbeOutcome.ERROR)


class ProbeFailedError(FormattedError):
    """Nothing was stored, because a probe showed that a plugin would end the host's process.

    Args:
        report: The report on the plugin to activate, or on a plugin that depends on it and would
            have been activated with it.
    """

    report: ProbeReport
    template = (
        "plugin {report.slug!r} was not activated: its probe ended with "
        "'{report.outcome}' ({report.detail}); repair it, look at the report's "
        "stdout and stderr, or activate it without probe=True"
    )


class ProbeUnavailableError(FormattedError):
    """No child process could be started, so that nothing was learnt about the plugin.

    Args:
        slug: The plugin.
        reason: The message of the system.
    """

    slug: str
    reason: str
    template = (
        "plugin {slug!r} cannot be probed: {reason}; a probe starts "
        "sys.executable, which must be a Python that has what this process has"
    )


def as_record(report: ProbeReport) -> Record:
    """Return a report as JSON values, without its slug and the streams."""
    row = asdict(report) | {"at": report.at.isoformat()}
    for name in ("slug", "stdout", "stderr"):
        del row[name]
    for name in ("settings", "user_settings"):
        row[name] = list(row[name].values())
    # JSON has neither tuples nor enumerations.
    record: Record = json.loads(json.dumps(row))
    return record


def report_from(slug: str, row: Record) -> ProbeReport:
    """Return the report that :func:`as_record` made a record of.

    Nothing in *row* is trusted. Raises KeyError, TypeError and ValueError for other rows.
    """
    seconds = field_of(row, "seconds", float, int)
    memory = field_of(row, "memory", int, type(None))
    if not (0 <= seconds < _LARGEST and 0 <= (memory or 0) < _LARGEST):
        raise ValueError("seconds and memory must be finite numbers from 0 on")
    mixins = field_of(row, "mixins", dict)
    return ProbeReport(
        slug=slug,
        version=field_of(row, "version", str, type(None)),
        at=datetime.fromisoformat(field_of(row, "at", str)).astimezone(UTC),
        outcome=ProbeOutcome(field_of(row, "outcome", str)),
        detail=_string(row["detail"]),
        seconds=float(seconds),
        memory=memory,
        mixins={_string(key): _string(name) for key, name in mixins.items()},
        settings=_settings(row, "settings"),
        user_settings=_settings(row, "user_settings"),
        # The answer on a plugin without settings does not have it.
        settings_version=field_of({"settings_version": 1, **row}, "settings_version", int),
        hooks=tuple(map(_string, field_of(row, "hooks", list))),
        warnings=tuple(map(_string, field_of(row, "warnings", list))),
    )


def _settings(row: Record, name: str) -> dict[str, ProbedSetting]:
    settings = map(_setting, field_of(row, name, list))
    return {setting.key: setting for setting in settings}


def _setting(row: Any) -> ProbedSetting:
    if type(row) is not dict:
        raise TypeError("a setting is no object")
    values: dict[str, Any] = {name: _string(row[name]) for name in _STRINGS}
    values |= {name: field_of(row, name, bool) for name in ("required", "protected", "hidden")}
    return ProbedSetting(
        **values,
        default=None if row["default"] is None else _string(row["default"]),
        choices=tuple((_string(value), _string(label)) for value, label in row["choices"]),
    )


def _string(given: Any) -> str:
    """Return a string that can be stored and shown. Raises TypeError for anything else."""
    if type(given) is not str:
        raise TypeError(f"{type(given).__name__} in the place of a string")
    return cut(plain(given), LONGEST_MESSAGE)
