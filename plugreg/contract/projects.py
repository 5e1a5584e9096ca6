"""The target of a check, as data: a wheel, a folder, or an installed plugin. It is not run."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import tomllib
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from plugreg._support.frozen import Frozen
from plugreg._support.slugs import near, slugify
from plugreg.contract.exceptions import NoPluginError
from plugreg.discovery import discover
from plugreg.discovery.directories import find as find_in_directory
from plugreg.discovery.entry_points import parse
from plugreg.discovery.facts import describe, headers

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_SCRIPTS: Final = ("console_scripts", "gui_scripts")
"""Groups of entry points that are programs."""


class PluginProject(Frozen):
    """A distribution with plugins, as a check needs it.

    Attributes:
        entry_points: Values of the entry points in the host's group, by name.
        search: Folders in which its modules are.
        shown: Folder that paths are shown relative to.
        requires: Its requirements (PEP 508).
        metadata: Its headers by lower-case name, or the ``[project]`` table.
        folder: The folder with its ``pyproject.toml``; None if it is built.
        groups: The groups of all its entry points.
        has_package: Whether it is a distribution; a folder of plugins has modules alone.
    """

    entry_points: Mapping[str, str]
    search: tuple[str, ...]
    shown: str
    requires: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    folder: str | None = None
    groups: tuple[str, ...] = ()
    has_package: bool = True

    @property
    def place(self) -> str:
        """The file that holds its metadata."""
        return "METADATA" if self.folder is None else "pyproject.toml"

    @property
    def dynamic(self) -> Sequence[str]:
        """The fields that only a build of its sources knows."""
        found: Sequence[str] = () if self.folder is None else self.metadata.get("dynamic", ())
        return found

    def requirements(self) -> Iterator[tuple[Requirement, bool]]:
        """Yield the requirements that are valid, and whether each is of an extra."""
        from packaging.requirements import InvalidRequirement, Requirement

        extras = {} if self.folder is None else self.metadata.get("optional-dependencies", {})
        lines = [(line, False) for line in self.requires]
        lines += [(str(line), True) for extra in extras.values() for line in extra]
        for line, is_extra in lines:
            with suppress(InvalidRequirement):  # There is a finding for that.
                requirement = Requirement(line)
                yield requirement, is_extra or "extra ==" in str(requirement.marker)

    @property
    def exempt(self) -> Mapping[str, str]:
        """The exemptions in its ``pyproject.toml``: reasons by code."""
        return {} if self.folder is None else exemptions(read_pyproject(Path(self.folder)))


def exemptions(pyproject: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the exemptions in ``[tool.plugreg.check]``: reasons by code.

    Args:
        pyproject: Contents of a ``pyproject.toml``.
    """
    checks = pyproject.get("tool", {}).get("plugreg", {}).get("check", {})
    found: Mapping[str, str] = checks.get("exempt", {})
    return found


@contextmanager
def open_project(
    target: str | os.PathLike[str],
    group: str,
    path: Sequence[str] | None = None,
    *,
    directories: Iterable[str | os.PathLike[str]] = (),
) -> Iterator[PluginProject]:
    """Yield the project of a wheel, a folder, or an installed plugin.

    A wheel is unpacked into a temporary folder, which is gone when the block ends. A string
    without a separator is a slug first, then a folder.

    Args:
        target: The path or slug.
        group: The host's entry-point group.
        path: Folders where installed plugins are searched, instead of ``sys.path``.
        directories: The host's folders of plugins, which are searched after these.

    Raises:
        NoPluginError: If there is no such plugin, or the wheel cannot be read.
    """
    name = os.fspath(target)
    if name.endswith(".whl"):
        with tempfile.TemporaryDirectory(prefix="plugreg-check-") as folder:
            yield _wheel(Path(target), Path(folder), group)
        return
    is_path = not isinstance(target, str) or os.sep in name or "/" in name or name in (".", "..")
    installed = {} if is_path else installed_projects(group, path, slug=name)
    in_folders = {} if is_path or installed else directory_projects(directories)
    if found := installed.get(name) or in_folders.get(name):
        yield found
    elif Path(target).is_dir():
        yield folder_project(Path(target), group)
    else:
        known = [*(spec.slug for spec in discover(group, path)), *in_folders]
        hint = near(name, known) or ("" if is_path else _elsewhere(name, group, path))
        raise NoPluginError(name, f"no file, folder or plugin has this name{hint}")


def _elsewhere(name: str, group: str, path: Sequence[str] | None) -> str:
    """Return the mend of an entry point that is installed in another group, as ``near`` does."""
    for distribution in distributions(path=[*(sys.path if path is None else path)]):
        for point in distribution.entry_points:
            if slugify(point.name) == name and point.group not in (group, *_SCRIPTS):
                return (
                    f"; {distribution.name} has it in the group {point.group!r}, which the host "
                    f"does not read; move its entry point to "
                    f"[project.entry-points.{json.dumps(group)}], and install it again"
                )
    return ""


