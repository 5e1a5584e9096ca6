"""The protocols of objects that the life cycle uses. Only annotations import it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from plugreg.records import ActivePlugin, PluginFailure, PluginSpec

if TYPE_CHECKING:
    from plugreg._lifecycle.binding import BoundContext
    from plugreg._lifecycle.load import Loading


class Environment(Protocol):
    """Packages of plugins that other processes may exchange."""

    def is_current(self) -> bool:
        """Return whether they are those that this process uses."""
        ...

    def follow(self) -> None:
        """Use those that are there now."""
        ...

    def failures(self) -> tuple[PluginFailure, ...]:
        """Return a failure for each fault of the environment."""
        ...

    def close(self) -> None:
        """Let other processes remove generations that this process has used."""
        ...


class Isolation(Protocol):
    """Makes isolated plugins, and ends their processes."""

    def isolates(self, spec: PluginSpec) -> bool:
        """Return whether a plugin is isolated."""
        ...

    def folders(self) -> Sequence[tuple[str | None, Path]]:
        """Return where isolated plugins are installed: slug and folder, None for any plugin."""
        ...

    def load(self, spec: PluginSpec) -> Loading | None:
        """Load a plugin in its process, None if it is not isolated."""
        ...

    def open(self, slug: str, context: BoundContext) -> None:
        """Get the plugin that was loaded last ready for service, if it is isolated."""
        ...

    def settle(self, in_service: Mapping[str, ActivePlugin]) -> None:
        """End the processes of all plugins that are not in service."""
        ...

    def process_of(self, plugin: object) -> object:
        """Return facts on the process of a plugin, None if it is not isolated."""
        ...

    def processes(self) -> Mapping[str, Any]:
        """Return facts on the process of each isolated plugin, by slug, with ``as_data()``."""
        ...
