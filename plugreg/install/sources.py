"""Where distributions come from: records of PEP 610, and the lines that get the same files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from plugreg._support.slugs import canonical
from plugreg._support.url_secrets import masked
from plugreg.exceptions import InstallError
from plugreg.install.plan import Pin
from plugreg.install.urls import FILE_SCHEMES, REPOSITORY_SCHEMES, check_url

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_LOGIN: Final = re.compile(r"://[^\s/?#]*@")
_REPOSITORY: Final = re.compile(r"(\w+\+\w+://[^/]*/[^#]*?)(?:@[^@#]*)?(#.*)?")
"""The URL of a repository: before and after its revision."""


def pin_from(direct: Mapping[str, Any], name: str, version: str, *, is_direct: bool) -> Pin:
    """Return a pin with the source and the hash in a record of PEP 610, and its ``size`` if any."""
    source, archive = source_of(direct), direct.get("archive_info") or {}
    return Pin(
        name=canonical(name),
        version=version,
        source=source,
        sha256=(archive.get("hashes") or {}).get("sha256"),
        size=direct.get("size") or size_of(source),
        direct=is_direct,
    )


def source_of(direct: Mapping[str, Any]) -> str:
    """Return the URL in a record of PEP 610, without login and with its query masked.

    That of a repository has the commit and the folder: ``git+https://host/path@commit#…``.
    """
    url = _LOGIN.sub("://", str(direct["url"]), count=1)
    repository = direct.get("vcs_info")
    if repository is not None:
        url = f"{repository['vcs']}+{url}@{repository['commit_id']}"
    folder = direct.get("subdirectory")
    return masked(f"{url}#subdirectory={folder}" if folder else url)


def size_of(source: str) -> int | None:
    """Return the size of a file of this machine in bytes, None for any other."""
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(source)
    file = Path(unquote(parts.path))
    return file.stat().st_size if parts.scheme == "file" and file.is_file() else None


def pinned_url(url: str, source: str) -> str:
    """Return *url*, with the commit that *source* has if it is that of a repository.

    A branch may have another commit by now. Credentials in *url* stay.
    """
    commit = source.partition("#")[0].rpartition("@")[2]
    found = _REPOSITORY.fullmatch(url)
    return f"{found[1]}@{commit}{found[2] or ''}" if found else url


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
