"""Base of the pip and uv drivers: resolve and stage beside the host's environment.

Both programs work for a temporary virtual environment that has the metadata of the host's
distributions and none of their files. Its folders are the only ones that they write.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from plugreg._support.command import Completed, last_lines, run
from plugreg._support.slugs import canonical
from plugreg._support.url_secrets import masked, masker
from plugreg.exceptions import InstallError
from plugreg.install.distributions import Distribution, distributions, host_distributions, required
from plugreg.install.exceptions import (
    BuildFailedError,
    InstallConflictError,
    InstallPermissionError,
    InstallSpaceError,
    InstallTimeoutError,
    PythonMismatchError,
)
from plugreg.install.installer import Progress, Release
from plugreg.install.plan import Pin, Target, pin_of
from plugreg.install.policy import InstallPolicy
from plugreg.install.prefixes import gather, module_folders, pinned_url
from plugreg.install.urls import FILE_SCHEMES, REPOSITORY_SCHEMES, parse_address
from plugreg.install.variables import credentials_in, variables, with_netrc

if TYPE_CHECKING:
    from packaging.requirements import Requirement

Failures = tuple[tuple[str | Callable[[str], bool], type[InstallError]], ...]
"""Patterns of an output, or predicates, and the error that each is a sign of.

Each takes time linear in the output: a build may write anything, and a pattern blocks all
threads."""

_OF_THE_MACHINE: Final[Failures] = ((r"No space left on device|os error 28", InstallSpaceError),)
_OF_THE_REST: Final[Failures] = (
    (r"No solution found", InstallConflictError),
    (r"Failed (to build|building)", BuildFailedError),
    (r"Permission denied|Read-only file system|os error 13", InstallPermissionError),
)
"""Signs of failures. A program's own stand between both; the first that is found decides."""

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_EARLIEST: Final = "0.dev0"
"""A version that any release is newer than."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """Temporary folder, variables and secrets of one call, and the host's distributions.

    ``prefix`` is where distributions are installed before they are gathered, ``root`` the
    temporary virtual environment, and ``modules`` its folder of modules.
    """

    folder: Path
    prefix: Path
    root: Path
    modules: Path
    host: Mapping[str, Distribution]
    environment: Mapping[str, str]
    secrets: tuple[str, ...]
    timeout: float
    progress: Progress | None = None

    @property
    def python(self) -> str:
        """The interpreter of the virtual environment."""
        scripts = "Scripts/python.exe" if os.name == "nt" else "bin/python"
        return str(self.root / scripts)

    def run(self, *arguments: str) -> Completed:
        """Run a command in the folder. Raises InstallTimeoutError."""
        done = run(
            arguments,
            timeout=self.timeout,
            environment=self.environment,
            folder=self.folder,
            mask=masker(self.secrets),
            listen=self.progress,
        )
        if done.code is None:
            reason = f"the installer took more than {self.timeout:g} seconds and was ended"
            reasons = [reason, *last_lines(done.output.splitlines())]
            raise InstallTimeoutError(reasons, self.timeout)
        return done

    def file(self, name: str, lines: Iterable[str]) -> str:
        """Write requirements into a file that nobody else may read; return its name."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return name

    def add(self, found: Distribution, requires: Iterable[str] = (), direct: str = "") -> None:
        """Make a distribution count as installed in the virtual environment."""
        name = f"{found.name.replace('-', '_')}-{found.version}.dist-info"
        (self.modules / name).mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {found.name}", f"Version: {found.version}"]
        lines += [f"Requires-Dist: {line}" for line in requires]
        lines += [f"Provides-Extra: {extra}" for extra in found.extras]
        # Its RECORD lets a program replace it. It has no INSTALLER, unlike what is installed.
        files = {"METADATA": "\n".join(lines), "RECORD": f"{name}/METADATA,,\n{name}/RECORD,,\n"}
        if direct:
            files["direct_url.json"] = direct
        for file, text in files.items():
            (self.modules / name / file).write_text(text, encoding="utf-8")


