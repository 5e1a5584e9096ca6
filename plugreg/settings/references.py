"""References to values in environment variables and files.

A reference is ``{"$env": "NAME"}`` or ``{"$file": "path"}``, a dict with only that key and a
string, alone or at any depth of dicts, lists and tuples. This module finds and resolves references;
its callers decide who may set a reference.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from plugreg._support.slugs import has_utf8

MAX_FILE_BYTES: Final = 65_536
"""The longest file that a reference may name."""

NO_REFERENCE: Final = (
    "Value must not hold a reference ({'$env': …} or {'$file': …}) in its text; "
    "only the host's own code gives one, as a dict"
)
"""Reason to refuse a string that reads as a reference."""

_MAX_DEPTH: Final = 100
"""How deep dicts and lists may be nested, as in a record of a storage."""


class UnresolvedError(ValueError):
    """A reference cannot be resolved now. The message says why, and how to repair it."""


def has_reference(value: object) -> bool:
    """Return whether *value* is a reference or contains a reference.

    Args:
        value: The value.

    Raises:
        ValueError: If a reference is malformed: another key beside ``$env`` or ``$file``, or no
            string. The message shows no part of the value.
    """
    found = False
    # However deep a value without references is nested, it can be stored and read.
    pending: list[Any] = [value]
    seen: set[int] = set()
    while pending:
        item = pending.pop()
        # isinstance() would ask the object for its __class__, which may do anything.
        kind = type(item)
        if not issubclass(kind, (dict, list, tuple)) or id(item) in seen:
            continue
        seen.add(id(item))
        if issubclass(kind, dict):
            found = _reference(item) is not None or found
        pending += dict.values(item) if issubclass(kind, dict) else item
    return found


def reads_as_reference(text: str) -> bool:
    """Return whether the JSON in a string is, contains or resembles a reference.

    A reader of such a string gets a dict, and may pass it on as if the host had set it.

    Args:
        text: The string.
    """
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        return has_reference(json.loads(text))
    except (ValueError, RecursionError):
        # It is no JSON, too deep for its reader, or a malformed reference.
        return any(f'"{kind}"' in text for kind in _SOURCES)


def copied(value: Any) -> Any:
    """Return a deep copy of dicts and lists.

    Args:
        value: The value.

    Raises:
        ValueError: If it contains itself, is nested too deep, or a reference is malformed.
    """
    return _mapped(value, dict)


def resolve(value: Any, *, strict: bool = True) -> Any:
    """Return a copy of *value* with the string of each reference in its place.

    Variables and files are read now. A relative path starts at the current folder. A file is
    UTF-8, and loses one newline at its end.

    Args:
        value: Any value, which may contain references.
        strict: Whether to raise for a reference that cannot be resolved, rather than to put None.

    Raises:
        UnresolvedError: If a variable or file is missing, empty or not readable.
        ValueError: If a reference is malformed, or *value* is nested too deep.
    """

    def look_up(reference: dict[str, Any]) -> str | None:
        ((kind, name),) = reference.items()
        try:
            return _SOURCES[kind](name)
        except UnresolvedError:
            if strict:
                raise
            return None

    return _mapped(value, look_up)


def _mapped(value: Any, convert: Callable[[dict[str, Any]], Any], depth: int = 0) -> Any:
    """Return a copy of *value* with every reference converted."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"a value must not have more than {_MAX_DEPTH} levels, or contain itself")
    if isinstance(value, dict):
        if _reference(value) is not None:
            return convert(value)
        return {name: _mapped(item, convert, depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        return [_mapped(item, convert, depth + 1) for item in value]
    if isinstance(value, tuple):
        return tuple(_mapped(item, convert, depth + 1) for item in value)
    return value


def _reference(value: Any) -> tuple[str, str] | None:
    """Return the kind and the name of a reference, None for another dict."""
    kind = next((kind for kind in _SOURCES if kind in value), None)
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


def _from_environment(name: str) -> str:
    text = os.environ.get(name)
    if text is None:
        raise UnresolvedError(f"environment variable {name!r} is not set; set it for the host")
    return _checked(f"environment variable {name!r}", text)


def _from_file(path: str) -> str:
    try:
        # A pipe or a device may never end, or never begin.
        if Path(path).exists() and not Path(path).is_file():
            raise UnresolvedError(f"file {path!r} is no regular file; name one")
        with Path(path).open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UnresolvedError(
            f"file {path!r} cannot be read ({error.strerror}); "
            "put it there, readable for the host's user"
        ) from None
    if len(content) > MAX_FILE_BYTES:
        raise UnresolvedError(f"file {path!r} is too long; at most {MAX_FILE_BYTES} bytes are read")
    text = content.decode(errors="surrogateescape")
    return _checked(f"file {path!r}", text.removesuffix("\n").removesuffix("\r"))


def _checked(subject: str, text: str) -> str:
    if not has_utf8(text):
        raise UnresolvedError(f"{subject} is not UTF-8; encode it as UTF-8")
    if not text:
        raise UnresolvedError(f"{subject} is empty; give it a value")
    return text


_SOURCES: Final = MappingProxyType({"$env": _from_environment, "$file": _from_file})
