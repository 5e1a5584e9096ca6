"""The snapshot that readers see, the stored rows that it is made of, and their revision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from plugreg._state.plugin_rows import COUNTERS, PluginRows
from plugreg._state.probe_rows import ProbeRows
from plugreg._support import exceptions
from plugreg._support.frozen import Frozen, replace
from plugreg._support.slugs import Slug
from plugreg.records import (
    HostRules,
    PluginFailure,
    PluginRow,
    PluginSpec,
    Snapshot,
    Source,
    Stage,
)
from plugreg.settings.store import SettingsStore

if TYPE_CHECKING:
    from plugreg.exceptions import RecordCorruptError


class Published:
    """Holds the current snapshot of a registry.

    Readers take no lock: they read `snapshot` once, and see a consistent set of plugins. Only the
    life cycle assigns here, each time a whole snapshot.
    """

    __slots__ = ("composed", "is_closed", "is_loaded", "objects", "snapshot")

    def __init__(self) -> None:
        self.publish(Snapshot())
        self.is_loaded = False
        """Whether a snapshot has been published."""
        self.is_closed = False
        """Whether the registry was closed, after which nothing is published any more."""

    def publish(self, snapshot: Snapshot) -> None:
        """Make this the current snapshot; an empty one is current before load and after close."""
        # Nothing is in them yet, so that readers see the whole change with the last assignment.
        self.composed, self.objects = snapshot.composed, snapshot.objects
        self.snapshot = snapshot

    def current(self) -> Snapshot:
        """Return the current snapshot.

        Raises:
            RegistryNotReady: Before load and after close.
        """
        if self.is_closed:
            raise exceptions.RegistryNotReady("closed", "make a new one")
        if not self.is_loaded:
            raise exceptions.RegistryNotReady
        return self.snapshot

    def check_loaded(self) -> None:
        """Raise RegistryNotReady before load. After close, calls reach no plugin instead."""
        if not self.is_loaded:
            self.current()

    def drop_record(self, slug: str) -> None:
        """Drop the record of a plugin that was composed before it failed."""
        self.snapshot.composed.pop(slug, None)


class RevisionTracker:
    """Remembers the revision and the epoch of the rows that this process has read.

    Writes nothing. Methods that read the storage raise StorageError. One thread at a time may
    call the methods that change something.
    """

    def __init__(self, plugin_rows: PluginRows, rules: HostRules) -> None:
        self._plugin_rows = plugin_rows
        self._rules = rules
        self._revision: int | None = None
        # The revision that was read, and a later one with the same values.
        self._same: tuple[int | None, int] = (None, 0)
        self.epoch = 0
        """The number of the epoch whose plugin rows this process has carried out."""

    def is_current(self) -> bool:
        """Return whether nothing that concerns this process was stored since values were read.

        Costs a cheap read of the storage, and another after commits that are marked quiet.
        """
        known, revision = self._revision, self._plugin_rows.revision()
        if revision == known or self._same == (known, revision):
            return True
        if known is None or not self._plugin_rows.is_quiet(known, revision):
            return False
        # Kept beside the revision: a change that ends meanwhile may have asked for another look.
        self._same = (known, revision)
        return True

    def note(self, revision: int | None, epoch: int) -> None:
        """Note that values and plugin rows were read, after the storage had *revision*.

        None means that there is more to read than that.
        """
        self._revision, self.epoch = revision, epoch

    def note_own_change(self, raised: int) -> None:
        """Note that this process carried out its change with epoch number *raised*, 0 for none."""
        if raised == self.epoch + 1:
            self.epoch = raised

    def wanted_without_reload(self, snapshot: Snapshot) -> tuple[frozenset[str], int] | None:
        """Return the wanted slugs and the epoch as stored, None where they require a reload.

        A reload is required if other known plugins are wanted than in *snapshot*, or if a plugin
        was deleted, whose ``pk`` differs since. A plugin that only another process has discovered
        requires none: no operator changed it, so the epoch is the same.
        """
        epoch, rows = self._plugin_rows.all_at()
        wanted = self._rules.wished({*snapshot.plugins, *snapshot.wished, *rows}, rows)
        changed = wanted ^ snapshot.wished
        if changed & snapshot.plugins.keys() or (changed and epoch != self.epoch):
            return None
        for plugin in snapshot.plugins.values():
            row = rows.get(plugin.slug)
            if plugin.pk != (0 if row is None else row.pk):
                return None
        return wanted, epoch


class StoredRows(Frozen):
    """Reads the rows of plugins, settings and probes. A damaged row costs its plugin alone."""

    rules: HostRules
    settings: SettingsStore
    plugin_rows: PluginRows
    probe_rows: ProbeRows

    def load(self) -> Mapping[str, frozenset[str]]:
        """Read all values again; return the keys of changed settings by slug."""
        changed = self.settings.load()
        self.plugin_rows.load()
        self.probe_rows.load()
        return changed

    def damaged(self) -> tuple[RecordCorruptError, ...]:
        """Return an error for each damaged row, as of the last time its table was read."""
        return (*self.plugin_rows.damaged, *self.settings.damaged, *self.probe_rows.damaged)

    def damage(self) -> set[tuple[object, ...]]:
        """Return a value that differs when other rows are damaged."""
        return {error.args for error in self.damaged()}

    def ownerless(self, plugins: Mapping[str, object]) -> list[PluginFailure]:
        """Return a failure for each damaged row that belongs to none of these plugins."""
        return [
            PluginFailure(
                stage=Stage.DISCOVERY, slug=_owner(error) or error.table, message=str(error)
            )
            for error in self.damaged()
            if _owner(error) not in plugins
        ]

    def known(self, specs: Iterable[PluginSpec]) -> Mapping[Slug, PluginRow]:
        """Return all rows with their faults, as they were read last. Stores nothing."""
        return self._with_faults(self.plugin_rows.all(), tuple(specs))

    def remember(
        self, specs: Iterable[PluginSpec], *, few: bool = False, again: bool
    ) -> Mapping[Slug, PluginRow]:
        """Store plugins that are new, but none in safe mode; return rows with their faults.

        ``few`` asks for no other rows, ``again`` has deleted plugins count as never seen.
        """
        specs = tuple(specs)
        if self.rules.safe_mode:
            return self.known(specs)
        stored = [spec for spec in specs if spec.source is not Source.MANUAL]
        if few and not stored:
            return self._with_faults({}, specs)
        rows = self.plugin_rows.remember(stored, self.rules, again=again, few=few)
        return self._with_faults(rows, specs)

    def _with_faults(
        self, rows: Mapping[Slug, PluginRow], specs: Iterable[PluginSpec]
    ) -> Mapping[Slug, PluginRow]:
        """Return the rows, each with the faults of all damaged rows of its plugin."""
        damaged = self.damaged()
        if not damaged:
            return rows
        found, known = dict(rows), {spec.slug: spec for spec in specs}
        for error in damaged:
            slug = _owner(error)
            row, spec = found.get(slug), known.get(slug)
            if row is None and spec is not None:
                active = self.rules.wants(slug, None)
                row = PluginRow(slug=slug, pk=0, active=active, name=spec.name)
            if row is not None and str(error) not in row.faults:
                found[slug] = replace(row, faults=(*row.faults, str(error)))
        return found


def _owner(error: RecordCorruptError) -> Slug:
    """Return the plugin that a damaged row belongs to, which need not be known; "" for none."""
    return Slug("" if error.table == COUNTERS else error.key.partition(":")[0])
