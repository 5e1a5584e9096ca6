"""Types as strings, and whether the values of a type are values of another.

A type is the set of its values: a list of bools is a list of ints, and what is not
annotated may be anything. An int counts as a float, as in PEP 484. Of the metadata of ``Annotated``
the constraints count, such as ``Ge(ge=0)``; they are compared by what is written, not by meaning.
"""

from __future__ import annotations

import ast
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final, Literal, NewType, TypeVar, get_args, get_origin

from plugreg._support.frozen import NamedTuple
from plugreg._support.guard import Guard

Resolve = Callable[[str], str]
"""Returns the full name of a name in source; names that it does not know as they are."""

UNION: Final = "|"
_LIST: Final = "[]"
_ANNOTATED: Final = "Annotated"
_KNOWN_MODULES: Final = (
    *("builtins", "collections", "collections.abc", "datetime", "decimal", "enum", "fractions"),
    *("ipaddress", "numbers", "os", "pathlib", "re", "uuid"),
)
"""Modules whose classes are looked up. Others could do anything when they are imported."""
_PROMOTED: Final = MappingProxyType(
    {"bool": ("float", "complex"), "int": ("float", "complex"), "float": ("complex",)}
)
_TYPING: Final = MappingProxyType(
    {
        **{name: name.lower() for name in ("List", "Dict", "Set", "Tuple", "Type")},
        "FrozenSet": "frozenset",
        "Text": "str",
        "NoReturn": "Never",
        "AbstractSet": "collections.abc.Set",
        **{name: name for name in ("Any", "Never", "Literal", "Union", "Optional", "Annotated")},
    }
)


class TypeTerm(NamedTuple):
    """A type as a term: a name and its arguments. A union is the name ``|``."""

    name: str
    args: tuple[TypeTerm, ...] = ()

    def __str__(self) -> str:
        if self.name == UNION:
            return " | ".join(map(str, self.args))
        inner = ", ".join(map(str, self.args))
        if self.name == _LIST:
            return f"[{inner}]"
        return f"{self.name}[{inner}]" if self.args else self.name


ANY: Final = TypeTerm("Any")
NONE: Final = TypeTerm("None")
_DOTS: Final = TypeTerm("...")


class Verdict(NamedTuple):
    """Whether values fit: True, False, or None with the ``reason`` why it is unknown."""

    fits: bool | None
    reason: str = ""


YES: Final = Verdict(fits=True)
NO: Final = Verdict(fits=False)


def name_of(annotation: Any) -> str:
    """Return an annotation as a Python expression with full names.

    Args:
        annotation: An object, or the string that was written.
    """
    return annotation if isinstance(annotation, str) else str(_term(annotation))


def classes_of(annotation: Any) -> dict[str, type]:
    """Return the classes that an annotation names, by their full names.

    Args:
        annotation: An object; a string has none.
    """
    origin = get_origin(annotation) or annotation
    found = {} if not isinstance(origin, type) else {_class_name(origin): origin}
    for part in get_args(annotation):
        for item in part if isinstance(part, list) else [part]:
            found |= classes_of(item)
    return found


def _term(annotation: Any) -> TypeTerm:
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation is None or annotation is type(None):
        return NONE
    if annotation is Any:
        return ANY
    if isinstance(annotation, str):
        return parse(annotation)
    if isinstance(annotation, typing.ForwardRef):
        return parse(annotation.__forward_arg__)
    if origin is typing.Annotated:
        return _annotated(_term(args[0]), _constraints(args[1:]))
    if origin in (types.UnionType, typing.Union):
        return union(*map(_term, args))
    if origin is Literal:
        return TypeTerm("Literal", tuple([TypeTerm(_literal(value)) for value in args]))
    if isinstance(annotation, NewType):
        return _term(annotation.__supertype__)
    if isinstance(annotation, TypeVar):
        return ANY if annotation.__bound__ is None else _term(annotation.__bound__)
    if isinstance(annotation, list):  # The parameters of a Callable.
        return TypeTerm(_LIST, tuple(map(_term, annotation)))
    if annotation is ...:
        return _DOTS
    if hasattr(annotation, "__value__"):  # "type X = …" of PEP 695.
        return _term(annotation.__value__)
    base = origin or annotation
    if isinstance(base, type):
        return TypeTerm(_class_name(base), tuple(map(_term, args)))
    with Guard():
        return parse(str(annotation).removeprefix("typing."))
    return ANY


