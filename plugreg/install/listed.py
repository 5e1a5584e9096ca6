"""Compare the environment with the lines of the plugins file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from plugreg.install.environment import Found
from plugreg.install.needs import accepts, has_extras
from plugreg.install.plan import Change, InstallPlan, Refusal
from plugreg.install.requirement_lines import RequirementLine

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_LOGIN: Final = re.compile(r"://[^\s/?#]*@")


def is_satisfied(line: RequirementLine, installed: Mapping[str, Found]) -> bool:
    """Return whether a distribution is there that suits a line.

    A line that says where the distribution is asks for one that came from there (PEP 610); one
    with a variable (``${TOKEN}``) only for the name in it. What extras require has to be there too.
    """
    requirement = _requirement_in(line)
    url = _url_in(line)
    if url is not None:
        named = [
            distribution
            for distribution in installed.values()
            if line.name in (None, distribution.name)
        ]
        if not any(_is_from(url, distribution) for distribution in named):
            return False
    else:
        found = installed.get(line.name or "")
        if found is None or (requirement is not None and not accepts(requirement, found.version)):
            return False
    return requirement is None or has_extras(requirement, installed)


def constraints_of(lines: Iterable[RequirementLine], name: str | None) -> tuple[str, ...]:
    """Return what lines want of other distributions than ``name``, by name and specifier.

    A line that says where its distribution is wants no version.
    """
    found = []
    for line in lines:
        requirement = _requirement_in(line)
        # A URL alone, whose file tells the name, has none.
        if requirement is not None and line.name is not None and line.name != name:
            found.append(f"{line.name}{requirement.specifier}")
    return tuple(found)


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
    if line.hashes and f"sha256:{change.sha256}" not in line.hashes:
        reason = f"the file of {change.name!r} has none of the hashes in the plugins file"
        yield Refusal(rule="require_hashes", reason=reason)
    requirement = _requirement_in(line)
    is_suited = requirement is None or accepts(requirement, change.after or "")
    if change.after is not None and not is_suited:
        reason = f"{change.name} {change.after} is not what the plugins file has: {line.text!r}"
        yield Refusal(rule="constraints", reason=reason)


def _requirement_in(line: RequirementLine) -> Requirement | None:
    """Return the requirement of PEP 508 that a line is, None where it is a URL or a path alone."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(line.text)
    except InvalidRequirement:
        return None


def _url_in(line: RequirementLine) -> str | None:
    if "${" in line.text:
        return None
    requirement = _requirement_in(line)
    if requirement is not None:
        return requirement.url
    return line.text if "://" in line.text else None


def _is_from(url: str, found: Found) -> bool:
    """Return whether an installer has noted that a distribution came from ``url``."""
    import json

    try:
        direct = json.loads((found.path / "direct_url.json").read_text("utf-8"))
        came_from = direct["url"]
        repository = direct.get("vcs_info")
        if repository is not None:
            # The commit is that which a branch had then.
            revision = repository.get("requested_revision")
            came_from = f"{repository['vcs']}+{came_from}" + (f"@{revision}" if revision else "")
        folder = direct.get("subdirectory") or ""
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False  # It came from an index, or nobody knows from where.
    wanted, _, fragment = url.partition("#")
    folders = [part for part in fragment.split("&") if part.startswith("subdirectory=")]
    return (_bare(wanted), "".join(folders)) == (
        _bare(came_from),
        f"subdirectory={folder}" if folder else "",
    )


def _bare(url: str) -> str:
    return _LOGIN.sub("://", url, count=1)
