"""Plugins that are files in a folder: found with ``ast``, imported under a private prefix.

No code of a folder runs while it is searched, and nothing is ever written into it. The prefix
is made from the folder's path, so that two files ``sample.py`` in two folders never clash, and
none of them shadows a real package.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from plugreg._support.frozen import NamedTuple
from plugreg._support.guard import Guard
from plugreg._support.importing import import_module, private_name
from plugreg._support.slugs import slug_fault, slugify
from plugreg.discovery.entry_points import Findings
from plugreg.records import Discovery, PluginSpec, Source

__all__ = ["LARGEST_SOURCE", "find", "import_module", "private_name"]

LARGEST_SOURCE: Final = 4 * 1024 * 1024
"""The largest source file that is parsed, in bytes."""


def find(folder: str | os.PathLike[str], *, source: Source = Source.DIRECTORY) -> Discovery:
    """Return the plugins in the modules and packages of a folder.

    A plugin is a public top-level class (one in ``__all__``, where there is one) that states a
    NAME or SLUG, derives from something whose name ends in ``Plugin``, or has methods marked with
    a ``hookimpl``; a class without a name of its own that only serves others as a base is none.
    A module with marked functions is a plugin itself. Of a package its ``__init__.py`` counts,
    and the classes that it imports from its own submodules.

    Names that begin with ``_`` or ``.`` are left out. A folder or a file that cannot be read is a
    failure with the folder's path or the module's name as ``slug``. Nothing is imported, created
    or written, and no file makes it raise.

    Args:
        folder: The folder.
        source: The source of the specs.

    Returns:
        The specs and the failures, sorted.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - resolve() would follow links.
    findings = Findings()
    try:
        children = sorted(folder.iterdir())
    except (OSError, ValueError) as error:
        what = f"plugin directory {str(folder)!r} cannot be read; create it, or leave it out"
        findings.fail(str(folder), error, what)
        return findings.result()
    packages: set[str] = set()
    for child in children:
        if child.name.startswith(("_", ".")):
            continue
        with Guard() as guard:
            found = Findings()
            package = child / "__init__.py"
            if package.is_file():
                packages.add(child.name)
                _find_in(child.name, package, source, found)
            elif child.suffix == ".py" and child.is_file():
                _find_in(child.stem, child, source, found)
                if child.stem in packages and found.specs:
                    found = Findings()
                    reason = f"the package {child.stem!r} beside it hides it; rename one of them"
                    found.refuse(child.stem, _refusal(child, reason))
            findings.update(found)
        if guard.error is not None:
            findings.fail(child.stem, guard.error, _unreadable(child, guard.error))
    return findings.result()


# --- the contents of a file


class _Class(NamedTuple):
    """A class in its source: the last names of its bases, its literals, and its neighbours."""

    name: str
    bases: tuple[str, ...]
    is_marked: bool
    literals: dict[str, Any]
    neighbours: Mapping[str, Any]


class _Module(NamedTuple):
    """A module in its source.

    ``imports`` maps a name to the submodule of the same package that it is imported from, and
    to its name there. ``exported`` is ``__all__``, None where it is missing or no literal.
    """

    classes: dict[str, _Class]
    imports: dict[str, tuple[str, str]]
    exported: frozenset[str] | None
    is_marked: bool
    literals: dict[str, Any]


class _Unknown:
    """Stands for a value that is only known once the code runs."""


def _find_in(module: str, file: Path, source: Source, findings: Findings) -> None:
    stamp = ""
    for reference, own_name, attributes in _candidates(module, file, findings):
        name = _stated(attributes, "NAME") or own_name
        slug = slugify(_stated(attributes, "SLUG") or name)
        fault = slug_fault(slug, name)
        if fault is None and not module.isidentifier():
            fault = f"{module!r} is no module name; use letters, digits and underscores"
        if fault is not None:
            findings.refuse(slug or reference, _refusal(file, fault))
            continue
        stamp = stamp or _stamp(file)
        findings.specs[reference, file] = PluginSpec(
            slug=slug,
            name=name,
            value=reference,
            source=source,
            path=str(file),
            stamp=stamp,
            attributes=attributes,
        )


