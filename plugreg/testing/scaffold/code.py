"""Pieces of Python code, formatted as ruff formats them."""

from __future__ import annotations

import builtins
import re
import sys
from collections.abc import Iterable, Sequence
from textwrap import indent
from typing import Final

from plugreg._support.frozen import NamedTuple
from plugreg.contract.types import TypeTerm, parse, plain
from plugreg.contract.values import HookContract

WIDTH: Final = 100
INDENT: Final = "    "

_VALUES: Final = (
    ("None", "None"),
    ("False", "bool"),
    ("0", "int"),
    ("0.0", "float"),
    ('""', "str"),
    ('b""', "bytes"),
    ("[]", "list collections.abc.Sequence collections.abc.Iterable collections.abc.Collection"),
    ("()", "tuple"),
    ("{}", "dict collections.abc.Mapping"),
    ("None", "Any object"),
)
"""Values with the simple types that have them, the emptiest first."""

_NO_ANSWER: Final = '"""The plugin has no answer of its own yet."""'


class Part(NamedTuple):
    """The part of a hook or mixin in a plugin and in its tests.

    ``attributes`` and ``methods`` are parts of the class, without indentation; ``tests`` are
    functions of the test module; ``exempt`` are reasons for exemptions from checks, by code.
    """

    attributes: str
    methods: str
    tests: str
    exempt: tuple[tuple[str, str], ...] = ()


def wrapped(head: str, items: Sequence[str], tail: str, *, width: int = WIDTH - 4) -> str:
    """Return code on one line if it fits, else with each item on a line of its own.

    Args:
        head: The code up to an opening bracket.
        items: The code in the brackets, without commas between the items.
        tail: The code from the closing bracket on.
        width: The longest line.
    """
    line = f"{head}{', '.join(items)}{tail}"
    if len(line) <= width:
        return line
    return "\n".join([head, *(f"{INDENT}{item}," for item in items), tail])


def hook_part(name: str, hook: HookContract) -> Part:
    """Return the part of a hook, whose implementation has no answer yet.

    Args:
        name: The hook.
        hook: Its arguments and its result.
    """
    code = f"@hookimpl\n{'async ' * hook.is_async}{method(name, hook)}"
    if "NotImplementedError" in code:
        return Part("", code, "", (("K501", f"{name} is not written yet."),))
    required = [argument for argument in hook.arguments if not argument.optional]
    values = [(argument.name, _value_of(argument.type)) for argument in required]
    if hook.historic or any(value is None for _, value in values):
        return Part("", code, "")
    answer = _value_of(hook.result)
    arguments = [f'"{name}"', *(f"{argument}={value}" for argument, value in values)]
    call = wrapped(f"results = host.{'a' * hook.is_async}call(", arguments, ")")
    results = "asyncio.run(results)" if hook.is_async else "results"
    expected = "[]" if answer == "None" else f"[{answer}]"
    lines = (f"def test_{name}(host: PluginHost) -> None:", f"{INDENT}{_NO_ANSWER}")
    check = f"{indent(call, INDENT)}\n\n{INDENT}assert {results} == {expected}"
    return Part("", code, "\n".join((*lines, check)))


def method(name: str, hook: HookContract) -> str:
    """Return a method that has no answer yet.

    Args:
        name: Name of the method.
        hook: Its arguments, result and docstring.
    """
    arguments = ["self"]
    for argument in hook.arguments:
        default = f" = {_value_of(argument.type)}" if argument.optional else ""
        arguments.append(f"{argument.name}: {_short(argument.type)}{default}")
    head = wrapped(f"def {name}(", arguments, f") -> {_short(hook.result)}:")
    text = (hook.text.strip() or f"Answer {name}.").splitlines()[0].replace('"', "'")
    room = WIDTH - 2 * len(INDENT) - 6
    if len(text) > room:
        text = f"{text[: room - 1].rpartition(' ')[0]}…"
    lines = [head, f'{INDENT}"""{text.strip().replace(chr(92), "/")}"""']
    value = _value_of(hook.result)
    if value is None:
        lines.append(f"{INDENT}raise NotImplementedError")
    elif _short(hook.result) != "None":
        lines.append(f"{INDENT}return {value}")
    return "\n".join(lines)


def _value_of(type_: str) -> str | None:
    """Return a value of a type as an expression, None if the type is not simple."""
    term = plain(parse(type_))
    members = {part.name: part for part in (term.args if term.name == "|" else (term,))}
    if "Literal" in members:
        return _quoted(str(members["Literal"].args[0]))
    fitting = (value for value, types in _VALUES if not members.keys().isdisjoint(types.split()))
    return next(fitting, None)


def _short(type_: str) -> str:
    """Return a type as it is written where its names are imported."""
    return _quoted(re.sub(r"\bcollections\.abc\.", "", str(_known(plain(parse(type_))))))


def _quoted(code: str) -> str:
    """Return code with simple strings in ruff's quotes."""
    return re.sub(r"'([^'\"\\]*)'", r'"\1"', code)


def _known(term: TypeTerm) -> TypeTerm:
    """Return a term whose names all are importable; others become Any."""
    is_plain = term.name in ("|", "[]", "...", "Literal", "None") or hasattr(builtins, term.name)
    is_known = is_plain or ("." in term.name and "<" not in term.name)
    args = term.args if term.name == "Literal" else tuple(map(_known, term.args))
    return TypeTerm(term.name if is_known else "Any", args)


def modules_in(code: str) -> set[str]:
    """Return the modules of dotted class names in the annotations of methods.

    Args:
        code: The methods.
    """
    heads = "".join(re.findall(r"def \w+\((?:.|\n)*?:\n", code))
    found = re.findall(r"(?<![\w.\"'])((?:[a-z_]\w*\.)+)[A-Za-z_]\w*", heads)
    return {module.rstrip(".") for module in found}


def imports(sources: Iterable[str], own: str = "") -> str:
    """Return the import statements of a module, in sections and sorted as ruff sorts them.

    Args:
        sources: Modules, and ``module:name`` of what is imported from a module.
        own: The module of the project itself.
    """
    names: dict[tuple[bool, str], set[str]] = {}
    for source in sources:
        module, _, name = source.partition(":")
        names.setdefault((bool(name), module), set()).add(name.partition(".")[0])
    sections: dict[int, list[str]] = {}
    for (is_from, module), found in sorted(names.items()):
        ordered = sorted(found, key=lambda name: (name[0].islower(), name)) if is_from else []
        line = wrapped(f"from {module} import (", ordered, ")", width=WIDTH)
        if "\n" not in line:
            line = line.replace("(", "").replace(")", "") if is_from else f"import {module}"
        is_standard = module.partition(".")[0] in sys.stdlib_module_names
        sections.setdefault(0 if is_standard else 1 + (module == own), []).append(line)
    return "\n\n".join("\n".join(lines) for _, lines in sorted(sections.items()))
