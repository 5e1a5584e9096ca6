"""What a probe tells of a plugin, and what is remembered of it for that version.

Table ``probes``: one row a plugin, by slug, of its last probe. It has what :class:`ProbeReport` has
but for the print-out, and by ``distribution``, ``version`` and ``stamp`` the code that was probed.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from plugreg._support.guard import LONGEST_MESSAGE, cut, plain
from plugreg._support.per_process import PerProcess
from plugreg.exceptions import FormattedError, RecordCorruptError
from plugreg.records import EMPTY, PluginSpec
from plugreg.storage import Storage
from plugreg.storage.base import Record, parse_records, readable
from plugreg.storage.base import field as field_of

PROBES: Final = "probes"
"""The table of a storage that holds them."""

_LARGEST: Final = 2**63
"""No process has so many bytes of memory, nor runs for so many seconds."""


class ProbeOutcome(StrEnum):
    """How a child process ended in which a plugin was imported and constructed."""

    OK = "ok"
    """The plugin was constructed."""
    ERROR = "error"
    """It raised an exception, was refused, or could not be probed. It does a host no harm."""
    EXIT = "exit"
    """It ended the process, by ``sys.exit``, ``os._exit`` or from code that is not Python's."""
    SIGNAL = "signal"
    """A signal has ended the process, as after a fault in code that is not Python's."""
    TIMEOUT = "timeout"
    """It was not constructed in time, and was ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbedSetting:
    """What a plugin declares of one setting, as texts (behaviour.md, section 4.2).

    ``key`` is upper case, ``type`` one of the four words of section 4.4. ``default`` is the text as
    it would be stored; None where there is none, where only the plugin can tell it, and of each
    setting that is ``protected``. ``choices`` are (text, label) pairs, none where anything may be
    chosen or only the plugin can tell.
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
    """What a plugin would bring, or how it died, as a child process of its own has shown.

    ``version`` is the plugin's, None where it states none, ``at`` when it was probed (aware, UTC).
    ``outcome`` says how it ended, ``detail`` why in a sentence, which is empty for ``ok``.
    ``stdout`` and ``stderr`` are what was printed, with the middle left out where it is long; they
    are empty in a report that was remembered. ``seconds`` are those of importing and constructing,
    or where the process died all that it had; ``memory`` are the bytes by which its peak has grown
    meanwhile, None where that is not known. ``mixins`` maps keys to human names, ``settings`` and
    ``user_settings`` keys to what is declared, in the order declared. ``hooks`` are the names of
    those implemented, sorted, whether the host has them or not. ``warnings`` are sentences: what
    the ``warnings`` module was told, and faults that do not keep the plugin off.
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
    hooks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def ends_host(self) -> bool:
        """Whether the plugin would take its host down: anything but ``ok`` and ``error``."""
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


class ProbeRows:
    """Remembers the last report of each plugin.

    Readers take no lock and touch no storage: they see a mapping that each write replaces with one
    assignment. Every method that touches the storage may raise StorageError; then nothing has
    changed. The row of a plugin is deleted with its wish, by ``PluginRows.forget``.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        # Writers queue here until memory shows what they have stored; readers never do.
        self._writing = PerProcess(threading.Lock)
        self._kept: Mapping[str, tuple[_Code, ProbeReport]] = EMPTY
        self.damaged: tuple[RecordCorruptError, ...] = ()
        """An error for each row that was found damaged when all reports were read last."""

    def load(self) -> None:
        """Read all reports again."""
        with self._writing.get():
            kept, self.damaged = parse_records(PROBES, self._storage.read(PROBES), _stored)
            # The same reports stay the same object, of which lists are made.
            if kept != self._kept:
                self._kept = MappingProxyType(kept)

    @property
    def kept(self) -> object:
        """An object that is another one once a report has come, changed or gone."""
        return self._kept

    def of(self, spec: PluginSpec) -> ProbeReport | None:
        """Return the last report of a plugin, None if it was of another version.

        Without a distribution the file's stamp counts too. What the host gives by reference has
        neither: the last report of it stands.
        """
        code, report = self._kept.get(spec.slug, (None, None))
        return report if code == _code_of(spec) else None

    def put(self, spec: PluginSpec, report: ProbeReport) -> None:
        """Remember a report of a plugin in place of the one before, without the print-out.

        Raises RecordCorruptError where the row of the one before is damaged.
        """
        code = _code_of(spec)
        row = {**as_record(report), **dict(zip(_CODE, code, strict=True))}
        with self._writing.get():
            with self._storage.transaction() as transaction:
                before = transaction.get(PROBES, spec.slug)
                if before is not None:
                    with readable(PROBES, spec.slug):
                        _stored(spec.slug, before)
                transaction.put(PROBES, spec.slug, row)
            kept = (code, report_from(spec.slug, row))
            self._kept = MappingProxyType({**self._kept, spec.slug: kept})

    def forget(self, slug: str) -> None:
        """Drop the report of one plugin, whose row was deleted, from memory."""
        with self._writing.get():
            kept = {each: report for each, report in self._kept.items() if each != slug}
            self._kept = MappingProxyType(kept)
            self.damaged = tuple(error for error in self.damaged if error.key != slug)


