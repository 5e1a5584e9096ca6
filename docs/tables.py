"""Tables of the documentation that are read from the code: functions that return Markdown."""

from __future__ import annotations

import inspect
import pkgutil
import re
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from importlib.metadata import metadata
from typing import Any, Final

import plugreg
from plugreg.exceptions import FormattedError, PlugregError

WITHOUT_A_PAGE: Final = {"plugreg.registry", "plugreg.plugin", "plugreg.exceptions"}
"""Modules whose names are all imported from ``plugreg``, where they are documented."""

EXTERNAL_PARTS: Final = {"plugreg.adapters", "plugreg.install"}
"""Packages with public modules of their own."""


def summary() -> str:
    """Return a description of plugreg in a sentence."""
    return str(metadata("plugreg")["Summary"])


# -- the reference of the API -------------------------------------------------------------------


def public_modules() -> Iterator[str]:
    """Yield the names of the modules that users import, in alphabetical order."""
    names = ["plugreg"]
    for info in pkgutil.iter_modules(plugreg.__path__, "plugreg."):
        names += [info.name]
        if info.name in EXTERNAL_PARTS:
            package = import_module(info.name)
            names += [
                inner.name for inner in pkgutil.iter_modules(package.__path__, f"{info.name}.")
            ]
    for name in sorted(names):
        is_private = any(part.startswith("_") for part in name.split("."))
        if not is_private and name not in WITHOUT_A_PAGE and public_names(name):
            yield name


def public_names(module: str) -> list[str]:
    """Return the public names of a module: ``__all__``, or its own definitions."""
    loaded = import_module(module)
    if hasattr(loaded, "__all__"):
        return list(loaded.__all__)
    if module.startswith("plugreg.install.") and module != "plugreg.install.exceptions":
        return []
    return [
        name
        for name, value in vars(loaded).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module
    ]


def error_classes() -> dict[str, type[PlugregError]]:
    """Return the errors that users can import, by their names, each below its base."""
    found: dict[str, tuple[str, type[PlugregError]]] = {}
    for module in public_modules():
        for name in public_names(module):
            value = getattr(import_module(module), name)
            if isinstance(value, type) and issubclass(value, PlugregError):
                found.setdefault(name, (module, value))
    return {name: value for name, (_, value) in found.items()}


def module_page(name: str) -> str:
    """Return the page of a module: a stub that autodoc fills. Errors are on their own page."""
    module = import_module(name)
    in_package = set(plugreg.__all__) if name != "plugreg" else set()
    errors = error_classes()
    members = [
        member
        for member in public_names(name)
        if member not in errors and (member not in in_package or name == "plugreg")
    ]
    lines = [f"# {name}", "", "```{eval-rst}", f".. automodule:: {name}", ""]
    for member in members:
        value = getattr(module, member)
        lines += [f".. {_directive(value)}:: {name}.{member}"]
        if isinstance(value, type):
            lines += ["   :members:"]
        lines += [""]
    return "\n".join([*lines, "```", ""])


def _directive(value: object) -> str:
    if isinstance(value, type):
        return "autoexception" if issubclass(value, BaseException) else "autoclass"
    return "autofunction" if isinstance(value, types.FunctionType) else "autodata"


def library_url(name: str) -> str | None:
    """Return where the standard library documents a name, below its address, or None."""
    import builtins

    first = name.partition(".")[0]
    if hasattr(builtins, first):
        value = getattr(builtins, first)
        is_error = isinstance(value, type) and issubclass(value, BaseException)
        page = "exceptions" if is_error else "stdtypes"
        return f"{'constants' if value is None else page}.html#{name}"
    if first in sys.stdlib_module_names:
        parts = name.split(".")
        module = "collections.abc" if parts[:2] == ["collections", "abc"] else first
        return f"{module}.html#{name}"
    return None


# -- tables in pages ------------------------------------------------------------------------------


def errors_reference() -> dict[str, str]:
    """Return the directive that documents each error, by the error's name."""
    return {
        name: f"```{{eval-rst}}\n.. autoexception:: {_home(name)}.{name}{_fields(cls)}\n```"
        for name, cls in error_classes().items()
    }


