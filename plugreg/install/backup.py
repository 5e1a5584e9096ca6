"""Copy an environment before a change.

Small files are copied, all of them into one file; large ones are kept by a hard link each, which
takes neither time nor room. Installers unlink or rename what they replace and so leave the links
alone, but not all of them do always: setuptools writes over ``easy-install.pth``. To copy ten
thousand small files into one takes no longer than to link them.
"""

# ruff: noqa: PTH100, PTH102, PTH105, PTH106, PTH108, PTH114, PTH115, PTH118, PTH120, PTH123
# A Path for each of ten thousands of files would take longer than copying them.
from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from plugreg.exceptions import InstallError
from plugreg.install.exceptions import InstallPermissionError, InstallSpaceError
from plugreg.storage.file.storefile import flush_folder

SMALL: Final = 64 * 1024
"""The size up to which a file is copied, in bytes."""

COPIES: Final = "copies"
"""The name of the file with all copies, one after the other."""

_MANIFEST: Final = "manifest.json"
_CHUNK: Final = SMALL + 1
# Neither does a link lead elsewhere, nor does a named pipe wait for its writer.
_READING: Final = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)


class Kept(NamedTuple):
    """What was at a path.

    ``mode`` has the kind as well (``st_mode``); it is 0 where nothing was there. The content of a
    file begins at ``offset`` among the copies, or is in the hard link named ``text`` where that is
    None; of a symbolic link, ``text`` is what it says.
    """

    path: str
    mode: int
    owner: int
    group: int
    size: int
    modified_ns: int
    offset: int | None
    text: str | None


class Manifest(NamedTuple):
    """All that was kept: what is in ``folders``, and ``others``, which are outside of them.

    A folder comes before what is in it. ``copies`` is the SHA-256 of the file with all copies.
    """

    folders: tuple[str, ...]
    tree: tuple[Kept, ...]
    others: tuple[Kept, ...]
    copies: str


class Backup:
    """A copy of ``folders`` in the folder ``place``; this and ``without`` are left out of it.

    The folders are resolved, and none is within another one. Links are kept as links and never
    followed. Sockets, pipes and devices are left alone.
    """

    def __init__(self, place: Path, folders: Sequence[Path], without: Iterable[Path]) -> None:
        self.place: Final = str(place)
        self.folders: Final = tuple(map(str, folders))
        self.without: Final = frozenset(map(str, (place, *without)))

    def take(self, files: Iterable[Path]) -> tuple[Manifest, str]:
        """Copy the folders and ``files`` outside of them, and return when all is on the disk.

        Returns what was kept, and the SHA-256 by which :meth:`manifest` knows it again. A file that
        is not there is kept as such, with the folders that it would need. Nothing stays behind when
        an InstallError is raised: for want of room, of a right, or because a file cannot be read.
        """
        try:
            os.mkdir(self.place, 0o700)
            with open(self._path(COPIES), "xb") as copies:
                taking = _Taking(self, copies)
                manifest = Manifest(
                    folders=self.folders,
                    tree=tuple(taking.tree()),
                    others=tuple(taking.others(files)),
                    copies=taking.digest.hexdigest(),
                )
                copies.flush()
                os.fsync(copies.fileno())
            text = json.dumps(manifest._asdict())
            write(self._path(_MANIFEST), text)
            flush_folder(self.place)
            return manifest, hashlib.sha256(text.encode("ascii")).hexdigest()
        except BaseException as error:
            with suppress(OSError):
                self.remove()
            if isinstance(error, OSError):
                raise typed(
                    error, "the environment could not be copied, and is untouched"
                ) from error
            raise

    def manifest(self, sha256: str) -> Manifest:
        """Return what was kept, if it is what :meth:`take` has returned ``sha256`` for.

        Raises InstallError where it or the file of copies cannot be read, or is another one.
        """
        path = self._path(_MANIFEST)
        try:
            with open(path, "rb") as file:
                text = file.read()
            _require(hashlib.sha256(text).hexdigest(), sha256)
            found = json.loads(text)
            manifest = Manifest(
                folders=tuple(found["folders"]),
                tree=tuple(Kept(*fields) for fields in found["tree"]),
                others=tuple(Kept(*fields) for fields in found["others"]),
                copies=found["copies"],
            )
            path = self._path(COPIES)
            with open(path, "rb") as file:
                _require(hashlib.file_digest(file, "sha256").hexdigest(), manifest.copies)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InstallError(
                [f"the copy of the environment cannot be read from {path!r}: {words(error)}"]
            ) from error
        return manifest

    def remove(self) -> None:
        """Remove the copy, if there is one. Raises OSError."""
        with suppress(FileNotFoundError):
            with os.scandir(self.place) as entries:
                found = [entry.path for entry in entries]
            for path in found:
                os.unlink(path)
            os.rmdir(self.place)

    def _path(self, name: str) -> str:
        return os.path.join(self.place, name)


def _require(found: str, expected: str) -> None:
    if found != expected:
        raise ValueError("it is not as it was written; something has changed it since")


