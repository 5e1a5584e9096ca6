"""Errors of installing and removing distributions, with a class for each cause.

Each is an InstallError. Its ``reasons`` are sentences and the installer's own last lines, without
credentials. Its ``report`` describes the environment afterwards, where that was touched.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

from plugreg.exceptions import InstallError

if TYPE_CHECKING:
    from plugreg.install.plan import InstallPlan


class InstallRefusedError(InstallError):
    """Raised for a plan that the policy forbids. Nothing was touched.

    Args:
        plan: The refused plan, kept as ``plan``. Its refusals become the ``reasons``.
    """

    def __init__(self, plan: InstallPlan) -> None:
        super().__init__(refusal.reason for refusal in plan.refusals)
        self.plan = plan

    def __reduce__(self) -> tuple[type[InstallRefusedError], tuple[InstallPlan]]:
        return type(self), (self.plan,)


class InstallerMissingError(InstallError):
    """Raised if pip is not in this environment, or uv is nowhere on the path."""


class InstallPermissionError(InstallError):
    """Raised if this process may not write to the environment."""


class InstallSpaceError(InstallError):
    """Raised if the disk has no space left."""


class InstallConflictError(InstallError):
    """Raised if no set of versions satisfies all requirements.

    Args:
        reasons: Sentences, and the installer's own last lines.
        conflicts: The lines that name the conflicting requirements.
    """

    def __init__(self, reasons: Iterable[str], conflicts: Iterable[str] = ()) -> None:
        super().__init__(reasons)
        self.conflicts = tuple(conflicts)
        self.args = (self.reasons, self.conflicts)


class BuildFailedError(InstallError):
    """Raised if no wheel suits this interpreter and a build failed."""


class PythonMismatchError(InstallError):
    """Raised if the distribution does not support this version of Python."""


class InstallTimeoutError(InstallError):
    """Raised if the installer reached its timeout. Its process was ended.

    Args:
        reasons: Sentences, and the installer's own last lines.
        seconds: The timeout.
    """

    def __init__(self, reasons: Iterable[str], seconds: float = 0.0) -> None:
        super().__init__(reasons)
        self.seconds = seconds
        self.args = (self.reasons, self.seconds)


class InstallBusyError(InstallError):
    """Raised if another process is changing this environment.

    Args:
        reasons: Sentences about the change in progress.
        lock: Path of the lock file that the other process holds.
    """

    def __init__(self, reasons: Iterable[str], lock: str = "") -> None:
        super().__init__(reasons)
        self.lock = lock
        self.args = (self.reasons, self.lock)


def __getattr__(name: str) -> type[InstallError]:
    """Return the replacement of a class of plugreg 0.1 (PEP 562)."""
    successors = {"ExternallyManagedError": InstallError, "NotAPluginError": InstallRefusedError}
    if name not in successors:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    successor = successors[name]
    message = f"{name} is not raised any more; catch {successor.__name__}"
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    return successor
