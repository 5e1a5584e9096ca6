"""Recording the failures of a published change, in place of those that are outdated."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Final

from plugreg._calls.calling import HOOK_ORDER, UNKNOWN_HOOKS
from plugreg._lifecycle.settings_health import SettingsHealth
from plugreg._lifecycle.snapshot import Built
from plugreg._lifecycle.stored import StoredRows
from plugreg._state.ledger import FailureLedger
from plugreg._support.named import NamedTuple
from plugreg._support.slugs import near
from plugreg.hooks import PluginManager
from plugreg.records import LOAD_STAGES, PluginFailure, Stage
from plugreg.settings.store import SettingsStore

UNKNOWN_PLUGIN: Final = "overrides"
"""Subject of the failures of overrides for an unknown plugin."""

_logger = logging.getLogger("plugreg")


class PublishedChange(NamedTuple):
    """A change that is published and not finished yet.

    ``discovered`` are the failures of discovery, None where only some plugins were decided on.
    ``late`` are the failures of what followed the publication, and grow.
    """

    built: Built
    discovered: tuple[PluginFailure, ...] | None
    late: list[PluginFailure]


class Recorder:
    """Replaces failures in the ledger by those of a published change."""

    def __init__(
        self,
        *,
        manager: PluginManager,
        ledger: FailureLedger,
        settings: SettingsStore,
        health: SettingsHealth,
        stored: StoredRows,
    ) -> None:
        self._manager = manager
        self._ledger = ledger
        self._settings = settings
        self._health = health
        self._stored = stored

    def record(self, change: PublishedChange) -> tuple[PluginFailure, ...]:
        """Replace the outdated failures of the plugins concerned; return those recorded now."""
        built, discovered, late = change
        is_whole = discovered is not None
        moved = {plugin.slug for plugin in (*built.added, *built.removed)} - built.updated
        active, plugins = built.snapshot.active, built.snapshot.plugins
        self._health.forget(plugin.slug for plugin in built.removed if plugin.slug not in active)
        # A whole load has read all values again.
        looked_at = self._health.look(active.values() if is_whole else built.added)

        def is_outdated(failure: PluginFailure) -> bool:
            if failure.stage in (Stage.DISCOVERY, Stage.INSTALL):
                return is_whole
            if self._health.is_record(failure):
                return failure.slug in looked_at or failure.slug not in active
            if failure.subject == UNKNOWN_HOOKS and failure.slug in active:
                return failure.slug in moved or not self._manager.unknown_hooks(failure.slug)
            if failure.subject == UNKNOWN_PLUGIN and failure.slug not in plugins:
                return is_whole
            if failure.subject == HOOK_ORDER:
                # Any plugin that comes or leaves may make or break a cycle of others.
                return True
            if failure.stage in LOAD_STAGES:
                return failure.slug in built.tried or failure.slug not in plugins
            return failure.slug in moved

        overrides = _unknown_plugins(self._settings.overrides, plugins)
        gone = {plugin.slug for plugin in built.removed}
        new: list[str] = [plugin.slug for plugin in built.added if plugin.slug in moved]
        unknown = {slug: self._manager.unknown_hooks(slug) for slug in new}
        failures = list(discovered or ())
        if is_whole:
            failures += self._stored.ownerless(plugins)
        failures += [fault for fault in overrides if is_whole or fault.slug in gone]
        failures += built.failures
        failures += _hook_failures(UNKNOWN_HOOKS, unknown, active)
        failures += _hook_failures(HOOK_ORDER, self._manager.ignored_constraints(), active)
        for findings in looked_at.values():
            failures += self._health.failures(findings)
        kept = self._ledger.replace([*failures, *late], is_outdated)
        self._health.catch_up(looked_at)
        self._settings.release(built.gone)
        _logger.info(
            "%d plugins active of %d known, %d failures", len(active), len(plugins), len(kept)
        )
        return kept


def _hook_failures(
    subject: str, sentences: Mapping[str, Iterable[str]], active: Container[str]
) -> Iterator[PluginFailure]:
    for slug, faults in sentences.items():
        if faults and slug in active:
            message = "; ".join(faults)
            yield PluginFailure(stage=Stage.ACTIVATE, slug=slug, subject=subject, message=message)


def _unknown_plugins(
    overrides: Mapping[str, object], known: Mapping[str, object]
) -> Iterator[PluginFailure]:
    """Yield a failure for each slug with overrides that is no known plugin."""
    for slug in (slug for slug in overrides if slug not in known):
        hint = near(slug, known)
        yield PluginFailure(
            stage=Stage.RESOLVE,
            slug=slug,
            subject=UNKNOWN_PLUGIN,
            message=f"the host's overrides= has settings of {slug!r}, and there is no such plugin"
            f"{hint or '; install it, or remove them'}",
        )
