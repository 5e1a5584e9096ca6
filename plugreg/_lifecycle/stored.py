"""The stored rows of all plugins, and which of them are damaged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from plugreg._state.plugin_rows import COUNTERS, PluginRows
from plugreg._state.probe_rows import ProbeRows
from plugreg._support.frozen import Frozen, replace
from plugreg._support.slugs import Slug
from plugreg.exceptions import RecordCorruptError
from plugreg.records import HostRules, PluginFailure, PluginRow, PluginSpec, Source, Stage
from plugreg.settings.store import SettingsStore


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
        remember = self.plugin_rows.remember_few if few else self.plugin_rows.remember
        stored = [spec for spec in specs if spec.source is not Source.MANUAL]
        if few and not stored:
            return self._with_faults({}, specs)
        return self._with_faults(remember(stored, self.rules, again=again), specs)

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
