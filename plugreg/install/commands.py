"""Base of the pip and uv drivers: resolve and stage beside the host's environment.

Both programs work for a temporary folder that has the metadata of the distributions that count as
installed, and none of their files. They write only temporary folders.
"""

from __future__ import annotations

import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from plugreg._support.command import Completed, last_lines
from plugreg._support.slugs import canonical
from plugreg._support.url_secrets import masked
from plugreg.exceptions import InstallError
from plugreg.install.constraints import accepts
from plugreg.install.disk import disk_errors
from plugreg.install.distributions import Distribution, distributions, host_distributions, required
from plugreg.install.exceptions import (
    BuildFailedError,
    InstallConflictError,
    InstallPermissionError,
    InstallSpaceError,
)
from plugreg.install.installer import Progress, Release
from plugreg.install.plan import Pin, Target
from plugreg.install.policy import InstallPolicy
from plugreg.install.sources import pinned_url
from plugreg.install.variables import credentials_in, variables, with_netrc
from plugreg.install.work import (
    Work,
    check_python,
    exact_line,
    hide_credentials,
    is_valid,
    line_of,
    single_version,
)

if TYPE_CHECKING:
    from packaging.requirements import Requirement

Signs = tuple[tuple[str, type[InstallError]], ...]
"""Patterns of an output, and the error that each is a sign of; the first that is found decides.

Each takes time linear in the output: a build may write anything, and a pattern blocks all
threads."""

_OF_THE_MACHINE: Final[Signs] = ((r"No space left on device|os error 28", InstallSpaceError),)
_OF_THE_REST: Final[Signs] = (
    (r"No solution found", InstallConflictError),
    (r"Failed (to build|building)", BuildFailedError),
    (r"Permission denied|Read-only file system|os error 13", InstallPermissionError),
)
_PLAIN: Final = re.compile(
    r"[A-Za-z0-9][\w.-]*(?:\[[\w,.-]*\])? ?\(?[\w<>=!~,.*+]*\)?"
    r"(?: ?;(?: (?:and |or )?\w+ ?(?:[<>=!~]=?|in|not in) ?(?:'[^']*'|\"[^\"]*\"))+)?"
)
"""A requirement without a URL whose form is right at a glance."""
_EARLIEST: Final = "0.dev0"
"""A version that any release is newer than."""


