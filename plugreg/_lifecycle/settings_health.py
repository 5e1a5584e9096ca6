"""Faults of a plugin's settings, as failure records that come and go with the values."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final, TypeAlias

from plugreg._state.ledger import FailureLedger
from plugreg._support.named import NamedTuple
from plugreg._support.per_process import PerProcess
from plugreg._support.slugs import near
from plugreg.records import ActivePlugin, PluginFailure, Stage
from plugreg.settings.store import SettingsStore
from plugreg.settings.values import StoredSettings, User

_VALUES: Final = "settings values"
_VERSION: Final = "settings version"
_SUBJECTS: Final = frozenset({_VALUES, _VERSION})
_ANYBODY: Final = -1
"""A user that no host has."""
_DEEPEST: Final = 2
"""A check, and one of the values that plugin code writes meanwhile; writes of that one are left."""

Moment: TypeAlias = Mapping[str, tuple[ActivePlugin, StoredSettings]]
"""Plugins by slug, each with its stored settings."""

Spot: TypeAlias = tuple[User, str]
"""A setting: a user's number, or None for the plugin's own, and the key."""


class SettingFaults(NamedTuple):
    """Why settings of an active plugin are faulty, as of the last check of each of them."""

    active: ActivePlugin
    faults: Mapping[Spot, str] = MappingProxyType({})


class SettingsHealth:
    """Checks the settings of active plugins. A faulty value keeps no plugin off.

    A plugin must be active to be set up. All its settings are checked when it is loaded, and after
    that only those that are written. Values of users passed the plugin's validators when they were
    written, so a load only checks that they still convert and are one of the choices. Validators
    are called for the plugin's own values, for references and for overrides.

    Findings are kept for as long as the plugin is active; their records are in the ledger. No lock
    is held, and nothing is waited for, while the plugin's code runs: of checks that meet, each
    gives way to one of a newer value.
    """

    def __init__(self, store: SettingsStore, ledger: FailureLedger) -> None:
        self._store = store
        self._ledger = ledger
        self._lock = PerProcess(threading.Lock)
        self._found: dict[str, SettingFaults] = {}
        self._here = threading.local()

    @staticmethod
    def is_record(failure: PluginFailure) -> bool:
        """Return whether a failure is one of a plugin's settings."""
        return failure.stage is Stage.ACTIVATE and failure.subject in _SUBJECTS

    def look(self, plugins: Iterable[ActivePlugin]) -> Mapping[str, SettingFaults]:
        """Check all settings of these plugins; keep and return the findings by slug."""
        return {plugin.slug: self._look(plugin) for plugin in plugins}

    def failures(self, findings: SettingFaults) -> tuple[PluginFailure, ...]:
        """Return a failure for all faulty values, and one for a version that does not fit."""
        slug = findings.active.slug
        messages = {
            _VERSION: self._store.version_fault(slug),
            _VALUES: "; ".join(self._sentences(findings)),
        }
        return tuple(
            PluginFailure(stage=Stage.ACTIVATE, slug=slug, subject=subject, message=message)
            for subject, message in messages.items()
            if message
        )

    def catch_up(self, recorded: Mapping[str, SettingFaults]) -> None:
        """Record findings that are newer than ``recorded``, which was recorded meanwhile."""
        for slug, findings in recorded.items():
            newest = self._found.get(slug)
            if newest is not None and newest is not findings:
                self._record(newest)

    def forget(self, slugs: Iterable[str]) -> None:
        """Drop the findings of plugins that leave. The caller removes their records."""
        with self._lock.get():
            for slug in slugs:
                self._found.pop(slug, None)

    def moment(self, plugins: Iterable[ActivePlugin]) -> Moment:
        """Return the settings stored now, for `renew` after values are read again."""
        return {plugin.slug: (plugin, self._store.stored(plugin.slug)) for plugin in plugins}

    def renew(self, moment: Moment) -> None:
        """Check plugins again of which other values are stored now, and record the findings."""
        for slug, (active, stored) in moment.items():
            if self._store.stored(slug) is not stored:
                self._record(self._look(active))

    def after_write(self, active: ActivePlugin, user: User, keys: frozenset[str]) -> None:
        """Check settings that were written, and replace the record if that has changed it."""
        if getattr(self._here, "depth", 0) >= _DEEPEST:
            return
        definitions = active.settings if user is None else active.user_settings
        for key in keys:
            seen, fault = self._store.stored(active.slug).of(user).get(key), None
            if key in definitions:
                from plugreg.settings.view import SettingsView

                with self._looking():
                    view = SettingsView(self._store, active.slug, definitions, user)
                    fault = view.fault(key, was_checked=True)
            findings = self._note(active, (user, key), seen, fault)
            if findings is not None:
                self._record(findings)

    # -- the parts ---------------------------------------------------------------------------

    @contextmanager
    def _looking(self) -> Iterator[None]:
        """Mark that this thread runs a plugin's code to check its settings."""
        depth: int = getattr(self._here, "depth", 0)
        self._here.depth = depth + 1
        try:
            yield
        finally:
            self._here.depth = depth

    def _look(self, active: ActivePlugin) -> SettingFaults:
        slug = active.slug
        with self._lock.get():
            # The findings of writes that come meanwhile are noted here.
            if slug not in self._found or self._found[slug].active is not active:
                self._found[slug] = SettingFaults(active)
        before = self._store.stored(slug)
        with self._looking():
            faults = dict(self._faults(active, before))
        with self._lock.get():
            newer = self._found[slug].faults
            for spot in before.differences(self._store.stored(slug)):
                faults.pop(spot, None)
                if spot in newer:
                    faults[spot] = newer[spot]
            findings = self._found[slug] = SettingFaults(active, faults)
        return findings

    def _note(
        self, active: ActivePlugin, spot: Spot, seen: object, fault: str | None
    ) -> SettingFaults | None:
        """Keep the finding of one setting; return all findings if that has changed them."""
        slug, (user, key) = active.slug, spot
        with self._lock.get():
            findings = self._found.get(slug)
            # A plugin that is not checked yet will be, and the writer of a newer value checks that.
            if (
                findings is None
                or findings.active is not active
                or self._store.stored(slug).of(user).get(key) != seen
                or findings.faults.get(spot) == fault
            ):
                return None
            faults = {**findings.faults, spot: fault or ""}
            if fault is None:
                del faults[spot]
            findings = self._found[slug] = SettingFaults(active, faults)
        return findings

    def _record(self, findings: SettingFaults) -> None:
        """Replace the records of a plugin."""
        slug = findings.active.slug
        self._ledger.replace(
            self.failures(findings),
            lambda failure: failure.slug == slug and self.is_record(failure),
            # Newer findings are recorded after this.
            unless=lambda: self._found.get(slug) is not findings,
        )

    def _faults(self, active: ActivePlugin, stored: StoredSettings) -> Iterator[tuple[Spot, str]]:
        if not active.settings and not active.user_settings:
            return
        from plugreg.settings.view import SettingsView

        slug = active.slug
        own = SettingsView(self._store, slug, active.settings)
        for key in own:
            fault = own.fault(key)
            if fault is not None:
                yield (None, key), fault
        # An override or a default holds for every user, also for a user without stored values.
        anybody = SettingsView(self._store, slug, active.user_settings, _ANYBODY)
        locked = {key for key in anybody if anybody.is_locked(key)}
        for key, definition in active.user_settings.items():
            if key in locked or callable(definition.default):
                fault = anybody.fault(key)
                if fault is not None:
                    yield (_ANYBODY, key), fault
        for user, values in stored.values.items():
            if user is None:
                continue
            view = SettingsView(self._store, slug, active.user_settings, user)
            for key in values:
                if key in view and key not in locked:
                    fault = view.fault(key, was_checked=True)
                    if fault is not None:
                        yield (user, key), fault

    def _sentences(self, findings: SettingFaults) -> Iterator[str]:
        active = findings.active
        for key in active.settings:
            if (None, key) in findings.faults:
                yield f"{key}: {findings.faults[None, key]}"
        # Which users have set it stays private; each faulty key is reported once.
        of_users: dict[str, str] = {}
        for (user, key), fault in findings.faults.items():
            if user is not None:
                of_users.setdefault(key, fault)
        for key in active.user_settings:
            if key in of_users:
                yield f"user setting {key}: {of_users[key]}"
        known = {**active.settings, **active.user_settings}
        for key in self._store.of(active.slug).overrides:
            if key not in known:
                hint = near(key, known)
                yield f"{key}: the host overrides it, and the plugin has no such setting{hint}"
