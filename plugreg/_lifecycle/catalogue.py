"""Records of plugins, composed from a snapshot and the ledger when they are read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from plugreg._lifecycle.resolve import Describe
from plugreg._state.ledger import FailureLedger
from plugreg._state.probe_rows import ProbeRows, version_of
from plugreg._support.slugs import Slug
from plugreg.records import (
    FAILED,
    LOAD_STAGES,
    ActivePlugin,
    CircuitState,
    KnownPlugin,
    PluginFacts,
    PluginFailure,
    PluginRecord,
    PluginSpec,
    Snapshot,
)

if TYPE_CHECKING:
    from plugreg._lifecycle.protocols import Isolation
    from plugreg._state.probe_report import ProbeReport
    from plugreg.selection import Filters, PluginIndex, Selection

_NO_FACTS = PluginFacts()


class Catalogue:
    """Composes records of plugins. It reads, and writes nothing.

    Args:
        current: Returns the current snapshot.
        ledger: Failures of plugins.
        describe: Returns the facts that a distribution states, when a record is asked for them.
        probe_rows: The last reports of probes, for plugins that are off.
        circuit_of: Returns the state of a plugin's circuit.
        isolation: The isolated plugins, None where there are none.
    """

    def __init__(
        self,
        current: Callable[[], Snapshot],
        ledger: FailureLedger,
        describe: Describe,
        probe_rows: ProbeRows,
        circuit_of: Callable[[str], CircuitState],
        *,
        isolation: Isolation | None = None,
    ) -> None:
        self._current = current
        self._ledger = ledger
        self._describe = describe
        self._probe_rows = probe_rows
        self._circuit_of = circuit_of
        self._isolation = isolation
        self._index: tuple[PluginIndex, object] | None = None

    def record(self, slug: str) -> PluginRecord:
        """Return the record of a plugin. Raises PluginNotFoundError, with a near slug."""
        snapshot = self._current()
        return self.compose(snapshot.get_known(slug), snapshot.active, snapshot.composed)

    def probed(self, slug: str) -> ProbeReport | None:
        """Return the report of the last probe of a plugin, None if it was of another version.

        Raises:
            PluginNotFoundError: If the plugin is unknown.
        """
        return self.report_of(self._current().get_known(slug))

    def report_of(self, known: KnownPlugin) -> ProbeReport | None:
        """Return the same for a plugin of a snapshot."""
        return None if known.spec is None else self._probe_rows.of(known.spec)

    def requirements(self) -> Mapping[Slug, tuple[Slug, ...]]:
        """Return the plugins that each wanted plugin depends on, for each that depends on any."""
        return self._current().needs

    def all(self) -> Mapping[str, PluginRecord]:
        """Return every known plugin by slug, in alphabetical order, as of now."""
        snapshot = self._current()
        return self._view(snapshot, "plugins", snapshot.plugins.keys())

    def active(self) -> Mapping[str, PluginRecord]:
        """Return the plugins in service by slug, in activation order, as of now."""
        snapshot = self._current()
        return self._view(snapshot, "active", snapshot.active.keys())

    def _view(
        self, snapshot: Snapshot, name: str, slugs: Collection[str]
    ) -> Mapping[str, PluginRecord]:
        """Return the view that the snapshot keeps under this name."""
        view = Records(self, self._ledger.failed, snapshot, slugs)
        return snapshot.views.setdefault(name, view)

    def select(
        self, filters: Filters | None = None, *, search: str = "", ordering: Iterable[str] = ()
    ) -> Selection:
        """Return plugins that pass all filters and contain every word of *search*.

        Args:
            filters: Conditions on the plugins; None means no conditions.
            search: Words, each of which slug or name must contain.
            ordering: Fields to sort by, with a leading ``-`` for descending.

        Returns:
            The plugins in order. Their records are composed when they are read.

        Raises:
            ValueError: If a field of *ordering* is unknown.
        """
        from plugreg.selection import Filters, PluginIndex, Selection

        snapshot = self._current()
        reports = self._probe_rows.mark
        index, of = self._index or (None, None)
        if index is None or index.snapshot is not snapshot or of is not reports:
            index = PluginIndex(snapshot, lambda known: self._mixins(known, snapshot.active))
            self._index = index, reports
        return Selection(
            index.select(filters or Filters(), search, ordering),
            lambda known: self.compose(known, snapshot.active, snapshot.composed),
        )

    def compose(
        self,
        known: KnownPlugin,
        active: Mapping[str, ActivePlugin],
        composed: dict[str, PluginRecord],
    ) -> PluginRecord:
        """Return the record of a plugin of a snapshot, of which this needs two fields.

        The record of an active plugin without failures is composed once and kept with the
        snapshot; the ledger drops it with the first failure.
        """
        slug, failed = known.slug, self._ledger.failed
        record = composed.get(slug)
        if record is None or slug in failed:
            record = self._compose(known, active)
            if record.active and not record.errors and slug not in failed:
                composed[slug] = record
                # A failure recorded since the check above has found no record to drop.
                if slug in failed:
                    composed.pop(slug, None)
        return record

    def _compose(self, known: KnownPlugin, active: Mapping[str, ActivePlugin]) -> PluginRecord:
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
            title=loaded.title if loaded else stated or known.name,
            version=loaded.version if loaded else version_of(spec) if spec else None,
            distribution=known.distribution,
            mixins=self._mixins(known, active),
            errors=errors,
            circuit=self._circuit_of(known.slug),
            is_builtin=known.is_builtin,
            is_sample=known.is_sample,
            is_package=known.is_package,
            is_installed=known.is_installed,
            is_mandatory=known.is_mandatory,
            _spec=spec,
            _facts=lambda: _NO_FACTS if spec is None else self._describe(spec),
            isolated=self._is_isolated(spec),
            _process=None if loaded is None else self._process_of(loaded.plugin),
            _loaded=loaded,
        )

    def _is_isolated(self, spec: PluginSpec | None) -> bool:
        isolation = self._isolation
        return isolation is not None and spec is not None and isolation.isolates(spec)

    def _process_of(self, plugin: object) -> Callable[[], object] | None:
        isolation = self._isolation
        return None if isolation is None else partial(isolation.process_of, plugin)

    def _mixins(self, known: KnownPlugin, active: Mapping[str, ActivePlugin]) -> Mapping[str, str]:
        serving = active.get(known.slug)
        if serving is not None:
            return MappingProxyType(dict(serving.mixins))
        report = self.report_of(known)
        return {} if report is None else dict(report.mixins)


class Records(Mapping[str, PluginRecord]):
    """Plugins of a snapshot by slug. Records are composed when they are read.

    The plugins and states stay those of the snapshot; the failures in a record are those of the
    moment at which it is read.
    """

    __slots__ = ("_active", "_catalogue", "_composed", "_failed", "_plugins", "_slugs")

    def __init__(
        self,
        catalogue: Catalogue,
        failed: Collection[str],
        snapshot: Snapshot,
        slugs: Collection[str],
    ) -> None:
        self._catalogue = catalogue
        self._failed = failed
        # The snapshot keeps this object, so that it must not keep the snapshot.
        self._plugins = snapshot.plugins
        self._active = snapshot.active
        self._composed = snapshot.composed
        self._slugs = slugs

    def __getitem__(self, slug: str) -> PluginRecord:
        if slug not in self._failed:
            try:
                return self._composed[slug]
            except KeyError:
                pass  # It is not composed yet, or not active, or unknown.
        if slug not in self._slugs:
            raise KeyError(slug)
        return self._catalogue.compose(self._plugins[slug], self._active, self._composed)

    def __iter__(self) -> Iterator[str]:
        return iter(self._slugs)

    def __len__(self) -> int:
        return len(self._slugs)

    def __contains__(self, slug: object) -> bool:
        return slug in self._slugs

    def __repr__(self) -> str:
        return f"<plugins: {', '.join(self._slugs) or 'none'}>"


def _reason(known: KnownPlugin, errors: Iterable[PluginFailure]) -> str:
    """Return why a plugin is not active; if it failed by itself, its last fault."""
    if known.reason != FAILED.reason:
        return known.reason
    faults = [failure for failure in errors if failure.stage in LOAD_STAGES]
    return f"failed at {faults[-1].stage}: {faults[-1].message}" if faults else known.reason
