"""Checks of a distribution and its sources; nothing is imported."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from plugreg._support.frozen import NamedTuple
from plugreg._support.slugs import canonical, slug_fault, slugify
from plugreg.contract.projects import PluginProject
from plugreg.testing.observations import Symptom

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
    """An import statement: the module, its file and line, and whether it is inside a function."""

    module: str
    where: str
    is_late: bool


def faults(
    project: PluginProject, host: str, host_modules: Iterable[str] = ()
) -> Iterator[Symptom]:
    """Yield what is wrong with a distribution, and with the imports of its modules.

    Args:
        project: The distribution. Modules without one are asked for late imports alone.
        host: The host's distribution, which need not be installed.
        host_modules: Top-level modules of the host.
    """
    imports = import_faults(project, host, host_modules, whole=project.has_package)
    if project.has_package:
        yield from metadata_faults(project)
        yield from name_faults(project)
        if "dependencies" not in project.dynamic:
            yield from imports
    else:
        yield from (seen for seen in imports if seen.code == "K310")


def metadata_faults(project: PluginProject) -> Iterator[Symptom]:
    """Yield missing metadata of a distribution.

    Args:
        project: The distribution.
    """
    where = "METADATA" if project.is_built else "pyproject.toml"
    if project.folder is None and "metadata-version" not in project.metadata:
        return  # An installed plugin, of which only its name was read.
    for source, built, what in _WANTED:
        if source in project.dynamic:
            continue
        if not project.metadata.get(built) and not project.metadata.get(source):
            yield Symptom("K001", where, f"there is no {source!r}: {what}")
    for fault in _invalid(project):
        yield Symptom("K004", where, fault)


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


def name_faults(project: PluginProject) -> Iterator[Symptom]:
    """Yield faults of the names of entry points.

    Args:
        project: The distribution.
    """
    where = "entry_points.txt" if project.is_built else "pyproject.toml"
    for name in project.entry_points:
        slug = slugify(name)
        fault = slug_fault(slug, name)
        if fault is not None:
            yield Symptom("K002", where, fault)
        elif slug != name:
            message = f"entry point {name!r} gives the slug {slug!r}, by which hosts name it"
            yield Symptom("K002", where, message)


def import_faults(
    project: PluginProject, host: str, host_modules: Iterable[str] = (), *, whole: bool = True
) -> Iterator[Symptom]:
    """Yield imports of packages that are not required, and late imports of missing packages.

    Which distribution brings a package is known of those that are installed here alone.

    Args:
        project: The distribution.
        host: The host's distribution, which need not be installed.
        host_modules: Top-level modules of the host.
        whole: Whether all modules of its packages are read, or those of the plugins alone.
    """
    own = {value.partition(":")[0].partition(".")[0] for value in project.entry_points.values()}
    known = {*own, *host_modules, *sys.stdlib_module_names}
    requirements = tuple(_requirements(project))
    always = {name for name, extra, _ in requirements if not extra}
    always.add(canonical(str(project.metadata.get("name", ""))))
    extras = {name for name, _, _ in requirements}
    absent = sorted(
        name
        for name, extra, applies in set(requirements)
        if applies and not extra and name != host and not _is_installed(name)
    )
    main = tuple(_main_files(project))
    unknown: set[str] = set()
    distributions: dict[str, list[str]] | None = None
    for found in imports_of(project, whole=whole):
        top = found.module.partition(".")[0]
        # Without an extra only functions and further modules may import what it brings.
        is_main = found.where.startswith(main) and not found.is_late
        required = always if is_main else always | extras
        if top in known or canonical(top) in required:
            continue
        # It reads the metadata of all that is installed, which most plugins need not wait for.
        distributions = distributions or _distributions()
        brought_by = {canonical(name) for name in distributions.get(top, ())}
        if brought_by & required or (not brought_by and _is_there(top, project.search)):
            continue
        if not brought_by and absent:
            if top in unknown:
                continue  # It says that once, not in each line.
            unknown.add(top)
            names = " or ".join(map(repr, absent))
            message = f"{found.module!r} is imported; {names} may bring it, and is not installed"
            yield Symptom("K005", found.where, message)
        elif not brought_by and found.is_late:
            message = f"{found.module!r} is imported when a function is called, and is not there"
            yield Symptom("K310", found.where, message)
        else:
            names = " or ".join(map(repr, sorted(brought_by))) or "what brings it"
            message = f"{found.module!r} is imported, and {names} is not required"
            yield Symptom("K003", found.where, message)


def imports_of(project: PluginProject, *, whole: bool) -> Iterator[ImportedName]:
    """Yield the imports of a plugin's own modules, without optional imports.

    Imports in ``try`` with ``except ImportError``, in ``with suppress(ImportError)``, and below
    conditions on types, versions, platforms and installed modules are optional.

    Args:
        project: The distribution.
        whole: Whether all modules of its packages are read, or those of the plugins alone.
    """
    for file, shown in _files(project, whole=whole):
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (OSError, SyntaxError, ValueError):
            continue  # The contract has a finding for that.
        for module, line, is_late in _imports(tree, is_late=False):
            yield ImportedName(module, f"{shown}:{line}", is_late)


def _main_files(project: PluginProject) -> Iterator[str]:
    """Yield the beginnings of places in the modules that entry points name."""
    for value in project.entry_points.values():
        path = value.partition(":")[0].strip().replace(".", "/")
        yield from (f"{path}.py:", f"{path}/__init__.py:")


def _files(project: PluginProject, *, whole: bool) -> Iterator[tuple[Path, str]]:
    for value in project.entry_points.values():
        module = value.partition(":")[0].strip().replace(".", "/")
        for folder in map(Path, project.search):
            top = _own_package(folder, module) if whole else module
            if (folder / f"{top}.py").is_file():
                yield folder / f"{top}.py", f"{top}.py"
                break
            if (folder / top).is_dir():
                for file in sorted((folder / top).rglob("*.py")):
                    yield file, file.relative_to(folder).as_posix()
                break


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


def _imports(node: ast.AST, *, is_late: bool) -> Iterator[tuple[str, int, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield alias.name, child.lineno, is_late
        elif isinstance(child, ast.ImportFrom):
            if child.level == 0 and child.module:
                yield child.module, child.lineno, is_late
        elif isinstance(child, ast.Try) and _expects_missing(child):
            for handler in child.handlers:
                yield from _imports(handler, is_late=is_late)
        elif isinstance(child, ast.With) and _suppresses_missing(child):
            continue
        elif isinstance(child, ast.If) and _is_optional(ast.unparse(child.test)):
            otherwise = ast.Module(body=child.orelse, type_ignores=[])
            yield from _imports(otherwise, is_late=is_late)
        else:
            late = is_late or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
            yield from _imports(child, is_late=late)


def _expects_missing(block: ast.Try) -> bool:
    caught = " ".join(
        ast.unparse(handler.type) if handler.type else "Exception" for handler in block.handlers
    )
    return any(name in caught for name in _MISSING)


def _suppresses_missing(block: ast.With) -> bool:
    shown = " ".join(ast.unparse(item.context_expr) for item in block.items)
    return "suppress(" in shown and any(name in shown for name in _MISSING)


def _is_optional(test: str) -> bool:
    return any(name in test for name in _CONDITIONS)


def _is_there(module: str, search: Sequence[str]) -> bool:
    return module in sys.modules or PathFinder.find_spec(module, [*search, *sys.path]) is not None


def _distributions() -> dict[str, list[str]]:
    from importlib.metadata import packages_distributions

    return dict(packages_distributions())


def _requirements(project: PluginProject) -> Iterator[tuple[str, bool, bool]]:
    """Yield required distributions, whether they are of an extra, and whether they apply here."""
    from packaging.requirements import InvalidRequirement, Requirement

    optional = {} if project.is_built else project.metadata.get("optional-dependencies", {})
    lines = [(line, False) for line in project.requires]
    lines += [(str(line), True) for extra in optional.values() for line in extra]
    for line, is_extra in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue  # There is a finding for that.
        marker = requirement.marker
        applies = marker is None or marker.evaluate({"extra": ""})
        yield canonical(requirement.name), is_extra or "extra ==" in str(marker), applies


def _is_installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False
