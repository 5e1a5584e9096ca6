"""An index of the plugins of installed distributions, so that a start need not search for them.

It is a cache in one JSON file: the answer that :mod:`plugreg.discovery.entry_points` gave, and the
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
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias

from plugreg._guard import Guard, explain, safe_repr
from plugreg._names import Slug
from plugreg.discovery import entry_points
from plugreg.records import Discovery, PluginSpec, Source

_logger = logging.getLogger("plugreg.discovery")

_FORMAT: Final = 1
"""Raised when the same tree gives another answer than before, or it is written otherwise."""

_SETTLED: Final = 3_000_000_000
"""How many nanoseconds old a change must be before an answer is kept.

Two changes within one tick of a file system's clock (2 s on FAT) leave the same time behind.
"""


_NO_TIME: Final = 2_000_000_000
"""Times up to this one are those that some packagers give everything, whatever is in it."""


def find(
    file: str | os.PathLike[str], group: str, path: Sequence[str] | None = None, *, verify: bool
) -> Discovery:
    """Return what :func:`plugreg.discovery.entry_points.find` does, from the index where it holds.

    The index at ``file`` holds while group and path are the same and no folder or zip file of the
    path has another modification time; folders without metadata of distributions may change.
    Installing, upgrading and uninstalling change that time; an ``entry_points.txt`` that is edited
    in place does not. With ``verify`` each metadata folder and each ``entry_points.txt`` is looked
    at too, which sees every change but for one that leaves those times and sizes as they were.

    Where it does not hold, the path is searched and the index written anew, in one step; its
    folder must be there. No answer is kept that has failures, or that comes from finders on
    ``sys.meta_path``, since no time tells when those change; nor one of a path that was written a
    few seconds ago, or whose times are those of 1970, as some packagers set them. An index that
    cannot be read, used or written is no error: the search goes on without it, and the logger
    ``plugreg.discovery`` is told at level DEBUG. One file serves one group and one path; with
    several they take turns.
    """
    with Guard() as guard:
        if path is not None or not any(map(entry_points.knows_distributions, tuple(sys.meta_path))):
            entries = tuple(sys.path if path is None else path)
            head = [_FORMAT, group, verify, [_place(each) for each in entries]]
            return _read(file, head) or _search(file, head, entries)
    if guard.error is not None:
        # It is the search that tells of a finder that fails, and of an entry that is no folder.
        _tell("cannot be used", file, guard.error)
    return entry_points.find(group, path)


_State: TypeAlias = list[Any]
"""When a path entry was written, in nanoseconds, and the metadata folders in it.

