"""Settings of plugins: definitions, values, and the live view that a host reads and writes."""

from typing import TYPE_CHECKING

from plugreg._support import lazy_names

if TYPE_CHECKING:
    from plugreg.settings.view import SettingChange, SettingsView
else:
    # The view is imported when it is asked for, since a start can do without it.
    __getattr__ = lazy_names(__name__, {"view": "SettingChange SettingsView"})


__all__ = ["SettingChange", "SettingsView"]
