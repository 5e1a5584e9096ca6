"""Install with uv, a separate program that resolves and unpacks faster than pip."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from plugreg._support.slugs import canonical
from plugreg.install import pylock
from plugreg.install.commands import CommandInstaller, Work
from plugreg.install.distributions import Distribution, distributions
from plugreg.install.exceptions import InstallerMissingError
from plugreg.install.plan import Pin
from plugreg.install.sources import exact_line, pin_from
from plugreg.install.variables import commands_path

_VARIABLES: Final = (
    *("INDEX", "DEFAULT_INDEX", "INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS", "INDEX_STRATEGY"),
    *("PRERELEASE", "EXCLUDE_NEWER", "CONSTRAINT", "BUILD_CONSTRAINT"),
    *("NO_BINARY", "NO_BINARY_PACKAGE", "NO_BUILD", "NO_BUILD_PACKAGE"),
    *("OFFLINE", "INSECURE_HOST", "NATIVE_TLS", "SYSTEM_CERTS", "KEYRING_PROVIDER"),
    *("HTTP_TIMEOUT", "REQUEST_TIMEOUT", "HTTP_CONNECT_TIMEOUT", "HTTP_RETRIES"),
    *("CONCURRENT_DOWNLOADS", "CONCURRENT_BUILDS", "CONCURRENT_INSTALLS", "CREDENTIALS_DIR"),
    *("CACHE_DIR", "NO_CACHE", "CONFIG_FILE", "NO_CONFIG"),
)


class UvInstaller(CommandInstaller):
    """Installs with uv, 0.13 at least, for the interpreter of the host.

    Creating an installer runs nothing. Older versions of uv copy the RECORD of a wheel as it is; a
    wheel with files that are missing in it is refused then.

    Unless the policy is ``isolated``, uv's own configuration applies: the variables ``UV_*`` for
    network, indexes and cache, and ``uv.toml`` of the user and the system. pip's configuration
    does not apply, nor do configuration files of a project folder.

    uv supports git repositories only, and caches them without submodules.
    """

    program = "uv"
    age_option = "--exclude-newer"
    own_variables = re.compile(rf"UV_(?:{'|'.join(_VARIABLES)}|INDEX_\w+_(?:USERNAME|PASSWORD))")
    netrc_variables = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL")
    yanked = re.compile(r"`([^`=]+)==[^`]*` is yanked(?: \(reason: \"(.*)\"\))?")

    def _variables(self, index_url: str | None, links: Sequence[str]) -> Mapping[str, str]:
        # A file that is a link to uv's cache would be changed there too, for all environments.
        given = {"UV_LINK_MODE": "copy", "UV_NO_VERIFY_HASHES": "0"}
        if self.policy.indexes == ():
            # A file of the configuration may name folders of wheels as well.
            given |= {"UV_INDEX_URL": "", "UV_FIND_LINKS": ""}
        if index_url is not None or self.policy.indexes == ():
            # Others would be looked at first, and a name that they have is not looked for further.
            given |= {"UV_DEFAULT_INDEX": index_url or "", "UV_INDEX": "", "UV_EXTRA_INDEX_URL": ""}
        if links:
            # uv splits them at commas.
            given["UV_FIND_LINKS"] = ",".join(link.replace(",", "%2C") for link in links)
        if self.policy.isolated or self.policy.indexes == ():
            given["UV_NO_CONFIG"] = "1"
        return given

    def _solve(self, work: Work, lines: Sequence[str], constraints: Sequence[str]) -> list[Pin]:
        from packaging.requirements import Requirement

        # Those given here would otherwise stand in place of the host's.
        files = work.environment.get("UV_CONSTRAINT", "").split()
        files = [work.file("constraints.txt", constraints), *files]
        self._install(work, lines, work.installed, *(f"--constraint={path}" for path in files))
        urls = {canonical(line.name): line.url for line in map(Requirement, lines)}
        found = [new for new in distributions(work.installed).values() if new.text("INSTALLER")]
        exact = [exact_line(_pin(new), urls.get(new.name)) for new in found]
        return self._look_up(work, exact)[0] if exact else []

    def _unpack(self, work: Work, lines: Sequence[str], folder: Path) -> None:
        # uv assumes that the file at a URL stays the same; but it may have changed.
        named = (re.split(r"[\[ ]", line)[0] for line in lines if " @ " in line)
        renewed = (f"--reinstall-package={name}" for name in named)
        self._install(work, lines, folder, "--no-deps", *renewed)
        (folder / ".lock").unlink(missing_ok=True)

    def _look_up(self, work: Work, lines: Sequence[str]) -> tuple[list[Pin], str]:
        # The answer is masked, and a user of an index may be called like a part of a name in it.
        file = work.file("found.txt", lines)
        options = ("--no-deps", "--no-header", "--output-file", "pylock.toml", *self._wheels)
        output = self._run(work, "compile", *options, file)
        lock = pylock.load(work.folder / "pylock.toml", require_hashes=False)
        return list(lock.pins), output

    def _list(self, work: Work) -> str:
        where = ("--target", str(work.installed))
        return self._run(work, "list", "--outdated", "--format", "json", *where, *self._age)

    def _path(self, host: Mapping[str, Distribution]) -> str:
        """Return the path of uv. Raises InstallerMissingError."""
        import shutil
        import sysconfig

        # The folder of the environment's programs has those of plugins too.
        own = [sysconfig.get_path("scripts")] if "uv" in host else []
        found = shutil.which("uv", path=os.pathsep.join((*own, commands_path())))
        if found is None:
            reason = "uv is not on the path of programs; run: python -m pip install uv"
            raise InstallerMissingError([reason])
        return found

    def _install(self, work: Work, lines: Sequence[str], target: Path, *options: str) -> None:
        where = ("--target", str(target), "--requirement", work.file("requirements.txt", lines))
        limits = ("--no-compile-bytecode", *self._wheels, *self._age)
        self._run(work, "install", *where, *limits, *options)

    def _run(self, work: Work, verb: str, *arguments: str) -> str:
        no_index = ("--no-index",) if self.policy.indexes == () else ()
        options = ("--python", sys.executable, *no_index)
        return self._call(work, self._path(work.host), "pip", verb, *options, *arguments)


def _pin(found: Distribution) -> Pin:
    """Return the pin of a distribution that uv has installed, as far as its metadata tell."""
    direct = json.loads(found.text("direct_url.json") or "{}")
    if direct:
        return pin_from(direct, found.name, found.version, is_direct=True)
    return Pin(name=found.name, version=found.version)
