"""Folders with the packages of isolated plugins, and the programs that run with them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from plugreg._support.frozen import NamedTuple
from plugreg._support.process import interpreter_flags
from plugreg.exceptions import InstallError
from plugreg.install.generations import Generations


class Program(NamedTuple):
    """The program to start: the interpreter, its flags, and the folders of modules.

    ``path`` is that of the process, None for the interpreter's own. ``own`` are folders to append
    if they are missing, ``first`` those that come before all others once plugreg is imported.
    """

    python: str
    flags: Sequence[str]
    path: Sequence[str] | None
    own: Sequence[str]
    first: Sequence[str]
    environment: Mapping[str, str]


def program(
    python: str | os.PathLike[str] | None, environment: str | os.PathLike[str] | None
) -> Program:
    """Return the program to start for these options; see `plugreg.isolation.Isolated`.

    Raises FileNotFoundError if there is no such environment, and InstallError if its serving
    generation cannot be found.
    """
    first: list[str] = []
    if environment is not None:
        folder = Path(environment).absolute()
        if (folder / "pyvenv.cfg").is_file():
            inside = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
            python = python or folder / inside
        else:
            first = [str(_packages(folder))]
    needed = [_parent_of(name) for name in ("plugreg", "pluggy")]
    variables = {**os.environ}
    if python is not None and os.fspath(python) != sys.executable:
        # The host's folders would come before the packages of the other interpreter.
        for name in ("PYTHONPATH", "PYTHONHOME"):
            variables.pop(name, None)
        return Program(os.fspath(python), [], None, needed, first, variables)
    path = [entry for entry in sys.path if type(entry) is str]
    return Program(sys.executable or "", interpreter_flags(), path, needed, first, variables)


def packages_folder(environment: str | os.PathLike[str]) -> Path | None:
    """Return the folder with the distributions of an environment, None if it is not there."""
    folder = Path(environment).absolute()
    if (folder / "pyvenv.cfg").is_file():
        patterns = ("lib/python*/site-packages", "Lib/site-packages")
        found = (place for pattern in patterns for place in sorted(folder.glob(pattern)))
        return next(found, None)
    with suppress(InstallError, FileNotFoundError):
        return _packages(folder)
    return None


def _packages(folder: Path) -> Path:
    if (folder / "current").is_file():
        generations = Generations(folder)
        return generations.folder(generations.current().number)
    if not folder.is_dir():
        raise FileNotFoundError(f"the environment {str(folder)!r} is not there; install it first")
    return folder


def _parent_of(name: str) -> str:
    file = sys.modules[name].__file__
    return str(Path(file or "").absolute().parent.parent)
