"""Install with uv, a separate program that resolves and unpacks faster than pip."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

from plugreg._support.slugs import canonical
from plugreg.exceptions import InstallError
from plugreg.install.commands import CommandInstaller, Work
from plugreg.install.environment import Found, files_of, visible
from plugreg.install.exact import sha256_of, size_of, source_of
from plugreg.install.exceptions import (
    BuildFailedError,
    InstallerMissingError,
    PythonMismatchError,
)
from plugreg.install.installer import Progress
from plugreg.install.plan import Change, Target
from plugreg.install.policy import InstallPolicy
from plugreg.install.processes import Completed, commands_path, run, variables
from plugreg.install.requirements import masked
from plugreg.install.unpacked import Unpacked

_OLDEST: Final = "0.13"
"""The first uv whose RECORD has all that it unpacks, and no more."""

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

_STEP: Final = re.compile(
    r"^ ([-+~]) ([^\s=]+)(?:==(\S+))?(?: @ (\S+)| \(from (\S+)\))?$", re.MULTILINE
)
"""A line on what uv would remove (-), add (+) or install again (~), with version or URL."""

_NAME_AND_URL: Final = re.compile(r"([\w.-]+)(?:\[[^\]]*\])? ?@ ")

_COUNT: Final = re.compile(r"^Would (uninstall|install|make no changes)(?: (\d+))?", re.MULTILINE)

_NO_SOLUTION: Final = "No solution found"
_LEAD: Final = re.compile(r"\W*(?:cause: )?")
"""How uv begins to tell why: with a word since uv 0.13, with a drawing before."""
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
    """Return what follows where uv says that it has found no solution, "" where it does not."""
    return _LEAD.sub("", output.partition(_NO_SOLUTION)[2].partition("\n")[2], count=1)


def _alone(output: str) -> str:
    """Return the same in one line, "" where a requirement of others has to do with it."""
    told = " ".join(_reasons(output).split())
    return "" if _OF_OTHERS.search(told) else told


def _is_for_other_pythons(output: str) -> bool:
    return _OF_PYTHON.search(_alone(output)) is not None


def _has_no_wheels(output: str) -> bool:
    return _NO_WHEELS.search(_alone(output)) is not None


def _is_not_there(output: str) -> bool:
    """Return whether the distribution or version asked for is not there, which is no conflict."""
    return _NOT_THERE.match(" ".join(_reasons(output).split())) is not None


class UvInstaller(CommandInstaller):
    """Installs with uv, 0.13 at least, into the environment of this interpreter.

    Creating an installer runs nothing. Older versions of uv copy the RECORD of a wheel as it is;
    files missing in it would belong to no distribution.

    Unless the policy is ``isolated``, uv's own configuration applies: the variables ``UV_*`` for
    network, indexes and cache, and ``uv.toml`` of the user and the system. pip's configuration
    does not apply, nor do configuration files of a project folder.

    uv supports git repositories only, and caches them without submodules. It does not see the
    system's distributions in an environment made with ``--system-site-packages``: it would
    install the same version again into the environment itself.

    Args:
        policy: Rules for installations. Defaults to ``InstallPolicy()``.
        plugins_file: Requirements file that lists the installed plugins, None without one.
        timeout: Seconds that each command may take.
        uv: Path of the program. Defaults to that of the installed package ``uv``, then to ``uv``
            on the search path.
    """

    program = "uv"
    own_variables = re.compile(rf"UV_(?:{'|'.join(_VARIABLES)}|INDEX_\w+_(?:USERNAME|PASSWORD))")
    failures = (
        (_is_for_other_pythons, PythonMismatchError),
        (_has_no_wheels, BuildFailedError),
        (r"Building source distributions(?: for \S+)? is disabled", BuildFailedError),
        (_is_not_there, InstallError),
    )

    def __init__(
        self,
        *,
        policy: InstallPolicy | None = None,
        plugins_file: str | os.PathLike[str] | None = None,
        timeout: float = 600.0,
        uv: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(policy=policy, plugins_file=plugins_file, timeout=timeout)
        self._uv = uv

    def _check_program(self) -> None:
        from packaging.version import Version

        completed = run(
            (self._path(), "--version"),
            timeout=self._timeout,
            environment=variables(self.own_variables, {"UV_NO_CONFIG": "1"}, isolated=True),
        )
        found = _VERSION.match(completed.output)
        if found is None:
            raise InstallerMissingError([f"{self._path()!r} does not tell its version as uv does"])
        if Version(found[1]) < Version(_OLDEST):
            raise InstallerMissingError(
                [
                    f"uv {found[1]} is too old to make a plan; {_OLDEST} at least is needed, run: "
                    f"python -m pip install --upgrade uv"
                ]
            )

    @contextmanager
    def _work(self, target: Target | None, progress: Progress | None = None) -> Iterator[Work]:
        with super()._work(target, progress) as work:
            # Otherwise uv looks for one in the folders above, where anybody may write.
            (work.folder / "uv.toml").touch()
            yield work

    def _given(self, index_url: str | None, links: Sequence[str]) -> Mapping[str, str]:
        # A file that is a link to uv's cache would be changed there too, for all environments.
        given = {"UV_LINK_MODE": "copy", "UV_NO_VERIFY_HASHES": "0"}
        # A build runs the code of others, which what is needed to publish is not for.
        given |= {"UV_PUBLISH_TOKEN": "", "UV_PUBLISH_PASSWORD": ""}
        if index_url is not None:
            # Others would be looked at first, and a name that they have is not looked for further.
            given |= {"UV_DEFAULT_INDEX": index_url, "UV_INDEX": "", "UV_EXTRA_INDEX_URL": ""}
        if links:
            given["UV_FIND_LINKS"] = ",".join(map(_as_url, links))
        if self.policy.isolated:
            given["UV_NO_CONFIG"] = "1"
        return given

    def _resolve(
        self,
        work: Work,
        requirement: str,
        constraints: Sequence[str],
        before: Mapping[str, Found],
    ) -> tuple[Change, ...]:
        from packaging.requirements import Requirement

        asked = Requirement(requirement)
        name = canonical(asked.name)
        # Those given here would otherwise stand in place of the host's.
        files = work.environment.get("UV_CONSTRAINT", "").split()
        output = self._dry_run(
            work,
            ("--upgrade-package", name),
            ("--requirement", work.file("requirement.txt", [requirement])),
            *(
                ("--constraint", path)
                for path in (work.file("constraints.txt", constraints), *files)
            ),
        )
        removed, added = _steps(output)
        if asked.url is not None and name in added:
            added[name] = requirement
        told = self._looked_up(work, list(added.values())) if added else {}
        return tuple(
            replace(
                told.get(name, Change(name=name, before=None, after=None)),
                before=_version(before.get(name), removed[name]) if name in removed else None,
            )
            for name in {**removed, **added}
        )

    def _unpacked(self, work: Work, requirement: str, before: Mapping[str, Found]) -> Change:
        # In its record of a URL uv leaves out the hash of the file.
        asked = super()._unpacked(work, requirement, before)
        return replace(asked, sha256=self._looked_up(work, [requirement])[asked.name].sha256)

    def _put(self, work: Work, lines: Sequence[str], prefix: Path | None = None) -> str:
        options = [] if prefix is None else ["--prefix", str(prefix)]
        for match in filter(None, map(_NAME_AND_URL.match, lines)):
            # For uv what is at a URL stays the same; but it may be another file by now.
            options += ["--reinstall-package", match[1]]
        output = self._run(
            work,
            ("install", *self._options, "--no-deps", *options),
            ("--requirement", work.file("exact.txt", lines)),
        ).output
        if prefix is not None:
            _check_python(Unpacked(prefix).distributions().values())
        return output

    def _remove(self, work: Work, names: Sequence[str]) -> str:
        return self._run(work, ("uninstall", "--python", sys.executable, "--", *names)).output

    def _conflicts(self, output: str) -> tuple[str, ...]:
        lines = map(str.strip, _reasons(output).splitlines())
        before_hints = takewhile(lambda line: not line.startswith("hint:"), lines)
        return tuple(filter(None, before_hints))

    @property
    def _options(self) -> tuple[str, ...]:
        wheels = ("--only-binary", ":all:") if not self.policy.may_build else ()
        index = ("--no-index",) if self.policy.indexes == () else ()
        return ("--python", sys.executable, *wheels, *index)

    def _path(self) -> str:
        """Return where uv is. Raises InstallerMissingError."""
        import shutil

        given = self._uv
        found = _installed_uv() if given is None else shutil.which(given, path=commands_path())
        if found is None:
            where = "not on the path of programs" if given is None else f"not {os.fspath(given)!r}"
            raise InstallerMissingError([f"uv is {where}; run: python -m pip install uv"])
        return found

    def _run(self, work: Work, *arguments: Sequence[str]) -> Completed:
        parts = (word for part in arguments for word in part)
        return self._completed(work.run(self._path(), "pip", *parts))

    def _dry_run(self, work: Work, *arguments: Sequence[str]) -> str:
        """Return what uv would do in its words, which are not masked, unlike those of errors.

        A user of an index may be called like a part of a distribution's name.
        """
        parts = (word for part in arguments for word in part)
        plain = replace(work, secrets=(), progress=None)
        done = plain.run(self._path(), "pip", "install", *self._options, "--dry-run", *parts)
        if done.code:
            self._completed(done._replace(output=masked(done.output, work.secrets)))
        return done.output

    def _looked_up(self, work: Work, lines: Sequence[str]) -> dict[str, Change]:
        """Return each of some exact requirements as an addition, with source, hash and size."""
        import tomllib

        self._run(
            work,
            ("compile", *self._options, "--no-deps", "--quiet"),
            ("--output-file", "pylock.toml", work.file("found.txt", lines)),
        )
        lock = tomllib.loads((work.folder / "pylock.toml").read_text(encoding="utf-8"))
        return {change.name: change for change in map(_addition, lock["packages"])}


def _installed_uv() -> str | None:
    import shutil

    # A module of this name may be anybody's, so that it is not imported.
    package = visible().get("uv")
    for file in () if package is None else files_of(package):
        if file.stem == "uv" and file.suffix in ("", ".exe") and os.access(file, os.X_OK):
            return str(file)
    return shutil.which("uv", path=commands_path())


def _as_url(place: str) -> str:
    url = place if "://" in place else Path(place).absolute().as_uri()
    return url.replace(",", "%2C")  # uv splits them at commas.


def _steps(output: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return what uv would remove, names to versions, and add, names to exact requirements.

    Raises InstallError where uv says that it would do something else than what was understood.
    """
    removed: dict[str, str] = {}
    added: dict[str, str] = {}
    counts = {"install": 0, "uninstall": 0}
    for sign, told_name, version, url, source in _STEP.findall(output):
        name = canonical(told_name)
        if sign in "-~":
            removed[name] = version
            counts["uninstall"] += 1
        if sign in "+~":
            address = url or source
            added[name] = f"{name} @ {address}" if address else f"{name}=={version}"
            counts["install"] += 1
    told = {what: int(number or 0) for what, number in _COUNT.findall(output)}
    if not told or any(told.get(what, 0) != count for what, count in counts.items()):
        raise InstallError(
            ["uv has told what it would do in words that are not known; use another version of it"]
        )
    return removed, added