The time is None for what is not there, or where it says nothing. The folders are None where the
time says enough, and otherwise, by name, what :func:`_folder` gives. A path entry that has none may
have any time: the current folder is often on the path, and a host may write its own files there.
"""


def _place(entry: object) -> str:
    if type(entry) is not str:
        raise TypeError(f"path entry {safe_repr(entry)} is no text")
    return os.path.abspath(entry)


def _written(place: str) -> int | None:
    try:
        return os.stat(place).st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return None


def _tells(written: int, settled: int) -> bool:
    """Tell whether the next change will leave another time behind."""
    return _NO_TIME < written < settled


def _state(place: str, settled: int, *, verify: bool) -> _State:
    """Return the state of a path entry. Raises OSError when it cannot be looked at."""
    written = _written(place)
    if written is None or not os.path.isdir(place):
        return [written, None]
    names = _metadata_names(place)
    if not names:
        return [written if _tells(written, settled) else None, {}]
    return [written, {each: _folder(f"{place}/{each}") for each in names} if verify else None]


def _holds(place: str, kept: _State) -> bool:
    """Tell whether a path entry is in the state that was kept. Raises what :func:`_state` does."""
    written, folders = kept
    if folders is None:
        return bool(_written(place) == written)
    if not folders:
        return _written(place) == written or (os.path.isdir(place) and not _metadata_names(place))
    names = _metadata_names(place)
    return len(names) == len(folders) and all(
        each in folders and _is_same(f"{place}/{each}", folders[each]) for each in names
    )


def _has_settled(state: _State, settled: int) -> bool:
    written, folders = state
    if folders is None:
        return written is None or _tells(written, settled)
    return all(
        _tells(written, settled) and all(_tells(at, settled) for _, at, _ in files)
        for written, *files in folders.values()
    )


def _metadata_names(folder: str) -> list[str]:
    return [each for each in os.listdir(folder) if each.lower().endswith(("dist-info", "egg-info"))]


def _folder(path: str) -> list[Any]:
    """Return when a metadata folder was written, and name, time and size of the files that count.

    Its time changes when a file comes, goes, or is put in the place of another.
    """
    found: list[Any] = [os.stat(path).st_mtime_ns]
    for name in ("entry_points.txt", "PKG-INFO"):
        if os.access(f"{path}/{name}", os.F_OK):
            status = os.stat(f"{path}/{name}")
            found.append([name, status.st_mtime_ns, status.st_size])
    return found


def _is_same(path: str, kept: list[Any]) -> bool:
    if os.stat(path).st_mtime_ns != kept[0]:
        return False
    for name, written, size in kept[1:]:
        status = os.stat(f"{path}/{name}")
        if status.st_mtime_ns != written or status.st_size != size:
            return False
    return True


def _read(file: str | os.PathLike[str], head: list[Any]) -> Discovery | None:
    """Return what is kept under ``head`` if it holds, else None."""
    with Guard() as guard:
        # Whatever is in the file, of whatever shape: what cannot be used is searched for.
        (kept_head, states), rows = json.loads(entry_points.contents(os.fspath(file))[1])
        _, group, _, places = head
        if kept_head != head or not all(_holds(*each) for each in zip(places, states, strict=True)):
            return None
        return Discovery(specs=tuple([_spec(row, group) for row in rows]))
    assert guard.error is not None
    if not isinstance(guard.error, FileNotFoundError):
        _tell("is not used", file, guard.error)
    return None


def _search(file: str | os.PathLike[str], head: list[Any], entries: Sequence[str]) -> Discovery:
    """Search the path, and keep the answer if it will last. Raises what :func:`_state` does."""
    _, group, verify, places = head
    settled = time.time_ns() - _SETTLED
    # What changes from here on makes another state than the one that is kept.
    states = [_state(place, settled, verify=verify) for place in places]
    found = entry_points.find(group, entries)
    if not found.failures and all(_has_settled(each, settled) for each in states):
        _write(file, [head, states], found)
    return found


def _write(file: str | os.PathLike[str], key: list[Any], found: Discovery) -> None:
    """Put a new index in the place of the old one. It is no loss if that, or a part, gets lost."""
    rows = [
        (each.slug, each.name, each.value, each.distribution, each.version, each.path, each.stamp)
        for each in found.specs
    ]
    draft = f"{os.fspath(file)}.{os.urandom(8).hex()}"
    try:
        with open(draft, "x", encoding="utf-8") as stream:
            stream.write(json.dumps([key, rows]))
        os.replace(draft, file)
    except (OSError, ValueError) as error:
        _tell("is not written", file, error)
    finally:
        # It is gone already where it has taken its place.
        with suppress(OSError, ValueError):
            os.unlink(draft)


def _tell(what: str, file: str | os.PathLike[str], error: BaseException) -> None:
    _logger.debug("the index %r %s: %s", os.fspath(file), what, explain(error).message)


def _spec(row: list[Any], group: str) -> PluginSpec:
    """Return the spec that was kept as ``row``. Raises TypeError or ValueError where it is none."""
    slug, name, value, distribution, version, path, stamp = row
    for text in (slug, name, value, distribution, stamp):
        if type(text) is not str:
            raise TypeError(f"{text!r} is no text")
    for text in (version, path):
        if text is not None and type(text) is not str:
            raise TypeError(f"{text!r} is neither a text nor null")
    return PluginSpec(
        slug=Slug(slug),
        name=name,
        value=value,
        source=Source.ENTRY_POINT,
        group=group,
        distribution=distribution,
        version=version,
        path=path,
        stamp=stamp,
    )
