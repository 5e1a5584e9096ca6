"""What is wrong with the values of a plugin's settings, as records that come and go with it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from plugreg._state.ledger import FailureLedger
from plugreg._support.names import near
from plugreg._support.per_process import PerProcess
from plugreg.records import ActivePlugin, PluginFailure, Stage
from plugreg.settings.rows import StoredSettings, User
from plugreg.settings.store import SettingsStore
from plugreg.settings.view import SettingsView

_VALUES: Final = "settings values"
_VERSION: Final = "settings version"
_SUBJECTS: Final = frozenset({_VALUES, _VERSION})
_ANYBODY: Final = -1
"""A user that no host has."""
_DEEPEST: Final = 2
"""A look, and one at what the plugin writes while it is looked at; that one's writes are left."""

Moment: TypeAlias = Mapping[str, tuple[ActivePlugin, StoredSettings]]
"""Plugins by slug, each with what was stored of it."""

Spot: TypeAlias = tuple[User, str]
"""A setting: a user's number, or None for the plugin's own, and the key."""


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """Why settings of one active plugin are bad, as of the last look at each of them."""

    active: ActivePlugin
    faults: Mapping[Spot, str] = field(default_factory=dict)


class SettingsHealth:
    """Looks at the settings of active plugins. A bad value keeps no plugin off.

    It must be active to be set up. All settings of a plugin are looked at when it is loaded, and
    after that only those that are written. What is stored for users was held against the
    plugin's validators when it was written, so that a load only looks whether it still converts
    and is one of the choices; for the plugin's own values, for references and for overrides the
    validators are called.

    What was found is kept for as long as the plugin is active, and the records are in the ledger.
    No lock is held and nothing is waited for while the plugin's code runs: of looks that meet,
    each gives way to one at a newer value.
    """

    def __init__(self, store: SettingsStore, ledger: FailureLedger) -> None:
        self._store = store
        self._ledger = ledger
        self._lock = PerProcess(threading.Lock)
        self._found: dict[str, Findings] = {}
        self._here = threading.local()

    @staticmethod
    def is_record(failure: PluginFailure) -> bool:
        """Tell whether a record is one of those that are made here."""
        return failure.stage is Stage.ACTIVATE and failure.subject in _SUBJECTS

    def look(self, plugins: Iterable[ActivePlugin]) -> Mapping[str, Findings]:
        """Look at all settings of these plugins, and keep and return what is found, by slug."""
        return {each.slug: self._look(each) for each in plugins}

    def failures(self, found: Findings) -> tuple[PluginFailure, ...]:
        """Return a record of all bad values, and one of a version that does not fit, if any."""
        slug = found.active.slug
        messages = {
            _VERSION: self._store.version_fault(slug),
            _VALUES: "; ".join(self._told(found)),
        }
        return tuple(
            PluginFailure(stage=Stage.ACTIVATE, slug=slug, subject=subject, message=message)
            for subject, message in messages.items()
            if message
        )

    def catch_up(self, recorded: Mapping[str, Findings]) -> None:
        """Record what was found after this, while this was recorded."""
        for slug, found in recorded.items():
            newest = self._found.get(slug)
            if newest is not None and newest is not found:
                self._record(newest)

    def forget(self, slugs: Iterable[str]) -> None:
        """Drop what was found of plugins that leave. Their records are the caller's to remove."""
        with self._lock.get():
            for slug in slugs:
                self._found.pop(slug, None)

    def moment(self, plugins: Iterable[ActivePlugin]) -> Moment:
        """Return what :meth:`renew` is to be given, before values are read again."""
        return {each.slug: (each, self._store.stored(each.slug)) for each in plugins}

    def renew(self, moment: Moment) -> None:
        """Look again at plugins of which other values are stored now, and record what is found."""
        for slug, (active, stored) in moment.items():
            if self._store.stored(slug) is not stored:
                self._record(self._look(active))

    def after_write(self, active: ActivePlugin, user: User, keys: frozenset[str]) -> None:
        """Look at settings that were written, and renew the record if that has changed it."""
        if getattr(self._here, "depth", 0) >= _DEEPEST:
            return
        for key in keys:
            seen = self._store.stored(active.slug).of(user).get(key)
            with self._looking():
                fault = self._fault(active, user, key)
            found = self._noted(active, (user, key), seen, fault)
            if found is not None:
                self._record(found)

    # -- the parts ---------------------------------------------------------------------------

    @contextmanager
    def _looking(self) -> Iterator[None]:
        """Mark that this thread runs a plugin's code to look at its settings."""
        depth: int = getattr(self._here, "depth", 0)
        self._here.depth = depth + 1
        try:
            yield
        finally:
            self._here.depth = depth

    def _look(self, active: ActivePlugin) -> Findings:
        slug = active.slug
        with self._lock.get():
            # Those who write meanwhile note here what they find.
            if slug not in self._found or self._found[slug].active is not active:
                self._found[slug] = Findings(active)
        before = self._store.stored(slug)
        with self._looking():
            faults = dict(self._faults(active, before))
        with self._lock.get():
            newer = self._found[slug].faults
            for spot in before.differences(self._store.stored(slug)):
                faults.pop(spot, None)
                if spot in newer:
                    faults[spot] = newer[spot]
            found = self._found[slug] = Findings(active, faults)
        return found

    def _noted(
        self, active: ActivePlugin, spot: Spot, seen: object, fault: str | None
    ) -> Findings | None:
        """Keep what was found at one spot; return all findings if that has changed them."""
        slug, (user, key) = active.slug, spot
        with self._lock.get():
            found = self._found.get(slug)
            # A plugin that is not looked at yet will be, and a newer value is another's to tell of.
            if (
                found is None
                or found.active is not active
                or self._store.stored(slug).of(user).get(key) != seen
                or found.faults.get(spot) == fault
            ):
                return None
            faults = {each: why for each, why in found.faults.items() if each != spot}
            if fault is not None:
                faults[spot] = fault
            found = self._found[slug] = Findings(active, faults)
        return found

    def _record(self, found: Findings) -> None:
        """Let what is wrong now take the place of what was recorded before."""
        slug = found.active.slug
        self._ledger.replace(
            self.failures(found),
            lambda each: each.slug == slug and self.is_record(each),
            # Whoever has found something since records it after this.
            unless=lambda: self._found.get(slug) is not found,
        )

    def _fault(self, active: ActivePlugin, user: User, key: str) -> str | None:
        """Return why a setting that was just written is bad, or None."""
        definitions = active.settings if user is None else active.user_settings
        if key not in definitions:
            return None
        view = SettingsView(self._store, active.slug, definitions, user)
        return view.fault(key, was_checked=True)

    def _faults(self, active: ActivePlugin, stored: StoredSettings) -> Iterator[tuple[Spot, str]]:
        slug = active.slug
        own = SettingsView(self._store, slug, active.settings)
        for key in own:
            fault = own.fault(key)
            if fault is not None:
                yield (None, key), fault
        # An override or a default holds for every user, and for one who has set nothing too.
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

    def _told(self, found: Findings) -> Iterator[str]:
        active = found.active
        for key in active.settings:
            if (None, key) in found.faults:
                yield f"{key}: {found.faults[None, key]}"
        # Which users have it is nobody else's business; each bad key is told once.
        of_users: dict[str, str] = {}
        for (user, key), fault in found.faults.items():
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
