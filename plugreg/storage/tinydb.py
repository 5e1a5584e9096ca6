"""A store in one readable file: TinyDB's tables, on a file that is only ever replaced as a whole.

The file has two lines of UTF-8 text. The first is plugreg's header::

    {"plugreg": 1, "revision": 7, "sha256": "9f86d0…"}

with the version of this layout, the number of the commit, and the SHA-256 of ``1 7`` (those two)
and a line feed, followed by the second line. That one is TinyDB's own JSON: documents by id, by
table. TinyDB's JSONStorage is not used, for it writes in place: killed in the middle it leaves a
broken file, and so do two processes.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import filelock
import tinydb
import tinydb.storages
import tinydb.table

from plugreg.exceptions import StorageCorruptError, StorageLockedError, StorageUnavailableError
from plugreg.storage.base import Gate, Record, Transaction
from plugreg.storage.memory import State, buffered

FORMAT: Final = 1
"""The version of the file's layout. A file with a higher one is refused, never rewritten."""

_MAX_HEADER: Final = 512
_POLL_SECONDS: Final = 0.01


class TinyDBStorage:
    """A :class:`Storage` in the file at ``path``, shared by all threads and processes of one host.

    Opening checks the whole file: StorageCorruptError refuses a damaged one and leaves it as it
    is, StorageUnavailableError says that it, or its folder, cannot be read. Where there is no file,
    the store is empty, and the first commit makes one that only its owner may read (mode 0600);
    a file that is there keeps its mode.

    A commit writes ``<path>.tmp``, flushes it to disk, renames it to ``path`` and flushes the
    folder, holding the file lock ``<path>.lock`` since before the transaction's first read. It is
    had within ``lock_timeout`` seconds, or StorageLockedError names it. No file or lock is held
    outside a transaction, so that an object made before a fork works in the child.

    What was parsed is kept as long as the file is the same; each verb looks whether it is. A file
    that was there and is gone raises StorageUnavailableError: to go on with an empty store would
    forget everything. The file system must have working ``flock`` and rename, as local ones do.
    """

    def __init__(self, path: str | os.PathLike[str], *, lock_timeout: float = 30.0) -> None:
        if not 0 <= lock_timeout <= threading.TIMEOUT_MAX:
            raise ValueError(f"lock_timeout={lock_timeout!r} is no number of seconds from 0 on")
        # A link is followed once, for renaming onto it would cut it off from the file it names.
        real_path = Path(path).resolve()
        self._lock_path = f"{real_path}.lock"
        self._lock_timeout = lock_timeout
        self._locks: dict[int, filelock.BaseFileLock] = {}
        self._gate = Gate(self._lock_path, lock_timeout)
        self._file = _StoreFile(real_path)
        self._file.load()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._file.path)!r})"

    def read(self, table: str) -> dict[str, Record]:
        """See :meth:`Storage.read`."""
        self._gate.require_open()
        return self._file.load().copy(table)

    def transaction(self) -> AbstractContextManager[Transaction]:
        """See :meth:`Storage.transaction`."""
        self._gate.require_open()
        return self._transaction()

    @contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        deadline = time.monotonic() + self._lock_timeout
        with self._gate.entered(), self._file_locked(deadline):
            state = self._file.load()
            with buffered(state) as transaction:
                yield transaction
            if transaction.changes:
                self._commit(state, transaction.changes)

    @contextmanager
    def _file_locked(self, deadline: float) -> Iterator[None]:
        lock = self._own_lock()
        try:
            # Acquired inside, so that an interrupt right after it does not leave it held.
            try:
                lock.acquire(max(0.0, deadline - time.monotonic()), poll_interval=_POLL_SECONDS)
            except filelock.Timeout as error:
                raise StorageLockedError(self._lock_path, self._lock_timeout) from error
            except OSError as error:
                raise StorageUnavailableError(self._lock_path, _words(error)) from error
            yield
        finally:
            lock.release(force=True)

    def _own_lock(self) -> filelock.BaseFileLock:
        # One made before a fork may not be used after it, so each process has its own. It is kept
        # because Python swallows a Ctrl-C that falls into the finaliser of one thrown away; and it
        # is no thread's own, since the gate lets in one at a time.
        process = os.getpid()
        if process not in self._locks:
            self._locks[process] = filelock.FileLock(self._lock_path, thread_local=False)
        return self._locks[process]

    def _commit(self, state: State, changes: Mapping[str, Mapping[str, Record | None]]) -> None:
        # TinyDB keeps the next id and the results of queries, which another process's commit makes
        # wrong; so a database lives for one commit.
        storage = _AtomicStorage(self._file, state)
        database = _Database(storage=lambda: storage)
        for name, records in changes.items():
            # TinyDB's upsert merges fields, and a put replaces: hence remove, then insert.
            table = database.table(name)
            stored = state.tables.get(name, {})
            table.remove(doc_ids=[key for key in records if key in stored])  # type: ignore[misc]
            table.insert_multiple(
                tinydb.table.Document(record, key)  # type: ignore[arg-type]
                for key, record in records.items()
                if record is not None
            )
        storage.flush()

    def revision(self) -> int:
        """See :meth:`Storage.revision`."""
        self._gate.require_open()
        return self._file.load().revision

    def close(self) -> None:
        """See :meth:`Storage.close`."""
        self._gate.close()


