"""Checks of the files of staged distributions, before anything imports them.

RECORD is not trusted (PEP 376): the unpacked files are checked.
"""

# ruff: noqa: PTH100, PTH114, PTH117, PTH118, PTH119, PTH120
# A Path for each of ten thousands of files would take longer than the checks.
from __future__ import annotations

import os
import re
import stat
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.machinery import (
    BuiltinImporter,
    FrozenImporter,
    ModuleSpec,
    PathFinder,
    all_suffixes,
)
from pathlib import Path
from typing import Final, NamedTuple

from plugreg._support.guard import Guard
from plugreg.exceptions import InstallError
from plugreg.install.distributions import METADATA, Distribution, distributions
from plugreg.install.plan import Pin, Refusal

_SUFFIXES: Final = tuple(sorted(all_suffixes(), key=len, reverse=True))

_AT_EVERY_START: Final = frozenset({"sitecustomize", "usercustomize"})
"""Modules that Python imports at every start (module :mod:`site`)."""

_UNASKED: Final = frozenset({"_manylinux", "org", "urllib3_secure_extra"})
"""Modules that pip, uv or the standard library import if they are there."""

_PATH_FILES: Final = (".pth", ".start", ".egg-link")
"""Suffixes of files that Python (``.start`` since 3.15, PEP 829) or setuptools read at a start."""

_OF_DATA: Final = frozenset({"etc", "include", "lib", "lib32", "lib64", "share", "var"})
"""Folders in a prefix that hold data, unless they are packages."""