_Code = tuple[str | None, str | None, str]
_CODE: Final = ("distribution", "version", "stamp")
"""What tells the code of a plugin from that of another version."""


def version_of(spec: PluginSpec) -> str | None:
    """Return a plugin's version as it is known without an import."""
    return spec.version or spec.stated("VERSION")


def _code_of(spec: PluginSpec) -> _Code:
    # The stamp of a distribution is another one on each machine that shares the storage.
    return spec.distribution, version_of(spec), "" if spec.distribution else spec.stamp


def _stored(slug: str, row: Record) -> tuple[_Code, ProbeReport]:
    return _code_in(row), report_from(slug, row)


def _code_in(row: Record) -> _Code:
    distribution: str | None = field_of(row, "distribution", str, type(None))
    version: str | None = field_of(row, "version", str, type(None))
    stamp: str = field_of(row, "stamp", str)
    return distribution, version, stamp


def as_record(report: ProbeReport) -> Record:
    """Return a report as JSON values, without its slug and the print-out."""
    row = asdict(report)
    for name in ("slug", "stdout", "stderr"):
        del row[name]
    for name in ("settings", "user_settings"):
        row[name] = [
            {**each, "choices": [list(pair) for pair in each["choices"]]}
            for each in row[name].values()
        ]
    return {
        **row,
        "outcome": str(report.outcome),
        "at": report.at.isoformat(),
        "hooks": list(report.hooks),
        "warnings": list(report.warnings),
    }


def report_from(slug: str, row: Record) -> ProbeReport:
    """Return the report that :func:`as_record` has made a record of.

    Nothing in ``row`` is trusted. Raises KeyError, TypeError and ValueError for what is none.
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
        detail=_text(field_of(row, "detail", str)),
        seconds=float(seconds),
        memory=memory,
        mixins={_text(key): _text(name) for key, name in mixins.items()},
        settings=_settings(field_of(row, "settings", list)),
        user_settings=_settings(field_of(row, "user_settings", list)),
        hooks=_texts(field_of(row, "hooks", list)),
        warnings=_texts(field_of(row, "warnings", list)),
    )


def _settings(rows: list[Any]) -> dict[str, ProbedSetting]:
    found = [_setting(row) for row in rows]
    return {each.key: each for each in found}


def _setting(row: Any) -> ProbedSetting:
    if type(row) is not dict:
        raise TypeError("a setting is no object")
    default = field_of(row, "default", str, type(None))
    return ProbedSetting(
        key=_text(row["key"]),
        name=_text(row["name"]),
        description=_text(row["description"]),
        units=_text(row["units"]),
        type=_text(row["type"]),
        default=None if default is None else _text(default),
        choices=tuple((_text(value), _text(label)) for value, label in row["choices"]),
        required=field_of(row, "required", bool),
        protected=field_of(row, "protected", bool),
        hidden=field_of(row, "hidden", bool),
    )


def _texts(given: list[Any]) -> tuple[str, ...]:
    return tuple(map(_text, given))


def _text(given: Any) -> str:
    """Return a text that can be stored and shown. Raises TypeError for anything else."""
    if type(given) is not str:
        raise TypeError(f"{type(given).__name__} in the place of a text")
    return cut(plain(given), LONGEST_MESSAGE)
