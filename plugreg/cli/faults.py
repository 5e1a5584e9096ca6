"""Faults of commands: messages and exit codes.

Only this module maps exceptions to exit codes.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

import click

from plugreg._support.frozen import NamedTuple
from plugreg.exceptions import PluginNotFoundError, PlugregError

FINE: Final = 0
NO: Final = 1
"""The answer is no, or an operation failed."""
USAGE: Final = 2
DIFFERENT: Final = 2
"""``apply --plan`` found a difference."""
UNKNOWN: Final = 3
"""A plugin is not known."""
REFUSED: Final = 4
"""Policy, a mandatory plugin, plugins that need it, or no consent."""
UNAVAILABLE: Final = 5
"""The store, a lock or the host is not available."""
INTERRUPTED: Final = 130


class Fault(NamedTuple):
    """Why a command failed.

    Args:
        exit_code: The exit code.
        code: Name of the kind of fault, for programs.
        message: The fault, in a line.
        remedy: The remedy, in a line, or an empty string.
    """

    exit_code: int
    code: str
    message: str
    remedy: str = ""


class CommandError(PlugregError):
    """A command cannot do its work.

    Args:
        fault: The fault.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault

    def __str__(self) -> str:
        return self.fault.message


def _maker(exit_code: int, usual: str) -> Callable[..., CommandError]:
    """Return a function that makes the errors with this exit code, whose usual code is *usual*."""

    def make(message: str, remedy: str = "", *, code: str = usual) -> CommandError:
        return CommandError(Fault(exit_code, code, message, remedy))

    return make


no: Final = _maker(NO, "failed")
usage: Final = _maker(USAGE, "usage")
unknown: Final = _maker(UNKNOWN, "unknown-plugin")
refused: Final = _maker(REFUSED, "refused")
unavailable: Final = _maker(UNAVAILABLE, "host")


_RULES: Final = MappingProxyType(
    {
        "PluginNotFoundError": (UNKNOWN, "unknown-plugin"),
        "NoPluginError": (UNKNOWN, "unknown-plugin"),
        "PluginRequiredError": (REFUSED, "needed"),
        "PluginMandatoryError": (REFUSED, "mandatory"),
        "PluginBlockedError": (REFUSED, "blocked"),
        "PluginActiveError": (REFUSED, "active"),
        "PluginSlugError": (REFUSED, "slug"),
        "InstallRefusedError": (REFUSED, "policy"),
        "InstallBusyError": (UNAVAILABLE, "locked"),
        "ProbeFailedError": (NO, "probe"),
        "ProbeUnavailableError": (NO, "probe"),
        "RequirementError": (USAGE, "requirement"),
        "SettingError": (NO, "setting"),
        "InstallError": (NO, "install"),
        "RecordCorruptError": (UNAVAILABLE, "damaged-row"),
        "StorageLockedError": (UNAVAILABLE, "locked"),
        "StorageError": (UNAVAILABLE, "store"),
        "RegistryBusyError": (UNAVAILABLE, "busy"),
        "MissingExtraError": (UNAVAILABLE, "missing-extra"),
        "PlugregError": (NO, "failed"),
        "OSError": (NO, "system"),
    }
)
"""Exit code and name by the name of an exception's class; that of the nearest class counts.

Names, because importing the classes would import modules that most commands do not need.
"""

_REMEDIES: Final = MappingProxyType(
    {
        "PluginRequiredError": "deactivate them first, or add --cascade",
        "ProbeFailedError": (
            "repair it, see its output with: plugreg probe SLUG; or activate it with --no-probe"
        ),
        "ProbeUnavailableError": "activate it with --no-probe",
    }
)
"""Remedies by the name of a class, where its message has none for a shell."""


def fault_of(error: BaseException) -> Fault:
    """Return the fault that an exception stands for.

    Args:
        error: Any exception, including plugreg's own faults.
    """
    if isinstance(error, CommandError):
        return error.fault
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return Fault(INTERRUPTED, "interrupted", "interrupted")
    if isinstance(error, click.UsageError):
        context = error.ctx
        message, _, remedy = error.format_message().partition("; ")
        help_of = "" if context is None else f"see: {context.command_path} --help"
        return Fault(USAGE, "usage", message, remedy or help_of)
    if isinstance(error, click.ClickException):
        return Fault(NO, "failed", error.format_message())
    name = next((cls.__name__ for cls in type(error).__mro__ if cls.__name__ in _RULES), None)
    if name is None:
        message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return Fault(NO, "unexpected", " ".join(message.split()), "add --debug to see where")
    message, remedy = split(error)
    if isinstance(error, PluginNotFoundError) and not error.hint:
        remedy = f"see: plugreg list; or look further: plugreg why {error.slug}"
    slug = getattr(getattr(error, "report", None), "slug", "SLUG")
    return Fault(*_RULES[name], message, _REMEDIES.get(name, remedy).replace("SLUG", slug))


def split(error: BaseException) -> tuple[str, str]:
    """Return the message of an exception, and the remedy behind its first semicolon.

    Args:
        error: The exception.
    """
    message, _, remedy = " ".join(str(error).split()).partition("; ")
    return message, remedy
