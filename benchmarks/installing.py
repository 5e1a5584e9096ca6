"""Compare an installation with ``pip install --target`` of the same, by processor time.

    python benchmarks/installing.py build/installing pip
    python benchmarks/installing.py build/installing uv --rounds 9

What is installed is a plugin and its library from a folder of wheels, tiny or of 200 modules. The
time of a host that only starts is taken off, so that what is left is the installation: resolving,
unpacking, checking, probing in a child process, and swapping it in. Each figure is the least of the
rounds, and the contestants take turns. The host's environment is that of this interpreter.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "install"))

from torture import OTHER, VERSIONS, Torture  # noqa: E402 - it lies among the tests


def compare(folder: Path, driver: str, modules: int, rounds: int) -> str:
    """Return a row on one size of distribution."""
    torture = Torture(folder, driver)
    torture.prepare(modules=modules)
    requirement = f"{OTHER}=={VERSIONS[0]}"
    best = dict.fromkeys(("install", "look", "pip"), float("inf"))
    for number in range(rounds):
        where = ["--target", str(folder / f"target-{number}")]
        links = ["--no-index", "--find-links", str(folder / "wheels")]
        commands = {
            "pip": [sys.executable, "-m", "pip", "install", *where, *links, requirement],
            "look": torture.command("look"),
            "install": torture.command("install", requirement),
        }
        best = {name: min(best[name], cpu_of(command)) for name, command in commands.items()}
        torture.must("uninstall", OTHER)
    own = best["install"] - best["look"]
    ratio = own / best["pip"]
    return f"{driver}, {modules} modules: {own:.2f} s, pip {best['pip']:.2f} s, ratio {ratio:.2f}"


def cpu_of(command: Sequence[str]) -> float:
    """Return the seconds of processor time that a command takes, with all that it starts."""
    # Otherwise the modules of a checkout would be compiled anew by each process, unlike pip's.
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, env=variables)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="a folder that does not exist; it is removed")
    parser.add_argument("driver", choices=["pip", "uv"])
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    try:
        for modules in (1, 200):
            print(compare(given.folder / str(modules), given.driver, modules, given.rounds))
    finally:
        shutil.rmtree(given.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
