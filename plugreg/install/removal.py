"""Distributions that must stay, and those removed with an uninstalled plugin."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from plugreg.exceptions import InstallError
from plugreg.install.environment import Found, requiring
from plugreg.install.plan import Change, Refusal
from plugreg.records import PluginRecord

OURS: Final = frozenset({"pip", "uv", ""})
"""What the file INSTALLER says of distributions that may be changed here."""

PROTECTED: Final = frozenset(
    {
        *("plugreg", "pip", "uv"),
        *("pluggy", "packaging", "importlib-metadata", "pydantic", "tinydb", "sqlalchemy"),
    }
)
"""What plugreg and its installers run on, and what nobody gets by asking for a plugin.

What these require in turn is protected with them, wherever it is installed."""


def require_removable(record: PluginRecord, siblings: Iterable[PluginRecord]) -> None:
    """Raise InstallError, in the words that clients know, for a plugin that must stay.

    ``siblings`` are all plugins of its distribution.
    """
    wanted = [plugin.slug for plugin in siblings if plugin.wanted]
    fault = None
    # A mandatory plugin is always wanted, so that it is called active only where it serves.
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
        fault = f"Plugin cannot be uninstalled as {listed(wanted)} of its package is active"
    if fault is not None:
        raise InstallError([fault])


def require_unneeded(
    distribution: str, installed: Mapping[str, Found], protected: Collection[str]
) -> None:
    """Raise InstallError for a distribution that is not there, is another's, or is needed."""
    found = installed.get(distribution)
    if found is None:
        raise InstallError(["Plugin installation not found"])
    fault = None
    needing = requiring(distribution, installed)
    if distribution in protected:
        fault = "Plugin cannot be uninstalled as the host needs its package"
    elif found.installer not in OURS:
        fault = f"Plugin cannot be uninstalled as {found.installer!r} manages its package"
    elif needing:
        fault = f"Plugin cannot be uninstalled as {listed(needing)} requires its package"
    if fault is not None:
        raise InstallError([fault])


def protecting(
    changes: Iterable[Change], installed: Mapping[str, Found], protected: Collection[str]
) -> tuple[Refusal, ...]:
    """Return why distributions that are there may not be replaced, whoever asks for it."""
    reasons = []
    for change in changes:
        if change.before is None:
            continue
        manager = installed[change.name].installer if change.name in installed else ""
        if change.name in protected:
            reasons.append(f"{change.name!r} is what the host, or plugreg, runs on")
        elif manager not in OURS:
            reasons.append(f"{change.name!r} was put there by {manager!r}, which manages it")
    return tuple(Refusal(rule="environment", reason=reason) for reason in reasons)


def no_longer_needed(
    distribution: str, brought: Iterable[str], installed: Mapping[str, Found]
) -> frozenset[str]:
    """Return a distribution, and of those that it has brought what nothing else requires.

    A requirement of an extra counts, since nothing tells which extras were asked for.
    """
    leaving = {distribution, *(name for name in brought if name in installed)}
    while True:
        needed = {
            name
            for name in leaving - {distribution}
            if not leaving.issuperset(requiring(name, installed, extras=True))
        }
        if not needed:
            return frozenset(leaving)
        leaving -= needed


def listed(names: Iterable[str]) -> str:
    """Return names as a sentence has them."""
    return ", ".join(f"'{name}'" for name in names)
