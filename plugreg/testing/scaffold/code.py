"""Pieces of Python code, formatted as ruff formats them."""

from __future__ import annotations

import builtins
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from plugreg._support.frozen import NamedTuple
from plugreg.contract.types import TypeTerm, parse, plain
from plugreg.contract.values import HookContract

WIDTH: Final = 100
INDENT: Final = "    "

_VALUES: Final = (
    ("None", "None"),
    ("bool", "False"),
    ("int", "0"),
    ("float", "0.0"),
    ("str", '""'),
    ("bytes", 'b""'),
    ("list", "[]"),
    ("collections.abc.Sequence", "[]"),
    ("collections.abc.Iterable", "[]"),
    ("collections.abc.Collection", "[]"),
    ("tuple", "()"),
    ("dict", "{}"),
    ("collections.abc.Mapping", "{}"),
    ("Any", "None"),
    ("object", "None"),
)
"""A value of each simple type, the emptiest first."""


class Part(NamedTuple):
    """The part of a hook or mixin in a plugin and in its tests.

    ``attributes`` and ``methods`` are blocks of the class, without indentation; ``tests`` are
    functions of the test module; ``exempt`` are exemptions from checks, with their reasons.
    """

    attributes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    exempt: tuple[tuple[str, str], ...] = ()


def block(text: str) -> str:
    """Return a block of code without its common indentation and outer empty lines.

    Args:
        text: The block, as in a string.
    """
    return textwrap.dedent(text).strip("\n")


def value_of(type_: str) -> str | None:
    """Return a value of a type as an expression, None if the type is not simple.

    Args:
        type_: The type, as a contract has it.
    """
    term = plain(parse(type_))
    names = {part.name for part in (term.args if term.name == "|" else (term,))}
    if "Literal" in names:
        literal = next(p for p in (term.args if term.name == "|" else (term,)) if p.args)
        return _quoted(str(literal.args[0]))
    return next((value for name, value in _VALUES if name in names), None)


def short(type_: str) -> str:
    """Return a type as it is written where its names are imported.

    Args:
        type_: The type, with full names.
    """
    return _quoted(re.sub(r"\bcollections\.abc\.", "", str(_known(plain(parse(type_))))))


def _quoted(code: str) -> str:
    """Return code with simple strings in ruff's quotes."""
    return re.sub(r"'([^'\"\\]*)'", r'"\1"', code)


def _known(term: TypeTerm) -> TypeTerm:
    """Return a term whose names all are importable; others become Any."""
    name = term.name if _is_known(term.name) else "Any"
    return TypeTerm(name, tuple(map(_known, term.args)) if name != "Literal" else term.args)


def _is_known(name: str) -> bool:
    if name in ("|", "[]", "...", "Literal", "None", "Any") or hasattr(builtins, name):
        return True
    return "." in name and "<" not in name


def signature(name: str, hook: HookContract, *, is_async: bool = False) -> str:
    """Return the first lines of a method, up to the colon.

    Args:
        name: Name of the method.
        hook: Its arguments and its result.
        is_async: Whether it is a coroutine function.
    """
    arguments = ["self"]
    for argument in hook.arguments:
        default = f" = {value_of(argument.type)}" if argument.optional else ""
        arguments.append(f"{argument.name}: {short(argument.type)}{default}")
    head = f"{'async ' if is_async else ''}def {name}("
    tail = f") -> {short(hook.result)}:"
    width = WIDTH - len(INDENT)
    one = f"{head}{', '.join(arguments)}{tail}"
    if len(one) <= width:
        return one
    inner = f"{INDENT}{', '.join(arguments)}"
    if len(inner) <= width:
        return f"{head}\n{inner}\n{tail}"
    lines = "".join(f"{INDENT}{argument},\n" for argument in arguments)
    return f"{head}\n{lines}{tail}"