def _candidates(
    module: str, file: Path, findings: Findings
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield reference, name and attributes of the plugins in a module or package."""
    written = _read(module, file, findings)
    if written is None:
        return
    if written.is_marked:
        yield module, module, _shown(written.literals)
    visible = dict(written.classes)
    if file.name == "__init__.py":
        visible |= _imported(module, file, written, findings)
    plugins = {name: _plugin_attributes(cls) for name, cls in sorted(visible.items())}
    bases = {
        base
        for name, attributes in plugins.items()
        for base in visible[name].bases
        if attributes is not None and base != visible[name].name
    }
    for name, attributes in plugins.items():
        cls = visible[name]
        is_public = not name.startswith("_") and name in (
            {name} if written.exported is None else written.exported
        )
        is_base = not _is_named(cls.literals) and not bases.isdisjoint({name, cls.name})
        if attributes is not None and is_public and not is_base:
            yield f"{module}:{name}", name, attributes


def _imported(module: str, file: Path, written: _Module, findings: Findings) -> dict[str, _Class]:
    """Return the classes that a package imports from its submodules."""
    found: dict[str, _Class] = {}
    submodules: dict[str, Mapping[str, _Class]] = {}
    for local, (submodule, name) in written.imports.items():
        if submodule not in submodules:
            place = file.parent.joinpath(*submodule.split("."))
            files = (place / "__init__.py", place.with_name(f"{place.name}.py"))
            source = next((file for file in files if file.is_file()), None)
            read = source and _read(f"{module}.{submodule}", source, findings)
            submodules[submodule] = read.classes if read else {}
        if name in submodules[submodule] and local not in written.classes:
            found[local] = submodules[submodule][name]
    return found


def _plugin_attributes(cls: _Class) -> dict[str, Any] | None:
    """Return the literals of a class, inherited literals included; None if it is no plugin."""
    lineage: dict[str, _Class] = {}
    waiting = [cls]
    while waiting:
        ancestor = waiting.pop()
        if ancestor.name not in lineage:
            lineage[ancestor.name] = ancestor
            near = ancestor.neighbours
            waiting += [near[base] for base in reversed(ancestor.bases) if base in near]
    is_below = any(
        base.endswith("Plugin") for ancestor in lineage.values() for base in ancestor.bases
    )
    literals: dict[str, Any] = {}
    for ancestor in reversed(lineage.values()):
        name = ancestor.literals.get("name")
        # In a class below Plugin, a string as name counts as NAME.
        literals |= {"NAME": name} if is_below and isinstance(name, str) else {}
        literals |= ancestor.literals
    is_marked = any(ancestor.is_marked for ancestor in lineage.values())
    return _shown(literals) if is_below or is_marked or _is_named(literals) else None


# --- reading a file


def _read(module: str, file: Path, findings: Findings) -> _Module | None:
    """Read a module, or add a failure of it."""
    try:
        return _parse(file)
    except Exception as error:  # noqa: BLE001 - ast raises five kinds, RecursionError among them.
        findings.fail(module, error, _unreadable(file, error))
        return None


def _parse(file: Path) -> _Module:
    """Read a source file. Raises exceptions of ``ast.parse``, OSError, and ValueError by size."""
    size = file.stat().st_size
    if size > LARGEST_SOURCE:
        raise ValueError(f"{size} bytes are more than the {LARGEST_SOURCE} that are read")
    statements = list(_statements(ast.parse(file.read_bytes(), str(file)).body))
    aliases: dict[str, str] = {}
    imports: dict[str, tuple[str, str]] = {}
    for node in statements:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                aliases[alias.asname or alias.name] = alias.name
                if node.level == 1 and node.module is not None:
                    imports[alias.asname or alias.name] = (node.module, alias.name)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            original = _last_name(node.value, aliases)
            if isinstance(node.value, ast.Call):
                original = "hookimpl" if original == "HookimplMarker" else ""
            if original:
                aliases[node.targets[0].id] = original
    classes: dict[str, _Class] = {}
    for node in statements:
        if isinstance(node, ast.ClassDef):
            classes[node.name] = _Class(
                name=node.name,
                bases=tuple(_last_name(base, aliases) for base in node.bases),
                is_marked=_has_marked(node.body, aliases),
                literals=_literals(node.body),
                neighbours=classes,
            )
    return _Module(
        classes=classes,
        imports=imports,
        exported=_exported(statements),
        is_marked=_has_marked(statements, aliases),
        literals=_literals(statements),
    )


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run when a module is imported, those in if and try included."""
    for node in body:
        yield node
        for block in ("body", "orelse", "finalbody") if isinstance(node, (ast.If, ast.Try)) else ():
            yield from _statements(getattr(node, block, ()))
        if isinstance(node, ast.Try):
            for handler in node.handlers:
                yield from _statements(handler.body)


def _last_name(node: ast.expr, aliases: Mapping[str, str]) -> str:
    """Return the last name of an expression, as it was before an alias in this module."""
    while isinstance(node, (ast.Call, ast.Subscript)):
        node = node.func if isinstance(node, ast.Call) else node.value
    if isinstance(node, ast.Attribute):
        return node.attr
    return aliases.get(node.id, node.id) if isinstance(node, ast.Name) else ""


def _has_marked(body: Iterable[ast.stmt], aliases: Mapping[str, str]) -> bool:
    return any(
        _last_name(decorator, aliases).endswith("hookimpl")
        for node in body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for decorator in node.decorator_list
    )


def _assignments(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.stmt, ast.expr]]:
    for node in body:
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, (ast.AnnAssign, ast.AugAssign)) and node.value is not None:
            targets = [node.target]
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and node.value is not None:
                yield target.id, node, node.value


