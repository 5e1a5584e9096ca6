"""The file of a TinyDBStorage: checked, and only replaced as a whole.

It has two lines in UTF-8. The first is plugreg's header::

    {"plugreg": 1, "revision": 7, "sha256": "9f86d0…"}

It has the version of this layout and the number of the commit. The SHA-256 is that of these two
numbers, a line feed, and the second line. The second line is TinyDB's own JSON: documents by ID,
by table.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Final

from plugreg._support.frozen import NamedTuple
from plugreg.exceptions import StorageCorruptError, StorageFormatError, StorageUnavailableError
from plugreg.storage.memory import StoreState
from plugreg.storage.parsing import parse_json

FORMAT: Final = 1
"""The version of the file's layout. A file with a higher version is refused, never rewritten."""

_MAX_HEADER: Final = 512
_FORMAT_FIRST: Final = re.compile(rb'\s*\{\s*"plugreg"\s*:\s*([0-9]{1,9})\b')
_HEADER: Final = re.compile(
    rb'\{"plugreg": %d, "revision": (0|[1-9][0-9]{0,18}), "sha256": "([0-9a-f]{64})"\}\n' % FORMAT
)
# No record contains itself: neither a checked copy does, nor a parsed record.
_JSON: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False)
_BINARY: Final = getattr(os, "O_BINARY", 0)
# Without O_NONBLOCK, opening a named pipe would wait for its writer.
_READING: Final = os.O_RDONLY | _BINARY | getattr(os, "O_NONBLOCK", 0)
_WRITING: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY


@dataclass(frozen=True, kw_only=True, slots=True)
class SetAside:
    """A damaged store that was renamed.

    Attributes:
        path: The new name of the file, whose bytes are as they were found.
        reason: The damage, as in `StorageCorruptError.reason`.
        when: The time, aware and in UTC.
    """

    path: str
    reason: str
    when: datetime


class _Mark(NamedTuple):
    """The properties by which a file is recognised without reading all of it."""

    header: bytes
    inode: int
    size: int
    modified_ns: int


def _mark(header: bytes, status: os.stat_result) -> _Mark:
    return _Mark(header, status.st_ino, status.st_size, status.st_mtime_ns)


