"""Reports of changes, and of what an environment has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from plugreg.install.plan import Change, InstallPlan
from plugreg.records import PluginFailure


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
        rolled_back: Failure of a plugin that was in service before and was not any more, so that
            the earlier generation serves again; None if there was none.
        reasons: Sentences about a failure.
        output: Output of the installer without credentials, or the reasons if there is none.
    """

    plan: InstallPlan | None = None
    distribution: str
    success: bool
    version: str = ""
    location: str = ""
    plugins: tuple[str, ...] = ()
    rolled_back: PluginFailure | None = None
    reasons: tuple[str, ...] = ()
    output: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class UninstallReport:
    """Result of a removal.

    Args:
        distribution: Canonical name.
        changes: The distributions that were removed.
        plugins: Slugs of the plugins that were removed with them.
        output: Empty; kept for readers of earlier reports.
    """

    distribution: str
    changes: tuple[Change, ...]
    plugins: tuple[str, ...]
    output: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation:
    """A complete set of distributions that plugins need and the host does not have.

    Args:
        number: Its number; a later generation has a higher one.
        created: When it was made, an aware time in UTC; None if that is unknown.
        distributions: Versions by canonical name.
        plugins: Sorted slugs of the plugins in it.
        serving: Whether it is the one in service.
    """

    number: int
    created: datetime | None
    distributions: Mapping[str, str]
    plugins: tuple[str, ...]
    serving: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Outdated:
    """A distribution of the environment of which the index has a later release.

    Args:
        distribution: Canonical name.
        installed: Installed version.
        latest: Latest version that suits the policy and this interpreter, None if unknown.
        yanked: Why the installed release was withdrawn, "" without a reason; None if it was not.
        slugs: Sorted slugs of the plugins that it provides.
        asked: When the index was asked, an aware time in UTC.
    """

    distribution: str
    installed: str
    latest: str | None
    yanked: str | None
    slugs: tuple[str, ...]
    asked: datetime
