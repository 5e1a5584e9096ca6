"""Install with pip, which must be in the environment of this interpreter."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from plugreg._support.slugs import canonical
from plugreg.exceptions import InstallError
from plugreg.install.commands import CommandInstaller, Work
from plugreg.install.environment import Found, visible
from plugreg.install.exact import sha256_of, size_of, source_of
from plugreg.install.exceptions import (
    BuildFailedError,
    InstallConflictError,
    InstallerMissingError,
    PythonMismatchError,
)
from plugreg.install.plan import Change
from plugreg.install.processes import Completed

_OLDEST: Final = "22.2"
"""First version of pip that can report a dry run."""

_URLS: Final = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS")
_VARIABLES: Final = (
    *_URLS,
    *("PIP_NO_INDEX", "PIP_PRE", "PIP_PREFER_BINARY", "PIP_ONLY_BINARY", "PIP_NO_BINARY"),
    *("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT", "PIP_TRUSTED_HOST", "PIP_CERT", "PIP_CLIENT_CERT"),
    *("PIP_PROXY", "PIP_TIMEOUT", "PIP_DEFAULT_TIMEOUT", "PIP_RETRIES", "PIP_RESUME_RETRIES"),
    *("PIP_KEYRING_PROVIDER", "PIP_USE_FEATURE"),
    *("PIP_CACHE_DIR", "PIP_NO_CACHE_DIR", "PIP_CONFIG_FILE"),
)
# An empty variable leaves the word to pip.conf, but a blank is an empty list.
_NONE: Final = " "

_OTHERS: Final = "require a different python version: "
_UNFOUND: Final = "satisfies the requirement "
_CONFLICT: Final = re.compile(r"^The conflict is caused by:\n((?:[ \t]+.*\n?)+)", re.MULTILINE)


def _is_for_other_pythons(output: str) -> bool:
    """Return whether versions for other Pythons were passed over, and what was asked for is one."""
    passed_over: set[str] | None = None
    for line in output.splitlines():
        _, found, versions = line.partition(_OTHERS)
        if found:
            passed_over = (passed_over or set()) | {
                version.partition(" ")[0] for version in versions.split("; ")
            }
        _, found, asked = line.partition(_UNFOUND)
        if found and passed_over is not None:
            _, is_exact, version = asked.partition(" ")[0].partition("==")
            if not is_exact or version in passed_over:
                return True
    return False


class PipInstaller(CommandInstaller):
    """Installs with ``python -m pip`` of this interpreter, pip 22.2 at least.

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
        policy: Rules for installations. Defaults to ``InstallPolicy()``.
        plugins_file: Requirements file that lists the installed plugins, None without one.
        timeout: Seconds that each command may take.
    """

    program = "pip"
    own_variables = re.compile("|".join(_VARIABLES))
    netrc_variables = _URLS
    failures = (
        (r"^[^\w\n]*(?:git|hg|svn) .* did not run successfully", InstallError),
        (r"requires a different Python", PythonMismatchError),
        (_is_for_other_pythons, PythonMismatchError),
        (r"ResolutionImpossible", InstallConflictError),
        (r"subprocess-exited-with-error|metadata-generation-failed", BuildFailedError),
    )

    def _check_program(self) -> None:
        from packaging.version import Version

        found = visible().get("pip")
        if found is None:
            raise InstallerMissingError(
                [f"pip is not installed for {sys.executable!r}; run: python -m ensurepip"]
            )
        if Version(found.version) < Version(_OLDEST):
            raise InstallerMissingError(
                [
                    f"pip {found.version} is too old to make a plan; {_OLDEST} at least is needed, "
                    f"run: python -m pip install --upgrade pip"
                ]
            )

    def _given(self, index_url: str | None, links: Sequence[str]) -> Mapping[str, str]:
        given = {"PIP_USER": "0", "PIP_DRY_RUN": "0", "PIP_NO_DEPS": "0"}
        given |= {"PIP_REQUIREMENT": _NONE, "PIP_EDITABLE": _NONE}
        if self.policy.indexes == ():
            given["PIP_NO_INDEX"] = "1"
        if index_url is not None:
            given |= {"PIP_INDEX_URL": index_url, "PIP_EXTRA_INDEX_URL": _NONE}
        if links:
            # pip splits them at blanks, which no URL has.
            given["PIP_FIND_LINKS"] = " ".join(map(_as_url, links))
        if self.policy.isolated:
            given["PIP_CONFIG_FILE"] = os.devnull
        return given

    def _resolve(
        self,
        work: Work,
        requirement: str,
        constraints: Sequence[str],
        before: Mapping[str, Found],
    ) -> tuple[Change, ...]:
        import json

        report = work.folder / "report.json"
        self._run(
            work,
            ("install", "--dry-run", "--upgrade", "--report", str(report), *self._install_options),
            ("--requirement", work.file("requirement.txt", [requirement])),
            ("--constraint", work.file("constraints.txt", constraints)),
        )
        content = json.loads(report.read_text(encoding="utf-8"))
        return tuple(_change(entry, before) for entry in content["install"])

    def _put(self, work: Work, lines: Sequence[str], prefix: Path | None = None) -> str:
        where: tuple[str, ...] = ("--target", "")
        if prefix is not None:
            # Otherwise it would take away what is in this environment.
            where += ("--prefix", str(prefix), "--ignore-installed", "--no-warn-script-location")
        output = []
        # Beside a hash pip wants one of every requirement, which a repository cannot have.
        for hashed in (True, False):
            some = [line for line in lines if (" --hash=" in line) is hashed]
            if some:
                done = self._run(
                    work,
                    ("install", "--no-deps", "--force-reinstall", *self._install_options, *where),
                    ("--requirement", work.file("exact.txt", some)),
                )
                output.append(done.output)
        return "\n".join(output)

    def _remove(self, work: Work, names: Sequence[str]) -> str:
        return self._run(work, ("uninstall", "--yes", "--", *names)).output

    def _conflicts(self, output: str) -> tuple[str, ...]:
        found = _CONFLICT.search(output)
        return () if found is None else tuple(map(str.strip, found[1].splitlines()))

    @property
    def _install_options(self) -> tuple[str, ...]:
        wheels = ("--only-binary=:all:",) if not self.policy.may_build else ()
        return ("--progress-bar=off", *wheels)

    def _run(self, work: Work, *arguments: Iterable[str]) -> Completed:
        common = ("--disable-pip-version-check", "--no-input", "--no-color")
        parts = (word for part in arguments for word in part)
        # Isolated (-I), so that neither the current folder nor PYTHON… decides what pip is.
        done = work.run(sys.executable, "-I", "-m", "pip", *common, *parts)
        return self._completed(done)


def _as_url(place: str) -> str:
    return place if "://" in place else Path(place).absolute().as_uri()


def _change(entry: Mapping[str, Any], before: Mapping[str, Found]) -> Change:
    """Return the change in an entry of pip's installation report."""
    name = canonical(entry["metadata"]["name"])
    direct = entry["download_info"]
    source = source_of(direct)
    return Change(
        name=name,
        before=before[name].version if name in before else None,
        after=entry["metadata"]["version"],
        source=source,
        sha256=sha256_of(direct),
        size=size_of(source),
        direct=entry["is_direct"],
    )
