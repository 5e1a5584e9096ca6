"""Parse a requirement for an installer: a requirement, or the URL of a repository.

Nothing is run and nothing is looked up here. The grammar is that of the specification of
dependency specifiers (PEP 508), read with ``packaging``.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from plugreg._support.slugs import canonical
from plugreg._support.url_secrets import masked, secrets_of, without_credentials
from plugreg.exceptions import RequirementError
from plugreg.install.plan import Target
from plugreg.install.urls import FILE_SCHEMES, REPOSITORY_SCHEMES, check_url

if TYPE_CHECKING:
    from packaging.markers import Marker
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
    _require(isinstance(requirement, str), "packagename", "it must be a text; write 'name>=1'")
    asked = str(requirement)
    is_url = bool(_URL_ALONE.match(asked))
    has_version = bool(_NAME_AND_VERSION.match(asked))
    field = "url" if is_url or _NAME_AND_URL.match(asked) else "packagename"
    field = "version" if has_version and field != "url" else field
    plain = asked.replace("\t", " ")
    is_plain = len(asked) <= _LONGEST and plain.isascii() and plain.isprintable()
    fault = f"it must be one line of at most {_LONGEST} characters of ASCII, without controls"
    _require(is_plain and "\\" not in plain, field, f"{fault} and backslashes")
    if index_url is not None:
        is_text = isinstance(index_url, str) and len(index_url) <= _LONGEST
        _require(is_text, "url", f"an index must be a text of at most {_LONGEST} characters")
        _check_url(str(index_url), FILE_SCHEMES)
        _require("#" not in str(index_url), "url", "an index has nothing after '#'; leave it out")
    name: str | None = None
    text = url = asked
    if is_url:
        fault = "the URL of a file needs a name before it; write 'name @ https://…'"
        _require(not asked.startswith(("https://", "http://")), "url", fault)
        _check_url(asked, REPOSITORY_SCHEMES)
    else:
        parsed = _parse_requirement(asked)
        name, url, text = parsed.name, parsed.url or "", str(parsed)
    return Target(
        text=text,
        shown=masked(text),
        name=None if name is None else canonical(name),
        line="" if text == name else without_credentials(text),
        url=url or None,
        index_url=None if index_url is None else str(index_url),
        secrets=tuple(dict.fromkeys((*secrets_of(url), *secrets_of(str(index_url or ""))))),
    )


def _require(is_right: bool, field: str, fault: str) -> None:
    if not is_right:
        raise RequirementError(field, fault)


def _check_url(url: str, schemes: tuple[str, ...]) -> None:
    try:
        check_url(url, schemes)
    except ValueError as error:
        raise RequirementError("url", str(error)) from None


def _parse_requirement(text: str) -> Requirement:
    """Return a requirement that holds here and has the same meaning when it is parsed again."""
    parsed, head = _read(text), text.partition(";")[0]
    if parsed is None:
        # Credentials could follow such a character.
        shown = re.split("[:@?/]" if "@" in text else "[:?]", text[:60], maxsplit=1)[0]
        has_fault = _NAME_AND_VERSION.match(head) and _read(head) is None
        fault = f"{shown!r} asks for no version by PEP 440; write 'name>=2'"
        _require(not has_fault, "version", fault)
        fault = f"{shown!r} is no requirement by PEP 508; write one such as 'shop-discount>=2'"
        raise RequirementError("packagename", fault)
    for name in (parsed.name, *parsed.extras):
        # packaging takes an underscore at the end for a part of it.
        fault = f"{name!r} must begin and end with a letter or a digit; correct it"
        _require(_WORD.fullmatch(name) is not None, "packagename", fault)
    is_file = not (parsed.url or parsed.specifier) and _ARCHIVE.fullmatch(parsed.name)
    fault = f"{parsed.name!r} is the name of a file, and none may be named here; write "
    fault += f"'{canonical(parsed.name)}' for a distribution that is called so"
    _require(not is_file, "packagename", fault)
    for clause in parsed.specifier:
        # It would be compared as a string.
        is_version = clause.operator != "===" or _read(f"x=={clause.version}") is not None
        fault = f"'===' of {parsed.name!r} needs a version by PEP 440; use '=='"
        _require(is_version, "version", fault)
    if parsed.marker is not None:
        _check_marker(parsed.marker, parsed.name, text.partition(";")[2])
    if parsed.url is not None:
        _check_url(parsed.url, (*FILE_SCHEMES, *REPOSITORY_SCHEMES))
    return parsed


def _read(text: str) -> Requirement | None:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(text)
    except (InvalidRequirement, RecursionError):
        return None


def _check_marker(marker: Marker, name: str, text: str) -> None:
    holds = False
    quoted = (single or double for single, double in _QUOTED.findall(text))
    if all(map(_MARKER_TEXT.fullmatch, quoted)):
        # It may compare what has no order, or an unknown variable.
        with suppress(ValueError, LookupError, RecursionError):
            holds = marker.evaluate()
    fault = f"the marker of {name!r} does not hold in this interpreter, or has other text in quotes"
    fault += " than words of letters, digits and any of '.+*,-' within; leave it out"
    _require(holds, "packagename", fault)
