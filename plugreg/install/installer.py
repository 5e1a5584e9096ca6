"""Protocol of the installers, with drivers for pip and uv."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from plugreg.install.plan import Pin, Target
    from plugreg.install.policy import InstallPolicy

Progress = Callable[[str], object]
"""Receives each line of an installer's output as it is written, without credentials."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """The releases of a distribution on an index.

    Args:
        version: Latest release that the policy and this interpreter accept, or None.
        yanked: Why the installed release was withdrawn, "" without a reason; None if it was not.
    """

    version: str | None
    yanked: str | None = None


class Installer(Protocol):
    """Resolves distributions beside the host's environment, and stages them in a folder.

    The host's environment is read and never written. Each method raises an InstallError (see
    :mod:`plugreg.install.exceptions`) if it fails.
    """

    @property
    def environment(self) -> Path:
        """The folder of generations, an absolute path; it may not exist yet."""

    @property
    def policy(self) -> InstallPolicy:
        """The policy of the host."""

    @property
    def plugins_file(self) -> PathLike[str] | str | None:
        """The file that lists the installed plugins, or None."""

    @property
    def keep(self) -> int:
        """Number of generations that are kept beside the current generation."""

    @property
    def lock_timeout(self) -> float:
        """Seconds that a change waits for another change."""

    def resolve(
        self,
        targets: Sequence[Target],
        *,
        beside: Path | None = None,
        constraints: Sequence[str] = (),
        folder: Path | None = None,
        progress: Progress | None = None,
        isolate: bool = False,
    ) -> tuple[Pin, ...]:
        """Return the distributions that must be fetched to satisfy targets.

        Every distribution of the host's environment counts as installed and stays as it is. Those
        in *beside* count as installed too, except the targets: these get the latest version that
        suits.

        Args:
            targets: The requirements.
            beside: Folder of a generation.
            constraints: Requirements (name, extras, specifier) that bind whatever is chosen. Those
                of distributions in *beside* are required, with all that they require.
            folder: An empty folder into which the distributions are staged at once, as by `stage`.
            progress: Receives each line of output.
            isolate: Whether the host's distributions neither count as installed nor bind, except
                plugreg itself. It is given only where it is True.

        Returns:
            Exactly one version of each distribution that is neither in the host's environment
            nor, in this version, in *beside*; sorted by name.

        Raises:
            InstallConflictError: If no set of versions satisfies all requirements. Its
                ``conflicts`` name both sides and the chain of requirements.
            InstallError: If the installer fails otherwise.
        """

    def stage(
        self,
        pins: Sequence[Pin],
        folder: Path,
        *,
        targets: Sequence[Target] = (),
        progress: Progress | None = None,
    ) -> None:
        """Unpack exactly these distributions, without dependencies, into an empty folder.

        Modules and metadata lie directly in the folder, scripts in its ``bin``, data files where
        their names say. Each RECORD lists its files relative to the folder. A file whose hash is
        not that of its pin is refused. Nothing outside the folder and temporary folders is
        written.

        Args:
            pins: The distributions.
            folder: An empty folder.
            targets: The requirements that have URLs or an index, for their credentials.
            progress: Receives each line of output.

        Raises:
            InstallError: If the installer fails. The folder may then contain anything.
        """

    def latest(self, installed: Mapping[str, str]) -> Mapping[str, Release]:
        """Return the releases of distributions on the index; unknown distributions are left out.

        Args:
            installed: Versions by canonical name.

        Raises:
            InstallError: If the index does not answer.
        """