class CommandInstaller(ABC):
    """An Installer that runs a program for the version and platform of ``sys.executable``.

    Requirements reach the program only in a file, indexes in variables. A distribution without a
    wheel must be built, which runs its code before anything is known of it; a policy whose
    ``may_build`` is False prevents that.
    """

    program: ClassVar[str]
    """Its name."""

    own_variables: ClassVar[re.Pattern[str]]
    """Its environment variables that are passed on: none on what to install and where."""

    netrc_variables: ClassVar[tuple[str, ...]] = ()
    """Those whose URLs it receives without credentials, which it reads from NETRC."""

    failures: ClassVar[Failures] = ()
    """Signs of failures in its output."""

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
            raise InstallError(
                [
                    f"environment= of {kind} is missing: plugins are installed into a folder "
                    f"beside the host's packages; write {kind}(environment='plugins.d')"
                ]
            )
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
    ) -> tuple[Pin, ...]:
        """Return the distributions that must be fetched to satisfy targets.

        See :meth:`plugreg.install.installer.Installer.resolve`.
        """
        from packaging.requirements import Requirement

        with self._work(targets, folder, progress) as work:
            asked = [self._named(work, target) for target in targets]
            names = {canonical(requirement.name) for requirement in asked}
            others = {} if beside is None else dict(distributions(beside))
            _fill(work, others, names)
            for requirement in asked:
                if requirement.url and (found := work.host.get(canonical(requirement.name))):
                    line = masked(f"{requirement} is asked for", work.secrets)
                    conflicts = (line, f"the host has {found.name} {found.version}")
                    raise InstallConflictError(conflicts, conflicts)
            # A name that only its repository gives may be one that the caller keeps.
            kept = [
                line for line in map(Requirement, constraints) if canonical(line.name) not in names
            ]
            own = self.policy.constraint_lines()
            try:
                lines = [line_of(requirement) for requirement in asked]
                pins = self._solve(work, lines, [*own, *map(line_of, kept), *_host_pins(work.host)])
            except InstallConflictError as error:
                chain = self._explain(work, asked, [*map(Requirement, own), *kept])
                raise InstallConflictError(error.reasons, chain or error.conflicts) from error
            wanted = tuple(
                pin
                for pin in sorted(pins, key=lambda pin: pin.name)
                if pin.name not in work.host
                and (pin.direct or _version(others, pin.name) != pin.version)
            )
            if folder is not None:
                # Unchanged ones may be in the prefix too.
                is_put = set(wanted) == set(pins)
                self._stage(work, wanted, folder, targets, is_put=is_put)
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
            self._stage(work, pins, folder, targets)

    def latest(self, installed: Mapping[str, str]) -> Mapping[str, Release]:
        """Return the releases that the index has; see :class:`Installer.latest`."""
        with self._work(()) as work:
            for name in installed:
                work.add(Distribution(name=name, version=_EARLIEST, path=work.folder))
            newest = self._newest(work)
            known = [f"{name}=={installed[name]}" for name in newest]
            reasons = self._yanked(work, known)
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
        """Return what requirements would add or change, and install it into a temporary folder.

        Raises InstallConflictError if no set of versions suits all.
        """

    @abstractmethod
    def _put(self, work: Work, lines: Sequence[str]) -> None:
        """Install exact requirements alone into ``work.prefix``."""

    @abstractmethod
    def _look_up(self, work: Work, lines: Sequence[str]) -> tuple[list[Pin], str]:
        """Return the files of exact requirements, and the output."""

    @abstractmethod
    def _newest(self, work: Work) -> dict[str, str]:
        """Return the latest versions of what is in the virtual environment."""

    @abstractmethod
    def _conflicts(self, output: str) -> tuple[str, ...]:
        """Return the lines of an output that name conflicting requirements."""

    @property
    def _age(self) -> tuple[str, ...]:
        newest = self.policy.newest_upload()
        return () if newest is None else (self.age_option, newest)

    def _check(self, done: Completed) -> Completed:
        """Return a command that succeeded; raise the error that another one's output shows."""
        if not done.code:
            return done
        reasons = last_lines(done.output.splitlines()) or [
            f"{self.program} ended with exit code {done.code} and without output"
        ]
        for sign, kind in (*_OF_THE_MACHINE, *self.failures, *_OF_THE_REST):
            if sign(done.output) if callable(sign) else re.search(sign, done.output, re.MULTILINE):
                if issubclass(kind, InstallConflictError):
                    raise kind(reasons, self._conflicts(done.output))
                raise kind(reasons)
        raise InstallError(reasons)

    @contextmanager
    def _work(
        self,
        targets: Sequence[Target],
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Work]:
        """Yield all that the commands of one call need."""
        from tempfile import TemporaryDirectory
        from venv import EnvBuilder

        policy = self.policy
        with_index = next((target for target in targets if target.index_url), None)
        index_url = policy.index_url(with_index)
        host = host_distributions(self.environment)
        self._check_program(host)
        try:
            with TemporaryDirectory(
                prefix=".plugreg-", dir=folder, ignore_cleanup_errors=True
            ) as temporary:
                # The leftovers of an installer that is ended go with the folder, and those of a
                # host that is killed with the one that it is in.
                given = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), temporary)
                # By this git fetches no submodule: the path is one that none can have.
                given |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "submodule.active"}
                given |= {"GIT_CONFIG_VALUE_0": ":(literal).git"}
                given |= self._variables(index_url, [os.fspath(path) for path in policy.find_links])
                environment = variables(self.own_variables, given, isolated=policy.isolated)
                own = (secret for target in targets for secret in target.secrets)
                root = Path(temporary, "venv")
                work = Work(
                    folder=Path(temporary),
                    root=root,
                    modules=module_folders(root)[0],
                    prefix=(folder or Path(temporary)) / ".plugreg-staged",
                    host=host,
                    environment=with_netrc(environment, self.netrc_variables, Path(temporary)),
                    secrets=(*own, *policy.secrets, *credentials_in(environment)),
                    timeout=self._timeout,
                    progress=progress,
                )
                EnvBuilder(symlinks=os.name != "nt").create(root)
                yield work
        except OSError as error:
            kind = InstallError
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                kind = InstallSpaceError
            elif error.errno in (errno.EACCES, errno.EROFS):
                kind = InstallPermissionError
            raise kind([f"{self.program} cannot be used: {error}"]) from error

    # -- steps -------------------------------------------------------------------------------

    def _named(self, work: Work, target: Target) -> Requirement:
        """Return the requirement of a target; what a URL alone gives must be looked up."""
        from packaging.requirements import Requirement

        if target.name is not None:
            return Requirement(target.text)
        pins, _ = self._look_up(work, [target.text])
        if len(pins) != 1:
            raise InstallError([f"{target.shown!r} gives {len(pins)} distributions, not one"])
        [pin] = pins
        return Requirement(f"{pin.name} @ {pinned_url(target.url or '', pin.source or '')}")

    def _stage(
        self,
        work: Work,
        pins: Sequence[Pin],
        folder: Path,
        targets: Sequence[Target],
        *,
        is_put: bool = False,
    ) -> None:
        """Gather pins in *folder*; ``is_put`` says that they are in ``work.prefix`` already."""
        import shutil

        if not is_put or not work.prefix.exists():
            shutil.rmtree(work.prefix, ignore_errors=True)
            if pins:
                self._put(work, [_exact(pin, targets) for pin in pins])
        gather(work.prefix, folder, work.root)
        shutil.rmtree(work.prefix, ignore_errors=True)
        there = distributions(folder)
        missing = ", ".join(repr(pin.name) for pin in pins if pin.name not in there)
        if missing:
            reason = f"{self.program} has not installed {missing} into {str(folder)!r}"
            remedy = "remove options on where to install from its configuration"
            raise InstallError([f"{reason}; {remedy}"])
        for distribution in there.values():
            _check_python(distribution)

    def _yanked(self, work: Work, lines: Sequence[str]) -> dict[str, str]:
        """Return why exact requirements were withdrawn, by name."""
        try:
            _, output = self._look_up(work, lines) if lines else ([], "")
        except InstallError:
            # One of them is on no index any more, which says nothing of the others.
            found: dict[str, str] = {}
            for line in lines if len(lines) > 1 else ():
                found |= self._yanked(work, [line])
            return found
        return {canonical(name): reason.strip() for name, reason in self.yanked.findall(output)}

    def _explain(
        self, work: Work, asked: Sequence[Requirement], kept: Sequence[Requirement]
    ) -> tuple[str, ...]:
        """Return the chain of requirements that leads to a conflict with what must stay.

        It is that of the latest versions, which are fetched one level after the other. It is empty
        if there is no conflict with these.
        """
        host = {name: found.version for name, found in work.host.items()}
        exact = {canonical(line.name): version for line in kept if (version := _single(line))}
        chosen: dict[str, Distribution] = {}
        level: list[tuple[Requirement, tuple[str, ...]]]
        level = [(requirement, (f"{requirement} is asked for",)) for requirement in asked]
        while level:
            needed = []
            missing: dict[str, str] = {}
            for requirement, chain in level:
                name = canonical(requirement.name)
                for where, versions in (("the host", host), ("the environment", exact)):
                    if name in versions and not _accepts(requirement, versions[name]):
                        steps = (*chain, f"{where} has {name} {versions[name]}")
                        return tuple(masked(step, work.secrets) for step in steps)
                is_known = name in host or name in exact or name in chosen
                # A URL in metadata is not fetched for an explanation.
                if not is_known and (requirement.url is None or requirement in asked):
                    missing.setdefault(name, line_of(requirement))
            try:
                self._put(replace(work, progress=None), list(missing.values()))
            except InstallError:
                return ()
            for folder in module_folders(work.prefix):
                chosen |= distributions(folder)
            for requirement, chain in level:
                found = chosen.get(canonical(requirement.name))
                if found is not None and found.name in missing:
                    who = f"{found.name} {found.version} requires"
                    lines = required(found, requirement.extras)
                    needed += [(line, (*chain, f"{who} {line}")) for line in lines]
            level = needed
        return ()


