"""Distributions in folders: those of the host's environment, and those of a generation."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from plugreg._support.guard import Guard
from plugreg._support.slugs import canonical

if TYPE_CHECKING:
    from importlib.metadata import Distribution as Metadata

    from packaging.requirements import Requirement

METADATA: Final = (".dist-info", ".egg-info")
"""The ends of the names of metadata folders, in lower case."""


class Distribution(NamedTuple):
    """A distribution in a folder.

    ``path`` is its metadata folder, or the zip file that it is in. ``requires`` are the
    requirements (PEP 508) in its metadata, those of ``extras`` included.
    """

    name: str
    version: str
    path: Path
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The folder that it lies in."""
        return self.path.parent

    def record(self) -> tuple[str, ...]:
        """Return the paths in its RECORD as they stand there.

        Raises:
            OSError: If there is no RECORD.
            ValueError: If it cannot be read.
        """
        text = (self.path / "RECORD").read_text("utf-8")
        if "\0" in text:
            raise ValueError("it has a null character")
        try:
            return tuple(row[0] for row in csv.reader(text.splitlines()) if row)
        except csv.Error as error:
            raise ValueError(str(error)) from error

    def text(self, name: str) -> str:
        """Return a file of its metadata, "" if it cannot be read."""
        with Guard():
            return (self.path / name).read_text("utf-8")
        return ""

    def groups(self) -> frozenset[str]:
        """Return the groups of its entry points."""
        lines = map(str.strip, self.text("entry_points.txt").splitlines())
        return frozenset(line.strip("[]").strip() for line in lines if line.startswith("["))


def distributions(folder: Path) -> Mapping[str, Distribution]:
    """Return the distributions that lie directly in a folder, by canonical name.

    Distributions without readable metadata are left out. Of two with the same name the first by
    file name counts.

    Args:
        folder: The folder, or a zip file; it need not exist.
    """
    from importlib.metadata import distributions as find

    found: dict[str, Distribution] = {}
    names: list[str] = []
    with Guard():
        if folder.is_file():
            zipped = (_parse(metadata, folder / "zipped") for metadata in find(path=[str(folder)]))
            return {made.name: made for made in zipped if made is not None}
        names = sorted(os.listdir(folder))  # noqa: PTH208 - only few of them become a Path
    for name in names:
        # Names with a tilde are left by an interrupted pip.
        if name.lower().endswith(METADATA) and name[0] != "~":
            with Guard():
                path = folder / name
                file = path / "METADATA" if path.suffix == ".dist-info" else path
                status = file.stat()
                distribution = _read(path, status.st_mtime_ns, status.st_size)
                if distribution is not None:
                    found.setdefault(distribution.name, distribution)
    return dict(sorted(found.items()))


def host_path(environment: Path) -> tuple[str, ...]:
    """Return the entries of ``sys.path`` that are no generation, of any environment; absolute."""
    root = os.path.realpath(environment / "generations") + os.sep
    entries = (os.path.abspath(entry) for entry in sys.path if type(entry) is str)  # noqa: PTH100
    return tuple(entry for entry in dict.fromkeys(entries) if not _is_generation(entry, root))


def _is_generation(entry: str, root: str) -> bool:
    """Return whether an entry is below *root*, or lies as the generations of any environment."""
    real = os.path.realpath(entry)
    folder, number = os.path.split(real)
    is_numbered = number.isdecimal() and os.path.basename(folder) == "generations"  # noqa: PTH119
    return real.startswith(root) or (is_numbered and os.path.isfile(f"{real}.lock"))  # noqa: PTH113


def host_distributions(environment: Path) -> Mapping[str, Distribution]:
    """Return the distributions of the host: all on ``sys.path`` that no generation holds.

    Editable and private distributions are among them. The first of a name counts, as for an
    import.

    Args:
        environment: The folder of the generations.
    """
    found: dict[str, Distribution] = {}
    for entry in host_path(environment):
        found = {**distributions(Path(entry)), **found}
    return dict(sorted(found.items()))


def required(
    distribution: Distribution, extras: bool | Iterable[str] = False
) -> Iterator[Requirement]:
    """Yield the requirements of a distribution that hold in this interpreter.

    A requirement that cannot be read, or whose marker cannot be evaluated, is left out.

    Args:
        distribution: The distribution.
        extras: Extras whose requirements are included; True for all, False for none.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    if isinstance(extras, bool):
        extras = distribution.extras if extras else ()
    asked = ("", *extras)
    for line in distribution.requires:
        try:
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in asked):
                yield needed
        except (InvalidRequirement, ValueError, LookupError):
            # Its marker compares values without an order, or names an unknown variable.
            continue


@lru_cache(maxsize=4096)
def _read(path: Path, *_stamp: int) -> Distribution | None:
    """Return the distribution of a metadata folder, which is read again if it has changed."""
    from importlib.metadata import Distribution as Metadata

    # Not by its name: that would be looked up in a cache that may be older.
    return _parse(Metadata.at(path), path)


def _parse(found: Metadata, path: Path) -> Distribution | None:
    text = found.read_text("METADATA") or found.read_text("PKG-INFO") or found.read_text("") or ""
    fields: dict[str, list[str]] = {"requires-dist": [], "provides-extra": []}
    for line in text.partition("\n\n")[0].splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.lower(), []).append(value.strip())
    if not ("name" in fields and "version" in fields):
        return None
    requires: Iterable[str] = fields["requires-dist"]
    if not requires and path.suffix != ".dist-info":
        requires = found.requires or ()
    name, version = canonical(fields["name"][0]), fields["version"][0]
    return Distribution(name, version, path, tuple(requires), tuple(fields["provides-extra"]))
