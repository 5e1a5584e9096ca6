"""Make an environment what a plugins file, or a lock, says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from plugreg.exceptions import InstallError
from plugreg.install import pylock
from plugreg.install.attempt import Attempt
from plugreg.install.changes import Changer, Next
from plugreg.install.distributions import Distribution
from plugreg.install.file_checks import is_same_version
from plugreg.install.installer import Progress
from plugreg.install.plan import InstallPlan, Refusal, Target
from plugreg.install.plugins_file import PluginLine
from plugreg.install.reports import InstallReport
from plugreg.install.requirements import parse_target
from plugreg.install.staging import accepts, digest, removals


class Syncing:
    """One synchronization.

    Args:
        changer: Makes the changes.
        actor: Person or process that asks for it.
        progress: Receives each line of the installer's output.
    """

    def __init__(self, changer: Changer, actor: str | None, progress: Progress | None) -> None:
        self._changer = changer
        self._actor = actor
        self._progress = progress

    def lines(self, lines: Sequence[PluginLine]) -> tuple[InstallReport, ...]:
        """Install what lines ask for and is not there: all at once, or else one by one."""
        reports: dict[str, InstallReport] = {}
        targets = {line.name: parse_target(line.text) for line in lines}
        waiting: Mapping[str, Target] = {}
        try:
            reports |= self._install(targets, targets)
        except InstallError as error:
            _require_failed(error)
            waiting = targets
        while waiting:
            # What one of them has changed may be what another one waits for.
            failed = {}
            for name, target in waiting.items():
                try:
                    reports |= self._install({name: target}, targets)
                except InstallError as error:
                    _require_failed(error)
                    failed[name] = target
                    reports[name] = error.report or _failed(name, error.reasons)
            waiting = failed if len(failed) < len(waiting) else {}
        return tuple(reports[line.name] for line in lines if line.name in reports)

    def locked(self, path: Path) -> InstallReport:
        """Install exactly what a lock has, but for what the host has."""
        lock = pylock.load(path)
        attempt = self._attempt(str(path))
        with self._changer.changing(attempt) as change:
            host, content = self._changer.stager.host(), change.content
            wanted = {pin.name: pin for pin in lock.pins if pin.name not in host}
            pins = tuple(pin for pin in wanted.values() if pin not in content.lock.pins)
            removed = frozenset(content.distributions.keys() - wanted.keys())
            others = [
                f"the host has {pin.name} {host[pin.name].version}, the lock has {pin.version}"
                for pin in lock.pins
                if pin.name in host and not is_same_version(host[pin.name].version, pin.version)
            ]
            plan = InstallPlan(
                target=Target(text="", shown=str(path), name=None),
                distribution=None,
                refusals=(
                    *(Refusal(rule="environment", reason=reason) for reason in others),
                    *self._changer.stager.forbidden(pins),
                ),
                environment=digest(host, content),
            )
            if plan.allowed and pins:
                self._changer.stager.fetch(pins, change.folder, attempt.add_line)
                plan, pins, specs = self._changer.stager.judge(
                    plan, pins, content, change.folder, removed=removed, is_synced=True
                )
            else:
                specs = ()
            changes = (*plan.changes, *removals(content, removed))
            attempt.take_plan(replace(plan, changes=changes))
            every = {name: f"{name}=={pin.version}" for name, pin in wanted.items()}
            asked = {name: line for name, line in lock.asked.items() if name in wanted} or every
            if not (pins or removed) and asked == content.lock.asked:
                return self._changer.report(plan, content, attempt)
            following = Next(asked, pins, specs, removed)
            return self._changer.install(change, following, keep_broken=False)

    # -- the parts ---------------------------------------------------------------------------

    def _attempt(self, requirement: str) -> Attempt:
        return Attempt(
            action="sync", requirement=requirement, actor=self._actor, progress=self._progress
        )

    def _install(
        self, targets: Mapping[str, Target], listed: Mapping[str, Target]
    ) -> dict[str, InstallReport]:
        """Install some of the listed targets at once; return a report for each that was missing."""
        stager = self._changer.stager
        there = {**self._changer.content().distributions, **stager.host()}
        if all(name in there and _suits(targets[name], there[name]) for name in targets):
            return {}
        attempt = self._attempt(", ".join(target.shown for target in targets.values()))
        with self._changer.changing(attempt) as change:
            content, host = change.content, stager.host()
            there = {**content.distributions, **host}
            lines = {name: target.line or name for name, target in listed.items()}
            before = content.lock.asked
            missing = {
                name: target
                for name, target in targets.items()
                if name not in there
                or not (lines[name] == before.get(name) or _suits(target, there[name]))
            }
            if not missing:
                return {}
            ranges = {name: _range(line) for name, line in lines.items() if name not in missing}
            staged = stager.stage(
                list(missing.values()),
                content,
                change.folder,
                attempt.add_line,
                ranges=ranges,
            )
            attempt.take_plan(staged.plan)
            asked = {**before, **{name: lines[name] for name in missing if name not in host}}
            if not staged.pins and asked == before:
                return {}
            following = Next(asked, staged.pins, staged.specs)
            report = self._changer.install(change, following, keep_broken=False)
        return self._split(report, missing)

    def _split(self, report: InstallReport, names: Iterable[str]) -> dict[str, InstallReport]:
        """Return the report of a change for each distribution of several that were asked for."""
        content = self._changer.content()
        specs = self._changer.stager.plugins(content.folder)
        there = {**content.distributions, **self._changer.stager.host()}
        return {
            name: replace(
                report,
                distribution=name,
                version=there[name].version,
                location=str(there[name].folder),
                plugins=tuple(spec.slug for spec in specs if spec.distribution == name),
            )
            for name in names
        }


def _require_failed(error: InstallError) -> None:
    """Raise the error again if a distribution was installed, and only not taken in."""
    if error.report is not None and error.report.success:
        raise error


def _failed(name: str, reasons: tuple[str, ...]) -> InstallReport:
    return InstallReport(
        distribution=name, success=False, reasons=reasons, output="\n".join(reasons)
    )


def _suits(target: Target, found: Distribution) -> bool:
    """Return whether a distribution is what a target asks for; extras and URLs are not known."""
    from packaging.requirements import Requirement

    asked = Requirement(target.text)
    return target.url is None and not asked.extras and accepts(asked, found.version)


def _range(line: str) -> str:
    """Return name and specifier of a requirement, "" if it has a URL or takes any version."""
    from packaging.requirements import Requirement

    asked = Requirement(line)
    return f"{asked.name}{asked.specifier}" if asked.specifier and not asked.url else ""
