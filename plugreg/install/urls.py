"""Check URLs for an installer strictly, so that no other parser differs.

Several programs read such a URL in turn (the installer, git, a proxy). What they might
understand differently is refused: RFC 3986 is taken at its word, and not all of it is needed.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

FILE_SCHEMES: Final = ("https", "http")
"""Schemes of indexes and archives; ``http`` only for this machine."""

REPOSITORY_SCHEMES: Final = ("git+https", "hg+https", "svn+https", "git+http")
"""Schemes of repositories; ``git+http`` only for this machine."""

_LONGEST: Final = 8_192
# Quotes and semicolons are legal in RFC 3986, but others take a URL to end there. Braces are not
# legal, and must not be: pip and uv put the host's variable NAME for ${NAME} when they read files.
_CHARACTER: Final = r"[A-Za-z0-9._~:!$&()*+,=-]|%[0-9A-Fa-f]{2}"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?"
_URL: Final = re.compile(
    rf"[a-z+]+://(?:(?:{_CHARACTER})*@)?"
    rf"(?:\[[0-9A-Fa-f:.]+\]|{_LABEL}(?:\.{_LABEL})*)(?::[0-9]{{1,5}})?"
    rf"(?:/(?:{_CHARACTER}|[/@])*)?(?:\?(?:{_CHARACTER}|[/@?])*)?(?:#(?:{_CHARACTER}|[/@?])*)?"
)
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30})://")
_REVISION: Final = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_./+-]*")
_PART: Final = r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9_.][A-Za-z0-9_.+-]*"
_FRAGMENT: Final = re.compile(
    rf"subdirectory={_PART}(?:/{_PART})*"
    r"|sha256=[0-9A-Fa-f]{64}|sha384=[0-9A-Fa-f]{96}|sha512=[0-9A-Fa-f]{128}"
)


def check_url(url: str, schemes: tuple[str, ...]) -> SplitResult:
    """Return the parts of a URL with a scheme of ``schemes``, which every parser finds.

    Raises ValueError with a sentence that shows no credentials. The host is not
    looked up: whether its name leads to this machine is not known here.
    """
    # Escapes may be escaped as often as there are characters, and each layer is a pass.
    _require(len(url) <= _LONGEST, f"the URL has more than {_LONGEST} characters")
    given = _SCHEME.match(url)
    shown = f"scheme {given[1]!r}" if given else "a URL without scheme://"
    is_allowed = given is not None and given[1] in schemes
    _require(is_allowed, f"{shown} is not allowed; use one of {', '.join(schemes)}, with a host")
    _require(
        _URL.fullmatch(url) is not None,
        "the URL must be scheme://host/path, with a host in its xn-- form and other characters "
        "than letters, digits and ._~:/?#[]@!$&()*+,=- percent-encoded; correct it",
    )
    parts = urlsplit(url)
    _require(_decoded(url).isprintable(), "the URL has an escaped control character; take it out")
    is_user = not _decoded(parts.username or "").startswith("-")
    _require(is_user, "a user name must not begin with '-', which programs read as an option")
    _require(_port(parts) > 0, "port 0 is none; one is from 1 to 65535")
    _check_host(parts)
    path = _decoded(parts.path)
    is_plain = {".", ".."}.isdisjoint(re.split(r"[/\\]", path))
    _require(is_plain, "a path has no '.' or '..'; write where it leads to")
    if is_repository(url):
        _require("?" not in url, "a repository has no query; leave it out")
        # Who finds the revision after the first @ and who finds it after the last must be safe.
        is_safe = all(_REVISION.fullmatch(part) for part in path.split("@")[1:])
        allowed = "letters, digits and any of '._/+-' within"
        _require(is_safe, f"after '@' is a revision: {allowed}; use one")
        fault = "the URL names no repository; write its path after the host"
        _require(_repository_path(parts.path).strip("/") != "", fault)
    if "#" in url:
        words = parts.fragment.split("&")
        keys = {word.partition("=")[0] for word in words}
        is_right = len(keys) == len(words) and all(map(_FRAGMENT.fullmatch, words))
        _require(is_right, "after '#' is subdirectory=folder/within or sha256=hash, once each")
    return parts


def check_place(
    rule: str, entry: str, schemes: tuple[str, ...], *, credentials: bool = True
) -> None:
    """Check an entry of a policy's field: a host, or a URL.

    Raises ValueError with the field, which shows no credentials.
    """
    is_url = "://" in entry
    try:
        parts = check_url(entry if is_url else f"https://{entry}", schemes)
        is_open = parts.username is None
        is_host = is_open and not parts.path
        _require(is_url or is_host, "write 'host', 'host:port' or a URL with its scheme")
        fault = "it may have no credentials here; leave them to the configuration"
        _require(credentials or is_open, fault)
        is_bare = {"?", "#"}.isdisjoint(entry) and "@" not in parts.path
        _require(is_bare, "it may have neither query nor fragment nor '@'; leave that out")
    except ValueError as error:
        shown = re.split("[?#]", entry.rpartition("@")[2])[0]
        raise ValueError(f"{rule} has {shown!r}: {error}") from None


def is_within(parts: SplitResult, entry: str, *, is_path_free: bool = False) -> bool:
    """Return whether a URL is at the host, or below the URL, of a policy's entry.

    A host without a port means the usual port. Of a file that an index has, the path is free.
    """
    is_url = "://" in entry
    place = urlsplit(entry if is_url else f"https://{entry}")
    start = _segments(place.path)
    return (
        (not is_url or place.scheme in (parts.scheme, parts.scheme.rpartition("+")[2]))
        and (place.hostname, place.port or _usual_port(parts)) == (parts.hostname, _port(parts))
        and (is_path_free or _segments(parts.path, parts.scheme)[: len(start)] == start)
    )


def is_repository(url: str) -> bool:
    """Return whether a URL is that of a repository, by its scheme."""
    return "+" in url.partition("://")[0]


def _require(is_right: bool, fault: str) -> None:
    if not is_right:
        raise ValueError(fault)


def _check_host(parts: SplitResult) -> None:
    from ipaddress import ip_address

    host, address = parts.hostname or "", None
    with suppress(ValueError):
        address = ip_address(host)
    is_right = "[" not in parts.netloc or (address is not None and address.version == 6)
    _require(is_right, "the host in brackets is no address of IPv6; correct it")
    is_here = host == "localhost" if address is None else address.is_loopback
    is_safe = is_here or parts.scheme.endswith("https")
    _require(is_safe, f"scheme {parts.scheme!r} is only for this machine; use {parts.scheme}s")


def _usual_port(parts: SplitResult) -> int:
    return 443 if parts.scheme.endswith("https") else 80


def _port(parts: SplitResult) -> int:
    return _usual_port(parts) if parts.port is None else parts.port


def _repository_path(path: str) -> str:
    """Return the path of a repository without its revision."""
    before, at, _ = path.rpartition("@")
    return before if at else path


def _segments(path: str, scheme: str = "") -> list[str]:
    path = _repository_path(path) if "+" in scheme else path
    # The hosts of repositories accept a path with and without .git.
    return path.rstrip("/").removesuffix(".git").split("/")


def _decoded(text: str) -> str:
    """Return a string without percent-escapes, those of an escaped percent sign included."""
    while (once := unquote(text)) != text:
        text = once
    return text
