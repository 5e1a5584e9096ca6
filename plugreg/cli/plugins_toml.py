"""``plugins.toml``: desired state, versions and settings of plugins, as a file describes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any, Final

from plugreg._support.frozen import NamedTuple
from plugreg.cli.faults import CommandError, usage

SCHEMA: Final = 1

_FIELDS: Final = ("active", "requirement", "settings", "user_settings")


class Described(NamedTuple):
    """The entry of a plugin in a file.

    Attributes:
        slug: The plugin.
        active: Whether it is wanted, None where the file does not say.
        requirement: Its distribution, as PEP 508 has it, None where the file does not say.
        settings: Values by user (None for the plugin itself), then by upper-case key.
    """

    slug: str
    active: bool | None
    requirement: str | None
    settings: Mapping[int | None, Mapping[str, Any]]


def read_file(path: str) -> tuple[Described, ...]:
    """Return the plugins that a file describes.

    Args:
        path: The file.

    Raises:
        CommandError: If there is no such file, it is empty, or it is not as plugreg writes it. A
            file that cannot be understood never means that there are no plugins.
    """
    import tomllib

    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _fault(path, f"cannot be read: {error}") from error
    if not text.strip():
        raise _fault(path, "is empty")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _fault(path, f"is no TOML: {error}") from error
    if data.get("schema") != SCHEMA:
        raise _fault(path, f"must begin with schema = {SCHEMA}, and has {data.get('schema')!r}")
    unknown = data.keys() - {"schema", "plugins"}
    if unknown:
        raise _fault(path, f"has {sorted(unknown)[0]!r}, which is not known")
    plugins = data.get("plugins")
    if not isinstance(plugins, dict) or not plugins:
        raise _fault(path, "describes no plugin; write a table [plugins.<slug>]")
    return tuple(_described(path, slug, table) for slug, table in plugins.items())


def _described(path: str, slug: str, table: Any) -> Described:
    where = f"[plugins.{slug}]"
    if not isinstance(table, dict):
        raise _fault(path, f"has {where}, which is no table")
    for name in table:
        if name not in _FIELDS:
            raise _fault(path, f"has {name!r} in {where}; there are: {', '.join(_FIELDS)}")
    active, requirement = table.get("active"), table.get("requirement")
    if not isinstance(active, (bool, type(None))):
        raise _fault(path, f"has active = {active!r} in {where}, which is no boolean")
    if not isinstance(requirement, (str, type(None))):
        raise _fault(path, f"has requirement = {requirement!r} in {where}, which is no string")
    settings: dict[int | None, dict[str, Any]] = {}
    if "settings" in table:
        settings[None] = _values(path, f"{where} settings", table["settings"])
    users = table.get("user_settings", {})
    if not isinstance(users, dict):
        raise _fault(path, f"has user_settings in {where}, which is no table")
    for user, values in users.items():
        if not re.fullmatch(r"-?[0-9]+", user):
            raise _fault(path, f"has user {user!r} in {where}; a user is a whole number")
        settings[int(user)] = _values(path, f"{where} user_settings.{user}", values)
    return Described(slug, active, requirement, settings)


def _values(path: str, where: str, values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise _fault(path, f"has {where}, which is no table")
    found = {key.upper(): value for key, value in values.items()}
    if len(found) < len(values):
        raise _fault(path, f"has a key twice, in upper and lower case, in {where}")
    for key, value in found.items():
        if not _is_json(value):
            raise _fault(path, f"has {key} in {where}, which is no JSON value; write a string")
    return found


def _is_json(value: Any) -> bool:
    """Return whether JSON has such a value; it has neither dates nor infinite numbers."""
    if isinstance(value, dict):
        return all(map(_is_json, value.values()))
    if isinstance(value, list):
        return all(map(_is_json, value))
    return isinstance(value, (str, int)) or (isinstance(value, float) and isfinite(value))


def _fault(path: str, reason: str) -> CommandError:
    return usage(f"{path!r} {reason}", "repair it; nothing was changed")


def write_text(plugins: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the contents of a file.

    Args:
        plugins: Tables by slug, as `read_file` reads them.
    """
    import tomli_w

    return tomli_w.dumps({"schema": SCHEMA, "plugins": plugins})
