"""Rows of the last probe of each plugin, valid for the version that was probed.

Table ``probes``: by slug, one row with the fields of a `ProbeReport` but for its streams, and with
``distribution``, ``version`` and ``stamp`` of the code that was probed.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from plugreg._support import PerProcess
from plugreg.records import EMPTY, PluginSpec
from plugreg.storage.base import Record, field, parse_records, readable

if TYPE_CHECKING:
    from plugreg._state.probe_report import ProbeReport
    from plugreg.exceptions import RecordCorruptError
    from plugreg.storage import Storage

PROBES: Final = "probes"
"""The name of the table."""


class ProbeRows:
    """Stores the last report of each plugin.

    Readers take no lock and no storage: they see a mapping that each write replaces with an
    assignment. Methods that use the storage raise StorageError; then nothing has changed. The row
    of a plugin is deleted with its plugin row, by ``PluginRows.forget``.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        # Writers queue here until memory shows their stored rows; readers never do.
        self._writing = PerProcess(threading.Lock)
        self._reports: Mapping[str, tuple[_Code, ProbeReport]] = EMPTY
        self.damaged: tuple[RecordCorruptError, ...] = ()
        """An error for each row that was damaged when all reports were read last."""

    def load(self) -> None:
        """Read all reports again."""
        with self._writing.get():
            reports, self.damaged = parse_records(PROBES, self._storage.read(PROBES), _parse)
            # Equal reports stay the same object, by which others recognize them.
            if reports != self._reports:
                self._reports = MappingProxyType(reports)

    @property
    def mark(self) -> object:
        """An object that is replaced whenever a report was added, changed or deleted."""
        return self._reports

    def of(self, spec: PluginSpec) -> ProbeReport | None:
        """Return the last report of a plugin, None if another version was probed.

        Without a distribution the file's stamp counts, too. A plugin that the host gave by
        reference has neither: its last report stands.
        """
        code, report = self._reports.get(spec.slug, (None, None))
        return report if code == code_of(spec) else None

    def put(self, spec: PluginSpec, report: ProbeReport) -> None:
        """Store a report in place of the plugin's last report, without its streams.

        Raises RecordCorruptError if the row of the last report is damaged.
        """
        from plugreg._state.probe_report import as_record

        row = as_record(report) | code_of(spec)
        with self._writing.get():
            with self._storage.transaction() as transaction:
                before = transaction.get(PROBES, spec.slug)
                if before is not None:
                    with readable(PROBES, spec.slug):
                        _parse(spec.slug, before)
                transaction.put(PROBES, spec.slug, row)
            self._reports = MappingProxyType({**self._reports, spec.slug: _parse(spec.slug, row)})

    def forget(self, slug: str) -> None:
        """Drop the report of a plugin, whose row was deleted, from memory."""
        with self._writing.get():
            reports = {name: report for name, report in self._reports.items() if name != slug}
            self._reports = MappingProxyType(reports)
            self.damaged = tuple(error for error in self.damaged if error.key != slug)


_Code = dict[str, str | None]
"""Distribution, version and stamp, which differ between versions of a plugin."""


def version_of(spec: PluginSpec) -> str | None:
    """Return a plugin's version as far as it is known without an import."""
    return spec.version or spec.stated("VERSION")


def code_of(spec: PluginSpec) -> _Code:
    """Return an identifier of a plugin's version, without an import."""
    # The stamp of a distribution differs between machines that share the storage.
    stamp = "" if spec.distribution else spec.stamp
    return {"distribution": spec.distribution, "version": version_of(spec), "stamp": stamp}


def _parse(slug: str, row: Record) -> tuple[_Code, ProbeReport]:
    from plugreg._state.probe_report import report_from

    code = {name: field(row, name, str, type(None)) for name in ("distribution", "version")}
    return code | {"stamp": field(row, "stamp", str)}, report_from(slug, row)
