"""Writing a project, first and again, without overwriting changes of its author."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from plugreg._support.frozen import NamedTuple
from plugreg.exceptions import MissingExtraError

Action = Literal["created", "updated", "merged", "conflict", "kept", "unchanged"]


class Written(NamedTuple):
    """The result of writing a file.

    ``conflict`` means that the author and the new version have changed the same lines, or that the
    author's file is not UTF-8: the file is as it was, and the new version stands beside it, with
    ``.new`` at the end of its name.
    ``kept`` means that the author has taken the file away.
    """

    path: str
    action: Action


def write(folder: Path, files: Mapping[str, str], base: Mapping[str, str]) -> list[Written]:
    """Write the files of a project.

    Args:
        folder: The project.
        files: New contents by path.
        base: Contents that an earlier run has written; empty for the first.

    Returns:
        The result of each file.

    Raises:
        OSError: If a file cannot be read or written.
        MissingExtraError: If two changes are to be merged and merge3 is not installed.
    """
    return [
        Written(path, _write(folder / path, new, base.get(path))) for path, new in files.items()
    ]


def _write(file: Path, new: str, base: str | None) -> Action:
    if not file.exists():
        if base is not None:
            return "kept"
        _put(file, new)
        return "created"
    try:
        written = file.read_bytes().decode()
    except UnicodeDecodeError:
        _put(file.with_name(f"{file.name}.new"), new)
        return "conflict"
    newline = "\r\n" if "\r\n" in written else "\n"
    own = written.replace("\r\n", "\n")
    if new in (own, base):
        return "unchanged"
    if own == base:
        _put(file, new, newline)
        return "updated"
    merged = None if base is None else _merge(base, own, new)
    if merged is None:
        _put(file.with_name(f"{file.name}.new"), new)
        return "conflict"
    if merged == own:
        return "unchanged"
    _put(file, merged, newline)
    return "merged"


def _merge(base: str, own: str, new: str) -> str | None:
    """Return a file with both changes, None if they change the same lines."""
    try:
        from merge3 import Merge3
    except ImportError as error:
        raise MissingExtraError.of(error, "updating a plugin", "merge3", "kit") from error
    before, mine, theirs = (text.splitlines(keepends=True) for text in (base, own, new))
    merged: list[str] = []
    for group in Merge3(before, mine, theirs).merge_groups():
        if group[0] == "conflict":
            return None
        merged += group[1]
    return "".join(merged)


def _put(file: Path, text: str, newline: str = "\n") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8", newline=newline)
