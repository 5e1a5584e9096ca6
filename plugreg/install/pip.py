"""Install with pip, which must be in the environment of this interpreter."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from plugreg._support.command import Completed
from plugreg._support.url_secrets import masked
from plugreg.exceptions import InstallError
from plugreg.install.commands import CommandInstaller
from plugreg.install.distributions import Distribution, distributions
from plugreg.install.exceptions import (
    BuildFailedError,
    InstallConflictError,
    InstallerMissingError,
    PythonMismatchError,
)
from plugreg.install.plan import Pin
from plugreg.install.sources import pin_from
from plugreg.install.work import Work, as_url, outdated

_OLDEST: Final = "22.2"
"""First version of pip that reports installed distributions."""
_OLDEST_WITH_AGE: Final = "26.0"
"""First version of pip that can leave out young releases."""

# The modules of pip, and nothing else that lies beside them. Only the metadata in the folder count
# as installed; for the layout of a prefix, pip is in the environment of the host.
_RUN_PIP: Final = """
import gc, importlib.util, runpy, sys
gc.set_threshold(100_000)
folder, metadata, sys.prefix, sys.exec_prefix = sys.argv[1:5]
del sys.argv[1:5]
sys.path.append(metadata)
spec = importlib.util.spec_from_file_location(
    "pip", folder + "/__init__.py", submodule_search_locations=[folder]
)
sys.modules["pip"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""

_URLS: Final = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS")
_VARIABLES: Final = (
    *("INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS"),
    *("NO_INDEX", "PRE", "PREFER_BINARY", "ONLY_BINARY", "NO_BINARY"),
    *("CONSTRAINT", "BUILD_CONSTRAINT", "TRUSTED_HOST", "CERT", "CLIENT_CERT"),
    *("PROXY", "TIMEOUT", "DEFAULT_TIMEOUT", "RETRIES", "RESUME_RETRIES"),
    *("KEYRING_PROVIDER", "USE_FEATURE", "CACHE_DIR", "NO_CACHE_DIR", "CONFIG_FILE"),
)
# An empty variable leaves the word to pip.conf, but a blank is an empty list.
_NONE: Final = " "

_OTHERS: Final = "require a different python version: "
_UNFOUND: Final = "satisfies the requirement "
_UNREACHABLE: Final = re.compile(r"Could not fetch URL (?!\S+ 404 Client Error)(.*) - skipping")
_CONFLICT: Final = re.compile(r"^The conflict is caused by:\n((?:[ \t]+.*\n?)+)", re.MULTILINE)


class PipInstaller(CommandInstaller):
    """Installs with the pip of the host's environment, 22.2 at least.

    Creating an installer runs nothing and performs no I/O. Unless the policy is ``isolated``,
    pip's own configuration applies: the variables ``PIP_*`` for network, indexes and cache, and
    ``pip.conf`` except for options that change the kind or place of an installation. If a call or
    the policy names an index, no other index is used.

    pip builds a dependency that is named by the URL of a source, even if the policy's
    ``may_build`` is False. The plan is then refused, but code of the dependency has run.

    pip passes URLs as command-line arguments to its subprocesses, where other users can read
    them. Credentials of indexes therefore go to pip in a file (``NETRC``), by host without regard
    to the port. Arguments may still contain: the URL of a git, hg or svn repository with its
    credentials, the query of an index, URLs of ``pip.conf``, and the second login of a host.

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

    program = "pip"
    age_option = "--uploaded-prior-to"
    own_variables = re.compile(rf"PIP_(?:{'|'.join(_VARIABLES)})")
    netrc_variables = _URLS
    signs = (
        (r"^[^\w\n]*(?:git|hg|svn) .* did not run successfully", InstallError),
        (r"requires a different Python", PythonMismatchError),
        (r"ResolutionImpossible", InstallConflictError),
        (r"subprocess-exited-with-error|metadata-generation-failed", BuildFailedError),
    )
    yanked = re.compile(
        r"yanked version: '(\S+)' candidate .*\nReason for being yanked: (?:<none given>)?(.*)"
    )

    def _check_program(self, host: Mapping[str, Distribution]) -> None:
        from packaging.version import Version

        found = host.get("pip")
        oldest = _OLDEST if self.policy.min_age is None else _OLDEST_WITH_AGE
        if found is None:
            reason = f"pip is not installed for {sys.executable!r}; run: python -m ensurepip"
            raise InstallerMissingError([reason])
        if Version(found.version) < Version(oldest):
            reason = f"pip {found.version} is too old for this policy; {oldest} at least is needed,"
            raise InstallerMissingError([f"{reason} run: python -m pip install --upgrade pip"])

    def _variables(self, index_url: str | None, links: Sequence[str]) -> Mapping[str, str]:
        given = {"PIP_USER": "0", "PIP_DRY_RUN": "0", "PIP_NO_DEPS": "0"}
        given |= {"PIP_ROOT_USER_ACTION": "ignore"}  # The host's packages are not written.
        given |= {"PIP_REQUIREMENT": _NONE, "PIP_EDITABLE": _NONE}
        if self.policy.indexes == ():
            given |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": _NONE}
        if index_url is not None:
            given |= {"PIP_INDEX_URL": index_url, "PIP_EXTRA_INDEX_URL": _NONE}
        if links:
            # pip splits them at blanks, which no URL has.
            given["PIP_FIND_LINKS"] = " ".join(map(as_url, links))
        if self.policy.isolated:
            given["PIP_CONFIG_FILE"] = os.devnull
        return given

    def _solve(self, work: Work, lines: Sequence[str], constraints: Sequence[str]) -> list[Pin]:
        done = ("--requirement", work.file("requirements.txt", lines))
        return self._install(
            work, *done, "--constraint", work.file("constraints.txt", constraints), *self._age
        )

    def _put(self, work: Work, lines: Sequence[str]) -> None:
        # If a requirement has a hash, pip requires hashes of all; a repository has none.
        for is_hashed in (True, False):
            some = [line for line in lines if (" --hash=" in line) is is_hashed]
            if some:
                file = work.file("exact.txt", some)
                self._install(
                    work, "--no-deps", "--ignore-installed", *self._age, "--requirement", file
                )

    def _look_up(self, work: Work, lines: Sequence[str]) -> tuple[list[Pin], str]:
        report = work.folder / "found.json"
        done = self._run(
            work,
            ("install", "--dry-run", "--no-deps", "--ignore-installed", *self._options),
            ("--report", str(report), "--requirement", work.file("found.txt", lines)),
        )
        return _pins_in(report), done.output

    def _newest(self, work: Work) -> dict[str, str]:
        log = work.folder / "pip.log"
        # Its answer must not be masked, and "editable" is a flag of this command.
        environment = {**work.environment, "PIP_EDITABLE": "0"}
        plain = replace(work, environment=environment, secrets=(), progress=None)
        done = self._run(
            plain, ("list", "--outdated", "--format", "json", "--log", str(log)), self._age
        )
        # pip passes over an index that does not answer.
        failed = _UNREACHABLE.search(log.read_text(encoding="utf-8", errors="replace"))
        if failed:
            raise InstallError([masked(f"an index does not answer: {failed[1]}", work.secrets)])
        return outdated(done.output)

    def _conflicts(self, output: str) -> tuple[str, ...]:
        found = _CONFLICT.search(output)
        return () if found is None else tuple(map(str.strip, found[1].splitlines()))

    def _kind(self, output: str) -> type[InstallError]:
        kind = super()._kind(output)
        return PythonMismatchError if kind is InstallError and _is_for_others(output) else kind

    def _stubs(self, work: Work) -> Path:
        return work.folder / "installed"

    def _installed(self, work: Work) -> Mapping[str, Distribution]:
        return {k: v for root in _libraries(work.target) for k, v in distributions(root).items()}

    def _gather(self, work: Work, folder: Path) -> None:
        """Move modules and metadata to the top of *folder*, and the rest beside them.

        Each RECORD lists its files relative to *folder*. Entries that lead out of the prefix stay
        as they are.
        """
        libraries = _libraries(work.target)

        def place(path: Path) -> Path | None:
            roots = (root for root in (*libraries, work.target) if path.is_relative_to(root))
            return next((path.relative_to(root) for root in roots), None)

        for parent, _, names in os.walk(work.target):
            for path in (Path(parent, name) for name in names):
                target = folder / (place(path) or path)
                if os.path.lexists(target):
                    raise InstallError([f"two distributions have the file {target.name!r}"])
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
                if path.name == "RECORD" and path.parent.parent in libraries:
                    rows = csv.reader(target.read_text("utf-8", "surrogateescape").splitlines())
                    mended = io.StringIO()
                    writer = csv.writer(mended, lineterminator="\n")
                    for file, *rest in filter(None, rows):
                        where = place(Path(os.path.normpath(path.parent.parent / file)))
                        writer.writerow([where.as_posix() if where else file, *rest])
                    target.write_text(mended.getvalue(), "utf-8", "surrogateescape", newline="")

    @property
    def _options(self) -> tuple[str, ...]:
        wheels = ("--only-binary=:all:",) if not self.policy.may_build else ()
        return ("--progress-bar=off", *wheels)

    def _install(self, work: Work, *arguments: str) -> list[Pin]:
        report = work.folder / "report.json"
        where = ("--target", "", "--prefix", str(work.target))
        quiet = ("--no-warn-script-location", "--no-warn-conflicts")
        self._run(
            work,
            ("install", "--no-compile", *self._options, *quiet, *where, "--report", str(report)),
            arguments,
        )
        return _pins_in(report)

    def _run(self, work: Work, *arguments: Iterable[str]) -> Completed:
        common = ("--disable-pip-version-check", "--no-input", "--no-color")
        parts = (word for part in arguments for word in part)
        pip, metadata = work.host["pip"].folder / "pip", self._stubs(work)
        where = (str(pip), str(metadata), sys.prefix, sys.exec_prefix)
        return self._check(work.run(*where, *common, *parts, code=_RUN_PIP))


def _libraries(root: Path) -> tuple[Path, ...]:
    """Return the folders of modules in a prefix of pip."""
    import sysconfig

    scheme, base = sysconfig.get_preferred_scheme("prefix"), str(root)
    # Other prefixes than the interpreter's own have this layout in pip.
    if scheme in ("osx_framework_library", "posix_local"):
        scheme = "posix_prefix"
    folders = (
        sysconfig.get_path(key, scheme, {"base": base, "platbase": base})
        for key in ("purelib", "platlib")
    )
    return tuple(map(Path, dict.fromkeys(folders)))


def _pins_in(report: Path) -> list[Pin]:
    """Return the distributions in pip's report of an installation."""
    return [
        pin_from(
            entry["download_info"],
            entry["metadata"]["name"],
            entry["metadata"]["version"],
            is_direct=entry["is_direct"],
        )
        for entry in json.loads(report.read_text(encoding="utf-8"))["install"]
    ]


def _is_for_others(output: str) -> bool:
    """Return whether pip skipped versions for other Pythons, of which the request needs one."""
    passed_over: set[str] | None = None
    for line in output.splitlines():
        _, found, versions = line.partition(_OTHERS)
        if found:
            passed_over = passed_over or set()
            passed_over |= {version.partition(" ")[0] for version in versions.split("; ")}
        _, found, asked = line.partition(_UNFOUND)
        if found and passed_over is not None:
            _, is_exact, version = asked.partition(" ")[0].partition("==")
            if not is_exact or version in passed_over:
                return True
    return False
