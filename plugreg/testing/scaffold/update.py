"""Writing a project, first and again, without overwriting changes of its author."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Literal

from plugreg._support.frozen import NamedTuple
from plugreg.exceptions import MissingExtraError

Action = Literal["created", "updated", "merged", "conflict", "kept", "unchanged"]


class Written(NamedTuple):
    """The result of writing a file.

    ``conflict`` means that the author and the new version have changed the same lines, or that the
    author's file is not UTF-8: the file is as it was, and the new version is in the file
    ``beside`` it.
    ``kept`` means that the author has taken the file away.
    """

    path: str
    action: Action
    beside: Path | None = None


def write(folder: Path, files: Mapping[str, str], base: Mapping[str, str]) -> list[Written]:
    """Write the files of a project.

    Args:
        folder: The project.
        files: New contents by path.
        base: Contents that an earlier run has written; empty for the first.

    Returns:
        The result of each file.

    Raises:
        ValueError: If a folder is in the place of a file, or a file in that of a folder. Nothing
            is written then.
        OSError: If a file cannot be read or written.
        MissingExtraError: If two changes are to be merged and merge3 is not installed.
    """
    for file in (folder / path for path in files):
        wrong = [file] if file.is_dir() else [place for place in file.parents if place.is_file()]
        if wrong:
            kinds = ("folder", "file") if wrong[0].is_dir() else ("file", "folder")
            raise ValueError(
                f"{str(wrong[0])!r} is a {kinds[0]}, and the project has a {kinds[1]} there; "
                f"move it away, and run the command again"
            )
    return [_write(folder, path, new, base.get(path)) for path, new in files.items()]


def _write(folder: Path, path: str, new: str, base: str | None) -> Written:
    file = folder / path
    if not file.exists():
        if base is not None:
            return Written(path, "kept")
        _put(file, new)
        return Written(path, "created")
    try:
        written = file.read_bytes().decode()
    except UnicodeDecodeError:
        return Written(path, "conflict", _put_beside(file, new))
    newline = "\r\n" if "\r\n" in written else "\n"
    own = written.replace("\r\n", "\n")
    if new in (own, base):
        return Written(path, "unchanged")
    if own == base:
        _put(file, new, newline)
        return Written(path, "updated")
    merged = None if base is None else _merge(base, own, new)
    if merged is None:
        return Written(path, "conflict", _put_beside(file, new))
    if merged == own:
        return Written(path, "unchanged")
    _put(file, merged, newline)
    return Written(path, "merged")


def _merge(base: str, own: str, new: str) -> str | None:
    """Return a file with both changes, None if they change the same lines."""
    try:
        from merge3 import Merge3
    except ImportError as error:
        raise MissingExtraError.of(error, "updating a plugin", "merge3", "kit") from error
    before, mine, theirs = (text.splitlines(keepends=True) for text in (base, own, new))
    groups = [*Merge3(before, mine, theirs).merge_groups()]
    if any(group[0] == "conflict" for group in groups):
        return None
    return "".join(line for group in groups for line in group[1])


def _put_beside(file: Path, text: str) -> Path:
    """Write a new version beside the author's file, whose earlier new versions stay."""
    for number in count(1):
        place = file.with_name(f"{file.name}.new{number if number > 1 else ''}")
        try:
            with place.open("x", encoding="utf-8", newline="\n") as stream:
                stream.write(text)
        except FileExistsError:
            if place.is_file() and place.read_bytes() == text.encode():
                break
        else:
            break
    return place


def _put(file: Path, text: str, newline: str = "\n") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8", newline=newline)
