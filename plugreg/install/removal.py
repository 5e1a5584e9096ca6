"""Which distributions may leave the environment, and which leave with them."""

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
        fault = f"Plugin cannot be uninstalled as {enumerated(wanted)} of its package is active"
    if fault is not None:
        raise InstallError([fault])


def require_unneeded(
    name: str, content: Mapping[str, Distribution], host: Mapping[str, Distribution]
) -> None:
    """Raise InstallError for a distribution that the host has, that is not there, or is needed."""
    if name not in content and name in host:
        raise InstallError(
            [
                "Plugin cannot be uninstalled as its package is not in the environment of the "
                "plugins: it belongs to the host's environment, remove it there"
            ]
        )
    if name not in content:
        raise InstallError(["Plugin installation not found"])
    needing = [
        found.name
        for found in content.values()
        if found.name != name and name in (canonical(needed.name) for needed in required(found))
    ]
    if needing:
        reason = f"Plugin cannot be uninstalled as {enumerated(needing)} requires its package"
        raise InstallError([reason])


def unneeded(content: Mapping[str, Distribution], asked: Mapping[str, str]) -> frozenset[str]:
    """Return the distributions that nothing in *asked* requires, directly or not."""
    from packaging.requirements import Requirement

    waiting = [(name, frozenset(Requirement(line).extras)) for name, line in asked.items()]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = current = waiting.pop()
        if current not in seen and name in content:
            seen.add(current)
            waiting += (
                (canonical(needed.name), frozenset(needed.extras))
                for needed in required(content[name], extras)
            )
    return frozenset(content.keys() - {name for name, _ in seen})


def enumerated(names: Iterable[str]) -> str:
    """Return names as a sentence has them."""
    return ", ".join(f"'{name}'" for name in names)
