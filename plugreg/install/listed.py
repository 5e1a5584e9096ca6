"""Whether the environment has what a line of the plugins file asks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from plugreg._names import canonical
from plugreg.install.environment import Found
from plugreg.install.plan import Change, InstallPlan, Refusal
from plugreg.install.requirement_lines import RequirementLine

_HASH = "--hash=sha256:"


def is_satisfied(line: RequirementLine, installed: Mapping[str, Found]) -> bool:
    """Tell whether a distribution of that name is there, in a version that suits.

    Which file a distribution came from is not known, so that any suits a URL.
    """
    found = installed.get(canonical(line.name or ""))
    return found is not None and _suits(line, found.version)


def checked(plan: InstallPlan, lines: Iterable[RequirementLine]) -> InstallPlan:
    """Return a plan, refused where it would install something else than a line has of that name.

    That is another version, or a file with none of the line's hashes.
    """
    refusals = [
        refusal
        for change in plan.changes
        for line in lines
        if line.text and line.applies and line.name == change.name
        for refusal in _differing(change, line)
    ]
    return replace(plan, refusals=(*plan.refusals, *refusals)) if refusals else plan


def _differing(change: Change, line: RequirementLine) -> Iterator[Refusal]:
    hashes = {each.removeprefix(_HASH) for each in line.options if each.startswith("--hash=")}
    if hashes and change.sha256 not in hashes:
        reason = f"the file of {change.name!r} has none of the hashes in the plugins file"
        yield Refusal(rule="require_hashes", reason=reason)
    if change.after is not None and not _suits(line, change.after):
        reason = f"{change.name} {change.after} is not what the plugins file has: {line.text!r}"
        yield Refusal(rule="constraints", reason=reason)


def _suits(line: RequirementLine, version: str) -> bool:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(line.text)
    except InvalidRequirement:
        return True  # A URL alone.
    return requirement.specifier.contains(version, prereleases=True)
