"""Faults of commands: messages and exit codes.

Only this module maps exceptions to exit codes.
"""

from __future__ import annotations

from typing import Final

import click

from plugreg._support.frozen import NamedTuple
from plugreg.exceptions import PlugregError

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


def no(message: str, remedy: str = "", *, code: str = "failed") -> CommandError:
    """Return the error of a command whose answer is no.

    Args:
        message: The fault, in one line.
        remedy: The remedy, in one line.
        code: Name of the kind of fault, for programs.
    """
    return CommandError(Fault(NO, code, message, remedy))


def usage(message: str, remedy: str = "") -> CommandError:
    """Return the error of a command that was given wrong arguments.

    Args:
        message: The fault, in one line.
        remedy: The remedy, in one line.
    """
    return CommandError(Fault(USAGE, "usage", message, remedy))


def unknown(slug: str, remedy: str) -> CommandError:
    """Return the error of a command that was given an unknown plugin.

    Args:
        slug: The slug.
        remedy: The remedy, in one line.
    """
    message = f"plugin {slug!r} is not known here"
    return CommandError(Fault(UNKNOWN, "unknown-plugin", message, remedy))


def refused(message: str, remedy: str = "", *, code: str = "refused") -> CommandError:
    """Return the error of a command that is refused.

    Args:
        message: The fault, in one line.
        remedy: The remedy, in one line.
        code: Name of the kind of fault, for programs.
    """
    return CommandError(Fault(REFUSED, code, message, remedy))


def unavailable(message: str, remedy: str = "") -> CommandError:
    """Return the error of a command whose host or store is not available.

    Args:
        message: The fault, in one line.
        remedy: The remedy, in one line.
    """
    return CommandError(Fault(UNAVAILABLE, "host", message, remedy))


_RULES: Final = (
    ("PluginNotFoundError", UNKNOWN, "unknown-plugin", None),
    ("PluginRequiredError", REFUSED, "needed", "deactivate them first, or add --cascade"),
    ("PluginMandatoryError", REFUSED, "mandatory", None),
    ("PluginBlockedError", REFUSED, "blocked", None),
    ("PluginActiveError", REFUSED, "active", None),
    ("PluginSlugError", REFUSED, "slug", None),
    ("InstallRefusedError", REFUSED, "policy", None),
    ("InstallBusyError", UNAVAILABLE, "locked", None),
    (
        "ProbeFailedError",
        NO,
        "probe",
        "repair it, see its output with: plugreg probe SLUG; or activate it with --no-probe",
    ),
    ("ProbeUnavailableError", NO, "probe", "activate it with --no-probe"),
    ("RequirementError", USAGE, "requirement", None),
    ("SettingError", NO, "setting", None),
    ("InstallError", NO, "install", None),
    ("RecordCorruptError", UNAVAILABLE, "damaged-row", None),
    ("StorageLockedError", UNAVAILABLE, "locked", None),
    ("StorageError", UNAVAILABLE, "store", None),
    ("RegistryBusyError", UNAVAILABLE, "busy", None),
    ("MissingExtraError", UNAVAILABLE, "missing-extra", None),
    ("PlugregError", NO, "failed", None),
    ("OSError", NO, "system", None),
)
"""Exit code, name and remedy by the name of an exception's class; the first that fits counts.

Names, because importing the classes would import modules that most commands do not need. An entry
without a remedy uses that of the message, after its first semicolon.
"""


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
        message, _, rest = error.format_message().partition("; ")
        return Fault(USAGE, "usage", message, rest or _help_of(error))
    if isinstance(error, click.ClickException):
        return Fault(NO, "failed", error.format_message())
    names = {cls.__name__ for cls in type(error).__mro__}
    for name, exit_code, code, own in _RULES:
        if name in names:
            message, _, rest = " ".join(str(error).split()).partition("; ")
            if code == "unknown-plugin" and not getattr(error, "hint", ""):
                rest = (
                    f"see: plugreg list; or look further: plugreg why {getattr(error, 'slug', '')}"
                )
            slug = getattr(getattr(error, "report", None), "slug", "SLUG")
            return Fault(exit_code, code, message, (own or rest).replace("SLUG", slug))
    message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return Fault(NO, "unexpected", " ".join(message.split()), "add --debug to see where")


def _help_of(error: click.UsageError) -> str:
    return f"see: {error.ctx.command_path} --help" if error.ctx is not None else ""
