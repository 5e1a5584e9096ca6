"""Records of plugins, composed from a snapshot and the ledger when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, overload

from plugreg._lifecycle.resolve import Describe
from plugreg._state.ledger import FailureLedger
from plugreg._state.probe_rows import ProbeReport
from plugreg._support.names import near
from plugreg.exceptions import PluginNotFoundError
from plugreg.records import (
    FAILED,
    LOAD_STAGES,
    CircuitState,
    KnownPlugin,
    PluginFacts,
    PluginFailure,
    PluginRecord,
    PluginSpec,
    Snapshot,
)
from plugreg.selection import Filters, PluginIndex

_NO_FACTS = PluginFacts()
_ALL = Filters()

ProbeLookup = Callable[[PluginSpec], ProbeReport | None]
"""Gives what a probe has learnt of a plugin of this version, if one has."""


class Catalogue:
    """Composes records. It reads, and writes nothing; ``describe`` is asked only when facts are.

    ``learnt`` is asked of plugins that are off. ``learnt_by`` returns an object that is another one
    whenever ``learnt`` may answer otherwise.
    """

    def __init__(
        self,
        current: Callable[[], Snapshot],
        ledger: FailureLedger,
        describe: Describe,
        learnt: ProbeLookup = lambda _: None,
        circuit_of: Callable[[str], CircuitState] = lambda _: "closed",
        *,
        learnt_by: Callable[[], object] = lambda: None,
    ) -> None:
        self._current = current
        self._ledger = ledger
        self._describe = describe
        self._learnt = learnt
        self._circuit_of = circuit_of
        self._learnt_by = learnt_by
        self._index: tuple[PluginIndex, object] = PluginIndex(Snapshot()), None

    def record(self, slug: str) -> PluginRecord:
        """Return the record of one plugin. Raises PluginNotFoundError, with a near name."""
        snapshot = self._current()
        return self.compose(_known(slug, snapshot), snapshot)

    def probed(self, slug: str) -> ProbeReport | None:
        """Return what the last probe told of a plugin, None if it was of another version.

        Raises PluginNotFoundError, with a near name.
        """
        return self.learnt_of(_known(slug, self._current()))

    def learnt_of(self, known: KnownPlugin) -> ProbeReport | None:
        """Return the same of a plugin of a snapshot."""
        return None if known.spec is None else self._learnt(known.spec)

    def all(self) -> Mapping[str, PluginRecord]:
        """Return every known plugin by slug, in alphabetical order, as of now."""
        snapshot = self._current()
        return Records(self, snapshot, snapshot.plugins.keys())

    def active(self) -> Mapping[str, PluginRecord]:
        """Return the plugins in service by slug, in activation order, as of now."""
        snapshot = self._current()
        return Records(self, snapshot, snapshot.active.keys())

    def select(
        self, filters: Filters = _ALL, *, search: str = "", ordering: Iterable[str] = ()
    ) -> Selection:
        """Return the plugins that pass the filters and hold every word of ``search``, in order.

        See :meth:`plugreg.selection.PluginIndex.select`; ValueError for an ordering that is none.
        """
        snapshot = self._current()
        learnt = self._learnt_by()
        index, of = self._index
        if index.snapshot is not snapshot or of is not learnt:
            index = PluginIndex(snapshot, lambda known: self._mixins(known, snapshot))
            self._index = index, learnt
        return Selection(self, snapshot, index.select(filters, search, ordering))

    def compose(self, known: KnownPlugin, snapshot: Snapshot) -> PluginRecord:
        """Make the record of one plugin of a snapshot, unless it is made already.

        It is kept where nothing in it can change: that of an active plugin without failures. The
        ledger takes it out with the first one.
        """
        slug, composed = known.slug, snapshot.composed
        record = composed.get(slug)
        if record is None or self._ledger.has(slug):
            record = self._made(known, snapshot)
            if record.active and not record.errors and not self._ledger.has(slug):
                composed[slug] = record
                # A failure that came since the look above has found nothing to take out.
                if self._ledger.has(slug):
                    composed.pop(slug, None)
        return record

    def _made(self, known: KnownPlugin, snapshot: Snapshot) -> PluginRecord:
        spec, loaded = known.spec, known.loaded
        stated = None if spec is None else spec.stated("TITLE")
        errors = self._ledger.of(known.slug)
        return PluginRecord(
            slug=known.slug,
            pk=known.pk,
            wanted=known.wanted,
            state=known.state,
            reason=_reason(known, errors),
            plugin=None if loaded is None else loaded.plugin,
            name=known.name,
            title=loaded.title if loaded is not None else stated or known.name,
            version=loaded.version if loaded is not None else _version(spec),
            distribution=known.distribution,
            mixins=self._mixins(known, snapshot),
            errors=errors,
            circuit=self._circuit_of(known.slug),
            is_builtin=known.is_builtin,
            is_sample=known.is_sample,
            is_package=known.is_package,
            is_installed=known.is_installed,
            is_mandatory=known.is_mandatory,
            _spec=spec,
            _facts=lambda: _NO_FACTS if spec is None else self._describe(spec),
            _loaded=loaded,
        )

    def _mixins(self, known: KnownPlugin, snapshot: Snapshot) -> Mapping[str, str]:
        active = snapshot.active.get(known.slug)
        if active is not None:
            return MappingProxyType(dict(active.mixins))
        learnt = self.learnt_of(known)
        return {} if learnt is None else dict(learnt.mixins)


class Records(Mapping[str, PluginRecord]):
    """Plugins of one snapshot by slug. Records are composed when they are looked at.

    It goes on showing the plugins and states of the moment it was asked for; failures in the
    records are those of the moment a record is looked at.
    """

    def __init__(self, catalogue: Catalogue, snapshot: Snapshot, slugs: Collection[str]) -> None:
        self._catalogue = catalogue
        self._snapshot = snapshot
        self._slugs = slugs

    def __getitem__(self, slug: str) -> PluginRecord:
        if slug not in self._slugs:
            raise KeyError(slug)
        return self._catalogue.compose(self._snapshot.plugins[slug], self._snapshot)

    def __iter__(self) -> Iterator[str]:
        return iter(self._slugs)

    def __len__(self) -> int:
        return len(self._slugs)

    def __contains__(self, slug: object) -> bool:
        return slug in self._slugs

    def __repr__(self) -> str:
        return f"<plugins: {', '.join(self._slugs) or 'none'}>"


class Selection(Sequence[PluginRecord]):
    """Plugins of one snapshot in the order asked for. Records are composed when looked at."""

    def __init__(
        self, catalogue: Catalogue, snapshot: Snapshot, plugins: Sequence[KnownPlugin]
    ) -> None:
        self.plugins: Final = plugins
        """The same plugins as they stand in the snapshot, which costs nothing."""
        self._catalogue = catalogue
        self._snapshot = snapshot

    @overload
    def __getitem__(self, index: int) -> PluginRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Selection: ...
    def __getitem__(self, index: int | slice) -> PluginRecord | Selection:
        if isinstance(index, slice):
            return Selection(self._catalogue, self._snapshot, self.plugins[index])
        return self._catalogue.compose(self.plugins[index], self._snapshot)

    def __len__(self) -> int:
        return len(self.plugins)

    def __repr__(self) -> str:
        return f"<selection of {len(self.plugins)} plugins>"


def _known(slug: str, snapshot: Snapshot) -> KnownPlugin:
    known = snapshot.plugins.get(slug)
    if known is None:
        raise PluginNotFoundError(slug, near(slug, snapshot.plugins))
    return known


def _reason(known: KnownPlugin, errors: Iterable[PluginFailure]) -> str:
    """Return why a plugin is not active; for one that failed by itself, what was the last fault."""
    if known.reason != FAILED.reason:
        return known.reason
    faults = [each for each in errors if each.stage in LOAD_STAGES]
    return f"failed at {faults[-1].stage}: {faults[-1].message}" if faults else known.reason


def _version(spec: PluginSpec | None) -> str | None:
    if spec is None:
        return None
    return spec.version or spec.stated("VERSION")
