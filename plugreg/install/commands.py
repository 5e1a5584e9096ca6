"""Base of the pip and uv drivers: resolve and stage beside the host's environment.

Both programs work for a temporary folder that has the metadata of the distributions that count as
installed, and none of their files. They write only temporary folders.
"""

from __future__ import annotations

import json
import os
import re
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from plugreg._support.command import Completed, last_lines, run
from plugreg._support.slugs import canonical
from plugreg._support.url_secrets import masked, masker, without_credentials
from plugreg.exceptions import InstallError
from plugreg.install.constraints import accepts, single_version
from plugreg.install.disk import disk_errors
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
from plugreg.install.sources import exact_line, line_of, pinned_url
from plugreg.install.variables import credentials_in, variables, with_netrc

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_SIGNS: Final = (
    (r"No space left on device|os error 28", InstallSpaceError),
    (r"ResolutionImpossible|No solution found", InstallConflictError),
    (r"^[^\w\n]*(?:git|hg|svn) .* did not run successfully", InstallError),
    (
        r"Failed (?:to build|building)|subprocess-exited-with-error|metadata-generation-failed"
        r"|Building source distributions(?: for \S+)? is disabled",
        BuildFailedError,
    ),
    (
        r"requires? a different [Pp]ython|does\s+not\s+satisfy\s+Python|requires?\s+Python",
        PythonMismatchError,
    ),
    (r"(?:has|have)\s+no\s+(?:usable\s+)?wheels", BuildFailedError),
    (r"Permission denied|Read-only file system|os error 13", InstallPermissionError),
)
"""Patterns of an output, and the error that each is a sign of; the first that is found decides.

Each takes time linear in the output: a build may write anything, and a pattern blocks all
threads."""

