"""Parse URLs for an installer strictly, so that no other parser differs.

Several programs read such a URL in turn (the installer, git, a proxy). What they might
understand differently is refused: RFC 3986 is taken at its word, and not all of it is needed.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final, NamedTuple

FILE_SCHEMES: Final = ("https", "http")
"""Schemes of indexes and archives; ``http`` only for this machine."""

REPOSITORY_SCHEMES: Final = ("git+https", "hg+https", "svn+https", "git+http")
"""Schemes of repositories; ``git+http`` only for this machine."""

_LONGEST: Final = 8_192
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?"
_URL: Final = re.compile(
    r"([a-z][a-z0-9+.-]*)://(?:([^@/?#\[\]]*)@)?"
    rf"(\[[0-9A-Fa-f:.]+\]|{_LABEL}(?:\.{_LABEL})*)(?::([0-9]{{1,5}}))?"
    r"(/[^?#\[\]]*)?(?:\?([^#\[\]]*))?(?:#([^#\[\]]*))?"
)
# Quotes and semicolons are legal in RFC 3986, but others take a URL to end there. Braces are not
# legal, and must not be: pip and uv put the host's variable NAME for ${NAME} when they read files.
_CHARACTERS: Final = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&()*+,=%-]*")
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SHOWN_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30})://")
_REVISION: Final = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_./+-]*")
_PART: Final = r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9_.][A-Za-z0-9_.+-]*"
_FRAGMENT: Final = re.compile(
    r"egg=[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
    rf"|subdirectory={_PART}(?:/{_PART})*"
    r"|sha256=[0-9A-Fa-f]{64}|sha384=[0-9A-Fa-f]{96}|sha512=[0-9A-Fa-f]{128}"
)


class Address(NamedTuple):
    """The parts of a URL that was found acceptable, without its credentials.

    ``host`` is in lower case and has no brackets; ``port`` is the usual port of the scheme where
    none was given. ``path`` is as it was written, that of a repository without ``@revision``.
    ``egg`` is the name that the fragment claims.
    """

    scheme: str
    host: str
    port: int
    path: str
    egg: str | None
    has_credentials: bool
    has_query: bool

    @property
    def shown_host(self) -> str:
        """The host as in a URL, with its port unless that is the usual port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _usual_port(self.scheme) else f"{host}:{self.port}"


class Place(NamedTuple):
    """A host, or a prefix of URLs, from which installing is allowed.

    ``scheme`` is None for any, ``port`` None for the usual port of the scheme. ``segments`` are
    the beginning of permitted paths.
    """

    scheme: str | None
    host: str
    port: int | None
    segments: tuple[str, ...]

    def has(self, address: Address, *, is_path_free: bool = False) -> bool:
        """Return whether an address is this place, or below it; its path may be free."""
        port = _usual_port(address.scheme) if self.port is None else self.port
        is_scheme = self.scheme in (None, address.scheme, address.scheme.rpartition("+")[2])
        is_below = _segments(address.path)[: len(self.segments)] == self.segments
        is_host = (address.host, address.port) == (self.host, port)
        return is_scheme and is_host and (is_path_free or is_below)


def parse_address(url: str, schemes: tuple[str, ...]) -> Address:
    """Return the parts of a URL with a scheme of ``schemes``.

    Raises ValueError with a sentence that shows no credentials. The host is not
    looked up: whether its name leads to this machine is not known here.
    """
    # Escapes may be escaped as often as there are characters, and each layer is a pass.
    _require(len(url) <= _LONGEST, f"the URL has more than {_LONGEST} characters")
    # An installer may take words after a blank for further options.
    is_plain = url.isprintable() and " " not in url
    _require(is_plain, "a URL may have neither blanks nor control characters")
    given = _SHOWN_SCHEME.match(url)
    shown = f"scheme {given[1]!r}" if given else "a URL without scheme://"
    allowed = ", ".join(schemes)
    is_allowed = given is not None and given[1] in schemes
    _require(is_allowed, f"{shown} is not allowed; use one of {allowed}, with a host")
    is_legal = _CHARACTERS.fullmatch(url) and not _BROKEN_ESCAPE.search(url)
    found = _URL.fullmatch(url)
    if not is_legal or found is None:
        raise ValueError(
            "the URL must be scheme://host/path, with a host in its xn-- form and other characters "
            "than letters, digits and ._~:/?#[]@!$&()*+,=- percent-encoded; correct it"
        )
    scheme, user, host, port, path, query, fragment = found.groups()
    is_repository = "+" in scheme
    _require(_decoded(url).isprintable(), "the URL has an escaped control character; take it out")
    is_user = not _decoded(user or "").startswith("-")
    _require(is_user, "a user name must not begin with '-', which programs read as an option")
    _require(not (is_repository and query is not None), "a repository has no query; leave it out")
    number = _usual_port(scheme) if port is None else int(port)
    _require(0 < number < 65536, f"{port} is no port; one is from 1 to 65535")
    host, path = _parse_host(host.lower(), scheme), path or ""
    parts = re.split(r"[/\\]", _decoded(path))
    _require({".", ".."}.isdisjoint(parts), "a path has no '.' or '..'; write where it leads to")
    if is_repository:
        path = _parse_repository(path)
    egg = _parse_fragment(fragment)
    return Address(scheme, host, number, path, egg, user is not None, query is not None)


