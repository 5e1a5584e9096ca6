"""Bring an environment in line with a plugins file or a lock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from plugreg.exceptions import InstallError
from plugreg.install import pylock
from plugreg.install.changes import Attempt
from plugreg.install.environment import PackageEnvironment, suits
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
    listed = {name: target.line or name for name, target in targets.items()}
    reports: dict[str, InstallReport] = {}

    def missing(names: Iterable[str]) -> list[str]:
        content = environment.content()
        there = {**content.distributions, **environment.host()}
        same = {name for name, line in content.lock.asked.items() if line == listed.get(name)}
        return [
            name
            for name in names
            if name not in there or not (name in same or suits(targets[name], there[name]))
        ]

    def is_synced(names: Iterable[str]) -> bool:
        shown = ", ".join(targets[name].shown for name in names)
        attempt = Attempt("sync", shown, actor, progress=progress)
        try:
            if missing(names):
                with attempt.changing(environment):
                    some = [targets[name] for name in missing(names)]
                    reports.update(_install(attempt, some, listed) if some else {})
        except InstallError as error:
            if error.report is not None and error.report.success:
                raise  # It was installed, and only not taken in.
            for name in names:
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


def _install(
    attempt: Attempt, targets: Sequence[Target], listed: Mapping[str, str]
) -> dict[str, InstallReport]:
    """Install some of the listed targets at once; return a report for each of them, if any came."""
    environment, before = attempt.environment, attempt.content.lock.asked
    names = [target.name or "" for target in targets]
    others = {name: line for name, line in listed.items() if name not in names}
    plan = environment.resolve(
        targets, attempt.content, attempt.folder, attempt.add_line, listed=others
    )
    host = environment.host()
    asked = {**before, **{name: listed[name] for name in names if name not in host}}
    attempt.install(plan, asked)
    is_same = not plan.changes and asked == before
    return {} if is_same else {name: attempt.report(plan, name) for name in names}


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