def _version(found: Found | None, told: str) -> str:
    return told if found is None else found.version


def _addition(package: Mapping[str, Any]) -> Change:
    """Return one entry of a lock file of PEP 751 as an addition."""
    direct = _direct_url(package)
    source = source_of(direct)
    return Change(
        name=canonical(package["name"]),
        before=None,
        after=package["version"],
        source=source,
        sha256=sha256_of(direct),
        size=direct.get("size") or size_of(source),
        direct="vcs" in package or "archive" in package,
    )


def _direct_url(package: Mapping[str, Any]) -> dict[str, Any]:
    """Return where an entry of a lock file comes from, as PEP 610 has it, with its size."""
    repository = package.get("vcs")
    file = repository or package.get("archive") or _file(package)
    direct = {
        "url": file["url"],
        "subdirectory": file.get("subdirectory"),
        "size": file.get("size"),
    }
    if repository is not None:
        vcs_info = {"vcs": repository["type"], "commit_id": repository["commit-id"]}
        return {**direct, "vcs_info": vcs_info}
    return {**direct, "archive_info": {"hashes": file["hashes"]}}


def _file(package: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the file that uv takes: the wheel that suits best, else what can be built."""
    from packaging.tags import sys_tags
    from packaging.utils import parse_wheel_filename

    ranks = {tag: rank for rank, tag in enumerate(sys_tags())}

    def rank(wheel: Mapping[str, Any]) -> tuple[int, int]:
        _, _, build, tags = parse_wheel_filename(_file_name(wheel["url"]))
        best = min(ranks.get(tag, len(ranks)) for tag in tags)
        return best, -(build[0] if build else 0)

    wheels = package.get("wheels")
    file: Mapping[str, Any] = min(wheels, key=rank) if wheels else package["sdist"]
    return file


def _file_name(url: str) -> str:
    from urllib.parse import unquote, urlsplit

    return unquote(urlsplit(url).path).rpartition("/")[2]


def _check_python(unpacked: Iterable[Found]) -> None:
    """Raise PythonMismatchError for what is not for this interpreter.

    uv does not look at an upper bound of ``Requires-Python``, but pip does.
    """
    for distribution, wanted in _wanted_pythons(unpacked):
        from packaging.specifiers import SpecifierSet

        version = ".".join(map(str, sys.version_info[:3]))
        if not SpecifierSet(wanted).contains(version, prereleases=True):
            raise PythonMismatchError(
                [
                    f"{distribution.name} {distribution.version} requires Python {wanted!r}, "
                    f"and this is {version}"
                ]
            )


def _wanted_pythons(unpacked: Iterable[Found]) -> Iterator[tuple[Found, str]]:
    from importlib.metadata import Distribution

    for distribution in unpacked:
        wanted = Distribution.at(distribution.path).metadata["Requires-Python"]
        if wanted:
            yield distribution, wanted
