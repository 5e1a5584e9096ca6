"""The plugins file: the distributions that are asked for, one requirement (PEP 508) a line."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from plugreg._support.slugs import canonical
from plugreg.exceptions import InstallError, RequirementError
from plugreg.install.exceptions import InstallPermissionError, InstallSpaceError
from plugreg.install.requirements import parse_target
from plugreg.storage.file.storefile import flush_folder

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_HEADER: Final = (
    "# The distributions of plugins that are to be installed, one requirement a line.\n"
    "# Installing and uninstalling a plugin changes its own line and leaves the others.\n"
)
_COMMENT: Final = re.compile(r"(^|(?<!\s)\s+)#.*$")
_BYTE_ORDER_MARK: Final = "\ufeff"
_NEW_MODE: Final = 0o644
_WRITING: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_MOST_TRIES: Final = 10
"""Number of tries of a change while another writer changes the file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginLine:
    """A requirement in the plugins file.

    Args:
        number: Its line, from 1.
        name: Canonical name of its distribution.
        text: The requirement, without comment. It may contain credentials.
        applies: Whether its marker holds in this interpreter.
        raw: The whole line, with its line break.
    """

    number: int
    name: str
    text: str = field(repr=False)
    applies: bool = True
    raw: str = field(default="", repr=False)


