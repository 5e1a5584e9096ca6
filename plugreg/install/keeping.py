"""Constraints that keep installed distributions and their needs as they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from plugreg._support.slugs import canonical
from plugreg.install.environment import Found, holds
from plugreg.install.plan import Change, Refusal

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
"""A canonical name."""


def names_in(requirements: Iterable[str]) -> frozenset[str]:
    """Return the canonical names that requirements of PEP 508 ask for."""
    from packaging.requirements import Requirement

    return frozenset(canonical(Requirement(requirement).name) for requirement in requirements)


def pins(installed: Iterable[Found]) -> list[str]:
    """Return the constraints that keep distributions at their versions.

    What has no name or version of PEP 508 and PEP 440 has no constraint; no installer would touch
    it unasked.
    """
    from packaging.version import InvalidVersion, Version

    found = []
    for distribution in installed:
        with suppress(InvalidVersion):
            Version(distribution.version)
            if _NAME.fullmatch(distribution.name):
                found.append(f"{distribution.name}=={distribution.version}")
    return found


def unmet(installed: Mapping[str, Found], changes: Sequence[Change]) -> Iterator[Refusal]:
    """Find those that stay and would no longer have what they require, which no installer asks.

    What was not met before is not counted.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    changed = {change.name: change for change in changes if change.kind == "change"}
    staying = [
        distribution for distribution in installed.values() if distribution.name not in changed
    ]
    for found in staying if changed else ():
        for text in found.requires:
            with suppress(InvalidRequirement):
                requirement = Requirement(text)
                change = changed.get(canonical(requirement.name))
                if change is not None and _breaks(change, requirement):
                    who = f"{found.name} {found.version}"
                    reason = f"{who} requires {text!r}, not {change.name} {change.after}"
                    yield Refusal(rule="conflict", reason=reason)


def _breaks(change: Change, requirement: Requirement) -> bool:
    from packaging.version import InvalidVersion

    if not holds(requirement.marker):
        return False
    with suppress(InvalidVersion):
        before, after = (
            requirement.specifier.contains(version or "", prereleases=True)
            for version in (change.before, change.after)
        )
        return before and not after
    return False