def as_url(place: str) -> str:
    """Return a folder of ``find_links`` as a URL."""
    return place if "://" in place else Path(place).absolute().as_uri()


def outdated(output: str) -> dict[str, str]:
    """Return the latest versions in the answer of a program's ``list --outdated``, by name."""
    import json

    rows = next((line for line in output.splitlines() if line.startswith("[")), "[]")
    return {canonical(row["name"]): row["latest_version"] for row in json.loads(rows)}


def _fill(work: Work, others: Mapping[str, Distribution], left_out: Iterable[str]) -> None:
    """Make the host's distributions and *others* count as installed, unless they are left out."""
    for found in {**others, **work.host}.values():
        is_host = found.name in work.host
        if not _is_valid(found) or (found.name in left_out and not is_host):
            continue
        if is_host:
            # Its own requirements are the host's matter, but a plugin may ask for an extra.
            asked = tuple(line for line in found.requires if "extra" in line.partition(";")[2])
        else:
            asked = found.requires
        lines = []
        for requirement in required(replace(found, requires=asked), extras=True):
            is_hosts = requirement.url and canonical(requirement.name) in work.host
            lines.append(requirement.name if is_hosts else str(requirement))
        work.add(found, lines, "" if is_host else found.text("direct_url.json"))


def _host_pins(host: Mapping[str, Distribution]) -> list[str]:
    return [f"{found.name}=={found.version}" for found in host.values() if _is_valid(found)]


