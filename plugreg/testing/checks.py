"""The checks of the kit on a plugin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter

from plugreg.contract.codes import CHECKS, Check, finding
from plugreg.contract.values import CheckReport, Finding
from plugreg.testing.subject import Subject


class KitReport(CheckReport):
    """The findings about a plugin, and those that the author has exempted.

    Attributes:
        target: The target of the check.
        findings: The findings, in the order of their codes.
        exempted: Findings of codes that the author exempts, with the reason of each.
    """

    exempted: tuple[tuple[Finding, str], ...] = ()


def run_checks(
    subject: Subject, exempt: Mapping[str, str] | None = None, *, target: str = ""
) -> KitReport:
    """Run all checks on a plugin.

    Args:
        subject: The plugin.
        exempt: Reasons by code, for findings that the author accepts.
        target: The target of the check; defaults to the plugin's value.

    Returns:
        The findings.

    Raises:
        MissingExtraError: If griffe or hypothesis is not installed.
    """
    exempt = exempt or {}
    found = [*subject.packaged, *subject.contract_findings, *subject.imported, *subject.lived]
    found.sort(key=attrgetter("code"))
    return KitReport(
        target=target or subject.value,
        findings=(*_wrong_exemptions(exempt), *(seen for seen in found if seen.code not in exempt)),
        exempted=tuple((seen, exempt[seen.code]) for seen in found if seen.code in exempt),
    )


def _wrong_exemptions(exempt: Mapping[str, str]) -> Iterable[Finding]:
    known = {check.code for check in CHECKS}
    for code, reason in exempt.items():
        if code not in known:
            yield finding("K000", "pyproject.toml", f"there is no check {code!r}")
        elif not str(reason).strip():
            yield finding("K000", "pyproject.toml", f"the exemption of {code} has no reason")


__all__ = ["CHECKS", "Check", "KitReport", "run_checks"]
