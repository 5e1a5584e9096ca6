"""Plugins of installed distributions, read from their ``entry_points.txt``.

Plain folders are read here, which takes a sixth of the time that importlib-metadata needs; its
answer is the measure, and a property test holds the two together. What is no plain folder
(a zip file on the path, a finder that brings distributions of its own) importlib-metadata
serves, and it is imported only then.

See the PyPA specifications "Entry points", "Recording installed projects" and "Name
normalization".
"""

# ruff: noqa: PTH100, PTH113, PTH116, PTH118, PTH119, PTH208
# A Path for each of thousands of folders would take longer than reading the folders.
from __future__ import annotations

import errno
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias

from plugreg._support.guard import Guard, safe_repr
from plugreg._support.slugs import canonical, slug_fault, slugify
from plugreg.records import Discovery, PluginFailure, PluginSpec, Source, Stage

REFERENCE: Final = r"(?P<module>[\w.]+)\s*(:\s*(?P<attr>[\w.]+)\s*)?((?P<extras>\[.*\])\s*)?$"
"""An object reference as importlib-metadata reads it: ``module``, ``module:attr [extra]`` …"""


def find(group: str, path: Sequence[str] | None = None) -> Discovery:
    """Return the plugins named by the entry points of a group.

    As in importlib-metadata the first distribution of a name hides those after it, ``''`` is the
    current folder, and missing folders are skipped. Unlike there, a broken distribution hides
    nothing:

    - a metadata folder without METADATA, or whose ``entry_points.txt`` cannot be read, gives no
      spec, and a failure whose ``slug`` is the folder's path;
    - of several folders of one distribution beside each other the highest version counts, and
      each of the others that differs is such a failure;
    - an entry whose value is no object reference, or whose name gives no good slug, is a failure
      of that entry alone.

    No plugin is imported, and no distribution makes it raise.

    Args:
        group: The entry-point group.
        path: Folders and zip files. Defaults to ``sys.path``, after the finders of
            ``sys.meta_path`` that bring their own distributions.

    Returns:
        The specs and the failures, sorted.
    """
    scan = _Scan(group)
    if path is None:
        for finder in tuple(sys.meta_path):
            with Guard() as guard:
                scan.add_finder(finder)
            if guard.error is not None:
                scan.findings.fail(_kind(finder), guard.error, "finder of distributions failed")
    for entry in tuple(sys.path if path is None else path):
        with Guard() as guard:
            scan.add_path_entry(entry)
        if guard.error is not None:
            place = entry if type(entry) is str else safe_repr(entry)
            what = "path entry cannot be searched for distributions"
            scan.findings.fail(place, guard.error, what)
    return scan.findings.result()


def knows_distributions(finder: Any) -> bool:
    """Return whether a finder of ``sys.meta_path`` brings distributions of its own.

    Args:
        finder: The finder.

    Returns:
        False for finders that only search ``sys.path``.
    """
    if getattr(finder, "find_distributions", None) is None:
        return False
    # Python's path finder and that of importlib-metadata only search sys.path. Copies of the
    # latter live in other packages under its own last name.
    owner = str(getattr(finder, "__module__", "")).rpartition(".")[2]
    return owner not in ("_frozen_importlib_external", "importlib_metadata")


def parse(text: str, group: str) -> Iterator[tuple[str, str | None]]:
    """Yield name and value of each entry point of a group.

    The rules are those of importlib-metadata, which differ from configparser's: repeated sections
    and names are kept, values are not interpolated.

    Args:
        text: The contents of an ``entry_points.txt``.
        group: The entry-point group.

    Yields:
        Name and value of each line. The value is None where the line has no ``=``.
    """
    section = None
    for line in map(str.strip, text.splitlines()):
        if not line or line[0] == "#":
            continue
        if line[0] == "[" and line[-1] == "]":
            section = line.strip("[]")
        elif section == group:
            name, equals, value = line.partition("=")
            yield name.strip(), value.strip() if equals else None


