"""Publishing: the next snapshot is built, takes the place of the last, and is finished."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from plugreg._calls import HOOK_ORDER, UNKNOWN_HOOKS, Calling
from plugreg._lifecycle.build import Activations, Builder
from plugreg._lifecycle.recording import UNKNOWN_PLUGIN, Retries, SettingsHealth
from plugreg._lifecycle.snapshot import Built, Remake
from plugreg._state.ledger import FailureLedger
from plugreg._state.published import Published, StoredRows
from plugreg._support.frozen import Frozen
from plugreg._support.slugs import near
from plugreg.records import (
    EMPTY,
    LOAD_STAGES,
    ActivePlugin,
    Discovery,
    PluginFailure,
    PluginSpec,
    Stage,
)

if TYPE_CHECKING:
    from plugreg._lifecycle.protocols import Isolation
    from plugreg._state.quarantine import Quarantine

_SLOW: Final = 1.0
"""Seconds above which an import is slow."""

_logger = logging.getLogger("plugreg")


class Publisher(Frozen, frozen=False, eq=False):
    """Builds snapshots, publishes each of them whole, and tears down the plugins that left.

    One thread at a time may use it. Wherever Ctrl-C comes, the next change finishes this one.

    Attributes:
        quarantine: Marks the plugins that are being loaded, None if nothing outlives the process.
        isolation: The isolated plugins, None without any.
        slow_imports: Seconds that imports took that were slow, by slug. It is replaced, and never
            changed.
    """

    published: Published
    builder: Builder
    activations: Activations
    calling: Calling
    ledger: FailureLedger
    health: SettingsHealth
    stored: StoredRows
    retries: Retries
    quarantine: Quarantine | None
    isolation: Isolation | None
    slow_imports: Mapping[str, float] = EMPTY
    # What is called before code of one plugin runs that is made and was never loaded before.
    _watch: Callable[[str], None] | None = None
    _manual: tuple[PluginSpec, ...] = ()
    _collected: Discovery = Discovery()
    # The change that is published and not finished yet, and the failures that followed it.
    _unfinished: tuple[Built, list[PluginFailure]] | None = None

    def _notify(self, slug: str, plugin: object, keys: frozenset[str]) -> None:
        """Notify an object of changed settings, if it is in service still."""
        active = self.published.snapshot.active.get(slug)
        if active is not None and active.plugin is plugin:
            self.calling.dispatch.notify(
                active.implementations, "plugreg_settings_changed", changed=keys
            )

    def _apply_to(
        self,
        slugs: Collection[str],
        manual: tuple[PluginSpec, ...] | None = None,
        *,
        remake: Remake = "changed",
    ) -> None:
        """Apply the stored states of these plugins and of their dependents."""
        if slugs:
            snapshot = self.published.snapshot
            only = frozenset(slugs).union(*map(snapshot.dependants, slugs))
            self._apply(snapshot.discovery, only=only, manual=manual, remake=remake)

    def _apply(
        self,
        found: Discovery,
        *,
        remake: Remake = "changed",
        only: frozenset[str] | None = None,
        collected: Discovery | None = None,
        again: bool = False,
        manual: tuple[PluginSpec, ...] | None = None,
    ) -> tuple[Built, tuple[PluginFailure, ...]]:
        """Build the next snapshot, publish it, and tear down the plugins that left.

        Returns the build, and all failures as they are recorded now.
        """
        manual = self._manual if manual is None else manual

        def publish() -> None:
            self.published.publish(built.snapshot)
            self._collected = collected or self._collected
            self._manual = manual
            self.published.is_loaded = True
            self._unfinished = built, []

        try:
            built = self.builder.build(
                self.published.snapshot,
                found,
                manual,
                partial(self.stored.remember, again=again),
                remake=remake,
                only=only,
            )
            self._watch = None if self.quarantine is None else self.quarantine.settle()
            self.stored.plugin_rows.rename(built.renamed)
            # Hooks and snapshot, or neither.
            self.calling.manager.exchange(
                [plugin.slug for plugin in built.removed],
                [plugin.implementations for plugin in built.added],
                publish,
            )
        except BaseException:
            self._tear_down()
            raise
        return built, self._finish()

    def _finish(self) -> tuple[PluginFailure, ...]:
        """Do the rest of a published change; return its failures as they are recorded now.

        Nothing that concerns plugins is done twice, wherever Ctrl-C has come before.
        """
        self.calling.manager.settle()
        if self._unfinished is None:
            self._tear_down()
            return ()
        built, late = self._unfinished
        self.retries.note(built.tried | built.gone, built.failures)
        self._note_times(built)
        for plugin in (*built.added, *built.removed):
            if plugin.slug not in built.updated:
                # Calls of an earlier object no longer count, and an inactive plugin has no circuit.
                self.calling.dispatch.reset(plugin.slug)
        late.extend(self.activations.settle(self.published.snapshot.active))
        self._end_processes(self.published.snapshot.active)
        for slug, plugin, keys in self.activations.changed_settings():
            self._notify(slug, plugin, keys)
        # Before unknown hooks are looked for: a replayed call may add the specs that they lack.
        for slug, hook, error in self.calling.manager.replay(self._watch):
            late.append(PluginFailure.of_call(slug, hook, error))
        kept = self._record(built, late)
        self.calling.dispatch.forget(built.gone)
        self._unfinished = None
        return kept

    def _record(self, built: Built, late: Iterable[PluginFailure]) -> tuple[PluginFailure, ...]:
        """Replace the outdated failures of the plugins of a change; return those recorded now.

        ``late`` are the failures after the publication.
        """
        active, plugins = built.snapshot.active, built.snapshot.plugins
        moved = {plugin.slug for plugin in (*built.added, *built.removed)} - built.updated
        self.health.forget(plugin.slug for plugin in built.removed if plugin.slug not in active)

        def is_outdated(failure: PluginFailure) -> bool:
            if failure.stage in (Stage.DISCOVERY, Stage.INSTALL):
                return built.is_whole
            if self.health.is_record(failure):
                return failure.slug not in active
            if failure.subject == UNKNOWN_PLUGIN and failure.slug not in plugins:
                return built.is_whole
            if failure.subject == HOOK_ORDER:
                # Any plugin that comes or leaves may make or break a cycle of others.
                return True
            if failure.stage in LOAD_STAGES:
                return failure.slug in built.tried or failure.slug not in plugins
            return failure.slug in moved

        manager = self.calling.manager
        unknown = {str(slug): manager.unknown_hooks(slug) for slug in sorted(built.tried)}
        failures = [*built.failures, *late]
        if built.is_whole:
            failures += self.stored.ownerless(plugins)
        for slug in self.stored.settings.overrides:
            if slug not in plugins and (built.is_whole or slug in moved):
                failures.append(_unknown_plugin(slug, plugins))
        failures += _hook_failures(UNKNOWN_HOOKS, unknown)
        failures += _hook_failures(HOOK_ORDER, manager.ignored_constraints())
        kept = [*self.ledger.replace(failures, is_outdated)]
        # A whole load has read all values again.
        kept += self.health.check(active.values() if built.is_whole else built.added)
        self.stored.settings.release(built.gone)
        _logger.info(
            "%d plugins active of %d known, %d failures", len(active), len(plugins), len(kept)
        )
        return tuple(kept)

    def _note_times(self, built: Built) -> None:
        """Note slow imports, in place of earlier imports of the same plugins."""
        slow = {
            time.slug: time.seconds
            for time in built.times
            if time.stage is Stage.IMPORT and time.seconds > _SLOW
        }
        if slow or self.slow_imports:
            left = built.gone | built.tried
            kept = {slug: old for slug, old in self.slow_imports.items() if slug not in left}
            self.slow_imports = MappingProxyType({**kept, **slow})

    def _tear_down(self) -> None:
        """Tear down the plugins that were made for a snapshot that is not published."""
        self.calling.manager.settle()
        self.activations.discard(self.published.snapshot.active)
        self._end_processes(self.published.snapshot.active)

    def _end_processes(self, in_service: Mapping[str, ActivePlugin]) -> None:
        """End the processes of isolated plugins that are not in service."""
        if self.isolation is not None:
            self.isolation.settle(in_service)


def _hook_failures(subject: str, sentences: Mapping[str, Iterable[str]]) -> Iterator[PluginFailure]:
    for slug, faults in sentences.items():
        if faults:
            message = "; ".join(faults)
            yield PluginFailure(stage=Stage.ACTIVATE, slug=slug, subject=subject, message=message)


def _unknown_plugin(slug: str, known: Mapping[str, object]) -> PluginFailure:
    """Return the failure of overrides for a slug that is no known plugin."""
    return PluginFailure(
        stage=Stage.RESOLVE,
        slug=slug,
        subject=UNKNOWN_PLUGIN,
        message=f"the host's overrides= has settings of {slug!r}, and there is no such plugin"
        f"{near(slug, known) or '; install it, or remove them'}",
    )