_FOUND_BY_PLACE: Final = re.compile(
    r"""
    [^/.]+ | \..*                                                       # at the top, and hidden
    | (conda-meta | etc/conda | etc/profile\.d | etc/fish/conf\.d | share/fish/vendor_conf\.d)/.*
    | (local/)?(games | sbin | scripts)/.* | local/bin/.*
    | (.*/)?(pip\.conf | pip\.ini | uv\.toml | pyvenv\.cfg)
    | (local/)?lib(32 | 64)?/(python | pypy)[0-9.]*t?/.*
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""Places in a prefix where programs find files. A generation is not a prefix, but an operator may
copy it into one."""


_OF_OTHER_PROGRAMS: Final = (
    "where an installer, another Python or a shell would take it for its own"
)
_IN_THE_WAY: Final = (
    "which would take the place of modules, or be in the package, of the host or of another "
    "distribution"
)


class Contents(NamedTuple):
    """The staged distributions, and their files.

    ``data_files`` are relative to the folder, ``scripts`` are names; both are sorted.
    """

    distributions: Mapping[str, Distribution]
    data_files: tuple[str, ...]
    scripts: tuple[str, ...]
    refusals: tuple[Refusal, ...]


def check_files(
    staged: Path,
    pins: Sequence[Pin],
    *,
    host: Sequence[str],
    kept: Iterable[Distribution],
    allow_pth: bool = False,
) -> Contents:
    """Check the files of distributions in a folder of their own.

    Each pin must have exactly one metadata folder, of its version, and there may be no other. A
    file is refused that

    - is no plain file in the folder, or that its RECORD does not list, or lists in vain;
    - belongs to two distributions;
    - Python would run at a start, or that Python or an installer would import unasked;
    - is in a package of the host or of another distribution, or has the name of a module of theirs.
      A namespace package, which has no ``__init__``, may be shared.

    A compiled file is judged as its source is.

    Args:
        staged: The folder.
        pins: The distributions that must be in it.
        host: Entries of ``sys.path`` that belong to the host.
        kept: Distributions of the serving generation that stay beside them.
        allow_pth: Whether ``.pth`` files may be among them; they have no effect.

    Raises:
        InstallError: If a RECORD cannot be read.
    """
    names = {pin.name for pin in pins}
    found = {name: there for name, there in distributions(staged).items() if name in names}
    faults: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    owners = _assigned(str(staged), found, faults)
    others = {path: other.name for other in kept for path in _record(other)}
    claims = _Claims(owners, others, host)
    for path, owner in owners.items():
        top, source = _top(path), _source_of(path)
        module = top.partition(".")[0]
        is_read = path == top and path.lower().endswith(_PATH_FILES)
        is_own = source != path and owners.get(source) == owner
        wrong = {
            "which would be metadata of another distribution": top.lower().endswith(METADATA)
            and top != found[owner].path.name,
            "which Python would run at every start": (is_read and not allow_pth)
            or module.lower() in _AT_EVERY_START,
            "which Python or an installer would import unasked": module in _UNASKED
            or _is_of_other_systems(module),
            _OF_OTHER_PROGRAMS: f"{top}/__init__.py" not in owners
            and _FOUND_BY_PLACE.fullmatch(path),
            "which belongs to another distribution": not is_own and source in others,
            _IN_THE_WAY: not is_own and source not in others and claims.collide(source, owner),
        }
        for fault in (fault for fault, holds in wrong.items() if holds):
            faults[owner, fault].add(path)
    tops = {_top(path) for path in owners if _module(path)} - _OF_DATA
    tops |= {top for top in _OF_DATA if f"{top}/__init__.py" in owners}
    tops |= {there.path.name for there in found.values()} | {"bin"}
    return Contents(
        distributions=found,
        data_files=tuple(sorted(path for path in owners if _top(path) not in tops)),
        scripts=tuple(sorted(p.partition("/")[2] for p in owners if _top(p) == "bin")),
        refusals=(*_other_versions(pins, found), *_refusals(faults)),
    )


class _Claims:
    """What each distribution, and the host, has for itself of the names of modules.

    A claim is the topmost package that a file is in, else its module, else the file. No claim may
    be equal to, or within, that of another.
    """

    def __init__(
        self, owners: Mapping[str, str], others: Mapping[str, str], host: Sequence[str]
    ) -> None:
        self._host = [entry for entry in host if entry not in _library()]
        beside = (entry for entry in map(os.path.abspath, sys.path) if entry not in host)
        self._beside = tuple(entry + os.sep for entry in beside)
        self._is_of_host = cache(self._has_host)
        files = [*owners.items(), *others.items()]
        self._packages = {
            (os.path.dirname(source), owner)
            for source, owner in ((_source_of(path), owner) for path, owner in files)
            if _module(source) == "__init__"
        }
        self._at: defaultdict[str, set[str]] = defaultdict(set)
        self._within: defaultdict[str, set[str]] = defaultdict(set)
        for path, owner in files:
            claim, *folders = _entries(self._claim(path, owner))
            self._at[claim].add(owner)
            for folder in folders:
                self._within[folder].add(owner)

    def collide(self, path: str, owner: str) -> bool:
        """Return whether a file of a distribution, to be, has a claim that others have too."""
        claim = self._claim(path, owner)
        there = self._within[claim].union(*(self._at[entry] for entry in _entries(claim)))
        return bool(there - {owner}) or self._is_of_host(claim)

    def _claim(self, path: str, owner: str) -> str:
        *_, package = "", *(e for e in _entries(path) if (e, owner) in self._packages)
        module, folder = _module(path), os.path.dirname(path)
        return package or (os.path.join(folder, module) if module else path)

    def _has_host(self, claim: str) -> bool:
        """Return whether the host has a module that is, or is above or below, a claim."""
        path: Sequence[str] = self._host
        for part in claim.split("/"):
            if "." in part:  # No name of a module has one.
                return False
            spec = PathFinder.find_spec(part, path)
            specs = [spec, *(_found_by_hooks(part) if path and path is self._host else ())]
            origins = (found.origin for found in specs if found is not None)
            # A finder may look into the generations too, as that of pytest.
            if any(o and not os.path.abspath(o).startswith(self._beside) for o in origins):
                return True
            if spec is None:
                return False
            path = list(spec.submodule_search_locations or ())
        below = {
            name
            for folder in path
            for _, folders, names in os.walk(folder)
            for name in (*folders, *map(_module, names))
        }
        return bool(below - {None, "__pycache__"})


def _found_by_hooks(module: str) -> list[ModuleSpec | None]:
    """Return what finders of their own find, as editable installations have them."""
    of_python: tuple[object, ...] = (FrozenImporter, BuiltinImporter, PathFinder)
    found = []
    for finder in sys.meta_path:
        with Guard():
            if finder not in of_python:
                found.append(finder.find_spec(module, None))
    return found


def _assigned(
    staged: str,
    found: Mapping[str, Distribution],
    faults: defaultdict[tuple[str, str], set[str]],
) -> dict[str, str]:
    """Return which distribution brings each file, and note the faults of RECORDs."""
    files, owners = dict(_files(staged)), dict[str, str]()
    for name, there in found.items():
        for path in _record(there):
            if path.startswith(("../", "/")) or os.path.isabs(path):
                faults[name, "which is outside of its folder"].add(path)
            elif path not in files:
                faults[name, "which is only in its RECORD"].add(path)
            elif owners.setdefault(path, name) != name:
                faults[name, "which another distribution that would come brings too"].add(path)
    everyone = "', '".join(found)
    for path, is_plain in files.items():
        if path not in owners:
            faults[everyone, "which no RECORD lists"].add(path)
        if not is_plain:
            faults[owners.get(path, everyone), "which is no plain file"].add(path)
    return owners


def _refusals(faults: Mapping[tuple[str, str], set[str]]) -> Iterator[Refusal]:
    """Refuse each distribution that has faults, in a sentence."""
    for name in sorted({name for name, _ in faults}):
        shown = "; ".join(
            f"{', '.join(map(repr, sorted(paths)[:3]))}, {fault}"
            for (owner, fault), paths in faults.items()
            if owner == name
        )
        reason = f"{name!r} has among its files {shown}: ask for a version without it"
        yield Refusal(rule="environment", reason=reason)


def _other_versions(pins: Iterable[Pin], found: Mapping[str, Distribution]) -> Iterator[Refusal]:
    for pin in pins:
        if pin.name not in found:
            raise InstallError([f"the installer has not unpacked {pin.name!r}"])
        version = found[pin.name].version
        if not is_same_version(version, pin.version):
            reason = f"{pin.name!r} says that it is {version}, not {pin.version}"
            yield Refusal(rule="environment", reason=reason)


def _files(folder: str) -> Iterator[tuple[str, bool]]:
    """Yield the path of each file below a folder, with slashes, and whether it is a plain file."""
    for place, folders, names in os.walk(folder):
        for name in (*names, *(name for name in folders if os.path.islink(f"{place}/{name}"))):
            path = os.path.join(place, name)
            yield (
                os.path.relpath(path, folder).replace(os.sep, "/"),
                stat.S_ISREG(os.lstat(path).st_mode),
            )


def _record(distribution: Distribution) -> Sequence[str]:
    """Return the files of a distribution, relative to its folder, with slashes."""
    try:
        lines = distribution.record()
    except (OSError, ValueError) as error:
        reason = f"the RECORD of {distribution.name!r} cannot be read: {error}"
        raise InstallError([reason]) from error
    return [os.path.normpath(line).replace(os.sep, "/") for line in lines]


def _entries(path: str) -> Iterator[str]:
    """Yield a path, and the folders that it is in."""
    while path:
        yield path
        path = path.rpartition("/")[0]


def _top(path: str) -> str:
    return path.partition("/")[0]


def _source_of(path: str) -> str:
    """Return the path of the source that a compiled file stands for, any other path as it is."""
    folder, name = os.path.split(path)
    if os.path.basename(folder) != "__pycache__" or not name.endswith(".pyc"):
        return path
    return os.path.join(os.path.dirname(folder), f"{name.partition('.')[0]}.py")


def _module(path: str) -> str | None:
    """Return the name of the module that a file is, None where it is none."""
    name = os.path.basename(path)
    suffix = next(filter(name.endswith, _SUFFIXES), None)
    name = name.removesuffix(suffix or "")
    return name if suffix and name.isidentifier() else None


@cache
def _library() -> frozenset[str]:
    """Return the entries of ``sys.path`` that are the standard library."""
    import sysconfig

    library = {sysconfig.get_path(key) for key in ("stdlib", "platstdlib")}
    return frozenset(library | {os.path.join(folder, "lib-dynload") for folder in library})


@cache
def _is_of_other_systems(name: str) -> bool:
    """Return whether a module of the standard library is missing in this interpreter's.

    The module ``subprocess`` imports ``msvcrt`` on any system, to see whether it is there.
    """
    # Some images leave out the tests, which nothing imports.
    if name not in sys.stdlib_module_names or name in (*sys.builtin_module_names, "test"):
        return False
    return PathFinder.find_spec(name, [*_library()]) is None


def is_same_version(one: str, other: str) -> bool:
    """Return whether two versions are equal by PEP 440, or as strings if they are none."""
    from packaging.version import InvalidVersion, Version

    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other
