"""What is wrong with the values of a plugin's settings, as records that come and go with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from plugreg._names import near
from plugreg.failures import FailureLedger
from plugreg.records import ActivePlugin, PluginFailure, Stage
from plugreg.settings import SettingsView
from plugreg.stored import Stored
from plugreg.values import SettingsStore

_VALUES: Final = "settings values"
_VERSION: Final = "settings version"
_SUBJECTS: Final = frozenset({_VALUES, _VERSION})
_ANYBODY: Final = -1
"""A user that no host has."""

Moment: TypeAlias = Mapping[str, tuple[ActivePlugin, Stored]]
"""Plugins by slug, each with what was stored of it."""


class SettingsHealth:
    """Looks at the settings of active plugins. A bad value keeps no plugin off.

    It must be active to be set up. Nothing is kept here; the records are in the ledger.
    """

    def __init__(self, store: SettingsStore, ledger: FailureLedger) -> None:
        self._store = store
        self._ledger = ledger

    @staticmethod
    def is_record(failure: PluginFailure) -> bool:
        """Tell whether a record is one of those that are made here."""
        return failure.stage is Stage.ACTIVATE and failure.subject in _SUBJECTS

    def failures(self, active: ActivePlugin) -> tuple[PluginFailure, ...]:
        """Return a record of all bad values, and one of a version that does not fit, if any."""
        found = {
            _VERSION: self._store.version_fault(active.slug),
            _VALUES: "; ".join(self._faults(active)),
        }
        return tuple(
            PluginFailure(stage=Stage.ACTIVATE, slug=active.slug, subject=subject, message=message)
            for subject, message in found.items()
            if message
        )

    def moment(self, plugins: Iterable[ActivePlugin]) -> Moment:
        """Return what :meth:`catch_up` is to be given, before these plugins are looked at."""
        return {each.slug: (each, self._store.stored(each.slug)) for each in plugins}

    def catch_up(self, moment: Moment) -> None:
        """Look again at plugins whose settings were written since, while others were recorded."""
        for slug, (active, stored) in moment.items():
            if self._store.stored(slug) is not stored:
                self._renew(active)

    def after_write(self, active: ActivePlugin, keys: frozenset[str]) -> None:
        """Renew the records after these settings were written, if that can have changed them.

        What was written was checked, so that only a reference can be a new fault.
        """
        values = self._store.stored(active.slug).values.values()
        if any(key in own and own[key].is_reference for own in values for key in keys) or any(
            self.is_record(each) for each in self._ledger.of(active.slug)
        ):
            self._renew(active)

    # -- the parts ---------------------------------------------------------------------------

    def _renew(self, active: ActivePlugin) -> None:
        """Let what is wrong now take the place of what was recorded before."""
        while True:
            stored = self._store.stored(active.slug)
            self._ledger.replace(
                self.failures(active),
                lambda each: each.slug == active.slug and self.is_record(each),
            )
            # Another thread may have written meanwhile, and have recorded that before this.
            if self._store.stored(active.slug) is stored:
                return

    def _faults(self, active: ActivePlugin) -> Iterator[str]:
        slug = active.slug
        own = SettingsView(self._store, slug, active.settings)
        for key in own:
            fault = own.fault(key)
            if fault is not None:
                yield f"{key}: {fault}"
        users = [user for user in self._store.stored(slug).values if user is not None]
        # An override holds for every user, and for one who has set nothing too.
        users.append(_ANYBODY)
        views = [SettingsView(self._store, slug, active.user_settings, user) for user in users]
        for key in active.user_settings:
            # Which users have it is nobody else's business; each bad key is told once.
            faults = (view.fault(key) for view in views if view.is_set(key))
            fault = next((each for each in faults if each is not None), None)
            if fault is not None:
                yield f"user setting {key}: {fault}"
        known = {**active.settings, **active.user_settings}
        for key in self._store.shelf(slug).overrides:
            if key not in known:
                hint = near(key, known)
                yield f"{key}: the host overrides it, and the plugin has no such setting{hint}"
