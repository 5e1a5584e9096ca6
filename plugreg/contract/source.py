"""Reading the sources of a plugin with griffe; nothing is imported."""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from plugreg._support.frozen import Frozen, NamedTuple
from plugreg.contract.types import TypeTerm, parse
from plugreg.exceptions import MissingExtraError

if TYPE_CHECKING:
    import griffe

_MARKERS: Final = ("plugreg.hookimpl", "plugreg.hooks.hookimpl")


class SourceError(Exception):
    """A module cannot be read: the code of the check, the module or file and line, a reason."""


class FoundFunction(NamedTuple):
    """A function of a plugin: the name of the hook it may implement, and its arguments."""

    name: str
    hook: str
    where: str
    is_marked: bool
    is_optional: bool
    is_wrapper: bool
    is_async: bool
    required: tuple[str, ...]
    result: TypeTerm | None


class PluginSource(Frozen):
    """The source of the object that an entry point names.

    Attributes:
        functions: Its functions, including inherited functions.
        attributes: Names of its other attributes, with file and line.
        bases: Full names of all classes that it derives from.
        is_complete: Whether the sources of all of these but plugreg's are known.
    """

    functions: tuple[FoundFunction, ...]
    attributes: dict[str, str]
    bases: tuple[str, ...] = ()
    is_complete: bool = True


