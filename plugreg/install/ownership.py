"""Owners of files: no distribution may write or remove files of another."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

from plugreg.exceptions import InstallError
from plugreg.install.environment import Environment, reserved
from plugreg.install.removal import listed

AT_EVERY_START: Final = "which Python would run at every start"
UNASKED: Final = "which Python or an installer would import unasked"
OF_PYTHON: Final = "where only plugreg and Python write"
OF_OTHER_PROGRAMS: Final = "where an installer, another Python or a shell would take it for its own"

_AT_EVERY_START: Final = frozenset({"sitecustomize", "usercustomize"})
"""Modules that Python imports at every start (module :mod:`site`), whatever their form is."""

_UNASKED: Final = frozenset({"_manylinux", "org", "urllib3_secure_extra"})
"""Modules that pip, uv or the standard library import if they are there: of no library's own."""

_READ_AT_EVERY_START: Final = frozenset({".pth", ".start", ".egg-link"})
"""Suffixes of what is read at every start beside modules: by Python (``.start`` since 3.15, PEP
829), and by what setuptools puts there."""


_CONFIGURATION: Final = frozenset({"pip.conf", "pip.ini", "uv.toml"})
"""Names that installers look for, in lower case."""

_PROGRAMS: Final = frozenset({"bin", "games", "sbin", "scripts"})
"""Folders of programs, in lower case."""

_OF_SHELLS: Final = (
    *("conda-meta/", "etc/conda/", "etc/fish/conf.d/", "etc/profile.d/"),
    "share/fish/vendor_conf.d/",
)
"""Folders whose files conda and shells run, in lower case."""

_OTHER_PYTHON: Final = re.compile(r"(?:local/)?lib(?:32|64)?/(?:python|pypy)[0-9.]*t?/")


def require_own_files(environment: Environment, names: Collection[str]) -> None:
    """Raise InstallError when distributions that are to go share files with others that stay."""
    shared = _of_others(environment, names).intersection(environment.files(names))
    if shared:
        raise InstallError(
            [
                f"Plugin cannot be uninstalled as its package has {shown(shared)} in common with "
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
    of plugreg's own, files that Python or an installer runs, whatever is on or off, and the
    interpreter's own. A plan has refused them already, by what it has seen
    (:mod:`plugreg.install.contents`); but another file may have been installed.
    """
    files = environment.files(names)
    faults = {
        "which belongs to another distribution": _of_others(environment, names).intersection(files),
        "which was there before": set(scripts).intersection(files),
        AT_EVERY_START: run_at_start(environment, files),
        UNASKED: imported_unasked(environment, files),
        OF_OTHER_PROGRAMS: of_other_programs(environment, files),
        OF_PYTHON: of_python(environment, files),
    }
    reasons = [f"it writes {shown(found)}, {what}" for what, found in faults.items() if found]
    if reasons:
        raise InstallError([f"{listed(names)} was not installed: {'; '.join(reasons)}"])


def run_at_start(environment: Environment, files: Iterable[Path]) -> set[Path]:
    """Return those of ``files`` that Python runs at every start: what is a module, or beside one.

    Only what is directly in a folder of modules counts; in a package, or a model's folder, such a
    name has no meaning.
    """
    found = set()
    for file in files:
        for root in (environment.purelib, environment.platlib):
            if file.is_relative_to(root):
                top, *others = file.relative_to(root).parts
                is_read = not others and file.suffix.lower() in _READ_AT_EVERY_START
                if is_read or top.partition(".")[0].lower() in _AT_EVERY_START:
                    found.add(file)
    return found


def imported_unasked(environment: Environment, files: Iterable[Path]) -> set[Path]:
    """Return those of *files* that are of a module which others import to see whether it is there.

    That are a few by name, and the modules of the standard library for other systems: the module
    ``subprocess`` imports ``msvcrt``, on whatever system it is.
    """
    found = set()
    for file in files:
        for root in (environment.purelib, environment.platlib):
            if file.is_relative_to(root):
                name = file.relative_to(root).parts[0].partition(".")[0]
                if name in _UNASKED or _is_of_other_systems(name):
                    found.add(file)
    return found


@cache
def _is_of_other_systems(name: str) -> bool:
    """Return whether a module of the standard library is missing in this interpreter's."""
    import sysconfig

    # Some images leave out the tests, which nothing imports.
    if name not in sys.stdlib_module_names or name in (*sys.builtin_module_names, "test"):
        return False
    folders = [Path(sysconfig.get_path(key)) for key in ("stdlib", "platstdlib")]
    folders += [folder / "lib-dynload" for folder in folders]
    return PathFinder.find_spec(name, [*map(str, folders)]) is None


def of_python(environment: Environment, files: Iterable[Path]) -> set[Path]:
    """Return those of ``files`` that lie where only the interpreter or plugreg itself write."""
    import sysconfig

    library = [Path(sysconfig.get_path(key)).resolve() for key in ("stdlib", "platstdlib")]
    modules = (environment.purelib, environment.platlib)
    # Compilers look there first, and so in the place of Python's own headers.
    headers = Path(sys.prefix).resolve() / "include"
    own_headers = Path(sysconfig.get_path("include"))
    return {
        file
        for file in files
        if reserved([str(file)])
        or file.name == "pyvenv.cfg"
        or file == Path(sys.executable)
        or str(file) in sys.path
        or (file.is_relative_to(headers) and (own_headers / file.relative_to(headers)).is_file())
        or (any(map(file.is_relative_to, library)) and not any(map(file.is_relative_to, modules)))
    }


def of_other_programs(environment: Environment, files: Iterable[Path]) -> set[Path]:
    """Return those of ``files`` below ``sys.prefix`` that programs would find by their place alone.

    Those are files at its top or in a hidden folder there, in a folder of programs or of another
    Python's modules, and what is called like the configuration of an installer. What is in a folder
    of the environment is none of them.
    """
    prefix = Path(sys.prefix).resolve()
    return {
        file
        for file in files
        if file.is_relative_to(prefix)
        and not any(map(file.is_relative_to, environment.folders))
        and _is_found_by_place(file.relative_to(prefix))
    }


def _is_found_by_place(file: Path) -> bool:
    place = file.as_posix().lower()
    top, _, rest = place.partition("/")
    return (
        not rest
        or top.startswith(".")
        or not _PROGRAMS.isdisjoint((top, place.removeprefix("local/").partition("/")[0]))
        or place.startswith(_OF_SHELLS)
        or file.name.lower() in _CONFIGURATION
        or _OTHER_PYTHON.match(place) is not None
    )


def shown(files: Iterable[object]) -> str:
    """Return the first three of files as a sentence has them."""
    return ", ".join(repr(str(file)) for file in sorted(files, key=str)[:3])


def _of_others(environment: Environment, names: Collection[str]) -> set[Path]:
    return set(environment.files(environment.distributions().keys() - set(names)))
