"""``registry.packages``: distributions come and go, and the registry with them."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from time import monotonic

from plugreg._guard import explain
from plugreg._names import canonical
from plugreg.catalogue import Catalogue
from plugreg.discovery import discover
from plugreg.exceptions import InstallError, RequirementError, StorageError
from plugreg.install.audit import Action, Audit, AuditEntry, AuditOutcome
from plugreg.install.environment import Found, difference
from plugreg.install.exceptions import InstallRefusedError, NotAPluginError
from plugreg.install.installer import Installer, Progress
from plugreg.install.listed import checked, is_satisfied
from plugreg.install.plan import Change, InstallPlan, Refusal
from plugreg.install.plugins_file import PluginsFile
from plugreg.install.removal import (
    listed,
    no_longer_needed,
    require_removable,
    require_unneeded,
)
from plugreg.install.reports import InstallReport, UninstallReport
from plugreg.install.requirements import parse_target
from plugreg.install.safeguard import Interrupted, Safeguard
from plugreg.records import PluginFailure, PluginRecord, Stage
from plugreg.storage import Storage

_logger = logging.getLogger("plugreg")


class Packages:
    """Installs and uninstalls with the host's installer, and lets the registry see the change.

    One change of the environment is made at a time, over all processes that use it. Where one
    fails, or changes something that was not planned, the environment is put back as it was from
    copies of its files; where its process dies, :attr:`interrupted` tells the next one, and
    :meth:`recover`, or the next installation, does it.

    ``group`` is the entry-point group of the registry's plugins; ``protected`` are distributions
    that are never removed. ``rediscover`` reloads with a new look at the sources, and imports all
    code anew if it is given True; ``forget`` deletes what is stored of a plugin.
    """

    def __init__(
        self,
        installer: Installer,
        *,
        group: str,
        protected: Collection[str],
        storage: Storage,
        catalogue: Catalogue,
        rediscover: Callable[[bool], object],
        forget: Callable[[str], None],
    ) -> None:
        self._installer = installer
        self._group = group
        self._protected = frozenset(map(canonical, protected)) | {"plugreg", "pip", "uv"}
        self._environment = installer.environment
        self._safeguard = Safeguard(installer.environment)
        self._audit = Audit(storage)
        self._catalogue = catalogue
        self._rediscover = rediscover
        self._forget = forget
        path = installer.plugins_file
        self._file = None if path is None else PluginsFile(path)

    @property
    def interrupted(self) -> Interrupted | None:
        """The change of the environment whose process died in the middle. Looks, and no more."""
        return self._safeguard.interrupted()

    def failures(self) -> tuple[PluginFailure, ...]:
        """Return a record of the change that was interrupted, if there is one."""
        try:
            found = self.interrupted
        except InstallError as error:
            return (PluginFailure(stage=Stage.INSTALL, slug="install", message=str(error)),)
        if found is None:
            return ()
        message = (
            f"{found.what} was interrupted at some time after {found.started.isoformat()}; "
            f"registry.packages.recover() puts the environment back as it was"
        )
        return (PluginFailure(stage=Stage.INSTALL, slug="install", message=message),)

    def plan(self, requirement: str, *, index_url: str | None = None) -> InstallPlan:
        """Find out what installing would do; nothing is touched.

        ``requirement`` is one of PEP 508, or the URL of a repository (``git+https://…``);
        ``index_url`` is an index to be used in place of the usual one. What the policy forbids is
        a refusal in the plan. Raises RequirementError for what is no acceptable requirement, with
        its ``field``, and InstallError where the installer cannot tell.

        Where there is no wheel, the installer has to build one to know: that runs the code of the
        distribution. ``InstallPolicy(wheels_only=True)`` forbids it.
        """
        target = parse_target(requirement, index_url)
        interrupted = self.interrupted
        if interrupted is None:
            return self._installer.plan(target, self._group)
        reason = (
            f"{interrupted.what} was interrupted; registry.packages.recover() puts the "
            f"environment back first"
        )
        return InstallPlan(
            target=target,
            distribution=target.name,
            refusals=(Refusal(rule="interrupted", reason=reason),),
        )

    def install(
        self,
        requirement: str | InstallPlan,
        *,
        index_url: str | None = None,
        actor: str | None = None,
        progress: Progress | None = None,
    ) -> InstallReport:
        """Install a distribution whose plugins stay off till they are wanted, or upgrade one.

        ``requirement`` is as for :meth:`plan`, or a plan, which is carried out as it is if the
        environment is still the one that it was made for. ``actor`` is who wants it, for the
        audit; ``progress`` is given each line that the installer writes. The distribution is
        written into the plugins file. One that was active stays so, and is imported anew.

        Success means that its plugins can be discovered in this interpreter. Raises
        RequirementError, InstallRefusedError for what the policy forbids, and other InstallErrors;
        the environment is then as it was, which the error's ``report`` tells. StorageError may
        come after all was done.
        """
        self.recover()
        if isinstance(requirement, InstallPlan):
            plan = requirement
        else:
            plan = self.plan(requirement, index_url=index_url)
        with self._audited("install", plan.requirement, plan.distribution, plan.changes, actor):
            if not plan.allowed:
                raise InstallRefusedError(plan)
            report = self._install(plan, progress)
        # The same version may be other code.
        self._rediscover(any(each.before == each.after for each in plan.changes))
        return report

    def uninstall(
        self,
        slug: str,
        *,
        delete_config: bool = True,
        dependencies: bool = False,
        actor: str | None = None,
        progress: Progress | None = None,
    ) -> UninstallReport:
        """Remove a plugin's distribution, with all the plugins that it brings.

        ``delete_config`` forgets wish, settings and metadata of each of them, once it is gone;
        ``dependencies`` removes what came with it and nothing else needs. Raises
        PluginNotFoundError, and InstallError with the reason (behaviour.md, section 8.2) when the
        plugin must stay, or was not removed; then nothing has changed.
        """
        record = self._catalogue.record(slug)
        distribution = record.distribution or ""
        leaving = self._plugins_of(distribution)
        require_removable(record, leaving)
        self.recover()
        found = self._environment.distributions()
        require_unneeded(distribution, found, self._protected)
        brought = self._audit.brought_by(distribution) if dependencies else frozenset()
        names = no_longer_needed(distribution, brought - self._protected, found)
        changes = tuple(
            Change(name=name, before=found[name].version, after=None) for name in sorted(names)
        )
        with self._audited("uninstall", distribution, distribution, changes, actor):
            output = self._uninstall(distribution, changes, progress)
        self._rediscover(False)
        if delete_config:
            for each in leaving:
                self._forget(each.slug)
        return UninstallReport(
            distribution=distribution,
            changes=changes,
            plugins=tuple(each.slug for each in leaving),
            output=output,
        )

    def sync(
        self, *, actor: str | None = None, progress: Progress | None = None
    ) -> tuple[InstallReport, ...]:
        """Install what the plugins file lists and is not there, or not in a version that suits.

        Returns a report for each such line, in the order of the file; one that cannot be installed
        has ``success`` False and its ``reasons``, and the others go on. What the file does not
        list is left alone. Raises InstallError without a plugins file, and for one that cannot be
        read. Nothing does this by itself, at start least of all.
        """
        if self._file is None:
            raise InstallError(["there is no plugins file; give the installer plugins_file="])
        self.recover()
        reports = []
        for line in self._file.lines():
            if not line.text or not line.applies:
                continue
            if is_satisfied(line, self._environment.distributions()):
                continue
            try:
                plan = checked(self.plan(line.text), line)
                reports.append(self.install(plan, actor=actor, progress=progress))
            except (InstallError, RequirementError) as error:
                reports.append(_failed(line.name or "", error))
        return tuple(reports)

    def recover(self) -> Interrupted | None:
        """Put the environment back as it was before the change that :attr:`interrupted` tells of.

        Returns what that was, None where there is nothing to do. Raises InstallError where it
        cannot be done, or where another process is changing the environment now.
        """
        started = monotonic()
        found = self._safeguard.recover()
        if found is not None:
            importlib.invalidate_caches()
            self._note(
                AuditEntry(
                    when=datetime.now(UTC),
                    actor=None,
                    action="recover",
                    requirement=found.what,
                    outcome="put back",
                    reasons=("the process that did it had ended in the middle",),
                    seconds=monotonic() - started,
                )
            )
            self._rediscover(False)
        return found

    def audit(self, limit: int | None = None) -> tuple[AuditEntry, ...]:
        """Return who has installed and removed what, oldest first; the last ``limit`` of them."""
        return self._audit.entries(limit)

    # -- installing --------------------------------------------------------------------------

    def _install(self, plan: InstallPlan, progress: Progress | None) -> InstallReport:
        name = plan.distribution or ""
        if not plan.changes:
            return self._report(plan, self._discoverable(name), "")
        with self._restored(plan), self._changing(f"installing {plan.requirement}"):
            before = self._environment.distributions()
            _require_current(plan.changes, before)
            output = self._installer.install(plan, progress)
            self._require_as_planned(plan.changes, before)
            plugins = self._discoverable(name)
            self._list(plan)
        return self._report(plan, plugins, output)

    def _discoverable(self, distribution: str) -> tuple[str, ...]:
        """Return the slugs of the plugins that this interpreter finds in a distribution."""
        importlib.invalidate_caches()
        found = [each.slug for each in discover(self._group) if each.distribution == distribution]
        if not found:
            raise NotAPluginError(
                [
                    f"{distribution!r} brings no plugin that this interpreter can find: it needs "
                    f"an entry point in the group {self._group!r}"
                ]
            )
        return tuple(sorted(set(found)))

    def _list(self, plan: InstallPlan) -> None:
        if self._file is not None and plan.distribution is not None:
            version = next(e.after for e in plan.changes if e.name == plan.distribution)
            self._file.put(plan.distribution, _line(plan, version or ""))

    def _report(self, plan: InstallPlan, plugins: tuple[str, ...], output: str) -> InstallReport:
        installed = self._installer.show(plan.distribution or "")
        return InstallReport(
            plan=plan,
            distribution=plan.distribution or "",
            version=installed.version if installed else "",
            location=installed.location if installed else "",
            plugins=plugins,
            output=output,
            success=True,
        )

    # -- uninstalling ------------------------------------------------------------------------

    def _plugins_of(self, distribution: str) -> list[PluginRecord]:
        found = self._catalogue.all().values()
        return [each for each in found if each.is_installed and each.distribution == distribution]

    def _uninstall(
        self, distribution: str, changes: tuple[Change, ...], progress: Progress | None
    ) -> str:
        with self._changing(f"uninstalling {distribution}"):
            before = self._environment.distributions()
            _require_current(changes, before)
            output = self._installer.uninstall([each.name for each in changes], progress)
            self._require_as_planned(changes, before)
            if self._file is not None:
                self._file.remove(distribution)
        return output

    # -- what both need ----------------------------------------------------------------------

    @contextmanager
    def _changing(self, what: str) -> Iterator[None]:
        files = [] if self._file is None else [self._file.path]
        with self._safeguard.changing(what, files):
            yield
        importlib.invalidate_caches()

    @contextmanager
    def _restored(self, plan: InstallPlan) -> Iterator[None]:
        """Add to an error of the ``with`` block what became of the environment."""
        try:
            yield
        except InstallError as error:
            importlib.invalidate_caches()
            error.report = InstallReport(
                plan=plan,
                distribution=plan.distribution or "",
                success=False,
                restored=self.interrupted is None,
                reasons=error.reasons,
                output="\n".join(error.reasons),
            )
            raise

    def _require_as_planned(self, changes: tuple[Change, ...], before: Mapping[str, Found]) -> None:
        """Raise InstallError when something else has changed than was planned, or less."""
        importlib.invalidate_caches()
        found = difference(before, self._environment.distributions())
        made = {(each.name, _normal(each.after)) for each in found}
        planned = {(e.name, _normal(e.after)) for e in changes if e.before != e.after}
        if made != planned:
            shown = ", ".join(
                sorted(f"{name} {version or 'is gone'}" for name, version in made ^ planned)
            )
            raise InstallError(
                [
                    f"the environment is not as it was planned to be ({shown}): "
                    f"everything was put back"
                ]
            )

    @contextmanager
    def _audited(
        self,
        action: Action,
        requirement: str,
        distribution: str | None,
        changes: tuple[Change, ...],
        actor: str | None,
    ) -> Iterator[None]:
        """Append to the audit what came of the ``with`` block."""
        when, started = datetime.now(UTC), monotonic()

        def entry(outcome: AuditOutcome, reasons: tuple[str, ...] = ()) -> AuditEntry:
            return AuditEntry(
                when=when,
                actor=actor,
                action=action,
                requirement=requirement,
                distribution=distribution,
                changes=changes,
                outcome=outcome,
                reasons=reasons,
                seconds=monotonic() - started,
            )

        try:
            yield
        except InstallRefusedError as error:
            self._note(entry("refused", error.reasons))
            raise
        except InstallError as error:
            self._note(entry("put back" if self.interrupted is None else "failed", error.reasons))
            raise
        except BaseException as error:
            self._note(entry("failed", (type(error).__qualname__,)))
            raise
        self._audit.append(entry("done"))

    def _note(self, entry: AuditEntry) -> None:
        # Beside what went wrong already, a store that is away is told of in the log.
        try:
            self._audit.append(entry)
        except StorageError as error:
            _logger.warning(
                "the audit has no entry of %r: %s", entry.requirement, explain(error).message
            )


def _require_current(changes: Iterable[Change], found: Mapping[str, Found]) -> None:
    """Raise InstallError when a plan was made for another environment than the one there is."""
    versions = {name: each.version for name, each in found.items()}
    other = [each.name for each in changes if versions.get(each.name) != each.before]
    if other:
        raise InstallError(
            [f"{listed(other)} changed since the plan was made; nothing was done: plan again"]
        )


def _normal(version: str | None) -> str | None:
    """Return a version as PEP 440 writes it: metadata may have another spelling than an index."""
    from packaging.version import InvalidVersion, Version

    try:
        return version and str(Version(version))
    except InvalidVersion:
        return version


def _failed(name: str, error: InstallError | RequirementError) -> InstallReport:
    if isinstance(error, RequirementError):
        return InstallReport(distribution=name, success=False, reasons=(error.reason,))
    report: InstallReport | None = error.report
    return report or InstallReport(distribution=name, success=False, reasons=error.reasons)


def _line(plan: InstallPlan, version: str) -> str:
    """Return what the plugins file has of an installation (behaviour.md, section 8.3)."""
    return plan.target.line or f"{plan.distribution}=={version}"
