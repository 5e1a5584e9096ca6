"""Installing from a shell: plans are shown, and nothing is changed without consent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plugreg.cli.command import command, consent_option, slug_argument
from plugreg.cli.commands.switching import check_asked
from plugreg.cli.faults import FINE, NO, REFUSED, CommandError, Fault, refused, usage
from plugreg.cli.output import Answer
from plugreg.cli.session import Session
from plugreg.cli.tables import aligned_table, fields_of
from plugreg.exceptions import PluginMandatoryError

if TYPE_CHECKING:
    from plugreg.install import Change, InstallPlan, InstallReport, Packages
    from plugreg.records import PluginRecord

_CHANGES = ("name", "kind", "before", "after", "source")
_DETAILS = ("sha256", "size", "plugins")
_REPORTED = ("distribution", "version", "result", "plugins")

_INDEX = click.option("--index-url", metavar="URL", help="Index in place of the configured one.")


def _packages(session: Session) -> Packages:
    packages = session.registry.packages
    if packages is None:
        raise refused(
            "installing is disabled in this host",
            "give its registry an installer=",
            code="disabled",
        )
    return packages


def _row(change: Change) -> dict[str, Any]:
    return fields_of(change, *_CHANGES, *_DETAILS)


def _refusal(plan: InstallPlan) -> Fault | None:
    if plan.allowed:
        return None
    reasons = "; ".join(f"{refusal.rule}: {refusal.reason}" for refusal in plan.refusals)
    return Fault(REFUSED, "policy", f"{plan.requirement!r} is refused: {reasons}")


def _show(session: Session, changes: Sequence[Change]) -> None:
    """Show the changes before the question."""
    rows = [_row(change) for change in changes]
    for line in aligned_table(rows, _CHANGES, session.output.width).splitlines():
        session.output.note(line)


def _reported(report: InstallReport, action: str) -> dict[str, Any]:
    return {
        "result": action if report.success else "failed",
        "ok": report.success,
        **fields_of(report, "distribution", "version", "plugins", "reasons"),
        "changes": [] if report.plan is None else [_row(c) for c in report.plan.changes],
    }


@command("plan", "plugreg plan 'shop-discount>=2'")
@click.argument("requirement")
@_INDEX
def plan(session: Session, requirement: str, *, index_url: str | None) -> Answer:
    """Show the changes of an installation and refusals of the policy. Nothing is changed."""
    found = _packages(session).plan(requirement, index_url=index_url)
    refusals = [fields_of(refusal, "rule", "reason") for refusal in found.refusals]
    return Answer.of(
        "changes",
        found.changes,
        _CHANGES,
        _DETAILS,
        fault=_refusal(found),
        empty="nothing would change",
        more={"distribution": found.distribution, "refusals": refusals},
    )


@command("install", "plugreg install 'shop-discount>=2'\nplugreg install shop-discount --yes")
@click.argument("requirements", metavar="REQUIREMENT...", nargs=-1, required=True)
@_INDEX
@click.option("--keep-broken", is_flag=True, help="Also if its plugins cannot be loaded.")
@consent_option
def install(
    session: Session, requirements: tuple[str, ...], *, index_url: str | None, keep_broken: bool
) -> Answer:
    """Install or upgrade distributions of plugins. The plan is shown first.

    New plugins stay off until they are activated.
    """
    return _install(session, requirements, index_url=index_url, keep_broken=keep_broken)


def _install(
    session: Session, requirements: Sequence[str], *, index_url: str | None, keep_broken: bool
) -> Answer:
    packages = _packages(session)
    rows: list[dict[str, Any]] = []
    for requirement in requirements:
        found = packages.plan(requirement, index_url=index_url)
        fault = _refusal(found)
        if fault is not None:
            return Answer("changes", rows, columns=_REPORTED, fault=fault)
        if found.changes:
            _show(session, found.changes)
            session.confirm("Install this?")
        report = packages.install(
            found, actor=session.actor, progress=session.output.note, keep_broken=keep_broken
        )
        rows.append(_reported(report, "installed" if found.changes else "is there already"))
    return _reports(rows)


def _reports(rows: Sequence[dict[str, Any]], empty: str = "") -> Answer:
    code = FINE if all(row["ok"] for row in rows) else NO
    return Answer("changes", rows, columns=_REPORTED, code=code, empty=empty)


def install_all(session: Session, requirements: Sequence[str]) -> None:
    """Install requirements, with consent. Raise if one is refused or fails.

    Args:
        session: The session.
        requirements: The requirements, as PEP 508 defines them.
    """
    answer = _install(session, requirements, index_url=None, keep_broken=False)
    if answer.fault is not None:
        raise CommandError(answer.fault)


@command("uninstall", "plugreg uninstall discount\nplugreg uninstall discount --keep-config --yes")
@slug_argument()
@click.option("--keep-config", is_flag=True, help="Keep desired state, settings and metadata.")
@click.option("--dependencies", is_flag=True, help="Also dependencies that nothing else needs.")
@consent_option
def uninstall(session: Session, slug: str, *, keep_config: bool, dependencies: bool) -> Answer:
    """Remove a plugin's distribution, with all plugins that it provides."""
    packages, registry = _packages(session), session.registry
    record = registry.get(slug)
    siblings = [
        other
        for other in registry.plugins.values()
        if other.distribution is not None and other.distribution == record.distribution
    ]
    _check_off(session, siblings or [record])
    beside = ", ".join(other.slug for other in siblings) or "no plugin"
    lost = "" if keep_config else ", and deletes their settings and metadata"
    session.output.note(f"removes {record.distribution} with {beside}{lost}")
    session.confirm("Remove this?")
    report = packages.uninstall(
        slug, delete_config=not keep_config, dependencies=dependencies, actor=session.actor
    )
    more = fields_of(report, "distribution", "plugins")
    return Answer.of("changes", report.changes, _CHANGES, _DETAILS, more=more)


