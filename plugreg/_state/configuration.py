"""``registry.config``: settings, user settings and metadata of plugins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from plugreg._state.plugin_rows import PluginRows
from plugreg._support.frozen import NamedTuple
from plugreg.records import ActivePlugin, Snapshot
from plugreg.settings.definition import SettingDefinition
from plugreg.settings.store import SettingsStore
from plugreg.settings.view import SettingsView, user_view

if TYPE_CHECKING:
    from plugreg._state.probe_report import ProbeReport
    from plugreg._support.redact import Scrubber


class ListedSetting(NamedTuple):
    """A setting in the list of all plugins' settings.

    Attributes:
        slug: The plugin.
        pk: The plugin's number.
        key: The setting's key.
        view: Its definition and value. Of a plugin that is not active it is only known that a
            value is stored: the value is protected, and nothing else is said of it.
    """

    slug: str
    pk: int
    key: str
    view: SettingsView


class Configuration:
    """Reads and writes the configuration of plugins by slug, for hosts and operators.

    Reads come from memory and take no lock. Each write is a transaction of the storage, on disk
    when the call returns; if it raises StorageError, nothing has changed.

    Args:
        current: Returns the snapshot.
        settings: The store of settings.
        plugin_rows: The store of metadata.
        probed: Returns the report of a plugin's last probe.
    """

    def __init__(
        self,
        current: Callable[[], Snapshot],
        settings: SettingsStore,
        plugin_rows: PluginRows,
        probed: Callable[[str], ProbeReport | None],
    ) -> None:
        self._current = current
        self._settings = settings
        self._plugin_rows = plugin_rows
        self._probed = probed

    def settings(self, slug: str) -> SettingsView:
        """Return the live settings of an active plugin.

        Args:
            slug: The plugin.

        Returns:
            A mapping of keys to values, for as long as the plugin is active.

        Raises:
            PluginNotFoundError: If the plugin is not known.
            PluginNotActiveError: If the plugin is not active.
        """
        return _view(self._settings, self._current().get_active(slug))

    def user_settings(self, slug: str, user: int) -> SettingsView:
        """Return a user's live settings of an active plugin.

        Args:
            slug: The plugin.
            user: The user's number.

        Returns:
            A mapping of keys to values, for as long as the plugin is active.

        Raises:
            PluginNotFoundError: If the plugin is not known.
            PluginNotActiveError: If the plugin is not active.
            SettingError: If *user* is not a number.
        """
        active = self._current().get_active(slug)
        return user_view(self._settings, slug, active.user_settings, user, active.settings_version)

    def offline_settings(
        self, slug: str, user: int | None = None, keys: Iterable[str] = ()
    ) -> SettingsView:
        """Return settings of any known plugin, by its last probe and its rows. Imports nothing.

        A write is checked as far as the report of the last probe says how. Where there is none,
        each value is a string. Code of the plugin is not called, neither validators nor what it
        does before and after a write.

        Args:
            slug: The plugin, which need not be active.
            user: The user's number, None for the plugin's own settings.
            keys: Keys that may be set where no probe is known.

        Returns:
            A mapping of keys to values.

        Raises:
            PluginNotFoundError: If the plugin is not known.
            SettingError: If *user* is not a number.
        """
        from plugreg._state.offline import offline_view

        snapshot = self._current()
        snapshot.get_known(slug)
        if slug in snapshot.active:
            return self.settings(slug) if user is None else self.user_settings(slug, user)
        return offline_view(
            self._settings, slug, self._probed(slug), user, [key.upper() for key in keys]
        )

    def users(self, slug: str) -> tuple[int, ...]:
        """Return the numbers of the users who have set settings of a plugin, sorted.

        Args:
            slug: The plugin, known or not.
        """
        stored = self._settings.stored(slug).values
        return tuple(sorted(user for user, own in stored.items() if user is not None and own))

    def listed(self, *, wanted: bool | None = None, slug: str | None = None) -> list[ListedSetting]:
        """Return the settings of all plugins, by slug, then in the order declared.

        Args:
            wanted: Whether the plugins are wanted active. None includes all.
            slug: The only plugin to include. None includes all.

        Returns:
            The declared settings of active plugins, the stored settings of others by key.
        """
        snapshot = self._current()
        found: list[ListedSetting] = []
        for name, known in snapshot.plugins.items():
            if wanted not in (None, known.wanted) or slug not in (None, name):
                continue
            active = snapshot.active.get(name)
            view = self._stored_view(name) if active is None else _view(self._settings, active)
            found += [ListedSetting(slug=name, pk=known.pk, key=key, view=view) for key in view]
        return found

    def _stored_view(self, slug: str) -> SettingsView:
        """Return the stored settings of a plugin whose definitions are not known, all protected."""
        keys = sorted(self._settings.stored(slug).of(None))
        definitions = {key: SettingDefinition(key=key, protected=True) for key in keys}
        return SettingsView(self._settings, slug, definitions)

    def forget_values(self, slug: str, keys: frozenset[str] = frozenset()) -> int:
        """Delete stored settings of a plugin, known or not, whether it declares them or not.

        Args:
            slug: The plugin.
            keys: Upper-case keys of the plugin's own settings. None of them means all settings,
                those of users too.

        Returns:
            How many values were deleted.

        Raises:
            StorageError: If the storage fails. Nothing has changed then.
        """
        return self._settings.forget_values(slug, keys)

    def rotate_secrets(self) -> int:
        """Encrypt every protected value with the first key, also values stored in clear.

        Returns:
            How many rows changed.

        Raises:
            StorageError: If the registry has no keys. Nothing has changed then.
            EncryptionError: If no key decrypts a value. Nothing has changed then.
            RecordCorruptError: If a protected row is damaged. Nothing has changed then.
        """
        return self._settings.rotate_secrets()

    def scrubbed(self, slug: str, value: Any, user: int | None = None) -> Any:
        """Return a copy of JSON-able *value* without the protected values of a plugin.

        Args:
            slug: The plugin.
            value: The value to show to a client.
            user: The user whose own protected values are removed, too. Those of other users stay,
                because any user could choose a value and so hide it from everybody.

        Returns:
            The copy, with a mask in place of each protected value.
        """
        return self.scrubber(slug, user).value(value)

    def scrubber(self, slug: str, user: int | None = None) -> Scrubber:
        """Return a scrubber of the protected values of a plugin now, for many values.

        Args:
            slug: The plugin.
            user: The user whose own protected values are removed, too.
        """
        return self._settings.scrubber_for(slug, user)

    def metadata(self, slug: str) -> dict[str, Any]:
        """Return a copy of the metadata of any known plugin, ``{}`` where there is none.

        It is the metadata as written, whatever was protected since; see `metadata_fault`.

        Args:
            slug: The plugin.

        Returns:
            The metadata.

        Raises:
            PluginNotFoundError: If the plugin is not known.
        """
        self._current().get_known(slug)
        return self._plugin_rows.metadata(slug)

    def metadata_fault(self, slug: str) -> str | None:
        """Return why a plugin's metadata must not be shown, None if it may be shown.

        It must not be if it holds the value of a protected setting that was set, or protected,
        after the metadata was written. Values of under 8 characters and users' values do not count.

        Args:
            slug: The plugin.

        Returns:
            A sentence, or None.
        """
        return self._plugin_rows.metadata_fault(slug)

    def set_metadata(self, slug: str, data: dict[str, Any], merge: bool = True) -> dict[str, Any]:
        """Merge *data* into a plugin's metadata at the first level, or replace the metadata.

        Args:
            slug: A known plugin.
            data: A dict of JSON values, whose strings have no control characters.
            merge: Whether the other keys of the first level stay.

        Returns:
            All metadata of the plugin, as it is then.

        Raises:
            PluginNotFoundError: If the plugin is not known.
            SettingError: If *data* cannot be stored, or the metadata would be too long, or hold
                the value of a protected setting of the plugin. Nothing has changed then.
        """
        self._current().get_known(slug)
        return self._plugin_rows.set_metadata(slug, data, merge)


def _view(store: SettingsStore, active: ActivePlugin) -> SettingsView:
    return SettingsView(store, active.slug, active.settings, version=active.settings_version)
