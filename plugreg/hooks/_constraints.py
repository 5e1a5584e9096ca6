"""Parsing the ordering constraints of implementations, before and after.

This module is apart from the ordering, which a plugin's markers do not need.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, Literal, cast

from plugreg._support.guard import safe_repr

Relation = Literal["before", "after"]
RELATIONS: Final[tuple[Relation, Relation]] = ("before", "after")


def parse_constraints(options: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    """Return ``before`` and ``after`` of these options, where they name any plugin.

    Raises TypeError for a value that is neither a string nor a collection of strings.
    """
    return {
        relation: names
        for relation in RELATIONS
        if relation in options and (names := _parse_names(relation, options[relation]))
    }


def _parse_names(option: str, given: object) -> tuple[str, ...]:
    kind = type(given)
    if issubclass(kind, str):
        given = (given,)
    if issubclass(kind, (str, Collection)):
        names = [*cast("Iterable[Any]", given)]
        if all(issubclass(type(name), str) for name in names):
            # Plain strings, which are compared and hashed without any code of a plugin's.
            return tuple(sorted({str.__str__(name) for name in names}))
    raise TypeError(
        f"{option} must be the name of a plugin, or a collection of names, not {safe_repr(given)}"
    )
