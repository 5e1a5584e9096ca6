"""The plugins that a target names: a wheel, a folder, a slug, or all that are installed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from plugreg._support.frozen import replace
from plugreg._support.slugs import canonical, slugify
from plugreg.contract import Contract, NoPluginError
from plugreg.contract.projects import (
    PluginProject,
    directory_projects,
    exemptions,
    installed_projects,
    open_project,
    read_pyproject,
)
from plugreg.testing.checks import KitReport, run_checks
from plugreg.testing.subject import Subject


def check_target(
    contract: Contract,
    target: str | os.PathLike[str],
    directories: Iterable[str | os.PathLike[str]] = (),
) -> KitReport:
    """Run all checks on a wheel, a folder or an installed plugin, in children.

    Args:
        contract: The contract of the host.
        target: The wheel, the folder with ``pyproject.toml`` or with plugins, or the slug.
        directories: The host's folders of plugins.

    Returns:
        The findings about all plugins of the target.

    Raises:
        NoPluginError: If there is no such plugin.
        MissingExtraError: If griffe or hypothesis is not installed.
    """
    with open_project(target, contract.group, directories=directories) as project:
        return _check(contract, project, os.fspath(target))


def check_all(
    contract: Contract, directories: Iterable[str | os.PathLike[str]] = ()
) -> tuple[KitReport, ...]:
    """Run all checks on each plugin of the host, in children.

    Args:
        contract: The contract of the host.
        directories: The host's folders of plugins.

    Raises:
        MissingExtraError: If griffe or hypothesis is not installed.
    """
    found = {**directory_projects(directories), **installed_projects(contract.group)}
    return tuple(_check(contract, project, slug) for slug, project in sorted(found.items()))


def _check(contract: Contract, project: PluginProject, target: str) -> KitReport:
    exempt = _exemptions(project, Path(target))
    reports = [
        run_checks(subject, exempt, target=target) for subject in _subjects(contract, project)
    ]
    return KitReport(
        target=target,
        findings=tuple(dict.fromkeys(each for report in reports for each in report.findings)),
        exempted=tuple(dict.fromkeys(each for report in reports for each in report.exempted)),
    )


def _exemptions(project: PluginProject, target: Path) -> Mapping[str, str]:
    """Return the exemptions of a project; those of a wheel are in the project around it."""
    origin = project.metadata.get("origin")
    if project.folder is not None or (origin is None and target.suffix != ".whl"):
        return project.exempt
    name = canonical(str(project.metadata.get("name", "")))
    place = Path(origin or target).absolute()
    for folder in (place, *place.parents, Path.cwd()):
        with suppress(NoPluginError):
            around = read_pyproject(folder)
            if canonical(str(around.get("project", {}).get("name", ""))) == name:
                return exemptions(around)
    return {}


def _subjects(contract: Contract, project: PluginProject) -> Iterator[Subject]:
    for name, value in project.entry_points.items():
        alone = replace(project, entry_points={name: value})
        yield Subject(contract, value, slugify(name), alone)
    if not project.entry_points:
        yield Subject(contract, "", "", project)