class Findings:
    """Specs and failures of a search. Specs with the same key replace each other."""

    def __init__(self) -> None:
        self.specs: dict[tuple[object, ...], PluginSpec] = {}
        self.failures: list[PluginFailure] = []

    def refuse(self, slug: str, message: str) -> None:
        """Add a failure without an exception."""
        self.failures.append(PluginFailure(stage=Stage.DISCOVERY, slug=slug, message=message))

    def fail(self, slug: str, error: BaseException, what: str, subject: str = "") -> None:
        """Add a failure with its exception; *what* begins its message."""
        failure = PluginFailure.of(Stage.DISCOVERY, slug, error, subject=subject, what=what)
        self.failures.append(failure)

    def update(self, other: Findings) -> None:
        """Add the results of another search."""
        self.specs |= other.specs
        self.failures += other.failures

    def result(self) -> Discovery:
        """Return everything, sorted."""
        return Discovery(
            specs=tuple(sorted(self.specs.values(), key=lambda spec: spec.sort_key)),
            failures=tuple(sorted(self.failures, key=lambda fault: (fault.slug, fault.message))),
        )


class _Info:
    """A metadata folder, with the canonical name and the version in its own name."""

    __slots__ = ("name", "path", "version")

    def __init__(self, path: str, name: str, version: str | None) -> None:
        self.path = path
        self.name = name
        self.version = version


_Pair: TypeAlias = tuple[str, str | None]
_Entries: TypeAlias = tuple[tuple[_Pair, ...], int]
"""The entries of the group in a metadata folder, and the time of their file."""