def _fields(cls: type[PlugregError]) -> str:
    """Return the parameters of an error that keeps its arguments as fields."""
    if not issubclass(cls, FormattedError) or "__init__" in vars(cls):
        return ""
    # A default of a field is an attribute of the class.
    names = arguments(cls)
    shown = [f"{name}={getattr(cls, name)!r}" if hasattr(cls, name) else name for name in names]
    return f"({', '.join(shown)})"


def _home(name: str) -> str:
    return next(module for module in public_modules() if name in public_names(module))


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = list(head)
    return "\n".join([_row(*head), _row(*["---"] * len(head)), *(_row(*row) for row in rows)])


def _as_markdown(text: str) -> str:
    """Return a docstring's reST as Markdown: its literals and its names are code."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", " ".join(text.split()))
    return text.replace("``", "`")


def arguments(cls: Any) -> dict[str, str]:
    """Return the descriptions in the ``Args:`` of a docstring, by parameter."""
    doc = inspect.getdoc(cls) or ""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", doc, re.MULTILINE | re.DOTALL)
    if section is None:
        return {}
    entries = re.findall(
        r"^    \*{0,2}(\w+): (.*?)(?=^    \S|\Z)", section[1], re.MULTILINE | re.DOTALL
    )
    return {name: _as_markdown(text) for name, text in entries}


def options() -> str:
    """Return the options of a registry: each with its default and its meaning."""
    described = arguments(plugreg.PluginRegistry)
    rows = []
    for name, parameter in inspect.signature(plugreg.PluginRegistry).parameters.items():
        default = "required" if parameter.default is parameter.empty else _shown(parameter.default)
        rows.append((f"`{name}`", default, described[name]))
    return _table(["option", "default", "meaning"], rows)


def _shown(value: object) -> str:
    return "`{}`" if isinstance(value, types.MappingProxyType) else f"`{value!r}`"


def operations() -> str:
    """Return the operations of the plugin API, a section for each."""
    from plugreg.api import PluginAPI

    return "\n\n".join(map(_operation, PluginAPI.operations))


def extended_operations() -> str:
    """Return the operations that only the extended API has."""
    from plugreg.api import PluginAPI

    plain = {row.id for row in PluginAPI.operations}
    rows = _extended_api().operations
    return "\n\n".join(_operation(row) for row in rows if row.id not in plain)


def _extended_api() -> Any:
    from plugreg.api import PluginAPI

    return PluginAPI(plugreg.PluginRegistry("documented"), extended=True)


def _operation(row: Any) -> str:
    facts = [
        ("access", f"{row.access.grade.name.lower()}, scope `{row.access.scope}`"),
        ("query", ", ".join(f"`{item.name}`" for item in row.query)),
        ("body", _linked(row.body) if row.body else ""),
        ("answer", _answer(row)),
    ]
    told = "\n".join(f"- {name}: {fact}" for name, fact in facts if fact)
    said = _as_markdown(row.summary)
    return f"### {row.id}\n\n`{row.method} {row.path}`: {said}\n\n{told}"


def _answer(row: Any) -> str:
    if row.answer is None:
        return f"{row.status}, empty"
    return f"{row.status}, {'a list of ' if row.many else ''}{_linked(row.answer)}"


def _linked(model: type) -> str:
    return f"[`{model.__name__}`](#{model.__name__.lower()})"


def models() -> str:
    """Return the fields of each model of bodies and answers."""
    from plugreg.api import PluginAPI

    plain, extended = PluginAPI.openapi(), _extended_api().openapi()
    schemas = plain["components"]["schemas"] | extended["components"]["schemas"]
    sections = []
    for name, schema in sorted(schemas.items()):
        required = set(schema.get("required", ()))
        rows = [
            (f"`{key}`", _type(field), "yes" if key in required else "", _said(field))
            for key, field in schema.get("properties", {}).items()
        ]
        fields = _table(["field", "type", "required", ""], rows) if rows else "Any JSON object."
        sections.append(f"### {name}\n\n{fields}")
    return "\n\n".join(sections)


def _said(field: dict[str, Any]) -> str:
    return str(field.get("description", ""))


def _type(field: dict[str, Any]) -> str:
    if reference := field.get("$ref"):
        return f"`{reference.rpartition('/')[2]}`"
    if parts := field.get("allOf") or field.get("anyOf") or field.get("oneOf"):
        return " or ".join(map(_type, parts))
    name = str(field.get("format") or field.get("type") or "any")
    if name == "array":
        return f"list of {_type(field['items'])}"
    return f"{name} or null" if field.get("nullable") else name


def hooks() -> str:
    """Return plugreg's own hooks with their arguments and descriptions."""
    from plugreg.hooks import PlugregSpecs

    return "\n\n".join(_function(name, value) for name, value in _public(PlugregSpecs))


