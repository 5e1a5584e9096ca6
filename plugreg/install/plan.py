"""Plans of installations, made before any change, and reports of their results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from plugreg.records import PluginFailure


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A requirement that was checked and may be passed to an installer.

    ``text``, ``url`` and ``index_url`` may contain credentials. The repr hides them; a pickle or
    a copy of the target, or of a plan with it, does not.

    Args:
        text: Requirement (PEP 508) or URL of a repository, as an installer receives it.
        shown: The same without credentials, for output.
        name: Canonical name in the requirement, None for a URL alone.
        line: Line for a requirements file, without credentials; "" for a name alone.
        url: URL of the distribution, if the requirement has a URL.
        index_url: Index to use instead of the configured index.
        secrets: The credentials.
    """

    text: str = field(repr=False)
    shown: str
    name: str | None
    line: str = ""
    url: str | None = field(default=None, repr=False)
    index_url: str | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pin:
    """An exact version of a distribution, and the file or commit that it comes from.

    Args:
        name: Canonical name.
        version: Its version.
        source: URL of the file or commit, without credentials; None if unknown.
        sha256: Hash of that file in hexadecimal; None if unknown.
        size: Bytes of that file; None if unknown.
        direct: Whether a requirement names that URL, so that no index was used.
    """

    name: str
    version: str
    source: str | None = None
    sha256: str | None = None
    size: int | None = None
    direct: bool = False


def pin_of(target: Target, pins: Iterable[Pin]) -> Pin | None:
    """Return the pin that a target asks for, None if there is none.

    Args:
        target: The target. A URL alone is compared with the sources of direct pins.
        pins: The pins, in any order.
    """
    for pin in pins:
        is_place = pin.direct and _place(target.url or "") == _place(pin.source or "")
        if pin.name == target.name or (target.name is None and is_place):
            return pin
    return None


def _place(url: str) -> tuple[str, str]:
    """Return repository and folder of a URL, without credentials and revision."""
    address, _, fragment = url.partition("#")
    scheme, _, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    folders = (part for part in fragment.split("&") if part.startswith("subdirectory="))
    where = f"{scheme}://{host.rpartition('@')[2]}{slash}{path.rpartition('@')[0] or path}"
    return where, next(folders, "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """The content of a generation, as in its ``pylock.toml``.

    Args:
        pins: All its distributions, sorted by name.
        asked: Requirement lines, without credentials, by canonical name of the requested
            distribution.
        created: When it was staged, an aware time in UTC.
    """

    pins: tuple[Pin, ...] = ()
    asked: Mapping[str, str] = field(default_factory=dict)
    created: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A distribution that would be added, changed or removed.

    Args:
        name: Canonical name.
        before: Installed version, None if it would be added.
        after: New version, None if it would be removed.
        source: As in :class:`Pin`, like the next three.
        sha256: Hash of the file.
        size: Bytes of the file.
        direct: Whether a requirement names its URL.
        plugins: Names of its entry points in the registry's group.
        entry_points: Its other entry-point groups that a library imports by itself
            (``pydantic``).
    """

    name: str
    before: str | None
    after: str | None
    source: str | None = None
    sha256: str | None = None
    size: int | None = None
    direct: bool = False
    plugins: tuple[str, ...] = ()
    entry_points: tuple[str, ...] = ()

    @classmethod
    def of(cls, pin: Pin, **more: Any) -> Change:
        """Return the change that installs a pin; *more* are the other fields."""
        facts = {name: getattr(pin, name) for name in ("name", *_OF_A_FILE)}
        return cls(**{"before": None, "after": pin.version, **facts, **more})

    def pin(self) -> Pin:
        """Return the distributions that it installs."""
        facts = {name: getattr(self, name) for name in _OF_A_FILE}
        return Pin(name=self.name, version=self.after or "", **facts)

    @property
    def kind(self) -> Literal["add", "change", "remove"]:
        """The kind of change; a reinstallation is a ``change``."""
        if self.before is None:
            return "add"
        return "remove" if self.after is None else "change"


_OF_A_FILE = ("source", "sha256", "size", "direct")


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """A reason that forbids a plan.

    Args:
        rule: Field of :class:`plugreg.install.policy.InstallPolicy`, or a fixed rule.
            ``environment``: installed distributions stay as they are, and new distributions bring
            only files of their own. ``plugin``: the distribution provides a plugin of this
            registry, whose slug no other distribution has. ``conflict``: no set of versions
            satisfies all requirements.
        reason: A sentence.
    """

    rule: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class InstallPlan:
    """The changes that installing a target would make. Making a plan touches nothing.

    A pickle of it contains the credentials of its target.

    Args:
        target: The requested target.
        distribution: Canonical name of the requested distribution, None if a URL does not show
            it and nothing was looked up.
        changes: All changes, sorted by name. Empty if the distribution is installed already, or
            if a refusal was known before the installer ran.
        refusals: Reasons that forbid the plan.
        plugins: Names of the new entry points in the registry's group, None if unknown.
        data_files: Files outside the folders of modules and scripts, such as
            ``share/icons/tea.svg``, relative to the generation. A refused plan may lack some.
        scripts: Sorted names of the programs that would be installed.
        environment: Digest of the distributions that were installed when the plan was made, None
            if unknown. The plan is carried out only in the same environment.
        isolated: Slug of the plugin that gets an environment of its own, None for the shared
            environment.
    """

    target: Target
    distribution: str | None
    changes: tuple[Change, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    plugins: tuple[str, ...] | None = None
    data_files: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    environment: str | None = None
    isolated: str | None = None

    @property
    def requirement(self) -> str:
        """The requested requirement, without credentials."""
        return self.target.shown

    @property
    def allowed(self) -> bool:
        """Whether the plan has no refusals."""
        return not self.refusals

    @property
    def pins(self) -> tuple[Pin, ...]:
        """The distributions that it would install."""
        return tuple(change.pin() for change in self.changes if change.after is not None)


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
        number: Its number; a later generation has a higher number.
        created: When it was made, an aware time in UTC; None if that is unknown.
        distributions: Versions by canonical name.
        plugins: Sorted slugs of the plugins in it.
        serving: Whether it is the current generation.
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
