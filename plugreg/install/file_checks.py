"""Checks of the files of staged distributions, before anything imports them.

RECORD is not trusted (PEP 376): the unpacked files are checked.
"""

# ruff: noqa: PTH100, PTH112, PTH114, PTH117, PTH118, PTH119, PTH120, PTH122
# A Path for each of ten thousands of files would take longer than the checks.
from __future__ import annotations

import os
import re
import stat
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder, all_suffixes
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

_PATH_FILES: Final = frozenset({".pth", ".start", ".egg-link"})
"""Suffixes of files that Python (``.start`` since 3.15, PEP 829) or setuptools read at a start."""

_OF_DATA: Final = frozenset({"etc", "include", "lib", "lib32", "lib64", "share", "var"})
"""Folders in a prefix that hold data, unless they are packages."""

_PROGRAMS: Final = frozenset({"games", "sbin", "scripts"})
_CONFIGURATION: Final = frozenset({"pip.conf", "pip.ini", "uv.toml", "pyvenv.cfg"})
_OF_SHELLS: Final = (
    *("conda-meta/", "etc/conda/", "etc/fish/conf.d/", "etc/profile.d/"),
    "share/fish/vendor_conf.d/",
)
_OTHER_PYTHON: Final = re.compile(r"(?:local/)?lib(?:32|64)?/(?:python|pypy)[0-9.]*t?/")
"""Places in a prefix where programs find files, in lower case. A generation is not a prefix, but
an operator may copy it into one."""

_NO_FILE: Final = "which is no plain file"
_OUTSIDE: Final = "which is outside of its folder"
_UNLISTED: Final = "which no RECORD lists"
_NOT_BROUGHT: Final = "which is only in its RECORD"
_TWICE: Final = "which another distribution that would come brings too"
_METADATA_OF_OTHERS: Final = "which would be metadata of another distribution"
_RUN_AT_START: Final = "which Python would run at every start"
_READ_UNASKED: Final = "which Python or an installer would import unasked"
_OF_OTHER_PROGRAMS: Final = (
    "where an installer, another Python or a shell would take it for its own"
)
_THERE: Final = "which belongs to another distribution"
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
    check = _Check(str(staged), found, host, kept, allow_pth=allow_pth)
    return check.result(_other_versions(pins, found))


