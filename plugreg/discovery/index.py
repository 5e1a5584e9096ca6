"""An index of the plugins of installed distributions, so that a start need not search for them.

It is a cache in a JSON file: the answer that :mod:`plugreg.discovery.entry_points` gave, and the
state of the path that it was given for. It holds nothing that a search would not find again, and
is used only while that state is the same.
"""

# ruff: noqa: PTH100, PTH105, PTH108, PTH112, PTH116, PTH123, PTH208
# A Path for each of thousands of folders would take longer than looking at the folders.
from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias

from plugreg._support.guard import Guard, explain, safe_repr
from plugreg.discovery import entry_points
from plugreg.records import Discovery, PluginSpec, Source

_logger = logging.getLogger("plugreg.discovery")

_FORMAT: Final = 5
"""Raised when the same tree has another result than before, or the file another format."""

_SETTLED: Final = 3_000_000_000
"""How many nanoseconds old a change must be before an answer is kept.

Two changes within a tick of a file system's clock (2 s on FAT) leave the same time behind.
"""

_NO_TIME: Final = 2_000_000_000
"""Times up to this are those that some packagers set for all files, whatever the contents."""


def find(
    file: str | os.PathLike[str], group: str, path: Sequence[str] | None = None, *, verify: bool
) -> Discovery:
    """Return the plugins of installed distributions, from the index where it is valid.

    The index is valid while group and path are the same and no folder or zip file of the path has
    another time of modification or of its last change (``st_mtime_ns``, ``st_ctime_ns``); folders
    without metadata of distributions may change. Installing, upgrading and uninstalling change
    those times; editing an ``entry_points.txt`` in place does not. A ``dist-info`` without
    ``RECORD`` is looked at too, since an installer may not be done with it. Where the second time
    is that of creation, as on Windows, a change that leaves the first as it was is not seen.

    If the index is not valid, the path is searched and the index replaced atomically; its folder
    must exist. No answer is kept that has failures, or that comes from finders on
    ``sys.meta_path``, since no time changes with those; nor of a path that was written a few
    seconds ago, or whose times are those of 1970, as some packagers set them. An index that cannot
    be read, used or written is no error: the search goes on without it, and the logger
    ``plugreg.discovery`` says so at level DEBUG. A file serves a single group and path; several
    replace each other.

    Args:
        file: The path of the index.
        group: The entry-point group.
        path: Folders and zip files to search instead of ``sys.path``.
        verify: Whether to look at each metadata folder and each ``entry_points.txt``, which sees
            every change.

    Returns:
        The answer of :func:`plugreg.discovery.entry_points.find`.
    """
    with Guard() as guard:
        if path is not None or not any(map(entry_points.knows_distributions, tuple(sys.meta_path))):
            entries = tuple(sys.path if path is None else path)
            # A search takes a place once, too, however often it is on the path.
            places = [*dict.fromkeys(map(_place, entries))]
            head = [_FORMAT, group, verify, places]
            return _read(file, head) or _search(file, head, entries)
    if guard.error is not None:
        # The search records a finder that fails, and an entry that is no folder.
        _log("cannot be used", file, guard.error)
    return entry_points.find(group, path)


_Times: TypeAlias = list[int | None]
"""``st_mtime_ns`` and ``st_ctime_ns`` of each of some places, in a row; None where it is not there.

Tools set the first as they like. The second no tool can set, and each change moves it; but on
Windows it is the time of creation.
"""

_State: TypeAlias = list[Any]
"""Whether a path entry is bare, which places in it are looked at, and the times of it and of these.

Except for verification, only unfinished installations are checked. A folder without
metadata of distributions is bare: it may change, since the current folder is often on the path and
a host may write its own files there. Where it has other times than these, it is listed; an empty
list stands for times that were too fresh.
"""


def _place(entry: object) -> str:
    if type(entry) is not str:
        raise TypeError(f"path entry {safe_repr(entry)} is no string")
    return os.path.abspath(entry)


def _times(places: Iterable[str]) -> _Times:
    """Return the times of places. Raises OSError if a place cannot be read."""
    times: _Times = []
    for place in places:
        try:
            status = os.stat(place)
        except (FileNotFoundError, NotADirectoryError):
            times += (None, None)
        else:
            times += (status.st_mtime_ns, status.st_ctime_ns)
    return times


def _state(place: str, settled: int, *, verify: bool) -> _State:
    """Return the state of a path entry. Raises OSError when it cannot be looked at."""
    times = _times([place])
    if not os.path.isdir(place):
        return [False, [], times]
    names = _metadata_names(place)
    if not names:
        are_old = all(time_ns is not None and time_ns < settled for time_ns in times)
        return [True, [], times if are_old else []]
    looked_at = list(_looked_at(place, names) if verify else _unfinished(place, names))
    return [False, looked_at, times + _times(looked_at)]


