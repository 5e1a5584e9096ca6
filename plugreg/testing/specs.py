"""Specifications of hooks made from a contract, and values of the types that they name."""

from __future__ import annotations

import keyword
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from plugreg.contract.types import TypeTerm, parse, plain
from plugreg.contract.values import ContractTerms, HookContract
from plugreg.hooks import hookspec
from plugreg.hooks.signatures import HookSignature, signatures_of
from plugreg.mixins import KEYS, MixinSpec

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

_BUILTINS = (bool, int, float, str, bytes, list, dict, set, frozenset, tuple, object)


class UnknownType:
    """A type of which only the name is known; a hook with such an argument is not called."""


def find_specs(contract: ContractTerms) -> list[Any]:
    """Return the classes and modules that a contract was made from.

    If one cannot be imported, or has changed, specifications are made from the contract
    alone; then only builtin types are known.

    Args:
        contract: The contract.
    """
    sources = dict.fromkeys(hook.source for hook in contract.hooks.values() if hook.source)
    try:
        found = [import_object(source) for source in sources]
        names = {signature.name for signature in signatures_of(contract.host, found)}
    except Exception:  # noqa: BLE001 - The host is not installed, or another version.
        names = set()
    return found if names == {*contract.hooks} else [_class_of(contract)]


def find_mixins(contract: ContractTerms) -> list[MixinSpec]:
    """Return the capabilities of the host, as far as their classes can be imported.

    Args:
        contract: The contract.
    """
    rows = []
    for key, mixin in contract.mixins.items():
        if key in KEYS:
            continue
        with suppress(Exception):  # As above.
            cls = import_object(mixin.source)
            rows.append(MixinSpec(key=key, human_name=mixin.name, cls=cls))
    return rows


def import_object(value: str) -> Any:
    """Import the object that an entry point or a contract names.

    Args:
        value: ``module:attribute`` or a module.
    """
    module, _, attribute = value.partition(":")
    found: Any = import_module(module)
    for name in filter(None, attribute.split(".")):
        found = getattr(found, name)
    return found


def _class_of(contract: ContractTerms) -> type:
    """Return a class with the specifications of a contract."""
    members = {name: _function(name, hook) for name, hook in contract.hooks.items()}
    return type("Hooks", (), members)


def _function(name: str, hook: HookContract) -> Any:
    """Return a specification of a hook, whose unknown types are `UnknownType`."""
    for word in (name, *(argument.name for argument in hook.arguments)):
        if not word.isidentifier() or keyword.iskeyword(word):
            raise ValueError(f"the contract has the name {word!r}, which is no identifier")
    parameters = ["self", *(f"{a.name}=None" if a.optional else a.name for a in hook.arguments)]
    made: dict[str, Any] = {}
    # The names were checked: nothing else of the file is run.
    exec(f"def {name}({', '.join(parameters)}): ...", made)  # noqa: S102
    function = made[name]
    annotations: dict[str, Any] = {"return": _builtin(plain(parse(hook.result)))}
    for argument in hook.arguments:
        term = plain(parse(argument.type))
        # The name of another type would be evaluated as code.
        annotations[argument.name] = _builtin(term) if _is_builtin(term) else UnknownType
    function.__annotations__, function.__doc__ = annotations, hook.text
    return hookspec(firstresult=hook.firstresult, historic=hook.historic)(function)


def _is_builtin(term: TypeTerm) -> bool:
    known = {"None", "|", "Any", "...", *(cls.__name__ for cls in _BUILTINS)}
    return term.name in known and all(map(_is_builtin, term.args))


def _builtin(term: TypeTerm) -> Any:
    """Return the type of a term of builtin types, Any for others."""
    if term.name == "None":
        return None
    if term.name == "|":
        members = tuple(map(_builtin, term.args))
        return Any if Any in members else Union[members]  # noqa: UP007 - they are known later.
    found: Any = next((cls for cls in _BUILTINS if cls.__name__ == term.name), Any)
    if found is Any or not term.args:
        return found
    args = tuple(... if part.name == "..." else _builtin(part) for part in term.args)
    return found[args]


def strategy_of(signature: HookSignature) -> SearchStrategy[dict[str, Any]]:
    """Return a strategy for the arguments of a hook.

    Args:
        signature: The hook.

    Raises:
        Exception: Of hypothesis, where no values of a type can be made.
    """
    from hypothesis import strategies as st

    found = {name: values_of(type_) for name, type_ in signature.arguments.items()}
    strategy = st.fixed_dictionaries(found)
    strategy.validate()
    return strategy


def values_of(annotation: Any) -> SearchStrategy[Any]:
    """Return a strategy for values of a type, without NaN and infinity.

    Args:
        annotation: The type; a string is an unknown type.
    """
    from hypothesis import strategies as st

    if isinstance(annotation, str) or annotation is UnknownType:
        raise TypeError(f"the type {annotation!r} is not known here")
    if annotation is Any:
        return st.none() | st.text() | st.integers()
    if annotation is float:
        return st.floats(allow_nan=False, allow_infinity=False, width=32)
    if get_origin(annotation) is list:
        return st.lists(values_of(get_args(annotation)[0]), max_size=5)
    return st.from_type(annotation)


def declared_errors(text: str) -> Iterator[str]:
    """Yield the names of exceptions that a docstring declares, in the style of Google.

    Args:
        text: The docstring.
    """
    _, found, section = text.partition("Raises:\n")
    for line in section.splitlines() if found else ():
        if line and not line.startswith(" "):
            return
        name, colon, _ = line.strip().partition(":")
        if colon and name.replace(".", "").isidentifier():
            yield name.rpartition(".")[2]