class _Check:
    def __init__(
        self,
        staged: str,
        found: Mapping[str, Distribution],
        host: Sequence[str],
        kept: Iterable[Distribution],
        *,
        allow_pth: bool,
    ) -> None:
        self._staged = staged
        self._found = found
        self._host = [entry for entry in host if not _is_of_python(entry)]
        self._host_modules = cache(self._list_host)
        self._found_by_hook = cache(self._find_by_hook)
        beside = (entry for entry in map(os.path.abspath, sys.path) if entry not in host)
        self._beside = tuple(entry + os.sep for entry in beside)
        self._allow_pth = allow_pth
        self._faults: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        """Paths by distribution and fault."""
        self._owners: dict[str, str] = {}
        """The distribution that brings each file, by path in the folder."""
        self._kept = {path: other.name for other in kept for path in _record(other)}
        """The same of those that stay."""
        self._modules: defaultdict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
        """File name and owner by folder and module, of all but the host's."""
        self._names: defaultdict[str, set[str]] = defaultdict(set)
        """Names of modules by folder."""

    def result(self, refusals: Iterable[Refusal]) -> Contents:
        """Return the findings."""
        self._assign()
        for path, owner in (*self._kept.items(), *self._owners.items()):
            for entry in _entries(path):
                folder, base = os.path.split(entry)
                module = _module(base, is_folder=entry != path) or ""
                self._modules[folder, module].add((base, owner))
                self._names[folder].add(module)
        expected = {found.path.name for found in self._found.values()}
        for base, owner in self._modules["", ""]:
            if base.lower().endswith(METADATA) and owner in self._found and base not in expected:
                self._faults[owner, _METADATA_OF_OTHERS].add(base)
        for path, owner in self._owners.items():
            for fault in self._faults_of(path, owner):
                self._faults[owner, fault].add(path)
        tops = {_top(path) for path in self._owners if _module(os.path.basename(path))} - _OF_DATA
        tops |= {top for top in _OF_DATA if f"{top}/__init__.py" in self._owners}
        tops |= expected | {"bin"}
        return Contents(
            distributions=self._found,
            data_files=tuple(sorted(path for path in self._owners if _top(path) not in tops)),
            scripts=tuple(sorted(p.partition("/")[2] for p in self._owners if _top(p) == "bin")),
            refusals=(*refusals, *self._refusals()),
        )

    def _assign(self) -> None:
        """Find out which distribution brings each file."""
        files = dict(_files(self._staged))
        for name, found in self._found.items():
            for path in _record(found):
                if path.startswith(("../", "/")) or os.path.isabs(path):
                    self._faults[name, _OUTSIDE].add(path)
                elif path not in files:
                    self._faults[name, _NOT_BROUGHT].add(path)
                elif self._owners.setdefault(path, name) != name:
                    self._faults[name, _TWICE].add(path)
        everyone = "', '".join(self._found)
        for path, is_plain in files.items():
            owner = self._owners.get(path, everyone)
            if path not in self._owners:
                self._faults[owner, _UNLISTED].add(path)
            if not is_plain:
                self._faults[owner, _NO_FILE].add(path)

    def _refusals(self) -> Iterator[Refusal]:
        """Refuse each distribution that has faults, in a sentence."""
        for name in sorted({name for name, _ in self._faults}):
            shown = "; ".join(
                f"{', '.join(map(repr, sorted(paths)[:3]))}, {fault}"
                for (owner, fault), paths in self._faults.items()
                if owner == name
            )
            reason = f"{name!r} has among its files {shown}: ask for a version without it"
            yield Refusal(rule="environment", reason=reason)

    def _faults_of(self, path: str, owner: str) -> Iterator[str]:
        """Yield the faults of a file's place."""
        top, source = _top(path), _source_of(path)
        module = top.partition(".")[0]
        is_read = path == top and os.path.splitext(path)[1].lower() in _PATH_FILES
        if (is_read and not self._allow_pth) or module.lower() in _AT_EVERY_START:
            yield _RUN_AT_START
        if module in _UNASKED or _is_of_other_systems(module):
            yield _READ_UNASKED
        if f"{top}/__init__.py" not in self._owners and _is_found_by_place(path.lower()):
            yield _OF_OTHER_PROGRAMS
        if source == path or self._owners.get(source) != owner:
            if source in self._kept:
                yield _THERE
            elif any(self._rivals(source, owner)):
                yield _IN_THE_WAY

    def _rivals(self, path: str, owner: str) -> Iterator[str]:
        """Yield modules of others that could not be imported any more, or contain this file."""
        entries = list(_entries(path))
        for entry in entries:
            folder, base = os.path.split(entry)
            module = _module(base, is_folder=entry != path)
            if module:
                # A folder may be a part of a namespace, a file may be there once.
                yield from self._others(folder, owner, module, besides=entry != path and base)
            if entry != path:
                yield from self._others(entry, owner, "__init__")
        folder, base = os.path.split(path)
        if folder and _module(base) == "__init__":
            # The namespace of others would become a package.
            yield from self._others(folder, owner, None)

    def _others(
        self, folder: str, owner: str, module: str | None, *, besides: str | bool = False
    ) -> Iterator[str]:
        """Yield the files of others that are a module in a folder; None stands for any module."""
        host = self._host_modules(folder)
        if not folder and module and (base := self._found_by_hook(module)):
            yield base
        every = (self._names.get(folder, set()) | host.keys()) - {""}
        for key in every if module is None else (module,):
            own = {base for base, name in self._modules.get((folder, key), ()) if name != owner}
            yield from (own | host.get(key, set())) - {besides}

    def _find_by_hook(self, module: str) -> str | None:
        """Return the file name of a module of the host that no folder on its path has.

        It is in a zip file, or has a finder of its own, as editable installations do.
        """
        of_python: tuple[object, ...] = (FrozenImporter, BuiltinImporter, PathFinder)
        zips = [entry for entry in self._host if not os.path.isdir(entry)]
        found = [PathFinder.find_spec(module, zips)]
        for finder in sys.meta_path:
            with Guard():
                if finder not in of_python:
                    found.append(finder.find_spec(module, None))
        for spec in found:
            origin = None if spec is None else spec.origin
            # A finder may look into the generations too, as that of pytest.
            if origin is not None and not os.path.abspath(origin).startswith(self._beside):
                return os.path.basename(origin)
        return None

    def _list_host(self, folder: str) -> Mapping[str, set[str]]:
        """Return the importable modules of a folder."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for root in self._host:
            try:
                with os.scandir(os.path.join(root, folder)) as entries:
                    for entry in entries:
                        module = _module(entry.name, is_folder=entry.is_dir())
                        if module is not None:
                            found[module].add(entry.name)
            except OSError:
                continue
        return found


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


def _is_found_by_place(path: str) -> bool:
    """Return whether programs would find a file, whose path is in lower case, by its place."""
    folder, _, name = path.rpartition("/")
    local = path.removeprefix("local/")
    return (
        (not folder and "." not in name)
        or path.startswith((".", *_OF_SHELLS))
        or _top(local) in _PROGRAMS
        or (local != path and _top(local) == "bin")
        or name in _CONFIGURATION
        or _OTHER_PYTHON.match(path) is not None
    )


def _top(path: str) -> str:
    return path.partition("/")[0]


def _source_of(path: str) -> str:
    """Return the path of the source that a compiled file stands for, any other path as it is."""
    folder, name = os.path.split(path)
    if os.path.basename(folder) != "__pycache__" or not name.endswith(".pyc"):
        return path
    return os.path.join(os.path.dirname(folder), f"{name.partition('.')[0]}.py")


def _module(name: str, *, is_folder: bool = False) -> str | None:
    """Return the name of the module that a file or folder is, None where it is none."""
    if not is_folder:
        suffix = next(filter(name.endswith, _SUFFIXES), None)
        if suffix is None:
            return None
        name = name.removesuffix(suffix)
    return name if name.isidentifier() and name != "__pycache__" else None


@cache
def _is_of_python(entry: str) -> bool:
    """Return whether an entry of ``sys.path`` is the standard library."""
    import sysconfig

    library = {sysconfig.get_path(key) for key in ("stdlib", "platstdlib")}
    return entry in library | {os.path.join(folder, "lib-dynload") for folder in library}


@cache
def _is_of_other_systems(name: str) -> bool:
    """Return whether a module of the standard library is missing in this interpreter's.

    The module ``subprocess`` imports ``msvcrt`` on any system, to see whether it is there.
    """
    import sysconfig

    # Some images leave out the tests, which nothing imports.
    if name not in sys.stdlib_module_names or name in (*sys.builtin_module_names, "test"):
        return False
    folders = [sysconfig.get_path(key) for key in ("stdlib", "platstdlib")]
    folders += [os.path.join(folder, "lib-dynload") for folder in folders]
    return PathFinder.find_spec(name, folders) is None


def is_same_version(one: str, other: str) -> bool:
    """Return whether two versions are equal by PEP 440, or as strings if they are none."""
    from packaging.version import InvalidVersion, Version

    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other
