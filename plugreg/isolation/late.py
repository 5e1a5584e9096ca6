"""Isolation for a host that isolates nothing itself, made after an installation that isolates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plugreg.install.generations import isolated_folders

if TYPE_CHECKING:
    from plugreg._lifecycle.binding import BoundContext
    from plugreg._lifecycle.load import Loading
    from plugreg._lifecycle.protocols import Isolation, ProcessData
    from plugreg.records import ActivePlugin, PluginSpec


class LateIsolation:
    """A placeholder until there is an isolated plugin; then it delegates to the factory's result.

    Args:
        environment: The folder of the installer.
        make: Makes the isolated plugins of the registry.
    """

    def __init__(self, environment: Path, make: Callable[[], Isolation]) -> None:
        self._environment: Final = environment
        self._make: Final = make
        self._made: Isolation | None = None

    def folders(self) -> Sequence[tuple[str | None, Path]]:
        """Return where isolated plugins are installed, by slug."""
        if self._made is None:
            if not isolated_folders(self._environment):
                return ()
            self._made = self._make()
        return self._made.folders()

    def isolates(self, spec: PluginSpec) -> bool:
        """Return whether a plugin is isolated."""
        return self._made is not None and self._made.isolates(spec)

    def load(self, spec: PluginSpec) -> Loading | None:
        """Load a plugin in its process, None if it is not isolated."""
        return None if self._made is None else self._made.load(spec)

    def open(self, slug: str, context: BoundContext) -> None:
        """Get the plugin that was loaded last ready for service, if it is isolated."""
        if self._made is not None:
            self._made.open(slug, context)

    def settle(self, in_service: Mapping[str, ActivePlugin]) -> None:
        """End the processes of all plugins that are not in service."""
        if self._made is not None:
            self._made.settle(in_service)

    def process_of(self, plugin: object) -> object:
        """Return facts on the process of a plugin, None if it is not isolated."""
        return None if self._made is None else self._made.process_of(plugin)

    def processes(self) -> Mapping[str, ProcessData]:
        """Return facts on the process of each isolated plugin, by slug."""
        return {} if self._made is None else self._made.processes()
