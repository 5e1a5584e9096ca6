"""Restore an environment from its copy."""

# ruff: noqa: PTH101, PTH102, PTH105, PTH106, PTH108, PTH115, PTH118, PTH120, PTH123, PTH211
# A Path for each of ten thousands of files would take longer than comparing them.
from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Final

from plugreg.exceptions import InstallError
from plugreg.install.backup import (
    COPIES,
    Backup,
    Kept,
    Manifest,
    flush_all,
    kind_of,
    typed,
    walk,
)

_TEMPORARY: Final = ".plugreg.tmp"
_CHUNK: Final = 1024 * 1024
_MOST_REASONS: Final = 20
_WORKABLE: Final = 0o700
"""What a folder's owner needs to change what is in it."""


def put_back(backup: Backup, manifest: Manifest) -> tuple[str, ...]:
    """Make folders and files what they were when ``backup`` was taken; it stays as it is.

    ``manifest`` is what was kept then: as :meth:`Backup.take` has returned it, so that nothing on
    the disk decides what is removed, or in another process as :meth:`Backup.manifest` does.

    What was not there is removed, and what is not as it was is replaced: content, mode, owner and
    time of a file, the text of a link, the mode of a folder. It can be done again, also after it
    was broken off. Returns the large files that could not be put back, since something has written
    into them in place. Raises InstallError where the system refuses something; all the rest is
    done then.
    """
    if manifest.folders != backup.folders:
        raise InstallError(
            [
                f"the copy was taken of {', '.join(manifest.folders)}, and the environment is "
                f"now in {', '.join(backup.folders)}; put it back from where it was taken"
            ]
        )
    try:
        with open(os.path.join(backup.place, COPIES), "rb") as copies:
            restoring = _Restoring(backup, copies)
            restoring.remove_what_came(manifest.tree)
            restoring.restore(manifest.tree)
            restoring.set_modes(manifest.tree)
            restoring.restore(manifest.others)
            restoring.remove_others(manifest.others)
        flush_all()
    except OSError as error:
        raise typed(error, "the environment could not be put back") from error
    restoring.raise_failures()
    return tuple(restoring.lost)


