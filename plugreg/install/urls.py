"""Parse URLs for an installer strictly, so that no other parser differs.

Several programs read such a URL one after the other (the installer, git, a proxy). What they might
understand differently is refused: RFC 3986 is taken at its word, and not all of it is needed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

FILE_SCHEMES: Final = ("https", "http")
"""Schemes of indexes and archives; ``http`` only for this machine."""

REPOSITORY_SCHEMES: Final = ("git+https", "hg+https", "svn+https", "git+http")
"""Schemes of repositories; ``git+http`` only for this machine."""

_LONGEST: Final = 8_192

_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?"
_URL: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://"
    r"(?:(?P<user>[^@/?#\[\]]*)@)?"
    rf"(?P<host>\[[0-9A-Fa-f:.]+\]|{_LABEL}(?:\.{_LABEL})*)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[^?#\[\]]*)?"
    r"(?:\?(?P<query>[^#\[\]]*))?"
    r"(?:#(?P<fragment>[^#\[\]]*))?"
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """The parts of a URL that was found acceptable, without its credentials.

    ``host`` is in lower case and has no brackets; ``port`` is the usual one of the scheme where
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
        """The host as a URL has it, with its port where that is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _usual_port(self.scheme) else f"{host}:{self.port}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where installing is allowed from: a host, or the URLs that begin with one.

    ``scheme`` is None for any, ``port`` None for the usual one of the scheme. ``segments`` are
    what the path of others must begin with.
    """

    scheme: str | None
    host: str
    port: int | None
    segments: tuple[str, ...]

    def has_host(self, address: Address) -> bool:
        """Return whether an address has this scheme, host and port, whatever its path is."""
        usual = _usual_port(address.scheme)
        return (
            address.host == self.host
            and address.port == (usual if self.port is None else self.port)
            and self.scheme in (None, address.scheme, address.scheme.rpartition("+")[2])
        )

    def has(self, address: Address) -> bool:
        """Return whether an address is this place, or one below it."""
        mine = self.segments
        return self.has_host(address) and _segments(address.path)[: len(mine)] == mine


def parse_address(url: str, schemes: tuple[str, ...]) -> Address:
    """Return the parts of a URL that has one of ``schemes``.

    Raises ValueError with a sentence on what is wrong, which shows no credentials. The host is not
    looked up: whether its name leads to this machine is not known here.
    """
    if len(url) > _LONGEST:
        # Escapes may be escaped as often as there are characters, and each layer is a pass.
        raise ValueError(f"the URL has more than {_LONGEST} characters")
    if not url.isprintable() or " " in url:
        # An installer may take what follows a blank for one more of its options.
        raise ValueError("a URL may have neither blanks nor control characters")
    scheme = _SHOWN_SCHEME.match(url)
    if scheme is None or scheme[1] not in schemes:
        shown = f"scheme {scheme[1]!r}" if scheme else "a URL without scheme://"
        raise ValueError(f"{shown} is not allowed; use one of {', '.join(schemes)}, with a host")
    if not _CHARACTERS.fullmatch(url) or _BROKEN_ESCAPE.search(url):
        raise ValueError(
            "the URL has characters that none may have here; percent-encode them, "
            "and write the host in its xn-- form"
        )
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError("the URL must be scheme://host/path, with a host; correct it")
    host = _checked_host(found["host"], found["scheme"])
    port = _checked_port(found["port"], found["scheme"])
    decoded = _decoded(url)
    if not decoded.isprintable():
        raise ValueError("the URL has an escaped control character; take it out")
    if found["user"] is not None and _decoded(found["user"]).startswith("-"):
        raise ValueError("a user name must not begin with '-', which programs read as an option")
    is_repository = "+" in found["scheme"]
    path = _checked_path(found["path"] or "", is_repository=is_repository)
    if is_repository and found["query"] is not None:
        raise ValueError("the URL of a repository has no query; leave it out")
    return Address(
        scheme=found["scheme"],
        host=host,
        port=port,
        path=path,
        egg=_checked_fragment(found["fragment"]),
        has_credentials=found["user"] is not None,
        has_query=found["query"] is not None,
    )


