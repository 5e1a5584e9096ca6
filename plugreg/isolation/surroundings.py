"""The surroundings of the plugin in its process: settings, metadata, logger, and host hooks.

Values are read from a copy, which the host keeps up to date, and written through the host.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from plugreg._support import lazy
from plugreg._support.slugs import Slug
from plugreg.isolation.data import to_data
from plugreg.isolation.description import has_settings
from plugreg.isolation.link import HostLink
from plugreg.isolation.protocol import BeginRequest, Mirrored
from plugreg.records import LoadedPlugin

if TYPE_CHECKING:
    import logging

    from plugreg._lifecycle.binding import BoundContext


class RemoteContext:
    """Fills `plugreg.plugin.PluginContext` in the process of an isolated plugin.

    Args:
        loaded: The plugin.
        link: The control line.
        request: Current values, and overrides of the host.
        send_logs: Begins to send log records to the host.
    """

    def __init__(
        self,
        loaded: LoadedPlugin,
        link: HostLink,
        request: BeginRequest,
        send_logs: Callable[[], object],
    ) -> None:
        self._send_logs = send_logs
        self._loaded = loaded
        self._link = link
        self._overrides = request.overrides
        self._mirrored = request.mirrored
        # The values of the copy, once a setting was read.
        self._values: Any = None

    def take(self, mirrored: Mirrored) -> None:
        """Take in the values that hold in the host now."""
        self._mirrored = mirrored
        if self._values is not None:
            self._fill()

    @property
    def slug(self) -> Slug:
        """The plugin's identity."""
        return self._loaded.slug

    @property
    def logger(self) -> logging.Logger:
        """The plugin's own logger, whose records arrive at the host's logger of that name."""
        import logging

        self._send_logs()
        return logging.getLogger(f"plugreg.plugin.{self.slug}")

    def get_setting(self, key: str, backup_value: object = None) -> Any:
        """Return the value of a setting in the copy."""
        return self._local.get_setting(key, backup_value)

    def get_user_setting(self, key: str, user: int, backup_value: object = None) -> Any:
        """Return a user's value in the copy."""
        return self._local.get_user_setting(key, user, backup_value)

    def set_setting(self, key: str, value: object) -> None:
        """Store a setting in the host."""
        self._link.ask("set_setting", key=key, value=value)

    def set_user_setting(self, key: str, value: object, user: int) -> None:
        """Store a user's value in the host."""
        self._link.ask("set_user_setting", key=key, value=value, user=user)

    def get_metadata(self) -> dict[str, Any]:
        """Return a copy of the plugin's metadata."""
        return copy.deepcopy(dict(self._mirrored.metadata))

    def set_metadata(self, data: Mapping[str, Any], merge: bool = True) -> None:
        """Store the plugin's metadata in the host."""
        self._link.ask("set_metadata", data=data, merge=merge)

    def call_host(self, hook: str, arguments: Mapping[str, Any]) -> Any:
        """Call a hook of the host, and return the results."""
        data = {name: to_data(hook, name, value) for name, value in arguments.items()}
        return self._link.ask("call_host", hook=hook, arguments=data)

    # -- the copy ----------------------------------------------------------------------------

    @lazy
    def _local(self) -> BoundContext:
        """The context of a store that has the copy alone."""
        from plugreg._lifecycle.binding import BoundContext
        from plugreg._state.plugin_rows import PluginRows
        from plugreg.settings.declaration import parse_definitions
        from plugreg.settings.store import SettingsStore
        from plugreg.settings.values import Declared
        from plugreg.storage import MemoryStorage

        plugin, declared = self._loaded.plugin, Declared()
        if has_settings(type(plugin)):
            declared = Declared(
                parse_definitions(plugin.SETTINGS, "SETTINGS")[0],
                parse_definitions(plugin.USER_SETTINGS, "USER_SETTINGS")[0],
                plugin.SETTINGS_VERSION,
            )
        storage = MemoryStorage()
        overrides: dict[str, Mapping[str, Any]] = {self.slug: self._overrides}
        store = SettingsStore(storage, lambda *_: None, overrides=overrides)
        self._values = store.of(self.slug)
        self._fill()
        return BoundContext(store, PluginRows(storage), self.slug, declared)

    def _fill(self) -> None:
        from plugreg.settings.values import StoredSettings, StoredValue

        mirrored = self._mirrored
        values = {
            user: {key: StoredValue(*value) for key, value in own.items()}
            for user, own in mirrored.values.items()
        }
        self._values.replace(StoredSettings(mirrored.version, values))
