"""A plugin registry on pluggy: which plugins there are, which are on, and what went wrong.

PYTEST_DONT_REWRITE: pytest rewrites the packages of whoever brings a plugin for it, and warns where
one is imported already.
"""

from typing import TYPE_CHECKING

from plugreg._support import lazy_names
from plugreg.hooks import hookimpl, hookspec
from plugreg.plugin import Plugin
from plugreg.registry import PluginRegistry

if TYPE_CHECKING:
    from plugreg._calls.circuits import CircuitPolicy
    from plugreg._calls.outcome import Outcome
    from plugreg._state.probe_report import (
        ProbedSetting,
        ProbeFailedError,
        ProbeOutcome,
        ProbeReport,
        ProbeUnavailableError,
    )
    from plugreg.exceptions import (
        AssetNotFoundError,
        CircuitOpenError,
        CommitUnknownError,
        EncryptionError,
        InstallError,
        IsolationError,
        MissingExtraError,
        NotReadyYet,
        PluginActiveError,
        PluginBlockedError,
        PluginBusyError,
        PluginDiedError,
        PluginFaultError,
        PluginMandatoryError,
        PluginNotActiveError,
        PluginNotBoundError,
        PluginNotFoundError,
        PluginRaisedError,
        PluginRequiredError,
        PluginSlugError,
        PluginTimeoutError,
        PlugregError,
        RecordCorruptError,
        RegistryBusyError,
        RegistryNotReady,
        RequirementError,
        SettingError,
        StorageCorruptError,
        StorageError,
        StorageFormatError,
        StorageLockedError,
        StorageUnavailableError,
        StorageURLError,
        UnknownHookError,
        ValueNotSentError,
    )
    from plugreg.records import LoadReport, PluginFailure, PluginRecord, PluginState, Stage
    from plugreg.settings.definition import SettingDefinition

__all__ = [
    "AssetNotFoundError",
    "CircuitOpenError",
    "CircuitPolicy",
    "CommitUnknownError",
    "EncryptionError",
    "InstallError",
    "IsolationError",
    "LoadReport",
    "MissingExtraError",
    "NotReadyYet",
    "Outcome",
    "Plugin",
    "PluginActiveError",
    "PluginBlockedError",
    "PluginBusyError",
    "PluginDiedError",
    "PluginFailure",
    "PluginFaultError",
    "PluginMandatoryError",
    "PluginNotActiveError",
    "PluginNotBoundError",
    "PluginNotFoundError",
    "PluginRaisedError",
    "PluginRecord",
    "PluginRegistry",
    "PluginRequiredError",
    "PluginSlugError",
    "PluginState",
    "PluginTimeoutError",
    "PlugregError",
    "ProbeFailedError",
    "ProbeOutcome",
    "ProbeReport",
    "ProbeUnavailableError",
    "ProbedSetting",
    "RecordCorruptError",
    "RegistryBusyError",
    "RegistryNotReady",
    "RequirementError",
    "SettingDefinition",
    "SettingError",
    "Stage",
    "StorageCorruptError",
    "StorageError",
    "StorageFormatError",
    "StorageLockedError",
    "StorageURLError",
    "StorageUnavailableError",
    "UnknownHookError",
    "ValueNotSentError",
    "hookimpl",
    "hookspec",
]

if not TYPE_CHECKING:
    # What few programs name is imported when it is asked for.
    __getattr__ = lazy_names(
        __name__,
        {
            "_calls.circuits": "CircuitPolicy",
            "_calls.outcome": "Outcome",
            "_state.probe_report": " ".join(name for name in __all__ if name.startswith("Probe")),
            "records": "LoadReport PluginFailure PluginRecord PluginState Stage",
            "settings.definition": "SettingDefinition",
            "exceptions": " ".join(__all__),
        },
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
