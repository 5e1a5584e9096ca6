"""The environment of an interpreter: its folders and its distributions."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from plugreg._support.guard import Guard
from plugreg._support.slugs import canonical
from plugreg.install.plan import Change

if TYPE_CHECKING:
    from importlib.metadata import Distribution

    from packaging.markers import Marker

RESERVED: Final = ".plugreg"
"""How all names begin that plugreg uses in an environment for itself."""

METADATA: Final = (".dist-info", ".egg-info")
"""How the names of metadata end, in lower case; they may be written in upper case as well."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A distribution that is there.

    ``name`` is canonical; ``path`` is its metadata, a ``.dist-info`` folder or what stands for it.
    ``installer`` is who says that it put it there (the file INSTALLER), "" where nobody does.
    ``requires`` are the requirements of PEP 508 in its metadata, those of its ``extras`` too.
    """

    name: str
    version: str
    path: Path
    installer: str = ""
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()


class Environment:
    """Folders into which distributions are installed: ``purelib``, ``platlib`` and ``scripts``.

    ``folders`` are these three, in this order, and more that distributions put files into; without
    it they are those of this interpreter (:mod:`sysconfig`), and ``include`` of a virtual
    environment. Its ``share`` and ``etc`` are not among them, as a host may keep its own files
    there; a plan tells which files distributions would put there (``data_files``). Two names of
    one folder are one folder. Nothing is kept: every answer is read from the disk when it is
    asked for.
    """

    def __init__(self, folders: Sequence[Path] | None = None) -> None:
        purelib, platlib, scripts, *more = _folders() if folders is None else folders
        # In many environments lib64 is a link to lib, so that two paths are one folder.
        self.purelib: Final = purelib.resolve()
        self.platlib: Final = platlib.resolve()
        self.scripts: Final = scripts.resolve()
        self.folder: Final = self.purelib / RESERVED
        """Where the lock is. What is needed to put this environment back is beside it, in names
        that begin with that of this folder."""
        # If one of these is a link, it may lead to a folder of the system, which is none of ours.
        self._more: Final = tuple(path.parent.resolve() / path.name for path in more)

    @property
    def folders(self) -> tuple[Path, ...]:
        """Its folders, each once, without those that are within another one."""
        found = {self.purelib, self.platlib, self.scripts, *self._more}
        return tuple(sorted(folder for folder in found if found.isdisjoint(folder.parents)))

    def distributions(self) -> Mapping[str, Found]:
        """Return what is installed now, by canonical name, in alphabetical order.

        Only ``purelib`` and ``platlib`` are looked at, not the rest of ``sys.path``. What has no
        metadata that can be read is left out, and what an installer was about to remove (its
        name begins with ``~``). Where there are two of one name, the first by file name counts.
        """
        found: dict[str, Found] = {}
        for folder in dict.fromkeys((self.purelib, self.platlib)):
            for path in _metadata_in(folder):
                with Guard():
                    this = _found(path)
                    if this is not None:
                        found.setdefault(this.name, this)
        return MappingProxyType(dict(sorted(found.items())))

    def files(self, names: Iterable[str]) -> tuple[Path, ...]:
        """Return the files that belong to distributions, as their RECORD lists them.

        They may lie anywhere, and some may not be there. A name that is not installed has none.
        """
        installed = self.distributions()
        files: dict[Path, None] = {}
        for name in names:
            if name in installed:
                files |= dict.fromkeys(files_of(installed[name]))
        return tuple(files)


def files_of(found: Found) -> tuple[Path, ...]:
    """Return the files that a distribution's RECORD lists, none where it cannot be read."""
    with Guard():
        return tuple(_files(found.path))
    return ()


def reserved(files: Iterable[str]) -> tuple[str, ...]:
    """Return those of ``files`` that no distribution may bring, as plugreg uses their names itself.

    ``files`` are paths as a RECORD or a wheel lists them, wherever they lead. A name that begins
    with ``.plugreg`` is reserved, that of a folder too; upper case is no difference, as it is none
    to some file systems.
    """
    return tuple(
        file
        for file in files
        if any(part.lower().startswith(RESERVED) for part in file.replace("\\", "/").split("/"))
    )


def difference(before: Mapping[str, Found], after: Mapping[str, Found]) -> tuple[Change, ...]:
    """Return the distributions of which one has another version than the other, by name."""
    return tuple(
        Change(name=name, before=old, after=new)
        for name in sorted(before.keys() | after.keys())
        if (old := _version(before, name)) != (new := _version(after, name))
    )


def requiring(
    name: str, distributions: Mapping[str, Found], *, extras: bool = False
) -> tuple[str, ...]:
    """Return the names of the distributions that require ``name`` in this interpreter.

    ``extras`` counts a requirement of an extra too, since it is not known which extras of a
    distribution were asked for. A requirement that cannot be read, or whose marker cannot be
    judged, counts as none.
    """
    return tuple(
        sorted(
            distribution.name
            for distribution in distributions.values()
            if distribution.name != name and name in _required(distribution, extras=extras)
        )
    )


def holds(marker: Marker | None, extra: str = "") -> bool:
    """Return whether a marker holds in this interpreter; one that cannot be judged does not."""
    try:
        return marker is None or marker.evaluate({"extra": extra})
    except (ValueError, LookupError):
        # It compares what has no order, or asks for a variable that is not there (PEP 508).
        return False


def visible() -> Mapping[str, Found]:
    """Return what an installer sees, by canonical name.

    Where this environment is open to the system's, it is what both have.
    """
    import site

    found = dict(Environment().distributions())
    for folder in map(Path, site.getsitepackages()):
        found = {**Environment((folder, folder, folder)).distributions(), **found}
    return found


def _folders() -> tuple[Path, ...]:
    import sysconfig

    found = tuple(Path(sysconfig.get_path(key)) for key in ("purelib", "platlib", "scripts"))
    if sys.prefix == sys.base_prefix:
        return found
    # Headers of distributions are put there, and those of the interpreter are elsewhere.
    return (*found, Path(sys.prefix, "include"))


def _version(distributions: Mapping[str, Found], name: str) -> str | None:
    return distributions[name].version if name in distributions else None


def _metadata_in(folder: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - only few of them become a Path
    except FileNotFoundError:
        return []
    return [folder / name for name in names if name.lower().endswith(METADATA) and name[0] != "~"]


def _at(path: Path) -> Distribution:
    # Not by its name: that would be looked up in a memory that may be older than the folder.
    from importlib.metadata import Distribution

    return Distribution.at(path)


def _found(path: Path) -> Found | None:
    distribution = _at(path)
    metadata = distribution.metadata
    if not ("Name" in metadata and "Version" in metadata):
        return None
    name, version = metadata["Name"], metadata["Version"]
    return Found(
        name=canonical(name),
        version=version,
        path=path,
        installer=(distribution.read_text("INSTALLER") or "").strip(),
        requires=tuple(distribution.requires or ()),
        extras=tuple(metadata.get_all("Provides-Extra") or ()),
    )


def _files(path: Path) -> Iterator[Path]:
    for file in _at(path).files or ():
        # A script stands there as ../../../bin/name.
        yield Path(os.path.normpath(path.parent / file))


def _required(distribution: Found, *, extras: bool) -> Iterator[str]:
    from packaging.requirements import InvalidRequirement, Requirement

    asked = ("", *distribution.extras) if extras else ("",)
    for line in distribution.requires:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if any(holds(requirement.marker, extra) for extra in asked):
            yield canonical(requirement.name)