def _check_off(session: Session, records: Sequence[PluginRecord]) -> None:
    """Refuse to remove plugins that are on, before anybody is asked."""
    for record in records:
        if record.is_mandatory:
            raise PluginMandatoryError(record.slug)
    on = [record.slug for record in records if record.wanted]
    if on:
        raise refused(
            f"plugin {', '.join(map(repr, on))} is on, and cannot be removed",
            f"{session.command} deactivate {' '.join(on)}",
            code="active",
        )


@command("upgrade", "plugreg upgrade discount\nplugreg upgrade --all --yes")
@slug_argument(many=True, required=False)
@click.option("--all", "every", is_flag=True, help="All that have a later release.")
@consent_option
def upgrade(session: Session, slugs: tuple[str, ...], *, every: bool) -> Answer:
    """Upgrade distributions of plugins to their latest release. The plan is shown first."""
    check_asked(slugs, every=every)
    registry, packages = session.registry, _packages(session)
    wanted = {registry.get(slug).distribution for slug in slugs}
    later = [
        found
        for found in packages.outdated()
        if found.latest is not None and (every or found.distribution in wanted)
    ]
    requirements = [f"{found.distribution}=={found.latest}" for found in later]
    answer = _install(session, requirements, index_url=None, keep_broken=False)
    return answer._replace(empty="everything is up to date")


