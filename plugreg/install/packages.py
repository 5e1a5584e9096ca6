"""``registry.packages``: distributions come and go, and the registry with them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from plugreg._lifecycle.catalogue import Catalogue
from plugreg._state.plugin_rows import PluginRows
from plugreg._support.names import Slug, canonical
from plugreg.events import Notify
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
from plugreg.install.slugs import Slugs
from plugreg.install.syncing import sync
from plugreg.records import PluginFailure, PluginSpec, Stage
from plugreg.storage import Storage


class Packages:
    """Installs and uninstalls with the host's installer, and lets the registry see the change.

    One change of the environment is made at a time, over all processes that use it. Where one
    fails, or changes something that was not planned, the environment is put back as it was from
    copies of its files; where its process dies, :attr:`interrupted` tells the next one, and
    :meth:`recover`, or the next installation, does it.

    ``group`` is the entry-point group of the registry's plugins; ``protected`` are distributions
    that are neither removed nor replaced, and neither is what they require. ``refresh`` takes in
    what other processes have stored, ``rediscover`` reloads with a new look at the sources, and
    imports all code anew if it is given True; ``forget`` deletes what is stored of a plugin;
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
        a refusal in the plan, and so is a plugin that would come in the place of another one.
        Raises RequirementError for what is no acceptable requirement, with its ``field``,
        InstallError where the installer cannot tell, and StorageError.

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
        environment is still the one that it was made for, and the policy of now allows it.
        ``actor`` is who wants it, for the audit; ``progress`` is given each line that the installer
        writes. The distribution is written into the plugins file. One that was active stays so,
        and is imported anew.

        Success means that its plugins can be discovered in this interpreter. Raises
        RequirementError, InstallRefusedError for what is forbidden, and other InstallErrors;
        the environment is then as it was, which the error's ``report`` tells; so it is where the
        audit cannot be written, which raises StorageError. Where the registry cannot take in what
        was installed, an InstallError says so, and ``success`` of its report is True.
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

        ``delete_config`` forgets wish, settings and metadata of each of them, once it is gone,
        even where another process has switched it on meanwhile; without it all that stays as it
        was stored last. ``dependencies`` removes what came with it, unless something else needs
        it, it brings plugins itself, or the plugins file lists it. Raises PluginNotFoundError, and
        InstallError with the reason (behaviour.md, section 8.2) when the plugin must stay, or was
        not removed; then nothing has changed. An InstallError whose report is an UninstallReport
        says that it is gone, and that the registry could not take that in.
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
                return self._installer.uninstall([row.name for row in now.changes], attempt.told)

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
        """Install what the plugins file lists and is not there, or not in a version that suits.

        What a line needs may change what other lines list, as far as these allow it. Returns a
        report for each line that was not satisfied by another one, in the order of the file; one
        that cannot be installed has ``success`` False and its ``reasons``, and the others go on.
        A line may list what brings no plugin: success then means that it is there as listed.
        What the file does not list is left alone. Raises InstallError without a plugins file, and
        for one that cannot be read. Nothing does this by itself, at start least of all.
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
        """Put the environment back as it was before the change that :attr:`interrupted` tells of.

        Returns what that was, None where there is nothing to do. Raises InstallError where it
        cannot be done, or where another process is changing the environment now.
        """
        return self._changes.recover()

    def audit(self, limit: int | None = None) -> tuple[AuditEntry, ...]:
        """Return who has installed and removed what, oldest first; the last ``limit`` of them."""
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
        """Carry out a plan, or make one first; ``lines`` are those that it must agree with."""
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
            told = {"distribution": plugin.distribution, "version": plugin.version}
            self._notify("plugin_installed", slug=plugin.slug, **told)
        return report

    def _planned(
        self, target: Target, lines: Sequence[RequirementLine] | None = None
    ) -> InstallPlan:
        """Return a plan that agrees with ``lines``, whose distributions may change too."""
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
        """Raise InstallError for a plan that was made elsewhere, or is forbidden by now.

        One that was given may have been made long ago, under another policy.
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
            told = tuple(dict.fromkeys(refusals))
            raise InstallRefusedError(replace(plan, refusals=told))

    def _carried_out(
        self, plan: InstallPlan, attempt: Attempt, *, is_given: bool, is_synced: bool
    ) -> tuple[tuple[PluginSpec, ...], str]:
        """Make the changes of a plan; return the plugins that they bring, and what was told."""
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
            return self._installer.install(plan, attempt.told)

        what = f"installing {plan.requirement}"
        data_files = [Path(sys.prefix, file) for file in plan.data_files]
        with self._changes.made(what, attempt, data_files, install) as output:
            require_apart(self._environment, names, scripts)
            plugins = self._found(plan, is_synced=is_synced)
            self._list(plan, is_synced=is_synced)
        return plugins, output

    def _found(self, plan: InstallPlan, *, is_synced: bool) -> tuple[PluginSpec, ...]:
        """Return the plugins that this interpreter finds in what a plan has put there."""
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
        """Write an installation into the plugins file (behaviour.md, section 8.3)."""
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
                self._plugin_rows.set_active(False, [slug])
                self._refresh()
                self._forget(slug)


def _check_actor(actor: object) -> None:
    if actor is not None and not isinstance(actor, str):
        raise RequirementError(
            "actor", f"it must be a string or None, not {type(actor).__name__}; write 'user 7'"
        )