class CommandInstaller(ABC):
    """An Installer that runs a program for the version and platform of ``sys.executable``.

    Requirements reach the program only in a file, indexes in variables. A distribution without a
    wheel must be built, which runs its code before anything is known of it; a policy whose
    ``may_build`` is False prevents that.
    """

    program: ClassVar[str]
    """Its name."""

    own_variables: ClassVar[re.Pattern[str]]
    """Its environment variables that are passed on: none that select packages or places."""

    netrc_variables: ClassVar[tuple[str, ...]] = ()
    """Those whose URLs it receives without credentials, which it reads from NETRC."""

    signs: ClassVar[Signs] = ()
    """Signs of failures in its output."""

    compares_hashes: ClassVar[bool] = True
    """Whether it compares each file of an index with the hash that the index has."""

    age_option: ClassVar[str]
    """Its option for the time before which releases must be uploaded."""

    yanked: ClassVar[re.Pattern[str]]
    """Name and reason in its warning of a release that was withdrawn."""

    def __init__(
        self,
        *,
        environment: str | os.PathLike[str] | None = None,
        policy: InstallPolicy | None = None,
        plugins_file: str | os.PathLike[str] | None = None,
        timeout: float = 600.0,
        keep: int = 3,
        lock_timeout: float = 10.0,
    ) -> None:
        if environment is None or not os.fspath(environment):
            kind = type(self).__name__
            reason = f"environment= of {kind} is missing: plugins are installed into a folder "
            reason += f"beside the host's packages; write {kind}(environment='plugins.d')"
            raise InstallError([reason])
        if keep < 0:
            raise ValueError(f"keep is {keep}; it must be 0 or more, such as 3")
        self.environment: Final = Path(environment).absolute()
        self.policy: Final = InstallPolicy() if policy is None else policy
        self.plugins_file: Final = plugins_file
        self.keep: Final = keep
        self.lock_timeout: Final = lock_timeout
        self._timeout = timeout

    def resolve(
        self,
        targets: Sequence[Target],
        *,
        beside: Path | None = None,
        constraints: Sequence[str] = (),
        folder: Path | None = None,
        progress: Progress | None = None,
        isolate: bool = False,
    ) -> tuple[Pin, ...]:
        """Return the distributions that must be fetched to satisfy targets.

        See :meth:`plugreg.install.installer.Installer.resolve`.
        """
        from packaging.requirements import Requirement

        with self._work(targets, folder, progress) as work:
            host = {n: found for n, found in work.host.items() if not isolate or n == "plugreg"}
            asked = [self._named(work, target) for target in targets]
            names = {canonical(requirement.name) for requirement in asked}
            others = {} if beside is None else dict(distributions(beside))
            installed = [
                found
                for found in {**others, **host}.values()
                if is_valid(found) and (found.name in host or found.name not in names)
            ]
            self._add_stubs(work, installed, host)
            for requirement in asked:
                if requirement.url and (own := host.get(canonical(requirement.name))):
                    line = masked(f"{requirement} is asked for", work.secrets)
                    conflicts = (line, f"the host has {own.name} {own.version}")
                    raise InstallConflictError(conflicts, conflicts)
            # A name that only its repository knows may be a name that the caller keeps.
            kept = [r for r in map(Requirement, constraints) if canonical(r.name) not in names]
            # Installed distributions are required as well, so that their requirements are checked.
            there = [requirement for requirement in kept if canonical(requirement.name) in others]
            lines = [line_of(requirement) for requirement in (*asked, *there)]
            limits = self.policy.constraint_lines()
            pinned = [
                f"{found.name}=={found.version}" for found in host.values() if is_valid(found)
            ]
            try:
                bound = [*limits, *(line_of(r) for r in kept if r not in there), *pinned]
                pins = self._solve(work, lines, bound)
            except InstallConflictError as error:
                fixed = {
                    canonical(line.name): ("the environment", version)
                    for line in (*map(Requirement, limits), *kept)
                    if (version := single_version(line))
                }
                fixed |= {name: ("the host", found.version) for name, found in host.items()}
                chain = self._explain(work, asked, fixed)
                raise InstallConflictError(error.reasons, chain or error.conflicts) from error
            versions = {name: found.version for name, found in others.items()}
            wanted = tuple(
                pin
                for pin in sorted(pins, key=lambda pin: pin.name)
                if pin.name not in host and (pin.direct or versions.get(pin.name) != pin.version)
            )
            if folder is not None:
                if not self.compares_hashes or set(wanted) != set(pins):
                    shutil.rmtree(work.target, ignore_errors=True)
                    self._put(work, [exact_line(pin, targets) for pin in wanted])
                self._hand_over(work, wanted, folder)
        return wanted

    def stage(
        self,
        pins: Sequence[Pin],
        folder: Path,
        *,
        targets: Sequence[Target] = (),
        progress: Progress | None = None,
    ) -> None:
        """Unpack exactly these distributions, without dependencies, into an empty folder.

        See :meth:`plugreg.install.installer.Installer.stage`.
        """
        with self._work(targets, folder, progress) as work:
            self._put(work, [exact_line(pin, targets) for pin in pins])
            self._hand_over(work, pins, folder)

    def latest(self, installed: Mapping[str, str]) -> Mapping[str, Release]:
        """Return the releases that the index has; see :class:`Installer.latest`."""
        with self._work(()) as work:
            earliest = [
                Distribution(name=n, version=_EARLIEST, path=work.folder) for n in installed
            ]
            self._add_stubs(work, earliest, host={})
            newest = self._newest(work)
            reasons = self._yanked(work, [f"{name}=={installed[name]}" for name in newest])
        return {
            name: Release(version=version, yanked=reasons.get(name))
            for name, version in newest.items()
        }

    # -- the program -------------------------------------------------------------------------

    @abstractmethod
    def _check_program(self, host: Mapping[str, Distribution]) -> None:
        """Raise InstallerMissingError if the program is missing or too old."""

    @abstractmethod
    def _variables(self, index_url: str | None, links: Sequence[str]) -> Mapping[str, str]:
        """Return the program's environment variables for an index and *links*."""

    @abstractmethod
    def _solve(self, work: Work, lines: Sequence[str], constraints: Sequence[str]) -> list[Pin]:
        """Return the pins that requirements add or change, installed into ``work.target``.

        Raises InstallConflictError if no set of versions suits all.
        """

    @abstractmethod
    def _put(self, work: Work, lines: Sequence[str]) -> None:
        """Install exact requirements alone, if any, into ``work.target``."""

    @abstractmethod
    def _look_up(self, work: Work, lines: Sequence[str]) -> tuple[list[Pin], str]:
        """Return the files of exact requirements, and the output."""

    @abstractmethod
    def _newest(self, work: Work) -> dict[str, str]:
        """Return the latest versions of installed distributions."""

    @abstractmethod
    def _conflicts(self, output: str) -> tuple[str, ...]:
        """Return the lines of an output that name conflicting requirements."""

    def _stubs(self, work: Work) -> Path:
        """Return the folder with the metadata of installed distributions."""
        return work.target

    def _gather(self, work: Work, folder: Path) -> None:
        """Move the installed files into a folder."""
        for path in work.target.iterdir() if work.target.exists() else ():
            if path.name != ".lock":  # uv's own.
                path.replace(folder / path.name)

    def _kind(self, output: str) -> type[InstallError]:
        """Return the class of the error that the output of a failed command shows."""
        signs = (*_OF_THE_MACHINE, *self.signs, *_OF_THE_REST)
        found = (kind for sign, kind in signs if re.search(sign, output, re.MULTILINE))
        return next(found, InstallError)

    @property
    def _age(self) -> tuple[str, ...]:
        newest = self.policy.newest_upload()
        return () if newest is None else (self.age_option, newest)

    # -- steps -------------------------------------------------------------------------------

    def _check(self, done: Completed) -> Completed:
        """Return a command that succeeded; raise the error that the output of another shows."""
        if not done.code:
            return done
        reasons = last_lines(done.output.splitlines()) or [
            f"{self.program} ended with exit code {done.code} and without output"
        ]
        kind = self._kind(done.output)
        if issubclass(kind, InstallConflictError):
            raise kind(reasons, self._conflicts(done.output))
        raise kind(reasons)

    @contextmanager
    def _work(
        self,
        targets: Sequence[Target],
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Work]:
        """Yield everything that the commands of a call need."""
        from tempfile import TemporaryDirectory

        policy = self.policy
        host = host_distributions(self.environment)
        self._check_program(host)
        # The leftovers of an installer that is ended go with the folder, and those of a host that
        # is killed with the folder that contains it.
        with (
            disk_errors(f"{self.program} cannot be used"),
            TemporaryDirectory(
                prefix=".plugreg-", dir=folder, ignore_cleanup_errors=True
            ) as temporary,
        ):
            given = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), temporary)
            # With this git fetches no submodule: no submodule can have such a path.
            given |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "submodule.active"}
            given |= {"GIT_CONFIG_VALUE_0": ":(literal).git"}
            index_url = policy.index_url(next((t for t in targets if t.index_url), None))
            given |= self._variables(index_url, [os.fspath(path) for path in policy.find_links])
            environment = variables(self.own_variables, given, isolated=policy.isolated)
            own = (secret for target in targets for secret in target.secrets)
            yield Work(
                folder=Path(temporary),
                target=Path(temporary, "target"),
                host=host,
                environment=with_netrc(environment, self.netrc_variables, Path(temporary)),
                secrets=(*own, *policy.secrets, *credentials_in(environment)),
                timeout=self._timeout,
                progress=progress,
            )

    def _named(self, work: Work, target: Target) -> Requirement:
        """Return the requirement of a target; the name of a bare URL must be looked up."""
        from packaging.requirements import Requirement

        if target.name is not None:
            return Requirement(target.text)
        pins, _ = self._look_up(work, [target.text])
        if len(pins) != 1:
            raise InstallError([f"{target.shown!r} gives {len(pins)} distributions, not one"])
        return Requirement(f"{pins[0].name} @ {pinned_url(target.url or '', pins[0].source or '')}")

    def _add_stubs(
        self, work: Work, installed: Iterable[Distribution], host: Mapping[str, Distribution]
    ) -> None:
        """Make distributions count as installed.

        Of the host's distributions only requirements of extras matter: a plugin may require them.
        """
        from packaging.requirements import InvalidRequirement, Requirement

        folder = self._stubs(work)
        for found in installed:
            is_host = found.name in host
            lines = ["Metadata-Version: 2.1", f"Name: {found.name}", f"Version: {found.version}"]
            lines += [f"Provides-Extra: {extra}" for extra in found.extras]
            for line in found.requires:
                with suppress(InvalidRequirement):
                    if is_host and "extra" not in line.partition(";")[2]:
                        continue
                    shown = line
                    if not _PLAIN.fullmatch(line):  # Parsing all of them takes long.
                        needed = Requirement(line)
                        needed.url = None if canonical(needed.name) in host else needed.url
                        shown = str(needed)
                    lines.append(f"Requires-Dist: {shown}")
            path = folder / f"{found.name.replace('-', '_')}-{found.version}.dist-info"
            # Its RECORD lets a program replace it. It has no INSTALLER, unlike installed
            # distributions.
            files = {"METADATA": "\n".join(lines)}
            if not is_host:
                files["RECORD"] = f"{path.name}/METADATA,,\n{path.name}/RECORD,,\n"
                files["direct_url.json"] = found.text("direct_url.json")
            path.mkdir(parents=True)
            for file, text in files.items():
                if text:
                    (path / file).write_text(text, encoding="utf-8")

    def _hand_over(self, work: Work, pins: Sequence[Pin], folder: Path) -> None:
        """Gather the installed distributions in *folder*, and check that they are the pins."""
        self._gather(work, folder)
        there = distributions(folder)
        missing = ", ".join(repr(pin.name) for pin in pins if pin.name not in there)
        if missing:
            reason = f"{self.program} has not installed {missing} into {str(folder)!r}; remove "
            raise InstallError([f"{reason}options on where to install from its configuration"])
        for found in there.values():
            check_python(found)
            hide_credentials(found)

    def _yanked(self, work: Work, lines: Sequence[str]) -> dict[str, str]:
        """Return why exact requirements were withdrawn, by name."""
        try:
            _, output = self._look_up(work, lines) if lines else ([], "")
        except InstallError:
            # One of them is no longer on the index, which says nothing about the others.
            found: dict[str, str] = {}
            for line in lines if len(lines) > 1 else ():
                found |= self._yanked(work, [line])
            return found
        return {canonical(name): reason.strip() for name, reason in self.yanked.findall(output)}

    def _explain(
        self, work: Work, asked: Sequence[Requirement], fixed: Mapping[str, tuple[str, str]]
    ) -> tuple[str, ...]:
        """Return the chain of requirements that leads to a conflict with fixed distributions.

        It is that of the latest versions, which are fetched level by level. It is empty
        if there is no conflict with these. *fixed* has the place and version of the fixed
        distributions.
        """
        chosen: dict[str, Distribution] = {}
        level: list[tuple[Requirement, tuple[str, ...]]]
        level = [(requirement, (f"{requirement} is asked for",)) for requirement in asked]
        while level:
            missing: dict[str, str] = {}
            for requirement, chain in level:
                name = canonical(requirement.name)
                where, version = fixed.get(name, ("", ""))
                if where and not accepts(requirement, version):
                    steps = (*chain, f"{where} has {name} {version}")
                    return tuple(masked(step, work.secrets) for step in steps)
                # A URL in metadata is not fetched for an explanation.
                is_fetched = requirement.url is None or requirement in asked
                if not where and name not in chosen and is_fetched:
                    missing.setdefault(name, line_of(requirement))
            shutil.rmtree(work.target, ignore_errors=True)
            try:
                self._put(replace(work, progress=None), list(missing.values()))
            except InstallError:
                return ()
            found = self._installed(work)
            chosen |= found
            level = [
                (line, (*chain, f"{parent.name} {parent.version} requires {line}"))
                for requirement, chain in level
                if (parent := found.get(canonical(requirement.name))) and parent.name in missing
                for line in required(parent, requirement.extras)
            ]
        return ()

    def _installed(self, work: Work) -> Mapping[str, Distribution]:
        """Return the distributions that the program has installed."""
        found = distributions(work.target)
        return {name: new for name, new in found.items() if new.text("INSTALLER")}
