"""``registry.packages``: distributions come and go, and the registry with them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from plugreg._names import canonical
from plugreg.catalogue import Catalogue
from plugreg.discovery import discover
from plugreg.events import Tell
from plugreg.exceptions import (
    InstallError,
    PluginNotFoundError,
    RequirementError,
)
from plugreg.install.attempt import Attempt
from plugreg.install.audit import Action, Audit, AuditEntry
from plugreg.install.changes import Changes, normal
from plugreg.install.exceptions import InstallRefusedError, NotAPluginError
from plugreg.install.installer import Installer, Progress
from plugreg.install.listed import checked, constraints_of, is_satisfied
from plugreg.install.ownership import require_apart, require_own_files, scripts_of_nobody
from plugreg.install.plan import Change, InstallPlan, Refusal, Target
from plugreg.install.plugins_file import PluginsFile
from plugreg.install.removal import (
    OURS,
    PROTECTED,
    no_longer_needed,
    protecting,
    require_removable,
    require_unneeded,
)
from plugreg.install.reports import InstallReport, UninstallReport
from plugreg.install.requirement_lines import RequirementLine
from plugreg.install.requirements import parse_target
from plugreg.install.safeguard import Interrupted
from plugreg.records import PluginFailure, PluginRecord, Stage
from plugreg.storage import Storage


class Packages:
    """Installs and uninstalls with the host's installer, and lets the registry see the change.

    One change of the environment is made at a time, over all processes that use it. Where one
    fails, or changes something that was not planned, the environment is put back as it was from
    copies of its files; where its process dies, :attr:`interrupted` tells the next one, and
    :meth:`recover`, or the next installation, does it.

    ``group`` is the entry-point group of the registry's plugins; ``protected`` are distributions
    that are neither removed nor replaced. ``refresh`` takes in what other processes have stored,
    ``rediscover`` reloads with a new look at the sources, and imports all
    code anew if it is given True; ``forget`` deletes what is stored of a plugin;
    ``tell`` is told of each plugin that has come or gone.
    """

    def __init__(
        self,
        installer: Installer,
        *,
        group: str,
        protected: Collection[str],
        storage: Storage,
        catalogue: Catalogue,
        refresh: Callable[[], object],
        rediscover: Callable[[bool], object],
        forget: Callable[[str], None],
        tell: Tell,
    ) -> None:
        self._installer = installer
        self._group = group
        self._protected = frozenset(map(canonical, protected)) | PROTECTED
        self._environment = installer.environment
        self._audit = Audit(storage)
        self._changes = Changes(installer.environment, self._audit, lambda: rediscover(False))
        self._catalogue = catalogue
        self._refresh = refresh
        self._rediscover = rediscover
        self._forget = forget
        self._tell = tell
        path = installer.plugins_file
        self._file = None if path is None else PluginsFile(path)

    @property
    def interrupted(self) -> Interrupted | None:
        """The change of the environment whose process died in the middle. Looks, and no more."""
        return self._changes.interrupted

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
            return self._planned(target)
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
        the environment is then as it was, which the error's ``report`` tells; so it is where the
        audit cannot be written, which raises StorageError. After all was done, the reload may
        raise StorageError and RegistryBusyError.
        """
        if isinstance(requirement, InstallPlan):
            return self._install(requirement.target, requirement, actor, progress)
        return self._install(parse_target(requirement, index_url), None, actor, progress)

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
        ``dependencies`` removes what came with it, unless something else needs it, it brings
        plugins itself, or the plugins file lists it. Raises PluginNotFoundError, and InstallError
        with the reason (behaviour.md, section 8.2) when the plugin must stay, or was not removed;
        then nothing has changed.
        """
        self._refresh()
        record = self._catalogue.record(slug)
        attempt = Attempt("uninstall", record.distribution or slug, actor)
        with self._changes.audited(attempt):
            record = self._catalogue.record(slug)
            distribution = record.distribution or ""
            leaving = self._plugins_of(distribution)
            with attempt.refusing():
                require_removable(record, leaving)
                found = self._environment.distributions()
                require_unneeded(distribution, found, self._protected)
                names: Collection[str] = {distribution}
                if dependencies:
                    names = no_longer_needed(distribution, self._brought(distribution), found)
                require_own_files(self._environment, names)
            attempt.distribution = distribution
            attempt.changes = tuple(
                Change(name=name, before=found[name].version, after=None) for name in sorted(names)
            )
            output = self._uninstall(attempt, progress)
        self._rediscover(False)
        if delete_config:
            for each in leaving:
                # In safe mode, and before anything was stored, there is nothing to forget.
                with suppress(PluginNotFoundError):
                    self._forget(each.slug)
        for each in leaving:
            self._tell("plugin_uninstalled", slug=each.slug, distribution=distribution)
        return UninstallReport(
            distribution=distribution,
            changes=attempt.changes,
            plugins=tuple(each.slug for each in leaving),
            output=output,
        )

    def sync(
        self, *, actor: str | None = None, progress: Progress | None = None
    ) -> tuple[InstallReport, ...]:
        """Install what the plugins file lists and is not there, or not in a version that suits.

        What a line needs may change what other lines list, as far as these allow it. Returns a
        report for each line that was not satisfied by another one, in the order of the file; one
        that cannot be installed has ``success`` False and its ``reasons``, and the others go on.
        What the file does not list is left alone. Raises InstallError without a plugins file, and
        for one that cannot be read. Nothing does this by itself, at start least of all.
        """
        if self._file is None:
            raise InstallError(["there is no plugins file; give the installer plugins_file="])
        self._changes.recover_for(Attempt("sync", "the plugins file", actor))
        lines = [each for each in self._file.lines() if each.text and each.applies]
        reports: dict[int, InstallReport] = {}
        goes_on = True
        while goes_on:
            goes_on = False
            for line in lines:
                earlier = reports.get(line.number)
                if earlier is not None and earlier.success:
                    continue
                if is_satisfied(line, self._environment.distributions()):
                    # It was so before, or came with another line.
                    reports.pop(line.number, None)
                    continue
                reports[line.number] = report = self._synced(line, lines, actor, progress)
                # What this has changed may be what others have waited for.
                goes_on |= report.success
        return tuple(reports[number] for number in sorted(reports))

    def recover(self) -> Interrupted | None:
        """Put the environment back as it was before the change that :attr:`interrupted` tells of.

        Returns what that was, None where there is nothing to do. Raises InstallError where it
        cannot be done, or where another process is changing the environment now.
        """
        return self._changes.recover()

    def audit(self, limit: int | None = None) -> tuple[AuditEntry, ...]:
        """Return who has installed and removed what, oldest first; the last ``limit`` of them."""
        return self._audit.entries(limit)

    # -- installing --------------------------------------------------------------------------

    def _synced(
        self,
        line: RequirementLine,
        lines: Sequence[RequirementLine],
        actor: str | None,
        progress: Progress | None,
    ) -> InstallReport:
        try:
            return self._install(parse_target(line.text), None, actor, progress, lines)
        except (InstallError, RequirementError) as error:
            return _failed(line.name or "", error)

    def _install(
        self,
        target: Target,
        plan: InstallPlan | None,
        actor: str | None,
        progress: Progress | None,
        lines: Sequence[RequirementLine] | None = None,
    ) -> InstallReport:
        """Carry out a plan, or make one first; ``lines`` are those that it must agree with."""
        # A registry that is closed, or has lost its store, could not take in what came of it.
        self._refresh()
        action: Action = "install" if lines is None else "sync"
        attempt = Attempt(action, target.shown, actor, distribution=target.name)
        with self._changes.audited(attempt):
            plan = self._planned(target, lines or ()) if plan is None else plan
            attempt.distribution, attempt.changes = plan.distribution, plan.changes
            if not plan.allowed:
                raise InstallRefusedError(plan)
            report = self._carried_out(plan, attempt, progress, listing=lines is None)
        # The same version may be other code.
        self._rediscover(any(each.before == each.after for each in plan.changes))
        if plan.changes:
            told = {"distribution": report.distribution, "version": report.version}
            for slug in report.plugins:
                self._tell("plugin_installed", slug=slug, **told)
        return report

    def _planned(self, target: Target, lines: Sequence[RequirementLine] = ()) -> InstallPlan:
        """Return a plan that agrees with ``lines``, whose distributions may change too."""
        others = constraints_of(lines, target.name)
        plan = checked(self._installer.plan(target, self._group, others), lines)
        refusals = protecting(plan.changes, self._environment.distributions(), self._protected)
        return replace(plan, refusals=(*plan.refusals, *refusals)) if refusals else plan

    def _carried_out(
        self, plan: InstallPlan, attempt: Attempt, progress: Progress | None, *, listing: bool
    ) -> InstallReport:
        name, output = plan.distribution or "", ""
        with attempt.reporting(plan):
            if not plan.changes:
                plugins = self._discoverable(name, self._version(name))
                with self._changes.kept_out():
                    self._list(plan, listing=listing)
                return self._report(plan, plugins, output)
            names = [each.name for each in plan.changes]
            scripts = scripts_of_nobody(self._environment, names)
            with self._changes.made(
                f"installing {plan.requirement}",
                attempt,
                [*self._files, *(Path(sys.prefix, each) for each in plan.data_files)],
                lambda: self._installer.install(plan, progress),
            ) as output:
                require_apart(self._environment, names, scripts)
                plugins = self._discoverable(name, self._version(name))
                self._list(plan, listing=listing)
        return self._report(plan, plugins, output)

    def _version(self, name: str) -> str:
        installed = self._installer.show(name)
        return installed.version if installed else ""

    def _discoverable(self, distribution: str, version: str) -> tuple[str, ...]:
        """Return the slugs of the plugins that this interpreter finds in a distribution."""
        importlib.invalidate_caches()
        found = [each for each in discover(self._group) if each.distribution == distribution]
        if not found:
            raise NotAPluginError(
                [
                    f"{distribution!r} brings no plugin that this interpreter can find: it needs "
                    f"an entry point in the group {self._group!r}"
                ]
            )
        other = next((e for e in found if normal(e.version) != normal(version)), None)
        if other is not None:
            raise NotAPluginError(
                [
                    f"{distribution!r} was installed in version {version}, but this interpreter "
                    f"finds {other.version} in {other.path!r}, which is ahead on its path"
                ]
            )
        return tuple(sorted({each.slug for each in found}))

    def _list(self, plan: InstallPlan, *, listing: bool) -> None:
        if listing and self._file is not None and plan.distribution is not None:
            version = self._version(plan.distribution)
            self._file.put(plan.distribution, _line(plan, version))

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

    def _brought(self, distribution: str) -> frozenset[str]:
        """Return what installing a distribution has added and nobody has asked for since."""
        found = self._environment.distributions()
        plugins = {each.distribution for each in discover(self._group)}
        listed_names = {each.name for each in self._file.lines()} if self._file else set()
        return frozenset(
            name
            for name in self._audit.brought_by(distribution) - self._protected
            if name in found and found[name].installer in OURS
            if name not in plugins and name not in listed_names
        )

    def _uninstall(self, attempt: Attempt, progress: Progress | None) -> str:
        names = [each.name for each in attempt.changes]
        with self._changes.made(
            f"uninstalling {attempt.requirement}",
            attempt,
            self._files,
            lambda: self._installer.uninstall(names, progress),
        ) as output:
            if self._file is not None:
                self._file.remove(attempt.requirement)
        return output

    @property
    def _files(self) -> tuple[Path, ...]:
        return () if self._file is None else (self._file.path,)


def _failed(name: str, error: InstallError | RequirementError) -> InstallReport:
    if isinstance(error, RequirementError):
        return InstallReport(distribution=name, success=False, reasons=(error.reason,))
    report: InstallReport | None = error.report
    return report or InstallReport(distribution=name, success=False, reasons=error.reasons)


def _line(plan: InstallPlan, version: str) -> str:
    """Return what the plugins file has of an installation (behaviour.md, section 8.3)."""
    return plan.target.line or f"{plan.distribution}=={version}"
