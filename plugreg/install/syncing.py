"""Bring an environment in line with a plugins file or a lock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from plugreg.exceptions import InstallError
from plugreg.install import pylock
from plugreg.install.changes import Attempt
from plugreg.install.environment import Content, PackageEnvironment, suits
from plugreg.install.file_checks import is_same_version
from plugreg.install.installer import Progress
from plugreg.install.plan import Change, InstallPlan, InstallReport, Refusal, Target
from plugreg.install.requirements import parse_target


def sync_lines(
    environment: PackageEnvironment,
    lines: Mapping[str, str],
    actor: str | None,
    progress: Progress | None,
) -> tuple[InstallReport, ...]:
    """Install the missing distributions of requirements: all at once, or one by one."""
    targets = {name: parse_target(text) for name, text in lines.items()}
    reports: dict[str, InstallReport] = {}

    def is_synced(names: Iterable[str]) -> bool:
        some = {name: targets[name] for name in names}
        shown = ", ".join(target.shown for target in some.values())
        attempt = Attempt("sync", shown, actor, progress=progress)
        try:
            reports.update(_sync_some(environment, attempt, some, targets))
        except InstallError as error:
            if error.report is not None and error.report.success:
                raise  # It was installed, and only not taken in.
            for name in some:
                reports[name] = error.report or InstallReport(
                    distribution=name,
                    success=False,
                    reasons=error.reasons,
                    output="\n".join(error.reasons),
                )
            return False
        return True

    if not is_synced(targets):
        reports.clear()
        failed = list(targets)
        # A change by one of them may be what another needs.
        while waiting := failed:
            failed = [name for name in waiting if not is_synced([name])]
            if failed == waiting:
                break
    return tuple(reports[name] for name in lines if name in reports)


def _sync_some(
    environment: PackageEnvironment,
    attempt: Attempt,
    some: Mapping[str, Target],
    listed: Mapping[str, Target],
) -> dict[str, InstallReport]:
    """Install some of the listed targets at once; return a report for each that was missing."""
    lines = {name: target.line or name for name, target in listed.items()}

    def missing_in(content: Content) -> dict[str, Target]:
        there = {**content.distributions, **environment.host()}
        same = lines.items() & content.lock.asked.items()
        return {
            name: target
            for name, target in some.items()
            if name not in there or not ((name, lines[name]) in same or suits(target, there[name]))
        }

    if not missing_in(environment.content()):
        return {}
    with attempt.changing(environment) as content:
        missing, before = missing_in(content), content.lock.asked
        if not missing:
            return {}
        others = {name: line for name, line in lines.items() if name not in missing}
        plan = environment.resolve(
            list(missing.values()), content, attempt.folder, attempt.add_line, listed=others
        )
        own = missing.keys() - environment.host().keys()
        asked = {**before, **{name: lines[name] for name in own}}
        attempt.install(plan, asked)
        is_same = not plan.changes and asked == before
        return {name: attempt.report(plan, name) for name in (() if is_same else missing)}


def sync_locked(
    environment: PackageEnvironment, path: Path, actor: str | None, progress: Progress | None
) -> InstallReport:
    """Install exactly the distributions of a lock, except those of the host."""
    lock = pylock.load(path)
    attempt = Attempt("sync", str(path), actor, progress=progress)
    with attempt.changing(environment) as content:
        host = environment.host()
        wanted = {pin.name: pin for pin in lock.pins if pin.name not in host}
        others = [
            f"the host has {pin.name} {host[pin.name].version}, the lock has {pin.version}"
            for pin in lock.pins
            if pin.name in host and not is_same_version(host[pin.name].version, pin.version)
        ]
        plan = InstallPlan(
            target=Target(text="", shown=str(path), name=None),
            distribution=None,
            changes=(
                *(Change.of(pin) for pin in wanted.values() if pin not in content.lock.pins),
                *content.removals(content.distributions.keys() - wanted.keys()),
            ),
            refusals=tuple(Refusal(rule="environment", reason=reason) for reason in others),
            environment=environment.digest(content),
        )
        plan = environment.fetch(plan, content, attempt.folder, attempt.add_line, is_synced=True)
        every = {name: f"{name}=={pin.version}" for name, pin in wanted.items()}
        asked = {name: line for name, line in lock.asked.items() if name in wanted} or every
        return attempt.install(plan, asked)
