"""Protocol of the installers, with drivers for pip and uv."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from plugreg.install.environment import Environment
    from plugreg.install.plan import InstallPlan, Target
    from plugreg.install.policy import InstallPolicy

Progress = Callable[[str], object]
"""Receives each line of an installer's output as it is written, without credentials."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Installed:
    """An installed distribution.

    Args:
        name: Canonical name.
        version: Version in its metadata.
        location: Folder that contains it.
        installer: Content of its file INSTALLER, "" if there is none.
    """

    name: str
    version: str
    location: str = ""
    installer: str = ""


class Installer(Protocol):
    """Installs distributions into the environment of this interpreter, and removes them.

    Each method raises an InstallError (see :mod:`plugreg.install.exceptions`) if it fails. An
    installer does not roll back: the caller restores the environment.
    """

    @property
    def policy(self) -> InstallPolicy:
        """The policy of the host."""

    @property
    def environment(self) -> Environment:
        """The environment that is changed."""

    @property
    def plugins_file(self) -> PathLike[str] | str | None:
        """The file that lists the installed plugins, None without one."""

    def plan(self, target: Target, group: str, others: Collection[str] = ()) -> InstallPlan:
        """Return the changes that an installation would make, without making them.

        Nothing outside temporary folders is touched.

        Args:
            target: The requirement to install.
            group: Entry-point group of the registry's plugins.
            others: Requirements (name and specifier) of installed distributions that may change
                too, within their specifiers. Every other distribution stays as it is.

        Returns:
            The plan, with the refusals of the policy.

        Raises:
            InstallError: If the installer finds no plan.
        """

    def install(self, plan: InstallPlan, progress: Progress | None = None) -> str:
        """Make exactly the changes of an allowed plan.

        Args:
            plan: The plan, which has no refusals.
            progress: Receives each line of output.

        Returns:
            The output of the installer, without credentials.

        Raises:
            InstallError: If the installer fails. The environment may be half changed.
        """

    def uninstall(self, names: Sequence[str], progress: Progress | None = None) -> str:
        """Remove distributions.

        Args:
            names: Canonical names.
            progress: Receives each line of output.

        Returns:
            The output of the installer, without credentials.

        Raises:
            InstallError: If the installer fails. The environment may be half changed.
        """

    def show(self, name: str) -> Installed | None:
        """Return an installed distribution.

        Args:
            name: Its canonical name.

        Returns:
            The distribution as it is now, None if it is not installed.
        """
