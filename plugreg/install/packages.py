"""``registry.packages``: install and uninstall distributions, and update the registry."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from plugreg._lifecycle.catalogue import Catalogue
from plugreg._state.plugin_rows import PluginRows
from plugreg._support.signal import Notify
from plugreg._support.slugs import Slug, canonical
from plugreg.exceptions import (
    InstallError,
    PluginActiveError,
    PluginNotFoundError,
    RequirementError,
)
from plugreg.install.attempt import Attempt, taking_in
from plugreg.install.audit import Action, Audit, AuditEntry
from plugreg.install.changes import Changes, digest
from plugreg.install.exceptions import InstallRefusedError, NotAPluginError
from plugreg.install.installer import Installer, Progress
from plugreg.install.leaving import Departures
from plugreg.install.listed import checked, constraints_of
from plugreg.install.needs import required_by
from plugreg.install.ownership import require_apart, scripts_of_nobody
from plugreg.install.plan import InstallPlan, Refusal, Target
from plugreg.install.plugins_file import PluginsFile
from plugreg.install.removal import PROTECTED, protecting
from plugreg.install.reports import InstallReport, UninstallReport
from plugreg.install.requirement_lines import RequirementLine
from plugreg.install.requirements import parse_target
from plugreg.install.safeguard import Interrupted
from plugreg.install.syncing import sync
from plugreg.install.takeovers import Slugs
from plugreg.records import PluginFailure, PluginSpec, Stage
from plugreg.storage import Storage


class Packages:
    """Installs and uninstalls with the host's installer, and updates the registry.

    Across all processes that use the environment, one change is made at a time. A change that
    fails, or does more than planned, is rolled back from copies of the files. If its process dies,
    :attr:`interrupted` describes the change to the next process. :meth:`recover`, or the next
    installation, then rolls it back.

    Args:
        installer: The host's installer.
        group: Entry-point group of the registry's plugins.
        protected: Distributions that are neither removed nor replaced. Their dependencies are
            protected too.
        storage: Storage of the audit and of the plugins' rows.
        catalogue: The registry's plugins.
        refresh: Reads the changes of other processes from the storage.
        rediscover: Reloads with a new discovery; imports all code again if called with True.
        forget: Deletes all stored data of a plugin.
        notify: Emits an event for each plugin that was installed or uninstalled.
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
        notify: Notify,
    ) -> None:
        self._installer = installer
        self._group = group
        self._protected = frozenset(map(canonical, protected)) | PROTECTED
        self._environment = installer.environment
        self._audit = Audit(storage)
        path = installer.plugins_file
        self._file = None if path is None else PluginsFile(path)
        self._changes = Changes(
            installer.environment, self._audit, self._file, lambda: rediscover(False)
        )
        self._catalogue = catalogue
        self._plugin_rows = PluginRows(storage)
        self._departures = Departures(
            installer.environment,
            catalogue,
            self._audit,
            self._file,
            group=group,
            protected=self._protected,
        )
        self._slugs = Slugs(group, lambda: catalogue.select().plugins, self._plugin_rows.all)
        self._refresh = refresh
        self._rediscover = rediscover
        self._forget = forget
        self._notify = notify

    @property
    def interrupted(self) -> Interrupted | None:
        """The change whose process died before its end. Reading this changes nothing."""
        return self._changes.interrupted

    def failures(self) -> tuple[PluginFailure, ...]:
        """Return a failure for the interrupted change, if there is one."""
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
        """Return the changes that an installation would make; nothing is touched.

        Without a wheel the installer must build one, which runs code of the distribution.
        ``InstallPolicy(wheels_only=True)`` forbids that.

        Args:
            requirement: Requirement (PEP 508), or URL of a repository (``git+https://…``).
            index_url: Index to use instead of the configured one.

        Returns:
            The plan. Its refusals name everything that the policy forbids, and each plugin whose
            slug another plugin has.

        Raises:
            RequirementError: If the requirement is not acceptable; its ``field`` says which part.
            InstallError: If the installer finds no plan.
            StorageError: If the storage fails.
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
        """Install or upgrade a distribution.

        New plugins stay inactive until they are activated. An active plugin stays active and is
        imported again. The distribution is written into the plugins file. After an error the
        environment is as it was before, as ``restored`` of the error's ``report`` says.

        Args:
            requirement: Requirement as for :meth:`plan`, or a plan. A plan is carried out without
                change if its environment is unchanged and the current policy allows it.
            index_url: Index to use instead of the configured one.
            actor: Person or process that asks for it, for the audit.
            progress: Receives each line of the installer's output.

        Returns:
            The report. Its plugins can be discovered in this interpreter.

        Raises:
            RequirementError: If the requirement is not acceptable.
            InstallRefusedError: If the plan has refusals.
            InstallError: If the installation fails. If only the registry cannot load the new
                plugins, ``success`` of the error's ``report`` is True.
            StorageError: If the audit cannot be written. The environment is then rolled back.
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
        """Remove a plugin's distribution, with all plugins that it provides.

        A plugin must stay if it or another plugin of its distribution is active, if it is
        mandatory, built in or a sample, and if the host or another distribution needs its
        distribution.

        Args:
            slug: The plugin.
            delete_config: Whether desired state, settings and metadata of the removed plugins are
                deleted, even if another process has activated one meanwhile. Otherwise they stay
                as stored.
            dependencies: Whether distributions that were installed with it are removed too. Those
                that another distribution needs, that provide plugins or that the plugins file
                lists stay.
            actor: Person or process that asks for it, for the audit.
            progress: Receives each line of the installer's output.

        Returns:
            The report of the removal.

        Raises:
            PluginNotFoundError: If the registry has no such plugin.
            InstallError: If the plugin must stay or the removal fails; nothing has changed then.
                If the error's ``report`` is an UninstallReport, the distribution is removed and
                only the registry could not be updated.
            StorageError: If the storage fails.
        """
        _check_actor(actor)
        self._refresh()
        record = self._catalogue.record(slug)
        attempt = Attempt("uninstall", record.distribution or slug, actor, progress)
        with self._changes.audited(attempt):
            with attempt.refusing():
                leaving = self._departures.of(slug, dependencies=dependencies)
            attempt.distribution, attempt.changes = leaving.distribution, leaving.changes

            def remove() -> str:
                # What held before may not hold now, when nobody else can change anything.
                self._refresh()
                with attempt.refusing():
                    now = self._departures.of(slug, dependencies=dependencies)
                if now.changes != leaving.changes:
                    raise InstallError([f"what goes with {slug!r} changed just now; try again"])
                return self._installer.uninstall(
                    [row.name for row in now.changes], attempt.add_line
                )

            what = f"uninstalling {attempt.requirement}"
            with self._changes.made(what, attempt, (), remove) as output:
                if self._file is not None:
                    self._file.remove(leaving.distribution)
        slugs = tuple(Slug(plugin.slug) for plugin in leaving.plugins)
        report = UninstallReport(
            distribution=leaving.distribution,
            changes=leaving.changes,
            plugins=slugs,
            output=output,
        )
        with taking_in(f"{leaving.distribution!r} was removed", report):
            self._rediscover(False)
            for gone in slugs if delete_config else ():
                self._forget_even_wanted(gone)
        for gone in slugs:
            self._notify("plugin_uninstalled", slug=gone, distribution=leaving.distribution)
        return report

    def sync(
        self, *, actor: str | None = None, progress: Progress | None = None
    ) -> tuple[InstallReport, ...]:
        """Install the distributions of the plugins file that are missing or do not match it.

        The dependencies of a line may change distributions of other lines, within the specifiers
        of those. A line may list a distribution without plugins. Distributions that the file does
        not list are not touched. The registry never calls this method by itself.

        Args:
            actor: Person or process that asks for it, for the audit.
            progress: Receives each line of the installer's output.

        Returns:
            A report for each line that was not satisfied already, in the order of the file. A
            line that fails has ``success`` False and its ``reasons``; the others continue.

        Raises:
            InstallError: If there is no plugins file, or it cannot be read. Also if a distribution
                was installed and the registry could not load its plugins.
        """
        _check_actor(actor)
        if self._file is None:
            raise InstallError(["there is no plugins file; give the installer plugins_file="])
        self._changes.recover_for(Attempt("sync", "the plugins file", actor))
        lines = [line for line in self._file.lines() if line.text and line.applies]

        def install(line: RequirementLine) -> InstallReport:
            return self._install(parse_target(line.text), None, actor, progress, lines)

        return sync(lines, self._environment.distributions, install)

    def recover(self) -> Interrupted | None:
        """Roll the interrupted change back, so that the environment is as it was before.

        Returns:
            The interrupted change, None if there is none.

        Raises:
            InstallError: If the rollback fails, or another process is changing the environment.
        """
        return self._changes.recover()

    def audit(self, limit: int | None = None) -> tuple[AuditEntry, ...]:
        """Return the recorded attempts to change the environment, oldest first.

        Args:
            limit: Number of latest entries to return, None for all.
        """
        return self._audit.entries(limit)

    # -- installing --------------------------------------------------------------------------

    def _install(
        self,
        target: Target,
        plan: InstallPlan | None,
        actor: str | None,
        progress: Progress | None,
        lines: Sequence[RequirementLine] | None = None,
    ) -> InstallReport:
        """Carry out a plan, or make one first that satisfies ``lines``."""
        _check_actor(actor)
        # A registry that is closed, or has lost its store, could not take in what came of it.
        self._refresh()
        action: Action = "install" if lines is None else "sync"
        attempt = Attempt(action, target.shown, actor, progress, distribution=target.name)
        with self._changes.audited(attempt):
            given, plan = plan, self._planned(target, lines) if plan is None else plan
            attempt.distribution, attempt.changes = plan.distribution, plan.changes
            if not plan.allowed:
                raise InstallRefusedError(plan)
            with attempt.reporting(plan):
                plugins, output = self._carried_out(
                    plan, attempt, is_given=given is not None, is_synced=lines is not None
                )
            report = self._report(plan, plugins, output)
        with taking_in(f"{report.distribution!r} was installed", report):
            # The same version may be other code.
            self._rediscover(any(change.before == change.after for change in plan.changes))
        for plugin in plugins if plan.changes else ():
            fields = {"distribution": plugin.distribution, "version": plugin.version}
            self._notify("plugin_installed", slug=plugin.slug, **fields)
        return report

    def _planned(
        self, target: Target, lines: Sequence[RequirementLine] | None = None
    ) -> InstallPlan:
        """Return a plan that satisfies ``lines``, whose distributions may change too."""
        then = digest(self._environment.distributions())
        others = constraints_of(lines or (), target.name)
        plan = checked(self._installer.plan(target, self._group, others), lines or ())
        # Who lists what brings no plugin means it.
        kept = [refusal for refusal in plan.refusals if lines is None or refusal.rule != "plugin"]
        return replace(plan, environment=then, refusals=(*kept, *self._own_refusals(plan)))

    def _own_refusals(self, plan: InstallPlan) -> tuple[Refusal, ...]:
        installed = self._environment.distributions()
        protected = required_by(self._protected, installed)
        return (*protecting(plan.changes, installed, protected), *self._slugs.refusals(plan))

    def _require_allowed(self, plan: InstallPlan, *, is_given: bool) -> None:
        """Raise InstallError if the environment has changed, or if the plan is forbidden.

        A plan that the caller passed may be old, and made under another policy.
        """
        if plan.environment not in (None, digest(self._environment.distributions())):
            raise InstallError(
                ["the environment changed since the plan was made; nothing was done: plan again"]
            )
        refusals = self._own_refusals(plan)
        if is_given:
            policy = self._installer.policy
            judged = policy.of_changes(plan.changes, plan.distribution)
            loaded = policy.of_entry_points(plan.changes)
            refusals = (*policy.of_target(plan.target), *judged, *loaded, *refusals)
        if refusals:
            # What is said of the target is said of its change once more.
            unique = tuple(dict.fromkeys(refusals))
            raise InstallRefusedError(replace(plan, refusals=unique))

    def _carried_out(
        self, plan: InstallPlan, attempt: Attempt, *, is_given: bool, is_synced: bool
    ) -> tuple[tuple[PluginSpec, ...], str]:
        """Make the changes of a plan; return the new plugins and the output."""
        if not plan.changes:
            with self._changes.kept_out():
                self._require_allowed(plan, is_given=is_given)
                plugins = self._found(plan, is_synced=is_synced)
                self._list(plan, is_synced=is_synced)
            return plugins, ""
        names = [change.name for change in plan.changes]
        scripts = scripts_of_nobody(self._environment, names)

        def install() -> str:
            self._require_allowed(plan, is_given=is_given)
            return self._installer.install(plan, attempt.add_line)

        what = f"installing {plan.requirement}"
        data_files = [Path(sys.prefix, file) for file in plan.data_files]
        with self._changes.made(what, attempt, data_files, install) as output:
            require_apart(self._environment, names, scripts)
            plugins = self._found(plan, is_synced=is_synced)
            self._list(plan, is_synced=is_synced)
        return plugins, output

    def _found(self, plan: InstallPlan, *, is_synced: bool) -> tuple[PluginSpec, ...]:
        """Return the plugins that this interpreter discovers in a plan's distributions."""
        there = self._environment.distributions()
        names = {plan.distribution or "", *(change.name for change in plan.changes)}
        found = self._slugs.found({name: there[name].version for name in names if name in there})
        if not (is_synced or any(spec.distribution == plan.distribution for spec in found)):
            raise NotAPluginError(
                [
                    f"{plan.distribution!r} brings no plugin that this interpreter can find: it "
                    f"needs an entry point in the group {self._group!r}"
                ]
            )
        return found

    def _list(self, plan: InstallPlan, *, is_synced: bool) -> None:
        """Write an installation into the plugins file, as requested or else as ``name==version``.

        A synchronization writes nothing: its lines are in the file already.
        """
        if is_synced or self._file is None or plan.distribution is None:
            return
        installed = self._installer.show(plan.distribution)
        version = installed.version if installed else ""
        own = next((change for change in plan.changes if change.name == plan.distribution), None)
        line = plan.target.line or f"{plan.distribution}=={version}"
        self._file.put(plan.distribution, line, None if own is None else own.sha256)

    def _report(
        self, plan: InstallPlan, plugins: Iterable[PluginSpec], output: str
    ) -> InstallReport:
        installed = self._installer.show(plan.distribution or "")
        return InstallReport(
            plan=plan,
            distribution=plan.distribution or "",
            version=installed.version if installed else "",
            location=installed.location if installed else "",
            plugins=tuple(plugin.slug for plugin in plugins),
            output=output,
            success=True,
        )

    def _forget_even_wanted(self, slug: Slug) -> None:
        # In safe mode, and before anything was stored, there is nothing to forget.
        with suppress(PluginNotFoundError):
            try:
                self._forget(slug)
            except PluginActiveError:
                # Another process has switched on what was about to go.
                self._plugin_rows.set_active({slug: False})
                self._refresh()
                self._forget(slug)


def _check_actor(actor: object) -> None:
    if actor is not None and not isinstance(actor, str):
        raise RequirementError(
            "actor", f"it must be a string or None, not {type(actor).__name__}; write 'user 7'"
        )
