"""Discovery: finds plugins without importing any.

Four kinds of source, in this order of precedence: builtin objects, samples, directories, and the
entry points of installed distributions. Each returns a :class:`~plugreg.records.Discovery`: specs,
and a failure for everything that it could not read. Nothing is written. Two plugins with the same
slug are both returned; resolving decides between them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from plugreg._support.frozen import Frozen, replace
from plugreg._support.guard import Guard, safe_repr
from plugreg._support.slugs import slug_fault, slugify
from plugreg.discovery import entry_points
from plugreg.records import Discovery, PluginFailure, PluginSpec, Source, Stage

__all__ = ["Sources", "discover", "forget_folders", "restricted"]


def discover(group: str, path: Sequence[str] | None = None) -> tuple[PluginSpec, ...]:
    """Return the plugins that the entry points of a group name, sorted by slug.

    Nothing is imported. A broken distribution is left out;
    :func:`plugreg.discovery.entry_points.find` returns its failure, too.

    Args:
        group: The entry-point group.
        path: Folders to search instead of ``sys.path``.

    Returns:
        The specs, each with `PluginSpec.load`.
    """
    return entry_points.find(group, path).specs


class Sources(Frozen):
    """The places where a host's plugins are.

    Attributes:
        group: The entry-point group.
        builtin: Objects, as :func:`plugreg.discovery.objects.find` takes them.
        samples: Such objects, or folders (an ``os.PathLike``, or the string of an existing folder).
        directories: Folders of plugins.
        path: Folders to search for distributions instead of ``sys.path``.
        index: The file of the index of distributions; see :func:`plugreg.discovery.index.find`.
        verify: Whether each distribution is compared with the index.
        slug_of: Returns the slug of an installed plugin. None means that of its entry point's name.
        isolated: Returns folders of single plugins, with their slugs, that come before the same
            plugin elsewhere; without a slug a folder is of any.
    """

    group: str
    builtin: tuple[Any, ...] = ()
    samples: tuple[Any, ...] = ()
    directories: tuple[str | os.PathLike[str], ...] = ()
    path: Sequence[str] | None = None
    index: str | os.PathLike[str] | None = None
    verify: bool = False
    slug_of: Callable[[PluginSpec], str] | None = None
    isolated: Callable[[], Iterable[tuple[str | None, Path]]] | None = None

    def find(self) -> Discovery:
        """Search all sources again.

        The same folder given twice counts once. A source that fails as a whole is a failure with
        its own name as ``slug``, and the others go on. Nothing is imported, and only the index is
        written.

        Returns:
            The specs in order of precedence, and the failures.
        """
        found = []
        if self.builtin or self.samples or self.directories:
            found = self._find_given()
        installed = _search(Source.ENTRY_POINT, self._find_installed)
        specs = [spec for discovery in found for spec in discovery.specs]
        return Discovery(
            # Installed plugins come last in the order of precedence, and are sorted already.
            specs=(*sorted(specs, key=lambda spec: spec.sort_key), *installed.specs),
            failures=tuple(f for discovery in (*found, installed) for f in discovery.failures),
        )

    def _find_given(self) -> list[Discovery]:
        """Search objects and folders."""
        from plugreg.discovery import objects

        sample_objects = [sample for sample in self.samples if not _is_folder(sample)]
        sample_folders = [sample for sample in self.samples if _is_folder(sample)]
        return [
            _search(Source.BUILTIN, partial(objects.find, self.builtin, source=Source.BUILTIN)),
            _search(Source.SAMPLE, partial(objects.find, sample_objects, source=Source.SAMPLE)),
            *_search_folders(sample_folders, Source.SAMPLE),
            *_search_folders(self.directories, Source.DIRECTORY),
        ]

    def _find_installed(self) -> Discovery:
        if self.index is None:
            found = entry_points.find(self.group, self.path)
        else:
            from plugreg.discovery import index

            found = index.find(self.index, self.group, self.path, verify=self.verify)
        if self.isolated is not None:
            found = _before(self._find_isolated(self.isolated()), found)
        return found if self.slug_of is None else _with_slugs(found, self.slug_of)

    def _find_isolated(self, folders: Iterable[tuple[str | None, Path]]) -> Discovery:
        specs: list[PluginSpec] = []
        failures: list[PluginFailure] = []
        for slug, folder in folders:
            found = entry_points.find(self.group, [str(folder)])
            specs += [spec for spec in found.specs if slug in (None, spec.slug)]
            failures += found.failures
        return Discovery(specs=tuple(specs), failures=tuple(failures))


def restricted(found: Discovery, known: Discovery) -> Discovery:
    """Return the specs of *found* whose plugins are in *known*, for a reload without ``collect``.

    A plugin is the same while source, slug and distribution are; its version, value and file may
    differ.

    Args:
        found: The current findings.
        known: The earlier findings.

    Returns:
        The specs, and all failures of *found*.
    """
    plugins = {(spec.source, spec.slug, spec.distribution) for spec in known.specs}
    return Discovery(
        specs=tuple(
            spec for spec in found.specs if (spec.source, spec.slug, spec.distribution) in plugins
        ),
        failures=found.failures,
    )


def forget_folders() -> None:
    """Let the import system see new files in the folders it knows.

    ``importlib.invalidate_caches`` would raise any exception of any finder, and would import
    ``importlib.metadata``.
    """
    for entry, finder in list(sys.path_importer_cache.items()):
        if finder is None:
            # There was no such folder when it was looked for.
            sys.path_importer_cache.pop(entry, None)
            continue
        with Guard():
            invalidate = getattr(finder, "invalidate_caches", None)
            if invalidate is not None:
                invalidate()


def _before(first: Discovery, others: Discovery) -> Discovery:
    """Return both findings, without the plugins of *others* that are in *first*."""
    slugs = {spec.slug for spec in first.specs}
    kept = [spec for spec in others.specs if spec.slug not in slugs]
    return Discovery(
        specs=tuple(sorted([*first.specs, *kept], key=lambda spec: spec.sort_key)),
        failures=(*first.failures, *others.failures),
    )


def _with_slugs(found: Discovery, slug_of: Callable[[PluginSpec], str]) -> Discovery:
    """Return the specs with the slugs that the host chooses; its faults are failures."""
    findings = entry_points.Findings()
    for spec in found.specs:
        with Guard() as guard:
            given = slug_of(spec)
            if not isinstance(given, str):
                raise TypeError(f"it must return a string, not {safe_repr(given)}")
            slug = slugify(given)
            fault = slug_fault(slug, given)
            if fault is None:
                findings.specs[id(spec),] = replace(spec, slug=slug)
            else:
                findings.refuse(spec.slug, f"slug_of gave no slug for {spec.origin}: {fault}")
        if guard.error is not None:
            what = f"slug_of failed for {spec.origin}"
            findings.fail(spec.slug, guard.error, what, spec.origin)
    named = findings.result()
    return Discovery(specs=named.specs, failures=(*found.failures, *named.failures))


def _is_folder(sample: Any) -> bool:
    # isinstance() would ask a plugin object for its __class__, which is the plugin's code.
    if type(sample) is str:
        with Guard():
            return bool(sample) and Path(sample).is_dir()
        return False
    return issubclass(type(sample), os.PathLike)


def _search(name: str, search: Callable[[], Discovery]) -> Discovery:
    with Guard() as guard:
        return search()
    assert guard.error is not None
    return Discovery(failures=(PluginFailure.of(Stage.DISCOVERY, name, guard.error),))


def _search_folders(
    folders: Iterable[str | os.PathLike[str]], source: Source
) -> Iterator[Discovery]:
    from plugreg.discovery import directories

    places: set[str] = set()

    def search(folder: str | os.PathLike[str]) -> Discovery:
        place = os.path.realpath(folder)
        if place in places:
            return Discovery()
        places.add(place)
        return directories.find(folder, source=source)

    for folder in folders:
        yield _search(str(folder), partial(search, folder))