def parse_place(
    rule: str, entry: str, schemes: tuple[str, ...], *, credentials: bool = True
) -> Place:
    """Return the place that an entry of a policy's field names: a host, or a URL.

    Raises ValueError with the field, which shows no credentials.
    """
    is_url = "://" in entry
    try:
        address = parse_address(entry if is_url else f"https://{entry}", schemes)
        is_host = not (address.path or address.has_credentials)
        _require(is_url or is_host, "write 'host', 'host:port' or a URL with its scheme")
        is_open = credentials or not address.has_credentials
        _require(is_open, "it may have no credentials here; leave them to the configuration")
        rest = entry.partition("://")[2].partition("/")[2]
        is_bare = not address.has_query and {"#", "@"}.isdisjoint(rest)
        _require(is_bare, "it may have neither query nor fragment nor '@'; leave that out")
    except ValueError as error:
        shown = re.split("[?#]", entry.rpartition("@")[2])[0]
        raise ValueError(f"{rule} has {shown!r}: {error}") from None
    has_port = is_url or entry.rpartition("]")[2].count(":") == 1
    scheme, port = address.scheme if is_url else None, address.port if has_port else None
    return Place(scheme, address.host, port, _segments(address.path))


def _require(is_right: bool, fault: str) -> None:
    if not is_right:
        raise ValueError(fault)


def _segments(path: str) -> tuple[str, ...]:
    # The hosts of repositories accept a path with and without .git.
    return tuple(path.rstrip("/").removesuffix(".git").split("/"))


def _usual_port(scheme: str) -> int:
    return 443 if scheme.endswith("https") else 80


def _parse_host(host: str, scheme: str) -> str:
    from ipaddress import ip_address

    is_bracketed, host = host.startswith("["), host.strip("[]")
    address = None
    with suppress(ValueError):
        address = ip_address(host)
    is_right = not is_bracketed or (address is not None and address.version == 6)
    _require(is_right, "the host in brackets is no address of IPv6; correct it")
    is_here = host == "localhost" if address is None else address.is_loopback
    is_safe = is_here or scheme.endswith("https")
    _require(is_safe, f"scheme {scheme!r} is only for this machine; use {scheme}s")
    return host


def _parse_repository(path: str) -> str:
    """Return the path of a repository without its revision."""
    # Who finds the revision after the first @ and who finds it after the last must both be safe.
    is_safe = all(_REVISION.fullmatch(part) for part in _decoded(path).split("@")[1:])
    _require(is_safe, "after '@' is a revision: letters, digits and any of '._/+-' within; use one")
    before, at, _ = path.rpartition("@")
    path = before if at else path
    _require(path.strip("/") != "", "the URL names no repository; write its path after the host")
    return path


def _parse_fragment(fragment: str | None) -> str | None:
    parts = [] if fragment is None else fragment.split("&")
    keys = {part.partition("=")[0] for part in parts}
    is_right = len(keys) == len(parts) and all(map(_FRAGMENT.fullmatch, parts))
    _require(
        is_right, "after '#' is egg=name, subdirectory=folder/within or sha256=hash, once each"
    )
    return next((part[4:] for part in parts if part.startswith("egg=")), None)


def _decoded(text: str) -> str:
    """Return a string without percent-escapes, those of an escaped percent sign included."""
    from urllib.parse import unquote

    while (once := unquote(text)) != text:
        text = once
    return text
