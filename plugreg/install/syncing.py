"""Make the environment match the plugins file, line by line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from plugreg.exceptions import InstallError, RequirementError
from plugreg.install.environment import Found
from plugreg.install.listed import is_satisfied
from plugreg.install.reports import InstallReport
from plugreg.install.requirement_lines import RequirementLine


def sync(
    lines: Iterable[RequirementLine],
    installed: Callable[[], Mapping[str, Found]],
    install: Callable[[RequirementLine], InstallReport],
) -> tuple[InstallReport, ...]:
    """Install what lines ask for and is not there; return a report for each, in their order.

    ``installed`` gives what is there now. A line that cannot be installed has its turn again when
    others were, and a report of failure at last. One that came with another has no report.
    Raises InstallError where one was installed, and the registry could not take that in.
    """
    reports: dict[int, InstallReport] = {}
    goes_on = True
    while goes_on:
        goes_on = False
        for line in lines:
            earlier = reports.get(line.number)
            if earlier is not None and earlier.success:
                continue
            if is_satisfied(line, installed()):
                # It was so before, or came with another line.
                reports.pop(line.number, None)
                continue
            try:
                reports[line.number] = install(line)
            except (InstallError, RequirementError) as error:
                if isinstance(error, InstallError) and error.report and error.report.success:
                    raise
                reports[line.number] = _failed(line.name or "", error)
            # What this has changed may be what others have waited for.
            goes_on |= reports[line.number].success
    return tuple(reports[number] for number in sorted(reports))


def _failed(name: str, error: InstallError | RequirementError) -> InstallReport:
    if isinstance(error, RequirementError):
        return InstallReport(distribution=name, success=False, reasons=(error.reason,))
    report: InstallReport | None = error.report
    return report or InstallReport(distribution=name, success=False, reasons=error.reasons)
