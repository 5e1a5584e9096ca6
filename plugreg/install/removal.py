"""Which distributions may leave the environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from plugreg._support.slugs import canonical
from plugreg.exceptions import InstallError
from plugreg.install.distributions import Distribution, required
from plugreg.records import PluginRecord


def require_removable(record: PluginRecord, siblings: Iterable[PluginRecord]) -> None:
    """Raise InstallError, in the words that clients know, for a plugin that must stay.

    ``siblings`` are all plugins of its distribution.
    """
    wanted = [plugin.slug for plugin in siblings if plugin.wanted]
    fault = None
    # A mandatory plugin is always wanted, so it is called active only where it serves.
    if record.active or (record.wanted and not record.is_mandatory):
        fault = "Plugin cannot be uninstalled as it is currently active"
    elif record.is_mandatory:
        fault = "INVE-E10: Plugin cannot be uninstalled as it is mandatory"
    elif record.is_sample:
        fault = "INVE-E10: Plugin cannot be uninstalled as it is a sample plugin"
    elif record.is_builtin:
        fault = "INVE-E10: Plugin cannot be uninstalled as it is a built-in plugin"
    elif not record.is_installed:
        fault = "Plugin is not installed"
    elif not record.is_package:
        fault = "Plugin is not a packaged plugin"
    elif wanted:
        fault = f"Plugin cannot be uninstalled as {_enumerated(wanted)} of its package is active"
    if fault is not None:
        raise InstallError([fault])


def require_unneeded(
    name: str, content: Mapping[str, Distribution], host: Mapping[str, Distribution]
) -> None:
    """Raise InstallError for a distribution that the host has, that is not there, or is needed."""
    fault = None
    needing = [
        found.name
        for found in content.values()
        if found.name != name and name in (canonical(needed.name) for needed in required(found))
    ]
    if name not in content and name in host:
        fault = "Plugin cannot be uninstalled as its package is not in the environment of the "
        fault += "plugins: it belongs to the host's environment, remove it there"
    elif name not in content:
        fault = "Plugin installation not found"
    elif needing:
        fault = f"Plugin cannot be uninstalled as {_enumerated(needing)} requires its package"
    if fault is not None:
        raise InstallError([fault])


def _enumerated(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
