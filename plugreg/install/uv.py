"""Install with uv, a separate program that resolves and unpacks faster than pip."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Final

from plugreg._support.command import Completed, run
from plugreg._support.slugs import canonical
from plugreg.exceptions import InstallError
from plugreg.install import pylock
from plugreg.install.commands import CommandInstaller
from plugreg.install.distributions import Distribution
from plugreg.install.exceptions import (
    BuildFailedError,
    InstallConflictError,
    InstallerMissingError,
    PythonMismatchError,
)
from plugreg.install.installer import Progress
from plugreg.install.plan import Pin, Target
from plugreg.install.policy import InstallPolicy
from plugreg.install.sources import pinned_url, source_of
from plugreg.install.variables import commands_path, variables
from plugreg.install.work import Work, as_url, line_of, outdated

_OLDEST: Final = "0.13"
"""The first uv whose RECORD lists exactly the unpacked files."""

_VERSION: Final = re.compile(r"uv (\d+(?:\.\d+)+)")

_VARIABLES: Final = (
    *("INDEX", "DEFAULT_INDEX", "INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS", "INDEX_STRATEGY"),
    *("PRERELEASE", "EXCLUDE_NEWER", "CONSTRAINT", "BUILD_CONSTRAINT"),
    *("NO_BINARY", "NO_BINARY_PACKAGE", "NO_BUILD", "NO_BUILD_PACKAGE"),
    *("OFFLINE", "INSECURE_HOST", "NATIVE_TLS", "SYSTEM_CERTS", "KEYRING_PROVIDER"),
    *("HTTP_TIMEOUT", "REQUEST_TIMEOUT", "HTTP_CONNECT_TIMEOUT", "HTTP_RETRIES"),
    *("CONCURRENT_DOWNLOADS", "CONCURRENT_BUILDS", "CONCURRENT_INSTALLS", "CREDENTIALS_DIR"),
    *("CACHE_DIR", "NO_CACHE", "CONFIG_FILE", "NO_CONFIG"),
)

_NAME_AND_URL: Final = re.compile(r"([\w.-]+)(?:\[[^\]]*\])? ?@ ")

_NO_SOLUTION: Final = "No solution found"
_LEAD: Final = re.compile(r"\W*(?:cause: )?")
"""The beginning of uv's explanation: a word since uv 0.13, a drawing before."""
_OF_OTHERS: Final = re.compile(r"\bdepends? on (?!Python\b)")
_OF_PYTHON: Final = re.compile(r"requires? Python|does not satisfy Python")
_NO_WHEELS: Final = re.compile(r"(?:has|have) no (?:usable )?wheels")
_NOT_THERE: Final = re.compile(
    r"Because (?:\S+ was not found in [\w\s]+?"
    r"|there is no version of \S+|only \S+ is available"
    r"|only the following versions of \S+ are available:(?: (?=[^\d\s]*\d)\S+)+)"
    r" and you require"
)


def _reasons(output: str) -> str:
    """Return the explanation after uv's message that there is no solution, or ""."""
    return _LEAD.sub("", output.partition(_NO_SOLUTION)[2].partition("\n")[2], count=1)


