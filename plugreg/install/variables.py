"""Environment variables of an installer: few of the host's, and none with credentials of a URL."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from plugreg._support.url_secrets import secrets_of

_PASSED: Final = re.compile(
    "HOME|USERPROFILE|LANG|SYSTEMROOT|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE"
    "|HTTP_PROXY|HTTPS_PROXY|NO_PROXY|(?:LC|XDG)_.*"
)
# Readers of the file take the part before the first colon for the host.
_LOGIN: Final = re.compile(r"([a-z][a-z0-9+.-]*://)([^\s/?#]*)@([^\s/?#@:\[\]]+)", re.IGNORECASE)


def variables(own: re.Pattern[str], given: Mapping[str, str], *, isolated: bool) -> dict[str, str]:
    """Return the environment variables of a command: the few that it needs, and ``given``.

    ``own`` matches the names of the installer's own variables that are passed on unless
    ``isolated``. Nothing else of this process's environment is. ``PATH`` is ``commands_path()``.
    """
    passed = {
        name: value
        for name, value in os.environ.items()
        if _PASSED.fullmatch(name.upper()) or (not isolated and own.fullmatch(name))
    }
    return {**passed, "PATH": commands_path(), **given}


def commands_path() -> str:
    """Return the PATH of this process without the folder of the environment's own programs.

    Those are of distributions too, whose plugins may be off. A folder that depends on where a
    command is run is left out as well.
    """
    import sysconfig

    own = Path(sysconfig.get_path("scripts")).resolve()
    folders = map(Path, os.environ.get("PATH", os.defpath).split(os.pathsep))
    return os.pathsep.join(str(f) for f in folders if f.is_absolute() and f.resolve() != own)


def credentials_in(variables: Mapping[str, str]) -> tuple[str, ...]:
    """Return all credentials in the environment variables of a command.

    They are in URLs, apart by blanks or commas; in that of a proxy, which needs no scheme; and in
    variables for a user and a password, as uv has for each of its indexes.
    """
    from urllib.parse import quote

    urls: list[str] = []
    for name, value in variables.items():
        scheme = "http://" if name.upper().endswith("_PROXY") else ""
        # A password may have a comma.
        words = (*value.split(), *re.split(r"[\s,]+", value))
        urls += (word if "://" in word else scheme + word for word in words)
        start, _, kind = name.rpartition("_")
        if kind in ("USERNAME", "PASSWORD"):
            login = (variables.get(f"{start}_{key}", "") for key in ("USERNAME", "PASSWORD"))
            urls.append(f"http://{':'.join(quote(part, safe='') for part in login)}@")
    return tuple(dict.fromkeys(secret for url in urls for secret in secrets_of(url)))


def with_netrc(variables: Mapping[str, str], names: Iterable[str], folder: Path) -> dict[str, str]:
    """Return variables whose URLs have no credentials: those are in a file that ``NETRC`` names.

    ``names`` are those of variables with URLs. The file is in ``folder``; nobody else may read it.
    Entries of the user's own file apply too. A host has a single login there, for all its ports: a
    URL with another login stays as it is.
    """
    from urllib.parse import unquote

    logins = dict[str, tuple[str, ...]]()

    def take(url: re.Match[str]) -> str:
        user, _, password = url[2].partition(":")
        login = (unquote(user), unquote(password))
        is_only = logins.setdefault(url[3].lower(), login) == login
        return f"{url[1]}{url[3]}" if is_only else url[0]

    changed = {name: _LOGIN.sub(take, variables[name]) for name in names if name in variables}
    if not logins:
        return dict(variables)
    path = folder / "netrc"
    path.touch(mode=0o600)
    # The last entry counts if a host occurs twice.
    lines = [_read_own()]
    for host, login in logins.items():
        user, password = (re.sub(r'(["\\])', r"\\\1", part) for part in login)
        lines.append(f'machine {host} login "{user}" password "{password}"\n')
    path.write_text("\n".join(lines), encoding="utf-8")
    return {**variables, **changed, "NETRC": str(path)}


def _read_own() -> str:
    """Return the user's own file, "" if there is none that can be parsed."""
    from netrc import NetrcParseError, netrc

    given = os.environ.get("NETRC")
    for name in (given,) if given else ("~/.netrc", "~/_netrc"):
        with suppress(NetrcParseError, OSError, RuntimeError, UnicodeDecodeError):
            path = Path(name).expanduser()
            netrc(path)
            return path.read_text(encoding="utf-8")
    return ""
