"""After a published change: its failures are recorded, and plugins not ready are tried again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Final

from plugreg._calls.calling import HOOK_ORDER, UNKNOWN_HOOKS
from plugreg._lifecycle.settings_health import SettingsHealth
from plugreg._lifecycle.snapshot import Built
from plugreg._lifecycle.stored import StoredRows
from plugreg._state.ledger import FailureLedger
from plugreg._support.frozen import Frozen
from plugreg._support.slugs import near
from plugreg.hooks import PluginManager
from plugreg.records import LOAD_STAGES, PluginFailure, Stage

UNKNOWN_PLUGIN: Final = "overrides"
"""Subject of the failures of overrides for an unknown plugin."""

_logger = logging.getLogger("plugreg")


class Recorder(Frozen):
    """Replaces failures in the ledger by those of a published change."""

    manager: PluginManager
    ledger: FailureLedger
    health: SettingsHealth
    stored: StoredRows

    def record(self, built: Built, late: Iterable[PluginFailure]) -> tuple[PluginFailure, ...]:
        """Replace the outdated failures of the plugins concerned; return those recorded now.

        ``late`` are the failures of what followed the publication.
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

        unknown = {str(slug): self.manager.unknown_hooks(slug) for slug in sorted(built.tried)}
        failures = [*built.failures, *late]
        if built.is_whole:
            failures += self.stored.ownerless(plugins)
        for slug in self.stored.settings.overrides:
            if slug not in plugins and (built.is_whole or slug in moved):
                failures.append(_unknown_plugin(slug, plugins))
        failures += _hook_failures(UNKNOWN_HOOKS, unknown)
        failures += _hook_failures(HOOK_ORDER, self.manager.ignored_constraints())
        kept = [*self.ledger.replace(failures, is_outdated)]
        # A whole load has read all values again.
        kept += self.health.check(active.values() if built.is_whole else built.added)
        self.stored.settings.release(built.gone)
        _logger.info(
            "%d plugins active of %d known, %d failures", len(active), len(plugins), len(kept)
        )
        return tuple(kept)


class Retries:
    """Remembers when plugins that raised NotReadyYet are to be tried again, in one process.

    Only a change in its turn may write; any thread may read.

    Args:
        clock: Returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Replaced as a whole, so that readers see one state of it.
        self._due: dict[str, float] = {}

    def note(self, tried: Collection[str], failures: Iterable[PluginFailure]) -> None:
        """Replace the times of plugins that were tried by those of their failures."""
        now = self._clock()
        kept = {slug: due for slug, due in self._due.items() if slug not in tried}
        asked = {
            failure.slug: now + failure.retry_after
            for failure in failures
            if failure.retry_after is not None
        }
        self._due = {**kept, **asked}

    def due(self) -> frozenset[str]:
        """Return the slugs of plugins whose time has come."""
        if not self._due:
            return frozenset()
        now = self._clock()
        return frozenset(slug for slug, due in self._due.items() if due <= now)


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
