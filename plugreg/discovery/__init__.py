"""Discovery: which plugins there are, found without importing any (design.md, section 2).

Four kinds of source, in this order of precedence: builtin objects, samples, directories, and
the entry points of installed distributions. Each gives a :class:`~plugreg.records.Discovery`:
the specs that it found, and a failure for each thing that it could not read. Nothing is written,
and two plugins with the same slug are both given; resolving decides between them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from plugreg._support.guard import Guard
from plugreg.discovery import directories, entry_points, index, objects
from plugreg.discovery.facts import Facts
from plugreg.records import Discovery, PluginFailure, PluginSpec, Source, Stage

__all__ = ["Facts", "Sources", "discover", "restricted"]


def discover(group: str, path: Sequence[str] | None = None) -> tuple[PluginSpec, ...]:
    """Return the plugins that the entry points of ``group`` name, sorted by slug.

    ``path`` is a sequence of folders to search instead of ``sys.path``. Nothing is imported, and
    nothing is raised because of a distribution: a broken one is left out, and
    :func:`plugreg.discovery.entry_points.find` tells which and why.
    """
    return entry_points.find(group, path).specs


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """Where a host's plugins come from.

    ``group`` is the entry-point group. ``builtin`` holds objects as
    :func:`plugreg.discovery.objects.find` takes them, ``samples`` such objects or folders (an
    ``os.PathLike``, or the text of an existing folder), ``directories`` folders. ``path`` is
    searched for distributions instead of ``sys.path``. ``index`` is the file that keeps what was
    found there, ``verify`` whether it is held against each distribution; see
    :func:`plugreg.discovery.index.find`.
    """

    group: str
    builtin: tuple[Any, ...] = ()
    samples: tuple[Any, ...] = ()
    directories: tuple[str | os.PathLike[str], ...] = ()
    path: Sequence[str] | None = None
    index: str | os.PathLike[str] | None = None
    verify: bool = False

    def find(self) -> Discovery:
        """Search all of them anew, and return specs in order of precedence.

        The same folder given twice counts once. What fails as a whole is a failure with its own
        name as ``slug``, and the others go on. Nothing is imported, and but for the index nothing
        is written.
        """
        folders = [each for each in self.samples if _is_folder(each)]
        sample_objects = [each for each in self.samples if not _is_folder(each)]
        given = [
            *_searched_objects(self.builtin, Source.BUILTIN),
            *_searched_objects(sample_objects, Source.SAMPLE),
            *_searched_folders(folders, Source.SAMPLE),
            *_searched_folders(self.directories, Source.DIRECTORY),
        ]
        installed = _searched(Source.ENTRY_POINT, self._find_installed)
        specs = [spec for each in given for spec in each.specs]
        return Discovery(
            # Those installed come last in the order of precedence, and are sorted already.
            specs=(*sorted(specs, key=lambda spec: spec.sort_key), *installed.specs),
            failures=tuple(fault for each in (*given, installed) for fault in each.failures),
        )

    def _find_installed(self) -> Discovery:
        if self.index is None:
            return entry_points.find(self.group, self.path)
        return index.find(self.index, self.group, self.path, verify=self.verify)


def restricted(found: Discovery, known: Discovery) -> Discovery:
    """Return of ``found`` what ``known`` has too, as it is now: nothing that is new.

    A plugin is the same one while source, slug and distribution are the same; its version, value
    and file may differ (behaviour.md, section 9.6: a reload without ``collect``).
    """
    plugins = {(spec.source, spec.slug, spec.distribution) for spec in known.specs}
    return Discovery(
        specs=tuple(
            spec for spec in found.specs if (spec.source, spec.slug, spec.distribution) in plugins
        ),
        failures=found.failures,
    )


def _is_folder(sample: Any) -> bool:
    # isinstance() would ask a plugin object for its __class__, which is the plugin's code.
    if type(sample) is str:
        with Guard():
            return bool(sample) and Path(sample).is_dir()
        return False
    return issubclass(type(sample), os.PathLike)


def _searched(name: str, search: Callable[[], Discovery]) -> Discovery:
    with Guard() as guard:
        return search()
    assert guard.error is not None
    return Discovery(failures=(PluginFailure.of(Stage.DISCOVERY, name, guard.error),))


def _searched_objects(given: Sequence[Any], source: Source) -> Iterator[Discovery]:
    if given:
        yield _searched(source, partial(objects.find, given, source=source))


def _searched_folders(
    folders: Iterable[str | os.PathLike[str]], source: Source
) -> Iterator[Discovery]:
    places: set[str] = set()
    for folder in folders:
        yield _searched(str(folder), partial(_search_once, folder, source, places))


def _search_once(folder: str | os.PathLike[str], source: Source, places: set[str]) -> Discovery:
    place = os.path.realpath(folder)
    if place in places:
        return Discovery()
    places.add(place)
    return directories.find(folder, source=source)
