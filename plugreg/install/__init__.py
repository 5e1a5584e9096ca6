"""Installing and uninstalling the distributions of plugins, with an installer of the host's."""

from plugreg.install.installer import Installed, Installer
from plugreg.install.packages import InstallReport, Packages

__all__ = ["InstallReport", "Installed", "Installer", "Packages"]