def _constraints(metadata: Iterable[Any]) -> list[TypeTerm]:
    """Return the constraints among the metadata of a type, in the terms of annotated-types.

    Metadata that raise, or whose ``repr`` is no call, cannot be compared, and are left out.
    """
    from annotated_types import BaseMetadata, GroupedMetadata

    terms: list[TypeTerm] = []
    for found in metadata:
        with Guard():
            if isinstance(found, BaseMetadata):
                terms.append(TypeTerm(repr(found)))
            elif isinstance(found, GroupedMetadata):
                terms += _constraints(found)
            elif isinstance(inner := getattr(found, "metadata", None), list):  # Pydantic's fields.
                terms += _constraints(inner)
    return terms


def _annotated(term: TypeTerm, constraints: Iterable[TypeTerm]) -> TypeTerm:
    """Return a type with constraints in a stable order, and without those that are none."""
    kept = sorted(
        {each for each in constraints if each.name.endswith(")") and " at 0x" not in each.name}
    )
    return TypeTerm(_ANNOTATED, (term, *kept)) if kept else term


def _class_name(cls: type) -> str:
    module = cls.__module__
    if module == "builtins":
        return cls.__qualname__
    parts = module.split(".")
    if parts[0] in sys.stdlib_module_names:  # pathlib._local.Path is pathlib's to everybody.
        parts = [part for part in parts if not part.startswith("_")] or parts
    return ".".join((*parts, cls.__qualname__))


def _literal(value: Any) -> str:
    if isinstance(value, Enum):
        return f"{type(value).__qualname__}.{value.name}"
    return repr(value)


def union(*members: TypeTerm) -> TypeTerm:
    """Return the union of types, flat and without doubles.

    Args:
        *members: The types.
    """
    flat: dict[TypeTerm, None] = {}
    for member in members:
        flat.update(dict.fromkeys(member.args if member.name == UNION else (member,)))
    return next(iter(flat)) if len(flat) == 1 else TypeTerm(UNION, tuple(flat))


def parse(text: str, resolve: Resolve = str) -> TypeTerm:
    """Return the term of a type that is written as a Python expression.

    Args:
        text: The expression.
        resolve: Returns the full name of a dotted name in it.

    Returns:
        The term. An unknown type is a name of its own, equal only to itself.
    """
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError):
        return TypeTerm(text)
    return _parsed(tree, resolve)


def _parsed(node: ast.expr, resolve: Resolve) -> TypeTerm:
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return parse(node.value, resolve)
        return NONE if node.value is None else _DOTS if node.value is ... else ANY
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return union(_parsed(node.left, resolve), _parsed(node.right, resolve))
    if isinstance(node, ast.List):
        return TypeTerm(_LIST, tuple(_parsed(item, resolve) for item in node.elts))
    if isinstance(node, ast.Subscript):
        return _subscript(node, resolve)
    if isinstance(node, (ast.Name, ast.Attribute)):
        return TypeTerm(_full_name(ast.unparse(node), resolve))
    return TypeTerm(ast.unparse(node))


def _subscript(node: ast.Subscript, resolve: Resolve) -> TypeTerm:
    name = _full_name(ast.unparse(node.value), resolve)
    items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "Literal":
        return TypeTerm(name, tuple(TypeTerm(ast.unparse(item)) for item in items))
    args = tuple(_parsed(item, resolve) for item in items)
    if name == "Union":
        return union(*args)
    if name == "Optional":
        return union(*args, NONE)
    return _annotated(args[0], args[1:]) if name == _ANNOTATED else TypeTerm(name, args)


def _full_name(written: str, resolve: Resolve) -> str:
    name = resolve(written).removeprefix("builtins.").removeprefix("types.NoneType")
    module, _, last = name.rpartition(".")
    if module in ("typing", "typing_extensions"):
        return _TYPING.get(last, f"collections.abc.{last}")
    return name or "None"


def accepts(wide: TypeTerm, narrow: TypeTerm, classes: Mapping[str, type]) -> Verdict:
    """Return whether each value of a type is a value of another.

    Args:
        wide: The type that should have them all.
        narrow: The type whose values are asked for.
        classes: Classes of hosts by their full names, as far as they are known.
    """
    if wide == narrow or wide.name in ("Any", "object") or narrow.name == "Never":
        return YES
    if narrow.name == UNION:
        return _all(accepts(wide, member, classes) for member in narrow.args)
    if wide.name == UNION:
        return _any(accepts(member, narrow, classes) for member in wide.args)
    if _ANNOTATED in (wide.name, narrow.name):
        return _accepts_annotated(wide, narrow, classes)
    if narrow.name in ("Any", "object"):
        return NO
    if narrow.name == "Literal":
        return _all(_accepts_literal(wide, value, classes) for value in narrow.args)
    if "None" in (wide.name, narrow.name) or wide.name == "Literal":
        return NO
    verdict = _is_subclass(narrow.name, wide.name, classes)
    if verdict != YES or not wide.args:
        return verdict
    return _accepts_args(wide, narrow, classes)


