"""A plugin registry on pluggy: which plugins there are, which are on, and what went wrong.

PYTEST_DONT_REWRITE: pytest rewrites the packages of whoever brings a plugin for it, and warns where
one is imported already.
"""

from typing import TYPE_CHECKING

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
else:

    def __getattr__(name: str) -> object:
        # PEP 562: what few programs name is imported when it is asked for.
        if name == "CircuitPolicy":
            from plugreg._calls import circuits as module
        elif name == "SettingDefinition":
            from plugreg.settings import definition as module
        elif name == "Outcome":
            from plugreg._calls import outcome as module
        elif name in ("LoadReport", "PluginFailure", "PluginRecord", "PluginState", "Stage"):
            from plugreg import records as module
        elif name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        elif name.startswith("Probe"):
            from plugreg._state import probe_report as module
        else:
            from plugreg import exceptions as module
        return getattr(module, name)


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


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
