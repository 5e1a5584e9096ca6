"""Credentials in URLs: find them, mask them in strings, and remove them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from plugreg._support.redact import MASK, Scrubber

_URL_MASK: Final = "****"
"""The replacement of credentials that pip and uv also use."""
_USER: Final = re.compile(r"://[^\s/?#]*@")
# It also matches a URL without a query, so that no part is searched twice.
_QUERY: Final = re.compile(r"(://[^\s?#]*)(\?[^\s#\"'<>]+)?")
_WHOLE_QUERY: Final = re.compile(r"\?([^\s#]*)")
_SECRET_KEY: Final = re.compile("token|key|secret|pass|auth|sig|cred", re.IGNORECASE)
_LONG: Final = 16
"""From this length on a value of a query is taken for a secret, whatever its key."""
_SHORT: Final = 4
"""A shorter secret is only searched for as a word, because many words contain it."""
_PUBLIC_USERS: Final = frozenset({"git", "hg", "oauth2", "x-access-token", "__token__"})
"""User names that are the same for everybody and stand in much harmless output."""


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a string without ``secrets``, and without credentials and queries of URLs.

    A secret is also found in the encodings of JSON, URLs and base64. A secret with fewer than 4
    characters is found only as a word. The function is idempotent.
    """
    return masker(secrets)(text)


def masker(secrets: Iterable[str]) -> Callable[[str], str]:
    """Return a function that masks strings as :func:`masked` does, prepared for many strings."""
    known = [secret for secret in secrets if secret.strip()]
    words = [rf"(?<!\w){re.escape(secret)}(?!\w)" for secret in known if len(secret) < _SHORT]
    scrubber = Scrubber(secret for secret in known if len(secret) >= _SHORT)

    def mask(text: str) -> str:
        text = _QUERY.sub(_masked_query, _USER.sub(f"://{_URL_MASK}@", text))
        for word in words:
            text = re.sub(word, MASK, text)
        return scrubber.text(text)

    return mask


def _masked_query(url: re.Match[str]) -> str:
    return f"{url[1]}?{_URL_MASK}" if url[2] else url[1]


def secrets_of(url: str) -> tuple[str, ...]:
    """Return the credentials in a URL: user name, password, both with a colon, tokens of its query.

    Each is returned as written, and with its percent-escapes decoded. A string that is not a URL
    has none.
    """
    from urllib.parse import unquote

    found = list(_secrets_in(url))
    return tuple(dict.fromkeys((*found, *map(unquote, found))))


def _secrets_in(url: str) -> Iterator[str]:
    address, _, query = url.partition("#")[0].partition("?")
    authority = address.partition("://")[2].partition("/")[0]
    user, colon, password = authority.rpartition("@")[0].partition(":")
    if colon:
        yield f"{user}:{password}"
    if password:
        yield password
    if user and user not in _PUBLIC_USERS:
        yield user
    yield from (value for pair in query.split("&") if (value := _secret_in(pair)))


def _secret_in(pair: str) -> str:
    """Return the value in a part of a query, "" if it is no secret."""
    key, _, value = pair.partition("=")
    return value if _SECRET_KEY.search(key) or len(value) >= _LONG else ""


def without_credentials(text: str) -> str:
    """Return a requirement or a URL as a file may have it, where others read it."""
    return _WHOLE_QUERY.sub(_public_query, _USER.sub("://", text))


def _public_query(query: re.Match[str]) -> str:
    # A query with a secret is removed as a whole: an unescaped & splits a secret into parts.
    return "" if any(map(_secret_in, query[1].split("&"))) else query[0]