def mixins() -> str:
    """Return plugreg's capabilities, with the members that plugins may define."""
    from plugreg.mixins import MIXINS

    sections = []
    for row in MIXINS:
        if row.cls is object:
            continue
        doc = _as_markdown((inspect.getdoc(row.cls) or "").partition("\n\n")[0])
        switch = f"`{row.switch}`" if row.switch else "none"
        members = "\n\n".join(_function(name, value, 3) for name, value in _public(row.cls))
        sections.append(
            f"## {row.cls.__name__}\n\n{doc}\n\n"
            f"Key `{row.key}`, name “{row.human_name}”, switch {switch}.\n\n{members}"
        )
    return "\n\n".join(sections)


def _public(cls: type) -> list[tuple[str, Any]]:
    functions = (types.FunctionType, classmethod, staticmethod)
    return [
        (name, value.__func__ if isinstance(value, (classmethod, staticmethod)) else value)
        for name, value in vars(cls).items()
        if not name.startswith("_") and isinstance(value, functions)
    ]


def _function(name: str, function: Any, level: int = 2) -> str:
    signature = inspect.signature(function)
    parameters = [value for key, value in signature.parameters.items() if key != "self"]
    shown = str(signature.replace(parameters=parameters)).replace("'", "")
    doc = (inspect.getdoc(function) or "").split("\n\nArgs:")[0].split("\n\nReturns:")[0]
    text = "\n\n".join(_as_markdown(part) for part in doc.split("\n\n"))
    parts = [f"{'#' * level} {name}", f"`{name}{shown}`", text]
    if described := arguments(function):
        parts.append("\n".join(f"- `{key}`: {value}" for key, value in described.items()))
    return "\n\n".join(part for part in parts if part)


def life() -> str:
    """Return the diagram of a plugin's life, drawn from the states and stages of the code."""
    from plugreg.records import LOAD_STAGES, PluginState, Stage

    before = [stage for stage in Stage if stage in LOAD_STAGES]
    way = " → ".join(map(str, before))
    margin = " " * len(f"{PluginState.INACTIVE} ── wanted ──▶ ")
    return "\n".join(
        [
            "```text",
            f"{Stage.DISCOVERY} finds it",
            "   │",
            f"{PluginState.INACTIVE} ── wanted ──▶ {way} ──▶ {PluginState.ACTIVE} ({Stage.CALL})",
            f"   ▲{' ' * (len(margin) - 4)}│ a failure",
            f"   │{' ' * (len(margin) - 4)}└──▶ {PluginState.FAILED}, {PluginState.INCOMPATIBLE}",
            f"   └── no longer wanted ── {Stage.DEACTIVATE} ◀── from each of them",
            "",
            f"{PluginState.BLOCKED}: the host forbids it",
            f"{PluginState.MISSING}: stored, but not found",
            "```",
        ]
    )


TABLES: Final[dict[str, Callable[[], str]]] = {
    function.__name__: function
    for function in (options, operations, extended_operations, models, hooks, mixins, life)
}


def expand(page: str, text: str, *, for_sphinx: bool = True) -> str:
    """Return the Markdown of a page with the tables that it asks for.

    Args:
        page: The name of the page.
        text: Its source.
        for_sphinx: Whether directives of Sphinx may be put in.
    """
    text = re.sub(r"^<!-- table: (\w+) -->$", lambda found: TABLES[found[1]](), text, flags=re.M)
    if page == "reference/errors" and for_sphinx:
        entries = errors_reference()

        def entry(found: re.Match[str]) -> str:
            return f"{found[0]}\n\n{entries[found[1]]}" if found[1] in entries else found[0]

        text = re.sub(r"^### (\w+)$", entry, text, flags=re.MULTILINE)
    return text
