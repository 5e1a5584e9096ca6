"""Install and uninstall the distributions of plugins without ever harming the host.

A host passes a ``PipInstaller`` or a ``UvInstaller``, with an ``InstallPolicy``, to its registry.
``registry.packages`` does the rest. A change that fails is rolled back from copies of the files.
"""

from plugreg.install.audit import AuditEntry
from plugreg.install.installer import Installed, Installer
from plugreg.install.packages import Packages
from plugreg.install.pip import PipInstaller
from plugreg.install.plan import Change, InstallPlan, Refusal, Target
from plugreg.install.policy import InstallPolicy
from plugreg.install.reports import InstallReport, UninstallReport
from plugreg.install.safeguard import Interrupted
from plugreg.install.uv import UvInstaller

__all__ = [
    "AuditEntry",
    "Change",
    "InstallPlan",
    "InstallPolicy",
    "InstallReport",
    "Installed",
    "Installer",
    "Interrupted",
    "Packages",
    "PipInstaller",
    "Refusal",
    "Target",
    "UninstallReport",
    "UvInstaller",
]
