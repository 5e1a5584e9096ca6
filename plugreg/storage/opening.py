"""A store by its URL, as a configuration file or an environment variable has it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from plugreg._support.names import near
from plugreg.exceptions import StorageURLError
from plugreg.storage.base import Storage
from plugreg.storage.memory import MemoryStorage

SCHEMES: Final = ("memory", "tinydb", "sqlite", "postgresql+psycopg", "mysql+pymysql")
"""What may stand before the ``://`` of a URL."""

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}")


def open_storage(url: str) -> Storage:
    """Open the store that ``url`` names, and return it.

    These are the forms of a URL::

        memory://
        tinydb:///plugins.json
        sqlite:///plugins.db
        postgresql+psycopg://user:password@host:5432/database
        mysql+pymysql://user:password@host:3306/database

    A path stands as it is, after three slashes, so that an absolute one makes four
    (``sqlite:////srv/plugins.db``); any other one begins at the working folder. Options of all but
    ``memory`` are ``?lock_timeout=`` (seconds), for TinyDB ``on_corrupt=``, for databases
    ``prefix=``; see :class:`TinyDBStorage` and :class:`SQLStorage`. Whatever else a server's URL
    has is its driver's.

    Raises StorageURLError, which does not show a password, for a text that is none of these,
    MissingExtraError when a library is not installed, and what the store raises at its opening.
    """
    if not isinstance(url, str):
        raise StorageURLError(f"<{type(url).__qualname__}>", f"it must be a text, {_listed()}…")
    scheme, found, rest = url.partition("://")
    if not found or scheme not in SCHEMES:
        shown = f"{scheme}://…" if found and _SCHEME.fullmatch(scheme) else "…"
        raise StorageURLError(shown, f"it must begin with {_listed()}{_nearest(scheme)}")
    if scheme == "memory":
        if rest:
            raise StorageURLError("memory://…", "one in memory has no path and no options")
        return MemoryStorage()
    if scheme == "tinydb":
        return _open_tinydb(*_path_and_query(scheme, rest))
    if scheme == "sqlite":
        return _open_sqlite(*_path_and_query(scheme, rest))
    return _open_server(url)


def _listed() -> str:
    return f"{', '.join(f'{each}://' for each in SCHEMES[:-1])} or {SCHEMES[-1]}://"


def _nearest(scheme: str) -> str:
    # The same database with another driver, or with none, is nearer than what is spelt alike.
    database = scheme.partition("+")[0].lower()
    for each in SCHEMES:
        if database and each.partition("+")[0] == database:
            return f"; did you mean {each!r}?"
    return near(scheme, SCHEMES)


def _path_and_query(scheme: str, rest: str) -> tuple[str, dict[str, str]]:
    from urllib.parse import parse_qsl

    address, _, query = rest.partition("?")
    if not address.startswith("/") or address == "/":
        # What stands in the path's place may have a password.
        raise StorageURLError(
            f"{scheme}://…",
            f"a path must stand after three slashes: {scheme}:///file, or {scheme}:////folder/file",
        )
    return address[1:], dict(parse_qsl(query, keep_blank_values=True))


def _open_tinydb(path: str, query: Mapping[str, str]) -> Storage:
    from plugreg.storage.file.tinydb import TinyDBStorage

    shown = f"tinydb:///{path}"
    options = _options(shown, query, ("lock_timeout", "on_corrupt"))
    _refuse_others(shown, query, options)
    try:
        return TinyDBStorage(path, **options)
    except ValueError as error:
        raise StorageURLError(shown, str(error)) from error


def _open_sqlite(path: str, query: Mapping[str, str]) -> Storage:
    # SQLStorage first: it says what is missing where SQLAlchemy is not installed.
    from plugreg.storage.sql.engines import url_of_file
    from plugreg.storage.sql.storage import SQLStorage

    shown = f"sqlite:///{path}"
    options = _options(shown, query, ("lock_timeout", "prefix"))
    _refuse_others(shown, query, options)
    try:
        return SQLStorage(url_of_file(path), **options)
    except StorageURLError:
        raise
    except ValueError as error:
        raise StorageURLError(shown, str(error)) from error


def _open_server(url: str) -> Storage:
    # SQLStorage first: it says what is missing where SQLAlchemy is not installed.
    from plugreg.storage.sql.engines import parsed, place_of
    from plugreg.storage.sql.storage import SQLStorage

    whole = parsed(url)
    options = _options(place_of(whole), whole.query, ("lock_timeout", "prefix"))
    try:
        return SQLStorage(whole.difference_update_query(list(options)), **options)
    except StorageURLError:
        raise
    except ValueError as error:
        raise StorageURLError(place_of(whole), str(error)) from error


def _options(
    shown: str, query: Mapping[str, str | tuple[str, ...]], names: tuple[str, ...]
) -> dict[str, Any]:
    options: dict[str, Any] = {name: query[name] for name in names if name in query}
    for name, value in options.items():
        if not isinstance(value, str):
            raise StorageURLError(shown, f"option {name!r} stands there more than once")
    if "lock_timeout" in options:
        try:
            options["lock_timeout"] = float(options["lock_timeout"])
        except (TypeError, ValueError):
            raise StorageURLError(shown, "lock_timeout must be a number of seconds") from None
    return options


def _refuse_others(shown: str, query: Mapping[str, str], known: Mapping[str, Any]) -> None:
    for name in query.keys() - known.keys():
        raise StorageURLError(shown, f"there is no option {name!r}")
