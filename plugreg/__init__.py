"""A plugin registry on pluggy: which plugins there are, which are on, and what went wrong."""

from plugreg.definitions import SettingDefinition
from plugreg.dispatch import Outcome
from plugreg.exceptions import (
    PluginActiveError,
    PluginBlockedError,
    PluginFaultError,
    PluginMandatoryError,
    PluginNotActiveError,
    PluginNotBoundError,
    PluginNotFoundError,
    PluginRequiredError,
    PluginSlugError,
    PlugregError,
    RegistryBusyError,
    RegistryNotReady,
    SettingError,
    StorageCorruptError,
    StorageError,
    StorageLockedError,
    StorageUnavailableError,
    UnknownHookError,
)
from plugreg.hooks import hookimpl, hookspec
from plugreg.plugin import Plugin
from plugreg.records import LoadReport, PluginFailure, PluginRecord, PluginState, Stage
from plugreg.registry import PluginRegistry

__all__ = [
    "LoadReport",
    "Outcome",
    "Plugin",
    "PluginActiveError",
    "PluginBlockedError",
    "PluginFailure",
    "PluginFaultError",
    "PluginMandatoryError",
    "PluginNotActiveError",
    "PluginNotBoundError",
    "PluginNotFoundError",
    "PluginRecord",
    "PluginRegistry",
    "PluginRequiredError",
    "PluginSlugError",
    "PluginState",
    "PlugregError",
    "RegistryBusyError",
    "RegistryNotReady",
    "SettingDefinition",
    "SettingError",
    "Stage",
    "StorageCorruptError",
    "StorageError",
    "StorageLockedError",
    "StorageUnavailableError",
    "UnknownHookError",
    "hookimpl",
    "hookspec",
]
