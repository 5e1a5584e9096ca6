"""Reading what an implementation asks for: to be called before, or after, those of some plugins.

It stands apart from the arranging, which a plugin's markers need not wait for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, Literal, cast

from plugreg._support.guard import safe_repr

Relation = Literal["before", "after"]
RELATIONS: Final[tuple[Relation, Relation]] = ("before", "after")


def wishes_in(options: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    """Return ``before`` and ``after`` of these options, where they name any plugin.

    Raises TypeError for what is neither a text nor a collection of texts.
    """
    return {
        each: names
        for each in RELATIONS
        if each in options and (names := _names(each, options[each]))
    }


def _names(option: str, given: object) -> tuple[str, ...]:
    kind = type(given)
    if issubclass(kind, str):
        given = (given,)
    if issubclass(kind, (str, Collection)):
        names = [*cast("Iterable[Any]", given)]
        if all(issubclass(type(each), str) for each in names):
            # Plain ones, which are compared and hashed without any code of a plugin's.
            return tuple(sorted({str.__str__(each) for each in names}))
    raise TypeError(
        f"{option} must be the name of a plugin, or a collection of names, not {safe_repr(given)}"
    )
