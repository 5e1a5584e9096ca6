"""Environment variables of an installer: few of the host's, and the credentials in them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from plugreg._support.url_secrets import secrets_of

_PASSED: Final = (
    *("HOME", "USERPROFILE", "LANG", "SYSTEMROOT", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
)
_PASSED_GROUPS: Final = ("LC_", "XDG_")


def variables(own: re.Pattern[str], given: Mapping[str, str], *, isolated: bool) -> dict[str, str]:
    """Return the environment variables of a command: the few that it needs, and ``given``.

    ``own`` matches the names of the installer's own variables that are passed on unless
    ``isolated``. Nothing else of this process's environment is. ``PATH`` is ``commands_path()``.
    """
    passed = {
        name: value
        for name, value in os.environ.items()
        if name.upper() in _PASSED
        or name.startswith(_PASSED_GROUPS)
        or (not isolated and own.fullmatch(name))
    }
    return passed | {"PATH": commands_path()} | dict(given)


def commands_path() -> str:
    """Return the PATH of this process without the folder of the environment's own programs.

    Those are of distributions too, whose plugins may be off. A folder that depends on where a
    command is run is left out as well.
    """
    import sysconfig

    own = Path(sysconfig.get_path("scripts")).resolve()
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(
        folder for folder in folders if Path(folder).is_absolute() and Path(folder).resolve() != own
    )


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
