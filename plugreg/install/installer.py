"""What installs distributions: a contract, with drivers for pip and uv.

behaviour.md, section 8.1.
"""

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
"""Is given each line that an installer writes, as it comes, without credentials."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Installed:
    """A distribution that is there: its name and version, and the folder it lies in.

    ``installer`` is who says that it put it there (the file INSTALLER), "" where nobody does.
    """

    name: str
    version: str
    location: str = ""
    installer: str = ""


class Installer(Protocol):
    """Puts distributions into the environment of this interpreter, and takes them out again.

    Each verb raises an InstallError (see :mod:`plugreg.install.exceptions`) when it cannot be done.
    What was begun is left as it is then: whoever calls puts the environment back.
    """

    @property
    def policy(self) -> InstallPolicy:
        """What the host allows."""

    @property
    def environment(self) -> Environment:
        """Where distributions are put."""

    @property
    def plugins_file(self) -> PathLike[str] | str | None:
        """The file that lists what was installed, None without one."""

    def plan(self, target: Target, group: str, others: Collection[str] = ()) -> InstallPlan:
        """Find out what installing ``target`` would do. Touches nothing but folders of its own.

        ``group`` is the group of entry points that plugins of the registry have. ``others`` are
        requirements (name and specifier) of distributions that may change too where that is
        needed, as far as it suits them; all else that is installed stays as it is.
        """

    def install(self, plan: InstallPlan, progress: Progress | None = None) -> str:
        """Carry out exactly the changes of a plan that is allowed; return what was told."""

    def uninstall(self, names: Sequence[str], progress: Progress | None = None) -> str:
        """Remove distributions, by canonical name; return what was told."""

    def show(self, name: str) -> Installed | None:
        """Return a distribution that is there now, None where it is not."""