@command("sync", "plugreg sync\nplugreg sync --locked pylock.toml --yes")
@click.option(
    "--locked",
    type=click.Path(dir_okay=False),
    help="Install exactly the distributions of this lock.",
)
@consent_option
def sync(session: Session, *, locked: str | None) -> Answer:
    """Install the missing distributions of the plugins file, or exactly those of a lock."""
    packages = _packages(session)
    if locked is not None and not Path(locked).is_file():
        raise usage(f"there is no file {locked!r}", "write one with: plugreg lock")
    if locked is None:
        what = "what the plugins file lists"
        # Each line of the file is resolved separately.
        for found in map(packages.plan, packages.listed().values()):
            fault = _refusal(found)
            if fault is not None:
                session.output.note(fault.message)
            _show(session, found.changes)
    else:
        from plugreg.install import pylock

        what = f"exactly what {locked!r} has"
        pins = {pin.name: pin.version for pin in pylock.load(Path(locked)).pins}
        _show_difference(session, packages, pins)
    session.confirm(f"Install {what}?")
    reports = packages.sync(locked=locked, actor=session.actor, progress=session.output.note)
    return _reports([_reported(report, "installed") for report in reports], "all of it is there")


def _show_difference(session: Session, packages: Packages, after: Mapping[str, str]) -> None:
    """Show how the distributions that serve differ from others."""
    from plugreg.install.plan import Change

    serving = (found.distributions for found in packages.generations() if found.serving)
    before: Mapping[str, str] = next(serving, {})
    names = sorted(before.keys() | after.keys())
    changes = [Change(name=n, before=before.get(n), after=after.get(n)) for n in names]
    _show(session, [change for change in changes if change.before != change.after])


@command("lock", "plugreg lock\nplugreg lock requirements/pylock.toml")
@click.argument("path", required=False, type=click.Path(dir_okay=False))
def lock(session: Session, path: str | None) -> Answer:
    """Write the installed distributions as a pylock.toml (PEP 751)."""
    written = str(_packages(session).lock(path))
    return Answer("files", [{"path": written}], columns=("path",), text=f"{written}\n")


@command("rollback", "plugreg rollback\nplugreg rollback 3 --yes")
@click.argument("generation", required=False, type=int)
@consent_option
def rollback(session: Session, generation: int | None) -> Answer:
    """Have an earlier generation of the installed distributions serve again."""
    packages = _packages(session)
    number = packages.previous() if generation is None else generation
    if number is not None:
        there = {found.number: found.distributions for found in packages.generations()}
        _show_difference(session, packages, there.get(number, {}))
    shown = "the generation before" if number is None else f"generation {number}"
    session.confirm(f"Go back to {shown}?")
    packages.rollback(number, actor=session.actor)
    return _generations(packages)


@command("generations", "plugreg generations --json")
def generations(session: Session) -> Answer:
    """List the generations of the installed distributions that are there."""
    return _generations(_packages(session))


def _generations(packages: Packages) -> Answer:
    names = ("number", "serving", "created", "plugins", "distributions")
    return Answer.of("generations", packages.generations(), names, empty="nothing is installed")


@command("outdated", "plugreg outdated\nplugreg outdated --no-ask --json")
@click.option("--no-ask", is_flag=True, help="Show the last answer of the index, without asking.")
def outdated(session: Session, *, no_ask: bool) -> Answer:
    """Ask the index for later releases of the installed distributions."""
    names = ("distribution", "installed", "latest", "yanked")
    rows = [
        {**fields_of(found, *names, "asked"), "plugins": list(found.slugs)}
        for found in _packages(session).outdated(ask=not no_ask)
    ]
    return Answer("outdated", rows, columns=(*names, "plugins"), empty="everything is up to date")


@command("audit", "plugreg audit --limit 20")
@click.option("--limit", type=click.IntRange(min=0), help="Only so many of the latest.")
def audit(session: Session, *, limit: int | None) -> Answer:
    """List installations and removals, with actor and result."""
    from plugreg.install.audit import Audit

    names = ("when", "actor", "action", "requirement", "outcome")
    rows = [
        {**fields_of(entry, *names, "reasons", "seconds"), "changes": [*map(_row, entry.changes)]}
        for entry in Audit(session.registry.storage).entries(limit)
    ]
    return Answer("audit", rows, columns=names, empty="nothing was recorded")
