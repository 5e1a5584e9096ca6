"""Read a constraints file: permitted versions, and hashes of their files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from plugreg._support.url_secrets import masked
from plugreg.exceptions import InstallError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

COMMENT: Final = re.compile(r"(^|(?<!\s)\s+)#.*$")
_LINE: Final = re.compile(r"(?:(?![ \t]*#)[^\n]*\\\n)*[^\n]+")
"""A line with those that a backslash continues; no comment is continued."""
_OPTIONS: Final = re.compile(r"(?:^|\s)(?=-)")
_OTHER_FILE: Final = re.compile(r"-r|-c|--requirement\b|--constraint\b")
_HASH: Final = re.compile(r"--hash[= ]sha256:([0-9A-Fa-f]{64})(?!\S)")


class Constraint(NamedTuple):
    """A line of a constraints file: a requirement without its hashes, and these (sha256)."""

    text: str
    requirement: Requirement
    hashes: frozenset[str]


def single_version(requirement: Requirement) -> str | None:
    """Return the only version that a requirement accepts, None if there are more."""
    clauses = (clause for clause in requirement.specifier if clause.operator in ("==", "==="))
    return next((found.version for found in clauses if not found.version.endswith(".*")), None)


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
    for line in _LINE.finditer(text):
        whole = COMMENT.sub("", line[0].replace("\\\n", ""))
        wanted, *options = (part.strip() for part in _OPTIONS.split(whole, maxsplit=1))
        fault = ""
        try:
            requirement = Requirement(wanted) if wanted else None
            applies = requirement and (not requirement.marker or requirement.marker.evaluate())
            if not wanted and options and _OTHER_FILE.match(options[0]):
                fault = "other files are not followed; copy their lines"
        except (InvalidRequirement, ValueError, LookupError):
            fault = f"{masked(wanted)!r} is no requirement by PEP 508; write one such as "
            fault += "'shop-discount==2.0'"
        if fault:
            number = text.count("\n", 0, line.start()) + 1
            raise InstallError([f"{shown}, line {number}: {fault}"])
        if requirement and applies:
            hashes = (digest.lower() for part in options for digest in _HASH.findall(part))
            found.append(Constraint(wanted, requirement, frozenset(hashes)))
    return tuple(found)