def _holds(place: str, kept: _State) -> bool:
    """Return whether a path entry is in the state that was kept. Raises OSError."""
    is_bare, looked_at, times = kept
    if _times([place, *looked_at]) == times:
        return True
    return is_bare and not _metadata_names(place)


def _has_settled(state: _State, settled: int) -> bool:
    """Return whether the next change will leave other times behind."""
    is_bare, _, times = state
    return is_bare or all(time_ns is None or _NO_TIME < time_ns < settled for time_ns in times[::2])


def _metadata_names(folder: str) -> list[str]:
    suffixes = ("dist-info", "egg-info")
    return [name for name in os.listdir(folder) if name.lower().endswith(suffixes)]


def _unfinished(place: str, names: Iterable[str]) -> Iterator[str]:
    """Yield ``dist-info`` folders without RECORD, the file that an installer writes last.

    What comes into one later changes its times, but not those of the folder that it lies in. The
    answer is kept all the same: some systems' own packages never have that file.
    """
    for name in names:
        if name.lower().endswith("dist-info") and not os.access(f"{place}/{name}/RECORD", os.F_OK):
            yield f"{place}/{name}"


def _looked_at(place: str, names: Iterable[str]) -> Iterator[str]:
    """Yield metadata folders, whose times show changes in them, and files that count."""
    for name in names:
        folder = f"{place}/{name}"
        yield folder
        for file in (f"{folder}/entry_points.txt", f"{folder}/PKG-INFO"):
            if os.access(file, os.F_OK):
                yield file


def _read(file: str | os.PathLike[str], head: list[Any]) -> Discovery | None:
    """Return the entry of ``head`` if it is valid, else None."""
    with Guard() as guard:
        # The file may hold anything, in any shape; if it cannot be used, the path is searched.
        kept_head, states, columns = json.loads(entry_points.contents(os.fspath(file))[1])
        _, group, _, places = head
        if kept_head != head or not all(
            _holds(*state) for state in zip(places, states, strict=True)
        ):
            return None
        return Discovery(specs=tuple(_specs(columns, group)))
    assert guard.error is not None
    if not isinstance(guard.error, FileNotFoundError):
        _log("is not used", file, guard.error)
    return None


def _search(file: str | os.PathLike[str], head: list[Any], entries: Sequence[str]) -> Discovery:
    """Search the path, and keep the answer if it will last. Raises exceptions of :func:`_state`."""
    _, group, verify, places = head
    settled = time.time_ns() - _SETTLED
    # A change from here on results in another state than the stored state.
    states = [_state(place, settled, verify=verify) for place in places]
    found = entry_points.find(group, entries)
    if not found.failures and all(_has_settled(state, settled) for state in states):
        _write(file, head, states, found)
    return found


def _write(
    file: str | os.PathLike[str], head: list[Any], states: list[_State], found: Discovery
) -> None:
    """Replace the index. It may get lost, or a part of it, without harm."""
    columns = [[getattr(spec, name) for spec in found.specs] for name in _COLUMNS]
    draft = f"{os.fspath(file)}.{os.urandom(8).hex()}"
    try:
        with open(draft, "x", encoding="utf-8") as stream:
            stream.write(json.dumps([head, states, columns]))
        os.replace(draft, file)
    except (OSError, ValueError) as error:
        _log("is not written", file, error)
    finally:
        # It is gone already where it has taken its place.
        with suppress(OSError, ValueError):
            os.unlink(draft)


def _log(what: str, file: str | os.PathLike[str], error: BaseException) -> None:
    _logger.debug("the index %r %s: %s", os.fspath(file), what, explain(error).message)


_COLUMNS: Final = ("slug", "name", "value", "distribution", "version", "path", "stamp")
"""The fields of specs that are kept, in this order. Columns are read faster than rows."""
_OPTIONAL: Final = ("version", "path")
"""The columns that may have None beside strings."""


def _specs(columns: list[list[Any]], group: str) -> list[PluginSpec]:
    """Return the specs that were kept. Raises TypeError or ValueError where there are none."""
    for name, column in zip(_COLUMNS, columns, strict=True):
        types = {str, type(None)} if name in _OPTIONAL else {str}
        if type(column) is not list or not types.issuperset(map(type, column)):
            raise TypeError(f"the column {name!r} has a value of another type")
    return [
        PluginSpec(
            slug=slug,
            name=name,
            value=value,
            source=Source.ENTRY_POINT,
            group=group,
            distribution=distribution,
            version=version,
            path=path,
            stamp=stamp,
        )
        for slug, name, value, distribution, version, path, stamp in zip(*columns, strict=True)
    ]