class _Scan:
    """A search: its findings so far, and the names and places that it has visited."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._names: set[str] = set()
        self._places: set[tuple[int, int]] = set()
        self.findings = Findings()

    def add_path_entry(self, entry: str) -> None:
        """Add an entry of the path, once, whatever its spellings."""
        place = os.path.abspath(entry)
        try:
            status = os.stat(place)
        except (FileNotFoundError, NotADirectoryError):
            # sys.path regularly names a zip file of the standard library that is not there,
            # and markers of setuptools that are no paths at all.
            return
        if (status.st_dev, status.st_ino) in self._places:
            return
        self._places.add((status.st_dev, status.st_ino))
        if stat.S_ISDIR(status.st_mode):
            self._add_folder(place)
        else:
            self._add_foreign(None, place, str(status.st_mtime_ns))

    def add_finder(self, finder: Any) -> None:
        """Take in the distributions of a finder that has its own."""
        if knows_distributions(finder):
            self._add_foreign(finder, _kind(finder), "")

    # --- plain folders

    def _add_folder(self, folder: str) -> None:
        found: dict[str, str] = {}
        rivals: dict[str, list[str]] = {}
        for name, path in self._metadata_folders(folder):
            first = found.setdefault(name, path)
            if first is not path:
                rivals.setdefault(name, [first]).append(path)
        for name, path in found.items():
            if name in rivals:
                self._add_rivals(rivals[name])
            # Most distributions have METADATA and no entry points. access() is the fastest check.
            elif os.access(path + "/METADATA", os.F_OK) or self._is_whole(path):
                if os.access(path + "/entry_points.txt", os.F_OK):
                    self._add(name, path)
                else:
                    self._names.add(name)

    def _metadata_folders(self, folder: str) -> Iterable[tuple[str, str]]:
        """Return name and path of each distribution's metadata folder or file in a folder."""
        prefix = os.path.join(folder, "")
        names, paths = [], []
        for child in os.listdir(folder):
            # Nine of ten names are those of modules.
            if child[-4:].lower() != "info":
                continue
            path = prefix + child
            name, _, version = child.partition("-")
            if not (version[:1].isdigit() and child[0].isalnum() and child.endswith(".dist-info")):
                info = self._check_name(path)
                if info is None:
                    continue
                name = info.name
            names.append(name)
            paths.append(path)
        # No name has a slash. Making them canonical together takes a fourth of the time.
        return zip(canonical("/".join(names)).split("/"), paths, strict=False)

    def _check_name(self, path: str) -> _Info | None:
        """Parse the name of a metadata folder and record its faults; None if it names nothing."""
        info = _info(path)
        if info is None:
            return None
        if not info.name[:1].isalnum():
            # pip renames removed files to "~name", and leaves them there when it is interrupted.
            self._fail(path, "its name has no valid distribution name in it")
            return None
        if info.version is None and path.endswith(".dist-info"):
            self._fail(path, "its name has no version in it; its entry points are used")
        return info

    def _add(self, name: str, path: str) -> _Entries | None:
        """Add a distribution, and return its entries if it is valid and the first."""
        if name in self._names:
            return None
        entries = self._read(path)
        if entries is not None:
            self._names.add(name)
            pairs, written = entries
            if pairs and (info := _info(path)):
                self._add_entries(info, pairs, _stamp(info, written), path)
        return entries

    def _add_rivals(self, paths: list[str]) -> None:
        """Add the best of several metadata folders of a distribution in the same folder."""
        infos = [info for path in paths if self._is_whole(path) and (info := _info(path))]
        infos.sort(key=_precedence, reverse=True)
        for rank, info in enumerate(infos):
            entries = self._add(info.name, info.path)
            if entries is not None:
                for other in infos[rank + 1 :]:
                    self._pass_over(other, info, entries)
                return

    def _is_whole(self, path: str) -> bool:
        """Return whether a metadata folder is complete, and record it if not."""
        for name in ("METADATA", "PKG-INFO"):
            try:
                os.stat(f"{path}/{name}")
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                self.findings.fail(path, error, "metadata folder cannot be read")
                return False
            return True
        if path.lower().endswith(".egg-info") and os.path.isfile(path):
            return True
        self._fail(path, "it has no METADATA, so it is what an installation left behind")
        return False

    def _read(self, path: str) -> _Entries | None:
        """Return the entries of a folder; none where it has no file, None where it is broken."""
        try:
            written, text = contents(path + "/entry_points.txt")
        except (FileNotFoundError, NotADirectoryError):
            return (), 0
        except (OSError, UnicodeError) as error:
            self.findings.fail(path, error, "entry_points.txt cannot be read")
            return None
        if self._group not in text:
            return (), 0
        return tuple(parse(text, self._group)), written

    def _pass_over(self, other: _Info, chosen: _Info, entries: _Entries) -> None:
        """Record a metadata folder beside the chosen folder, unless both are equal."""
        theirs = self._read(other.path)
        if theirs is None or (other.version, theirs[0]) == (chosen.version, entries[0]):
            return
        if theirs[0] or entries[0]:
            self._fail(other.path, f"it is passed over for {chosen.path!r}, of the same name")

    def _fail(self, path: str, reason: str) -> None:
        remedy = "reinstall the distribution, or remove the folder"
        self.findings.refuse(path, f"metadata folder {path!r} is broken: {reason}; {remedy}")

    # --- distributions that importlib-metadata reads

    def _add_foreign(self, finder: Any, place: str, stamp: str) -> None:
        """Add the distributions of a finder, or without one those of a zip file."""
        from plugreg.discovery import foreign

        for distribution in foreign.distributions(finder, place):
            # There is no public way to ask a distribution for its place.
            path = getattr(distribution, "_path", None)
            where = place if path is None else str(path)
            with Guard() as guard:
                name = canonical(distribution.metadata["Name"])
                if name in self._names:
                    continue
                pairs = foreign.pairs(distribution, self._group)
                self._names.add(name)
                info = _Info(where, name, distribution.version)
                written = f"{info.version}:{stamp}"
                self._add_entries(info, pairs, written, None if path is None else where)
            if guard.error is not None:
                self.findings.fail(where, guard.error, "distribution cannot be read")

    # --- entries

    def _add_entries(
        self, info: _Info, pairs: Iterable[_Pair], stamp: str, path: str | None
    ) -> None:
        for name, value in pairs:
            slug = slugify(name)
            fault = slug_fault(slug, name)
            if value is None:
                fault = f"line {name!r} has no '='; write name = module:attribute"
                slug_or_place = info.path
            else:
                slug_or_place = slug or name or info.path
                if fault is None and not _is_reference(value):
                    fault = f"value {value!r} is no object reference; write module:attribute"
            if fault is not None or value is None:
                place = f"distribution {info.name!r} in {info.path!r}"
                message = f"entry point {name!r} of {place} is refused: {fault}"
                self.findings.refuse(slug_or_place, message)
                continue
            self.findings.specs[info.name, name, value] = PluginSpec(
                slug=slug,
                name=name,
                value=value,
                source=Source.ENTRY_POINT,
                group=self._group,
                distribution=info.name,
                version=info.version,
                path=path,
                stamp=stamp,
            )


