"""Why a distribution could not be installed or removed, one class for each reason.

Each is an InstallError, whose ``reasons`` are sentences and the installer's own last lines,
without credentials. ``report`` tells what became of the environment, where it was touched.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from plugreg.exceptions import InstallError

if TYPE_CHECKING:
    from plugreg.install.plan import InstallPlan

__all__ = [
    "BuildFailedError",
    "ExternallyManagedError",
    "InstallBusyError",
    "InstallConflictError",
    "InstallPermissionError",
    "InstallRefusedError",
    "InstallSpaceError",
    "InstallTimeoutError",
    "InstallerMissingError",
    "NotAPluginError",
    "PythonMismatchError",
]


class InstallRefusedError(InstallError):
    """The policy forbids what would be done; ``plan`` has the refusals. Nothing was touched."""

    def __init__(self, plan: InstallPlan) -> None:
        super().__init__(refusal.reason for refusal in plan.refusals)
        self.plan = plan

    def __reduce__(self) -> tuple[type[InstallRefusedError], tuple[InstallPlan]]:
        return type(self), (self.plan,)


class InstallerMissingError(InstallError):
    """pip is not in this environment, or uv is nowhere on the path."""


class ExternallyManagedError(InstallError):
    """The environment belongs to the system's own package manager (PEP 668)."""


class InstallPermissionError(InstallError):
    """Our process may not write to the environment."""


class InstallSpaceError(InstallError):
    """There is no room on the disk."""


class InstallConflictError(InstallError):
    """No set of versions suits all; ``conflicts`` are the installer's lines on which do not."""

    def __init__(self, reasons: Iterable[str], conflicts: Iterable[str] = ()) -> None:
        super().__init__(reasons)
        self.conflicts = tuple(conflicts)
        self.args = (self.reasons, self.conflicts)


class BuildFailedError(InstallError):
    """The distribution has no wheel for this interpreter, and could not be built."""


class PythonMismatchError(InstallError):
    """The distribution is for other versions of Python than this interpreter's."""


class InstallTimeoutError(InstallError):
    """The installer took more than ``seconds`` and was ended."""

    def __init__(self, reasons: Iterable[str], seconds: float = 0.0) -> None:
        super().__init__(reasons)
        self.seconds = seconds
        self.args = (self.reasons, self.seconds)


class NotAPluginError(InstallError):
    """The distribution brings no plugin of this registry's group."""


class InstallBusyError(InstallError):
    """Another process is changing this environment; ``lock`` is the file that it holds."""

    def __init__(self, reasons: Iterable[str], lock: str = "") -> None:
        super().__init__(reasons)
        self.lock = lock
        self.args = (self.reasons, self.lock)
