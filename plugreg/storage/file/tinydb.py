"""A store in a readable file, with TinyDB's tables.

TinyDB's JSONStorage is not used, because it writes in place: a killed process leaves a broken
file, and so do two processes. The file itself is `plugreg.storage.file.storefile`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, get_args

import tinydb.storages
import tinydb.table

from plugreg.exceptions import StorageCorruptError
from plugreg.storage.base import Changes, Record
from plugreg.storage.file.locking import FileLock
from plugreg.storage.file.storefile import SetAside, StoreFile
from plugreg.storage.memory import BufferedStorage, StoreState

OnCorrupt = Literal["raise", "set_aside"]
"""The handling of a damaged file; see `TinyDBStorage`."""


class TinyDBStorage(BufferedStorage):
    """A `Storage` in a file, shared by all threads and processes of a machine.

    Opening checks the whole file. Without a file the store is empty, and the first commit creates
    a file that only its owner may read (mode 0600).

    **Commits.** A commit writes ``<path>.tmp``, flushes it to disk, renames it to *path* and
    flushes the folder. From before the transaction's first read it holds the file lock
    ``<path>.lock``. No file or lock is held outside a transaction, so an object made before a
    fork works in the child. The file system must have working ``flock`` and rename, as local ones
    do.

    **Reads.** The parsed contents are remembered while the file is the same; each method checks
    that. If the file is gone later, every method raises StorageUnavailableError: an empty store
    in its place would forget everything.

    **Permissions.** A commit preserves the mode, owner and group of an existing file, whoever
    commits. If only another user could restore the owner, the commit succeeds as long as the
    group is preserved, and may read and write: the owner should be in that group. Otherwise
    StorageUnavailableError names the owner, and nothing is replaced. Users who share a store need
    permission to create files in its folder, and to read its lock file. Each commit of the owner
    gives the lock file the same mode, owner and group. A store that is handed to other users needs
    its lock file handed over, too. Access lists (ACL) are not preserved.

    **Damage.** A damaged file is never written to, and a file of a newer plugreg is always
    refused and left as it is.

    Args:
        path: The file. Its folder must exist.
        lock_timeout: Seconds that a transaction waits for the lock before StorageLockedError.
        on_corrupt: With ``"raise"`` a damaged file stays, and each opening and use raises
            StorageCorruptError. With ``"set_aside"`` the first process to find it, at opening or
            later, renames it to ``<path>.corrupt-<UTC time>``. An empty store takes its place, and
            `set_aside` lists it.

    Raises:
        StorageUnavailableError: If the file or its folder cannot be read.
        StorageCorruptError: If the file is damaged, unless it was set aside.
        StorageFormatError: If a newer plugreg wrote the file.
        ValueError: If *on_corrupt* has another value, or *lock_timeout* is no number of seconds.
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
        # A link is followed once, because a rename would replace the link instead of its file.
        self._file = StoreFile(Path(os.path.realpath(path)))
        lock = f"{self._file.path}.lock"
        self.lock_place: Final = lock
        """What other storages with the same lock have here too."""
        super().__init__(lock, lock_timeout)
        self._lock = FileLock(lock, mode=0o600, adapt=self._file.share)
        self._lock_timeout = lock_timeout
        self._on_corrupt = on_corrupt
        self._set_aside: tuple[SetAside, ...] = ()
        self._load()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._file.path)!r})"

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    @property
    def set_aside(self) -> tuple[SetAside, ...]:
        """The damaged files that this object has renamed, oldest first."""
        return self._set_aside

    def read(self, table: str) -> dict[str, Record]:
        """See `Storage.read`."""
        self._gate.require_open()
        return self._load().copy_table(table)

    def revision(self) -> int:
        """See `Storage.revision`."""
        self._gate.require_open()
        return self._load().revision

    @contextmanager
    def _locked(self, deadline: float) -> Iterator[StoreState]:
        with self._lock.held(self._lock_timeout, deadline):
            try:
                state = self._file.load()
            except StorageCorruptError as damage:
                if self._on_corrupt == "raise":
                    raise
                self._set_aside += (self._file.set_aside(damage.reason),)
                state = self._file.load()
            yield state

    def _commit(self, source: StoreState, changes: Changes) -> None:
        self._file.replace(source, _apply(source, changes))

    def _load(self) -> StoreState:
        """Return the contents of the file; lock it only to set a damaged file aside."""
        try:
            return self._file.load()
        except StorageCorruptError:
            # Inside a transaction the file is not changed; its commit will find the damage too.
            if self._on_corrupt == "raise" or self._gate.is_inside():
                raise
        with self._gate.entered() as deadline, self._locked(deadline) as state:
            return state


def accept_changes(path: str | os.PathLike[str], *, lock_timeout: float = 30.0) -> SetAside | None:
    """Accept what something else than plugreg has changed in the file of a `TinyDBStorage`.

    Its contents become the next commit. The file as it was found is kept beside it.

    Args:
        path: The file.
        lock_timeout: Seconds to wait for the lock before StorageLockedError.

    Returns:
        The copy, None if the file was not damaged.

    Raises:
        StorageCorruptError: If more than the checksum is wrong. Nothing has changed then.
        StorageError: If the file cannot be locked, read or written.
    """
    file = StoreFile(Path(os.path.realpath(path)))
    lock = FileLock(f"{file.path}.lock", mode=0o600, adapt=file.share)
    with lock.held(lock_timeout, time.monotonic() + lock_timeout):
        try:
            file.load()
        except StorageCorruptError as damage:
            return file.accept_changes(damage.reason)
    return None


class _DocumentTable(tinydb.table.Table):
    """A table whose documents have string IDs."""

    # The annotations of TinyDB allow only numbers.
    document_id_class = str  # type: ignore[assignment]


def _apply(state: StoreState, changes: Changes) -> StoreState:
    """Return the state after a commit of these changes, as TinyDB makes it."""
    # TinyDB refuses to insert an existing document, and its upsert merges where a put replaces.
    # So the changed documents are removed first.
    tables: dict[str, Any] = dict(state.tables)
    for name, records in changes.items():
        tables[name] = dict(state.records(name))
        for key in records:
            tables[name].pop(key, None)
    storage = tinydb.storages.MemoryStorage()  # type: ignore[no-untyped-call]
    storage.write(tables)
    for name, records in changes.items():
        # TinyDB remembers the next ID and the results of queries, which a commit of another
        # process makes wrong; so each of its tables lives for one commit.
        _DocumentTable(storage, name).insert_multiple(
            tinydb.table.Document(record, key)  # type: ignore[arg-type]
            for key, record in records.items()
            if record is not None
        )
    return StoreState(state.revision + 1, tables)