class UvInstaller(CommandInstaller):
    """Installs with uv, 0.13 at least, for the interpreter of the host.

    Creating an installer runs nothing. Older versions of uv copy the RECORD of a wheel as it is;
    files missing in it would belong to no distribution.

    Unless the policy is ``isolated``, uv's own configuration applies: the variables ``UV_*`` for
    network, indexes and cache, and ``uv.toml`` of the user and the system. pip's configuration
    does not apply, nor do configuration files of a project folder.

    uv supports git repositories only, and caches them without submodules.

    Args:
        environment: Folder for the packages of plugins, beside the host's. Created at the first
            installation.
        policy: Rules for installations. Defaults to ``InstallPolicy()``.
        plugins_file: File that lists the installed plugins, or None.
        timeout: Seconds that each command may take.
        keep: Number of earlier generations that are kept.
        lock_timeout: Seconds that a change waits for another change.
        uv: Path of the program. Defaults to that of the installed package ``uv``, then to ``uv``
            on the search path.

    Raises:
        InstallError: If *environment* is missing.
        ValueError: If *keep* is negative.
    """

    program = "uv"
    compares_hashes = False
    age_option = "--exclude-newer"
    own_variables = re.compile(rf"UV_(?:{'|'.join(_VARIABLES)}|INDEX_\w+_(?:USERNAME|PASSWORD))")
    netrc_variables = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL")
    signs = ((r"Building source distributions(?: for \S+)? is disabled", BuildFailedError),)
    yanked = re.compile(r"`([^`=]+)==[^`]*` is yanked(?: \(reason: \"(.*)\"\))?")

    def __init__(
        self,
        *,
        environment: str | os.PathLike[str] | None = None,
        policy: InstallPolicy | None = None,
        plugins_file: str | os.PathLike[str] | None = None,
        timeout: float = 600.0,
        keep: int = 3,
        lock_timeout: float = 10.0,
        uv: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(
            environment=environment,
            policy=policy,
            plugins_file=plugins_file,
            timeout=timeout,
            keep=keep,
            lock_timeout=lock_timeout,
        )
        self._uv = uv

    def _check_program(self, host: Mapping[str, Distribution]) -> None:
        from packaging.version import Version

        completed = run(
            (self._path(host), "--version"),
            timeout=self._timeout,
            environment=variables(self.own_variables, {"UV_NO_CONFIG": "1"}, isolated=True),
        )
        found = _VERSION.match(completed.output)
        if found is None:
            raise InstallerMissingError([f"{self._path(host)!r} does not print its version as uv"])
        if Version(found[1]) < Version(_OLDEST):
            raise InstallerMissingError(
                [
                    f"uv {found[1]} is too old; {_OLDEST} at least is needed, run: "
                    f"python -m pip install --upgrade uv"
                ]
            )

    @contextmanager
    def _work(
        self,
        targets: Sequence[Target],
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Work]:
        with super()._work(targets, folder, progress) as work:
            # Otherwise uv searches the parent folders, where anybody may write.
            (work.folder / "uv.toml").touch()
            yield work

    def _variables(self, index_url: str | None, links: Sequence[str]) -> Mapping[str, str]:
        # A file that is a link to uv's cache would be changed there too, for all environments.
        given = {"UV_LINK_MODE": "copy", "UV_NO_VERIFY_HASHES": "0"}
        # A build runs foreign code, which must not see credentials for publishing.
        given |= {"UV_PUBLISH_TOKEN": "", "UV_PUBLISH_PASSWORD": ""}
        if index_url is not None:
            # Others would be looked at first, and a name that they have is not looked for further.
            given |= {"UV_DEFAULT_INDEX": index_url, "UV_INDEX": "", "UV_EXTRA_INDEX_URL": ""}
        if self.policy.indexes == ():
            # A file of the configuration may name folders of wheels as well.
            given |= dict.fromkeys(("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_FIND_LINKS"), "")
            given |= dict.fromkeys(("UV_INDEX", "UV_EXTRA_INDEX_URL"), "")
        if links:
            # uv splits them at commas.
            given["UV_FIND_LINKS"] = ",".join(as_url(link).replace(",", "%2C") for link in links)
        if self.policy.isolated or self.policy.indexes == ():
            given["UV_NO_CONFIG"] = "1"
        return given

    def _solve(self, work: Work, lines: Sequence[str], constraints: Sequence[str]) -> list[Pin]:
        # Those given here would otherwise stand in place of the host's.
        files = work.environment.get("UV_CONSTRAINT", "").split()
        files = [work.file("constraints.txt", constraints), *files]
        self._install(
            work,
            *self._age,
            *("--requirement", work.file("requirements.txt", lines)),
            *(word for path in files for word in ("--constraint", path)),
        )
        found = self._installed(work).values()
        return self._look_up(work, [_exact(new, lines) for new in found])[0] if found else []

    def _put(self, work: Work, lines: Sequence[str]) -> None:
        options = ["--no-deps", *self._age, "--requirement", work.file("exact.txt", lines)]
        for match in filter(None, map(_NAME_AND_URL.match, lines)):
            # uv assumes that the file at a URL stays the same; but it may have changed.
            options += ["--reinstall-package", match[1]]
        if lines:
            self._install(work, *options)

    def _look_up(self, work: Work, lines: Sequence[str]) -> tuple[list[Pin], str]:
        # The answer is masked, and a user of an index may be called like a part of a name in it.
        output = self._run(
            work,
            "compile",
            ("--no-deps", "--no-header", *self._wheels),
            ("--output-file", "pylock.toml", work.file("found.txt", lines)),
        ).output
        lock = pylock.load(work.folder / "pylock.toml", require_hashes=False)
        return list(lock.pins), output

    def _newest(self, work: Work) -> dict[str, str]:
        plain = replace(work, secrets=(), progress=None)
        where = ("--target", str(work.target))
        done = self._run(plain, "list", ("--outdated", "--format", "json", *where), self._age)
        return outdated(done.output)

    def _conflicts(self, output: str) -> tuple[str, ...]:
        lines = map(str.strip, _reasons(output).splitlines())
        before_hints = takewhile(lambda line: not line.startswith("hint:"), lines)
        return tuple(filter(None, before_hints))

    def _kind(self, output: str) -> type[InstallError]:
        kind = super()._kind(output)
        if not issubclass(kind, InstallConflictError):
            return kind
        reasons = " ".join(_reasons(output).split())
        is_alone = not _OF_OTHERS.search(reasons)
        if is_alone and _OF_PYTHON.search(reasons):
            return PythonMismatchError
        if is_alone and _NO_WHEELS.search(reasons):
            return BuildFailedError
        # The requested distribution does not exist, which is not a conflict.
        return InstallError if _NOT_THERE.match(reasons) else kind

    @property
    def _wheels(self) -> tuple[str, ...]:
        return ("--only-binary", ":all:") if not self.policy.may_build else ()

    def _path(self, host: Mapping[str, Distribution]) -> str:
        """Return the path of uv. Raises InstallerMissingError."""
        import shutil

        given = self._uv
        if given is None:
            found = _installed_uv(host) or shutil.which("uv", path=commands_path())
        else:
            found = shutil.which(given, path=commands_path())
        if found is None:
            where = "not on the path of programs" if given is None else f"not {os.fspath(given)!r}"
            raise InstallerMissingError([f"uv is {where}; run: python -m pip install uv"])
        return found

    def _install(self, work: Work, *arguments: str) -> None:
        where = ("--no-compile-bytecode", "--target", str(work.target))
        self._run(work, "install", where, self._wheels, arguments)

    def _run(self, work: Work, verb: str, *arguments: Sequence[str]) -> Completed:
        parts = (word for part in arguments for word in part)
        no_index = ("--no-index",) if self.policy.indexes == () else ()
        options = ("--python", sys.executable, *no_index)
        return self._check(work.run(self._path(work.host), "pip", verb, *options, *parts))


def _installed_uv(host: Mapping[str, Distribution]) -> str | None:
    # A module of this name may be anybody's, so that it is not imported.
    if "uv" in host:
        with suppress(OSError, ValueError):
            for name in host["uv"].record():
                file = host["uv"].folder / name
                if file.stem == "uv" and file.suffix in ("", ".exe") and os.access(file, os.X_OK):
                    return os.path.normpath(file)
    return None


def _exact(found: Distribution, lines: Iterable[str]) -> str:
    """Return the requirement of exactly the distribution that uv has installed."""
    from packaging.requirements import Requirement

    text = found.text("direct_url.json")
    if not text:
        return f"{found.name}=={found.version}"
    source = source_of(json.loads(text))
    for asked in map(Requirement, lines):
        if asked.url and canonical(asked.name) == found.name:
            return f"{found.name} @ {pinned_url(asked.url, source)}"
    return line_of(Requirement(f"{found.name} @ {source}"))
