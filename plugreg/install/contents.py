"""Check the files of unpacked distributions against the environment.

No RECORD is believed (PEP 376): what counts is what the installer has unpacked, and where it would
lie.
"""

# ruff: noqa: PTH112, PTH114, PTH118, PTH119, PTH120, PTH208
# A Path for each of ten thousands of files would take longer than looking at them.
from __future__ import annotations

import csv
import os
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import all_suffixes
from pathlib import Path
from typing import Final

from plugreg.exceptions import InstallError
from plugreg.install.environment import METADATA, Environment, Found
from plugreg.install.ownership import (
    AT_EVERY_START,
    OF_OTHER_PROGRAMS,
    OF_PYTHON,
    UNASKED,
    imported_unasked,
    of_other_programs,
    of_python,
    run_at_start,
    shown,
)
from plugreg.install.plan import Change, Refusal
from plugreg.install.processes import commands_path
from plugreg.install.unpacked import Unpacked

_SUFFIXES: Final = tuple(sorted(all_suffixes(), key=len, reverse=True))
_OF_UV: Final = ".lock"
"""A file that uv puts into each prefix that it changes."""

_UNLISTED: Final = "which no RECORD lists"
_NOT_BROUGHT: Final = "which is only in its RECORD"
_TWICE: Final = "which another distribution that would come brings too"
_METADATA_OF_OTHERS: Final = "which would be metadata of another distribution"
_OUTSIDE: Final = f"which is outside of {sys.prefix!r}"
_THERE: Final = (
    "which is there already, and belongs to another distribution or to nobody that plugreg knows"
)
_IN_THE_WAY: Final = (
    "which would take the place of modules, or be in the package, of another distribution or of "
    "nobody that plugreg knows"
)