def installed_projects(
    group: str, path: Sequence[str] | None = None, *, slug: str | None = None
) -> dict[str, PluginProject]:
    """Return the projects of installed plugins by slug.

    Args:
        group: The host's entry-point group.
        path: Folders to search instead of ``sys.path``.
        slug: The only plugin to return.
    """
    found: dict[str, PluginProject] = {}
    for spec in discover(group, path):
        if slug is None or spec.slug == slug:
            folder = str(Path(spec.path or ".").parent)
            found[spec.slug] = PluginProject(
                entry_points={spec.name: spec.value},
                requires=describe(spec).requires,
                # Distributions that are installed in editable mode have their modules elsewhere.
                search=(folder, *(sys.path if path is None else path)),
                shown=folder,
                metadata={
                    "name": spec.distribution,
                    "version": spec.version,
                    "origin": _origin(spec.path),
                },
            )
    return found


def directory_projects(
    directories: Iterable[str | os.PathLike[str]],
) -> dict[str, PluginProject]:
    """Return the plugins in folders of plugins by slug, the first of each.

    Args:
        directories: The folders.
    """
    found: dict[str, PluginProject] = {}
    for directory in directories:
        folder = str(Path(directory).absolute())
        for spec in find_in_directory(folder).specs:
            project = PluginProject(
                entry_points={spec.slug: spec.value},
                search=(folder,),
                shown=folder,
                has_package=False,
            )
            found.setdefault(spec.slug, project)
    return found


def _origin(info: str | None) -> str | None:
    """Return the folder or wheel that a distribution was installed from (PEP 610), or None."""
    try:
        url = urlsplit(json.loads(_text(Path(info or "", "direct_url.json")))["url"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return url2pathname(url.path) if url.scheme == "file" else None


def _wheel(wheel: Path, folder: Path, group: str) -> PluginProject:
    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)  # It drops paths that lead out of the folder.
    except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        # RuntimeError is raised for members that are encrypted or packed in another way.
        raise NoPluginError(str(wheel), f"the wheel cannot be read ({error})") from None
    info = next(iter(sorted(folder.glob("*.dist-info"))), None)
    if info is None:
        raise NoPluginError(str(wheel), "the wheel has no dist-info folder")
    fields = list(headers(_text(info / "METADATA")))
    points = _text(info / "entry_points.txt")
    return PluginProject(
        entry_points={name: value for name, value in parse(points, group) if value},
        groups=tuple(re.findall(r"(?m)^\s*\[(.+)\]\s*$", points)),
        requires=tuple(value for name, value in fields if name == "requires-dist"),
        search=(str(folder),),
        shown=str(folder),
        metadata=dict(reversed(fields)),
    )


def folder_project(folder: Path, group: str) -> PluginProject:
    """Return the project of a folder with ``pyproject.toml``, or of a folder of plugins.

    Args:
        folder: The folder.
        group: The host's entry-point group.

    Raises:
        NoPluginError: If the folder has no ``pyproject.toml`` with a ``[project]`` table, and no
            plugin either.
    """
    if not (folder / "pyproject.toml").exists() and (found := directory_projects([folder])):
        points = {
            slug: value for each in found.values() for slug, value in each.entry_points.items()
        }
        return next(iter(found.values())).__replace__(entry_points=points)
    project = read_pyproject(folder).get("project")
    if not isinstance(project, dict):
        raise NoPluginError(str(folder), "its pyproject.toml has no [project]")
    if "entry-points" in project.get("dynamic", ()):
        raise NoPluginError(str(folder), "its entry points are dynamic, and only in its wheel")
    groups = project.get("entry-points", {})
    table: object = groups.get(group, {}) if isinstance(groups, dict) else None
    if not isinstance(table, dict):
        place = f"[project.entry-points.{json.dumps(group)}]"
        raise NoPluginError(str(folder), f"in its pyproject.toml {place} is no table")
    return PluginProject(
        entry_points={str(name): str(value) for name, value in table.items()},
        groups=tuple(groups),
        requires=tuple(map(str, project.get("dependencies", ()))),
        search=(str(folder / "src"), str(folder)),
        shown=str(folder),
        metadata=project,
        folder=str(folder),
    )


def read_pyproject(folder: Path) -> dict[str, Any]:
    """Return the contents of the ``pyproject.toml`` of a folder.

    Args:
        folder: The folder.

    Raises:
        NoPluginError: If there is none, or it is no TOML.
    """
    try:
        return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = f"its pyproject.toml cannot be read ({error})"
        raise NoPluginError(str(folder), reason) from None


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
