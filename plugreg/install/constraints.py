"""Read a constraints file: permitted versions, and hashes of their files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plugreg._support.slugs import canonical
from plugreg._support.url_secrets import masked
from plugreg.exceptions import InstallError

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

_COMMENT: Final = re.compile(r"(^|(?<!\s)\s+)#.*$")
_OPTIONS: Final = re.compile(r"(?:^|(?<=\s))-.*$", re.DOTALL)
_OTHER_FILE: Final = re.compile(r"-r|-c|--requirement\b|--constraint\b")
_HASH: Final = re.compile(r"--hash[= ]sha256:([0-9A-Fa-f]{64})(?!\S)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Constraint:
    """A line of a constraints file.

    Args:
        name: Canonical name of the distribution.
        text: The requirement without its hashes.
        specifier: The versions that it accepts; a URL accepts any.
        is_exact: Whether it accepts a single version or a URL, so that *hashes* are of its files.
        hashes: Values of sha256 in lower case.
    """

    name: str
    text: str
    specifier: SpecifierSet
    is_exact: bool
    hashes: frozenset[str]

    def accepts(self, version: str) -> bool:
        """Return whether a version is permitted; pre-releases may be."""
        from packaging.version import InvalidVersion

        try:
            return self.specifier.contains(version, prereleases=True)
        except InvalidVersion:
            return False


def read_constraints(path: Path) -> tuple[Constraint, ...]:
    """Return the lines of a file whose markers hold in this interpreter.

    The form is that of pip's requirements files, continued lines included. Options other than
    ``--hash`` are the installer's matter and passed over.

    Raises:
        InstallError: If the file cannot be read, and for a line that is no requirement or names
            another file. It has the number of the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InstallError(
            [f"constraints {str(path)!r} cannot be read ({error}); correct constraints="]
        ) from error
    return tuple(_constraints_in(text, repr(str(path))))


def _constraints_in(text: str, shown: str) -> Iterator[Constraint]:
    from packaging.requirements import InvalidRequirement, Requirement

    for number, line in _joined_lines(text):
        found = _OPTIONS.search(line)
        options = found[0] if found else ""
        wanted = line[: len(line) - len(options)].strip()
        where = f"constraints {shown}, line {number}"
        if not wanted:
            if _OTHER_FILE.match(options):
                raise InstallError([f"{where}: other files are not followed; copy their lines"])
            continue
        try:
            requirement = Requirement(wanted)
            applies = requirement.marker is None or requirement.marker.evaluate()
        except (InvalidRequirement, ValueError, LookupError):
            raise InstallError(
                [
                    f"{where}: {masked(wanted)!r} is no requirement by PEP 508; "
                    f"write one such as 'shop-discount==2.0'"
                ]
            ) from None
        if applies:
            singles = [
                clause.operator in ("==", "===") and not clause.version.endswith(".*")
                for clause in requirement.specifier
            ]
            yield Constraint(
                name=canonical(requirement.name),
                text=wanted,
                specifier=requirement.specifier,
                is_exact=requirement.url is not None or any(singles),
                hashes=frozenset(digest.lower() for digest in _HASH.findall(options)),
            )


def _joined_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines with their numbers, without comments, joined where a backslash continues them."""
    first, parts = 1, list[str]()
    for number, raw in enumerate([*text.splitlines(), ""], 1):
        if not parts:
            first = number
        is_comment = raw.lstrip().startswith("#")
        parts.append(_COMMENT.sub("", raw) if is_comment or not raw.endswith("\\") else raw[:-1])
        if is_comment or not raw.endswith("\\"):
            yield first, "".join(parts)
            parts = []