def _accepts_annotated(wide: TypeTerm, narrow: TypeTerm, classes: Mapping[str, type]) -> Verdict:
    verdict = accepts(plain(wide), plain(narrow), classes)
    lacking = [each for each in _kept(wide) if each not in _kept(narrow)]
    if not lacking or verdict.fits is False:
        return verdict
    asked = " and ".join(map(str, lacking))
    return Verdict(None, f"it is not known whether each {narrow} fits {asked}")


def _kept(term: TypeTerm) -> tuple[TypeTerm, ...]:
    return term.args[1:] if term.name == _ANNOTATED else ()


def plain(term: TypeTerm) -> TypeTerm:
    """Return a type without the constraints on its values, at any depth.

    Args:
        term: The type.
    """
    if term.name == _ANNOTATED:
        return plain(term.args[0])
    return term._replace(args=tuple(map(plain, term.args)))


def _accepts_literal(wide: TypeTerm, value: TypeTerm, classes: Mapping[str, type]) -> Verdict:
    if wide.name == "Literal":
        return Verdict(value in wide.args)
    try:
        kind = type(ast.literal_eval(value.name)).__name__
    except ValueError:  # A member of an enum: its class is the part before the last dot.
        kind = value.name.rpartition(".")[0]
    return accepts(wide, NONE if kind == "NoneType" else TypeTerm(kind), classes)


def _accepts_args(wide: TypeTerm, narrow: TypeTerm, classes: Mapping[str, type]) -> Verdict:
    if "collections.abc.Callable" in (wide.name, narrow.name):
        return Verdict(None, f"{narrow} and {wide} are functions")
    if not narrow.args:
        return Verdict(None, f"it is not known what {narrow} holds")
    if narrow.name == "tuple":
        return _accepts_tuple(wide, narrow, classes)
    if narrow.name == wide.name and len(wide.args) != len(narrow.args):
        return NO
    return _pairs(wide.args, narrow.args[: len(wide.args)], classes)


def _accepts_tuple(wide: TypeTerm, narrow: TypeTerm, classes: Mapping[str, type]) -> Verdict:
    is_open = narrow.args[-1] == _DOTS
    items = narrow.args[:1] if is_open else narrow.args
    if wide.name != "tuple" or wide.args[-1] == _DOTS:
        return _all(accepts(wide.args[0], item, classes) for item in items)
    if is_open or len(items) != len(wide.args):
        return NO
    return _pairs(wide.args, items, classes)


def _pairs(
    ours: tuple[TypeTerm, ...], theirs: tuple[TypeTerm, ...], classes: Mapping[str, type]
) -> Verdict:
    if len(ours) != len(theirs):
        return Verdict(None, "their type arguments differ in number")
    return _all(accepts(*pair, classes) for pair in zip(ours, theirs, strict=True))


def _all(verdicts: Iterable[Verdict]) -> Verdict:
    return min(verdicts, key=_rank, default=YES)


def _any(verdicts: Iterable[Verdict]) -> Verdict:
    return max(verdicts, key=_rank, default=NO)


def _rank(verdict: Verdict) -> int:
    return (False, None, True).index(verdict.fits)


def _is_subclass(narrow: str, wide: str, classes: Mapping[str, type]) -> Verdict:
    if narrow == wide or wide in _PROMOTED.get(narrow, ()):
        return YES
    known = partial(_find_class, classes=classes)
    lower, upper = known(narrow), known(wide)
    if lower is None or upper is None:
        unknown = narrow if lower is None else wide
        return Verdict(
            None,
            f"it is not known here whether {narrow} is a {wide}: {unknown} is "
            f"a class of which only the name is known",
        )
    try:
        return Verdict(issubclass(lower, upper))
    except TypeError:  # A protocol that is not checked at run time.
        return Verdict(None, f"{wide} is a protocol that cannot be checked at run time")


def _find_class(name: str, classes: Mapping[str, type]) -> type | None:
    if name in classes:
        return classes[name]
    module, _, attribute = name.rpartition(".")
    if (module or "builtins") not in _KNOWN_MODULES:
        return None
    found = getattr(import_module(module or "builtins"), attribute, None)
    return found if isinstance(found, type) else None
