"""Arguments of the drivers' commands, and parsing of their output."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plugreg._support.url_secrets import masked, without_credentials
from plugreg.exceptions import InstallError
from plugreg.install.distributions import Distribution
from plugreg.install.exceptions import PythonMismatchError
from plugreg.install.installer import Progress
from plugreg.install.plan import Pin
from plugreg.install.sources import pinned_url
from plugreg.install.urls import FILE_SCHEMES, REPOSITORY_SCHEMES, check_url

if TYPE_CHECKING:
    from packaging.requirements import Requirement


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """Temporary folder, variables and secrets of a call, and the host's distributions."""

    folder: Path
    host: Mapping[str, Distribution]
    environment: Mapping[str, str]
    secrets: tuple[str, ...]
    progress: Progress | None = None

    @property
    def installed(self) -> Path:
        """The folder with the metadata of distributions that count as installed."""
        return self.folder / "installed"

    def file(self, name: str, lines: Iterable[str]) -> str:
        """Write requirements into a file that nobody else may read; return its name."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return name


def as_url(place: str) -> str:
    """Return a folder of ``find_links`` as a URL."""
    return place if "://" in place else Path(place).as_uri()


def merge(source: Path, folder: Path) -> None:
    """Move the content of a folder into another one, which may have some of its folders."""
    for path in source.iterdir():
        target = folder / path.name
        if path.is_dir() and target.is_dir():
            merge(path, target)
        else:
            path.replace(target)


def is_valid(found: Distribution) -> bool:
    """Return whether it can be named in a requirement, by PEP 508 and PEP 440."""
    from packaging.utils import is_normalized_name
    from packaging.version import InvalidVersion, Version

    with suppress(InvalidVersion):
        return bool(Version(found.version)) and is_normalized_name(found.name)
    return False


def line_of(requirement: Requirement) -> str:
    """Return a requirement as a line that programs read as nothing else.

    Its marker is left out, which must hold: programs split it at blanks and look for options.

    Raises:
        InstallError: If it has a URL that no requirement may have, such as one with a variable,
            which programs would replace.
    """
    if requirement.url:
        try:
            check_url(requirement.url, (*FILE_SCHEMES, *REPOSITORY_SCHEMES))
        except ValueError as error:
            raise InstallError([f"the URL of {requirement.name!r}: {error}"]) from None
    elif "$" in str(requirement.specifier):
        raise InstallError([f"the version of {requirement.name!r} is none by PEP 440"])
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    where = f" @ {requirement.url}" if requirement.url else requirement.specifier
    return f"{requirement.name}{extras}{where}"


def exact_line(pin: Pin, url: str | None = None) -> str:
    """Return the requirement of exactly a pin, with its hash if known, from the URL asked for."""
    from packaging.requirements import InvalidRequirement, Requirement

    source = pin.source or ""
    where = f" @ {pinned_url(url, source) if url else source}" if pin.direct else f"=={pin.version}"
    try:
        line = line_of(Requirement(f"{pin.name}{where}"))
    except InvalidRequirement:
        shown = masked(f"{pin.name}{where}")
        raise InstallError([f"{shown!r} cannot be installed: it is no version"]) from None
    return line if pin.sha256 is None else f"{line} --hash=sha256:{pin.sha256}"


def check_python(found: Distribution) -> None:
    """Raise PythonMismatchError if a distribution is not for this interpreter.

    uv ignores an upper bound of ``Requires-Python``, pip does not.
    """
    import platform
    from email import message_from_string

    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    wanted = message_from_string(found.text("METADATA")).get("Requires-Python", "")
    version = platform.python_version()
    with suppress(InvalidSpecifier):
        if not SpecifierSet(wanted).contains(version, prereleases=True):
            reason = f"{found.name} {found.version} requires Python {wanted!r}, and this is "
            raise PythonMismatchError([f"{reason}{version}"])


def hide_credentials(found: Distribution) -> None:
    """Remove the record of the URL that a staged distribution has come from, if it has any."""
    name = f"{found.path.name}/direct_url.json"
    url = str(json.loads(found.text("direct_url.json") or "{}").get("url", ""))
    if url != without_credentials(url):
        record = found.path / "RECORD"
        text = record.read_text("utf-8", "surrogateescape")
        text = re.sub(rf'^"?{re.escape(name)}"?,.*\n?', "", text, flags=re.MULTILINE)
        record.write_text(text, "utf-8", "surrogateescape", "")
        (found.folder / name).unlink()