_UNREACHABLE: Final = re.compile(r"Could not fetch URL (?!\S+ 404 Client Error)(.*) - skipping")
_EARLIEST: Final = "0.dev0"
"""A version that any release is newer than."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """Temporary folder, variables and secrets of a call, and the host's distributions."""

    folder: Path
    host: Mapping[str, Distribution]
    environment: Mapping[str, str]
    secrets: tuple[str, ...]
    progress: Progress | None = None

    @property
    def installed(self) -> Path:
        """The folder with the metadata of distributions that count as installed."""
        return self.folder / "installed"

    @property
    def solved(self) -> Path:
        """The folder with the distributions, if the program unpacks what it finds at once."""
        return self.folder / "solved"

    def file(self, name: str, lines: Iterable[str]) -> str:
        """Write requirements into a file that nobody else may read; return its name."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return name


class CommandInstaller(ABC):
    """An Installer that runs a program for the version and platform of ``sys.executable``.

    Requirements reach the program only in a file, indexes in variables. A distribution without a
    wheel must be built, which runs its code before anything is known of it; a policy whose
    ``may_build`` is False prevents that.

    Args:
        environment: Folder for the packages of plugins, beside the host's. Created at the first
            installation.
        policy: Rules for installations. Defaults to ``InstallPolicy()``.
        plugins_file: File that lists the installed plugins, or None.
        timeout: Seconds that each command may take.
        keep: Number of earlier generations that are kept.
        lock_timeout: Seconds that a change waits for another change.

    Raises:
        InstallError: If *environment* is missing.
        ValueError: If *keep* is negative.
    """

    program: ClassVar[str]
    """Its name."""

    own_variables: ClassVar[re.Pattern[str]]
    """Its environment variables that are passed on: none that select packages or places."""

    netrc_variables: ClassVar[tuple[str, ...]] = ()
    """Those whose URLs it receives without credentials, which it reads from NETRC."""

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
            asked = {canonical(r.name): r for r in (self._named(work, t) for t in targets)}
            others = {} if beside is None else distributions(beside)
            fixed = {name: ("the host", found.version) for name, found in host.items()}
            if any(requirement.url and name in host for name, requirement in asked.items()):
                raise self._explain(work, (), asked, fixed)
            installed = [found for name, found in others.items() if name not in {*asked, *host}]
            self._add_stubs(work, [*installed, *host.values()], host)
            # A name that only its repository knows may be a name that the caller keeps.
            kept = [r for r in map(Requirement, constraints) if canonical(r.name) not in asked]
            limits = self.policy.constraint_lines()
            for limit in (*map(Requirement, limits), *kept):
                if version := single_version(limit):
                    fixed.setdefault(canonical(limit.name), ("the environment", version))
            # Installed distributions are required as well, so that their requirements are checked.
            there = [requirement for requirement in kept if canonical(requirement.name) in others]
            lines = [line_of(requirement) for requirement in (*asked.values(), *there)]
            pinned = [f"{n}=={found.version}" for n, found in host.items() if _is_valid(found)]
            try:
                bound = [*limits, *(line_of(r) for r in kept if r not in there), *pinned]
                pins = self._solve(work, lines, bound)
            except InstallConflictError as error:
                beside_it = [(others[canonical(r.name)], r.extras) for r in there]
                raise self._explain(work, error.reasons, asked, fixed, beside_it) from error
            versions = {name: found.version for name, found in others.items()}
            wanted = tuple(
                pin
                for pin in sorted(pins, key=lambda pin: pin.name)
                if pin.name not in host and (pin.direct or versions.get(pin.name) != pin.version)
            )
            if folder is not None:
                if set(wanted) == set(pins) and work.solved.exists():
                    merge(work.solved, folder)
                    _check_staged(self.program, wanted, folder)
                else:
                    urls = {name: requirement.url for name, requirement in asked.items()}
                    self._fetch(work, wanted, urls, folder)
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
        urls = {pin.name: t.url for t in targets if t.url and (pin := pin_of(t, pins))}
        with self._work(targets, folder, progress) as work:
            self._fetch(work, pins, urls, folder)

    def latest(self, installed: Mapping[str, str]) -> Mapping[str, Release]:
        """Return the releases that the index has; see :class:`Installer.latest`."""
        with self._work(()) as work:
            earliest = [Distribution(name, _EARLIEST, work.folder) for name in installed]
            self._add_stubs(work, earliest, host={})
            try:
                # The answer is not masked: a user may be called like a part of a name in it.
                output = self._list(replace(work, secrets=(), progress=None))
            except InstallError as error:
                hidden = (masked(reason, work.secrets) for reason in error.reasons)
                raise type(error)(hidden) from None
            if failed := _UNREACHABLE.search(output):
                raise InstallError([masked(f"an index does not answer: {failed[1]}", work.secrets)])
            rows = next((line for line in output.splitlines() if line.startswith("[")), "[]")
            newest = {canonical(row["name"]): row["latest_version"] for row in json.loads(rows)}
            reasons = self._yanked(work, [f"{name}=={installed[name]}" for name in newest])
        return {
            name: Release(version=version, yanked=reasons.get(name))
            for name, version in newest.items()
        }

    # -- the program -------------------------------------------------------------------------

    @abstractmethod
    def _variables(self, index_url: str | None, links: Sequence[str]) -> Mapping[str, str]:
        """Return the program's environment variables for an index and *links*."""

    @abstractmethod
    def _solve(self, work: Work, lines: Sequence[str], constraints: Sequence[str]) -> list[Pin]:
        """Return the pins that requirements add or change.

        Raises InstallConflictError if the program finds no set of versions that suits all.
        """

    @abstractmethod
    def _unpack(self, work: Work, lines: Sequence[str], folder: Path) -> None:
        """Install exact requirements, without what they require, into a new folder."""

    @abstractmethod
    def _look_up(self, work: Work, lines: Sequence[str]) -> tuple[list[Pin], str]:
        """Return the files of exact requirements, and the output."""

    @abstractmethod
    def _list(self, work: Work) -> str:
        """Return the output of a list (JSON) of installed distributions with later releases."""

    @property
    def _wheels(self) -> tuple[str, ...]:
        return () if self.policy.may_build else ("--only-binary=:all:",)

    @property
    def _age(self) -> tuple[str, ...]:
        if self.policy.min_age is None:
            return ()
        newest = datetime.now(UTC) - self.policy.min_age
        return (self.age_option, newest.isoformat(timespec="seconds"))

    # -- steps -------------------------------------------------------------------------------

    def _call(self, work: Work, *words: str, code: str | None = None) -> str:
        """Run a command, or Python code, in the folder of *work*; return its output."""
        done = run(
            words,
            code=code,
            timeout=self._timeout,
            environment=work.environment,
            folder=work.folder,
            mask=masker(work.secrets),
            listen=work.progress,
        )
        return self._check(done, is_alone="--no-deps" in words)

    def _check(self, done: Completed, *, is_alone: bool = False) -> str:
        """Return the output of a command; raise the error that the output of a failed one shows.

        Distributions without what they require (*is_alone*) have no conflict.
        """
        if done.code == 0:
            return done.output
        reasons = last_lines(done.output.splitlines())
        if done.code is None:
            reason = f"the installer took more than {self._timeout:g} seconds and was ended"
            raise InstallTimeoutError([reason, *reasons], self._timeout)
        reasons = reasons or [f"{self.program} ended with exit code {done.code} and without output"]
        signs = [sign for sign in _SIGNS if not (is_alone and sign[1] is InstallConflictError)]
        found = (kind for sign, kind in signs if re.search(sign, done.output, re.MULTILINE))
        raise next(found, InstallError)(reasons)

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
        # The leftovers of an installer that is ended go with the folder, and those of a host that
        # is killed with the folder that contains it.
        with (
            disk_errors(f"{self.program} cannot be used"),
            TemporaryDirectory(
                prefix=".plugreg-", dir=folder, ignore_cleanup_errors=True
            ) as temporary,
        ):
            # Otherwise uv searches the parent folders, where anybody may write.
            Path(temporary, "uv.toml").touch()
            given = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), temporary)
            # With this git fetches no submodule: no submodule can have such a path.
            given |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "submodule.active"}
            given |= {"GIT_CONFIG_VALUE_0": ":(literal).git"}
            index_url = policy.index_url(next((t for t in targets if t.index_url), None))
            places = map(str, policy.find_links)
            links = [place if "://" in place else Path(place).as_uri() for place in places]
            given |= self._variables(index_url, links)
            environment = variables(self.own_variables, given, isolated=policy.isolated)
            own = (secret for target in targets for secret in target.secrets)
            yield Work(
                folder=Path(temporary),
                host=host,
                environment=with_netrc(environment, self.netrc_variables, Path(temporary)),
                secrets=(*own, *credentials_in(environment)),
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

        for found in filter(_is_valid, installed):
            is_host = found.name in host
            lines = ["Metadata-Version: 2.1", f"Name: {found.name}", f"Version: {found.version}"]
            lines += [f"Provides-Extra: {extra}" for extra in found.extras]
            for line in found.requires:
                if not is_host or "extra" in line.partition(";")[2]:
                    with suppress(InvalidRequirement):
                        needed = Requirement(line)
                        needed.url = None if canonical(needed.name) in host else needed.url
                        lines.append(f"Requires-Dist: {needed}")
            path = work.installed / f"{found.name.replace('-', '_')}-{found.version}.dist-info"
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

    def _fetch(
        self, work: Work, pins: Sequence[Pin], urls: Mapping[str, str | None], folder: Path
    ) -> None:
        """Unpack the pins into *folder*, and check that they are there."""
        lines = [exact_line(pin, urls.get(pin.name)) for pin in pins]
        # If a requirement has a hash, pip requires hashes of all; a repository has none.
        for name in ("hashed", "plain"):
            some = [line for line in lines if (" --hash=" in line) is (name == "hashed")]
            if some:
                self._unpack(work, some, work.folder / name)
                merge(work.folder / name, folder)
        _check_staged(self.program, pins, folder)

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
        self,
        work: Work,
        reasons: Sequence[str],
        asked: Mapping[str, Requirement],
        fixed: Mapping[str, tuple[str, str]],
        there: Iterable[tuple[Distribution, Iterable[str]]] = (),
    ) -> InstallError:
        """Return the error of requirements that could not be resolved.

        It has the chains of requirements that lead to a conflict with each other, or with *fixed*,
        the place and version of distributions, if the latest versions have one; these are fetched
        level by level. It is no conflict if one of them cannot be fetched alone. *there* are the
        distributions, with their extras, that are required beside.
        """

        def conflict(*steps: str) -> InstallConflictError:
            conflicts = [masked(step, work.secrets) for step in dict.fromkeys(steps)]
            return InstallConflictError(reasons or conflicts, conflicts)

        sides: defaultdict[str, list[tuple[Requirement, tuple[str, ...]]]] = defaultdict(list)
        chosen: dict[str, Distribution] = {}
        level: list[tuple[Requirement, tuple[str, ...]]]
        level = [(requirement, (f"{requirement} is asked for",)) for requirement in asked.values()]
        for found, extras in there:
            start = f"the environment has {found.name} {found.version}"
            level += _next_level(found, extras, (start,))
        while level:
            fetched: dict[str, Requirement] = {}
            for requirement, chain in level:
                name = canonical(requirement.name)
                where, version = fixed.get(name, ("", ""))
                if where and (requirement.url or not accepts(requirement, version)):
                    return conflict(*chain, f"{where} has {name} {version}")
                # A URL in metadata is not fetched for an explanation.
                if not where and (requirement.url is None or name in asked):
                    sides[name].append((requirement, chain))
                    if name not in chosen or not accepts(requirement, chosen[name].version):
                        fetched[name] = _joined([side for side, _ in sides[name]])
            contested = [name for name in fetched if len(sides[name]) > 1]
            batches = [[name for name in fetched if name not in contested], *zip(contested)]
            for number, names in enumerate(filter(None, batches)):
                folder = work.folder / f"level-{len(chosen)}-{number}-{'-'.join(names)[:50]}"
                lines = [line_of(fetched[name]) for name in names]
                try:
                    self._unpack(replace(work, progress=None), lines, folder)
                except InstallError as fault:
                    if names[0] not in contested:
                        return type(fault)(reasons)
                    return conflict(*(step for _, chain in sides[names[0]] for step in chain))
                chosen |= distributions(folder)
            level = [
                step
                for name, requirement in fetched.items()
                if name in chosen
                for step in _next_level(chosen[name], requirement.extras, sides[name][0][1])
            ]
        return InstallConflictError(reasons)


