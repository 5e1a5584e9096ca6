"""Values that stand elsewhere: in an environment variable, or in a file.

A reference is ``{"$env": "NAME"}`` or ``{"$file": "path"}``, a dict with that one key and a text,
alone or at any depth of dicts, lists and tuples. Here references are found and resolved; who may
give one is decided by those who call.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from plugreg._support.names import has_utf8

MAX_FILE_BYTES: Final = 65_536
"""The longest file that is read."""

NO_REFERENCE: Final = (
    "Value must not hold a reference ({'$env': …} or {'$file': …}) in its text; "
    "only the host's own code gives one, as a dict"
)
"""What is said of a text that reads as a reference."""

_MAX_DEPTH: Final = 100
"""How many dicts and lists may stand inside one another, as in what a storage keeps."""


class UnresolvedError(ValueError):
    """What a reference names cannot be had now. Its text says why, and what to do."""


def has_reference(value: object) -> bool:
    """Tell whether ``value`` is a reference or holds one.

    Raises ValueError for what is meant as one and is none: another key beside ``$env`` or
    ``$file``, or no text. Its message shows no part of the value.
    """
    found = False
    waiting: list[Any] = [value]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        # isinstance() would ask the object for its __class__, which may do anything.
        kind = type(each)
        if not issubclass(kind, (dict, list, tuple)) or id(each) in seen:
            continue
        seen.add(id(each))
        if issubclass(kind, dict):
            found = _reference(each) is not None or found
        waiting += dict.values(each) if issubclass(kind, dict) else each
    return found


def reads_as_reference(text: str) -> bool:
    """Tell whether the JSON of a text is a reference, holds one, or is meant as one.

    What reads such a text gets a dict, and may hand it on as if the host had given it.
    """
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        return has_reference(json.loads(text))
    except RecursionError:
        return False
    except ValueError:
        # It is no JSON, or a reference that is not well made.
        return any(f'"{each}"' in text for each in _SOURCES)


def copied(value: Any) -> Any:
    """Return ``value`` with dicts, lists and tuples of its own. Raises ValueError for a cycle."""
    return _mapped(value, dict)


def resolve(value: Any) -> Any:
    """Return a copy of ``value`` with the text each reference stands for in its place.

    Variables and files are looked up now, a relative path from the current folder. A file is
    UTF-8, and loses one newline at its end. Raises UnresolvedError for one that is not there, is
    empty, or cannot be read, and ValueError as :func:`has_reference` does.
    """
    return _mapped(value, _resolved)


def resolve_some(value: Any) -> Any:
    """Return what :func:`resolve` does, with None for each reference that cannot be resolved."""
    return _mapped(value, _resolved_or_none)


def _mapped(value: Any, take: Callable[[dict[str, Any]], Any], depth: int = 0) -> Any:
    """Return a copy of ``value`` with what ``take`` gives for each reference."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"a value must not have more than {_MAX_DEPTH} levels, or contain itself")
    if isinstance(value, dict):
        if _reference(value) is not None:
            return take(value)
        return {name: _mapped(each, take, depth + 1) for name, each in value.items()}
    if isinstance(value, list):
        return [_mapped(each, take, depth + 1) for each in value]
    if isinstance(value, tuple):
        return tuple(_mapped(each, take, depth + 1) for each in value)
    return value


def _reference(value: Any) -> tuple[str, str] | None:
    """Return the kind and the name of a reference, None for another dict."""
    kind = next((each for each in _SOURCES if each in value), None)
    if kind is None:
        return None
    name = value[kind]
    is_name = isinstance(name, str) and name and "\0" not in name and has_utf8(name)
    if len(value) != 1 or not is_name or (kind == "$env" and "=" in name):
        raise ValueError(
            f"a reference is a dict with {kind!r} alone and a name; "
            'write {"$env": "NAME"} or {"$file": "path"}'
        )
    return kind, name


def _resolved(reference: dict[str, Any]) -> str:
    ((kind, name),) = reference.items()
    return _SOURCES[kind](name)


def _resolved_or_none(reference: dict[str, Any]) -> str | None:
    try:
        return _resolved(reference)
    except UnresolvedError:
        return None


def _from_environment(name: str) -> str:
    text = os.environ.get(name)
    if text is None:
        raise UnresolvedError(f"environment variable {name!r} is not set; set it for the host")
    if not text:
        raise UnresolvedError(f"environment variable {name!r} is empty; give it a value")
    if not has_utf8(text):
        raise UnresolvedError(f"environment variable {name!r} is not UTF-8; write it anew")
    return text


def _from_file(path: str) -> str:
    try:
        # A pipe or a device may never end, or never begin.
        if Path(path).exists() and not Path(path).is_file():
            raise UnresolvedError(f"{path!r} is no regular file; name one")
        with Path(path).open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UnresolvedError(
            f"file {path!r} cannot be read ({error.strerror}); "
            "put it there, readable for the host's user"
        ) from None
    if len(content) > MAX_FILE_BYTES:
        raise UnresolvedError(f"file {path!r} is too long; at most {MAX_FILE_BYTES} bytes are read")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        # The error's own words would show a byte of what may be a secret.
        text = None
    if text is None:
        raise UnresolvedError(f"file {path!r} is not UTF-8; write it anew")
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise UnresolvedError(f"file {path!r} is empty; write the value into it")
    return text


_SOURCES: Final[Mapping[str, Callable[[str], str]]] = MappingProxyType(
    {"$env": _from_environment, "$file": _from_file}
)
