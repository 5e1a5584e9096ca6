"""The plugins file: the requested distributions, one requirement (PEP 508) per line."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
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
    as a whole, with the mode that it had; a symbolic link remains a link. The caller must prevent
    concurrent changes by other processes.

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
        text = (self._read() or "").removeprefix(_BYTE_ORDER_MARK)
        return tuple(line for line in self._parse(text) if line.name)

    def update(self, before: Mapping[str, str], after: Mapping[str, str]) -> bool:
        """List the requested distributions after a change, and remove those of before.

        A new requirement replaces the first line of its distribution, and keeps the comment
        and the marker there, unless it has a marker itself. Further lines of that name are removed.
        Without such a line it is appended; when it is removed again, the file is as before, byte
        for byte. A missing file is created with a header.

        Args:
            before: Requirements (PEP 508) or URLs, by name of their distribution.
            after: The same afterwards.

        Returns:
            Whether the file was changed.

        Raises:
            RequirementError: If a requirement is not acceptable, or is one of another name.
        """
        new = {
            canonical(name): _requirement(canonical(name), line)
            for name, line in after.items()
            if before.get(name) != line
        }
        gone = set(map(canonical, before)) - set(map(canonical, after))
        old = self._read()
        text = _HEADER if old is None and new else old or ""
        mark = _BYTE_ORDER_MARK if text.startswith(_BYTE_ORDER_MARK) else ""
        changed = mark + self._changed(text.removeprefix(mark), gone, new)
        is_changed = changed != (old or "")
        if is_changed:
            with disk_errors(f"{self._shown} could not be written"):
                write_file(self.path, changed.encode())
        return is_changed

    # -- the parts ---------------------------------------------------------------------------

    def _parse(self, text: str) -> Iterator[PluginLine]:
        """Yield all lines; those without a requirement have no name."""
        from packaging.requirements import InvalidRequirement, Requirement

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

    def _read(self) -> str | None:
        """Return the content, with its line breaks as they are; None for no file."""
        with disk_errors(f"{self._shown} could not be read"):
            if not self.path.exists():
                return None
            # A pipe would be waited for, and a device must not be replaced.
            if not self.path.is_file():
                raise InstallError([f"{self._shown} is no file; choose the path of one"])
            data = self.path.read_bytes()
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            number = data.count(b"\n", 0, error.start) + 1
            reason = f"{self._shown}, line {number}: it is not UTF-8 text; save it as UTF-8"
            raise InstallError([reason]) from None

    def _changed(self, text: str, gone: Collection[str], new: Mapping[str, Requirement]) -> str:
        """Return a text without lines of some distributions, and with those of others."""
        rows, listed = list[str](), set[str]()
        line_break = "\r\n" if "\r\n" in text else "\n"
        is_open = bool(text) and _bare(text[-1:]) == text[-1:]
        for line in self._parse(text + line_break if is_open else text):
            if not line.applies or not (line.name in gone or line.name in new):
                rows.append(line.raw)
            elif line.name in new and line.name not in listed:
                listed.add(line.name)
                rows.append(_renewed(line, new[line.name]))
        rows += [f"{new[name]}{line_break}" for name in sorted(new.keys() - listed)]
        return "".join([*rows[:-1], *map(_bare, rows[-1:])] if is_open else rows)


def _requirement(name: str, line: str) -> Requirement:
    """Return the requirement of a line or a URL. Raises RequirementError."""
    from packaging.requirements import Requirement

    is_url = "://" in line.partition("@")[0]
    requirement = Requirement(parse_target(f"{name} @ {line}" if is_url else line).text)
    if canonical(requirement.name) != name:
        fault = f"it names {requirement.name!r}, not {name!r}; give one that does"
        raise RequirementError("packagename", fault)
    return requirement


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
