"""Read a constraints file: permitted versions, and hashes of their files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from plugreg._support.url_secrets import masked
from plugreg.exceptions import InstallError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

COMMENT: Final = re.compile(r"(^|(?<!\s)\s+)#.*$")
_OPTIONS: Final = re.compile(r"(?:^|(?<=\s))-.*$", re.DOTALL)
_OTHER_FILE: Final = re.compile(r"-r|-c|--requirement\b|--constraint\b")
_HASH: Final = re.compile(r"--hash[= ]sha256:([0-9A-Fa-f]{64})(?!\S)")


class Constraint(NamedTuple):
    """A line of a constraints file: a requirement without its hashes, and these (sha256)."""

    text: str
    requirement: Requirement
    hashes: frozenset[str]

    @property
    def is_exact(self) -> bool:
        """Whether it accepts a single version or a URL, so that the hashes are of its files."""
        return bool(self.requirement.url) or any(
            clause.operator in ("==", "===") and not clause.version.endswith(".*")
            for clause in self.requirement.specifier
        )


def accepts(requirement: Requirement, version: str) -> bool:
    """Return whether a version suits, pre-releases too; an invalid version suits if any does.

    Args:
        requirement: The requirement; with a URL it accepts any version.
        version: The version.
    """
    from packaging.version import InvalidVersion

    try:
        return requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return not requirement.specifier


def read_constraints(path: Path) -> tuple[Constraint, ...]:
    """Return the lines of a file whose markers hold in this interpreter.

    The form is that of pip's requirements files, continued lines included. Options other than
    ``--hash`` are the installer's matter and passed over.

    Args:
        path: Path of the file.

    Raises:
        InstallError: If the file cannot be read, and for a line that is no requirement or names
            another file. It has the number of the line.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    shown = f"constraints {str(path)!r}"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InstallError([f"{shown} cannot be read ({error}); correct constraints="]) from error
    found = []
    for number, line in _joined_lines(text):
        options = (_OPTIONS.search(line) or [""])[0]
        wanted = line.removesuffix(options).strip()
        if not wanted and _OTHER_FILE.match(options):
            reason = f"{shown}, line {number}: other files are not followed; copy their lines"
            raise InstallError([reason])
        try:
            requirement = Requirement(wanted) if wanted else None
            applies = requirement and (not requirement.marker or requirement.marker.evaluate())
        except (InvalidRequirement, ValueError, LookupError):
            reason = f"{shown}, line {number}: {masked(wanted)!r} is no requirement by PEP 508; "
            raise InstallError([f"{reason}write one such as 'shop-discount==2.0'"]) from None
        if requirement and applies:
            hashes = frozenset(digest.lower() for digest in _HASH.findall(options))
            found.append(Constraint(wanted, requirement, hashes))
    return tuple(found)


def _joined_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines with their numbers, without comments, joined where a backslash continues them."""
    first, whole = 1, ""
    for number, raw in enumerate([*text.splitlines(), ""], 1):
        first = first if whole else number
        if raw.endswith("\\") and not raw.lstrip().startswith("#"):
            whole += raw[:-1]
        else:
            yield first, whole + COMMENT.sub("", raw)
            whole = ""
