"""Write files atomically, with errors that explain failures."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from plugreg.exceptions import InstallError
from plugreg.install.exceptions import InstallPermissionError, InstallSpaceError
from plugreg.storage.file.storefile import flush_folder

WASTE: Final = ".waste-"
"""Prefix of the names of unreferenced folders, which are being made or removed."""

_WRITING: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


@contextmanager
def disk_errors(failed: str) -> Iterator[None]:
    """Raise an InstallError in the place of an OSError in the ``with`` block.

    Args:
        failed: The failed operation, as the beginning of a sentence.
    """
    try:
        yield
    except OSError as error:
        kind = InstallError
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            kind = InstallPermissionError
        elif error.errno in (errno.ENOSPC, errno.EDQUOT):
            kind = InstallSpaceError
        place = f": {str(error.filename)!r}" if error.filename else ""
        raise kind([f"{failed}: {error.strerror or error}{place}"]) from error


def write_file(path: Path, data: bytes) -> None:
    """Replace a file atomically, and flush it to disk.

    It keeps its mode; that of a new file is 0644 without the bits of the umask.

    Args:
        path: Its path.
        data: The new content.

    Raises:
        OSError: If that fails; nothing has changed then.
    """
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
    new = path.with_name(f"{WASTE}{secrets.token_hex(8)}.tmp")
    try:
        with os.fdopen(os.open(new, _WRITING, 0o644 if mode is None else mode), "wb") as file:
            if mode is not None:
                new.chmod(mode)  # Opening has heeded the umask.
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        flush_folder(path.parent)
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)
