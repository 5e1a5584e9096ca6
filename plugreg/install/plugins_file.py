"""The plugins file: a list of the distributions of plugins, one requirement a line.

It is a requirements file as pip reads it, which people edit too: comments and blank lines, lines
continued after a backslash, options, hashes, markers. An entry that is added or removed here
changes the lines of one distribution; every other byte stays as it is.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from plugreg._support.slugs import canonical
from plugreg.exceptions import InstallError
from plugreg.install.exceptions import InstallPermissionError, InstallSpaceError
from plugreg.install.requirement_lines import (
    RequirementLine,
    lines_of,
    wanted,
    with_line,
    with_lines_as_in,
    without_lines,
)
from plugreg.storage.file.storefile import flush_folder

_HEADER: Final = (
    "# The distributions of plugins that are to be installed, one requirement a line.\n"
    "# Installing and uninstalling a plugin changes its own line and leaves the others.\n"
)
_BYTE_ORDER_MARK: Final = "\ufeff"
_NEW_MODE: Final = 0o644
_WRITING: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_MOST_TRIES: Final = 10
"""Number of tries of a change while another writer changes the file."""


class PluginsFile:
    """The plugins file at ``path``, which need not be there yet. Nothing is read till it is asked.

    A line belongs to a distribution by its canonical name: that of its requirement, or what a URL
    or path says with ``#egg=`` or its file's name. Lines whose marker does not hold here belong to
    other interpreters, and lines of options to people; neither is changed.

    Each verb raises InstallError, with the path, when the file cannot be read (with the line where
    it is no UTF-8) or written; it has its old content then, or the new one, never a part. It is
    replaced as a whole by a rename, with the mode it had; a symbolic link stays one. Whoever
    changes it holds the lock of :class:`plugreg.install.safeguard.Safeguard`, so that changes come
    one at a time; what an editor, which knows no lock, saves while a change is made is kept.
    """

    def __init__(self, path: os.PathLike[str] | str) -> None:
        self._path = Path(path).absolute()

    @property
    def path(self) -> Path:
        """The file itself: where the path is a symbolic link, what it leads to."""
        return Path(os.path.realpath(self._path))

    def lines(self) -> tuple[RequirementLine, ...]:
        """Return what is listed, in order; nothing where there is no file. Writes nothing."""
        return lines_of(self.text() or "")

    def text(self) -> str | None:
        """Return the whole of it, without a byte order mark; None where there is no file."""
        content = _read(self.path)
        return None if content is None else content.text.removeprefix(_BYTE_ORDER_MARK)

    def keep(self, text: str, name: str) -> None:
        """Keep what people had written, once the file was put back as it was before a change.

        ``text`` is what it held ahead of that. Where it differs in more than the lines of
        distribution ``name``, which the change has written, it is the file's content again, with
        these lines as they are now.
        """
        own = canonical(name)
        theirs = without_lines(text, own)

        def merged(now: str | None) -> str | None:
            if theirs == (_HEADER if now is None else without_lines(now, own)):
                return now
            return with_lines_as_in(now or "", text, own)

        self._change(merged)

    def put(self, name: str, requirement: str, sha256: str | None = None) -> None:
        """List ``requirement``, one of PEP 508 or a URL, as the only line of distribution ``name``.

        It takes the place of the first line of that name, with the comment and the marker there,
        unless it brings a marker of its own. Where that has hashes, ``sha256`` takes their place:
        they are those of other files. Further lines of the name go. Without one it is put at the
        end, and a missing file is made with a header. A line that asks for just that already, with
        that hash among its own or without any, stays as it is.

        Raises RequirementError for what would not be read back as one requirement of that name, or
        holds a variable that an installer would replace by something of the environment; and
        InstallError where the line has hashes, and there is no ``sha256`` to take their place.
        """
        new = wanted(name, requirement, sha256)
        self._change(lambda text: with_line(_HEADER if text is None else text, new))

    def remove(self, name: str) -> bool:
        """Take all lines of distribution ``name`` out; return whether there was one.

        After a :meth:`put` that found no line of that name the file is as before, byte for byte;
        one that was made for it keeps its header.
        """
        own = canonical(name)
        return self._change(lambda text: text and without_lines(text, own))

    def _change(self, change: Callable[[str | None], str | None]) -> bool:
        """Replace the file by what ``change`` makes of its text; return whether that differs."""
        path = self.path
        for _ in range(_MOST_TRIES):
            before = _read(path)
            old = None if before is None else before.text
            mark = _BYTE_ORDER_MARK if old and old.startswith(_BYTE_ORDER_MARK) else ""
            new = change(old and old.removeprefix(mark))
            if new is None or mark + new == old:
                return False
            if _replace(path, before, mark + new):
                return True
        raise InstallError(
            [f"plugins file {str(path)!r} is changed by something else all the time; stop that"]
        )


class _Content(NamedTuple):
    """What the file holds, with its line breaks as they are, and its mode."""

    text: str
    mode: int


def _read(path: Path) -> _Content | None:
    """Return what the file holds, None where there is none."""
    try:
        status = path.stat()
        # A pipe would be waited for, and a device must not be replaced.
        if not stat.S_ISREG(status.st_mode):
            raise InstallError([f"plugins file {str(path)!r} is no file; choose the path of one"])
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _fault(path, "read", error) from error
    try:
        return _Content(data.decode(), stat.S_IMODE(status.st_mode))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
    raise InstallError(
        [
            f"plugins file {str(path)!r}, line {line}: it is not UTF-8 text; "
            f"nothing was changed in it: save it as UTF-8"
        ]
    )


def _replace(path: Path, before: _Content | None, text: str) -> bool:
    """Put a new text in the place of ``before``; return False where that is not there any more."""
    temporary = path.with_name(f".plugreg-{os.urandom(4).hex()}.tmp")
    try:
        _write_new(temporary, text.encode(), None if before is None else before.mode)
        # What takes long is done: there is next to no time between this look and the rename.
        if _read(path) != before:
            return False
        temporary.replace(path)
        flush_folder(path.parent)
    except OSError as error:
        raise _fault(path, "written", error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return True


def _write_new(path: Path, data: bytes, mode: int | None) -> None:
    descriptor = os.open(path, _WRITING, _NEW_MODE if mode is None else mode)
    with os.fdopen(descriptor, "wb") as file:
        if mode is not None:
            path.chmod(mode)  # What is new heeds the umask; what was there keeps what it had.
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _fault(path: Path, verb: str, error: OSError) -> InstallError:
    kind = InstallError
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        kind = InstallPermissionError
    elif error.errno in (errno.ENOSPC, errno.EDQUOT):
        kind = InstallSpaceError
    return kind(
        [
            f"plugins file {str(path)!r} could not be {verb}: {error.strerror or error}; "
            f"see to it that this process may write to its folder, and that there is room"
        ]
    )
