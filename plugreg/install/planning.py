"""Plans of a registry, and the environments that they are for."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from weakref import finalize

from plugreg.exceptions import InstallError
from plugreg.install.changes import Attempt, Changer
from plugreg.install.disk import disk_errors
from plugreg.install.distributions import distributions
from plugreg.install.generations import isolated_folders
from plugreg.install.installer import Progress
from plugreg.install.plan import InstallPlan, Lock, Refusal, Target
from plugreg.install.staging import Content, InstallContext, Staged, Stager


class _Planned(NamedTuple):
    plan: InstallPlan
    folder: Path
    discard: finalize[..., Planner]


class Planner:
    """Makes plans, for the shared environment or for that of an isolated plugin.

    Args:
        context: The parts of the host.
    """

    def __init__(self, context: InstallContext) -> None:
        self._context = context
        self.shared = Changer(context)
        # The last plan, and its distributions, so that carrying it out needs no network.
        self._planned: _Planned | None = None

    def changer_of(self, isolated: str | None) -> Changer:
        """Return the changer of the shared environment, or of that of an isolated plugin."""
        return self.shared if isolated is None else Changer(self._context, isolated)

    def isolated(self, name: str | None) -> str | None:
        """Return the slug of the isolated plugin that a distribution provides, None if none."""
        folders = isolated_folders(self._context.installer.environment)
        return next((slug for slug, path in folders.items() if name in distributions(path)), None)

    def plan(
        self, target: Target, progress: Progress | None = None, *, isolate: bool
    ) -> InstallPlan:
        """Return a plan, whose files stay in a temporary folder."""
        from tempfile import mkdtemp

        if self._planned is not None:
            self._planned.discard()
        content = self.shared.content()
        folder = Path(mkdtemp(prefix="plugreg-"))
        discard = finalize(self, _discard, folder, os.getpid())
        if isolate:
            nothing = Content(folder / "nothing", {}, Lock())
            staged = Stager(self._context, isolate=True).stage([target], nothing, folder, progress)
            plan = self._isolate(staged, content)
        else:
            plan = self.shared.stager.stage([target], content, folder, progress).plan
        self._planned = _Planned(plan, folder, discard)
        return plan

    def _isolate(self, staged: Staged, shared: Content) -> InstallPlan:
        """Return the plan of distributions that were staged for an isolated environment."""
        plan, name = staged.plan, staged.plan.distribution
        slugs = [spec.slug for spec in staged.specs if spec.distribution == name]
        fault = None
        if shared.version(name) is not None:
            fault = f"{name!r} is installed beside other plugins; uninstall it there first"
        elif plan.allowed and len(slugs) != 1:
            fault = f"{name!r} brings {len(slugs)} plugins; only one can have its own environment"
        if fault is not None:
            refusals = (*plan.refusals, Refusal(rule="plugin", reason=fault))
            return replace(plan, refusals=refusals)
        if not slugs:
            return plan
        changer = self.changer_of(slugs[0])
        content = changer.content()
        gone = content.distributions.keys() - {change.name for change in plan.changes}
        changes = [replace(c, before=content.version(c.name)) for c in plan.changes]
        return replace(
            plan,
            changes=(*changes, *content.removals(gone)),
            environment=changer.stager.digest(content),
            isolated=slugs[0],
        )

    def carry_out(self, plan: InstallPlan, changer: Changer, attempt: Attempt) -> Staged:
        """Stage the distributions of a plan."""
        if not plan.allowed:
            return Staged(plan)
        if plan.environment != changer.stager.digest(attempt.content):
            reason = "the environment changed since the plan was made; nothing was done: plan again"
            raise InstallError([reason])
        folder = attempt.folder
        if self._planned is not None and self._planned.plan is plan:
            with disk_errors(f"{str(folder)!r} cannot be filled"), suppress(FileNotFoundError):
                mode = folder.stat().st_mode
                shutil.copytree(self._planned.folder, folder, dirs_exist_ok=True)
                # Nobody else may read the temporary folder, whose mode was copied too.
                folder.chmod(mode)
        return changer.stager.restage(plan, attempt.content, folder, attempt.add_line)


def _discard(folder: Path, process: int) -> None:
    # A forked process ends without taking its parent's folder along.
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