def _next_level(
    parent: Distribution, extras: Iterable[str], chain: tuple[str, ...]
) -> list[tuple[Requirement, tuple[str, ...]]]:
    """Return what a distribution requires, each with the chain that leads to it."""
    start = f"{parent.name} {parent.version} requires"
    return [(line, (*chain, f"{start} {line}")) for line in required(parent, extras)]


def _joined(requirements: Sequence[Requirement]) -> Requirement:
    """Return a requirement that asks for what all of them ask for, of one distribution."""
    from packaging.requirements import Requirement

    joined = Requirement(str(requirements[0]))
    for requirement in requirements[1:]:
        joined.url = joined.url or requirement.url
        joined.extras |= requirement.extras
        joined.specifier &= requirement.specifier
    return joined


def _is_valid(found: Distribution) -> bool:
    """Return whether it can be named in a requirement, by PEP 508 and PEP 440."""
    from packaging.utils import is_normalized_name
    from packaging.version import InvalidVersion, Version

    with suppress(InvalidVersion):
        return bool(Version(found.version)) and is_normalized_name(found.name)
    return False


def merge(source: Path, folder: Path) -> None:
    """Move the content of a folder into another one, which may have some of its folders."""
    folder.mkdir(exist_ok=True)
    for path in source.iterdir() if source.exists() else ():
        target = folder / path.name
        if path.is_dir() and target.is_dir() and not path.is_symlink():
            merge(path, target)
            path.rmdir()
        else:
            path.replace(target)


