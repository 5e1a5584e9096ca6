"""Changes of an environment: the next generation is built separately, and swapped in."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from plugreg._support.guard import Guard, explain
from plugreg._support.slugs import Slug, canonical
from plugreg.exceptions import (
    InstallError,
    PluginNotFoundError,
    PlugregError,
    RegistryNotReady,
    RequirementError,
    StorageError,
)
from plugreg.install import pylock
from plugreg.install.audit import Action, Audit, AuditEntry, AuditOutcome
from plugreg.install.disk import disk_errors
from plugreg.install.distributions import required
from plugreg.install.environment import Content, PackageEnvironment
from plugreg.install.exceptions import InstallRefusedError
from plugreg.install.generations import Current, carry_over
from plugreg.install.plan import InstallPlan, InstallReport, Lock, UninstallReport
from plugreg.records import LOAD_STAGES, PluginFailure, PluginSpec, Source, Stage
from plugreg.storage.file.storefile import flush_folder

if TYPE_CHECKING:
    from plugreg.install.installer import Progress

_logger = logging.getLogger("plugreg")

_KEPT: Final = 2_000
"""Number of last lines of an installer's output that are kept for reports."""


class Attempt:
    """An attempt to change an environment. The audit records it before the swap, and at its end.

    While the change is under way, ``folder`` is empty, for the next generation, and ``content`` is
    that of the ``current`` generation. ``plan`` is what it changes, once that is known. ``outcome``
    is that of an error which is raised now.
    """

    environment: PackageEnvironment
    folder: Path
    current: Current
    content: Content

    def __init__(
        self,
        action: Action,
        requirement: str,
        actor: str | None,
        *,
        progress: Progress | None = None,
        distribution: str | None = None,
    ) -> None:
        check_actor(actor)
        self.plan: InstallPlan | None = None
        self.outcome: AuditOutcome = "failed"
        self._lines: deque[str] = deque(maxlen=_KEPT)
        self._progress = progress
        self._started = monotonic()
        self._is_begun = self._is_deaf = False
        self._entry = AuditEntry(
            when=datetime.now(UTC),
            actor=actor,
            action=action,
            requirement=requirement,
            distribution=distribution,
            outcome="begun",
            seconds=0.0,
        )

    def add_line(self, line: str) -> None:
        """Keep a line of the installer's output, and pass it to the host's callback.

        An exception of the callback does not reach the installer; the first is logged.
        """
        self._lines.append(line)
        with Guard() as guard:
            if self._progress is not None:
                self._progress(line)
        if guard.error is not None and not self._is_deaf:
            self._is_deaf = True
            message = explain(guard.error).message
            asked = self._entry.requirement
            _logger.warning("progress of %r could not be shown: %s", asked, message)

    @contextmanager
    def changing(
        self, environment: PackageEnvironment, *, is_rescue: bool = False
    ) -> Iterator[Content]:
        """Enclose the change: other changes wait, and its result is recorded.

        A rescue is made even if the lock of the serving generation cannot be read.
        """
        generations = environment.generations
        with (
            self._recorded(Audit(environment.context.storage)),
            generations.changing() as (self.current, self.folder),
        ):
            self.environment = environment
            self.content = environment.content(self.current.number, is_rescue=is_rescue)
            yield self.content
            generations.retire(generations.current())

    def install(
        self, plan: InstallPlan, asked: Mapping[str, str], *, keep_broken: bool = False
    ) -> InstallReport:
        """Make a generation serve in which a staged plan is carried out, and return the report."""
        self.plan, self._entry = plan, replace(self._entry, distribution=plan.distribution)
        if not plan.allowed:
            raise InstallRefusedError(plan)
        if not plan.changes and asked == self.content.lock.asked:
            return self.report(plan)
        context, before = self.environment.context, self.current.number
        specs = self.environment.plugins(self.folder)
        removed = {change.name for change in plan.changes if change.after is None}
        serving = [spec.slug for spec in self._serving() if spec.distribution not in removed]
        self.publish(plan, asked, None if keep_broken else specs)
        report = self.report(plan)
        with taking_in(f"{report.distribution!r} was installed", report):
            context.rediscover()
            failure = None if keep_broken else self._failure(serving)
        if failure is not None:
            self.swap(before)
            self.outcome = "rolled back"
            # If it cannot, it follows with the next refresh.
            with suppress(PlugregError):
                context.rediscover()
            raise _rolled_back(report, failure)
        for spec in specs:
            fields = {"distribution": spec.distribution, "version": spec.version}
            context.notify("plugin_installed", slug=spec.slug, **fields)
        return report

    def publish(
        self,
        plan: InstallPlan,
        asked: Mapping[str, str],
        probed: Sequence[PluginSpec] | None = None,
    ) -> None:
        """Complete the next generation, and swap it in.

        Plugins to probe are loaded in a child process first, with those that depend on the plan.
        """
        content, folder, environment = self.content, self.folder, self.environment
        leaving = {change.name for change in plan.changes}
        with disk_errors(f"{str(folder)!r} cannot be filled"):
            for found in content.distributions.values():
                if found.name not in leaving:
                    carry_over(found, folder)
        for spec in () if probed is None else (*probed, *self._affected(leaving)):
            fault = environment.context.probe(spec, environment.path(folder))
            if fault is not None:
                self.outcome = "refused"
                reason = f"the plugin {spec.slug!r} cannot be loaded ({fault}); nothing was "
                reason += "installed: ask for another version, or install with keep_broken=True"
                raise InstallError([reason])
        kept = [pin for pin in content.lock.pins if pin.name not in leaving]
        lock = Lock(
            pins=tuple(sorted((*kept, *plan.pins), key=lambda pin: pin.name)),
            asked=asked,
            created=datetime.now(UTC).replace(microsecond=0),
        )
        self._begin()
        self.swap(environment.generations.publish(folder, pylock.dumps(lock), self.current))

    def swap(self, number: int) -> None:
        """Make a generation current, and update the plugins file.

        The audit has an entry before anything serves. A process that dies after the plugins file
        was written leaves lines that the next synchronization carries out.
        """
        # A generation that cannot be read must not serve.
        content = self.environment.content(number)
        before, asked = self.content.lock.asked, content.lock.asked
        self._begin()
        file = None if self._entry.action == "sync" else self.environment.plugins_file
        try:
            if file is not None:
                file.update(before, asked)
            self.current = self.environment.generations.swap(number, self.current)
        except BaseException:
            with suppress(InstallError):
                if file is not None:
                    file.update(asked, before)
            raise
        self.content, self.outcome = content, "done"

    def remove(self, environment: Path) -> None:
        """Remove the whole environment of an isolated plugin."""
        self._begin()
        with disk_errors(f"{str(environment)!r} cannot be removed"):
            environment.rename(self.folder / environment.name)
            flush_folder(environment.parent)
        self.outcome = "done"

    def report(self, plan: InstallPlan, name: str | None = None) -> InstallReport:
        """Return the report of a plan that is carried out, or of one of its distributions."""
        environment, own = self.environment, name or plan.distribution or ""
        names = {own} if name else {own, *(change.name for change in plan.changes)}
        is_there = own in self.content.distributions
        found = self.content.distributions.get(own) or environment.host().get(own)
        specs = environment.plugins(self.content.folder if is_there else None)
        return InstallReport(
            plan=plan,
            distribution=own,
            version=found.version if found else "",
            location=str(found.folder) if found else "",
            plugins=tuple(spec.slug for spec in specs if spec.distribution in names),
            output="\n".join(self._lines),
            success=True,
        )

    # -- the parts ---------------------------------------------------------------------------

    @contextmanager
    def _recorded(self, audit: Audit) -> Iterator[None]:
        """Record the result of the ``with`` block, and add a report to its InstallError."""
        reasons: tuple[str, ...] = ()
        try:
            yield
            self.outcome = "done"
        except BaseException as error:
            # The message of another exception may contain anything.
            reasons = (type(error).__qualname__,)
            if isinstance(error, InstallRefusedError):
                self.outcome = "refused"
            if isinstance(error, InstallError):
                reasons = error.reasons
                if (
                    error.report is None
                    and self.plan is not None
                    and self._entry.action != "uninstall"
                ):
                    error.report = InstallReport(
                        plan=self.plan,
                        distribution=self._entry.distribution or "",
                        success=False,
                        reasons=reasons,
                        output="\n".join(self._lines or reasons),
                    )
            raise
        finally:
            try:
                self._put(audit, outcome=self.outcome, reasons=reasons)
            except StorageError as fault:
                # The change has happened already, so an unavailable store is only logged.
                message = explain(fault).message
                asked = self._entry.requirement
                _logger.warning("the audit lacks the end of %r: %s", asked, message)

    def _begin(self) -> None:
        """Have the audit record the attempt before anything is changed."""
        if not self._is_begun:
            self._is_begun = True
            self._put(Audit(self.environment.context.storage))

    def _put(self, audit: Audit, **result: Any) -> None:
        changes = () if self.plan is None else self.plan.changes
        seconds = monotonic() - self._started
        audit.put(replace(self._entry, changes=changes, seconds=seconds, **result))

    def _serving(self) -> Iterator[PluginSpec]:
        """Yield the installed plugins that are in service."""
        with suppress(RegistryNotReady):
            for plugin in self.environment.context.catalogue.select().plugins:
                spec = None if plugin.loaded is None else plugin.spec
                if spec is not None and spec.source is Source.ENTRY_POINT:
                    yield spec

    def _affected(self, leaving: set[str]) -> Iterator[PluginSpec]:
        """Yield unchanged plugins in service whose dependencies change."""
        there = self.content.distributions
        affected = there.keys() & leaving
        while more := {
            found.name
            for found in there.values()
            if found.name not in affected
            and any(canonical(needed.name) in affected for needed in required(found, extras=True))
        }:
            affected |= more
        names = affected - leaving
        serving = {spec.slug for spec in self._serving()} if names else set[Slug]()
        for spec in self.environment.plugins(self.folder) if serving else ():
            if spec.slug in serving and spec.distribution in names:
                yield spec

    def _failure(self, serving: list[Slug]) -> PluginFailure | None:
        """Return the failure of the first of these plugins that is wanted, and not in service."""
        for slug in serving:
            try:
                record = self.environment.context.catalogue.record(slug)
            except PluginNotFoundError:
                return PluginFailure(stage=Stage.RESOLVE, slug=slug, message="it is gone")
            if record.wanted and not record.active:
                faults = [error for error in record.errors if error.stage in LOAD_STAGES]
                reason = PluginFailure(stage=Stage.RESOLVE, slug=slug, message=record.reason)
                return faults[-1] if faults else reason
        return None


def _rolled_back(report: InstallReport, failure: PluginFailure) -> InstallError:
    reason = f"{failure.slug!r} was in service, and is not with the new generation "
    reasons = (f"{reason}({failure.stage}: {failure.message}): it was rolled back",)
    error = InstallError(reasons)
    failed = replace(report, success=False, version="", location="", reasons=reasons)
    error.report = replace(failed, rolled_back=failure)
    return error


def check_actor(actor: object) -> None:
    """Raise RequirementError for an actor that is neither a string nor None."""
    if actor is not None and not isinstance(actor, str):
        kind = type(actor).__name__
        fault = f"it must be a string or None, not {kind}; write 'user 7'"
        raise RequirementError("actor", fault)


@contextmanager
def taking_in(what: str, report: InstallReport | UninstallReport) -> Iterator[None]:
    """Have a ``with`` block take in a change that is final; if it fails, say that it is.

    Raises InstallError with the report in place of any error of plugreg's, whose own words may name
    which clients need not know.
    """
    try:
        yield
    except PlugregError as error:
        reason = f"{what}, but the registry could not take that in ({type(error).__qualname__}); "
        failure = InstallError([f"{reason}see to that, and call registry.reload(collect=True)"])
        failure.report = report
        raise failure from error
