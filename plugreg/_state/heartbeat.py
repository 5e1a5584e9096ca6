"""What each of the processes that share a storage runs, told to the others through it.

Table: ``processes``, one row a process, by a name of chance. No commit of it makes others read
anything.
"""

from __future__ import annotations

import math
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Final, NamedTuple

from plugreg._support.outages import Outage
from plugreg.exceptions import StorageError
from plugreg.records import ProcessRecord
from plugreg.storage import MemoryStorage, Storage
from plugreg.storage.base import Record, field, parse_records
from plugreg.storage.clock import now
from plugreg.storage.quiet import mark_quiet

_TABLE: Final = "processes"
_AGAIN_AFTER: Final = 30.0
"""Seconds after which what has not changed is told again."""
_SEEN_WITHIN: Final = 180.0
"""Seconds after which a process that has told nothing counts as gone."""


class ProcessStatus(NamedTuple):
    """What a process runs: see :class:`plugreg.records.ProcessRecord`."""

    generation: int
    active: tuple[str, ...]
    errors: int


class Heartbeat:
    """Keeps one row of its own, and reads those of others.

    Only a process that serves has a row: one that the host gave a name, or that follows the
    others. A process that was forked has a row of its own. The row is not needed to go on: where
    it cannot be stored, that is logged once, and it is stored with the next change or heartbeat.

    Args:
        storage: The storage that the processes share.
        name: What the host calls this process. Defaults to the name of its program.
        silent: Whether to store nothing, ever. With a storage in memory nothing is stored either.
    """

    def __init__(self, storage: Storage, name: str | None, *, silent: bool = False) -> None:
        self._storage = storage
        self._name = name or PurePath(sys.argv[0] if sys.argv else "").name or "python"
        self._silent = silent or isinstance(storage, MemoryStorage)
        self._is_serving = name is not None
        self._outage = Outage(
            "what this process runs was not told to the others",
            "what this process runs was told to the others again",
        )
        self._key: tuple[int, str] = (0, "")
        self._told: ProcessStatus | None = None
        self._told_at = -math.inf

    def serve(self) -> bool:
        """Take note that this process serves; return whether its row is to be stored again."""
        self._is_serving = True
        self._own_key()
        return not self._silent and time.monotonic() - self._told_at >= _AGAIN_AFTER

    def tell(self, running: ProcessStatus) -> None:
        """Store what this process runs, if it serves and that is news or due.

        Rows of processes that are gone are dropped. Raises nothing of the storage.
        """
        key = self._own_key()
        if self._silent or not self._is_serving:
            return
        time_told = time.monotonic()
        if running == self._told and time_told - self._told_at < _AGAIN_AFTER:
            return
        # A storage that is out of order is asked again no sooner than one that is not.
        self._told_at = time_told
        try:
            with self._storage.transaction() as transaction:
                time_now = now(self._storage)
                # A damaged row is nobody's to remove.
                seen, _ = parse_records(_TABLE, dict(transaction.items(_TABLE)), _seen)
                for each, then in seen.items():
                    if each != key and not _is_recent(then, time_now):
                        transaction.delete(_TABLE, each)
                transaction.put(_TABLE, key, self._row(running, time_now))
                mark_quiet(self._storage, transaction)
        except StorageError as error:
            self._outage.failed(error)
            return
        self._told = running
        self._outage.succeeded()

    def withdraw(self) -> None:
        """Remove what this process has told, as it ends."""
        key = self._own_key()
        if self._told is None:
            return
        self._told = None
        try:
            with self._storage.transaction() as transaction:
                if transaction.delete(_TABLE, key):
                    mark_quiet(self._storage, transaction)
        except StorageError as error:
            # Those who read it leave it out when it has got old.
            self._outage.failed(error)

    def all(self, running: ProcessStatus) -> tuple[ProcessRecord, ...]:
        """Return this process as it is now, then the others as they have told, by name.

        Those that have told nothing for 3 minutes are left out, and damaged rows. Writes nothing.
        Raises StorageError.
        """
        time_now = now(self._storage)
        own_key = self._own_key()
        found, _ = parse_records(_TABLE, self._storage.read(_TABLE), _record)
        others = [
            record
            for key, record in found.items()
            if key != own_key and _is_recent(record.seen.timestamp(), time_now)
        ]
        others.sort(key=lambda each: (each.name, each.host, each.pid))
        return (_record(own_key, self._row(running, time_now)), *others)

    # -- the parts ---------------------------------------------------------------------------

    def _own_key(self) -> str:
        pid = os.getpid()
        if self._key[0] != pid:
            # The row that was told before a fork is the parent's.
            self._key = (pid, os.urandom(8).hex())
            self._told, self._told_at = None, -math.inf
        return self._key[1]

    def _row(self, running: ProcessStatus, seen: float) -> Record:
        from socket import gethostname

        return {
            "name": self._name,
            "pid": os.getpid(),
            "host": gethostname(),
            "generation": running.generation,
            "active": list(running.active),
            "errors": running.errors,
            "seen": seen,
        }


def _is_recent(seen: float, time_now: float) -> bool:
    return abs(time_now - seen) < _SEEN_WITHIN


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
    )
