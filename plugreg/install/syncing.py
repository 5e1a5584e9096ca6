"""Bring an environment in line with a plugins file or a lock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from plugreg.exceptions import InstallError
from plugreg.install import pylock
from plugreg.install.changes import Attempt, Changer
from plugreg.install.file_checks import is_same_version
from plugreg.install.installer import Progress
from plugreg.install.plan import InstallPlan, InstallReport, Refusal, Target
from plugreg.install.requirements import parse_target
from plugreg.install.staging import Staged, suits


def sync_lines(
    changer: Changer, lines: Mapping[str, str], actor: str | None, progress: Progress | None
) -> tuple[InstallReport, ...]:
    """Install the missing distributions of requirements: all at once, or one by one."""
    targets = {name: parse_target(text) for name, text in lines.items()}
    reports: dict[str, InstallReport] = {}
    # A change by one of them may be what another needs.
    rounds: list[list[Mapping[str, Target]]] = [[targets]]
    for some_at_once in rounds:
        failed: list[Mapping[str, Target]] = []
        for some in some_at_once:
            attempt = Attempt(
                action="sync",
                requirement=", ".join(target.shown for target in some.values()),
                actor=actor,
                progress=progress,
            )
            try:
                reports |= _sync_some(changer, attempt, some, targets)
            except InstallError as error:
                if error.report is not None and error.report.success:
                    raise  # It was installed, and only not taken in.
                failed.append(some)
                for name in some if len(rounds) > 1 else ():
                    reports[name] = error.report or InstallReport(
                        distribution=name,
                        success=False,
                        reasons=error.reasons,
                        output="\n".join(error.reasons),
                    )
        if failed and len(rounds) == 1:
            rounds.append([{name: target} for name, target in targets.items()])
        elif 0 < len(failed) < len(some_at_once):
            rounds.append(failed)
    return tuple(reports[name] for name in lines if name in reports)


def _sync_some(
    changer: Changer, attempt: Attempt, some: Mapping[str, Target], listed: Mapping[str, Target]
) -> dict[str, InstallReport]:
    """Install some of the listed targets at once; return a report for each that was missing."""
    stager = changer.stager
    there = {**changer.content().distributions, **stager.host()}
    if all(name in there and suits(target, there[name]) for name, target in some.items()):
        return {}
    lines = {name: target.line or name for name, target in listed.items()}
    with changer.changing(attempt) as content:
        host, before = stager.host(), content.lock.asked
        there = {**content.distributions, **host}
        missing = {
            name: target
            for name, target in some.items()
            if name not in there
            or not (lines[name] == before.get(name) or suits(target, there[name]))
        }
        if not missing:
            return {}
        others = {name: line for name, line in lines.items() if name not in missing}
        staged = stager.stage(
            list(missing.values()), content, attempt.folder, attempt.add_line, listed=others
        )
        asked = {**before, **{name: lines[name] for name in missing if name not in host}}
        is_same = staged.plan.allowed and not staged.pins and asked == before
        report = changer.install(attempt, staged, asked)
    there = {**changer.content().distributions, **stager.host()}
    specs = (*stager.plugins(changer.content().folder), *stager.plugins())
    return {
        name: replace(
            report,
            distribution=name,
            version=there[name].version,
            location=str(there[name].folder),
            plugins=tuple(dict.fromkeys(s.slug for s in specs if s.distribution == name)),
        )
        for name in (() if is_same else missing)
    }


def sync_locked(
    changer: Changer, path: Path, actor: str | None, progress: Progress | None
) -> InstallReport:
    """Install exactly the distributions of a lock, except those of the host."""
    lock = pylock.load(path)
    attempt = Attempt(action="sync", requirement=str(path), actor=actor, progress=progress)
    stager = changer.stager
    with changer.changing(attempt) as content:
        host = stager.host()
        wanted = {pin.name: pin for pin in lock.pins if pin.name not in host}
        pins = tuple(pin for pin in wanted.values() if pin not in content.lock.pins)
        removed = frozenset(content.distributions.keys() - wanted.keys())
        others = [
            f"the host has {pin.name} {host[pin.name].version}, the lock has {pin.version}"
            for pin in lock.pins
            if pin.name in host and not is_same_version(host[pin.name].version, pin.version)
        ]
        refusals = (Refusal(rule="environment", reason=reason) for reason in others)
        plan = InstallPlan(
            target=Target(text="", shown=str(path), name=None),
            distribution=None,
            refusals=(*refusals, *stager.forbidden(pins)),
            environment=stager.digest(content),
        )
        staged = Staged(plan)
        if plan.allowed and pins:
            stager.installer.stage(pins, attempt.folder, progress=attempt.add_line)
            staged = stager.judge(
                plan, pins, content, attempt.folder, removed=removed, is_synced=True
            )
        changes = (*staged.plan.changes, *content.removals(removed))
        every = {name: f"{name}=={pin.version}" for name, pin in wanted.items()}
        asked = {name: line for name, line in lock.asked.items() if name in wanted} or every
        staged = staged._replace(plan=replace(staged.plan, changes=changes))
        return changer.install(attempt, staged, asked, removed)
