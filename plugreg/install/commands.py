"""Base of the pip and uv drivers: from a target to a plan, and error messages.

See PEP 610 (URLs of installed distributions) and PEP 668 (externally managed environments).
"""

from __future__ import annotations

import errno
import os
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Final

from plugreg._support.slugs import canonical
from plugreg.exceptions import InstallError
from plugreg.install.contents import contents
from plugreg.install.environment import Environment, Found, visible
from plugreg.install.exact import direct_url, exact, hide_credentials, pinned, sha256_of, source_of
from plugreg.install.exceptions import (
    BuildFailedError,
    ExternallyManagedError,
    InstallConflictError,
    InstallerMissingError,
    InstallPermissionError,
    InstallRefusedError,
    InstallSpaceError,
)
from plugreg.install.installer import Installed, Progress
from plugreg.install.keeping import names_in, pins, unmet
from plugreg.install.loaded import loaded_groups
from plugreg.install.netrc import with_netrc
from plugreg.install.plan import Change, InstallPlan, Refusal, Target
from plugreg.install.policy import InstallPolicy
from plugreg.install.processes import Completed, credentials_in, last_lines, run, variables
from plugreg.install.unpacked import Unpacked, plugins_in

Failures = tuple[tuple[str | Callable[[str], bool], type[InstallError]], ...]
"""Patterns of an output, or functions that look at it, and what they tell of.

Each takes a time that grows with the output and no faster: a build may write anything, and a
pattern keeps all threads waiting."""

_OF_THE_MACHINE: Final[Failures] = (
    # What a build tells of does not begin like that.
    (r"^(?=\S*[\\/])\S*: No module named pip\b", InstallerMissingError),
    (
        r"^error: (?:externally-managed-environment|The interpreter at .* is externally managed)",
        ExternallyManagedError,
    ),
    (r"No space left on device|os error 28", InstallSpaceError),
)
_OF_THE_REST: Final[Failures] = (
    (r"No solution found", InstallConflictError),
    (r"Failed (to build|building)", BuildFailedError),
    (r"Permission denied|Read-only file system|os error 13", InstallPermissionError),
)
"""What an output tells of. A program's own patterns stand between both; the first found counts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What one verb works with: a folder that goes with it, and how commands are run in it."""

    folder: Path
    environment: Mapping[str, str]
    secrets: tuple[str, ...]
    timeout: float
    progress: Progress | None = None

    def run(self, *arguments: str) -> Completed:
        """Run a command in the folder; see :func:`plugreg.install.processes.run`."""
        return run(
            arguments,
            timeout=self.timeout,
            environment=self.environment,
            folder=self.folder,
            secrets=self.secrets,
            progress=self.progress,
        )

    @property
    def unpacked(self) -> Unpacked:
        """A prefix in it, made when something is put there."""
        return Unpacked(self.folder / "unpacked")

    def file(self, name: str, lines: Iterable[str]) -> str:
        """Write requirements into a file that nobody else may read; return its name for commands.

        Commands run in the folder, and tell of the file as they were.
        """
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return name


