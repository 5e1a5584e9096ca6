"""``plugreg check``: all checks of the kit on a wheel, a folder, or installed plugins."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import click

from plugreg.cli.command import command, pass_session
from plugreg.cli.faults import FINE, NO, UNKNOWN, CommandError, Fault
from plugreg.cli.output import Answer
from plugreg.cli.session import Session
from plugreg.contract import Finding, NoPluginError
from plugreg.testing.checks import CHECKS, KitReport
from plugreg.testing.targets import check_all, check_target

FORMATS: Final = ("text", "json", "junit", "github")
_PLACE: Final = re.compile(r"(?P<file>[^:\s]+\.\w+)(?::(?P<line>\d+))?")
_GITHUB: Final = {"error": "error", "warning": "warning", "info": "notice"}.get


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
@pass_session
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
    try:
        if target is None:
            reports = check_all(contract, directories)
        else:
            reports = (check_target(contract, target, directories),)
    except NoPluginError as error:
        message, _, remedy = str(error).partition("; ")
        raise CommandError(Fault(UNKNOWN, "unknown-plugin", message, remedy)) from error
    write = {"junit": _junit, "github": _github}.get(session.format, _text)
    return Answer(
        "findings",
        [row for report in reports for row in _rows(report)],
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


def _rows(report: KitReport) -> list[dict[str, Any]]:
    return [_row(report, finding) for finding in report.findings]


def _row(report: KitReport, finding: Finding) -> dict[str, Any]:
    return {
        "target": report.target,
        "code": finding.code,
        "level": finding.level,
        "where": finding.where,
        "message": finding.message,
    }


def _text(reports: Sequence[KitReport]) -> str:
    lines = []
    for report in reports:
        lines += [f"{report.target}: {finding}" for finding in report.findings]
        lines += [
            f"{report.target}: {finding.where}: {finding.code} exempted: {reason}"
            for finding, reason in report.exempted
        ]
    return "".join(f"{line}\n" for line in [*lines, _verdict(reports)])


def _verdict(reports: Sequence[KitReport]) -> str:
    levels = Counter(str(finding.level) for report in reports for finding in report.findings)
    counted = [
        _count(levels[level], word)
        for level, word in (("error", "error"), ("warning", "warning"), ("info", "note"))
        if levels[level]
    ]
    subject = _count(len(reports), "plugin")
    return f"{subject} checked: {', '.join(counted) or 'nothing is wrong'}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


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
            message = f"{finding.where}: {finding.message}"
            for old, new in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
                message = message.replace(old, new)
            lines.append(f"::{_GITHUB(finding.level)} {','.join(options)}::{message}\n")
    return "".join(lines)


def _escape(value: str) -> str:
    for old, new in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A"), (":", "%3A"), (",", "%2C")):
        value = value.replace(old, new)
    return value


def _junit(reports: Sequence[KitReport]) -> str:
    """Return the report of a test run, with one case for each check."""
    suites = ElementTree.Element("testsuites", name="plugreg check")
    for report in reports:
        suites.append(_suite(report))
    ElementTree.indent(suites)
    text = ElementTree.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _suite(report: KitReport) -> ElementTree.Element:
    suite = ElementTree.Element("testsuite", name=report.target)
    failures = skipped = 0
    for row in CHECKS:
        case = ElementTree.SubElement(
            suite, "testcase", classname=report.target, name=f"{row.code} {row.title}"
        )
        found = [finding for finding in report.findings if finding.code == row.code]
        errors = [finding for finding in found if finding.level == "error"]
        reasons = [reason for finding, reason in report.exempted if finding.code == row.code]
        if errors:
            failures += 1
            failure = ElementTree.SubElement(case, "failure", message=_xml(str(errors[0])))
            failure.text = _xml("\n".join(map(str, errors)))
        elif reasons:
            skipped += 1
            ElementTree.SubElement(case, "skipped", message=_xml(reasons[0]))
        if others := [str(finding) for finding in found if finding not in errors]:
            ElementTree.SubElement(case, "system-out").text = _xml("\n".join(others))
    suite.set("tests", str(len(CHECKS)))
    suite.set("failures", str(failures))
    suite.set("skipped", str(skipped))
    return suite


def _xml(text: str) -> str:
    """Return a string without characters that XML cannot have."""
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)
