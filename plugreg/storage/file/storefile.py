"""The file of a TinyDBStorage: read and replaced as a whole, checked, and never half written.

It has two lines of UTF-8 text. The first is plugreg's header::

    {"plugreg": 1, "revision": 7, "sha256": "9f86d0…"}

with the version of this layout, the number of the commit, and the SHA-256 of ``1 7`` (those two)
and a line feed, followed by the second line. That one is TinyDB's own JSON: documents by id, by
table.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from plugreg.exceptions import (
    StorageCorruptError,
    StorageFormatError,
    StorageUnavailableError,
)
from plugreg.storage.base import parse_json
from plugreg.storage.memory import State

FORMAT: Final = 1
"""The version of the file's layout. A file with a higher one is refused, never rewritten."""

_MAX_HEADER: Final = 512
# No record contains itself: a checked copy does not, nor does what was parsed.
_JSON: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False)
_BINARY: Final = getattr(os, "O_BINARY", 0)
# Opening a named pipe waits for its writer, unless it is told not to.
_READING: Final = os.O_RDONLY | _BINARY | getattr(os, "O_NONBLOCK", 0)
_WRITING: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY


@dataclass(frozen=True, kw_only=True, slots=True)
class SetAside:
    """A damaged store that was put out of the way: where it is now, and what was wrong with it.

    ``path`` has its bytes as they were found, ``reason`` is that of a StorageCorruptError, and
    ``when`` is aware and in UTC.
    """

    path: str
    reason: str
    when: datetime


class _Mark(NamedTuple):
    """By what a file is known again without reading it: its header, and what the system says."""

    header: bytes
    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, header: bytes, status: os.stat_result) -> _Mark:
        return cls(header, status.st_ino, status.st_size, status.st_mtime_ns)