class SourceFiles:
    """The modules of a project, each read once.

    Args:
        host: Name of the host, whose own markers count.
        search: Folders in which the modules are.
        shown: Folder that paths are shown relative to.

    Raises:
        MissingExtraError: If griffe is not installed.
    """

    def __init__(self, host: str, search: Sequence[str], shown: str) -> None:
        try:
            import griffe
        except ImportError as error:
            raise MissingExtraError.of(
                error, "checking a plugin against a contract", "griffe", "contract"
            ) from error
        self._host = host
        self._shown = Path(shown).absolute()
        self._missing = (ModuleNotFoundError, KeyError)
        self._unresolved = (KeyError, griffe.GriffeError)
        self._loader = griffe.GriffeLoader(search_paths=list(search), allow_inspection=False)
        self._search = [Path(folder) for folder in search]

    def read(self, value: str) -> PluginSource:
        """Return the source of an object.

        Args:
            value: ``module:attribute`` or a module.

        Raises:
            SourceError: If the object is not there, or cannot be read.
        """
        module_name, _, attribute = value.partition(":")
        attribute = attribute.partition("[")[0].strip()
        found: Any = self._module(module_name.strip())
        for part in filter(None, attribute.split(".")):
            found = self._member(found, part, value)
        return self._plugin(found)

    def _module(self, name: str) -> Any:
        top = name.partition(".")[0]
        try:
            with _quiet():
                if top not in self._loader.modules_collection:
                    self._loader.load(top, try_relative_path=False)
                return self._loader.modules_collection[name]
        except self._missing:
            is_there = any((folder / f"{top}.py").exists() for folder in self._search)
            code = "K112" if is_there else "K111"
            raise SourceError(code, name, f"there is no module {name!r}") from None
        except Exception as error:  # noqa: BLE001 - griffe raises exceptions of its parts.
            fault = error if isinstance(error, SyntaxError) else error.__cause__ or error
            line = getattr(fault, "lineno", None)
            where = name if line is None else f"{name}:{line}"
            raise SourceError("K112", where, str(fault)) from None

    def _member(self, holder: Any, name: str, value: str) -> Any:
        found = getattr(holder, "members", {}).get(name)
        if found is None:
            raise SourceError("K111", value, f"{holder.path!r} has no {name!r}")
        if found.is_alias:
            return self._at(found.target_path, value)
        if found.is_attribute and (cls := _called(found.value)):
            return self._at(cls, value)
        return found

    def _at(self, path: str, value: str) -> Any:
        found = self._find(path)
        if found is None:
            raise SourceError("K111", value, f"{path!r} is not in the distribution")
        return found

    def _find(self, path: str) -> Any:
        """Return the object of a full name, through imports; None if it is elsewhere."""
        with suppress(*self._unresolved):
            found: Any = self._loader.modules_collection.get_member(path)
            return found.final_target if found.is_alias else found
        return None

    def _plugin(self, found: Any) -> PluginSource:
        bases: dict[str, Any] = {}
        is_complete = not found.is_class or self._collect_bases(found, bases)
        functions: dict[str, FoundFunction] = {}
        attributes: dict[str, str] = {}
        for holder in [*reversed([base for base in bases.values() if base]), found]:
            for name, member in holder.members.items():
                if member.is_alias:
                    continue
                if member.is_function:
                    functions[name] = self._function(member, is_method=found.is_class)
                elif member.is_attribute:
                    attributes[name] = self._where(member)
        return PluginSource(
            functions=tuple(functions.values()),
            attributes=attributes,
            bases=tuple(bases),
            is_complete=is_complete,
        )

    def _collect_bases(self, cls: Any, into: dict[str, Any]) -> bool:
        is_complete = True
        for base in cls.bases:
            path = str(getattr(base, "canonical_path", base)).partition("[")[0]
            found = self._find(path)
            into[path] = None if found is None or not found.is_class else found
            if into[path] is not None:
                is_complete &= self._collect_bases(found, into)
            elif not path.startswith(("plugreg.", "typing.", "abc.")) and path != "object":
                is_complete = False
        return is_complete

    def _function(self, function: Any, *, is_method: bool) -> FoundFunction:
        options = self._options(function)
        is_static = any("staticmethod" in str(mark.value) for mark in function.decorators)
        names = [*function.parameters][is_method and not is_static :]
        plain = [each for each in names if "variadic" not in each.kind.value]
        mark = options or {}
        returns = function.returns
        return FoundFunction(
            name=function.name,
            hook=str(mark.get("specname") or function.name),
            where=self._where(function),
            is_marked=options is not None,
            is_optional=bool(mark.get("optionalhook")),
            is_wrapper=bool(mark.get("wrapper") or mark.get("hookwrapper")),
            is_async="async" in function.labels,
            required=tuple(each.name for each in plain if each.default is None),
            result=None if returns is None else parse(str(returns), _resolver(function)),
        )

    def _options(self, function: Any) -> dict[str, Any] | None:
        """Return the options of the hook's mark, None without a mark."""
        for decorator in function.decorators:
            call = decorator.value
            path = str(decorator.callable_path)
            if path in _MARKERS or path.endswith(".hookimpl") or self._is_marker(path):
                return _keywords(str(call))
        return None

    def _is_marker(self, path: str) -> bool:
        found = self._find(path)
        written = str(getattr(found, "value", None) or "")
        return "HookimplMarker(" in written and any(
            f"HookimplMarker({quote}{self._host}{quote})" in written for quote in "'\""
        )

    def _where(self, found: Any) -> str:
        file = Path(str(found.filepath))
        shown = file.relative_to(self._shown) if file.is_relative_to(self._shown) else file
        return f"{shown.as_posix()}:{found.lineno}" if found.lineno else shown.as_posix()


def _called(value: Any) -> str | None:
    """Return the full name of the class that ``name = Class(…)`` calls, else None."""
    function = getattr(value, "function", None)
    return None if function is None else str(function.canonical_path)


def _keywords(call: str) -> dict[str, Any]:
    tree = ast.parse(call, mode="eval").body
    if not isinstance(tree, ast.Call):
        return {}
    found = {}
    for keyword in tree.keywords:
        if keyword.arg and isinstance(keyword.value, ast.Constant):
            found[keyword.arg] = keyword.value.value
    return found


def _resolver(function: griffe.Function) -> Any:
    """Return a function that finds the full names in annotations of a function."""

    def resolve(name: str) -> str:
        first, dot, rest = name.partition(".")
        try:
            return f"{function.resolve(first)}{dot}{rest}"
        except Exception:  # noqa: BLE001 - A builtin name, or an undefined name.
            return name

    return resolve


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep griffe's log from stderr: unreadable sources become findings."""
    logger = logging.getLogger("griffe")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
