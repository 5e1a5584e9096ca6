"""What the life cycle asks of the objects that it is given. Only annotations import it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from plugreg._support.slugs import Slug
from plugreg.records import PluginFailure, PluginRow, PluginSpec


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
        """Let other processes remove what this one has used."""
        ...


class Remember(Protocol):
    """Stores plugins that are new, and returns the rows of all, or with ``few`` of these alone."""

    def __call__(
        self, specs: Iterable[PluginSpec], /, *, few: bool = False
    ) -> Mapping[Slug, PluginRow]:
        """Store the new ones of these plugins; there is one spec for each slug."""
        ...
