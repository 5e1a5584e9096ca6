"""Find the dependencies of distributions in this interpreter, transitively."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from plugreg._support.slugs import canonical
from plugreg.install.environment import Found, holds

if TYPE_CHECKING:
    from packaging.requirements import Requirement


def required_by(names: Iterable[str], installed: Mapping[str, Found]) -> frozenset[str]:
    """Return the canonical names of what distributions require, themselves included.

    Of those that are not installed nobody knows what they require.
    """
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            if name in installed:
                waiting += (
                    canonical(requirement.name) for requirement in _requirements(installed[name])
                )
    return frozenset(found)


def has_extras(requirement: Requirement, installed: Mapping[str, Found]) -> bool:
    """Return whether all is there that the extras of a requirement ask for beside it."""
    waiting, seen = [requirement], set[tuple[str, frozenset[str]]]()
    while waiting:
        current = waiting.pop()
        name, extras = canonical(current.name), frozenset(current.extras)
        if not extras or (name, extras) in seen:
            continue
        seen.add((name, extras))
        for needed in _requirements(installed[name], extras) if name in installed else ():
            there = installed.get(canonical(needed.name))
            if there is None or not accepts(needed, there.version):
                return False
            waiting.append(needed)
    return True


def accepts(requirement: Requirement, version: str) -> bool:
    """Return whether a version suits; an invalid one (PEP 440) suits any or none."""
    from packaging.version import InvalidVersion

    try:
        return requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return not requirement.specifier


def _requirements(found: Found, extras: Collection[str] = ()) -> Iterator[Requirement]:
    """Give what a distribution requires here; with ``extras`` what they ask for beside that.

    What cannot be read, or compared, counts as none.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    for text in found.requires:
        with suppress(InvalidRequirement):
            requirement = Requirement(text)
            is_plain = holds(requirement.marker)
            is_extra = any(holds(requirement.marker, extra) for extra in extras)
            if is_extra and not is_plain if extras else is_plain:
                yield requirement