_Modules = dict[str, dict[str, set[str]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """What would lie elsewhere than in the folders of an environment, and what is refused.

    ``data_files`` are relative to ``sys.prefix``, sorted, with slashes; ``scripts`` are the names
    of what would lie among the environment's programs, sorted.
    """

    data_files: tuple[str, ...]
    scripts: tuple[str, ...]
    refusals: tuple[Refusal, ...]


def contents(
    unpacked: Unpacked,
    environment: Environment,
    changes: Sequence[Change],
    shadowing: Collection[str] = (),
) -> Contents:
    """Judge what ``changes`` would bring, all of which was unpacked.

    Each distribution must have one metadata folder, of its planned version, and there may be no
    other one. A file is refused that

    - its RECORD does not list, or lists in vain, or that two distributions bring;
    - would lie outside of ``sys.prefix``, where Python or plugreg write, where Python would run it
      at every start, where Python or an installer would import it to see whether it is there, or
      where another program would take it for its own;
    - is a script of the name of a command that is there, unless ``shadowing`` has that name;
    - is there already, unless it belongs to what the changes replace;
    - is in a package of others, or of the name of a module of theirs that has another form. A
      namespace package, which has no ``__init__``, may be shared.

    A file that is compiled is judged as its source is. A link among the folders of the environment
    is followed. Raises InstallError where a RECORD cannot be read.
    """
    return _Judgement(unpacked, environment, changes).result(shadowing)


class _Judgement:
    def __init__(
        self, unpacked: Unpacked, environment: Environment, changes: Sequence[Change]
    ) -> None:
        self._environment = environment
        self._changes = [change for change in changes if change.after is not None]
        self._prefix = str(unpacked.prefix.resolve())
        self._files = frozenset(unpacked.files())
        planned = {change.name for change in self._changes}
        self._found = {
            name: found for name, found in unpacked.distributions().items() if name in planned
        }
        # Each folder of modules in there, and the one of the environment.
        self._folders = tuple(
            (str(here.resolve()), str(there))
            for here, there in zip(
                unpacked.folders, (environment.purelib, environment.platlib), strict=True
            )
        )
        self._real = cache(os.path.realpath)
        self._there = cache(_modules_in)
        self._roots = tuple(dict.fromkeys(map(str, (environment.purelib, environment.platlib))))
        self._faults: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(
            lambda: defaultdict(set)
        )
        """What is wrong with the files of each distribution."""
        names = [change.name for change in changes]
        self._own = {self._followed(str(path)) for path in environment.files(names)}
        installed = environment.distributions()
        # Some installers write there what they do not list.
        self._own_metadata = tuple(
            str(installed[name].path) + os.sep for name in names if name in installed
        )
        self._owners: dict[str, str] = {}
        """Who would bring what is to lie at a path."""
        self._coming: defaultdict[str, _Modules] = defaultdict(dict)
        """What would come into a folder of modules: by module, and from which distributions."""

    def result(self, shadowing: Collection[str]) -> Contents:
        self._place()
        self._judge_metadata()
        self._judge_places()
        for path, name in self._owners.items():
            self._judge(path, name)
        scripts = dict(sorted(self._scripts()))
        shadowed = tuple(self._shadowed(scripts, shadowing))
        return Contents(
            data_files=tuple(sorted(self._data_files())),
            scripts=tuple(scripts),
            refusals=(*self._other_versions(), *self._faulty(), *shadowed),
        )

    def _scripts(self) -> Iterator[tuple[str, str]]:
        """Find the names of programs, and who would bring each."""
        for path, owner in self._owners.items():
            folder, name = os.path.split(path)
            if folder == str(self._environment.scripts):
                yield name, owner

    def _shadowed(
        self, scripts: Mapping[str, str], shadowing: Collection[str]
    ) -> Iterator[Refusal]:
        """Refuse scripts that would be run in the place of a command that is there."""
        import shutil

        path = commands_path()
        for name, owner in scripts.items():
            command = None if name in shadowing else shutil.which(name, path=path)
            if command is not None:
                reason = (
                    f"{owner} has a script {name!r}, which would be run in the place of "
                    f"{command!r}; ask the host to add {name!r} to scripts of its policy, or for "
                    f"a version without it"
                )
                yield Refusal(rule="scripts", reason=reason)

    def _faulty(self) -> Iterator[Refusal]:
        """Refuse each distribution that has some faults, in one sentence."""
        for name, faults in sorted(self._faults.items()):
            told = "; ".join(f"{shown(paths)}, {what}" for what, paths in faults.items())
            reason = f"{name} has among its files {told}: ask for a version without it"
            yield Refusal(rule="environment", reason=reason)

    def _place(self) -> None:
        """Find out who brings each file that was unpacked, and where it would lie."""
        listed: dict[str, str] = {}
        for name, found in self._found.items():
            for line in _listed(found):
                file = os.path.normpath(os.path.join(found.path.parent, line))
                if file not in self._files:
                    self._faults[repr(name)][_NOT_BROUGHT].add(line)
                elif listed.setdefault(file, repr(name)) != repr(name):
                    self._faults[repr(name)][_TWICE].add(self._destination(file))
        everyone = ", ".join(map(repr, self._found))
        for file in sorted(self._files):
            path = self._destination(file)
            name = listed.get(file, everyone)
            if file not in listed:
                if file == os.path.join(self._prefix, _OF_UV):
                    continue
                self._faults[name][_UNLISTED].add(path)
            if path in self._owners:
                self._faults[name][_TWICE].add(path)
            self._owners[path] = name
            for entry in self._entries(path):
                folder, base = os.path.split(entry)
                module = _module(base, is_folder=entry != path)
                coming = self._coming[folder].setdefault(module or "", {})
                coming.setdefault(entry, set()).add(name)

    def _destination(self, file: str) -> str:
        """Return where an unpacked file would lie."""
        # It is seen from a folder of modules, and that is as deep in any prefix.
        here, there = next(
            (folder for folder in self._folders if file.startswith(folder[0] + os.sep)),
            self._folders[0],
        )
        return self._followed(os.path.normpath(os.path.join(there, os.path.relpath(file, here))))

    def _followed(self, path: str) -> str:
        """Return where a path leads when links among its parents are followed."""
        folder, name = os.path.split(path)
        return os.path.join(self._real(folder), name)

    def _data_files(self) -> Iterator[str]:
        """Return what would lie below ``sys.prefix``, but for the folders of the environment."""
        prefix = os.path.realpath(sys.prefix)
        folders = tuple(f"{folder}{os.sep}" for folder in self._environment.folders)
        for path in self._owners:
            if path.startswith(prefix + os.sep) and not path.startswith(folders):
                yield os.path.relpath(path, prefix).replace(os.sep, "/")

    def _judge_metadata(self) -> None:
        """Refuse metadata that is not that of a planned distribution."""
        expected = {
            self._destination(str(distribution.path)) for distribution in self._found.values()
        }
        for root in self._roots:
            for entry, owners in self._coming[root].get("", {}).items():
                if entry.lower().endswith(METADATA) and entry not in expected:
                    for name in owners:
                        self._faults[name][_METADATA_OF_OTHERS].add(entry)

    def _other_versions(self) -> Iterator[Refusal]:
        for change in self._changes:
            found = self._found.get(change.name)
            if found is not None and not _is_same(found.version, change.after or ""):
                reason = f"{change.name!r} says that it is {found.version}, not {change.after}"
                yield Refusal(rule="environment", reason=reason)

    def _judge_places(self) -> None:
        """Refuse what would lie where nothing of a distribution may be."""
        paths = list(map(Path, self._owners))
        prefix = os.path.realpath(sys.prefix)
        inside = tuple(f"{folder}{os.sep}" for folder in (prefix, *self._environment.folders))
        found = {
            _OUTSIDE: [path for path in paths if not str(path).startswith(inside)],
            OF_PYTHON: of_python(self._environment, paths),
            AT_EVERY_START: run_at_start(self._environment, paths),
            UNASKED: imported_unasked(self._environment, paths),
            OF_OTHER_PROGRAMS: of_other_programs(self._environment, paths),
        }
        for what, some in found.items():
            for path in map(str, some):
                self._faults[self._owners[path]][what].add(path)

    def _judge(self, path: str, name: str) -> None:
        source = _source_of(path)
        if source != path and self._owners.get(source) == name:
            return
        if os.path.lexists(source) and self._is_foreign(source):
            self._faults[name][_THERE].add(path)
        elif any(self._rivals(source, name)):
            self._faults[name][_IN_THE_WAY].add(path)

    def _rivals(self, path: str, name: str) -> Iterator[str]:
        """Find modules of others that could not be imported any more, or would be in a package."""
        entries = list(self._entries(path))
        for entry in entries:
            folder, base = os.path.split(entry)
            module = _module(base, is_folder=entry != path)
            places = self._roots if folder in self._roots else (folder,)
            for place in places if module else ():
                yield from self._others(place, name, module, besides=base)
            if entry != path:
                yield from self._others(entry, name, "__init__")
        folder, base = os.path.split(path)
        is_new = path not in self._own
        if is_new and len(entries) > 1 and _module(base, is_folder=False) == "__init__":
            # The namespace of others would become a package that runs code.
            yield from self._others(folder, name, None)

    def _others(
        self, folder: str, name: str, module: str | None, *, besides: str | None = None
    ) -> Iterator[str]:
        """Find what others have, or would have, of a module in a folder; None is of any.

        ``besides`` is a form of it that is left out: the name of a file, or of a folder.
        """
        there, coming = self._there(folder), self._coming.get(folder, {})
        for key in there if module is None else (module,):
            for entry in there.get(key, ()):
                if os.path.basename(entry) != besides and self._is_foreign(entry):
                    yield entry
        for key in coming.keys() - {""} if module is None else (module,):
            for entry, owners in coming.get(key, {}).items():
                if os.path.basename(entry) != besides and owners != {name}:
                    yield entry

    def _entries(self, path: str) -> Iterator[str]:
        """Return a path in a folder of modules, and the folders that it is in, below that one."""
        for root in self._roots:
            if path.startswith(root + os.sep):
                while path != root:
                    yield path
                    path = os.path.dirname(path)
                return

    def _is_foreign(self, path: str) -> bool:
        """Return whether what is there is none of what the changes replace."""
        if os.path.isdir(path) and not os.path.islink(path):
            return any(
                self._is_foreign(os.path.join(path, name))
                for name in os.listdir(path)
                if name != "__pycache__"
            )
        return path not in self._own and not path.startswith(self._own_metadata)


def _listed(found: Found) -> Sequence[str]:
    """Return the files of a distribution as its RECORD has them, those that are missing too."""
    try:
        text = (found.path / "RECORD").read_text("utf-8")
        if "\0" in text:
            raise ValueError("it has a null character")
        return [row[0] for row in csv.reader(text.splitlines()) if row]
    except (OSError, ValueError, csv.Error) as error:
        raise InstallError([f"the RECORD of {found.name!r} cannot be read: {error}"]) from error


def _source_of(path: str) -> str:
    """Return the path of the source that a compiled file stands for, any other path as it is."""
    folder, name = os.path.split(path)
    if os.path.basename(folder) != "__pycache__" or not name.endswith(".pyc"):
        return path
    return os.path.join(os.path.dirname(folder), f"{name.partition('.')[0]}.py")


def _modules_in(folder: str) -> Mapping[str, Sequence[str]]:
    """Return the paths of what this interpreter could import from a folder, by module."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                module = _module(entry.name, is_folder=entry.is_dir())
                if module is not None:
                    found[module].append(entry.path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    return found


def _module(name: str, *, is_folder: bool) -> str | None:
    """Return the name of the module that a file or folder is, None where it is none."""
    if not is_folder:
        suffix = next(filter(name.endswith, _SUFFIXES), None)
        if suffix is None:
            return None
        name = name.removesuffix(suffix)
    return name if name.isidentifier() and name != "__pycache__" else None


def _is_same(one: str, other: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other
