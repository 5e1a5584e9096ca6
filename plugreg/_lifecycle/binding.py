"""The context that a plugin object is bound to: its own settings, metadata and logger."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from plugreg._state.plugin_rows import PluginRows
from plugreg._support import lazy
from plugreg._support.slugs import Slug
from plugreg.settings.store import SettingsStore
from plugreg.settings.values import Declared, StoredSettings, User

if TYPE_CHECKING:
    from plugreg.settings.view import SettingsView


class BoundContext:
    """Fills `plugreg.plugin.PluginContext` from the stores of a registry.

    It holds no registry. Values are live: a value that another thread stores is read at the next
    call. Its construction declares the plugin's settings to the store.
    """

    def __init__(
        self, store: SettingsStore, plugin_rows: PluginRows, slug: str, declared: Declared
    ) -> None:
        self._slug = Slug(slug)
        store.declare(slug, declared)
        self._declared = declared
        self._store = store
        self._plugin_rows = plugin_rows
        # The values that were stored when the activation began, None once the plugin is in service.
        self._seen: StoredSettings | None = None

    @lazy
    def _settings(self) -> SettingsView:
        from plugreg.settings.view import SettingsView

        declared = self._declared
        return SettingsView(self._store, self._slug, declared.settings, version=declared.version)

    def migrate(self, plugin: Any) -> None:
        """Migrate stored settings to the declared version; see `plugreg._lifecycle.migrate`."""
        if self._store.stored(self._slug).is_older_than(self._declared.version):
            from plugreg._lifecycle.migrate import migrate

            migrate(self._store, self._slug, plugin, self._declared)

    def watch_settings(self) -> None:
        """Begin to keep track of values that others store."""
        self._seen = self._store.stored(self._slug)

    def changed_settings(self) -> frozenset[str]:
        """Return the keys of values that others have stored since `watch_settings`."""
        stored, seen = self._store.stored(self._slug), self._seen
        return frozenset() if seen is None or seen is stored else seen.changes(stored)

    def unwatch_settings(self) -> None:
        """Stop keeping track."""
        self._seen = None

    @property
    def slug(self) -> Slug:
        """The plugin's identity."""
        return self._slug

    @property
    def logger(self) -> logging.Logger:
        """The logger ``plugreg.plugin.<slug>``."""
        return logging.getLogger(f"plugreg.plugin.{self._slug}")

    def get_setting(self, key: str, backup_value: object = None) -> Any:
        """Return the native value of a setting; see ``PluginContext.get_setting``."""
        return _read(self._settings, key, backup_value)

    def set_setting(self, key: str, value: object) -> None:
        """Store a setting; see ``PluginContext.set_setting``."""
        self._settings.set(key, value)
        self._note_own(None, key)

    def get_user_setting(self, key: str, user: int, backup_value: object = None) -> Any:
        """Return a user's value; see ``PluginContext.get_user_setting``."""
        return _read(self._of_user(user), key, backup_value)

    def set_user_setting(self, key: str, value: object, user: int) -> None:
        """Store a user's value; see ``PluginContext.set_user_setting``."""
        self._of_user(user).set(key, value)
        self._note_own(user, key)

    def get_metadata(self) -> dict[str, Any]:
        """Return a copy of the plugin's metadata."""
        return self._plugin_rows.metadata(self._slug)

    def set_metadata(self, data: Mapping[str, Any], merge: bool = True) -> None:
        """Store the plugin's metadata; see ``PluginContext.set_metadata``."""
        self._plugin_rows.set_metadata(self._slug, data, merge)

    def _note_own(self, user: User, key: str) -> None:
        # A plugin is not notified of its own writes.
        seen = self._seen
        if seen is not None:
            stored, key = self._store.stored(self._slug), key.upper()
            self._seen = seen.with_value(user, key, stored.of(user).get(key), stored.version)

    def _of_user(self, user: int) -> SettingsView:
        from plugreg.settings.view import user_view

        declared = self._declared
        return user_view(self._store, self._slug, declared.user_settings, user, declared.version)


def _read(view: SettingsView, key: str, backup_value: object) -> Any:
    value = view[key]
    definition = view.definitions[key.upper()]
    if backup_value is not None and not definition.has_default and not view.is_set(key):
        return backup_value
    return value
