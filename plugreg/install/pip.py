"""Install with pip, which must be in the environment of this interpreter."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from plugreg.install.commands import CommandInstaller, Work, merge
from plugreg.install.exceptions import InstallerMissingError
from plugreg.install.plan import Pin
from plugreg.install.sources import pin_from

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


class PipInstaller(CommandInstaller):
    """Installs with the pip of the host's environment, 23.0 at least.

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
    """

    program = "pip"
    age_option = "--uploaded-prior-to"
    own_variables = re.compile(rf"PIP_(?:{'|'.join(_VARIABLES)})")
    netrc_variables = _URLS
    yanked = re.compile(
        r"yanked version: '(\S+)' candidate .*\nReason for being yanked: (?:<none given>)?(.*)"
    )

    def _variables(self, index_url: str | None, links: Sequence[str]) -> Mapping[str, str]:
        # An empty variable leaves the word to pip.conf, but a blank is an empty list.
        given = {"PIP_USER": "0", "PIP_ROOT_USER_ACTION": "ignore"}
        given |= {"PIP_DRY_RUN": "0", "PIP_NO_DEPS": "0"}
        given |= {"PIP_REQUIREMENT": " ", "PIP_EDITABLE": " "}
        if self.policy.indexes == ():
            given |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": " "}
        if index_url is not None:
            given |= {"PIP_INDEX_URL": index_url, "PIP_EXTRA_INDEX_URL": " "}
        if links:
            # pip splits them at blanks, which no URL has.
            given["PIP_FIND_LINKS"] = " ".join(links)
        if self.policy.isolated:
            given["PIP_CONFIG_FILE"] = os.devnull
        return given

    def _solve(self, work: Work, lines: Sequence[str], constraints: Sequence[str]) -> list[Pin]:
        # A second run of pip would take a third of the time of an installation.
        files = ("--constraint", work.file("constraints.txt", constraints), *self._age)
        return self._put(work, lines, work.solved, *files)

    def _look_up(self, work: Work, lines: Sequence[str]) -> tuple[list[Pin], str]:
        return self._install(work, lines, "--dry-run", "--no-deps", "--ignore-installed")

    def _unpack(self, work: Work, lines: Sequence[str], folder: Path) -> None:
        self._put(work, lines, folder, "--no-deps", "--ignore-installed", *self._age)

    def _put(self, work: Work, lines: Sequence[str], folder: Path, *options: str) -> list[Pin]:
        """Install requirements into a folder, with modules at its top; return what was installed.

        With ``--target`` pip would leave out data in ``lib``, and scripts beside a package ``bin``.
        """
        prefix = work.folder / "prefix"
        pins, _ = self._install(work, lines, *options, "--no-compile", prefix=str(prefix))
        libraries = [library for library in _libraries(prefix) if library.is_dir()]
        for library in libraries:
            for record in library.glob("*.dist-info/RECORD"):
                rows = csv.reader(record.read_text("utf-8", "surrogateescape").splitlines())
                mended = io.StringIO()
                writer = csv.writer(mended, lineterminator="\n")
                for file, *rest in filter(None, rows):
                    path = Path(os.path.normpath(library / file))
                    roots = (root for root in (*libraries, prefix) if path.is_relative_to(root))
                    place = next((path.relative_to(root).as_posix() for root in roots), file)
                    writer.writerow([place, *rest])
                record.write_text(mended.getvalue(), "utf-8", "surrogateescape", "")
        for library in libraries:
            merge(library, folder)
            library.rmdir()
        merge(prefix, folder)
        return pins

    def _list(self, work: Work) -> str:
        # Here it is a flag, and no list.
        work = replace(work, environment={**work.environment, "PIP_EDITABLE": "0"})
        # pip passes over an index that does not answer, and says so only there.
        return self._run(work, "list", "--outdated", "--format", "json", "-vv", *self._age)

    def _install(
        self, work: Work, lines: Sequence[str], *options: str, prefix: str = ""
    ) -> tuple[list[Pin], str]:
        """Return the distributions that pip installs, or would install, and its output."""
        report = work.folder / "report.json"
        words = ("--requirement", work.file("requirements.txt", lines), "--report", str(report))
        where = ("--target", "", "--prefix", prefix, "--progress-bar=off")
        output = self._run(work, "install", *words, *where, *self._wheels, *options)
        entries = json.loads(report.read_text(encoding="utf-8"))["install"]
        pins = [
            pin_from(
                entry["download_info"],
                entry["metadata"]["name"],
                entry["metadata"]["version"],
                is_direct=entry["is_direct"],
            )
            for entry in entries
        ]
        return pins, output

    def _run(self, work: Work, *arguments: str) -> str:
        if "pip" not in work.host:
            reason = f"pip is not installed for {sys.executable!r}; run: python -m ensurepip"
            raise InstallerMissingError([reason])
        common = ("--disable-pip-version-check", "--no-input", "--no-color")
        where = (work.host["pip"].folder / "pip", work.installed, sys.prefix, sys.exec_prefix)
        return self._call(work, *map(str, where), *common, *arguments, code=_RUN_PIP)


def _libraries(root: Path) -> tuple[Path, ...]:
    """Return the folders of modules in a prefix of pip."""
    import sysconfig

    scheme, base = sysconfig.get_preferred_scheme("prefix"), str(root)
    # Other prefixes than the interpreter's own have this layout in pip.
    if scheme in ("osx_framework_library", "posix_local"):
        scheme = "posix_prefix"
    where = {"base": base, "platbase": base}
    folders = (sysconfig.get_path(key, scheme, where) for key in ("purelib", "platlib"))
    return tuple(map(Path, dict.fromkeys(folders)))
