"""Opening a store by its URL, as a configuration file has it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from plugreg._support.slugs import near
from plugreg.exceptions import StorageURLError
from plugreg.storage.contract import Storage
from plugreg.storage.memory import MemoryStorage

SCHEMES: Final = ("memory", "tinydb", "sqlite", "postgresql+psycopg", "mysql+pymysql")
"""The schemes of the URLs."""

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}")


def open_storage(url: str) -> Storage:
    """Open the store that a URL names.

    These are the forms of a URL::

        memory://
        tinydb:///plugins.json
        sqlite:///plugins.db
        postgresql+psycopg://user:password@host:5432/database
        mysql+pymysql://user:password@host:3306/database

    A path is written unencoded, after three slashes, so that an absolute one makes four
    (``sqlite:////srv/plugins.db``); any other is relative to the working folder.

    All but ``memory`` accept the option ``?lock_timeout=`` (seconds), ``tinydb`` also
    ``on_corrupt=``, and databases ``prefix=``; see `TinyDBStorage` and `SQLStorage`. Other options
    of a server's URL are passed to its driver.

    Args:
        url: The URL.

    Returns:
        The open storage, which the caller closes.

    Raises:
        StorageURLError: If the URL is none of these. It does not show a password.
        MissingExtraError: If a library is not installed.
        StorageError: Any other error of opening the store.
    """
    if not isinstance(url, str):
        name = f"<{type(url).__qualname__}>"
        raise StorageURLError(name, f"it must be a string, {_list_schemes()}…")
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        shown = f"{scheme}://…" if separator and _SCHEME.fullmatch(scheme) else "…"
        hint = near(scheme.lower(), SCHEMES)
        raise StorageURLError(shown, f"it must begin with {_list_schemes()}{hint}")
    if scheme == "memory":
        if rest:
            raise StorageURLError("memory://…", "a store in memory has no path and no options")
        return MemoryStorage()
    return _open_server(url) if "+" in scheme else _open_file(scheme, rest)


def _list_schemes() -> str:
    return f"{', '.join(f'{scheme}://' for scheme in SCHEMES[:-1])} or {SCHEMES[-1]}://"


def _open_file(scheme: str, rest: str) -> Storage:
    from urllib.parse import parse_qsl

    address, _, query = rest.partition("?")
    if not address.startswith("/") or address == "/":
        # The string in place of the path may have a password.
        raise StorageURLError(
            f"{scheme}://…",
            f"a path must stand after three slashes: {scheme}:///file, or {scheme}:////folder/file",
        )
    place, path = f"{scheme}://{address}", address[1:]
    given = dict(parse_qsl(query, keep_blank_values=True))
    option = "on_corrupt" if scheme == "tinydb" else "prefix"
    options = _parse_options(place, given, ("lock_timeout", option))
    for name in given.keys() - options.keys():
        raise StorageURLError(place, f"there is no option {name!r}")
    if scheme == "tinydb":
        from plugreg.storage.file.tinydb import TinyDBStorage

        return _construct(place, lambda: TinyDBStorage(path, **options))
    from plugreg.storage.sql.engines import parse_url
    from plugreg.storage.sql.storage import SQLStorage

    # SQLAlchemy 2.1 decodes the path in a string, and 2.0 does not.
    parsed = parse_url("sqlite://").set(database=path)
    return _construct(place, lambda: SQLStorage(parsed, **options))


def _open_server(url: str) -> Storage:
    from plugreg.storage.sql.engines import parse_url, place_of
    from plugreg.storage.sql.storage import SQLStorage

    parsed = parse_url(url)
    place = place_of(parsed)
    options = _parse_options(place, parsed.query, ("lock_timeout", "prefix"))
    rest = parsed.difference_update_query(list(options))
    return _construct(place, lambda: SQLStorage(rest, **options))


def _construct(place: str, construct: Callable[[], Storage]) -> Storage:
    """Construct a storage. Raises StorageURLError, which names the place, for an invalid option."""
    try:
        return construct()
    except StorageURLError:
        raise
    except ValueError as error:
        raise StorageURLError(place, str(error)) from error


def _parse_options(
    place: str, query: Mapping[str, str | tuple[str, ...]], names: tuple[str, ...]
) -> dict[str, Any]:
    options: dict[str, Any] = {name: query[name] for name in names if name in query}
    for name, value in options.items():
        if not isinstance(value, str):
            raise StorageURLError(place, f"option {name!r} is there more than once")
    if "lock_timeout" in options:
        try:
            options["lock_timeout"] = float(options["lock_timeout"])
        except ValueError:
            raise StorageURLError(place, "lock_timeout must be a number of seconds") from None
    return options
