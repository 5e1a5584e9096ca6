"""Settings of plugins: definitions, values, and the live view that a host reads and writes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugreg.settings.view import SettingChange, SettingsView
else:

    def __getattr__(name: str) -> object:
        # PEP 562: the view is imported when it is asked for, since a start can do without it.
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from plugreg.settings import view

        return getattr(view, name)


__all__ = ["SettingChange", "SettingsView"]
