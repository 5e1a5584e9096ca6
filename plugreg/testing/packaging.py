"""Checks of a distribution and its sources; nothing is imported."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING

from plugreg._support.frozen import NamedTuple
from plugreg._support.slugs import canonical, slug_fault, slugify
from plugreg.contract.codes import finding
from plugreg.contract.projects import PluginProject
from plugreg.contract.values import Finding

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_WANTED = (
    ("description", "summary", "a description, which hosts show"),
    ("license", "license-expression", "a licence"),
    ("requires-python", "requires-python", "the versions of Python that it runs on"),
)

_MISSING = ("ImportError", "ModuleNotFoundError", "Exception")
"""Names of exceptions that a missing package raises."""

_CONDITIONS = (
    *("TYPE_CHECKING", "find_spec"),
    *("sys.version_info", "sys.platform", "os.name", "platform.system"),
)
"""Parts of conditions below which imports are optional."""


class ImportedName(NamedTuple):
    """An import statement: the module, its file and line.

    ``is_late`` says that it is in a function, ``is_main`` that it is in the plugin's own module.
    """

    module: str
    where: str
    is_late: bool
    is_main: bool


def faults(
    project: PluginProject, host: str, host_modules: Iterable[str] = ()
) -> Iterator[Finding]:
    """Yield what is wrong with a distribution, and with the imports of its modules.

    Args:
        project: The distribution. Modules without one are asked for late imports alone.
        host: The host's distribution, which need not be installed.
        host_modules: Top-level modules of the host.
    """
    imports = _import_faults(project, host, host_modules)
    if project.has_package:
        yield from _metadata_faults(project)
        yield from _version_faults(project, host)
        if "dependencies" not in project.dynamic:
            yield from imports
    else:
        yield from (seen for seen in imports if seen.code == "K310")


def _metadata_faults(project: PluginProject) -> Iterator[Finding]:
    """Yield missing and invalid metadata of a distribution, and names that are no slugs."""
    # Of an installed plugin, only its name was read.
    if project.folder is not None or "metadata-version" in project.metadata:
        for source, built, what in _WANTED:
            is_there = project.metadata.get(built) or project.metadata.get(source)
            if source not in project.dynamic and not is_there:
                yield finding("K001", project.place, f"there is no {source!r}: {what}")
        for fault in _invalid(project):
            yield finding("K004", project.place, fault)
    where = "entry_points.txt" if project.folder is None else project.place
    for name in project.entry_points:
        slug = slugify(name)
        wrong = slug_fault(slug, name)
        if wrong is None and slug != name:
            wrong = f"entry point {name!r} gives the slug {slug!r}, by which hosts name it"
        if wrong is not None:
            yield finding("K002", where, wrong)


def _invalid(project: PluginProject) -> Iterator[str]:
    """Yield the fields that no installer accepts, as clauses."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet
    from packaging.utils import canonicalize_name
    from packaging.version import Version

    metadata = project.metadata
    for field in ("name", "version"):
        if not metadata.get(field) and field not in project.dynamic:
            yield f"there is no {field!r}"
    for field, parse, values in (
        ("name", partial(canonicalize_name, validate=True), [metadata.get("name")]),
        ("version", Version, [metadata.get("version")]),
        ("requires-python", SpecifierSet, [metadata.get("requires-python")]),
        ("dependencies", Requirement, project.requires),
    ):
        for value in filter(None, values):
            try:
                parse(str(value))
            except ValueError:  # The errors of packaging are all of this kind.
                yield f"{value!r} is not valid in {field!r}"


def _version_faults(project: PluginProject, host: str) -> Iterator[Finding]:
    """Yield requirements that are installed here in a version out of their range."""
    for requirement, is_extra in project.requirements():
        if is_extra or canonical(requirement.name) == host or not _applies(requirement):
            continue
        found = _installed(requirement.name)
        if found is not None and not requirement.specifier.contains(found, prereleases=True):
            message = f"{str(requirement)!r} is required, and version {found} is installed here"
            yield finding("K007", project.place, message)


