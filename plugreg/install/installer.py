"""What installs distributions: a contract, filled by the host (behaviour.md, section 8.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Installed:
    """A distribution that is there: its name and version, and the folder it lies in."""

    name: str
    version: str
    location: str = ""
    output: str = field(default="", repr=False)
    """What the installer told while it worked."""


class Installer(Protocol):
    """Puts distributions into the environment of this interpreter, and takes them out again.

    Each method raises InstallError when that cannot be done; the environment is then as it was.
    A requirement has been parsed before and is never an option or several ones.
    """

    def install(self, requirement: str, index_url: str | None) -> Installed:
        """Install or upgrade what a requirement of PEP 508, or the URL of a repository, names."""

    def uninstall(self, distribution: str) -> str:
        """Remove a distribution and return what was told while that was done."""

    def show(self, distribution: str) -> Installed | None:
        """Return a distribution that is there, None for another."""
