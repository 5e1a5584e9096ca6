"""``plugreg contract``: the host's plugin interface as a file."""

from __future__ import annotations

import json
from pathlib import Path

import click

from plugreg.cli.command import Group
from plugreg.cli.faults import FINE, NO
from plugreg.cli.output import Answer
from plugreg.cli.session import Session
from plugreg.cli.tables import fields_of


@click.group(
    "contract",
    cls=Group,
    examples="""plugreg contract dump shop-contract.json
    plugreg contract diff shop-contract.json
    plugreg contract check shop-3.0.json""",
)
def contract() -> None:
    """Write, compare or check the contract of the host."""


@contract.command(
    "dump",
    examples="plugreg contract dump shop-contract.json\nplugreg contract dump > shop.json",
)
@click.argument("file", required=False)
def dump(session: Session, *, file: str | None) -> Answer:
    """Write the contract of the host to FILE, or to standard output.

    No plugin is imported, and no store is read.
    """
    made = session.contract()
    if file is None:
        return Answer("", text=made.dumps(), more={"contract": json.loads(made.dumps())})
    made.write(file)
    text = f"wrote {file}: {len(made.hooks)} hooks, {len(made.mixins)} mixins\n"
    return Answer("", text=text, more={"file": file})


@contract.command(
    "diff",
    examples="""plugreg contract diff shop-2.4.json
    plugreg contract diff shop-2.4.json shop-3.0.json --json""",
)
@click.argument("old")
@click.argument("new", required=False)
def diff(session: Session, *, old: str, new: str | None) -> Answer:
    """Classify the changes from OLD to NEW for plugins. NEW defaults to the host itself.

    The exit code is 1 if a change is major: plugins for the old contract may break.
    """
    before, after = session.contract(old), session.contract(new)
    found = before.compare(after)
    return Answer.of(
        "changes",
        found,
        ("level", "hook", "what", "detail"),
        code=NO if any(change.level == "major" for change in found) else FINE,
        empty="nothing has changed for plugins",
    )


@contract.command(
    "check",
    examples="""plugreg contract check
    plugreg contract check shop-3.0.json
    plugreg contract check dist/shop_weather-1.0-py3-none-any.whl --contract shop-3.0.json""",
)
@click.argument("targets", nargs=-1, metavar="[CONTRACT.json] [SLUG|FOLDER|WHEEL]...")
@click.option("--contract", "contract_file", metavar="FILE", help="The contract to check against.")
def check(session: Session, *, targets: tuple[str, ...], contract_file: str | None) -> Answer:
    """Check the sources of all installed plugins, or of the named plugins, against a contract.

    No plugin is imported. A file whose name ends with .json is the contract; the default is the
    host's contract. The exit code is 1 if a plugin breaks.
    """
    if targets and targets[0].endswith(".json") and contract_file is None:
        contract_file, targets = targets[0], targets[1:]
    judged = session.contract(contract_file)
    # An author who has the contract alone has no host that could be asked for its folders.
    is_alone = contract_file is not None and (bool(targets) or not session.has_host)
    directories = () if is_alone else session.directories
    reports = [judged.check(target, directories=directories) for target in targets]
    installed = None if targets else judged.check_installed(directories=directories)
    if installed is not None:
        reports = [*installed.reports.values()]
    rows = [
        {
            "target": Path(report.target).name or report.target,
            **fields_of(finding, "code", "level", "where", "message"),
        }
        for report in reports
        for finding in report.findings
    ]
    return Answer(
        "findings",
        rows,
        columns=("target", "code", "where", "message"),
        code=FINE if all(report.ok for report in reports) else NO,
        empty="" if installed is not None else "nothing is wrong",
        verdict="" if installed is None else str(installed),
        more={"plugins": [report.target for report in reports]},
    )