def _import_faults(
    project: PluginProject, host: str, host_modules: Iterable[str]
) -> Iterator[Finding]:
    """Yield imports of packages that are not required, and late imports of missing packages.

    Which distribution brings a package is known of those that are installed here alone.
    """
    own = {value.partition(":")[0].partition(".")[0] for value in project.entry_points.values()}
    known = {*own, *host_modules, *sys.stdlib_module_names}
    always, extras = {canonical(str(project.metadata.get("name", "")))}, set[str]()
    absent = set[str]()
    for requirement, is_extra in project.requirements():
        name = canonical(requirement.name)
        (extras if is_extra else always).add(name)
        if not is_extra and name != host and _applies(requirement) and not _installed(name):
            absent.add(name)
    unknown: set[str] = set()
    distributions: dict[str, list[str]] | None = None
    for seen in _imported_names(project):
        top = seen.module.partition(".")[0]
        # Without an extra only functions and further modules may import what it brings.
        required = always if seen.is_main and not seen.is_late else always | extras
        if top in known or canonical(top) in required:
            continue
        # It reads the metadata of all that is installed, which most plugins need not wait for.
        distributions = distributions or dict(packages_distributions())
        brought_by = {canonical(name) for name in distributions.get(top, ())}
        if brought_by & required or (not brought_by and _is_there(top, project)):
            continue
        if not brought_by and absent:
            if top not in unknown:  # It says that once, not in each line.
                names = " or ".join(map(repr, sorted(absent)))
                message = f"{seen.module!r} is imported; {names} may bring it, and is not installed"
                yield finding("K005", seen.where, message)
            unknown.add(top)
        elif not brought_by and seen.is_late:
            message = f"{seen.module!r} is imported when a function is called, and is not there"
            yield finding("K310", seen.where, message)
        else:
            names = " or ".join(map(repr, sorted(brought_by))) or "what brings it"
            message = f"{seen.module!r} is imported, and {names} is not required"
            yield finding("K003", seen.where, message)


def _imported_names(project: PluginProject) -> Iterator[ImportedName]:
    """Yield the imports of a plugin's own modules, without optional imports.

    Imports in ``try`` with ``except ImportError``, in ``with suppress(ImportError)``, and below
    conditions on types, versions, platforms and installed modules are optional.
    """
    for value in project.entry_points.values():
        module = value.partition(":")[0].strip().replace(".", "/")
        for file, shown in _files(project, module):
            try:
                tree = ast.parse(file.read_text(encoding="utf-8"))
            except (OSError, SyntaxError, ValueError):
                continue  # The contract has a finding for that.
            is_main = shown in (f"{module}.py", f"{module}/__init__.py")
            for name, line, is_late in _imports([tree], is_late=False):
                yield ImportedName(name, f"{shown}:{line}", is_late, is_main)


def _files(project: PluginProject, module: str) -> Iterator[tuple[Path, str]]:
    """Yield the modules of a plugin's package, or of its module alone without a distribution."""
    for folder in map(Path, project.search):
        top = _own_package(folder, module) if project.has_package else module
        if (folder / f"{top}.py").is_file():
            yield folder / f"{top}.py", f"{top}.py"
            return
        if (folder / top).is_dir():
            for file in sorted((folder / top).rglob("*.py")):
                yield file, file.relative_to(folder).as_posix()
            return


def _own_package(folder: Path, module: str) -> str:
    """Return the outermost package of a module, below namespaces, which other distributions share.

    Args:
        folder: The folder that is searched.
        module: Path of the module in it, without suffix.
    """
    parts = module.split("/")
    for count in range(1, len(parts)):
        path = folder.joinpath(*parts[:count])
        if (path / "__init__.py").is_file() or not path.is_dir():
            return "/".join(parts[:count])
    return module


def _imports(nodes: Iterable[ast.AST], *, is_late: bool) -> Iterator[tuple[str, int, bool]]:
    for node in nodes:
        inner: Iterable[ast.AST] = ast.iter_child_nodes(node)
        match node:
            case ast.Import():
                yield from ((alias.name, node.lineno, is_late) for alias in node.names)
            case ast.ImportFrom(level=0, module=str(module)):
                yield module, node.lineno, is_late
            case ast.Try():
                caught = [handler.type or ast.Name("Exception") for handler in node.handlers]
                inner = node.handlers if _names(caught, _MISSING) else inner
            case ast.With(items=items):
                is_optional = _names(items, ["suppress("]) and _names(items, _MISSING)
                inner = () if is_optional else inner
            case ast.If(test=test, orelse=otherwise):
                inner = otherwise if _names([test], _CONDITIONS) else inner
        is_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        yield from _imports(inner, is_late=is_late or is_function)


def _names(nodes: Iterable[ast.AST], words: Iterable[str]) -> bool:
    """Return whether the code of one of the nodes has one of these words."""
    shown = " ".join(map(ast.unparse, nodes))
    return any(word in shown for word in words)


def _is_there(module: str, project: PluginProject) -> bool:
    path = [*project.search, *sys.path]
    return module in sys.modules or PathFinder.find_spec(module, path) is not None


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def _installed(name: str) -> str | None:
    """Return the installed version of a distribution, None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
