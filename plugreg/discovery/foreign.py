"""Distributions that importlib-metadata reads: those of zip files, and of finders.

Imported only where there is one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import importlib_metadata


def distributions(finder: Any, place: str) -> Iterable[Any]:
    """Return the distributions that a finder of ``sys.meta_path`` brings, or those of a file.

    Args:
        finder: The finder; None for a zip file.
        place: The path of the zip file.

    Returns:
        ``Distribution`` objects of importlib-metadata, or of the standard library.
    """
    where: dict[str, Any] = {}
    if finder is None:
        finder, where = importlib_metadata.MetadataPathFinder, {"path": [place]}
    context = importlib_metadata.DistributionFinder.Context(**where)  # type: ignore[no-untyped-call]
    found: Iterable[Any] = finder.find_distributions(context)
    return found


def pairs(distribution: Any, group: str) -> tuple[tuple[str, str], ...]:
    """Return name and value of each entry point of a group.

    Args:
        distribution: The distribution.
        group: The entry-point group.
    """
    entries = (entry for entry in distribution.entry_points if entry.group == group)
    return tuple((entry.name, entry.value) for entry in entries)


def named(distribution: str, path: str | None) -> Any:
    """Return a distribution by its name.

    Args:
        distribution: The name.
        path: The place of its metadata, which may be in a zip file.

    Returns:
        A ``Distribution`` object of importlib-metadata.
    """
    if path is not None:
        for parent in Path(path).parents:
            if parent.is_file():
                search = importlib_metadata.distributions(name=distribution, path=[str(parent)])
                return next(iter(search))
    return importlib_metadata.distribution(distribution)