class _Taking:
    """One taking of a copy: the file of copies so far, its digest, and how many links there are."""

    def __init__(self, backup: Backup, copies: BinaryIO) -> None:
        self._backup = backup
        self._copies = copies
        self.digest: Final = hashlib.sha256()
        self._links = 0
        self._seen: set[str] = set()

    def tree(self) -> Iterator[Kept]:
        for folder in self._backup.folders:
            for path, status in walk(folder, self._backup.without):
                with suppress(FileNotFoundError):  # It went meanwhile, as if it had before.
                    yield self._kept(path, status)

    def others(self, files: Iterable[Path]) -> Iterator[Kept]:
        for file in files:
            folder, name = os.path.split(os.path.abspath(file))
            path = os.path.join(os.path.realpath(folder), name)
            yield from self._other(path)
            if os.path.islink(path):
                # Who writes to such a file writes to where the link leads.
                yield from self._other(os.path.realpath(path))

    def _other(self, path: str) -> Iterator[Kept]:
        if path in self._seen or self._is_inside(path):
            return
        self._seen.add(path)
        try:
            kept = self._kept(path, os.lstat(path))
        except FileNotFoundError:
            yield Kept(path, 0, 0, 0, 0, 0, None, None)
            # A folder that is made for it is to go again.
            yield from self._other(os.path.dirname(path))
            return
        if path != os.path.dirname(path):
            # A folder that is emptied may be removed, and is to come back.
            yield from self._other(os.path.dirname(path))
        yield kept

    def _is_inside(self, path: str) -> bool:
        return any(
            path == folder or path.startswith(folder + os.sep) for folder in self._backup.folders
        )

    def _kept(self, path: str, status: os.stat_result) -> Kept:
        if stat.S_ISREG(status.st_mode):
            linked = self._linked(path) if status.st_size > SMALL else None
            return linked or self._copied(path)
        text = os.readlink(path) if stat.S_ISLNK(status.st_mode) else None
        return _kept(path, status, None, text)

    def _linked(self, path: str) -> Kept | None:
        name = str(self._links)
        link = os.path.join(self._backup.place, name)
        try:
            os.link(path, link, follow_symlinks=os.link not in os.supports_follow_symlinks)
        except FileNotFoundError:
            raise
        except OSError:
            return None  # It is on another file system, not ours to link, or has too many links.
        self._links += 1
        # Asked of the link, as the path may have been given another file meanwhile.
        status = os.lstat(link)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EAGAIN, "it was replaced while it was copied", path)
        return _kept(path, status, None, name)

    def _copied(self, path: str) -> Kept:
        offset = self._copies.tell()
        descriptor = os.open(path, _READING)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EAGAIN, "it was replaced while it was copied", path)
            while data := os.read(descriptor, _CHUNK):
                self._copies.write(data)
                self.digest.update(data)
        finally:
            os.close(descriptor)
        size = self._copies.tell() - offset
        return _kept(path, status, offset, None)._replace(size=size)


def _kept(path: str, status: os.stat_result, offset: int | None, text: str | None) -> Kept:
    return Kept(
        path=path,
        mode=status.st_mode,
        owner=status.st_uid,
        group=status.st_gid,
        size=status.st_size,
        modified_ns=status.st_mtime_ns,
        offset=offset,
        text=text,
    )


def walk(folder: str, without: Collection[str]) -> Iterator[tuple[str, os.stat_result]]:
    """Yield a folder and all that is in it, each before what is in it, but for ``without``.

    Links are not followed. What goes meanwhile is left out. A folder is not read before the next
    item is asked for, so that its mode can be changed till then. Raises OSError.
    """
    try:
        status = os.lstat(folder)
    except FileNotFoundError:
        return
    yield folder, status
    pending = [folder] if stat.S_ISDIR(status.st_mode) else []
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                found = list(entries)
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in found:
            if entry.path in without:
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield entry.path, status
            if stat.S_ISDIR(status.st_mode):
                pending.append(entry.path)


def write(path: str, text: str, mode: int = 0o666) -> None:
    """Put a text of ASCII into the file at ``path`` as a whole, and return when it is on the disk.

    ``mode`` is that of the file, but for what the umask takes from it. Raises OSError; what was
    there before is then still there.
    """
    temporary = f"{path}.tmp"
    opener = partial(os.open, mode=mode)
    with open(temporary, "w", encoding="ascii", opener=opener) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    flush_folder(os.path.dirname(path))


def flush_all() -> None:
    """Return when all that was written is on the disk, where the system offers that.

    One call for all, as it is not known which files an installer has written.
    """
    if hasattr(os, "sync"):
        os.sync()


def typed(error: OSError, what: str) -> InstallError:
    """Return the InstallError for what the system says: ``what`` was to be done, and why not."""
    return kind_of(error)([f"{what}: {words(error)}"])


def kind_of(error: OSError) -> type[InstallError]:
    """Return the kind of InstallError for what the system says."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InstallSpaceError
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return InstallPermissionError
    return InstallError


def words(error: Exception) -> str:
    """Return why a call of the system failed, and for which path."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    return f"{error.strerror}: {error.filename!r}" if error.filename else error.strerror
