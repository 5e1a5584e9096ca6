"""A store in one readable file: TinyDB's tables, on a file that is only ever replaced as a whole.

TinyDB's JSONStorage is not used, for it writes in place: killed in the middle it leaves a broken
file, and so do two processes. The file itself is :mod:`plugreg.storage.file.storefile`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import tinydb.storages
import tinydb.table

from plugreg.exceptions import StorageCorruptError
from plugreg.storage.base import Gate, Record, Transaction
from plugreg.storage.file.locking import FileLock
from plugreg.storage.file.storefile import SetAside, StoreFile
from plugreg.storage.memory import State, buffered

OnCorrupt = Literal["raise", "set_aside"]
"""What becomes of a damaged file; see :class:`TinyDBStorage`."""


class TinyDBStorage:
    """A :class:`Storage` in the file at ``path``, shared by all threads and processes of one host.

    Opening checks the whole file; StorageUnavailableError says that it, or its folder, cannot be
    read. Where there is no file, the store is empty, and the first commit makes one that only its
    owner may read (mode 0600).

    A file that is there keeps its mode, owner and group, whoever commits. Where the system lets
    only another user give it its owner, the commit goes on if the group is kept, and may read and
    write it: the owner should be in that group. Otherwise StorageUnavailableError names the owner,
    and nothing is replaced. Who shares a store must be able to make files in its folder, and to
    read its lock file, which is given the same mode, owner and group by each commit of its owner.
    Where a store is given to others, give them its lock file too. Access lists (ACL) are not kept.

    A file of a newer plugreg is refused with StorageFormatError, and stays where it is. A damaged
    file is never written to. With ``on_corrupt="raise"`` it stays where it is, and
    StorageCorruptError refuses it at each opening and use. With ``"set_aside"`` it is renamed to
    ``<path>.corrupt-<UTC time>`` by whoever finds it first, at opening or later; an empty store
    takes its place, and :attr:`set_aside` tells of it. Any other value raises ValueError, as a
    ``lock_timeout`` does that is no number of seconds.

    A commit writes ``<path>.tmp``, flushes it to disk, renames it to ``path`` and flushes the
    folder, holding the file lock ``<path>.lock`` since before the transaction's first read. It is
    had within ``lock_timeout`` seconds, or StorageLockedError names it. No file or lock is held
    outside a transaction, so that an object made before a fork works in the child.

    What was parsed is kept as long as the file is the same; each verb looks whether it is. A file
    that was there and is gone raises StorageUnavailableError: to go on with an empty store would
    forget everything. The file system must have working ``flock`` and rename, as local ones do.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        lock_timeout: float = 30.0,
        on_corrupt: OnCorrupt = "raise",
    ) -> None:
        if on_corrupt not in get_args(OnCorrupt):
            raise ValueError(f"on_corrupt={on_corrupt!r} is neither 'raise' nor 'set_aside'")
        # A link is followed once, for renaming onto it would cut it off from the file it names.
        self._file = StoreFile(Path(os.path.realpath(path)))
        lock = f"{self._file.path}.lock"
        self._lock = FileLock(lock, mode=0o600, adapt=self._file.share)
        self._lock_timeout = lock_timeout
        self._gate = Gate(self._lock.path, lock_timeout)
        self._on_corrupt = on_corrupt
        self._set_aside: tuple[SetAside, ...] = ()
        self._look()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._file.path)!r})"

    @property
    def set_aside(self) -> tuple[SetAside, ...]:
        """The damaged files that this object has put out of the way, oldest first."""
        return self._set_aside

    def read(self, table: str) -> dict[str, Record]:
        """See :meth:`Storage.read`."""
        self._gate.require_open()
        return self._look().copy(table)

    def transaction(self) -> AbstractContextManager[Transaction]:
        """See :meth:`Storage.transaction`."""
        self._gate.require_open()
        return self._transaction()

    @contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        with self._locked():
            state = self._load()
            with buffered(state) as transaction:
                yield transaction
            if transaction.changes:
                self._file.replace(state, _committed(state, transaction.changes))

    def revision(self) -> int:
        """See :meth:`Storage.revision`."""
        self._gate.require_open()
        return self._look().revision

    def close(self) -> None:
        """See :meth:`Storage.close`."""
        self._gate.close()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        deadline = time.monotonic() + self._lock_timeout
        with self._gate.entered(), self._lock.held(self._lock_timeout, deadline):
            yield

    def _look(self) -> State:
        """Return what the file holds, without the lock unless a damaged one is to be set aside."""
        try:
            return self._file.load()
        except StorageCorruptError:
            # Inside a transaction the file is not changed; its commit will find the damage too.
            if self._on_corrupt == "raise" or self._gate.is_inside():
                raise
        with self._locked():
            return self._load()

    def _load(self) -> State:
        """Return what the file holds. The lock is held, so that one finder sets a file aside."""
        try:
            return self._file.load()
        except StorageCorruptError as damage:
            if self._on_corrupt == "raise":
                raise
            self._set_aside += (self._file.set_aside(damage.reason),)
        return self._file.load()


def _committed(state: State, changes: Mapping[str, Mapping[str, Record | None]]) -> State:
    """Return the state that follows ``state``."""
    storage = _TablesStorage(state, changes)
    for name, records in changes.items():
        # TinyDB keeps the next id and the results of queries, which another process's commit makes
        # wrong; so each of its tables lives for one commit.
        _Table(storage, name).insert_multiple(
            tinydb.table.Document(record, key)  # type: ignore[arg-type]
            for key, record in records.items()
            if record is not None
        )
    return State(revision=state.revision + 1, tables=storage.tables)


class _Table(tinydb.table.Table):
    """A table whose documents have texts as ids, though TinyDB's annotations know only numbers."""

    document_id_class = str  # type: ignore[assignment]


class _TablesStorage(tinydb.storages.Storage):
    """TinyDB's storage for one commit, in memory: a state without the records that change."""

    def __init__(self, state: State, changes: Mapping[str, Mapping[str, Record | None]]) -> None:
        super().__init__()
        # TinyDB refuses to insert what is there, and its upsert merges where a put replaces.
        self.tables: dict[str, Any] = dict(state.tables)
        for name, records in changes.items():
            table = self.tables[name] = dict(state.tables.get(name, {}))
            for key in records:
                table.pop(key, None)

    def read(self) -> dict[str, dict[str, Any]]:
        # TinyDB enters a changed table, itself a copy, into what it is given here.
        return dict(self.tables)

    def write(self, data: dict[str, dict[str, Any]]) -> None:
        self.tables = data
