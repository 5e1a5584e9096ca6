"""Move credentials from URLs into a netrc file, which programs read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

_FILES: Final = (".netrc", "_netrc")
"""Where the user has one, in the home folder."""


def with_netrc(variables: Mapping[str, str], names: Iterable[str], folder: Path) -> dict[str, str]:
    """Return variables whose URLs have no credentials: those are in a file that ``NETRC`` names.

    ``names`` are those of variables with URLs, apart by blanks. The file is in ``folder``; nobody
    else may read it. What the user's own one has holds too. A host has one login there, for all
    its ports: where a URL has another one for it, that stays as it is.
    """
    changed, logins = dict(variables), dict[str, tuple[str, str]]()
    for name in names:
        if name in variables:
            words = re.split(r"(\s+)", variables[name])
            changed[name] = "".join(_without_login(word, logins) for word in words)
    if not logins:
        return changed
    path = folder / "netrc"
    path.touch(mode=0o600)
    lines = [
        f"machine {host} login {_quoted(user)} password {_quoted(password)}\n"
        for host, (user, password) in logins.items()
    ]
    # The last one counts where a host stands there twice.
    path.write_text(_of_the_user() + "\n" + "".join(lines), encoding="utf-8")
    return {**changed, "NETRC": str(path)}


def _without_login(word: str, logins: dict[str, tuple[str, str]]) -> str:
    """Return a URL without its login, which is put into ``logins`` if there is room for it."""
    from urllib.parse import unquote, urlsplit

    try:
        parts = urlsplit(word)
        host = parts.hostname
    except ValueError:
        return word
    before, at, address = parts.netloc.rpartition("@")
    # What reads the file takes the host for what is before the first colon.
    if not at or not before or not host or ":" in host:
        return word
    user, _, password = before.partition(":")
    login = (unquote(user), unquote(password))
    if logins.setdefault(host, login) != login:
        return word
    return parts._replace(netloc=address).geturl()


def _quoted(text: str) -> str:
    escaped = re.sub(r'(["\\])', r"\\\1", text)
    return f'"{escaped}"'


def _of_the_user() -> str:
    """Return the user's own file, "" where there is none that can be understood."""
    from netrc import NetrcParseError, netrc

    given = os.environ.get("NETRC")
    for candidate in (given,) if given else (f"~/{name}" for name in _FILES):
        with suppress(NetrcParseError, OSError, RuntimeError, UnicodeDecodeError):
            path = Path(candidate).expanduser()
            netrc(path)
            return path.read_text(encoding="utf-8")
    return ""
