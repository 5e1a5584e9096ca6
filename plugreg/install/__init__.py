"""Install the distributions of plugins beside the host's packages, never among them.

A host passes a ``PipInstaller`` or a ``UvInstaller``, with a folder and an ``InstallPolicy``, to
its registry. ``registry.packages`` does the rest: it builds the next generation of the folder
aside, checks and probes it, and swaps it in by replacing one small file.
"""

from plugreg.install.audit import AuditEntry
from plugreg.install.installer import Installer, Release
from plugreg.install.packages import Packages
from plugreg.install.pip import PipInstaller
from plugreg.install.plan import (
    Change,
    Generation,
    InstallPlan,
    InstallReport,
    Outdated,
    Pin,
    Refusal,
    Target,
    UninstallReport,
)
from plugreg.install.policy import InstallPolicy
from plugreg.install.uv import UvInstaller

__all__ = [
    "AuditEntry",
    "Change",
    "Generation",
    "InstallPlan",
    "InstallPolicy",
    "InstallReport",
    "Installer",
    "Outdated",
    "Packages",
    "Pin",
    "PipInstaller",
    "Refusal",
    "Release",
    "Target",
    "UninstallReport",
    "UvInstaller",
]