# Windows alone knows the first, and needs it; the second it does not know, and has no need of.
READ_FLAGS: Final[int] = getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


def _kind(finder: Any) -> str:
    """Return the name of the class that a finder is, or is made from."""
    with Guard():
        kind = finder if isinstance(finder, type) else type(finder)
        return f"{kind.__module__}.{kind.__qualname__}"
    return "a finder whose class has no name"


def contents(file: str) -> tuple[int, str]:
    """Return the modification time of a file, and its contents.

    Args:
        file: The path of a regular file.

    Returns:
        The time in nanoseconds, and the decoded string.

    Raises:
        OSError: If it cannot be read, or is not a regular file.
        UnicodeError: If it is not UTF-8.
    """
    # Without a file object this takes half the time, and a special file does not block.
    descriptor = os.open(file, os.O_RDONLY | READ_FLAGS)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", file)
        data = os.read(descriptor, status.st_size)
        while len(data) < status.st_size and (more := os.read(descriptor, status.st_size)):
            data += more
    finally:
        os.close(descriptor)
    return status.st_mtime_ns, data.decode("utf-8")


def _info(path: str) -> _Info | None:
    """Return a metadata folder or file, with its name and version; None if it is no such."""
    folder, _, child = path.rpartition(os.sep)
    if child.lower() == "egg-info" and folder.lower().endswith(".egg"):
        # In an egg, the folder around it has the name.
        child = f"{os.path.basename(folder)[:-4]}.egg-info"
    stem, dot, kind = child.rpartition(".")
    kind = kind.lower()
    if not dot or kind not in ("dist-info", "egg-info"):
        return None
    name, _, version = stem.partition("-")
    if version and not version[0].isdigit() and (match := re.fullmatch(r"(.+?)-(\d.*)", stem)):
        # The writer did not escape the hyphens of the name, as the specification asks.
        name, version = match.groups()
    if kind == "egg-info":
        version = version.partition("-py")[0]
    return _Info(path, canonical(name), version or None)


def _is_reference(value: str) -> bool:
    module, _, attribute = value.partition(":")
    # Usual values need no regular expression, whose compilation takes as long as 200 of them.
    if module and attribute and (module + attribute).replace(".", "").replace("_", "").isalnum():
        return True
    return re.match(REFERENCE, value) is not None


def _stamp(info: _Info, written: int) -> str:
    stamp = f"{info.version}:{written}"
    if info.version is None:
        # Then the version stands only in PKG-INFO, as with setuptools' develop mode.
        with Guard():
            stamp += f":{os.stat(info.path + '/PKG-INFO').st_mtime_ns}"
    return stamp


def _precedence(info: _Info) -> tuple[bool, Any, bool, str]:
    """Order metadata folders of a distribution, the best last."""
    from packaging.version import InvalidVersion, Version

    try:
        version = Version(info.version or "")
    except InvalidVersion:
        return (False, info.version or "", False, info.path)
    return (True, version, info.path.endswith(".dist-info"), info.path)
