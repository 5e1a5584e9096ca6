"""Which distributions may leave the environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from plugreg._support.slugs import canonical
from plugreg.exceptions import InstallError
from plugreg.install.distributions import Distribution, required
from plugreg.records import PluginRecord


def check_removable(
    name: str,
    record: PluginRecord,
    siblings: Iterable[PluginRecord],
    content: Mapping[str, Distribution],
    host: Mapping[str, Distribution],
) -> None:
    """Raise InstallError, in the words that clients know, for a plugin that must stay.

    ``name`` is that of its distribution, ``siblings`` are all plugins of that.
    """
    wanted = [plugin.slug for plugin in siblings if plugin.wanted]
    needing = [
        found.name
        for found in content.values()
        if found.name != name and name in (canonical(needed.name) for needed in required(found))
    ]
    cannot = "Plugin cannot be uninstalled as"
    in_host = f"{cannot} its package is not in the environment of the plugins: it belongs to the "
    reasons = {
        # A mandatory plugin is always wanted, so it is called active only where it serves.
        f"{cannot} it is currently active": record.active
        or (record.wanted and not record.is_mandatory),
        f"INVE-E10: {cannot} it is mandatory": record.is_mandatory,
        f"INVE-E10: {cannot} it is a sample plugin": record.is_sample,
        f"INVE-E10: {cannot} it is a built-in plugin": record.is_builtin,
        "Plugin is not installed": not record.is_installed,
        "Plugin is not a packaged plugin": not record.is_package,
        f"{cannot} {_enumerated(wanted)} of its package is active": wanted,
        f"{in_host}host's environment, remove it there": name not in content and name in host,
        "Plugin installation not found": name not in content,
        f"{cannot} {_enumerated(needing)} requires its package": needing,
    }
    for reason, holds in reasons.items():
        if holds:
            raise InstallError([reason])


def _enumerated(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
