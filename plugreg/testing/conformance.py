"""The checks as a class of tests."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest

from plugreg._support.slugs import slugify
from plugreg.contract import Contract, NoPluginError
from plugreg.contract.projects import PluginProject, folder_project, read_pyproject
from plugreg.discovery import discover
from plugreg.mixins import MixinSpec
from plugreg.storage import MemoryStorage
from plugreg.testing.checks import CHECKS, KitReport, run_checks
from plugreg.testing.host import host_maker
from plugreg.testing.living import MakeHost
from plugreg.testing.specs import find_mixins, find_specs
from plugreg.testing.subject import Subject

_REPORT: Final = pytest.StashKey[KitReport]()


class ConformanceWarning(UserWarning):
    """A check has a finding that is no error."""


class Conformance:
    """Base class of tests: a test for each check of ``docs/reference/checks.md``.

    A finding that is an error fails its test, a warning is a `ConformanceWarning`. The plugin is
    imported in a child first, and tried in this process then. Class attributes define what is
    checked; a host may set all but the plugin in a class of its own.

    Attributes:
        plugin: ``"module:Class"``, or the class itself.
        hookspecs: Classes and modules with the host's specifications.
        mixins: The host's capabilities, beside those of plugreg.
        contract: The contract, or its file, in place of these two.
        make_registry: Makes the host's registry, in place of these three.
        host: Name of the host. Defaults to the group in which the project has the plugin.
        host_version: Version of the host.
        project: Folder with ``pyproject.toml``. Defaults to the nearest folder that names the
            plugin.
        exempt: Reasons by code, beside those of ``[tool.plugreg.check]``.
    """

    plugin: ClassVar[Any] = None
    hookspecs: ClassVar[Iterable[Any]] = ()
    mixins: ClassVar[Iterable[MixinSpec]] = ()
    contract: ClassVar[Any] = None
    make_registry: ClassVar[Any] = None
    host: ClassVar[str | None] = None
    host_version: ClassVar[str | None] = None
    project: ClassVar[Any] = None
    exempt: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture
    def conformance_report(self, request: pytest.FixtureRequest) -> KitReport:
        """Return the report of all checks, which are run once for the class."""
        cls: type[Conformance] = type(self)
        if cls.plugin is None:
            pytest.skip(f"{cls.__name__} names no plugin")
        node = request.node.getparent(pytest.Class)
        report: KitReport | None = node.stash.get(_REPORT, None)
        if report is None:
            subject, exempt = _subject(cls)
            report = node.stash[_REPORT] = run_checks(subject, {**exempt, **cls.exempt})
        return report

    @pytest.mark.parametrize("code", [check.code for check in CHECKS])
    def test_conforms(self, code: str, conformance_report: KitReport) -> None:
        """The plugin has no error of this code."""
        found = [finding for finding in conformance_report.findings if finding.code == code]
        errors = [str(finding) for finding in found if finding.level == "error"]
        for finding in found:
            if finding.level == "warning":
                warnings.warn(ConformanceWarning(str(finding)), stacklevel=1)
        if errors:
            pytest.fail("\n".join(errors), pytrace=False)


def _subject(cls: type[Conformance]) -> tuple[Subject, Mapping[str, str]]:
    """Return the subject of the checks, and the exemptions of its project."""
    plugin = cls.plugin
    value = plugin if isinstance(plugin, str) else f"{plugin.__module__}:{plugin.__qualname__}"
    folder, group = _find_project(cls, value)
    contract = _contract(cls, (group or "host.plugins").removesuffix(".plugins"))
    if folder is not None and group == contract.group:
        project = folder_project(folder, contract.group)
        points = {name: point for name, point in project.entry_points.items() if point == value}
        project = project.__replace__(entry_points=points)
    else:
        project = _installed(contract.group, value)
    [slug, *_] = [*map(slugify, project.entry_points)]
    subject = Subject(
        contract,
        value,
        slug,
        project,
        make_host=_host_maker(cls, contract, slug),
    )
    return subject, project.exempt


def _contract(cls: type[Conformance], host: str) -> Contract:
    if isinstance(cls.contract, Contract):
        return cls.contract
    if cls.contract is not None:
        return Contract.read(cls.contract)
    if (make_registry := _make_registry(cls)) is not None:
        with make_registry(storage=MemoryStorage(), path=()) as registry:
            return Contract.of(registry)
    return Contract.of_specs(
        cls.host or host, cls.hookspecs, mixins=cls.mixins, version=cls.host_version
    )


def _make_registry(cls: type[Conformance]) -> Any:
    """Return the factory as it was written: a function in a class is not bound."""
    found = inspect.getattr_static(cls, "make_registry")
    return found.__func__ if isinstance(found, staticmethod) else found


def _host_maker(cls: type[Conformance], contract: Contract, slug: str) -> MakeHost:
    """Return a factory of hosts with only this plugin."""
    parts: list[Any] = [(slug, cls.plugin)]
    make_registry = _make_registry(cls)
    if make_registry is None:
        parts += [*cls.hookspecs] or find_specs(contract)
        parts += [*cls.mixins] or find_mixins(contract)
    return host_maker(parts, contract, make_registry)


def _find_project(cls: type[Conformance], value: str) -> tuple[Path | None, str | None]:
    """Return the project that names the plugin, and the group in which it does."""
    folders: Iterable[Path]
    if cls.project is not None:
        folders = [Path(cls.project)]
    else:
        file = Path(inspect.getfile(cls)).absolute()
        folders = [*file.parents, Path.cwd()]
    for folder in folders:
        with suppress(NoPluginError):
            groups = read_pyproject(folder).get("project", {}).get("entry-points", {})
            for group, points in groups.items():
                if value in points.values():
                    return folder, group
    return None, None


def _installed(group: str, value: str) -> PluginProject:
    """Return the installed plugin, or its modules alone where it is not installed."""
    name = next((spec.name for spec in discover(group) if spec.value == value), None)
    slug = name or slugify(value.rpartition(":")[2] or value.rpartition(".")[2])
    search = tuple(filter(None, sys.path))
    return PluginProject(
        entry_points={slug: value}, search=search, shown=str(Path.cwd()), has_package=False
    )
