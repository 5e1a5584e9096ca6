"""What the plugin has around it in its process: settings, metadata, logger, and the host's hooks.

Values are read from a copy, which the host keeps up to date, and written through the host.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from typing import Any

from plugreg._lifecycle.binding import BoundContext
from plugreg._state.plugin_rows import PluginRows
from plugreg._support.guard import Guard
from plugreg._support.slugs import Slug
from plugreg.isolation.data import to_data
from plugreg.isolation.link import HostLink
from plugreg.isolation.protocol import BeginRequest, Mirrored
from plugreg.mixins.settings import SettingsMixin
from plugreg.plugin import Plugin, bind
from plugreg.records import LoadedPlugin
from plugreg.settings.declaration import parse_definitions
from plugreg.settings.store import SettingsStore
from plugreg.settings.values import Declared, StoredSettings, StoredValue
from plugreg.storage import MemoryStorage


def open_context(loaded: LoadedPlugin, link: HostLink, request: BeginRequest) -> RemoteContext:
    """Return the context of a plugin, and bind the plugin to it."""
    plugin, slug = loaded.plugin, loaded.slug
    declared = Declared()
    if issubclass(type(plugin), SettingsMixin):
        declared = Declared(
            parse_definitions(plugin.SETTINGS, "SETTINGS")[0],
            parse_definitions(plugin.USER_SETTINGS, "USER_SETTINGS")[0],
            plugin.SETTINGS_VERSION,
        )
    context = RemoteContext(slug, declared, link, request)
    if issubclass(type(plugin), Plugin):
        bind(plugin, context)
    return context


class RemoteContext(BoundContext):
    """Fills `plugreg.plugin.PluginContext` in the process of an isolated plugin.

    Args:
        slug: The plugin.
        declared: Its declared settings.
        link: The control line.
        request: Values that hold now, and what the host has fixed.
    """

    def __init__(
        self, slug: str, declared: Declared, link: HostLink, request: BeginRequest
    ) -> None:
        storage = MemoryStorage()
        store = SettingsStore(storage, lambda *_: None, overrides={slug: request.overrides})
        self._metadata: Mapping[str, Any] = {}
        self._values = store.of(slug)
        self._link = link
        self.take(request.mirrored)
        super().__init__(store, PluginRows(storage), slug, declared)

    def take(self, mirrored: Mirrored) -> None:
        """Take in the values that hold in the host now."""
        values = {
            user: {key: StoredValue(*value) for key, value in own.items()}
            for user, own in mirrored.values.items()
        }
        self._values.replace(StoredSettings(mirrored.version, values))
        self._metadata = mirrored.metadata

    @property
    def slug(self) -> Slug:
        """The plugin's identity."""
        return self._slug

    @property
    def logger(self) -> logging.Logger:
        """The plugin's own logger, whose records arrive at the host's logger of that name."""
        return logging.getLogger(f"plugreg.plugin.{self._slug}")

    def set_setting(self, key: str, value: object) -> None:
        """Store a setting in the host."""
        self._write("set_setting", key=key, value=to_data("set_setting", "value", value))

    def set_user_setting(self, key: str, value: object, user: int) -> None:
        """Store a user's value in the host."""
        data = to_data("set_user_setting", "value", value)
        self._write("set_user_setting", key=key, value=data, user=user)

    def get_metadata(self) -> dict[str, Any]:
        """Return a copy of the plugin's metadata."""
        return copy.deepcopy(dict(self._metadata))

    def set_metadata(self, data: Mapping[str, Any], merge: bool = True) -> None:
        """Store the plugin's metadata in the host."""
        self._write("set_metadata", data=to_data("set_metadata", "data", data), merge=merge)

    def call_host(self, hook: str, arguments: Mapping[str, Any]) -> Any:
        """Call a hook of the host, and return the results."""
        data = {name: to_data(hook, name, value) for name, value in arguments.items()}
        return self._link.ask("call_host", hook=hook, arguments=data)

    def _write(self, what: str, /, **data: Any) -> None:
        with Guard() as guard:
            self._link.ask(what, **data)
        if guard.error is not None:
            raise guard.error
