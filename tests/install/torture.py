"""Kill hosts while they install, fill the disk, start many at once, and count losses.

As a script it tortures an environment below a folder, and fails if anything was lost::

    python tests/install/torture.py /tmp/torture pip --how kill --rounds 200
    python tests/install/torture.py /tmp/torture uv --how full --rounds 20
    python tests/install/torture.py /tmp/torture uv --how together --rounds 8

The host is the environment of this interpreter. It must be the same afterwards, byte for byte, but
for compiled modules. ``kill`` ends a host by SIGKILL at a random instant of a change. ``full``
leaves different amounts of the disk free. ``together`` starts all hosts at once, each with a plugin
of its own.
``readonly`` mounts the host's environment so that nothing can be written there. ``damage`` is the
control: a harness that finds nothing wrong then is blind.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VERSIONS = ("1.0", "2.0")
ACTIVE, OTHER = "tea", "bun"

HOST = """
import json, sys
from plugreg import PluginRegistry
from plugreg.exceptions import PlugregError
from plugreg.install import InstallPolicy, PipInstaller, UvInstaller
from plugreg.storage import TinyDBStorage

driver, folder, verb, argument = sys.argv[1:]
installer = {"pip": PipInstaller, "uv": UvInstaller}[driver](
    environment=f"{folder}/plugins.d",
    policy=InstallPolicy(indexes=(), find_links=[f"{folder}/wheels"], isolated=True),
    lock_timeout=300.0,
)
registry = PluginRegistry(
    "shop", group="torture.plugins", storage=TinyDBStorage(f"{folder}/store.json"),
    installer=installer,
)
registry.load()
state = {}
try:
    if verb == "install":
        registry.install(argument)
    elif verb == "uninstall":
        registry.uninstall(argument, delete_config=False)
    elif verb == "activate":
        registry.activate(argument)
    state["done"] = True
except PlugregError as error:
    state["error"] = f"{type(error).__name__}: {error}"