class StoreFile:
    """A store's file: parsed once for each content, and only replaced by renaming.

    Reading needs no lock; callers of `replace` and `set_aside` hold that of the store. Every
    method raises StorageUnavailableError when the system refuses an operation.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # One name is enough for one writer. The next writer removes the file of a killed one.
        self._temporary = path.with_name(f"{path.name}.tmp")
        self._folder = path.parent
        self._name = str(path)  # System calls are faster with a string than with a Path.
        # One value, so that a reader without a lock never pairs one file's mark with the state of
        # another. It only caches the result of some load: each load checks the file.
        self._known: tuple[_Mark, StoreState] | None = None

    def load(self) -> StoreState:
        """Return the contents of the file now, an empty state if there was never a file.

        Raises:
            StorageCorruptError: If the contents are not as plugreg wrote them.
            StorageFormatError: If a newer plugreg wrote them.
        """
        try:
            return self._read()
        except OSError as error:
            raise self._unavailable(error) from error

    def _read(self) -> StoreState:
        known = self._known
        try:
            descriptor = os.open(self._name, _READING)
        except FileNotFoundError as error:
            # The cache before the look counts: the first commit may have come since.
            if known is None and self._folder.is_dir():
                return StoreState()
            reason = "the file was there and is gone; put it back, or open the storage again"
            if not self._folder.is_dir():
                reason = f"there is no folder {str(self._folder)!r}; make it first"
            raise self._unavailable(reason) from error
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise self._unavailable("it is not a plain file; choose another path")
            start = os.read(descriptor, _MAX_HEADER)
            header = start[: start.find(b"\n") + 1] or start
            mark = _mark(header, status)
            if known is not None and known[0] == mark:
                return known[1]
            with open(descriptor, "rb", closefd=False) as file:
                body = start[len(header) :] + file.read()
        finally:
            os.close(descriptor)
        state = _decode(self._name, header, body)
        self._known = (mark, state)
        return state

    def replace(self, old: StoreState, new: StoreState) -> None:
        """Replace the contents, and return when the new contents are on disk.

        A file that was damaged or changed since without the lock is not replaced. After an error
        the file has the contents of *old*, unless the message says otherwise.

        Args:
            old: The contents that a load returned.
            new: The contents to write.
        """
        try:
            before = self._status(old)
            mark = self._write(new, before)
        except OSError as error:
            raise self._unavailable(error) from error
        try:
            flush_folder(self._folder)
        except OSError as error:
            try:
                # Others may have read the new revision by now, so the old one cannot return.
                self._write(StoreState(new.revision + 1, old.tables), before)
            except OSError:
                reason = "the change was made, but may not survive a power cut: "
                raise self._unavailable(reason + _reason_of(error)) from error
            raise self._unavailable(error) from error
        self._known = (mark, new)

    def _status(self, old: StoreState) -> os.stat_result | None:
        """Return the status of the file, None if there is no file.

        Raises unless the file has the contents *old*. Its mark decides, because reading the file
        would take as long as a load.
        """
        known = self._known
        try:
            status = os.stat(self._name)  # noqa: PTH116 - a Path takes longer
        except FileNotFoundError:
            if known is None:
                return None
            raise
        # A slow reader may have cached an older file; then the contents decide.
        is_known = known is not None and known == (_mark(known[0].header, status), old)
        with suppress(StorageCorruptError, StorageFormatError):
            if is_known or self._read() == old:
                return status
        raise self._unavailable(
            "it was changed meanwhile by something that does not hold its lock; "
            "nothing was written: begin the transaction again"
        )

    def _write(self, state: StoreState, before: os.stat_result | None) -> _Mark:
        try:
            mark = _write_new(self._temporary, before, *_encode(state))
            os.replace(self._temporary, self._name)  # noqa: PTH105 - a Path takes longer
        except BaseException:
            with suppress(OSError):
                self._temporary.unlink(missing_ok=True)
            raise
        return mark

    def share(self, descriptor: int) -> None:
        """Set the owner, group and mode of the lock file to those of this file.

        That is done as far as the system allows. So a user who may not read the store cannot block
        its writers. Without a file, and on Windows, nothing is done.

        Args:
            descriptor: That of the lock file.

        Raises:
            OSError: If the system fails.
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
        # Another user's lock file is updated when that user commits.
        with suppress(PermissionError):
            try:
                _copy_owner(descriptor, like)
            except PermissionError:
                mode &= ~0o070  # It belongs to another group.
            os.fchmod(descriptor, mode)

    def set_aside(self, reason: str) -> SetAside:
        """Rename the damaged file, and start an empty file.

        Its new name is ``<name>.corrupt-<UTC time>``, with a counter if that is taken. If no new
        file can be written, the next commit creates one. If the new file could not have the same
        owner, nothing is changed.

        Args:
            reason: The damage.
        """
        when, place = self._aside()
        # Readers of the old contents must see that these are others, so the revision increases.
        revision = 0 if self._known is None else self._known[1].revision + 1
        try:
            before = self.path.stat()
            self.path.rename(place)
            try:
                # Other processes refuse a file that is gone; an empty one lets them continue.
                self._write(StoreState(revision), before)
            except OSError as error:
                # The next commit would create a file of another owner.
                if isinstance(error, PermissionError):
                    place.rename(self.path)
                    raise
        except OSError as error:
            reason = f"it is damaged and stays: {_reason_of(error)}"
            raise self._unavailable(reason) from error
        self._known = None
        with suppress(OSError):
            flush_folder(self._folder)
        return SetAside(path=str(place), reason=reason, when=when)

    def accept_changes(self, reason: str) -> SetAside:
        """Write the contents again that something else has changed, as the next commit.

        The file as it was found is kept under a name that `set_aside` would give it.

        Args:
            reason: The damage, which is a wrong checksum.

        Raises:
            StorageCorruptError: If it cannot be read; nothing has changed then.
        """
        when, place = self._aside()
        try:
            before, data = self.path.stat(), self.path.read_bytes()
            header = data[: data.find(b"\n") + 1] or data
            found = _decode(self._name, header, data[len(header) :], is_checked=False)
            _write_new(place, before, header, data[len(header) :])
            self._write(StoreState(found.revision + 1, found.tables), before)
            flush_folder(self._folder)
        except OSError as error:
            raise self._unavailable(error) from error
        self._known = None
        return SetAside(path=str(place), reason=reason, when=when)

    def _aside(self) -> tuple[datetime, Path]:
        """Return the time now, and a new name for the damaged file."""
        when = datetime.now(UTC)
        name = f"{self.path.name}.corrupt-{when:%Y%m%dT%H%M%SZ}"
        names = (name if number == 1 else f"{name}-{number:03}" for number in count(1))
        paths = map(self.path.with_name, names)
        return when, next(path for path in paths if not os.path.lexists(path))

    def _unavailable(self, reason: str | OSError) -> StorageUnavailableError:
        words = _reason_of(reason) if isinstance(reason, OSError) else reason
        return StorageUnavailableError(self._name, words)


