"""The plugins file: the requested distributions, one requirement (PEP 508) per line."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plugreg._support.slugs import canonical
from plugreg.exceptions import InstallError, RequirementError
from plugreg.install.constraints import COMMENT
from plugreg.install.disk import disk_errors, write_file
from plugreg.install.requirements import parse_target

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_HEADER: Final = (
    "# The distributions of plugins that are to be installed, one requirement a line.\n"
    "# Installing and uninstalling a plugin changes its own line and leaves the others.\n"
)
_BYTE_ORDER_MARK: Final = "\ufeff"
_MOST_TRIES: Final = 10
"""Number of tries of a change while another writer changes the file."""


@dataclass(frozen=True, slots=True)
class PluginLine:
    """A requirement in the plugins file.

    Args:
        number: Its line, from 1.
        raw: The whole line, with its line break.
        name: Canonical name of its distribution.
        text: The requirement, without comment. It may contain credentials.
        applies: Whether its marker holds in this interpreter.
    """

    number: int
    raw: str = field(repr=False)
    name: str = ""
    text: str = field(default="", repr=False)
    applies: bool = True


class PluginsFile:
    """The plugins file at a path; it need not exist, and nothing is read until a method is called.

    Comments and blank lines are kept. A line whose marker does not hold in this interpreter
    belongs to other interpreters and is never changed. All else than single requirements (options,
    hashes, continued lines, paths, other files) is refused, with the number of the line.

    Each method raises an InstallError if the file cannot be read or written. The file is replaced
    as a whole, with the mode that it had; a symbolic link remains a link. Text that an editor saves
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
        return tuple(line for line in self._parse(self._read()[0] or "") if line.name)

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
            fault = f"it names {new.name!r}, not {name!r}; give one that does"
            raise RequirementError("packagename", fault)

        def change(text: str | None) -> str:
            rows, is_listed = [], False
            for line in self._parse(_HEADER if text is None else text):
                if line.name != name or not line.applies:
                    rows.append(line.raw)
                elif not is_listed:
                    is_listed = True
                    rows.append(_renewed(line, new))
            return _joined(rows, text or "") if is_listed else _appended(rows, str(new))

        self._change(change)

    def remove(self, name: str) -> bool:
        """Remove all lines of a distribution.

        Args:
            name: The distribution.

        Returns:
            Whether there was such a line. After `put` appended it, the file is as before, byte for
            byte.
        """

        def change(text: str | None) -> str | None:
            lines = self._parse(text or "")
            others = [x.raw for x in lines if x.name != canonical(name) or not x.applies]
            return None if text is None else _joined(others, text)

        return self._change(change)

    def update(self, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        """List the requested distributions after a change, and remove those of before.

        Args:
            before: Requirements by name.
            after: The same afterwards.
        """
        for name in sorted(before.keys() - after.keys()):
            self.remove(name)
        for name, line in sorted(after.items()):
            if before.get(name) != line:
                self.put(name, line)

    # -- the parts ---------------------------------------------------------------------------

    def _parse(self, text: str) -> Iterator[PluginLine]:
        """Yield all lines; those without a requirement have no name."""
        from packaging.requirements import InvalidRequirement, Requirement

        text = text.removeprefix(_BYTE_ORDER_MARK)
        for number, raw in enumerate(text.splitlines(keepends=True), 1):
            wanted = COMMENT.sub("", _bare(raw)).strip()
            if not wanted:
                yield PluginLine(number, raw)
                continue
            try:
                requirement = Requirement(wanted)
                applies = requirement.marker is None or requirement.marker.evaluate()
                if applies:
                    parse_target(wanted)
            except (InvalidRequirement, ValueError, LookupError) as error:
                why = error.reason if isinstance(error, RequirementError) else "it is none"
                reason = f"{self._shown}, line {number}: each line must be one requirement by PEP "
                reason += f"508, such as 'shop-discount>=2', without options and hashes ({why}); "
                raise InstallError([f"{reason}correct it"]) from None
            yield PluginLine(number, raw, canonical(requirement.name), wanted, applies)

    @property
    def _shown(self) -> str:
        return f"plugins file {str(self.path)!r}"

    def _read(self) -> tuple[str | None, int | None]:
        """Return the content, with its line breaks as they are, and the mode; None for no file."""
        path, shown = self.path, self._shown
        try:
            with disk_errors(f"{shown} could not be read"):
                status = path.stat()
                # A pipe would be waited for, and a device must not be replaced.
                if not stat.S_ISREG(status.st_mode):
                    raise InstallError([f"{shown} is no file; choose the path of one"])
                data = path.read_bytes()
            return data.decode(), stat.S_IMODE(status.st_mode)
        except UnicodeDecodeError as error:
            number = data.count(b"\n", 0, error.start) + 1
            reason = f"{shown}, line {number}: it is not UTF-8 text; save it as UTF-8"
            raise InstallError([reason]) from None
        except InstallError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None, None
            raise

    def _is_still(self, before: tuple[str | None, int | None]) -> bool:
        return self._read() == before

    def _change(self, change: Callable[[str | None], str | None]) -> bool:
        """Replace the file by the result of *change* on its text; return whether that differs."""
        path = self.path
        for _ in range(_MOST_TRIES):
            before = old, mode = self._read()
            mark = _BYTE_ORDER_MARK if old and old.startswith(_BYTE_ORDER_MARK) else ""
            new = change(old)
            if new is None or mark + new == old:
                return False
            with disk_errors(f"{self._shown} could not be written"):
                # The slow part is done when the file is read again.
                data = (mark + new).encode()
                if write_file(path, data, mode, partial(self._is_still, before)):
                    return True
        reason = f"{self._shown} is changed by something else all the time; stop that"
        raise InstallError([reason])


def _bare(raw: str) -> str:
    return raw.splitlines()[0] if raw else ""


def _renewed(line: PluginLine, new: Requirement) -> str:
    """Return the replacement of a line, which is the line itself if it requests the same."""
    from packaging.requirements import Requirement

    old, text = Requirement(line.text), str(new)
    # Without its marker it would hold for other interpreters too, which may have their own lines.
    if old.marker and not new.marker:
        text = f"{text} ; {old.marker}"
    if Requirement(text) == old:
        return line.raw
    bare = _bare(line.raw)
    comment = COMMENT.search(bare)
    indent = bare[: len(bare) - len(bare.lstrip())]
    return f"{indent}{text}{comment[0] if comment else ''}{line.raw[len(bare) :]}"


def _joined(rows: list[str], text: str) -> str:
    """Return the rows as a string, without a line break at the end if *text* has none."""
    if rows and text.splitlines()[-1:] == text.splitlines(keepends=True)[-1:]:
        rows = [*rows[:-1], _bare(rows[-1])]
    return "".join(rows)


def _appended(rows: list[str], text: str) -> str:
    """Return the text with a line at its end; without that line it is as before."""
    line_break = "\r\n" if any(row.endswith("\r\n") for row in rows) else "\n"
    if rows and _bare(rows[-1]) == rows[-1]:
        return "".join((*rows, line_break, text))
    return "".join((*rows, text, line_break))
