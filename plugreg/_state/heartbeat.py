"""Heartbeats: the status that each process stores, and other processes read.

Table ``processes``: by a random key, one row for each process that serves. Table ``failures``: by
the same key, the failures of a process; see :mod:`plugreg._state.failure_rows`. Their commits are
marked quiet, so that no other process reads values because of them.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import field as default
from datetime import UTC, datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from plugreg._state import failure_rows
from plugreg._state.asks import drop_outdated
from plugreg._support.frozen import Frozen, arguments
from plugreg._support.identity import identity_of, is_gone, own_identity
from plugreg._support.outages import Outage
from plugreg.exceptions import StorageError
from plugreg.records import ProcessFailure, ProcessRecord
from plugreg.storage.base import Record, field, parse_records
from plugreg.storage.clock import now
from plugreg.storage.quiet_commits import mark_quiet

if TYPE_CHECKING:
    from plugreg._state.ledger import FailureLedger
    from plugreg.storage import Storage, Transaction

_TABLE: Final = "processes"
_INTERVAL: Final = 30.0
"""Seconds after which an unchanged status is stored again."""
_BETWEEN_FAILURES: Final = 5.0
"""Seconds between two writes of failures."""
_MAX_AGE: Final = 180.0
"""Seconds without a heartbeat after which a process counts as gone."""


class ProcessStatus(Frozen):
    """The status of a process: see :class:`plugreg.records.ProcessRecord`."""

    generation: int
    active: tuple[str, ...]
    errors: int
    slow: Mapping[str, float] = default(default_factory=dict)


class Heartbeat:
    """Stores the row and the failures of this process, and reads those of the other processes.

    Only a process that serves has a row: the host named it, or it follows the other processes.
    Every process stores its failures: at the end of a change and at its own end. A serving
    process also stores them meanwhile, at most every 5 seconds, and only changes. A forked process
    has its own rows. A row that cannot be stored stops nothing: that is logged once, and the next
    change or heartbeat stores it.

    Args:
        storage: The storage that the processes share.
        name: The host's name for this process. Defaults to the name of its program.
        ledger: The failures of this process.
        silent: Whether to store nothing, ever.
        narrowed: Whether variables of its environment leave plugins out of this process.
    """

    def __init__(
        self,
        storage: Storage,
        name: str | None,
        ledger: FailureLedger,
        *,
        silent: bool = False,
        narrowed: bool = False,
    ) -> None:
        self._storage = storage
        self._name = name or PurePath(sys.argv[0] if sys.argv else "").name or "python"
        self._ledger = ledger
        self._silent = silent
        self._narrowed = narrowed
        self._is_serving = name is not None
        self._key: tuple[int, str] = (0, "")
        self._stored: ProcessStatus | None = None
        self._tried_at = -math.inf
        # The version of the ledger whose failures are stored, and when that was tried last.
        self._stored_version = (0, 0)
        self._has_failure_row = False
        self._failures_tried_at = -math.inf
        self._outage = Outage(
            "the heartbeat of this process cannot be stored, so other processes do not see it",
            "the heartbeat of this process is stored again",
        )
        # The plugins that this process serves, and since when by the clock of the store.
        self._serves: tuple[object, float] = (None, 0.0)

    @property
    def name(self) -> str:
        """The name of this process."""
        return self._name

    @property
    def is_serving(self) -> bool:
        """Whether this process serves, and stores heartbeats."""
        return self._is_serving and not self._silent

    def serve(self) -> bool:
        """Note that this process serves; return whether there is something to store."""
        self._is_serving = True
        self._own_key()
        if self._silent:
            return False
        return time.monotonic() - self._tried_at >= _INTERVAL or self._has_new_failures()

    def beat(self, status: ProcessStatus) -> None:
        """Store new or due data of this process: its status if it serves, and its failures.

        Drops the rows of processes that are gone. Raises nothing of the storage.
        """
        self._own_key()
        if self._silent:
            return
        tried_at = time.monotonic()
        has_status = self._is_serving and (
            status != self._stored or tried_at - self._tried_at >= _INTERVAL
        )
        has_failures = self._has_new_failures()
        if has_status or has_failures:
            self._store(status if has_status else None, with_failures=has_failures)

    def stop(self) -> None:
        """Delete the row of this process, if any, and store its last failures.

        Raises nothing of the storage.
        """
        key = self._own_key()
        if not self._silent and self._have_failures_changed():
            self._store(None, with_failures=True)
        if self._stored is None:
            return
        self._stored = None
        try:
            with self._storage.transaction() as transaction:
                if transaction.delete(_TABLE, key):
                    mark_quiet(self._storage, transaction)
        except StorageError as error:
            # Readers leave the row out once it is too old.
            self._outage.failed(error)

    def processes(self, status: ProcessStatus) -> tuple[ProcessRecord, ...]:
        """Return this process with *status*, then the other processes by name.

        Leaves out damaged rows, processes without a heartbeat for 3 minutes, and those of this
        machine that have ended. Writes nothing. Raises StorageError.
        """
        time_now = now(self._storage)
        own_key = self._own_key()
        rows = self._storage.read(_TABLE)
        found, _ = parse_records(_TABLE, rows, _record)
        others = [
            record
            for key, record in found.items()
            if key != own_key and _is_recent(record.seen.timestamp(), time_now)
            if is_gone(identity_of(rows[key])) is not True
        ]
        others.sort(key=lambda record: (record.name, record.host, record.pid))
        return (_record(own_key, self._row(status, time_now)), *others)

    def failures(self) -> tuple[ProcessFailure, ...]:
        """Return the failures of this process, then those that others have stored.

        Writes nothing. Raises StorageError.
        """
        identity, ledger = own_identity(), self._ledger
        own = (failure_rows.with_process(f, self._name, identity) for f in ledger.all())
        return (*own, *self.failures_of_others())

    def failures_of_others(self) -> tuple[ProcessFailure, ...]:
        """Return the failures that other processes have stored, the latest process first."""
        time_now = now(self._storage)
        found: list[ProcessFailure] = []
        rows = failure_rows.read(self._storage.read(failure_rows.FAILURES))
        seen, _ = parse_records(_TABLE, self._storage.read(_TABLE), _seen)
        for key, row in sorted(rows.items(), key=lambda item: -item[1].seen):
            if key != self._own_key():
                is_seen = key in seen and _is_recent(seen[key], time_now)
                gone = is_gone(row.identity)
                is_running = is_seen if gone is None else not gone
                found += [
                    failure_rows.with_process(f, row.name, row.identity, is_running=is_running)
                    for f in row.failures
                ]
        return tuple(found)

    # -- the parts ---------------------------------------------------------------------------

    def _has_new_failures(self) -> bool:
        is_due = time.monotonic() - self._failures_tried_at >= _BETWEEN_FAILURES
        return is_due and self._have_failures_changed()

    def _have_failures_changed(self) -> bool:
        has_changed = self._ledger.version() != self._stored_version
        return has_changed and (self._has_failure_row or bool(self._ledger.failed))

    def _store(self, status: ProcessStatus | None, *, with_failures: bool) -> None:
        """Store the status, unless it is None, and the failures in one transaction."""
        # A failing storage is tried no sooner than a working storage.
        tried_at, version, key = time.monotonic(), self._ledger.version(), self._own_key()
        if status is not None:
            self._tried_at = tried_at
        if with_failures:
            self._failures_tried_at = tried_at
        try:
            with self._storage.transaction() as transaction:
                time_now = now(self._storage)
                has_changed = False
                if with_failures or self._stored is None:
                    host = own_identity().host
                    has_changed = failure_rows.clean(transaction, key, self._name, host, time_now)
                if with_failures:
                    has_changed |= self._put_failures(transaction, key, time_now)
                if status is not None:
                    _drop_gone(transaction, key, time_now)
                    drop_outdated(transaction, time_now)
                    transaction.put(_TABLE, key, self._row(status, time_now))
                if has_changed or status is not None:
                    mark_quiet(self._storage, transaction)
        except StorageError as error:
            self._outage.failed(error)
            return
        if status is not None:
            self._stored = status
        if with_failures:
            self._stored_version, self._has_failure_row = version, bool(self._ledger.failed)
        self._outage.succeeded()

    def _put_failures(self, transaction: Transaction, key: str, time_now: float) -> bool:
        """Put the row of the failures, none without any; return whether that changes anything."""
        failures = self._ledger.to_store()
        if not failures:
            return transaction.delete(failure_rows.FAILURES, key)
        row = failure_rows.as_row(self._name, own_identity(), time_now, failures)
        transaction.put(failure_rows.FAILURES, key, row)
        return True

    def _own_key(self) -> str:
        pid = os.getpid()
        if self._key[0] != pid:
            # The rows that were stored before a fork are the parent's.
            self._key = (pid, os.urandom(8).hex())
            self._stored, self._tried_at = None, -math.inf
            self._stored_version, self._failures_tried_at = (0, 0), -math.inf
            self._has_failure_row = False
        return self._key[1]

    def _row(self, status: ProcessStatus, seen: float) -> Record:
        serves = (status.generation, status.active)
        if self._serves[0] != serves:
            self._serves = (serves, seen)
        return {
            **arguments(status),
            "active": [*status.active],
            "slow": dict(status.slow),
            "narrowed": self._narrowed,
            "since": self._serves[1],
            **own_identity()._asdict(),
            "name": self._name,
            "seen": seen,
        }


def _drop_gone(transaction: Transaction, key: str, time_now: float) -> None:
    """Delete the rows of processes that are gone. A damaged row is left as it is."""
    times, _ = parse_records(_TABLE, dict(transaction.items(_TABLE)), _seen)
    for other, seen in times.items():
        if other != key and not _is_recent(seen, time_now):
            transaction.delete(_TABLE, other)


def _is_recent(seen: float, time_now: float) -> bool:
    return abs(time_now - seen) < _MAX_AGE


def _seen(_key: str, row: Record) -> float:
    seen: float = field(row, "seen", float, int)
    return seen


def _record(_key: str, row: Record) -> ProcessRecord:
    # Version 0.2 stores neither of them where there is nothing to say.
    row = {"slow": {}, "narrowed": False, **row}
    identity = identity_of(row)
    return ProcessRecord(
        name=field(row, "name", str),
        pid=identity.pid,
        host=identity.host,
        generation=field(row, "generation", int),
        active=tuple(field(row, "active", list)),
        errors=field(row, "errors", int),
        seen=_time(row, "seen"),
        since=_time(row, "since"),
        slow=dict(field(row, "slow", dict)),
        narrowed=field(row, "narrowed", bool),
    )


def _time(row: Record, name: str) -> datetime:
    return datetime.fromtimestamp(field(row, name, float, int), UTC)
