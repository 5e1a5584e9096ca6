"""Plans of a registry, and the environments that they are for; which plugins may leave them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from weakref import finalize

from plugreg._support.slugs import canonical
from plugreg.exceptions import InstallError
from plugreg.install.changes import Attempt
from plugreg.install.disk import disk_errors
from plugreg.install.distributions import Distribution, distributions, required
from plugreg.install.environment import InstallContext, PackageEnvironment
from plugreg.install.generations import isolated_folders
from plugreg.install.installer import Progress
from plugreg.install.plan import InstallPlan, Refusal, Target
from plugreg.records import PluginRecord, PluginSpec


class Planner:
    """Makes plans, for the shared environment or for that of an isolated plugin.

    Args:
        context: The parts of the host.
    """

    def __init__(self, context: InstallContext) -> None:
        self._context = context
        self.shared = PackageEnvironment(context)
        # The last plan, and its distributions, so that carrying it out needs no network.
        self._plan: InstallPlan | None = None
        self._folder = Path()
        self._discard: Callable[[], object] | None = None

    def environment(self, isolated: str | None) -> PackageEnvironment:
        """Return the shared environment, or that of an isolated plugin."""
        return self.shared if isolated is None else PackageEnvironment(self._context, isolated)

    def isolated(self, name: str | None) -> str | None:
        """Return the slug of the isolated plugin that a distribution provides, None if none."""
        folders = isolated_folders(self._context.installer.environment)
        return next((slug for slug, path in folders.items() if name in distributions(path)), None)

    def plan(
        self, target: Target, progress: Progress | None = None, *, isolate: bool
    ) -> InstallPlan:
        """Return a plan, whose files stay in a temporary folder."""
        from tempfile import mkdtemp

        if self._discard is not None:
            self._discard()
        self._folder = Path(mkdtemp(prefix="plugreg-"))
        self._discard = finalize(self, _discard, self._folder, os.getpid())
        # The slug of an isolated plugin is known only when it is staged.
        environment = self.environment("" if isolate else None)
        content = environment.content(0 if isolate else None)
        plan = environment.resolve([target], content, self._folder, progress)
        if isolate:
            plan = self._isolate(plan, environment.plugins(self._folder))
        self._plan = plan
        return plan

    def carry_out(self, plan: InstallPlan, attempt: Attempt) -> InstallPlan:
        """Stage the distributions of a plan."""
        environment, folder = attempt.environment, attempt.folder
        if not plan.allowed:
            return plan
        if plan.environment != environment.digest(attempt.content):
            reason = "the environment changed since the plan was made; nothing was done: plan again"
            raise InstallError([reason])
        if plan is self._plan:
            with disk_errors(f"{str(folder)!r} cannot be filled"), suppress(FileNotFoundError):
                mode = folder.stat().st_mode
                shutil.copytree(self._folder, folder, dirs_exist_ok=True)
                # Nobody else may read the temporary folder, whose mode was copied too.
                folder.chmod(mode)
        return environment.fetch(plan, attempt.content, folder, attempt.add_line)

    def _isolate(self, plan: InstallPlan, specs: Iterable[PluginSpec]) -> InstallPlan:
        """Return the plan of distributions that were staged for an isolated environment."""
        name = plan.distribution
        slugs = [spec.slug for spec in specs if spec.distribution == name]
        fault = None
        if self.shared.content().version(name) is not None:
            fault = f"{name!r} is installed beside other plugins; uninstall it there first"
        elif plan.allowed and len(slugs) != 1:
            fault = f"{name!r} brings {len(slugs)} plugins; only one can have its own environment"
        if fault is not None:
            refusals = (*plan.refusals, Refusal(rule="plugin", reason=fault))
            return replace(plan, refusals=refusals)
        if not slugs:
            return plan
        environment = self.environment(slugs[0])
        content = environment.content()
        gone = content.distributions.keys() - {change.name for change in plan.changes}
        changes = [replace(c, before=content.version(c.name)) for c in plan.changes]
        return replace(
            plan,
            changes=(*changes, *content.removals(gone)),
            environment=environment.digest(content),
            isolated=slugs[0],
        )


def _discard(folder: Path, process: int) -> None:
    # A forked process ends without taking its parent's folder along.
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def check_removable(
    name: str,
    record: PluginRecord,
    siblings: Iterable[PluginRecord],
    content: Mapping[str, Distribution],
    host: Mapping[str, Distribution],
) -> None:
    """Raise InstallError, in the words that clients know, for a plugin that must stay.

    ``name`` is that of its distribution, ``siblings`` are all plugins of that.
    """
    wanted = [plugin.slug for plugin in siblings if plugin.wanted]
    needing = [
        found.name
        for found in content.values()
        if found.name != name and name in (canonical(needed.name) for needed in required(found))
    ]
    cannot = "Plugin cannot be uninstalled as"
    in_host = f"{cannot} its package is not in the environment of the plugins: it belongs to the "
    reasons = {
        # A mandatory plugin is always wanted, so it is called active only where it serves.
        f"{cannot} it is currently active": record.active
        or (record.wanted and not record.is_mandatory),
        f"INVE-E10: {cannot} it is mandatory": record.is_mandatory,
        f"INVE-E10: {cannot} it is a sample plugin": record.is_sample,
        f"INVE-E10: {cannot} it is a built-in plugin": record.is_builtin,
        "Plugin is not installed": not record.is_installed,
        "Plugin is not a packaged plugin": not record.is_package,
        f"{cannot} {_enumerated(wanted)} of its package is active": wanted,
        f"{in_host}host's environment, remove it there": name not in content and name in host,
        "Plugin installation not found": name not in content,
        f"{cannot} {_enumerated(needing)} requires its package": needing,
    }
    for reason, holds in reasons.items():
        if holds:
            raise InstallError([reason])


def _enumerated(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