class _Table(tinydb.table.Table):
    """A table whose documents have texts as ids, though TinyDB's annotations know only numbers."""

    document_id_class = str  # type: ignore[assignment]


class _Database(tinydb.TinyDB):
    table_class = _Table


class _AtomicStorage(tinydb.storages.Storage):
    """TinyDB's storage for one commit: what it writes is put on disk by ``flush``, all at once."""

    def __init__(self, file: _StoreFile, state: State) -> None:
        super().__init__()
        self._file = file
        self._revision = state.revision
        self._tables: dict[str, Any] = dict(state.tables)

    def read(self) -> dict[str, dict[str, Any]]:
        # TinyDB enters a changed table, itself a copy, into what it is given here.
        return dict(self._tables)

    def write(self, data: dict[str, dict[str, Any]]) -> None:
        self._tables = data

    def flush(self) -> None:
        self._file.replace(State(revision=self._revision + 1, tables=self._tables))


class _Mark(NamedTuple):
    """By what a file is known again without reading it: its header, and what the system says."""

    header: bytes
    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, header: bytes, descriptor: int) -> _Mark:
        status = os.fstat(descriptor)
        return cls(header, status.st_ino, status.st_size, status.st_mtime_ns)


class _StoreFile:
    """The file itself: read as a whole, replaced as a whole, parsed once for each content."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # One value, so that a reader without a lock never pairs one file's mark with the state of
        # another. It is only ever a memory of what some load saw: each one looks at the file.
        self._known: tuple[_Mark, State] | None = None

    def load(self) -> State:
        """Return what the file holds now; no lock is needed, as it is only ever renamed."""
        known = self._known
        try:
            with self.path.open("rb") as file:
                header = file.readline(_MAX_HEADER)
                mark = _Mark.of(header, file.fileno())
                if known is not None and known[0] == mark:
                    return known[1]
                body = file.read()
        except FileNotFoundError as error:
            # What was known before the look counts: the first commit may have come since.
            if known is None and self.path.parent.is_dir():
                return State()
            raise StorageUnavailableError(str(self.path), self._absence()) from error
        except OSError as error:
            raise StorageUnavailableError(str(self.path), _words(error)) from error
        try:
            state = _decode(header, body)
        except _DamageError as damage:
            raise StorageCorruptError(str(self.path), str(damage)) from damage.__cause__
        self._known = (mark, state)
        return state

    def _absence(self) -> str:
        folder = self.path.parent
        if not folder.is_dir():
            return f"there is no folder {str(folder)!r}; make it first"
        return "the file was there and is gone; put it back, or open the storage anew"

    def replace(self, state: State) -> None:
        """Put ``state`` in place of what is there. The caller holds the file lock."""
        header, body = _encode(state)
        # One name is enough, as there is one writer; what a killed one left is removed by the next.
        temporary = self.path.with_name(f"{self.path.name}.tmp")
        try:
            try:
                mark = _write_new(temporary, self._mode(), header, body)
                temporary.replace(self.path)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StorageUnavailableError(str(self.path), _words(error)) from error
        try:
            _flush_folder(self.path.parent)
        except OSError as error:
            reason = f"the change was made, but may not survive a power cut: {_words(error)}"
            raise StorageUnavailableError(str(self.path), reason) from error
        self._known = (mark, state)

    def _mode(self) -> int:
        try:
            return self.path.stat().st_mode & 0o7777
        except FileNotFoundError:
            return 0o600


def _write_new(path: Path, mode: int, header: bytes, body: bytes) -> _Mark:
    path.unlink(missing_ok=True)
    with open(path, "xb", opener=_open_private) as file:
        file.write(header)
        file.write(body)
        file.flush()
        if mode != 0o600:
            path.chmod(mode)
        os.fsync(file.fileno())
        return _Mark.of(header, file.fileno())


def _open_private(path: str, flags: int) -> int:
    # Settings hold secrets: nobody else may open the file before it has the mode it is to have.
    return os.open(path, flags, 0o600)


def _flush_folder(folder: Path) -> None:
    # Windows neither opens folders nor needs it: its file systems keep a journal of names.
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _DamageError(Exception):
    """The bytes are not a store; the text says why."""


def _encode(state: State) -> tuple[bytes, bytes]:
    body = json.dumps(state.tables, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    return _header(state.revision, _checksum(state.revision, body)), body


def _header(revision: int, checksum: str) -> bytes:
    header = {"plugreg": FORMAT, "revision": revision, "sha256": checksum}
    return json.dumps(header).encode() + b"\n"


def _checksum(revision: int, body: bytes) -> str:
    # The header's own numbers are in it, so that no bit of the file may change unseen.
    digest = hashlib.sha256(f"{FORMAT} {revision}\n".encode())
    digest.update(body)
    return digest.hexdigest()


def _decode(header: bytes, body: bytes) -> State:
    revision = _revision_of(header, body)
    tables = _parsed(body, "its content")
    if not _is_tables(tables):
        raise _DamageError("its content is not tables of records")
    return State(revision=revision, tables=tables)


def _revision_of(header: bytes, body: bytes) -> int:
    if not header:
        raise _DamageError("it is empty")
    fields = _parsed(header, "its first line")
    if not isinstance(fields, dict) or type(fields.get("plugreg")) is not int:
        raise _DamageError("its first line is not the header of a plugreg store")
    if fields["plugreg"] > FORMAT:
        raise _DamageError(
            f"it has format {fields['plugreg']}, from a newer plugreg than this one, "
            f"which knows format {FORMAT}"
        )
    revision, checksum = fields.get("revision"), fields.get("sha256")
    if type(revision) is not int or type(checksum) is not str:
        raise _DamageError("its header has no revision and checksum")
    # Compared as bytes, which leaves no second way to write a header.
    if header != _header(revision, checksum):
        raise _DamageError("its header is not as plugreg writes it")
    if checksum != _checksum(revision, body):
        raise _DamageError("its checksum is wrong: it was changed, or a part of it is missing")
    return revision


def _parsed(text: bytes, what: str) -> Any:
    try:
        return json.loads(text.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise _DamageError(f"{what} is not UTF-8 text") from error
    except ValueError as error:
        raise _DamageError(f"{what} is not JSON that can be read ({error})") from error
    except RecursionError as error:
        raise _DamageError(f"{what} is nested too deeply to be read") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _is_tables(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(table, dict) and all(isinstance(record, dict) for record in table.values())
        for table in value.values()
    )


def _words(error: OSError) -> str:
    return error.strerror or str(error)