class _Restoring:
    """One restoring: what has failed so far, and what is lost."""

    def __init__(self, backup: Backup, copies: BinaryIO) -> None:
        self._backup = backup
        self._copies = copies
        self._failures: list[tuple[str, OSError]] = []
        self.lost: list[str] = []

    def remove_what_came(self, tree: tuple[Kept, ...]) -> None:
        before = {entry.path: entry.mode for entry in tree}
        came: list[tuple[str, int]] = []
        for folder in self._backup.folders:
            with self._noting_failures(folder):
                for path, status in walk(folder, self._backup.without):
                    if stat.S_IFMT(before.get(path, 0)) != stat.S_IFMT(status.st_mode):
                        came.append((path, status.st_mode))
                    if stat.S_ISDIR(status.st_mode):
                        _make_workable(path, status.st_mode)
        for path, mode in reversed(came):
            with self._noting_failures(path):
                _remove(path, mode)

    def restore(self, kept: tuple[Kept, ...]) -> None:
        for entry in kept:
            with self._noting_failures(entry.path):
                self._restore(entry)

    def remove_others(self, others: tuple[Kept, ...]) -> None:
        # In this order a folder comes after what was in it.
        for path in sorted((entry.path for entry in others if not entry.mode), reverse=True):
            with self._noting_failures(path):
                _remove_other(path)

    def set_modes(self, tree: tuple[Kept, ...]) -> None:
        # Last, and what is inside first: a mode may forbid to change what is in a folder.
        for entry in reversed(tree):
            if stat.S_ISDIR(entry.mode):
                with self._noting_failures(entry.path):
                    if os.lstat(entry.path).st_mode != entry.mode:
                        os.chmod(entry.path, stat.S_IMODE(entry.mode))

    def raise_failures(self) -> None:
        if not self._failures:
            return
        told = self._failures[:_MOST_REASONS]
        reasons = [f"{path!r} could not be put back: {error.strerror}" for path, error in told]
        if self._failures[len(told) :]:
            reasons.append(f"nor could {len(self._failures) - len(told)} more")
        first = self._failures[0][1]
        raise kind_of(first)(reasons) from first

    @contextmanager
    def _noting_failures(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._failures.append((path, error))

    def _restore(self, kept: Kept) -> None:
        try:
            now = os.lstat(kept.path)
        except FileNotFoundError:
            now = None
        if stat.S_ISDIR(kept.mode):
            if now is None:
                os.mkdir(kept.path)
                _set_owner(kept.path, kept)
                os.chmod(kept.path, stat.S_IMODE(kept.mode) | _WORKABLE)
        elif stat.S_ISLNK(kept.mode):
            if now is None or not _is_link_to(kept.path, now, kept.text):
                _replace(kept.path, lambda new: os.symlink(str(kept.text), new))
        elif stat.S_ISREG(kept.mode):
            if kept.offset is None:
                self._restore_linked(kept, now)
            elif now is None or not self._is_as_it_was(kept, now):
                _replace(kept.path, lambda new: self._write(kept, new))

    def _restore_linked(self, kept: Kept, now: os.stat_result | None) -> None:
        link = os.path.join(self._backup.place, str(kept.text))
        status = os.lstat(link)
        if (status.st_size, status.st_mtime_ns) != (kept.size, kept.modified_ns):
            self.lost.append(kept.path)
        if now is None or not os.path.samestat(now, status):
            _replace(kept.path, lambda new: os.link(link, new))
        if (status.st_uid, status.st_gid) != (kept.owner, kept.group):
            _set_owner(kept.path, kept)
        if status.st_mode != kept.mode:
            os.chmod(kept.path, stat.S_IMODE(kept.mode))

    def _is_as_it_was(self, kept: Kept, now: os.stat_result) -> bool:
        said = (now.st_mode, now.st_uid, now.st_gid, now.st_size, now.st_mtime_ns)
        if said != (kept.mode, kept.owner, kept.group, kept.size, kept.modified_ns):
            return False
        # A change within one tick of the clock, of the same size, shows in the content alone.
        with open(kept.path, "rb") as file:
            return all(file.read(len(chunk)) == chunk for chunk in self._content(kept))

    def _write(self, kept: Kept, new: str) -> None:
        # Nobody else may open it before it has the mode that it had.
        with open(new, "xb", opener=_private) as file:
            for chunk in self._content(kept):
                file.write(chunk)
        _set_owner(new, kept)
        os.chmod(new, stat.S_IMODE(kept.mode))
        os.utime(new, ns=(kept.modified_ns, kept.modified_ns))

    def _content(self, kept: Kept) -> Iterator[bytes]:
        self._copies.seek(kept.offset or 0)
        left = kept.size
        while left:
            chunk = self._copies.read(min(left, _CHUNK))
            if not chunk:
                raise OSError(errno.EIO, "its copy is cut off", kept.path)
            left -= len(chunk)
            yield chunk


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _make_workable(path: str, mode: int) -> None:
    if mode & _WORKABLE != _WORKABLE:
        # Where that is not allowed it may not be needed; what then fails says so itself.
        with suppress(PermissionError):
            os.chmod(path, stat.S_IMODE(mode) | _WORKABLE)


def _remove(path: str, mode: int) -> None:
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(mode):
            os.rmdir(path)
        else:
            os.unlink(path)


def _remove_other(path: str) -> None:
    try:
        _remove(path, os.lstat(path).st_mode)
    except FileNotFoundError:
        return
    except OSError as error:
        # What somebody else has put into the folder meanwhile stays, and so does the folder.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _is_link_to(path: str, now: os.stat_result, text: str | None) -> bool:
    return stat.S_ISLNK(now.st_mode) and os.readlink(path) == text


def _replace(path: str, make: Callable[[str], None]) -> None:
    new = os.path.join(os.path.dirname(path), _TEMPORARY)
    with suppress(FileNotFoundError):
        os.unlink(new)  # A restoring that was broken off has left it.
    try:
        make(new)
        os.replace(new, path)
    except OSError:
        with suppress(OSError):
            os.unlink(new)
        raise


def _set_owner(path: str, kept: Kept) -> None:
    status = os.lstat(path)
    if (status.st_uid, status.st_gid) != (kept.owner, kept.group):
        # Only root may give a file away; without that it is ours, which changes nothing in it.
        with suppress(PermissionError):
            os.chown(path, kept.owner, kept.group)
