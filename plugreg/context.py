"""What a plugin is given of the registry: its own settings, metadata and logger, no more.

A Protocol only; the registry fills it (design.md, section 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from plugreg._names import Slug

if TYPE_CHECKING:
    import logging


class PluginContext(Protocol):
    """The way of one plugin object to what is kept for it, and for no other plugin.

    It lives from the plugin's construction to its unloading. Every key is taken in any case.
    Reads write nothing; each write is one transaction of the store, and is on disk when the call
    returns.
    """

    @property
    def slug(self) -> Slug:
        """The plugin's identity."""

    @property
    def logger(self) -> logging.Logger:
        """The plugin's own logger."""

    def get_setting(self, key: str, backup_value: object = None) -> Any:
        """Return the native value of a setting: what is fixed, what is stored, or its default.

        ``backup_value`` is given where nothing is set and no default exists, ``""`` if that is
        None too. Raises KeyError if the plugin declares no such setting, SettingError if what was
        set cannot be had, such as a reference to a variable that is not there.
        """

    def set_setting(self, key: str, value: object) -> None:
        """Store a setting; None or ``""`` unsets it, ``{"$env": "NAME"}`` makes it a reference.

        Raises SettingError if the value is refused or the host fixes it, and KeyError as
        :meth:`get_setting` does.
        """

    def get_user_setting(self, key: str, user: int, backup_value: object = None) -> Any:
        """Return a user's value of a user setting, as :meth:`get_setting` does.

        There is no fall-back to the setting of the same name that holds for all users.
        """

    def set_user_setting(self, key: str, value: object, user: int) -> None:
        """Store a user's value of a user setting, as :meth:`set_setting` does."""

    def get_metadata(self) -> Mapping[str, Any]:
        """Return the metadata of the plugin, empty if none was stored."""

    def set_metadata(self, data: Mapping[str, Any], merge: bool = True) -> None:
        """Store metadata that JSON can hold.

        With ``merge`` the first level's keys are added to what is there, or replace it; without,
        ``data`` takes the place of everything. Raises SettingError for what cannot be stored, and
        for the value of a protected setting of the plugin.
        """