def summary(text: str, otherwise: str) -> str:
    """Return a docstring of a line, made of the first line of another docstring.

    Args:
        text: The other docstring.
        otherwise: The line where there is none.
    """
    line = (text.strip().splitlines() or [otherwise])[0].strip().replace('"""', "'''")
    line = line.replace("\\", "/")
    room = WIDTH - 2 * len(INDENT) - 6
    if len(line) > room:
        line = f"{line[: room - 1].rpartition(' ')[0]}…"
    return f'"""{line}"""'


def body(hook: HookContract) -> str:
    """Return the body of a method that has no answer yet.

    Args:
        hook: Its result.
    """
    if plain(parse(hook.result)).name == "None":
        return ""
    value = value_of(hook.result)
    return "raise NotImplementedError" if value is None else f"return {value}"


def method(name: str, hook: HookContract, *, decorator: str = "", is_async: bool = False) -> str:
    """Return a method that has no answer yet.

    Args:
        name: Name of the method.
        hook: Its arguments, result and docstring.
        decorator: The line before it.
        is_async: Whether it is a coroutine function.
    """
    lines = [decorator] if decorator else []
    lines.append(signature(name, hook, is_async=is_async))
    lines.append(f"{INDENT}{summary(hook.text, f'Answer {name}.')}")
    if code := body(hook):
        lines.append(f"{INDENT}{code}")
    return "\n".join(lines)


def check_call(function: str, arguments: Sequence[str], expected: str) -> str:
    """Return the statements of a test that calls something and checks its result.

    Args:
        function: The called function, such as ``host.call``; a further opening bracket wraps the
            call.
        arguments: The arguments as expressions.
        expected: The result that is expected.
    """
    closing = ")" * (1 + function.count("("))
    call = f"{function}({', '.join(arguments)}{closing}"
    line = f"assert {call} == {expected}"
    width = WIDTH - len(INDENT)
    if len(line) <= width:
        return line
    check = f"\nassert results == {expected}"
    if len(f"results = {call}") <= width:
        return f"results = {call}{check}"
    opened = function.replace("(", f"(\n{INDENT}") + "("
    depth = INDENT * (1 + function.count("("))
    inner = f"{depth}{', '.join(arguments)}"
    if len(inner) <= width:
        body = f"{inner}\n"
    else:
        body = "".join(f"{depth}{argument},\n" for argument in arguments)
    ends = ")" if "(" not in function else f"{INDENT})\n)"
    return f"results = {opened}\n{body}{ends}{check}"


def modules_in(code: str) -> Iterator[str]:
    """Yield the modules of dotted class names in annotations, such as ``datetime``.

    Args:
        code: The annotations.
    """
    for found in re.findall(r"(?<![\w.\"'])((?:[a-z_]\w*\.)+)[A-Za-z_]\w*", code):
        module = found.rstrip(".")
        if module not in ("self", "host", "collections.abc"):
            yield module


def imports(
    plain: Iterable[str], named: Mapping[str, Iterable[str]], first_party: Iterable[str] = ()
) -> str:
    """Return the import statements of a module, in sections and sorted as ruff sorts them.

    Args:
        plain: Modules that are imported as a whole.
        named: Names by the module that they are imported from.
        first_party: Modules of the project itself.
    """
    own = {*first_party}
    sections: dict[int, list[tuple[bool, str, str]]] = {}
    for module in dict.fromkeys(plain):
        sections.setdefault(_section(module, own), []).append((False, module, f"import {module}"))
    for module, names in named.items():
        ordered = sorted({*names}, key=lambda name: (name[0].islower(), name))
        if ordered:
            row = (True, module, _from(module, ordered))
            sections.setdefault(_section(module, own), []).append(row)
    return "\n\n".join(
        "\n".join(text for _, _, text in sorted(rows)) for _, rows in sorted(sections.items())
    )


def _section(module: str, own: set[str]) -> int:
    top = module.partition(".")[0]
    return 0 if top in sys.stdlib_module_names else 2 if top in own else 1


def _from(module: str, names: list[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= WIDTH:
        return line
    return f"from {module} import (\n{''.join(f'{INDENT}{name},{chr(10)}' for name in names)})"
