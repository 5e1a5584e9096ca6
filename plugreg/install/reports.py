"""What came of an installation, or of a removal."""

from __future__ import annotations

from dataclasses import dataclass, field

from plugreg.install.plan import Change, InstallPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class InstallReport:
    """What an installation came to.

    ``success`` says that the distribution is there and its plugins can be discovered in this
    interpreter; ``version`` and ``location`` are then its own. ``plugins`` are the slugs, in
    alphabetical order, of all plugins that it and what came with it bring. Otherwise
    ``reasons`` are sentences on why not, and ``restored`` says that the environment, if it was
    touched at all, is as it was before. ``plan`` is what was carried out, None where none could be
    made; ``output`` what the installer told, without credentials, or the reasons where it told
    nothing.
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
    """What a removal came to: distributions that are gone, plugins that went, words of it."""

    distribution: str
    changes: tuple[Change, ...]
    plugins: tuple[str, ...]
    output: str = field(repr=False)