def _check_staged(program: str, pins: Iterable[Pin], folder: Path) -> None:
    """Raise InstallError if a distribution is missing, or not for this interpreter."""
    there = distributions(folder)
    missing = ", ".join(repr(pin.name) for pin in pins if pin.name not in there)
    if missing:
        reason = f"{program} has not installed {missing} into {str(folder)!r}; remove "
        raise InstallError([f"{reason}options on where to install from its configuration"])
    for found in there.values():
        _check_python(found)
        _hide_credentials(found)


def _check_python(found: Distribution) -> None:
    """Raise PythonMismatchError if a distribution is not for this interpreter.

    uv ignores an upper bound of ``Requires-Python``, pip does not.
    """
    import platform
    from email import message_from_string

    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    wanted = message_from_string(found.text("METADATA")).get("Requires-Python", "")
    version = platform.python_version()
    with suppress(InvalidSpecifier):
        if not SpecifierSet(wanted).contains(version, prereleases=True):
            reason = f"{found.name} {found.version} requires Python {wanted!r}, and this is "
            raise PythonMismatchError([f"{reason}{version}"])


def _hide_credentials(found: Distribution) -> None:
    """Remove the record of the URL that a staged distribution has come from, if it has any."""
    name = f"{found.path.name}/direct_url.json"
    url = str(json.loads(found.text("direct_url.json") or "{}").get("url", ""))
    if url != without_credentials(url):
        record = found.path / "RECORD"
        text = record.read_text("utf-8", "surrogateescape")
        text = re.sub(rf'^"?{re.escape(name)}"?,.*\n?', "", text, flags=re.MULTILINE)
        record.write_text(text, "utf-8", "surrogateescape", "")
        (found.folder / name).unlink()
