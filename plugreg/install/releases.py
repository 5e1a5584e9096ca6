"""What an index answered, when it was asked for later releases.

Table: ``releases``, one row a distribution, by its canonical name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import NoneType
from typing import Final

from plugreg.install.installer import Release
from plugreg.install.reports import Outdated
from plugreg.records import PluginSpec
from plugreg.storage import Storage
from plugreg.storage.base import field, readable

_TABLE: Final = "releases"


class ReleaseRows:
    """The last answers, in a storage. Each method raises StorageError if that cannot be reached."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def put(self, installed: Mapping[str, str], releases: Mapping[str, Release]) -> None:
        """Store what an index has of installed distributions, in the place of earlier answers."""
        asked = datetime.now(UTC).isoformat()
        with self._storage.transaction() as transaction:
            for name, _ in list(transaction.items(_TABLE)):
                transaction.delete(_TABLE, name)
            for name, release in releases.items():
                row = {
                    "installed": installed[name],
                    "latest": release.version,
                    "yanked": release.yanked,
                    "asked": asked,
                }
                transaction.put(_TABLE, name, row)

    def outdated(
        self, installed: Mapping[str, str], specs: Iterable[PluginSpec]
    ) -> tuple[Outdated, ...]:
        """Return the distributions, still installed, of which the index had something later."""
        specs = tuple(specs)
        found = []
        for name, row in sorted(self._storage.read(_TABLE).items()):
            with readable(_TABLE, name):
                outdated = Outdated(
                    distribution=name,
                    installed=field(row, "installed", str),
                    latest=field(row, "latest", str, NoneType),
                    yanked=field(row, "yanked", str, NoneType),
                    slugs=tuple(spec.slug for spec in specs if spec.distribution == name),
                    asked=datetime.fromisoformat(field(row, "asked", str)),
                )
            if installed.get(name) == outdated.installed and _is_outdated(outdated):
                found.append(outdated)
        return tuple(found)


def _is_outdated(found: Outdated) -> bool:
    from packaging.version import InvalidVersion, Version

    if found.yanked is not None:
        return True
    try:
        return found.latest is not None and Version(found.latest) > Version(found.installed)
    except InvalidVersion:
        return False
