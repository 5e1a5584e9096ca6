"""Reports of installations and removals."""

from __future__ import annotations

from dataclasses import dataclass, field

from plugreg.install.plan import Change, InstallPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class InstallReport:
    """Result of an installation.

    Args:
        plan: The plan that was carried out, None if none could be made.
        distribution: Canonical name.
        success: Whether it is installed and its plugins can be discovered in this interpreter.
        version: Installed version, "" without success.
        location: Folder that contains it, "" without success.
        plugins: Sorted slugs of all plugins that it and its new dependencies provide.
        restored: Whether the environment, if touched, is as it was before a failure.
        reasons: Sentences about a failure.
        output: Output of the installer without credentials, or the reasons if there is none.
    """

    plan: InstallPlan | None = None
    distribution: str
    success: bool
    version: str = ""
    location: str = ""
    plugins: tuple[str, ...] = ()
    restored: bool = True
    reasons: tuple[str, ...] = ()
    output: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class UninstallReport:
    """Result of a removal.

    Args:
        distribution: Canonical name.
        changes: The distributions that were removed.
        plugins: Slugs of the plugins that were removed with them.
        output: Output of the installer, without credentials.
    """

    distribution: str
    changes: tuple[Change, ...]
    plugins: tuple[str, ...]
    output: str = field(repr=False)