class CommandInstaller(ABC):
    """An Installer that runs a program for this interpreter, ``sys.executable``.

    ``timeout`` is how many seconds each command of it may take. A requirement reaches the program
    only in a file that it is given, never as an argument; an index goes by environment variable.
    Where a distribution has no wheel a plan has to build one, which runs code of it before anything
    was judged; a policy whose ``may_build`` is False keeps that from happening.
    """

    program: ClassVar[str]
    """What it is called."""

    own_variables: ClassVar[re.Pattern[str]]
    """Its own environment variables that are passed on: none that say what to install and where."""

    netrc_variables: ClassVar[tuple[str, ...]] = ()
    """Those of its variables whose URLs it is given without credentials; it has them by NETRC."""

    failures: ClassVar[Failures] = ()
    """What its own output may tell of."""

    def __init__(
        self,
        *,
        policy: InstallPolicy | None = None,
        plugins_file: str | os.PathLike[str] | None = None,
        timeout: float = 600.0,
    ) -> None:
        self._policy = InstallPolicy() if policy is None else policy
        self._plugins_file = plugins_file
        self._timeout = timeout

    @property
    def policy(self) -> InstallPolicy:
        """The policy of the host."""
        return self._policy

    @property
    def environment(self) -> Environment:
        """The environment of this interpreter."""
        return Environment()

    @property
    def plugins_file(self) -> str | os.PathLike[str] | None:
        """The file that lists the installed plugins, None without one."""
        return self._plugins_file

    def plan(self, target: Target, group: str, others: Collection[str] = ()) -> InstallPlan:
        """Return the changes that an installation would make, without making them.

        The installer first looks for versions that leave every other installed distribution as it
        is. If there are none, it looks again without this condition. The plan then shows the
        necessary changes and is refused.

        Args:
            target: The requirement to install.
            group: Entry-point group of the registry's plugins.
            others: Requirements of installed distributions that may change too.

        Returns:
            The plan, with the refusals of the policy.

        Raises:
            InstallConflictError: If no set of versions satisfies all requirements.
            InstallError: If the installer fails otherwise.
        """
        refusals = self._policy.of_target(target)
        if refusals:
            return InstallPlan(target=target, distribution=target.name, refusals=refusals)
        self._check()
        with self._work(target) as work:
            return self._planned(work, target, group, others)

    def install(self, plan: InstallPlan, progress: Progress | None = None) -> str:
        """Make exactly the changes of a plan.

        Versions are not resolved again. Each distribution has the version of the plan, the hash
        if the plan has one, and the commit if it comes from a repository.

        Args:
            plan: The plan.
            progress: Receives each line of output.

        Returns:
            The output of the installer, without credentials.

        Raises:
            InstallRefusedError: If the plan has refusals.
            InstallError: If the installer fails, or a distribution is missing afterwards because
                a configuration file names another place.
        """
        if not plan.allowed:
            raise InstallRefusedError(plan)
        self._check()
        self._check_writable()
        lines = [exact(plan.target, plan.distribution, change) for change in plan.changes]
        if not lines:
            return ""
        with self._work(plan.target, progress) as work:
            output = self._put(work, lines)
        missing = [change.name for change in plan.changes if self._is_missing(change)]
        self._require_put(missing, sys.prefix, output)
        installed = self.environment.distributions()
        for change in plan.changes:
            if change.direct:
                hide_credentials(installed[change.name].path)
        return output

    def uninstall(self, names: Sequence[str], progress: Progress | None = None) -> str:
        """Remove distributions.

        Args:
            names: Canonical names.
            progress: Receives each line of output.

        Returns:
            The output of the installer, without credentials.

        Raises:
            InstallError: If the installer fails, or a distribution is still installed afterwards.
        """
        self._check()
        self._check_writable()
        if not names:
            return ""
        with self._work(None, progress) as work:
            output = self._remove(work, names)
        left = ", ".join(repr(name) for name in names if self.show(name) is not None)
        if left:
            told = last_lines(output.splitlines())
            raise InstallError([f"{self.program} has not removed {left}", *told])
        return output

    def show(self, name: str) -> Installed | None:
        """Return an installed distribution, None if it is not installed.

        Args:
            name: Its name.
        """
        found = Environment().distributions().get(canonical(name))
        if found is None:
            return None
        return Installed(
            name=found.name,
            version=found.version,
            location=str(found.path.parent),
            installer=found.installer,
        )

    def _is_missing(self, change: Change) -> bool:
        found = self.show(change.name)
        return found is None or found.version == change.before != change.after

    def _require_put(self, missing: Iterable[str], prefix: str, output: str) -> None:
        """Raise InstallError where some are missing: a configuration has led elsewhere."""
        names = ", ".join(map(repr, sorted(missing)))
        if names:
            reason = f"{self.program} has not put {names} into {prefix!r}"
            remedy = "take what says where to install out of its configuration"
            raise InstallError([f"{reason}; {remedy}", *last_lines(output.splitlines())])

    @abstractmethod
    def _check_program(self) -> None:
        """Raise InstallerMissingError where the program is not there."""

    @abstractmethod
    def _given(self, index_url: str | None, links: Sequence[str]) -> Mapping[str, str]:
        """Return the program's environment variables: index, and where else files may be."""

    @abstractmethod
    def _resolve(
        self,
        work: Work,
        requirement: str,
        constraints: Sequence[str],
        before: Mapping[str, Found],
    ) -> tuple[Change, ...]:
        """Return what installing or upgrading a requirement would change; change nothing.

        Raises InstallConflictError where no set of versions suits all.
        """

    @abstractmethod
    def _put(self, work: Work, lines: Sequence[str], prefix: Path | None = None) -> str:
        """Install exact requirements alone, into ``prefix`` or this environment; return output.

        What is in the prefix already stays; what is in this environment does not count for it.
        """

    @abstractmethod
    def _remove(self, work: Work, names: Sequence[str]) -> str:
        """Remove distributions from this environment; return what was told."""

    @abstractmethod
    def _conflicts(self, output: str) -> tuple[str, ...]:
        """Return the lines of an output that say which requirements conflict."""

    def _completed(self, done: Completed) -> Completed:
        """Return a command that went well; raise what the output of another one tells of."""
        if not done.code:
            return done
        reasons = last_lines(done.output.splitlines()) or [
            f"{self.program} ended with exit code {done.code} and told nothing"
        ]
        for sign, kind in (*_OF_THE_MACHINE, *self.failures, *_OF_THE_REST):
            if sign(done.output) if callable(sign) else re.search(sign, done.output, re.MULTILINE):
                if issubclass(kind, InstallConflictError):
                    raise kind(reasons, self._conflicts(done.output))
                raise kind(reasons)
        raise InstallError(reasons)

    @contextmanager
    def _work(self, target: Target | None, progress: Progress | None = None) -> Iterator[Work]:
        """Give a folder and all that commands need, for one verb."""
        from tempfile import TemporaryDirectory

        policy = self._policy
        index_url = None if target is None else policy.index_url(target)
        own = () if target is None else target.secrets
        try:
            with TemporaryDirectory(prefix="plugreg-", ignore_cleanup_errors=True) as folder:
                # What an installer that is ended leaves behind goes with the folder.
                given = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), folder)
                # By this git fetches no submodule: the path is one that none can have.
                given |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "submodule.active"}
                given |= {"GIT_CONFIG_VALUE_0": ":(literal).git"}
                given |= self._given(index_url, [os.fspath(path) for path in policy.find_links])
                environment = variables(self.own_variables, given, isolated=policy.isolated)
                yield Work(
                    folder=Path(folder),
                    environment=with_netrc(environment, self.netrc_variables, Path(folder)),
                    secrets=(*own, *policy.secrets, *credentials_in(environment)),
                    timeout=self._timeout,
                    progress=progress,
                )
        except OSError as error:
            kind = InstallSpaceError if error.errno == errno.ENOSPC else InstallError
            raise kind([f"{self.program} cannot be used: {error}"]) from error

    def _check(self) -> None:
        """Raise what would keep any verb from working, a plan too, before anything is begun."""
        import sysconfig

        self._check_program()
        marker = Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
        if sys.prefix == sys.base_prefix and marker.exists():
            raise ExternallyManagedError(
                [f"the environment {sys.prefix!r} is externally managed; use one made by venv"]
            )

    def _check_writable(self) -> None:
        """Raise InstallPermissionError where nothing can be changed, before anything is begun."""
        for folder in (Environment().purelib, Environment().platlib):
            if not os.access(folder, os.W_OK):
                raise InstallPermissionError([f"this process may not write to {str(folder)!r}"])

    def _planned(
        self, work: Work, target: Target, group: str, others: Collection[str]
    ) -> InstallPlan:
        before = visible()
        asked: Change | None = None
        name, requirement = target.name, target.text
        if target.url is not None:
            # Only the distribution itself tells its name, and which commit its branch has now.
            asked = self._unpacked(work, target.text, before)
            name, requirement = asked.name, pinned(target, asked)
        assert name is not None, "a target without a URL has a name"
        changes, conflicts = self._changes(work, requirement, name, before, others)
        if asked is not None and name not in {change.name for change in changes}:
            # Of the same version, it would be taken for installed.
            changes = (*changes, asked)
        forbidden = self._policy.of_changes(changes, name, names_in(others))
        refusals = [*forbidden, *conflicts, *unmet(before, changes)]
        data_files: tuple[str, ...] = ()
        scripts: tuple[str, ...] = ()
        if not refusals:
            self._unpack(work, target, name, changes)
            brought = contents(work.unpacked, Environment(), changes, self._policy.scripts)
            data_files, scripts = brought.data_files, brought.scripts
            refusals = list(brought.refusals)
        found = plugins_in(work.unpacked.folders, group)
        unpacked = work.unpacked.distributions()
        changes = tuple(
            replace(
                change,
                plugins=found.get(change.name, ()),
                entry_points=loaded_groups(unpacked[change.name], group),
            )
            if change.name in unpacked
            else change
            for change in changes
        )
        refusals += self._policy.of_entry_points(changes)
        plugins = None
        if name in unpacked:
            plugins = found.get(name, ())
        elif name in before and not refusals:
            plugins = plugins_in([before[name].path.parent], group).get(name, ())
        if plugins == ():
            reason = f"{name!r} brings no entry point of group {group!r}"
            refusals.append(Refusal(rule="plugin", reason=reason))
        return InstallPlan(
            target=target,
            distribution=name,
            changes=tuple(sorted(changes, key=lambda change: change.name)),
            refusals=tuple(refusals),
            plugins=plugins,
            data_files=data_files,
            scripts=scripts,
        )

    def _changes(
        self,
        work: Work,
        requirement: str,
        name: str,
        before: Mapping[str, Found],
        others: Collection[str],
    ) -> tuple[tuple[Change, ...], tuple[Refusal, ...]]:
        """Return what a requirement would change, and the conflict with what is installed."""
        own = [*self._policy.constraint_lines(), *others]
        may_change = {name} | names_in(others)
        kept = pins(
            distribution for distribution in before.values() if distribution.name not in may_change
        )
        try:
            return self._resolve(work, requirement, [*own, *kept], before), ()
        except InstallConflictError as error:
            conflict = "; ".join(error.conflicts or error.reasons)
        changes = self._resolve(work, requirement, own, before)
        reason = f"{name!r} does not suit what is installed: {conflict}"
        return changes, (Refusal(rule="conflict", reason=reason),)

    def _unpack(self, work: Work, target: Target, name: str, changes: Sequence[Change]) -> None:
        """Put into ``work.unpacked`` what changes would bring, and is not there yet."""
        there = work.unpacked.distributions()
        lines = [exact(target, name, change) for change in changes if change.name not in there]
        if lines:
            output = self._put(work, lines, work.unpacked.prefix)
            missing = {change.name for change in changes} - work.unpacked.distributions().keys()
            self._require_put(missing, str(work.unpacked.prefix), output)

    def _unpacked(self, work: Work, requirement: str, before: Mapping[str, Found]) -> Change:
        """Install one requirement alone into ``work.unpacked``, and return what it is."""
        self._put(work, [requirement], work.unpacked.prefix)
        found = list(work.unpacked.distributions().values())
        if len(found) != 1:
            raise InstallError([f"{self.program} has unpacked {len(found)} distributions, not one"])
        [asked] = found
        direct = direct_url(asked.path)
        return Change(
            name=asked.name,
            before=before[asked.name].version if asked.name in before else None,
            after=asked.version,
            source=source_of(direct),
            sha256=sha256_of(direct),
            direct=True,
        )
