"""Settings of plugins: definitions, values, and the live view that a host reads and writes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugreg.settings.definition import SettingChange, SettingDefinition
    from plugreg.settings.view import SettingsView
else:

    def __getattr__(name: str) -> object:
        # PEP 562: most modules that import from this package need neither view nor definitions.
        if name == "SettingsView":
            from plugreg.settings import view as module
        elif name in __all__:
            from plugreg.settings import definition as module
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(module, name)


__all__ = ["SettingChange", "SettingDefinition", "SettingsView"]
