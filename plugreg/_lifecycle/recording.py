"""After a published change: its failures are recorded, those of plugins' settings too.

Plugins that were not ready are tried again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, TypeVar

from plugreg._state.ledger import FailureLedger
from plugreg._support import PerProcess
from plugreg._support.frozen import NamedTuple
from plugreg._support.slugs import near
from plugreg.records import ActivePlugin, PluginFailure, Stage
from plugreg.settings.store import SettingsStore
from plugreg.settings.values import Spot, User

UNKNOWN_PLUGIN: Final = "overrides"
"""Subject of the failures of overrides for an unknown plugin."""

_VALUES: Final = "settings values"
_VERSION: Final = "settings version"
_ANYBODY: Final = -1
"""A user that no host has."""
_DEEPEST: Final = 2
"""A check, and a value that plugin code writes meanwhile; writes of that value are ignored."""

T = TypeVar("T")

_logger = logging.getLogger("plugreg")


class SettingFaults(NamedTuple):
    """Why settings of an active plugin are faulty, as of the last check of each of them."""

    active: ActivePlugin
    faults: Mapping[Spot, str] = MappingProxyType({})


class _CheckDepth(threading.local):
    """Number of checks that this thread is running, each for a write by the previous check."""

    depth = 0


class SettingsHealth:
    """Checks the settings of active plugins. A faulty value keeps no plugin off.

    A plugin must be active to be set up. All its settings are checked when it is loaded, and after
    that only those that are written. Values of users passed the plugin's validators when they were
    written, so a load only checks that they still convert and are among the choices. Validators
    are called for the plugin's own values, for references and for overrides.

    Findings are kept for as long as the plugin is active; their records are in the ledger. No lock
    is held, and nothing is waited for, while the plugin's code runs: of checks that meet, each
    is replaced by a failure of a newer value.
    """

    def __init__(self, store: SettingsStore, ledger: FailureLedger) -> None:
        self._store = store
        self._ledger = ledger
        self._lock = PerProcess(threading.Lock)
        self._found: dict[str, SettingFaults] = {}
        self._here = _CheckDepth()

    @staticmethod
    def is_record(failure: PluginFailure) -> bool:
        """Return whether a failure concerns a plugin's settings."""
        return failure.stage is Stage.ACTIVATE and failure.subject in (_VALUES, _VERSION)

    def check(self, plugins: Iterable[ActivePlugin]) -> list[PluginFailure]:
        """Check all settings of plugins in service; return the records of their faults."""
        plugins = [*plugins]
        with self._lock.get():
            # The findings of writes that come meanwhile are noted here.
            for plugin in plugins:
                known = self._found.get(plugin.slug)
                if known is None or known.active is not plugin:
                    self._found[plugin.slug] = SettingFaults(plugin)
        return [
            record
            for plugin in plugins
            if plugin.settings or plugin.user_settings or self._store.knows(plugin.slug)
            for record in self._check_all(plugin)
        ]

    def check_read(self, plugins: Iterable[ActivePlugin], read: Callable[[], T]) -> T:
        """Call ``read``, and check those plugins again of which it has read other values."""
        before = [(plugin, self._store.stored(plugin.slug)) for plugin in plugins]
        result = read()
        for plugin, stored in before:
            if self._store.stored(plugin.slug) is not stored:
                self._check_all(plugin)
        return result

    def after_write(self, active: ActivePlugin, user: User, keys: frozenset[str]) -> None:
        """Check settings that were written, and replace the record if that has changed it."""
        if self._here.depth < _DEEPEST:
            from plugreg.settings.view import SettingsView

            definitions = active.settings if user is None else active.user_settings
            view = SettingsView(self._store, active.slug, definitions, user)
            faults = (view.fault(k, was_checked=True) if k in view else None for k in keys)
            self._check(active, zip([(user, key) for key in keys], faults, strict=True))

    def faults(self) -> dict[str, dict[str, str]]:
        """Return why settings of plugins in service are faulty, by slug and key.

        Those of users are left out. No check is made.
        """
        with self._lock.get():
            found = dict(self._found)
        return {
            slug: {key: fault for (user, key), fault in findings.faults.items() if user is None}
            for slug, findings in found.items()
            if findings.faults
        }

    def forget(self, slugs: Iterable[str]) -> None:
        """Drop the findings of plugins that leave. The caller removes their records."""
        with self._lock.get():
            for slug in slugs:
                self._found.pop(slug, None)

    # -- the parts ---------------------------------------------------------------------------

    def _check_all(self, active: ActivePlugin) -> tuple[PluginFailure, ...]:
        return self._check(active, self._faults(active), is_all=True)

    def _check(
        self,
        active: ActivePlugin,
        checks: Iterable[tuple[Spot, str | None]],
        *,
        is_all: bool = False,
    ) -> tuple[PluginFailure, ...]:
        """Run checks, which call the plugin's code; keep and record their findings."""
        slug, before = active.slug, self._store.stored(active.slug)
        self._here.depth += 1
        try:
            found = dict(checks)
        finally:
            self._here.depth -= 1
        with self._lock.get():
            known = self._found.get(slug)
            # A plugin that is not checked yet will be.
            if known is None or known.active is not active:
                return ()
            faults = known.faults
            # The writer of a newer value checks that.
            newer = {*before.differences(self._store.stored(slug))}
            found = {spot: fault for spot, fault in found.items() if spot not in newer}
            if is_all:
                faults = {spot: fault for spot, fault in faults.items() if spot in newer}
            elif all(faults.get(spot) == fault for spot, fault in found.items()):
                return ()
            faults = {spot: fault for spot, fault in {**faults, **found}.items() if fault}
            findings = self._found[slug] = SettingFaults(active, faults)
        return self._ledger.replace(
            self._failures(findings),
            self.is_record,
            # Newer findings are recorded after this.
            unless=lambda: self._found.get(slug) is not findings,
            slug=slug,
        )

    def _failures(self, findings: SettingFaults) -> Iterator[PluginFailure]:
        """Yield a failure for an unsuitable version, and a failure for all invalid values."""
        slug = findings.active.slug
        messages = {
            _VERSION: self._store.version_fault(slug),
            _VALUES: "; ".join(self._sentences(findings)),
        }
        for subject, message in messages.items():
            if message:
                yield PluginFailure(
                    stage=Stage.ACTIVATE, slug=slug, subject=subject, message=message
                )

    def _faults(self, active: ActivePlugin) -> Iterator[tuple[Spot, str | None]]:
        """Check every setting that has a value or requires a value."""
        if not active.settings and not active.user_settings:
            return
        from plugreg.settings.view import SettingsView

        slug = active.slug
        own = SettingsView(self._store, slug, active.settings)
        for key in own:
            yield (None, key), own.fault(key)
        # An override or a default holds for every user, also for a user without stored values.
        anybody = SettingsView(self._store, slug, active.user_settings, _ANYBODY)
        locked = {key for key in anybody if anybody.is_locked(key)}
        for key, definition in active.user_settings.items():
            if key in locked or callable(definition.default):
                yield (_ANYBODY, key), anybody.fault(key)
        for user, values in self._store.stored(slug).values.items():
            if user is not None:
                view = SettingsView(self._store, slug, active.user_settings, user)
                for key in values:
                    if key in view and key not in locked:
                        yield (user, key), view.fault(key, was_checked=True)

    def _sentences(self, findings: SettingFaults) -> Iterator[str]:
        active, faults = findings
        for key in active.settings:
            if (None, key) in faults:
                yield f"{key}: {faults[None, key]}"
        # Which users have set it stays private; each faulty key is reported once.
        of_users = {key: fault for (user, key), fault in faults.items() if user is not None}
        for key in active.user_settings:
            if key in of_users:
                yield f"user setting {key}: {of_users[key]}"
        known = {**active.settings, **active.user_settings}
        for key in self._store.of(active.slug).overrides:
            if key not in known:
                hint = near(key, known)
                yield f"{key}: the host overrides it, and the plugin has no such setting{hint}"


class Retries:
    """Remembers when plugins that raised NotReadyYet are to be tried again, in one process.

    Only a change in its turn may write; any thread may read.

    Args:
        clock: Returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Replaced as a whole, so that readers see a consistent state.
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
