"""Parse a requirement for an installer: a requirement, or the URL of a repository.

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
# pip splits a line of a file at its blanks, quoted or not, and takes words with a dash for
# options and words with # for a comment. packaging writes a quote without escaping it.
_MARKER_TEXT: Final = re.compile(r"(?:\w[\w.+*,-]*(?: \w[\w.+*,-]*)*)?", re.ASCII)
_QUOTED: Final = re.compile(r"'([^']*)'|\"([^\"]*)\"")

_ARCHIVE: Final = re.compile(
    r".*\.(?:zip|whl|tar|tgz|tbz|txz|tlz|tar\.(?:gz|bz2|xz|lz|lzma))", re.IGNORECASE
)
"""A name that installers take for that of a file, where nothing follows it."""


def parse_target(requirement: object, index_url: object = None) -> Target:
    """Return the target of a requirement, if it is acceptable.

    ``requirement`` is a PEP 508 requirement (``shop-discount[pdf]>=2``, ``shop-discount @
    https://…``), or the URL of a repository (``git+https://…@v1``); ``index_url`` the URL of an
    index, None for the usual one. URLs have ``https``, or ``http`` for this machine; files are
    refused, because local files come through the policy's ``find_links``. They may have
    credentials.

    Raises RequirementError, which shows none of these, with the field that is at fault:
    ``version`` for the versions asked for, ``url`` for both URLs, ``packagename`` for the rest, a
    marker that excludes this interpreter included. The policy is not checked here.
    """
    asked = _check_string(requirement)
    index = None if index_url is None else _parse_index(index_url)
    name: str | None = None
    text = url = asked
    if not _URL_ALONE.match(asked):
        parsed = _parse_requirement(asked)
        name, url, text = parsed.name, parsed.url or "", str(parsed)
    elif asked.startswith(("https://", "http://")):
        raise RequirementError(
            "url", "the URL of a file needs a name before it; write 'name @ https://…'"
        )
    else:
        _address(asked, REPOSITORY_SCHEMES)
    return Target(
        text=text,
        shown=masked(text),
        name=None if name is None else canonical(name),
        line="" if text == name else without_credentials(text),
        url=url or None,
        index_url=index,
        secrets=tuple(dict.fromkeys((*secrets_of(url), *secrets_of(index or "")))),
    )


def _check_string(requirement: object) -> str:
    """Return a string of a single line in ASCII. Raises RequirementError."""
    if not isinstance(requirement, str):
        kind = type(requirement).__name__
        raise RequirementError("packagename", f"it must be a text, not {kind}; write 'name>=1'")
    fault, plain = "", requirement.replace("\t", " ")
    if len(requirement) > _LONGEST:
        fault = f"{len(requirement)} characters are too many; at most {_LONGEST} are allowed"
    elif not plain.isascii() or not plain.isprintable() or "\\" in plain:
        fault = "it must be one line of ASCII, without backslashes and control characters; "
        fault += "name one distribution"
    if fault:
        is_url = _URL_ALONE.match(requirement) or _NAME_AND_URL.match(requirement)
        has_version = _NAME_AND_VERSION.match(requirement)
        field = "url" if is_url else "version" if has_version else "packagename"
        raise RequirementError(field, fault)
    return requirement


def _parse_index(index_url: object) -> str:
    if not isinstance(index_url, str) or len(index_url) > _LONGEST:
        fault = f"an index must be a text of at most {_LONGEST} characters; write 'https://…'"
        raise RequirementError("url", fault)
    if _address(index_url, FILE_SCHEMES).egg is not None or "#" in index_url:
        raise RequirementError("url", "an index has nothing after '#'; leave it out")
    return index_url


def _address(url: str, schemes: tuple[str, ...]) -> Address:
    try:
        return parse_address(url, schemes)
    except ValueError as error:
        raise RequirementError("url", str(error)) from None


def _parse_requirement(text: str) -> Requirement:
    """Return a requirement that holds here and has the same meaning when it is parsed again."""
    parsed = _read(text)
    if parsed is None:
        head = text.partition(";")[0]
        if _NAME_AND_VERSION.match(head) and _read(head) is None:
            fault = f"{_excerpt(text)} asks for no version by PEP 440; write 'name>=2'"
            raise RequirementError("version", fault)
        fault = f"{_excerpt(text)} is no requirement by PEP 508; write one such as "
        raise RequirementError("packagename", f"{fault}'shop-discount>=2'")
    for name in (parsed.name, *parsed.extras):
        # packaging takes an underscore at the end for a part of it.
        if not _WORD.fullmatch(name):
            fault = f"{name!r} must begin and end with a letter or a digit; correct it"
            raise RequirementError("packagename", fault)
    if parsed.url is None and not parsed.specifier and _ARCHIVE.fullmatch(parsed.name):
        fault = f"{parsed.name!r} is the name of a file, and none may be named here; write "
        fault += f"'{canonical(parsed.name)}' for a distribution that is called so"
        raise RequirementError("packagename", fault)
    for clause in parsed.specifier:
        # It would be compared as a string.
        if clause.operator == "===" and _read(f"x=={clause.version}") is None:
            fault = f"'===' of {parsed.name!r} needs a version by PEP 440; use '=='"
            raise RequirementError("version", fault)
    if parsed.marker is not None:
        _check_marker(parsed, text.partition(";")[2])
    if parsed.url is not None:
        egg = _address(parsed.url, (*FILE_SCHEMES, *REPOSITORY_SCHEMES)).egg
        if egg is not None and canonical(egg) != canonical(parsed.name):
            fault = f"#egg={egg} is another name than {parsed.name!r}; leave it out"
            raise RequirementError("url", fault)
    return parsed


def _read(text: str) -> Requirement | None:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(text)
    except (InvalidRequirement, RecursionError):
        return None


def _check_marker(parsed: Requirement, text: str) -> None:
    fault = ""
    quoted = [single or double for single, double in _QUOTED.findall(text)]
    if not all(map(_MARKER_TEXT.fullmatch, quoted)):
        fault = (
            "may compare only with words of letters, digits and any of '.+*,-' within; change it"
        )
    else:
        try:
            if parsed.marker is not None and not parsed.marker.evaluate():
                fault = "excludes this interpreter; leave it out"
        except (ValueError, KeyError, RecursionError):
            fault = "compares what cannot be; correct it"
    if fault:
        raise RequirementError("packagename", f"the marker of {parsed.name!r} {fault}")


def _excerpt(text: str) -> str:
    """Return the beginning of a string in quotes, up to where credentials could follow."""
    ends = "[:@?/]" if "@" in text else "[:?]"
    shown = re.split(ends, text[:60], maxsplit=1)[0]
    return repr(shown if shown == text else f"{shown}…")
