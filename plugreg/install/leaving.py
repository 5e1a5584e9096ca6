"""Find the distributions to remove with a plugin; nothing is cached."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from plugreg._lifecycle.catalogue import Catalogue
from plugreg.discovery import discover
from plugreg.install.audit import Audit
from plugreg.install.environment import Environment
from plugreg.install.needs import required_by
from plugreg.install.ownership import require_own_files
from plugreg.install.plan import Change
from plugreg.install.plugins_file import PluginsFile
from plugreg.install.removal import OURS, no_longer_needed, require_removable, require_unneeded
from plugreg.records import PluginRecord


class Leaving(NamedTuple):
    """A distribution to remove, all of its plugins, and the removals, sorted by name."""

    distribution: str
    plugins: tuple[PluginRecord, ...]
    changes: tuple[Change, ...]


class Departures:
    """Finds what may go of ``environment``; ``protected`` are names that stay, with their needs.

    ``group`` is the entry-point group of the registry's plugins, ``audit`` tells what came with
    what, and ``plugins_file``, where there is one, what was asked for.
    """

    def __init__(
        self,
        environment: Environment,
        catalogue: Catalogue,
        audit: Audit,
        plugins_file: PluginsFile | None,
        *,
        group: str,
        protected: Collection[str],
    ) -> None:
        self._environment = environment
        self._catalogue = catalogue
        self._audit = audit
        self._file = plugins_file
        self._group = group
        self._protected = protected

    def of(self, slug: str, *, dependencies: bool) -> Leaving:
        """Return what goes with a plugin, with ``dependencies`` what came with it too.

        Raises PluginNotFoundError, and InstallError where it must stay.
        """
        record = self._catalogue.record(slug)
        distribution = record.distribution or ""
        plugins = tuple(
            plugin
            for plugin in self._catalogue.all().values()
            if plugin.is_installed and plugin.distribution == distribution
        )
        require_removable(record, plugins)
        found = self._environment.distributions()
        protected = required_by(self._protected, found)
        require_unneeded(distribution, found, protected)
        names = frozenset([distribution])
        if dependencies:
            brought = self._brought(distribution) - protected
            names = no_longer_needed(distribution, brought, found)
        require_own_files(self._environment, names)
        changes = (Change(name=e, before=found[e].version, after=None) for e in sorted(names))
        return Leaving(distribution, plugins, tuple(changes))

    def _brought(self, distribution: str) -> frozenset[str]:
        """Return what installing a distribution has added and nobody has asked for since."""
        found = self._environment.distributions()
        plugins = {spec.distribution for spec in discover(self._group)}
        listed_names = {line.name for line in self._file.lines()} if self._file else set()
        return frozenset(
            name
            for name in self._audit.brought_by(distribution)
            if name in found and found[name].installer in OURS
            if name not in plugins and name not in listed_names
        )