def _literals(body: Iterable[ast.stmt]) -> dict[str, Any]:
    """Return the upper-case names and ``name``, with _Unknown for other values than literals."""
    return {
        name: _Unknown if isinstance(node, ast.AugAssign) else _literal(value)
        for name, node, value in _assignments(body)
        if (name.isupper() and not name.startswith("_")) or name == "name"
    }


def _exported(body: Iterable[ast.stmt]) -> frozenset[str] | None:
    names: set[str] | None = None
    for name, node, value in _assignments(body):
        if name == "__all__":
            listed = _literal(value)
            if not isinstance(listed, (list, tuple)):
                return None
            earlier = names if isinstance(node, ast.AugAssign) and names else set()
            names = earlier | {item for item in listed if isinstance(item, str)}
    return None if names is None else frozenset(names)


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _Unknown


def _shown(literals: Mapping[str, Any]) -> dict[str, Any]:
    """Return the upper-case literals whose values are known."""
    return {
        name: value for name, value in literals.items() if name.isupper() and value is not _Unknown
    }


def _is_named(literals: Mapping[str, Any]) -> bool:
    return bool(_stated(literals, "SLUG") or _stated(literals, "NAME"))


def _stated(attributes: Mapping[str, Any], name: str) -> str:
    value = attributes.get(name)
    return value if isinstance(value, str) else ""


def _stamp(file: Path) -> str:
    """Return a string that differs when a module, or any source file of a package, has changed."""
    if file.name != "__init__.py":
        status = file.stat()
        return f"{status.st_mtime_ns}:{status.st_size}"
    import hashlib

    digest = hashlib.sha256()
    for module in sorted(file.parent.rglob("*.py")):
        with Guard():
            status = module.stat()
            name = module.relative_to(file.parent)
            digest.update(f"{name}:{status.st_mtime_ns}:{status.st_size}\n".encode())
    return digest.hexdigest()[:16]


def _unreadable(file: Path, error: BaseException) -> str:
    line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
    return f"{str(file)!r}{line} cannot be read as Python source"


def _refusal(file: Path, reason: str) -> str:
    return f"plugin in {str(file)!r} is refused: {reason}"