state["plugins"] = {
    record.slug: [record.version, record.state]
    for record in registry.plugins.values()
    if record.is_installed
}
print(json.dumps(state), flush=True)
"""


@dataclass
class Findings:
    """Number of hosts that did not come to their end, and a sentence for all that was lost."""

    killed: int = 0
    faults: list[str] = field(default_factory=list)


class Torture:
    """One environment in a folder, and the hosts that change it with one driver."""

    def __init__(self, folder: Path, driver: str) -> None:
        self.folder = folder
        self.driver = driver
        self.environment = folder / "plugins.d"
        self.wrapper: Sequence[str] = ()
        self.seen: dict[str, str] = {}
        """The versions that the last check has found."""
        (folder / "tmp").mkdir(parents=True, exist_ok=True)

    def prepare(self, *names: str, modules: int = 1) -> None:
        """Make wheels of plugins with so many modules; install and activate one of them."""
        for name in (ACTIVE, OTHER, *names):
            self._make_plugin(name, modules)
        self.must("install", f"{ACTIVE}=={VERSIONS[0]}")
        self.must("activate", ACTIVE)

    def _make_plugin(self, name: str, modules: int) -> None:
        """Write wheels of two versions of a plugin, each with a library of the same version."""
        for version in VERSIONS:
            library = f"{name}-lib"
            top = library.replace("-", "_")
            text = "".join(f"def function_{number}(x): return x\n" for number in range(500))
            files = {f"{top}/module_{number}.py": text for number in range(modules)}
            files[f"{top}/__init__.py"] = f"VERSION = {version!r}\n"
            _write_wheel(self.folder / "wheels", library, version, files)
            module = (
                "from plugreg import Plugin\n"
                f"import {top} as lib\n"
                f"assert lib.VERSION == {version!r}\n"
                "class Main(Plugin):\n"
                f"    VERSION = {version!r}\n"
            )
            requires = [f"{library}=={version}"]
            files = {f"{name.replace('-', '_')}.py": module}
            _write_wheel(self.folder / "wheels", name, version, files, requires, is_plugin=True)

    def command(self, verb: str, argument: str = "") -> list[str]:
        """Return the command that starts a host."""
        host = [sys.executable, "-c", HOST, self.driver, str(self.folder), verb, argument]
        return [*self.wrapper, *host]

    def must(self, verb: str, argument: str) -> None:
        """Make a change that nothing disturbs, and that has to succeed."""
        found = self.run(verb, argument)
        if not found.get("done"):
            raise RuntimeError(f"{verb} {argument}: {found}")

    @contextmanager
    def filled(self, room: int) -> Iterator[None]:
        """Leave only so many bytes of the environment's file system free in the block."""
        filler = self.environment / ".filler"
        filler.write_bytes(bytes(max(0, shutil.disk_usage(self.environment).free - room)))
        try:
            yield
        finally:
            filler.unlink()

    def start(self, verb: str, argument: str = "", limit: int = 0) -> subprocess.Popen[str]:
        """Start a host that makes a change; *limit* is the largest file that it may write."""

        def limit_files() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        return subprocess.Popen(
            self.command(verb, argument),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
                "TMPDIR": str(self.folder / "tmp"),
            },
            preexec_fn=limit_files if limit else None,
        )

    def run(self, verb: str, argument: str = "", limit: int = 0) -> dict[str, Any]:
        """Return the output of a host that ran to its end; an error of its own is a fault."""
        with self.start(verb, argument, limit) as host:
            output, errors = host.communicate(timeout=600)
        if host.returncode:
            return {"fault": f"{verb} {argument} ended with {host.returncode}: {errors[-2000:]}"}
        found: dict[str, Any] = json.loads(output.splitlines()[-1])
        return found

    def check(self, expected: Mapping[str, Collection[str | None]]) -> list[str]:
        """Return the faults of the environment; plugins must have one of the expected versions."""
        found = self.run("look")
        if "fault" in found:
            return [f"the host does not start: {found['fault']}"]
        faults = self.half_installed()
        self.seen = {name: version for name, (version, _) in found["plugins"].items()}
        for name, versions in expected.items():
            version, state = found["plugins"].get(name, (None, None))
            if version not in versions:
                faults.append(f"{name} is {version!r}, not one of {versions}")
            if name == ACTIVE and state != "active":
                faults.append(f"{name} {version} is {state}")
        return faults

    def half_installed(self) -> list[str]:
        """Return differences from the RECORDs of the current generation."""
        faults = []
        current = self.environment / "current"
        number = current.read_text().splitlines()[0] if current.exists() else "0"
        serving = self.environment / "generations" / number
        files = {str(path.relative_to(serving)) for path in serving.rglob("*") if path.is_file()}
        for record in serving.glob("*.dist-info/RECORD"):
            for path, digest, _ in csv.reader(record.read_text().splitlines()):
                files.discard(path)
                file = serving / path
                if not file.is_file() or (digest and _digest(file) != digest):
                    faults.append(f"{path} in generation {number} is not as recorded")
        return [*faults, *(f"{file} in generation {number} is recorded nowhere" for file in files)]

    def leftovers(self) -> list[str]:
        """Return files in the environment that belong to no generation that is kept."""
        known = {"current", "lock", "generations", "isolated"}
        found = [path.name for path in self.environment.iterdir() if path.name not in known]
        numbers = {
            path.name.partition(".")[0] for path in (self.environment / "generations").iterdir()
        }
        if len(numbers) > 4 or not all(map(str.isdigit, numbers)):
            found += sorted(numbers)
        return [f"{name} is left over" for name in found]


def kill(torture: Torture, rounds: int) -> Findings:
    """Kill a host at a random instant of a change, again and again.

    One plugin is active and changes its version, another one is inactive and comes and goes.
    """
    findings = Findings()
    now: dict[str, str | None] = {ACTIVE: VERSIONS[0], OTHER: None}
    torture.prepare()
    duration = 0.0
    for number in range(rounds):
        if number % 10 == 0 and now[OTHER] is None:
            # The time depends on other work of the machine.
            began = time.monotonic()
            torture.must("install", f"{OTHER}=={VERSIONS[0]}")
            duration = time.monotonic() - began
            torture.must("uninstall", OTHER)
        name = random.choice([ACTIVE, OTHER])
        wanted = _another(now[name]) if name == ACTIVE or now[name] is None else None
        verb, argument = ("install", f"{name}=={wanted}") if wanted else ("uninstall", name)
        with torture.start(verb, argument) as host:
            try:
                output, _ = host.communicate(timeout=random.uniform(0, duration * 1.2))
            except subprocess.TimeoutExpired:
                host.kill()
                output, _ = host.communicate()
                findings.killed += 1
        possible = {key: {version} for key, version in now.items()}
        possible[name] = {wanted} if '"done": true' in output else {now[name], wanted}
        faults = torture.check(possible)
        findings.faults += [f"{verb} {argument}: {fault}" for fault in faults]
        now = {key: torture.seen.get(key) for key in now}
    torture.must("install", f"{ACTIVE}=={_another(now[ACTIVE])}")
    now[ACTIVE] = _another(now[ACTIVE])
    findings.faults += [*torture.check({key: {now[key]} for key in now}), *torture.leftovers()]
    return findings


