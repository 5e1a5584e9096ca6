"""Parse a requirement for an installer: one requirement, or the URL of one repository.

Nothing is run and nothing is looked up here. The grammar is that of the specification of
dependency specifiers (PEP 508), read with ``packaging``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from plugreg._support.slugs import canonical
from plugreg._support.url_secrets import masked, secrets_of, without_credentials
from plugreg.exceptions import RequirementError
from plugreg.install.plan import Target
from plugreg.install.urls import FILE_SCHEMES, REPOSITORY_SCHEMES, Address, parse_address

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_LONGEST: Final = 1000
"""More characters than any requirement has that somebody means."""

_URL_ALONE: Final = re.compile(r"[ \t]*[A-Za-z][A-Za-z0-9+.-]*:")
_WORD: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_NAME: Final = r"[ \t]*[A-Za-z0-9][A-Za-z0-9._-]*[ \t]*(?:\[[^\]]*\])?[ \t]*"
_NAME_AND_URL: Final = re.compile(_NAME + "@")
_NAME_AND_VERSION: Final = re.compile(_NAME + r"\(?[ \t]*[<>=!~]")
# pip splits a line of a file at its blanks, quoted or not, and takes what begins with a dash for
# options and what begins with # for a comment. packaging writes a quote without escaping it.
_MARKER_TEXT: Final = re.compile(r"(?:\w[\w.+*,-]*(?: \w[\w.+*,-]*)*)?", re.ASCII)
_QUOTED: Final = re.compile(r"'([^']*)'|\"([^\"]*)\"")

_ARCHIVE: Final = re.compile(
    r".*\.(?:zip|whl|tar|tgz|tbz|txz|tlz|tar\.(?:gz|bz2|xz|lz|lzma))", re.IGNORECASE
)
"""A name that installers take for that of a file, where nothing follows it."""


def parse_target(requirement: object, index_url: object = None) -> Target:
    """Return what is asked to be installed, once it is found acceptable.

    ``requirement`` is one of PEP 508 (``shop-discount[pdf]>=2``, ``shop-discount @ https://…``), or
    the URL of a repository (``git+https://…@v1``); ``index_url`` the URL of an index, None for the
    usual one. URLs have ``https``, or ``http`` for this machine; no file is named, since local
    ones come through the policy's ``find_links``. They may have credentials.

    Raises RequirementError, which shows none of these, with the field that is at fault:
    ``version`` for the versions asked for, ``url`` for both URLs, ``packagename`` for the rest, a
    marker that excludes this interpreter included. What the policy says is not asked here.
    """
    asked = _checked_text(requirement)
    index = None if index_url is None else _checked_index(index_url)
    name: str | None = None
    url: str | None = asked
    if _URL_ALONE.match(asked):
        text = _checked_repository(asked)
    else:
        parsed = _checked_requirement(asked)
        name, url, text = parsed.name, parsed.url, str(parsed)
    return Target(
        text=text,
        shown=masked(text),
        name=None if name is None else canonical(name),
        line="" if text == name else without_credentials(text),
        url=url,
        index_url=index,
        secrets=tuple(dict.fromkeys((*secrets_of(url or ""), *secrets_of(index or "")))),
    )


def _checked_text(requirement: object) -> str:
    """Return a text of one line in ASCII. Raises RequirementError."""
    if not isinstance(requirement, str):
        raise RequirementError(
            "packagename", f"it must be a text, not {type(requirement).__name__}; write 'name>=1'"
        )
    if len(requirement) > _LONGEST:
        raise RequirementError(
            _field_of(requirement),
            f"{len(requirement)} characters are too many; at most {_LONGEST} are allowed",
        )
    plain = requirement.replace("\t", " ")
    if not plain.isascii() or not plain.isprintable() or "\\" in plain:
        raise RequirementError(
            _field_of(requirement),
            "it must be one line of ASCII, without backslashes and control characters; "
            "name one distribution",
        )
    return requirement


def _field_of(text: str) -> str:
    if _URL_ALONE.match(text) or _NAME_AND_URL.match(text):
        return "url"
    return "version" if _NAME_AND_VERSION.match(text) else "packagename"


def _checked_repository(url: str) -> str:
    if url.startswith(("https://", "http://")):
        raise RequirementError(
            "url", "the URL of a file needs a name before it; write 'name @ https://…'"
        )
    _address(url, REPOSITORY_SCHEMES)
    return url


def _checked_index(index_url: object) -> str:
    if not isinstance(index_url, str) or len(index_url) > _LONGEST:
        raise RequirementError(
            "url", f"an index must be a text of at most {_LONGEST} characters; write 'https://…'"
        )
    if _address(index_url, FILE_SCHEMES).egg is not None or "#" in index_url:
        raise RequirementError("url", "an index has nothing after '#'; leave it out")
    return index_url


def _address(url: str, schemes: tuple[str, ...]) -> Address:
    try:
        return parse_address(url, schemes)
    except ValueError as error:
        raise RequirementError("url", str(error)) from None


def _checked_requirement(text: str) -> Requirement:
    """Return a requirement that holds here and means the same to whoever reads it again."""
    parsed = _read(text)
    if parsed is None:
        head = text.partition(";")[0]
        if _NAME_AND_VERSION.match(head) and _read(head) is None:
            raise RequirementError(
                "version", f"{_excerpt(text)} asks for no version by PEP 440; write 'name>=2'"
            )
        raise RequirementError(
            "packagename",
            f"{_excerpt(text)} is no requirement by PEP 508; write one such as 'shop-discount>=2'",
        )
    for name in (parsed.name, *parsed.extras):
        # packaging takes an underscore at the end for a part of it.
        if not _WORD.fullmatch(name):
            raise RequirementError(
                "packagename", f"{name!r} must begin and end with a letter or a digit; correct it"
            )
    if parsed.url is None and not parsed.specifier and _ARCHIVE.fullmatch(parsed.name):
        raise RequirementError(
            "packagename",
            f"{parsed.name!r} is the name of a file, and none may be named here; write "
            f"'{canonical(parsed.name)}' for a distribution that is called so",
        )
    _check_exact(parsed)
    if parsed.marker is not None:
        _check_marker(parsed, text.partition(";")[2])
    if parsed.url is not None:
        egg = _address(parsed.url, (*FILE_SCHEMES, *REPOSITORY_SCHEMES)).egg
        if egg is not None and canonical(egg) != canonical(parsed.name):
            raise RequirementError(
                "url", f"#egg={egg} is another name than {parsed.name!r}; leave it out"
            )
    return parsed


def _read(text: str) -> Requirement | None:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(text)
    except (InvalidRequirement, RecursionError):
        return None


def _check_exact(parsed: Requirement) -> None:
    """Refuse ``===`` with what is no version: it would be compared as any text."""
    from packaging.version import InvalidVersion, Version

    for clause in parsed.specifier:
        if clause.operator == "===":
            try:
                Version(clause.version)
            except InvalidVersion:
                raise RequirementError(
                    "version", f"'===' of {parsed.name!r} needs a version by PEP 440; use '=='"
                ) from None


def _check_marker(parsed: Requirement, text: str) -> None:
    quoted = [single or double for single, double in _QUOTED.findall(text)]
    if not all(map(_MARKER_TEXT.fullmatch, quoted)):
        raise RequirementError(
            "packagename",
            f"the marker of {parsed.name!r} may compare only with words of letters, digits and any "
            f"of '.+*,-' within; change it",
        )
    try:
        holds = parsed.marker is None or parsed.marker.evaluate()
    except (ValueError, KeyError, RecursionError):
        raise RequirementError(
            "packagename", f"the marker of {parsed.name!r} compares what cannot be; correct it"
        ) from None
    if not holds:
        raise RequirementError(
            "packagename", f"the marker of {parsed.name!r} excludes this interpreter; leave it out"
        )


def _excerpt(text: str) -> str:
    """Return the beginning of a text in quotes, up to where credentials could follow."""
    ends = "[:@?/]" if "@" in text else "[:?]"
    shown = re.split(ends, text[:60], maxsplit=1)[0]
    return repr(shown if shown == text else f"{shown}…")
