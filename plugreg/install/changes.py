"""Changes of an environment: the next generation is built separately, and swapped in."""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

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
from plugreg.install.distributions import distributions, required
from plugreg.install.exceptions import InstallRefusedError
from plugreg.install.generations import Current, Generations, carry_over
from plugreg.install.plan import (
    Change,
    Generation,
    InstallPlan,
    InstallReport,
    Lock,
    UninstallReport,
)
from plugreg.install.plugins_file import PluginsFile
from plugreg.install.staging import Content, InstallContext, Staged, Stager
from plugreg.records import LOAD_STAGES, PluginFailure, PluginSpec, Source, Stage
from plugreg.storage.file.storefile import flush_folder

if TYPE_CHECKING:
    from plugreg.install.installer import Progress

_logger = logging.getLogger("plugreg")

_KEPT: Final = 2_000
"""Number of last lines of an installer's output that are kept for reports."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """State of an attempt. The audit records it before the swap, and at its end.

    ``outcome`` is that of an error which is raised now. While the change is under way, ``folder``
    is empty, for the next generation, and ``content`` is that of the ``current`` generation.
    """

    action: Action
    requirement: str
    actor: str | None
    progress: Progress | None = None
    plan: InstallPlan | None = None
    distribution: str | None = None
    changes: tuple[Change, ...] = ()
    outcome: AuditOutcome = "failed"
    is_begun: bool = False
    is_made: bool = False
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT))
    folder: Path = field(init=False)
    current: Current = field(init=False)
    content: Content = field(init=False)
    _id: str = field(default_factory=lambda: secrets.token_hex(8))
    _is_deaf: bool = False
    _when: datetime = field(default_factory=lambda: datetime.now(UTC))
    _started: float = field(default_factory=monotonic)

    def __post_init__(self) -> None:
        check_actor(self.actor)

    def take_plan(self, plan: InstallPlan) -> None:
        """Note the plan, and raise InstallRefusedError if it has refusals."""
        self.plan, self.distribution, self.changes = plan, plan.distribution, plan.changes
        if not plan.allowed:
            raise InstallRefusedError(plan)

    def add_line(self, line: str) -> None:
        """Keep a line of the installer's output, and pass it to the host's callback.

        An exception of the callback does not reach the installer; the first is logged.
        """
        self.lines.append(line)
        with Guard() as guard:
            if self.progress is not None:
                self.progress(line)
        if guard.error is not None and not self._is_deaf:
            self._is_deaf = True
            message = explain(guard.error).message
            _logger.warning("progress of %r could not be shown: %s", self.requirement, message)

    @contextmanager
    def recorded(self, audit: Audit) -> Iterator[None]:
        """Record the result of the ``with`` block, and add a report to its InstallError."""
        caught: BaseException | None = None
        try:
            yield
        except BaseException as error:
            caught = error
            if isinstance(error, InstallError) and error.report is None and self.plan is not None:
                error.report = InstallReport(
                    plan=self.plan,
                    distribution=self.distribution or "",
                    success=False,
                    reasons=error.reasons,
                    output="\n".join(self.lines or error.reasons),
                )
            raise
        finally:
            try:
                audit.put(self.entry(caught))
            except StorageError as fault:
                # The change has happened already, so an unavailable store is only logged.
                message = explain(fault).message
                _logger.warning("the audit lacks the end of %r: %s", self.requirement, message)

    def entry(self, error: BaseException | None = None) -> AuditEntry:
        """Return the entry for the audit as of now, and of the error that ended the attempt."""
        outcome = self.outcome
        if isinstance(error, InstallRefusedError):
            outcome = "refused"
        elif error is None or self.is_made:
            outcome = "begun" if self.is_begun and not self.is_made else "done"
        # The message of another exception may contain anything.
        reasons = () if error is None else (type(error).__qualname__,)
        return AuditEntry(
            when=self._when,
            actor=self.actor,
            action=self.action,
            requirement=self.requirement,
            distribution=self.distribution,
            changes=self.changes,
            outcome=outcome,
            reasons=error.reasons if isinstance(error, InstallError) else reasons,
            seconds=monotonic() - self._started,
            id=self._id,
        )


class Changer:
    """Makes changes of an environment, one at a time, and reloads the registry.

    Args:
        context: The parts of the host.
        isolated: Slug of the plugin whose own environment it is, None for the shared one.
    """

    def __init__(self, context: InstallContext, isolated: str | None = None) -> None:
        installer, shared = context.installer, context.installer.environment
        self._context = context
        self._audit = Audit(context.storage)
        self.generations = Generations(
            shared if isolated is None else shared / "isolated" / isolated,
            keep=installer.keep,
            lock_timeout=installer.lock_timeout,
        )
        self.stager = Stager(context, isolate=isolated is not None)
        path = installer.plugins_file if isolated is None else None
        self.plugins_file = None if path is None else PluginsFile(path)

    def content(self, number: int | None = None, *, is_rescue: bool = False) -> Content:
        """Return the content of a generation, by default the current; 0 is empty.

        Raises InstallError if its lock cannot be read; for a rescue the lock is empty then.
        """
        if number is None:
            number = self.generations.current().number
        folder, lock = self.generations.folder(number), Lock()
        try:
            if number:
                lock = pylock.load(self.generations.lock_file(number), require_hashes=False)
        except InstallError:
            if not is_rescue:
                raise
        return Content(folder, distributions(folder), lock)

    def generation(self, number: int) -> Generation:
        """Return the record of a generation; 0 is empty."""
        content = self.content(number, is_rescue=True)
        return Generation(
            number=number,
            created=content.lock.created,
            distributions=MappingProxyType(content.versions),
            plugins=tuple(sorted(spec.slug for spec in self.stager.plugins(content.folder))),
            serving=number == self.generations.current().number,
        )

    @contextmanager
    def changing(self, attempt: Attempt, *, is_rescue: bool = False) -> Iterator[Content]:
        """Enclose a change: other changes wait, and its result is recorded.

        A rescue is made even if the lock of the serving generation cannot be read.
        """
        with (
            attempt.recorded(self._audit),
            self.generations.changing() as attempt.current,
            self.generations.staging() as attempt.folder,
        ):
            attempt.content = self.content(attempt.current.number, is_rescue=is_rescue)
            yield attempt.content
            if attempt.is_made:
                self.generations.retire(self.generations.current())

    def install(
        self,
        attempt: Attempt,
        staged: Staged,
        asked: Mapping[str, str],
        removed: frozenset[str] = frozenset(),
        *,
        keep_broken: bool = False,
    ) -> InstallReport:
        """Make a generation serve that has something new, and return the report."""
        before, old = attempt.current.number, attempt.content.lock.asked
        attempt.take_plan(staged.plan)
        if not (staged.pins or removed) and asked == old:
            return self._report(staged.plan, attempt.content, attempt)
        serving = self._serving(removed)
        self.publish(attempt, staged, asked, removed, is_probed=not keep_broken)
        report = self._report(staged.plan, self.content(attempt.current.number), attempt)
        with taking_in(f"{report.distribution!r} was installed", report):
            self._context.rediscover()
            failure = None if keep_broken else self._failure(serving)
        if failure is not None:
            self.swap(attempt, before, old, asked)
            attempt.outcome, attempt.is_made = "rolled back", False
            # If it cannot, it follows with the next refresh.
            with suppress(PlugregError):
                self._context.rediscover()
            raise _rolled_back(report, failure)
        for spec in staged.specs:
            fields = {"distribution": spec.distribution, "version": spec.version}
            self._context.notify("plugin_installed", slug=spec.slug, **fields)
        return report

    def publish(
        self,
        attempt: Attempt,
        staged: Staged,
        asked: Mapping[str, str],
        removed: frozenset[str],
        *,
        is_probed: bool = False,
    ) -> None:
        """Complete the next generation, probe its new plugins, and swap it in."""
        content, folder = attempt.content, attempt.folder
        leaving = removed | {pin.name for pin in staged.pins}
        with disk_errors(f"{str(folder)!r} cannot be filled"):
            for found in content.distributions.values():
                if found.name not in leaving:
                    carry_over(found, folder)
        for spec in (*staged.specs, *self._affected(attempt, leaving)) if is_probed else ():
            fault = self._context.probe(spec, self.stager.path(folder))
            if fault is not None:
                attempt.outcome = "refused"
                reason = f"the plugin {spec.slug!r} cannot be loaded ({fault}); nothing was "
                reason += "installed: ask for another version, or install with keep_broken=True"
                raise InstallError([reason])
        kept = [pin for pin in content.lock.pins if pin.name not in leaving]
        lock = Lock(
            pins=tuple(sorted((*kept, *staged.pins), key=lambda pin: pin.name)),
            asked=asked,
            created=datetime.now(UTC).replace(microsecond=0),
        )
        self._begin(attempt)
        number = self.generations.publish(folder, pylock.dumps(lock), attempt.current)
        self.content(number)  # A generation that cannot be read must not serve.
        self.swap(attempt, number, asked, content.lock.asked)

    def swap(
        self, attempt: Attempt, number: int, asked: Mapping[str, str], before: Mapping[str, str]
    ) -> None:
        """Make a generation current, and update the plugins file.

        The audit has an entry before anything serves. A process that dies after the plugins file
        was written leaves lines that the next synchronization carries out.
        """
        self._begin(attempt)
        file = None if attempt.action == "sync" else self.plugins_file
        try:
            if file is not None:
                file.update(before, asked)
            attempt.current = self.generations.swap(number, attempt.current)
        except BaseException:
            with suppress(InstallError):
                if file is not None:
                    file.update(asked, before)
            raise
        attempt.is_made = True

    def remove(self, attempt: Attempt, environment: Path) -> None:
        """Remove the whole environment of an isolated plugin."""
        self._begin(attempt)
        with disk_errors(f"{str(environment)!r} cannot be removed"):
            environment.rename(attempt.folder / environment.name)
            flush_folder(environment.parent)
        attempt.is_made = True

    # -- the parts ---------------------------------------------------------------------------

    def _report(self, plan: InstallPlan, content: Content, attempt: Attempt) -> InstallReport:
        """Return the report of a plan: installed plugins, or plugins that were there already."""
        name = plan.distribution or ""
        names = {name, *(change.name for change in plan.changes)}
        is_there = name in content.distributions
        found = content.distributions.get(name) or self.stager.host().get(name)
        specs = self.stager.plugins(content.folder if is_there else None)
        return InstallReport(
            plan=plan,
            distribution=name,
            version=found.version if found else "",
            location=str(found.folder) if found else "",
            plugins=tuple(spec.slug for spec in specs if spec.distribution in names),
            output="\n".join(attempt.lines),
            success=True,
        )

    def _begin(self, attempt: Attempt) -> None:
        """Have the audit record an attempt before anything is changed."""
        if not attempt.is_begun:
            attempt.is_begun = True
            self._audit.put(attempt.entry())

    def _serving(self, removed: frozenset[str]) -> tuple[Slug, ...]:
        """Return the installed plugins that are in service and are not to go."""
        with suppress(RegistryNotReady):
            return tuple(
                plugin.slug
                for plugin in self._context.catalogue.select().plugins
                if plugin.loaded is not None
                and plugin.spec is not None
                and plugin.spec.source is Source.ENTRY_POINT
                and plugin.distribution not in removed
            )
        return ()

    def _affected(self, attempt: Attempt, leaving: frozenset[str]) -> Iterator[PluginSpec]:
        """Yield unchanged plugins in service whose dependencies change."""
        there = attempt.content.distributions
        names, affected = set(leaving & there.keys()), set[str]()
        while names:
            affected |= names
            names = {
                found.name
                for found in there.values()
                if found.name not in leaving | affected
                and any(canonical(needed.name) in names for needed in required(found, extras=True))
            }
        serving = self._serving(leaving) if affected else ()
        for spec in self.stager.plugins(attempt.folder) if serving else ():
            if spec.slug in serving and spec.distribution in affected:
                yield spec

    def _failure(self, serving: tuple[Slug, ...]) -> PluginFailure | None:
        """Return the failure of the first of these plugins that is wanted, and not in service."""
        for slug in serving:
            try:
                record = self._context.catalogue.record(slug)
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