def _write_new(path: Path, like: os.stat_result | None, header: bytes, body: bytes) -> _Mark:
    """Write a new file with the permissions of another, or for its owner only."""
    # Settings hold secrets: nobody else may open the file before it has its final mode.
    try:
        descriptor = os.open(path, _WRITING, 0o600)
    except FileExistsError:
        path.unlink()  # A killed process left it.
        descriptor = os.open(path, _WRITING, 0o600)
    try:
        if like is not None:
            _copy_owner(descriptor, like)
        rest = memoryview(header + body)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        if like is not None and (mode := stat.S_IMODE(like.st_mode)) != 0o600:
            path.chmod(mode)
        os.fsync(descriptor)
        return _mark(header, os.fstat(descriptor))
    finally:
        os.close(descriptor)


def _copy_owner(descriptor: int, like: os.stat_result) -> None:
    """Set the owner and group of a new file to those of another, as far as users need them.

    The group alone is enough if it may read and write, because the owner should be in it. The
    owner alone is enough if the group has no permission. Raises PermissionError if the system
    allows neither.
    """
    if sys.platform == "win32":
        return
    status = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) == (like.st_uid, like.st_gid):
        return
    owners = [(like.st_uid, like.st_gid)]
    if like.st_mode & 0o060 == 0o060:
        owners.append((-1, like.st_gid))
    if not like.st_mode & 0o070:
        owners.append((like.st_uid, -1))
    for owner, group in owners:
        with suppress(PermissionError):
            os.fchown(descriptor, owner, group)
            return
    raise PermissionError(
        errno.EPERM,
        f"it belongs to user {like.st_uid} and group {like.st_gid}, and a file that this process "
        f"writes would not: commit as that user, or let a group of both read and write it "
        f"(chgrp, chmod g+rw)",
    )


def flush_folder(folder: str | os.PathLike[str]) -> None:
    """Flush the names of the files in a folder to disk.

    Args:
        folder: The folder.

    Raises:
        OSError: If the system fails.
    """
    # Windows neither opens folders nor needs it: its file systems have a journal of names.
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _encode(state: StoreState) -> tuple[bytes, bytes]:
    body = _JSON.encode(state.tables).encode() + b"\n"
    checksum = _checksum(state.revision, body)
    # Formatted by hand, because an encoder takes a part of the time of a small write.
    header = f'{{"plugreg": {FORMAT}, "revision": {state.revision}, "sha256": "{checksum}"}}\n'
    return header.encode(), body


def _checksum(revision: int, body: bytes) -> str:
    # It covers the header's own numbers, so that no bit of the file may change unseen.
    digest = hashlib.sha256(f"{FORMAT} {revision}\n".encode())
    digest.update(body)
    return digest.hexdigest()


def _decode(path: str, header: bytes, body: bytes, *, is_checked: bool = True) -> StoreState:
    """Return the contents of a file. Raises StorageCorruptError or StorageFormatError.

    Unless *is_checked*, its checksum may be wrong.
    """
    # A newer plugreg may write a longer first line, or several: its format comes first.
    newer = _FORMAT_FIRST.match(header + body[:_MAX_HEADER])
    if newer and int(newer[1]) > FORMAT:
        raise StorageFormatError(path, int(newer[1]), FORMAT)
    # The whole line is compared, so that there is no second way to write a header.
    found = _HEADER.fullmatch(header)
    if found is None:
        reason = "its first line is not the header of a plugreg store" if header else "it is empty"
        raise StorageCorruptError(path, reason)
    revision = int(found[1])
    if is_checked and found[2].decode() != _checksum(revision, body):
        reason = "its checksum is wrong: it was changed, or a part of it is missing"
        raise StorageCorruptError(path, reason)
    try:
        tables = parse_json(body.decode())
    except ValueError as error:
        raise StorageCorruptError(path, f"it is not JSON that can be read ({error})") from error
    if not _is_tables(tables):
        raise StorageCorruptError(path, "its content is not tables of records")
    return StoreState(revision, tables)


def _is_tables(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(table, dict) and all(isinstance(record, dict) for record in table.values())
        for table in value.values()
    )


def _reason_of(error: OSError) -> str:
    return error.strerror or str(error)