class StoreFile:
    """The file at ``path``: parsed once for each content, and only ever renamed into place.

    Reading needs no lock. Whoever calls :meth:`replace` or :meth:`set_aside` holds that of the
    store. Every verb raises StorageUnavailableError when the system refuses what it needs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # One name is enough, as there is one writer; what a killed one left is removed by the next.
        self._temporary = path.with_name(f"{path.name}.tmp")
        self._folder = path.parent
        self._name = str(path)  # The system's own calls take a text sooner than a Path.
        # One value, so that a reader without a lock never pairs one file's mark with the state of
        # another. It is only ever a memory of what some load saw: each one looks at the file.
        self._known: tuple[_Mark, State] | None = None

    def load(self) -> State:
        """Return what the file holds now, an empty state where there has never been one.

        Raises StorageCorruptError when it holds something else than plugreg wrote, and
        StorageFormatError when a newer plugreg wrote it.
        """
        try:
            return self._loaded()
        except OSError as error:
            raise self._unavailable(_words(error)) from error
        except _NewerError as newer:
            raise StorageFormatError(str(self.path), newer.found, FORMAT) from None
        except _DamageError as damage:
            raise StorageCorruptError(str(self.path), str(damage)) from damage.__cause__

    def _loaded(self) -> State:
        known = self._known
        try:
            descriptor = os.open(self._name, _READING)
        except FileNotFoundError as error:
            # What was known before the look counts: the first commit may have come since.
            if known is None and self._folder.is_dir():
                return State()
            raise self._unavailable(self._absence()) from error
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise self._unavailable("it is no file; choose the path of one")
            start = os.read(descriptor, _MAX_HEADER)
            header = start[: start.find(b"\n") + 1] or start
            mark = _Mark.of(header, status)
            if known is not None and known[0] == mark:
                return known[1]
            with open(descriptor, "rb", closefd=False) as file:
                body = start[len(header) :] + file.read()
        finally:
            os.close(descriptor)
        state = _decode(header, body)
        self._known = (mark, state)
        return state

    def replace(self, old: State, new: State) -> None:
        """Put ``new`` in place of ``old``, which a load gave, and return when it is on disk.

        When it raises an Exception, the file holds what ``old`` does, or its message says
        otherwise. A file that was damaged or changed since, without the lock, is not replaced.
        """
        try:
            before = self._status(old)
            mark = self._put(new, before)
        except OSError as error:
            raise self._unavailable(_words(error)) from error
        try:
            flush_folder(self._folder)
        except OSError as error:
            # Others may have read the new revision by now, so that the old one cannot come back.
            self._take_back(State(revision=new.revision + 1, tables=old.tables), before, error)
        self._known = (mark, new)

    def _status(self, old: State) -> os.stat_result | None:
        """Return the file's status, None where there is no file, once it is sure to hold ``old``.

        The system is asked, and the content not read again: that would take as long as a load.
        """
        known = self._known
        try:
            status = os.stat(self._name)  # noqa: PTH116 - a Path takes longer
        except FileNotFoundError:
            if known is None:
                return None
            raise
        is_known = known is not None and known == (_Mark.of(known[0].header, status), old)
        # A reader that was slow may have left an older file in memory; then the content decides.
        if not is_known and not self._holds(old):
            raise self._unavailable(
                "it was changed meanwhile by something that does not hold its lock; "
                "nothing was written: begin the transaction anew"
            )
        return status

    def _holds(self, state: State) -> bool:
        try:
            return self._loaded() == state
        except _DamageError:
            return False

    def _put(self, state: State, before: os.stat_result | None) -> _Mark:
        header, body = _encode(state)
        try:
            mark = _write_new(self._temporary, before, header, body)
            os.replace(self._temporary, self._name)  # noqa: PTH105 - a Path takes longer
        except BaseException:
            with suppress(OSError):
                self._temporary.unlink(missing_ok=True)
            raise
        return mark

    def _take_back(self, state: State, before: os.stat_result | None, cause: OSError) -> NoReturn:
        try:
            self._put(state, before)
        except OSError:
            reason = f"the change was made, but may not survive a power cut: {_words(cause)}"
            raise self._unavailable(reason) from cause
        raise self._unavailable(_words(cause)) from cause

    def share(self, descriptor: int) -> None:
        """Give the lock file the owner, group and mode of this file, so far as the system lets.

        Whoever may not read the store is to keep nobody from writing it. Where there is no file
        yet, and on Windows, nothing is done. Raises OSError.
        """
        if sys.platform == "win32":
            return
        try:
            like = os.stat(self._name)  # noqa: PTH116 - a Path takes longer
        except FileNotFoundError:
            return
        status, mode = os.fstat(descriptor), stat.S_IMODE(like.st_mode)
        is_owned = (status.st_uid, status.st_gid) == (like.st_uid, like.st_gid)
        if is_owned and stat.S_IMODE(status.st_mode) == mode:
            return
        # Another user's lock is brought up to date when that user commits.
        with suppress(PermissionError):
            try:
                _keep_owner(descriptor, like)
            except PermissionError:
                mode &= ~0o070  # The group is another one.
            os.fchmod(descriptor, mode)

    def set_aside(self, reason: str) -> SetAside:
        """Rename the file, which is damaged, to ``<name>.corrupt-<UTC time>``; start an empty one.

        A counter is added to a name that is taken. Where no new file can be written, the next
        commit makes one; where it could not have the same owner, nothing is changed.
        """
        when = datetime.now(UTC)
        name = f"{self.path.name}.corrupt-{when:%Y%m%dT%H%M%SZ}"
        names = (name if number == 1 else f"{name}-{number:03}" for number in count(1))
        place = next(each for each in map(self.path.with_name, names) if not os.path.lexists(each))
        # Whoever saw the old contents must see that these are others, so its revision goes on.
        revision = 0 if self._known is None else self._known[1].revision + 1
        try:
            before = self.path.stat()
            self.path.rename(place)
            try:
                # Other processes take a file that is gone for lost; an empty one lets them go on.
                self._put(State(revision=revision), before)
            except OSError as error:
                # One that is made by the next commit would not be its owner's.
                if isinstance(error, PermissionError):
                    place.rename(self.path)
                    raise
        except OSError as error:
            raise self._unavailable(f"it is damaged and stays: {_words(error)}") from error
        self._known = None
        with suppress(OSError):
            flush_folder(self._folder)
        return SetAside(path=str(place), reason=reason, when=when)

    def _unavailable(self, reason: str) -> StorageUnavailableError:
        return StorageUnavailableError(str(self.path), reason)

    def _absence(self) -> str:
        if not self._folder.is_dir():
            return f"there is no folder {str(self._folder)!r}; make it first"
        return "the file was there and is gone; put it back, or open the storage anew"


def _write_new(path: Path, like: os.stat_result | None, header: bytes, body: bytes) -> _Mark:
    """Write a new file with the owner, group and mode of another one, or only for its owner."""
    # Settings hold secrets: nobody else may open the file before it has the mode it is to have.
    try:
        descriptor = os.open(path, _WRITING, 0o600)
    except FileExistsError:
        path.unlink()  # A killed process left it.
        descriptor = os.open(path, _WRITING, 0o600)
    try:
        if like is not None:
            _keep_owner(descriptor, like)
        rest = memoryview(header + body)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        if like is not None and (mode := stat.S_IMODE(like.st_mode)) != 0o600:
            path.chmod(mode)
        os.fsync(descriptor)
        return _Mark.of(header, os.fstat(descriptor))
    finally:
        os.close(descriptor)


def _keep_owner(descriptor: int, like: os.stat_result) -> None:
    """Give a new file the owner and group of another one, as far as these are needed to use it.

    An owner that is in the group needs no more where the group may read and write, and a group
    that may do nothing loses nothing. Raises PermissionError for what the system does not let.
    """
    if sys.platform == "win32":
        return
    status = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) == (like.st_uid, like.st_gid):
        return
    ways = [(like.st_uid, like.st_gid)]
    if like.st_mode & 0o060 == 0o060:
        ways.append((-1, like.st_gid))
    if not like.st_mode & 0o070:
        ways.append((like.st_uid, -1))
    for owner, group in ways:
        with suppress(PermissionError):
            os.fchown(descriptor, owner, group)
            return
    raise PermissionError(
        errno.EPERM,
        f"it belongs to {_owner_of(like)}, and a file that this process writes would not: commit "
        f"as that user, or let a group of both read and write it (chgrp, chmod g+rw)",
    )


def _owner_of(status: os.stat_result) -> str:
    import grp
    import pwd

    user, group = str(status.st_uid), str(status.st_gid)
    with suppress(KeyError):
        user = repr(pwd.getpwuid(status.st_uid).pw_name)
    with suppress(KeyError):
        group = repr(grp.getgrgid(status.st_gid).gr_name)
    return f"user {user} and group {group}"


def flush_folder(folder: str | os.PathLike[str]) -> None:
    """Return when the names in a folder are on the disk. Raises OSError."""
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


class _NewerError(_DamageError):
    """The bytes are a store of a newer plugreg, with the format ``found``."""

    def __init__(self, found: int) -> None:
        super().__init__(found)
        self.found = found


def _encode(state: State) -> tuple[bytes, bytes]:
    body = _JSON.encode(state.tables).encode() + b"\n"
    return _header(state.revision, _checksum(state.revision, body)), body


def _header(revision: int, checksum: str) -> bytes:
    # Put together by hand, as it takes a part of the time of a small write.
    return f'{{"plugreg": {FORMAT}, "revision": {revision}, "sha256": "{checksum}"}}\n'.encode()


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
        raise _NewerError(fields["plugreg"])
    revision, checksum = fields.get("revision"), fields.get("sha256")
    if type(revision) is not int or type(checksum) is not str:
        raise _DamageError("its header has no revision and checksum")
    if checksum != _checksum(revision, body):
        raise _DamageError("its checksum is wrong: it was changed, or a part of it is missing")
    # Compared as bytes, which leaves no second way to write a header.
    if header != _header(revision, checksum):
        raise _DamageError("its header is not as plugreg writes it")
    return revision


def _parsed(text: bytes, what: str) -> Any:
    try:
        return parse_json(text.decode())
    except UnicodeDecodeError as error:
        raise _DamageError(f"{what} is not UTF-8 text") from error
    except ValueError as error:
        raise _DamageError(f"{what} is not JSON that can be read ({error})") from error
    except RecursionError as error:
        raise _DamageError(f"{what} is nested too deeply to be read") from error


def _is_tables(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(table, dict) and all(isinstance(record, dict) for record in table.values())
        for table in value.values()
    )


def _words(error: OSError) -> str:
    return error.strerror or str(error)