def full(torture: Torture, rounds: int) -> Findings:
    """Install with more and more room for files, from next to none to enough.

    Without the right to mount a small file system, only the size of each file is limited.
    """
    findings = Findings()
    torture.environment.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(torture.environment)]
    is_mounted = subprocess.run(mount, capture_output=True).returncode == 0
    try:
        torture.prepare()
        now = VERSIONS[0]
        for number in range(rounds):
            room = int((4_000_000 if is_mounted else 60_000) * ((number + 1) / rounds) ** 2)
            wanted = _another(now)
            with torture.filled(room) if is_mounted else nullcontext():
                limit = 0 if is_mounted else room
                found = torture.run("install", f"{ACTIVE}=={wanted}", limit)
            expected = wanted if found.get("done") else now
            findings.killed += not found.get("done")
            faults = torture.check({ACTIVE: {expected}})
            findings.faults += [f"{room} bytes: {fault} {found}" for fault in faults]
            now = expected
        torture.must("install", f"{OTHER}=={VERSIONS[0]}")
        findings.faults += torture.leftovers()
    finally:
        if is_mounted:
            subprocess.run(["umount", str(torture.environment)], check=True)
    return findings


def together(torture: Torture, rounds: int) -> Findings:
    """Start hosts at once, each of which installs a plugin of its own."""
    names = [f"plugin-{number}" for number in range(rounds)]
    torture.prepare(*names)
    hosts = [torture.start("install", f"{name}=={VERSIONS[0]}") for name in names]
    faults = []
    for name, host in zip(names, hosts, strict=True):
        output, errors = host.communicate(timeout=600)
        if '"done": true' not in output:
            faults.append(f"{name} is not installed: {output}{errors[-2000:]}")
    expected = {name: {VERSIONS[0]} for name in (ACTIVE, *names)}
    # Generations that a running host uses are removed at the next change.
    torture.must("install", f"{OTHER}=={VERSIONS[0]}")
    return Findings(0, [*faults, *torture.check(expected), *torture.leftovers()])


def readonly(torture: Torture, rounds: int) -> Findings:
    """Install while the host's environment is mounted so that nothing can be written to it."""
    mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    torture.wrapper = ["unshare", "--mount", "sh", "-c", mount, sys.prefix]
    torture.prepare()
    for _ in range(rounds):
        torture.must("install", f"{OTHER}=={VERSIONS[0]}")
        torture.must("uninstall", OTHER)
    return Findings(0, [*torture.check({ACTIVE: {VERSIONS[0]}}), *torture.leftovers()])


def damage(torture: Torture, rounds: int) -> Findings:
    """Take away the files of an acknowledged installation; a fault must be found."""
    torture.prepare()
    for path in (torture.environment / "generations").glob("*/tea_lib/module_*.py"):
        path.unlink()
    return Findings(rounds, torture.check({ACTIVE: {VERSIONS[0]}}))


def snapshot() -> dict[str, str]:
    """Return the hash of each file of the host's environment, but for compiled modules."""
    folders = {sysconfig.get_path(key) for key in ("purelib", "platlib", "scripts")}
    return {
        str(path): _digest(path)
        for folder in folders
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and path.parent.name != "__pycache__"
    }


HOWS = {
    "kill": kill,
    "full": full,
    "together": together,
    "damage": damage,
    "readonly": readonly,
}


def torture(folder: Path, driver: str, how: str, rounds: int) -> Findings:
    """Torture an environment below a new folder; the host must be as before."""
    before = snapshot()
    findings = HOWS[how](Torture(folder, driver), rounds)
    if snapshot() != before:
        findings.faults.append("the host's environment has changed")
    return findings


def _another(version: str | None) -> str:
    return next(other for other in VERSIONS if other != version)


def _digest(path: Path) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).decode()
    return f"sha256={digest.rstrip('=')}"


def _write_wheel(
    folder: Path,
    name: str,
    version: str,
    modules: Mapping[str, str],
    requires: Sequence[str] = (),
    *,
    is_plugin: bool = False,
) -> None:
    top = name.replace("-", "_")
    info = f"{top}-{version}.dist-info"
    lines = [f"Requires-Dist: {line}\n" for line in requires]
    files = {
        **modules,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + "".join(lines),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if is_plugin:
        files[f"{info}/entry_points.txt"] = f"[torture.plugins]\n{name} = {top}:Main\n"
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{top}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


def main() -> int:
    """Torture the arguments' targets, and return how many faults were found, at most 1."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="a folder that does not exist")
    parser.add_argument("driver", choices=["pip", "uv"])
    parser.add_argument("--how", choices=[*HOWS], default="kill")
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    findings = torture(given.folder, given.driver, given.how, given.rounds)
    print(f"{given.rounds} rounds, {findings.killed} ended early, {len(findings.faults)} faults")
    print(*findings.faults, sep="\n")
    return min(1, len(findings.faults))


if __name__ == "__main__":
    sys.exit(main())
