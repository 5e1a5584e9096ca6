"""Heartbeats: one stored row for each process that serves, which the other processes read.

Table ``processes``: by a random key, one row for each process. Its commits are marked quiet, so
that no other process reads values because of them.
"""

from __future__ import annotations

import math
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from plugreg._support.lazy import lazy
from plugreg._support.named import NamedTuple
from plugreg.exceptions import StorageError
from plugreg.records import ProcessRecord
from plugreg.storage import MemoryStorage, Storage
from plugreg.storage.base import Record, field, parse_records

if TYPE_CHECKING:
    from plugreg._support.outages import Outage

_TABLE: Final = "processes"
_INTERVAL: Final = 30.0
"""Seconds after which an unchanged status is stored again."""
_MAX_AGE: Final = 180.0
"""Seconds without a heartbeat after which a process counts as gone."""


class ProcessStatus(NamedTuple):
    """What a process runs: see :class:`plugreg.records.ProcessRecord`."""

    generation: int
    active: tuple[str, ...]
    errors: int


class Heartbeat:
    """Stores the row of this process, and reads those of the other processes.

    Only a process that serves has a row: the host named it, or it follows the other processes.
    A forked process has its own row. A row that cannot be stored stops nothing: that is logged
    once, and the next change or heartbeat stores it.

    Args:
        storage: The storage that the processes share.
        name: The host's name for this process. Defaults to the name of its program.
        silent: Whether to store nothing, ever. With a storage in memory nothing is stored either.
    """

    def __init__(self, storage: Storage, name: str | None, *, silent: bool = False) -> None:
        self._storage = storage
        self._name = name or PurePath(sys.argv[0] if sys.argv else "").name or "python"
        self._silent = silent or isinstance(storage, MemoryStorage)
        self._is_serving = name is not None
        self._key: tuple[int, str] = (0, "")
        self._stored: ProcessStatus | None = None
        self._tried_at = -math.inf
        # What this process serves, and since when by the clock of the store.
        self._serves: tuple[object, float] = (None, 0.0)

    @lazy
    def _outage(self) -> Outage:
        from plugreg._support.outages import Outage

        return Outage(
            "the heartbeat of this process cannot be stored, so other processes do not see it",
            "the heartbeat of this process is stored again",
        )

    def serve(self) -> bool:
        """Note that this process serves; return whether a heartbeat is due."""
        self._is_serving = True
        self._own_key()
        return not self._silent and time.monotonic() - self._tried_at >= _INTERVAL

    def beat(self, status: ProcessStatus) -> None:
        """Store the status of this process, if it serves and *status* is new or due.

        Drops the rows of processes that are gone. Raises nothing of the storage.
        """
        key = self._own_key()
        if self._silent or not self._is_serving:
            return
        tried_at = time.monotonic()
        if status == self._stored and tried_at - self._tried_at < _INTERVAL:
            return
        from plugreg.storage.clock import now
        from plugreg.storage.quiet_commits import mark_quiet

        # A storage that fails is tried no sooner than one that works.
        self._tried_at = tried_at
        try:
            with self._storage.transaction() as transaction:
                time_now = now(self._storage)
                # A damaged row is left as it is.
                times, _ = parse_records(_TABLE, dict(transaction.items(_TABLE)), _seen)
                for other, seen in times.items():
                    if other != key and not _is_recent(seen, time_now):
                        transaction.delete(_TABLE, other)
                transaction.put(_TABLE, key, self._row(status, time_now))
                mark_quiet(self._storage, transaction)
        except StorageError as error:
            self._outage.failed(error)
            return
        self._stored = status
        self._outage.succeeded()

    def stop(self) -> None:
        """Delete the row of this process, if it stored one. Raises nothing of the storage."""
        key = self._own_key()
        if self._stored is None:
            return
        from plugreg.storage.quiet_commits import mark_quiet

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

        Leaves out damaged rows, and processes without a heartbeat for 3 minutes. Writes nothing.
        Raises StorageError.
        """
        from plugreg.storage.clock import now

        time_now = now(self._storage)
        own_key = self._own_key()
        found, _ = parse_records(_TABLE, self._storage.read(_TABLE), _record)
        others = [
            record
            for key, record in found.items()
            if key != own_key and _is_recent(record.seen.timestamp(), time_now)
        ]
        others.sort(key=lambda record: (record.name, record.host, record.pid))
        return (_record(own_key, self._row(status, time_now)), *others)

    def _own_key(self) -> str:
        pid = os.getpid()
        if self._key[0] != pid:
            # The row that was stored before a fork is the parent's.
            self._key = (pid, os.urandom(8).hex())
            self._stored, self._tried_at = None, -math.inf
        return self._key[1]

    def _row(self, status: ProcessStatus, seen: float) -> Record:
        from socket import gethostname

        serves = (status.generation, status.active)
        if self._serves[0] != serves:
            self._serves = (serves, seen)
        return {
            **status._asdict(),
            "active": list(status.active),
            "since": self._serves[1],
            "name": self._name,
            "pid": os.getpid(),
            "host": gethostname(),
            "seen": seen,
        }


def _is_recent(seen: float, time_now: float) -> bool:
    return abs(time_now - seen) < _MAX_AGE


def _seen(_key: str, row: Record) -> float:
    seen: float = field(row, "seen", float, int)
    return seen


def _record(_key: str, row: Record) -> ProcessRecord:
    return ProcessRecord(
        name=field(row, "name", str),
        pid=field(row, "pid", int),
        host=field(row, "host", str),
        generation=field(row, "generation", int),
        active=tuple(field(row, "active", list)),
        errors=field(row, "errors", int),
        seen=datetime.fromtimestamp(field(row, "seen", float, int), UTC),
        since=datetime.fromtimestamp(_since(row), UTC),
        narrowed=row.get("narrowed") is True,
    )


def _since(row: Record) -> float:
    # Processes of plugreg 0.1 did not store it.
    since: float = field(row, "since" if "since" in row else "seen", float, int)
    return since