class PluginsFile:
    """The plugins file at a path; it need not exist, and nothing is read until a method is called.

    Comments and blank lines are kept. A line whose marker does not hold in this interpreter
    belongs to other interpreters and is never changed. All else than single requirements (options,
    hashes, continued lines, paths, other files) is refused, with the number of the line.

    Each method raises an InstallError if the file cannot be read or written. The file is replaced
    as a whole, with the mode that it had; a symbolic link remains one. What an editor saves
    meanwhile is kept. The caller must prevent concurrent changes by other processes.

    Args:
        path: Path of the file.
    """

    def __init__(self, path: os.PathLike[str] | str) -> None:
        self._path = Path(path).absolute()

    @property
    def path(self) -> Path:
        """The file, with symbolic links followed."""
        return Path(os.path.realpath(self._path))

    def lines(self) -> tuple[PluginLine, ...]:
        """Return the requirements, in order; none if there is no file."""
        return tuple(line for line in self._parse(self.text() or "") if line.name)

    def text(self) -> str | None:
        """Return the content without a byte order mark, None if there is no file."""
        content = _read(self.path)
        return None if content is None else content.text.removeprefix(_BYTE_ORDER_MARK)

    def put(self, name: str, requirement: str) -> None:
        """List a requirement as the only line of its distribution.

        It replaces the first line of that name and keeps the comment and the marker there, unless
        it has a marker itself. Further lines of that name are removed. Without such a line it is
        appended. A missing file is created with a header.

        Args:
            name: The distribution.
            requirement: A requirement (PEP 508) of that name, or a URL.

        Raises:
            RequirementError: If *requirement* is not acceptable.
        """
        from packaging.requirements import Requirement

        name = canonical(name)
        is_url = "://" in requirement.partition("@")[0]
        new = Requirement(parse_target(f"{name} @ {requirement}" if is_url else requirement).text)
        if canonical(new.name) != name:
            raise RequirementError(
                "packagename", f"it names {new.name!r}, not {name!r}; give one that does"
            )

        def replaced(text: str | None) -> str:
            rows, is_listed = [], False
            for line in self._parse(_HEADER if text is None else text):
                if line.name != name or not line.applies:
                    rows.append(line.raw)
                elif not is_listed:
                    is_listed = True
                    rows.append(_renewed(line.raw, Requirement(line.text), new))
            return _joined(rows, text or "") if is_listed else _appended(rows, str(new))

        self._change(replaced)

    def remove(self, name: str) -> bool:
        """Remove all lines of a distribution.

        Args:
            name: The distribution.

        Returns:
            Whether there was one. After `put` appended it, the file is as before, byte for byte.
        """
        name = canonical(name)

        def removed(text: str | None) -> str | None:
            if text is None:
                return None
            lines = self._parse(text)
            rows = [line.raw for line in lines if line.name != name or not line.applies]
            return _joined(rows, text)

        return self._change(removed)

    def update(self, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        """List what is asked for after a change, and no more what was only before.

        Args:
            before: Requirements by name.
            after: The same afterwards.
        """
        for name in sorted(before.keys() - after.keys()):
            self.remove(name)
        for name, line in sorted(after.items()):
            if before.get(name) != line:
                self.put(name, line)

    def _parse(self, text: str) -> Iterator[PluginLine]:
        """Yield all lines; those without a requirement have no name."""
        from packaging.requirements import InvalidRequirement, Requirement

        for number, raw in enumerate(text.splitlines(keepends=True), 1):
            wanted = _COMMENT.sub("", _bare(raw)).strip()
            if not wanted:
                yield PluginLine(number=number, name="", text="", raw=raw)
                continue
            try:
                requirement = Requirement(wanted)
                applies = requirement.marker is None or requirement.marker.evaluate()
                if applies:
                    parse_target(wanted)
            except (InvalidRequirement, ValueError, LookupError) as error:
                why = error.reason if isinstance(error, RequirementError) else "it is none"
                raise InstallError(
                    [
                        f"plugins file {str(self.path)!r}, line {number}: each line must be one "
                        f"requirement by PEP 508, such as 'shop-discount>=2', without options and "
                        f"hashes ({why}); correct it"
                    ]
                ) from None
            name = canonical(requirement.name)
            yield PluginLine(number=number, name=name, text=wanted, applies=applies, raw=raw)

    def _change(self, change: Callable[[str | None], str | None]) -> bool:
        """Replace the file by what *change* makes of its text; return whether that differs."""
        path = self.path
        for _ in range(_MOST_TRIES):
            before = _read(path)
            old = None if before is None else before.text
            mark = _BYTE_ORDER_MARK if old and old.startswith(_BYTE_ORDER_MARK) else ""
            new = change(old if old is None else old.removeprefix(mark))
            if new is None or mark + new == old:
                return False
            if _replace(path, before, mark + new):
                return True
        raise InstallError(
            [f"plugins file {str(path)!r} is changed by something else all the time; stop that"]
        )


def _bare(raw: str) -> str:
    return raw.splitlines()[0] if raw else ""


def _renewed(raw: str, old: Requirement, new: Requirement) -> str:
    """Return the line that replaces *raw*, which is itself if it asks for just that."""
    from packaging.requirements import Requirement

    text = str(new)
    # Without its marker it would hold for other interpreters too, which may have their own lines.
    if old.marker and not new.marker:
        text = f"{text} ; {old.marker}"
    if Requirement(text) == old:
        return raw
    bare = _bare(raw)
    comment = _COMMENT.search(bare)
    indent = bare[: len(bare) - len(bare.lstrip())]
    return f"{indent}{text}{comment[0] if comment else ''}{raw[len(bare) :]}"


def _joined(rows: list[str], text: str) -> str:
    """Return the rows as one text, without a line break at the end if *text* has none."""
    if rows and text.splitlines()[-1:] == text.splitlines(keepends=True)[-1:]:
        rows = [*rows[:-1], _bare(rows[-1])]
    return "".join(rows)


def _appended(rows: list[str], text: str) -> str:
    """Return the text with a line at its end; without that it is as before."""
    line_break = "\r\n" if any(row.endswith("\r\n") for row in rows) else "\n"
    if rows and _bare(rows[-1]) == rows[-1]:
        return "".join((*rows, line_break, text))
    return "".join((*rows, text, line_break))


class _Content(NamedTuple):
    """The text of the file, with its line breaks as they are, and its mode."""

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
