"""``plugreg check``: all checks of the kit on a wheel, a folder, or installed plugins."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from xml.etree import ElementTree

import click

from plugreg.cli.command import command
from plugreg.cli.faults import FINE, NO
from plugreg.cli.output import Answer
from plugreg.cli.session import Session
from plugreg.cli.tables import counted, fields_of
from plugreg.contract import Finding
from plugreg.testing.checks import CHECKS, Check, KitReport
from plugreg.testing.targets import check_all, check_target

FORMATS: Final = ("text", "json", "junit", "github")
_PLACE: Final = re.compile(r"(?P<file>[^:\s]+\.\w+)(?::(?P<line>\d+))?")
_GITHUB: Final = {"error": "error", "warning": "warning", "info": "notice"}.get
_IN_MESSAGE: Final = MappingProxyType(str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"}))
_IN_OPTION: Final = MappingProxyType({**_IN_MESSAGE, ord(":"): "%3A", ord(","): "%2C"})


@command(
    "check",
    """plugreg check
    plugreg check ./shop-weather
    plugreg check dist/shop_weather-1.0-py3-none-any.whl --format github
    plugreg check weather --json""",
    formats=FORMATS,
)
@click.argument("target", metavar="[SLUG|FOLDER|WHEEL]", required=False)
@click.option(
    "--contract",
    "contract_file",
    metavar="FILE",
    help="The host's contract, where the host itself is not installed.",
)
def check(session: Session, *, target: str | None, contract_file: str | None) -> Answer:
    """Check plugins against their host: sources, package, import, life, calls, secrets.

    Without an argument the folder that you are in is checked if it has a plugin, else every
    plugin of the host. Plugins run in child processes alone. Findings are exempted with a reason in
    [tool.plugreg.check] of pyproject.toml. The exit code is 1 if a finding is an error.
    """
    session.project = Path(target or "").absolute()
    contract = session.contract(contract_file)
    directories = () if contract_file else session.directories
    if target is None and Path("pyproject.toml").is_file() and _has_group(contract.group):
        target = "."
    if target is None:
        reports = check_all(contract, directories)
    else:
        reports = (check_target(contract, target, directories),)
    write = {"junit": _junit, "github": _github}.get(session.format, _text)
    return Answer(
        "findings",
        [_row(report, finding) for report in reports for finding in report.findings],
        code=FINE if all(report.ok for report in reports) else NO,
        text=write(reports),
        more={
            "plugins": [report.target for report in reports],
            "exempted": [
                {**_row(report, finding), "reason": reason}
                for report in reports
                for finding, reason in report.exempted
            ],
        },
    )


def _has_group(group: str) -> bool:
    return group in Path("pyproject.toml").read_text(encoding="utf-8", errors="replace")


def _row(report: KitReport, finding: Finding) -> dict[str, Any]:
    return {"target": report.target, **fields_of(finding, "code", "level", "where", "message")}


def _text(reports: Sequence[KitReport]) -> str:
    lines = []
    for report in reports:
        lines += [f"{report.target}: {finding}" for finding in report.findings]
        lines += [
            f"{report.target}: {finding.where}: {finding.code} exempted: {reason}"
            for finding, reason in report.exempted
        ]
    levels = Counter(str(finding.level) for report in reports for finding in report.findings)
    words = {"error": "error", "warning": "warning", "info": "note"}
    found = [counted(levels[level], word) for level, word in words.items() if levels[level]]
    subject = counted(len(reports), "plugin")
    lines.append(f"{subject} checked: {', '.join(found) or 'nothing is wrong'}")
    return "".join(f"{line}\n" for line in lines)


def _github(reports: Sequence[KitReport]) -> str:
    """Return workflow commands, which GitHub shows beside the lines that they name."""
    titles = {check.code: check.title for check in CHECKS}
    lines = []
    for report in reports:
        for finding in report.findings:
            options = [f"title={_escape(f'{finding.code} {titles[finding.code]}')}"]
            if place := _PLACE.fullmatch(finding.where):
                file = Path(report.target, place["file"]) if Path(report.target).is_dir() else None
                shown = place["file"] if file is None else os.path.relpath(file)
                options[:0] = [f"file={_escape(shown)}"]
                if place["line"]:
                    options.insert(1, f"line={place['line']}")
            message = f"{finding.where}: {finding.message}".translate(_IN_MESSAGE)
            lines.append(f"::{_GITHUB(finding.level)} {','.join(options)}::{message}\n")
    return "".join(lines)


def _escape(value: str) -> str:
    return value.translate(_IN_OPTION)


def _junit(reports: Sequence[KitReport]) -> str:
    """Return the report of a test run, with one case for each check."""
    suites = ElementTree.Element("testsuites", name="plugreg check")
    for report in reports:
        suite = ElementTree.SubElement(suites, "testsuite", name=report.target)
        for row in CHECKS:
            _add_case(suite, report, row)
        suite.set("tests", str(len(CHECKS)))
        suite.set("failures", str(len(suite.findall("*/failure"))))
        suite.set("skipped", str(len(suite.findall("*/skipped"))))
    ElementTree.indent(suites)
    text = ElementTree.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _add_case(suite: ElementTree.Element, report: KitReport, row: Check) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", classname=report.target, name=f"{row.code} {row.title}"
    )
    found = [finding for finding in report.findings if finding.code == row.code]
    errors = [finding for finding in found if finding.level == "error"]
    reasons = [reason for finding, reason in report.exempted if finding.code == row.code]
    if errors:
        failure = ElementTree.SubElement(case, "failure", message=_xml(str(errors[0])))
        failure.text = _xml("\n".join(map(str, errors)))
    elif reasons:
        ElementTree.SubElement(case, "skipped", message=_xml(reasons[0]))
    if others := [str(finding) for finding in found if finding not in errors]:
        ElementTree.SubElement(case, "system-out").text = _xml("\n".join(others))


def _xml(text: str) -> str:
    """Return a string without characters that XML cannot have."""
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)
