"""Whether the environment has what a line of the plugins file asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from plugreg._names import canonical
from plugreg.install.environment import Found
from plugreg.install.plan import InstallPlan, Refusal
from plugreg.install.requirement_lines import RequirementLine

_HASH = "--hash=sha256:"


def is_satisfied(line: RequirementLine, installed: Mapping[str, Found]) -> bool:
    """Tell whether a distribution of that name is there, in a version that suits.

    Which file a distribution came from is not known, so that any suits a URL.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    found = installed.get(canonical(line.name or ""))
    if found is None:
        return False
    try:
        requirement = Requirement(line.text)
    except InvalidRequirement:
        return True  # A URL alone.
    return requirement.specifier.contains(found.version, prereleases=True)


def checked(plan: InstallPlan, line: RequirementLine) -> InstallPlan:
    """Return a plan, refused where the line has hashes and that of the distribution is none."""
    hashes = {each.removeprefix(_HASH) for each in line.options if each.startswith("--hash=")}
    own = [each.sha256 for each in plan.changes if each.name == plan.distribution]
    if not hashes or not own or own[0] in hashes:
        return plan
    reason = f"the file of {plan.distribution!r} has none of the hashes in the plugins file"
    refusal = Refusal(rule="require_hashes", reason=reason)
    return replace(plan, refusals=(*plan.refusals, refusal))
