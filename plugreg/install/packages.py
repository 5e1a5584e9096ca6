"""``registry.packages``: install and uninstall distributions, and update the registry."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from plugreg._state.plugin_rows import PluginRows
from plugreg._support.slugs import Slug
from plugreg.exceptions import InstallError, PluginActiveError, PluginNotFoundError
from plugreg.install.audit import Audit, AuditEntry, ReleaseRows
from plugreg.install.changes import Attempt, check_actor, taking_in
from plugreg.install.disk import disk_errors, write_file
from plugreg.install.environment import InstallContext, asked_for, unneeded
from plugreg.install.installer import Progress
from plugreg.install.plan import (
    Generation,
    InstallPlan,
    InstallReport,
    Outdated,
    Target,
    UninstallReport,
)
from plugreg.install.planning import Planner, check_removable
from plugreg.install.requirements import parse_target
from plugreg.install.syncing import sync_lines, sync_locked


class Packages:
    """Installs and uninstalls with the host's installer, and updates the registry.

    A change builds the next generation of the environment aside, checks and probes it, and swaps it
    in. Across all processes that use the environment, changes are made one at a time. A process
    that is killed leaves the old or the new generation in service. The host's own packages are
    never written.

    Args:
        context: The parts of the host.
    """

    def __init__(self, context: InstallContext) -> None:
        self._context = context
        self._audit = Audit(context.storage)
        self._releases = ReleaseRows(context.storage)
        self._planner = Planner(context)
        self._shared = self._planner.shared

    # -- reading -----------------------------------------------------------------------------

    def plan(
        self, requirement: str, *, index_url: str | None = None, isolate: bool = False
    ) -> InstallPlan:
        """Return the changes that an installation would make; the environment is not touched.

        The files of the last plan stay in a temporary folder, so that carrying it out fetches
        nothing. Without a wheel the installer must build the distribution, which runs its code.
        ``InstallPolicy(wheels_only=True)`` forbids that.

        Args:
            requirement: Requirement (PEP 508), or URL of a repository (``git+https://…``).
            index_url: Index to use instead of the configured index.
            isolate: Whether its plugin gets an environment of its own, in which the host's
                distributions do not count. It is kept for later versions.

        Returns:
            The plan. Its refusals name everything that the policy forbids, conflicts with the
            host's distributions, and each plugin whose slug another plugin has.

        Raises:
            RequirementError: If the requirement is not acceptable; its ``field`` says which part.
            InstallError: If the installer finds no plan.
            StorageError: If the storage fails.
        """
        target = parse_target(requirement, index_url)
        isolate = isolate or self._planner.isolated(target.name) is not None
        return self._planner.plan(target, isolate=isolate)

    def generations(self, isolated: str | None = None) -> tuple[Generation, ...]:
        """Return the generations that are there, by number.

        Args:
            isolated: Slug of a plugin with an environment of its own, None for the shared
                environment.

        Raises:
            InstallError: If the environment cannot be read.
        """
        environment = self._planner.environment(isolated)
        return tuple(map(environment.generation, environment.generations.numbers()))

    def previous(self, isolated: str | None = None) -> int | None:
        """Return the number of the generation to which `rollback` goes, None if there is none.

        Args:
            isolated: Slug of a plugin with an environment of its own, None for the shared
                environment.

        Raises:
            InstallError: If the environment cannot be read.
        """
        return next(iter(self._planner.environment(isolated).generations.current().before), None)

    def listed(self) -> dict[str, str]:
        """Return the requirements of the plugins file that hold here, by distribution.

        Raises:
            InstallError: If there is no plugins file, or it cannot be read.
        """
        file = self._shared.plugins_file
        if file is None:
            raise InstallError(["there is no plugins file; give the installer plugins_file="])
        return {line.name: line.text for line in file.lines() if line.applies}

    def audit(self, limit: int | None = None) -> tuple[AuditEntry, ...]:
        """Return the recorded attempts to change the environment, oldest first.

        Args:
            limit: Number of latest entries to return, None for all.
        """
        return self._audit.entries(limit)

    def lock(self, path: str | Path | None = None) -> Path:
        """Write the current generation as a ``pylock.toml`` (PEP 751).

        Args:
            path: The file, which is replaced as a whole. Defaults to ``pylock.toml`` beside the
                plugins file, or in the environment if there is none.

        Returns:
            The path of the file.

        Raises:
            InstallError: If nothing is installed, or the file cannot be written.
        """
        generations = self._shared.generations
        number = generations.current().number
        if not number:
            raise InstallError(["nothing is installed that could be locked; install a plugin"])
        file = self._shared.plugins_file
        beside = generations.environment if file is None else file.path.parent
        target = beside / "pylock.toml" if path is None else Path(path)
        with disk_errors(f"the lock {str(target)!r} cannot be written"):
            write_file(target, generations.lock_file(number).read_bytes())
        return target

    def outdated(self, *, ask: bool = True) -> tuple[Outdated, ...]:
        """Return the distributions with a later release, or whose release was withdrawn.

        The answer is stored with its time. Nothing else asks an index by itself.

        Args:
            ask: Whether the index is asked. Otherwise the stored answer is returned, without
                distributions that have changed since.

        Returns:
            The distributions, by name.

        Raises:
            InstallError: If the index does not answer.
            StorageError: If the storage fails.
        """
        content = self._shared.content()
        installed = content.versions
        if ask:
            self._releases.put(installed, self._context.installer.latest(installed))
        return self._releases.outdated(installed, self._shared.plugins(content.folder))

    def interrupted(self) -> tuple[str, ...]:
        """Return the folders that changes have left which were interrupted.

        The next change removes them. There are none while a change is running.

        Raises:
            InstallError: If the environment cannot be read.
        """
        return self._shared.generations.left()

    # -- changing ----------------------------------------------------------------------------

    def install(
        self,
        requirement: str | InstallPlan,
        *,
        index_url: str | None = None,
        actor: str | None = None,
        progress: Progress | None = None,
        keep_broken: bool = False,
        isolate: bool = False,
    ) -> InstallReport:
        """Install or upgrade a distribution.

        New plugins stay inactive until they are activated. An active plugin stays active and is
        imported again. Plugins that are new or changed are loaded in a child process first. The
        distribution is written into the plugins file, unless it is isolated.

        Args:
            requirement: Requirement as for :meth:`plan`, or a plan. A plan is carried out without
                change if its environment is unchanged and the current policy allows it.
            index_url: Index to use instead of the configured index.
            actor: Person or process that asks for it, for the audit.
            progress: Receives each line of the installer's output.
            keep_broken: Whether plugins that cannot be loaded are installed all the same.
            isolate: As for :meth:`plan`; a plan says it itself.

        Returns:
            The report. Its plugins can be discovered in this interpreter.

        Raises:
            RequirementError: If the requirement is not acceptable.
            InstallRefusedError: If the plan has refusals.
            InstallError: If the installation fails; the previous generation stays current. If a
                plugin was in service before and is not with the new generation, the earlier
                generation serves again, and ``rolled_back`` of the error's ``report`` is the
                failure. If only the registry cannot load the new plugins, ``success`` of the
                ``report`` is True.
            StorageError: If the audit cannot be written. Nothing is changed then.
        """
        plan = requirement if isinstance(requirement, InstallPlan) else None
        target = parse_target(requirement, index_url) if plan is None else plan.target
        self._context.refresh()
        attempt = Attempt(
            "install",
            target.shown,
            actor,
            progress=progress,
            distribution=target.name,
        )
        with ExitStack() as stack:
            content = stack.enter_context(attempt.changing(self._shared))
            environment, own = self._shared, content.lock.asked
            if plan is None and (isolate or self._planner.isolated(target.name)):
                plan = self._planner.plan(target, attempt.add_line, isolate=True)
            if plan is None:
                plan = environment.resolve([target], content, attempt.folder, attempt.add_line)
            else:
                if plan.isolated and plan.allowed:
                    environment, own = self._planner.environment(plan.isolated), {}
                    content = stack.enter_context(attempt.changing(environment))
                plan = self._planner.carry_out(plan, attempt)
            asked = {**own, **asked_for(plan, content)}
            return attempt.install(plan, asked, keep_broken=keep_broken)

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
        mandatory, built in or a sample, if it belongs to the host's environment, and if another
        distribution needs its distribution. The environment of an isolated plugin is removed.

        Args:
            slug: The plugin.
            delete_config: Whether desired state, settings and metadata of the removed plugins are
                deleted, even if another process has activated a plugin meanwhile. Otherwise they
                stay as stored.
            dependencies: Whether distributions that nothing needs any more are removed too. Those
                that provide plugins stay.
            actor: Person or process that asks for it, for the audit.
            progress: Not called: no installer runs.

        Returns:
            The report of the removal.

        Raises:
            PluginNotFoundError: If the registry has no such plugin.
            InstallError: If the plugin must stay or the removal fails; nothing has changed then.
                If the error's ``report`` is an UninstallReport, the distribution is removed and
                only the registry could not be updated.
            StorageError: If the storage fails.
        """
        self._context.refresh()
        name = self._context.catalogue.record(slug).distribution or slug
        attempt = Attempt("uninstall", name, actor, progress=progress, distribution=name)
        with attempt.changing(self._shared):
            attempt.outcome = "refused"
            # The checks are repeated now, while no other process can change anything.
            self._context.refresh()
            plugins = [p for p in self._context.catalogue.all().values() if p.distribution == name]
            isolated = self._planner.isolated(name)
            environment = self._planner.environment(isolated)
            content = environment.content()
            record = self._context.catalogue.record(slug)
            check_removable(name, record, plugins, content.distributions, environment.host())
            attempt.outcome = "failed"
            asked = {n: line for n, line in content.lock.asked.items() if n != name}
            removed = {name, *(content.distributions if isolated else ())}
            if dependencies and not isolated:
                before, after = (unneeded(content, a) for a in (content.lock.asked, asked))
                specs = self._shared.plugins(content.folder)
                removed |= after - before - {spec.distribution or "" for spec in specs}
            attempt.plan = plan = replace(_NO_PLAN, changes=content.removals(removed))
            slugs = tuple(Slug(plugin.slug) for plugin in plugins if plugin.is_installed)
            report = UninstallReport(distribution=name, changes=plan.changes, plugins=slugs)
            if isolated:
                attempt.remove(environment.generations.environment)
            else:
                attempt.publish(plan, asked)
            with taking_in(f"{name!r} was removed", report):
                self._context.rediscover()
                for gone in slugs if delete_config else ():
                    self._forget_even_wanted(gone)
        for gone in slugs:
            self._context.notify("plugin_uninstalled", slug=gone, distribution=name)
        return report

    def rollback(
        self,
        generation: int | None = None,
        *,
        actor: str | None = None,
        isolated: str | None = None,
    ) -> Generation:
        """Have an earlier generation serve again; the plugins file follows.

        Args:
            generation: Its number. Defaults to the generation that served before the current one
                and was not rolled back; 0 stands for none.
            actor: Person or process that asks for it, for the audit.
            isolated: Slug of a plugin with an environment of its own, None for the shared
                environment.

        Returns:
            The generation that serves now.

        Raises:
            InstallError: If there is no such generation, or the swap fails; nothing has changed
                then. If ``success`` of the error's ``report`` is True, only the registry could not
                be updated.
            StorageError: If the audit cannot be written. Nothing is changed then.
        """
        self._context.refresh()
        environment, number = self._planner.environment(isolated), generation
        shown = "the generation before" if generation is None else f"generation {generation}"
        attempt = Attempt("rollback", shown, actor)
        with attempt.changing(environment, is_rescue=True):
            numbers = environment.generations.numbers()
            if number is None:
                number = self.previous(isolated)
            if number is None or number not in (0, *numbers):
                there = ", ".join(map(str, numbers)) or "none"
                raise InstallError([f"{shown} is not there to go back to; there is {there}"])
            attempt.swap(number)
            report = InstallReport(distribution="", success=True)
            with taking_in(f"generation {number} serves", report):
                self._context.rediscover()
        return environment.generation(number)

    def sync(
        self,
        *,
        locked: str | Path | None = None,
        actor: str | None = None,
        progress: Progress | None = None,
    ) -> tuple[InstallReport, ...]:
        """Install the missing distributions of the plugins file, or exactly those of a lock.

        All lines are resolved together, within their specifiers, and come into service at once. If
        that fails, each line is tried alone. A line may list a distribution without plugins.
        Distributions that the file does not list are not touched. The registry never calls this
        method by itself.

        Args:
            locked: A ``pylock.toml``, of which exactly the distributions are installed that the
                host does not have; all others are removed. The plugins file is not read then.
            actor: Person or process that asks for it, for the audit.
            progress: Receives each line of the installer's output.

        Returns:
            A report for each line that was not satisfied already, in the order of the file. A
            line that fails has ``success`` False and its ``reasons``; the others continue. One
            report for a lock.

        Raises:
            InstallError: If there is no plugins file, or it cannot be read, or the lock cannot be
                installed. Also if a distribution was installed and the registry could not load its
                plugins.
        """
        check_actor(actor)
        self._context.refresh()
        if locked is not None:
            return (sync_locked(self._shared, Path(locked), actor, progress),)
        return sync_lines(self._shared, self.listed(), actor, progress)

    def recover(self) -> None:
        """Remove files that an interrupted change has left.

        Nothing depends on that: each change does it first.

        Raises:
            InstallError: If the environment cannot be changed.
        """
        with self._shared.generations.changing() as (current, _):
            self._shared.generations.retire(current)

    # -- the parts ---------------------------------------------------------------------------

    def _forget_even_wanted(self, slug: Slug) -> None:
        # In safe mode, and before anything was stored, there is nothing to forget.
        with suppress(PluginNotFoundError):
            try:
                self._context.forget(slug)
            except PluginActiveError:
                # Another process has switched on a plugin that would be removed.
                PluginRows(self._context.storage).set_active({slug: False})
                self._context.refresh()
                self._context.forget(slug)


_NO_PLAN = InstallPlan(target=Target(text="", shown="", name=None), distribution=None)
