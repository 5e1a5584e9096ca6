"""Whose a file of the environment is: no distribution may write, or take away, another one's."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from plugreg.exceptions import InstallError
from plugreg.install.environment import Environment, reserved
from plugreg.install.removal import listed

_AT_EVERY_START: Final = frozenset({"sitecustomize.py", "usercustomize.py"})


def require_own_files(environment: Environment, names: Collection[str]) -> None:
    """Raise InstallError when distributions that are to go share files with others that stay."""
    shared = _of_others(environment, names).intersection(environment.files(names))
    if shared:
        raise InstallError(
            [
                f"Plugin cannot be uninstalled as its package has {_shown(shared)} in common with "
                f"another one, which would lose it"
            ]
        )


def scripts_of_nobody(environment: Environment, names: Collection[str]) -> frozenset[Path]:
    """Return what lies among the scripts and is none of these distributions', python above all."""
    try:
        found = set(environment.scripts.iterdir())
    except FileNotFoundError:
        return frozenset()
    return frozenset(found.difference(environment.files(names)))


def require_apart(
    environment: Environment, names: Collection[str], scripts: Collection[Path]
) -> None:
    """Raise InstallError when distributions, now installed, have files that they may not have.

    Those are files of other distributions, ``scripts`` that were there before, files in the folder
    of plugreg's own, files that Python runs at every start, whatever is on or off, and the
    interpreter's own.
    """
    files = environment.files(names)
    faults = {
        "which belongs to another distribution": _of_others(environment, names).intersection(files),
        "which was there before": set(scripts).intersection(files),
        "which Python would run at every start": {each for each in files if _runs_always(each)},
        "where only plugreg and Python write": {
            each
            for each in files
            if reserved([str(each)]) or each.name == "pyvenv.cfg" or each == Path(sys.executable)
        },
    }
    reasons = [f"it writes {_shown(found)}, {what}" for what, found in faults.items() if found]
    if reasons:
        raise InstallError([f"{listed(names)} was not installed: {'; '.join(reasons)}"])


def _of_others(environment: Environment, names: Collection[str]) -> set[Path]:
    return set(environment.files(environment.distributions().keys() - set(names)))


def _runs_always(file: Path) -> bool:
    return file.suffix == ".pth" or file.name in _AT_EVERY_START


def _shown(files: Iterable[Path]) -> str:
    return ", ".join(repr(str(each)) for each in sorted(files)[:3])
