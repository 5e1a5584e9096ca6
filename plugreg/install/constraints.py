"""Read a constraints file: permitted versions, and hashes of their files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plugreg.exceptions import InstallError
from plugreg.install.requirement_lines import RequirementLine, lines_of
from plugreg.install.requirements import masked

if TYPE_CHECKING:
    from packaging.specifiers import Specifier, SpecifierSet

_OTHER_FILE: Final = re.compile(r"-r|-c|--requirement\b|--constraint\b")
_HASH: Final = re.compile(r"--hash[= ]sha256:([0-9A-Fa-f]{64})(?!\S)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pin:
    """What one line of the file asks of a distribution, by its canonical name.

    ``text`` is the requirement without its hashes, ``specifier`` the versions that it takes; a URL
    takes any. ``is_exact`` says that it is a single version, or a URL, so that ``hashes`` (sha256
    in lower case) are those of its files.
    """

    name: str
    text: str
    specifier: SpecifierSet
    is_exact: bool
    hashes: frozenset[str]

    def accepts(self, version: str) -> bool:
        """Return whether a version is one of those asked for; pre-releases may be."""
        from packaging.version import InvalidVersion

        try:
            return self.specifier.contains(version, prereleases=True)
        except InvalidVersion:
            return False


def read_pins(path: Path) -> tuple[Pin, ...]:
    """Return what a file asks for here: lines whose marker excludes this interpreter are left out.

    The form is that of pip's requirements files. Options other than ``--hash`` are passed over:
    what they say is the installer's. Raises InstallError, which names file and line, where it
    cannot be read, for a line that is no requirement, and for one that leads to another file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InstallError(
            [f"constraints {str(path)!r} cannot be read ({error}); correct constraints="]
        ) from error
    pins = (_pin(line, f"{str(path)!r}, line {line.number}") for line in lines_of(text))
    return tuple(pin for pin in pins if pin is not None)


def _pin(line: RequirementLine, where: str) -> Pin | None:
    from packaging.requirements import InvalidRequirement, Requirement

    options = " ".join(line.options)
    if not line.text:
        if _OTHER_FILE.match(options):
            raise InstallError(
                [f"constraints {where}: other files are not followed; put their lines here"]
            )
        return None
    if not line.applies:
        return None
    try:
        asked = Requirement(line.text)
    except InvalidRequirement:
        asked = None
    if asked is None or line.name is None:
        raise InstallError(
            [
                f"constraints {where}: {masked(line.text)!r} is no requirement by PEP 508; "
                f"write one such as 'shop-discount==2.0'"
            ]
        )
    return Pin(
        name=line.name,
        text=line.text,
        specifier=asked.specifier,
        is_exact=asked.url is not None or any(map(_is_single, asked.specifier)),
        hashes=frozenset(digest.lower() for digest in _HASH.findall(options)),
    )


def _is_single(specifier: Specifier) -> bool:
    return specifier.operator in ("==", "===") and not specifier.version.endswith(".*")