def parse_place(
    rule: str, entry: str, schemes: tuple[str, ...], *, credentials: bool = True
) -> Place:
    """Return the place that an entry of a policy's field names: a host, or a URL.

    Raises ValueError with the field, which shows no credentials.
    """
    is_url = "://" in entry
    try:
        address = parse_address(entry if is_url else f"https://{entry}", schemes)
        if not is_url and (address.path or address.has_credentials):
            raise ValueError("write 'host', 'host:port' or a URL with its scheme")
        if address.has_credentials and not credentials:
            raise ValueError("it may have no credentials here; leave them to the configuration")
        rest = entry.partition("://")[2].partition("/")[2]
        if address.has_query or not {"#", "@"}.isdisjoint(rest):
            raise ValueError("it may have neither query nor fragment nor '@'; leave that out")
    except ValueError as error:
        shown = re.split("[?#]", entry.rpartition("@")[2])[0]
        raise ValueError(f"{rule} has {shown!r}: {error}") from None
    has_port = is_url or entry.rpartition("]")[2].count(":") == 1
    return Place(
        scheme=address.scheme if is_url else None,
        host=address.host,
        port=address.port if has_port else None,
        segments=_segments(address.path),
    )


def _segments(path: str) -> tuple[str, ...]:
    # The hosts of repositories know one with and without its .git.
    return tuple(path.rstrip("/").removesuffix(".git").split("/"))


def _usual_port(scheme: str) -> int:
    return 443 if scheme.endswith("https") else 80


def _checked_host(host: str, scheme: str) -> str:
    from ipaddress import IPv6Address, ip_address

    host = host.lower()
    if host.startswith("["):
        host = host[1:-1]
        try:
            IPv6Address(host)
        except ValueError:
            raise ValueError("the host in brackets is no address of IPv6; correct it") from None
    if scheme.endswith("https"):
        return host
    try:
        is_here = ip_address(host).is_loopback
    except ValueError:
        is_here = host == "localhost"
    if not is_here:
        raise ValueError(f"scheme {scheme!r} is only for this machine; use {scheme}s")
    return host


def _checked_port(port: str | None, scheme: str) -> int:
    if port is None:
        return _usual_port(scheme)
    if not 0 < int(port) < 65536:
        raise ValueError(f"{port} is no port; one is from 1 to 65535")
    return int(port)


def _checked_path(path: str, *, is_repository: bool) -> str:
    decoded = _decoded(path)
    if not {".", ".."}.isdisjoint(re.split(r"[/\\]", decoded)):
        raise ValueError("the path must not have '.' or '..' in it; write where it leads to")
    if not is_repository:
        return path
    # Who finds the revision after the first @ and who finds it after the last must both be safe.
    if not all(_REVISION.fullmatch(part) for part in decoded.split("@")[1:]):
        raise ValueError(
            "what follows '@' must be a revision of letters, digits and any of '._/+-' within; "
            "use a tag, a branch or a commit that is"
        )
    before, at, _ = path.rpartition("@")
    path = before if at else path
    if not path.strip("/"):
        raise ValueError("the URL names no repository; write its path after the host")
    return path


def _checked_fragment(fragment: str | None) -> str | None:
    if fragment is None:
        return None
    parts = fragment.split("&")
    keys = {part.partition("=")[0] for part in parts}
    if len(keys) < len(parts) or not all(_FRAGMENT.fullmatch(part) for part in parts):
        raise ValueError(
            "what follows '#' must be egg=name, subdirectory=folder/within or sha256=hash, "
            "each once; leave out the rest"
        )
    return next((part[4:] for part in parts if part.startswith("egg=")), None)


def _decoded(text: str) -> str:
    """Return a text without percent-escapes, those of an escaped percent sign included."""
    from urllib.parse import unquote

    while (once := unquote(text)) != text:
        text = once
    return text