def _is_valid(found: Distribution) -> bool:
    """Return whether it can be named in a requirement, by PEP 508 and PEP 440."""
    from packaging.version import InvalidVersion, Version

    with suppress(InvalidVersion):
        Version(found.version)
        return _NAME.fullmatch(found.name) is not None
    return False


def _accepts(requirement: Requirement, version: str) -> bool:
    from packaging.version import InvalidVersion

    with suppress(InvalidVersion):
        return requirement.specifier.contains(version, prereleases=True)
    return not requirement.specifier


def _single(requirement: Requirement) -> str | None:
    """Return the only version that a requirement accepts, None if there are more."""
    versions = [clause.version for clause in requirement.specifier if clause.operator == "=="]
    return next((version for version in versions if not version.endswith(".*")), None)


def _version(found: Mapping[str, Distribution], name: str) -> str | None:
    return found[name].version if name in found else None


def line_of(requirement: Requirement) -> str:
    """Return a requirement as a line that programs read as nothing else.

    Its marker is left out, which must hold: programs split it at blanks and look for options.

    Raises:
        InstallError: If it has a URL that no requirement may have, as one with a variable, which
            programs would replace.
    """
    if requirement.url:
        try:
            parse_address(requirement.url, (*FILE_SCHEMES, *REPOSITORY_SCHEMES))
        except ValueError as error:
            raise InstallError([f"the URL of {requirement.name!r}: {error}"]) from None
    elif "$" in str(requirement.specifier):
        raise InstallError([f"the version of {requirement.name!r} is none by PEP 440"])
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    where = f" @ {requirement.url}" if requirement.url else requirement.specifier
    return f"{requirement.name}{extras}{where}"


def _exact(pin: Pin, targets: Sequence[Target]) -> str:
    """Return the requirement that gives exactly a pin, with its hash if it has one."""
    from packaging.requirements import InvalidRequirement, Requirement

    text = f"{pin.name}=={pin.version}"
    if pin.direct:
        urls = (target.url for target in targets if target.url and pin_of(target, [pin]))
        url, source = next(urls, None), pin.source or ""
        text = f"{pin.name} @ {source if url is None else pinned_url(url, source)}"
    try:
        line = line_of(Requirement(text))
    except InvalidRequirement:
        raise InstallError([f"{masked(text)!r} cannot be installed: it is no version"]) from None
    return line if pin.sha256 is None else f"{line} --hash=sha256:{pin.sha256}"


def _check_python(found: Distribution) -> None:
    """Raise PythonMismatchError if a distribution is not for this interpreter.

    uv ignores an upper bound of ``Requires-Python``, pip does not.
    """
    from email import message_from_string

    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    wanted = message_from_string(found.text("METADATA")).get("Requires-Python", "")
    version = ".".join(map(str, sys.version_info[:3]))
    with suppress(InvalidSpecifier):
        if not SpecifierSet(wanted).contains(version, prereleases=True):
            raise PythonMismatchError(
                [f"{found.name} {found.version} requires Python {wanted!r}, and this is {version}"]
            )
