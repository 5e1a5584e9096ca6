"""The values that travel through the house: frozen, and each made by one stage for the next.

Text and numbers only, but for plugin objects and their classes, so that failures, reports and
specs can be pickled. See design.md, sections 2 and 4, for the words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from plugreg._support import guard as _guard
from plugreg._support.names import Slug, has_utf8, near
from plugreg.exceptions import NotReadyYet, PluginNotActiveError, PluginNotFoundError

CircuitState = Literal["closed", "open", "half-open"]
"""``closed`` lets calls through, ``open`` none, ``half-open`` one, on trial."""

EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})
"""A mapping without entries that nobody can fill."""


class PluginState(StrEnum):
    """What the last load made of a plugin. The operator's wish is ``PluginRecord.wanted``."""

    INACTIVE = "inactive"
    ACTIVE = "active"
    FAILED = "failed"
    INCOMPATIBLE = "incompatible"
    BLOCKED = "blocked"
    MISSING = "missing"


class Stage(StrEnum):
    """Where on a plugin's way something went wrong."""

    DISCOVERY = "discovery"
    RESOLVE = "resolve"
    IMPORT = "import"
    INIT = "init"
    ACTIVATE = "activate"
    CALL = "call"
    DEACTIVATE = "deactivate"
    INSTALL = "install"


LOAD_STAGES: Final = frozenset({Stage.RESOLVE, Stage.IMPORT, Stage.INIT, Stage.ACTIVATE})
"""The stages at which a plugin that was found can fail to come into service."""


class Source(StrEnum):
    """Where a plugin was found. The order of the members is the order of precedence."""

    MANUAL = "manual"
    BUILTIN = "builtin"
    SAMPLE = "sample"
    DIRECTORY = "directory"
    ENTRY_POINT = "entry point"
    BROUGHT = "brought"

    @property
    def rank(self) -> int:
        """The place of this source in the order of precedence, 0 first."""
        return _RANKS[self]


_RANKS: Final = MappingProxyType({source: rank for rank, source in enumerate(Source)})


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginFailure:
    """What went wrong with one plugin at one stage, and how often. It is a value, never raised.

    ``slug`` is the plugin, or in discovery the module, file or distribution where there is no
    slug yet. ``subject`` is the hook, mixin or feature concerned, or empty. ``exception_type`` is
    the name of the exception's class with its module (builtins without), or None where no
    exception was raised, and ``traceback`` then empty, as is ``place``: the line of code that
    raised it, after the one by which plugreg's code was left. The times are aware, in UTC.
    ``retry_after`` is in how many seconds a plugin that is not ready yet is tried again, None for
    any other failure.
    """

    stage: Stage
    slug: str
    message: str
    subject: str = ""
    exception_type: str | None = None
    traceback: str = field(default="", repr=False)
    place: str = field(default="", repr=False)
    first_seen: datetime = field(default_factory=_now)
    last_seen: datetime = field(default_factory=_now)
    count: int = 1
    retry_after: float | None = None

    def __post_init__(self) -> None:
        # Names come from plugins and file systems, and a record goes into logs and answers.
        for name in ("slug", "message", "subject"):
            text = _guard.plain(getattr(self, name))
            object.__setattr__(self, name, _guard.cut(text, _guard.LONGEST_MESSAGE))

    @classmethod
    def of(
        cls, stage: Stage, slug: str, error: BaseException, *, subject: str = "", what: str = ""
    ) -> PluginFailure:
        """Make the record of ``error``. ``what`` goes before its message: what was being done."""
        words = _guard.explain(error)
        return cls(
            stage=stage,
            slug=slug,
            message=f"{what}: {words.message}" if what else words.message,
            subject=subject,
            exception_type=words.exception_type,
            traceback=words.traceback,
            place=words.place,
            retry_after=_retry_after(error),
        )

    @classmethod
    def of_call(cls, slug: str, hook: str, error: BaseException) -> PluginFailure:
        """Make the record of what an implementation of ``hook``, or a ``mixin.method``, raised."""
        kind = "method" if "." in hook else "hook"
        return cls.of(Stage.CALL, slug, error, subject=hook, what=f"{kind} {hook!r}")

    @property
    def identity(self) -> tuple[str, ...]:
        """What two records have in common that are the same failure seen twice."""
        told = (self.exception_type, self.place) if self.exception_type else (self.message,)
        return (self.stage, self.slug, self.subject, *told)

    def again(self, newer: PluginFailure) -> PluginFailure:
        """Return ``newer`` as the continuation of this record: first time kept, counts added."""
        return replace(newer, first_seen=self.first_seen, count=self.count + newer.count)


def _retry_after(error: BaseException) -> float | None:
    # A plugin's own subclass of it may say anything.
    if issubclass(type(error), NotReadyYet):
        with _guard.Guard():
            seconds = float(error.retry_after)  # type: ignore[attr-defined]
            return seconds if 0 < seconds < float("inf") else None
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginSpec:
    """A plugin as it was found, before anything of it is imported.

    ``name``, ``value``, ``group`` and ``distribution`` are the words of the entry point
    specification of PyPA; ``distribution`` is the canonical name, ``version`` the one in the
    folder's name. For other sources ``value`` says how the object is reached (``module:attr``).
    ``path`` is the ``dist-info`` folder or the module's file. ``stamp`` differs when the source
    has changed. ``attributes`` are class-level literals known without an import (NAME, TITLE,
    MIN_VERSION …). ``target`` is the object itself where host or plugin gave one, and
    ``brought_by`` the plugin that brought it.
    """

    slug: Slug
    name: str
    value: str
    source: Source
    group: str | None = None
    distribution: str | None = None
    version: str | None = None
    path: str | None = None
    stamp: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict, hash=False)
    target: Any = field(default=None, compare=False, repr=False)
    brought_by: Slug | None = None

    @property
    def sort_key(self) -> tuple[int, str, str, str, str]:
        """The order of precedence: source, then slug, distribution, name and value."""
        return (self.source.rank, self.slug, self.distribution or "", self.name, self.value)

    def stated(self, attribute: str) -> str | None:
        """Return a class-level literal if it is a text that can be shown, else None."""
        value = self.attributes.get(attribute)
        return value if isinstance(value, str) and value and has_utf8(value) else None

    @property
    def module(self) -> str:
        """The dotted name of the module in ``value``, without attribute and extras."""
        return self.value.partition("[")[0].partition(":")[0].strip()

    @property
    def folder(self) -> Path:
        """The folder of plugins that a file or package at ``path`` lies in."""
        file = Path(self.path or "")
        return file.parent.parent if file.name == "__init__.py" else file.parent

    @property
    def origin(self) -> str:
        """A few words that tell a person where this plugin comes from."""
        if self.distribution is not None:
            return f"distribution {self.distribution!r} ({self.value})"
        return f"{self.source} {self.value!r}"


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginFacts:
    """What a plugin's distribution, or its file, says of it without running it.

    Each text may be None. ``requires`` are the ``Requires-Dist`` lines, as written.
    """

    summary: str | None = None
    author: str | None = None
    license: str | None = None
    website: str | None = None
    requires: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Discovery:
    """What the sources gave: specs in order of precedence, and what could not be read."""

    specs: tuple[PluginSpec, ...] = ()
    failures: tuple[PluginFailure, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginRow:
    """What is remembered of a plugin: its number, never used twice, and whether it is to be on.

    ``name`` and ``distribution`` are those of the last load, for plugins that are gone.
    ``is_forgotten`` says that an operator has deleted what was stored: it is off, and counts as
    never seen when plugins are looked for again. ``faults`` are sentences on the rows of the plugin
    that are damaged; it is not loaded while there are any.
    """

    slug: Slug
    pk: int
    active: bool
    name: str
    distribution: str | None = None
    is_forgotten: bool = False
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class HostRules:
    """What the host decides about its plugins.

    ``version`` is the host's, by PEP 440, None for no check; ``distribution`` the canonical name
    of its distribution. ``allowed`` None allows all that is not ``blocked``.
    """

    version: str | None = None
    distribution: str = ""
    mandatory: frozenset[Slug] = frozenset()
    blocked: frozenset[Slug] = frozenset()
    allowed: frozenset[Slug] | None = None
    ignore_compatibility: frozenset[Slug] = frozenset()
    new_plugins_active: bool = False
    safe_mode: bool = False

    def blocks(self, slug: str) -> str | None:
        """Return why the host forbids this plugin, or None."""
        if slug in self.blocked:
            return "is blocked by the host"
        if self.allowed is not None and slug not in self.allowed:
            return "is not among the plugins that the host allows"
        return None

    def wants(self, slug: Slug, wish: PluginRow | None) -> bool:
        """Tell whether the plugin is to be on: mandatory, or so wished."""
        if slug in self.mandatory:
            return True
        return self.new_plugins_active if wish is None else wish.active

    def wished(self, slugs: Iterable[str], wishes: Mapping[Slug, PluginRow]) -> frozenset[str]:
        """Return those of ``slugs`` that are to be on."""
        return frozenset(slug for slug in map(Slug, slugs) if self.wants(slug, wishes.get(slug)))


@dataclass(frozen=True, kw_only=True, slots=True)
class NotLoaded:
    """Why a plugin will not be loaded: its state, and the end of a sentence about it for people."""

    state: PluginState
    reason: str


FAILED: Final = NotLoaded(state=PluginState.FAILED, reason="failed")
"""Why a plugin stays off that failed by itself; what it failed with is told once, in its record."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadPlan:
    """What is to be loaded, in which order, and why the rest is not.

    ``specs`` has the one spec of each slug, in alphabetical order; ``order`` those to load, each
    after the ones it needs; ``ranks`` the place of each of these among all, which does not depend
    on the others that happen to be there; ``needs`` the slugs that each of them depends on;
    ``held`` the reason of each plugin that stays off; ``failures`` what has to be told of
    (duplicates, unmet needs, cycles).
    """

    specs: Mapping[Slug, PluginSpec]
    order: tuple[PluginSpec, ...]
    ranks: Mapping[Slug, tuple[Any, ...]]
    needs: Mapping[Slug, tuple[Slug, ...]]
    held: Mapping[Slug, NotLoaded]
    failures: tuple[PluginFailure, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedPlugin:
    """A plugin that was imported and constructed, and has taken in nothing yet.

    ``name``, ``title``, ``version`` and the like are what the object states, else what its
    distribution says. ``failures`` are faults that do not keep it off (a bad PUBLISH_DATE).
    """

    spec: PluginSpec
    plugin: Any = field(repr=False)
    name: str
    title: str
    version: str | None
    description: str | None = None
    author: str | None = None
    published: datetime | None = None
    website: str | None = None
    license: str | None = None
    failures: tuple[PluginFailure, ...] = ()

    @property
    def slug(self) -> Slug:
        """The plugin's identity."""
        return self.spec.slug


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ActivePlugin:
    """A plugin in service. Two of them are the same only if they are one.

    ``mixins`` maps the key of each mixin the plugin has to its human name, in order of
    activation; ``enabled`` are those whose rule holds. ``implementations`` belong to hooks.py.
    ``settings`` and ``user_settings`` are SettingDefinitions by key, of ``settings_version``.
    ``brings`` are the specs of the plugins that this one brought.
    """

    loaded: LoadedPlugin
    mixins: Mapping[str, str]
    enabled: frozenset[str]
    implementations: Any = field(repr=False)
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    user_settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    settings_version: int = 1
    brings: tuple[PluginSpec, ...] = ()

    @property
    def slug(self) -> Slug:
        """The plugin's identity."""
        return self.loaded.spec.slug

    @property
    def plugin(self) -> Any:
        """The plugin object."""
        return self.loaded.plugin

    @property
    def place(self) -> tuple[bool, tuple[Any, ...]]:
        """The place in the order of activation, in which plugins that were brought come last."""
        return self.loaded.spec.source is Source.BROUGHT, self.implementations.rank


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownPlugin:
    """A plugin's line in a snapshot: what was found, what is wished, and what came of it.

    ``spec`` is None for a plugin whose package is gone. ``pk`` is 0 where nothing is stored.
    ``loaded`` is there when the state is active.
    """

    slug: Slug
    pk: int
    wanted: bool
    state: PluginState
    reason: str
    name: str
    distribution: str | None
    spec: PluginSpec | None
    loaded: LoadedPlugin | None = None
    is_mandatory: bool = False

    @property
    def is_builtin(self) -> bool:
        """Whether the host brings it."""
        return self.spec is not None and self.spec.source is Source.BUILTIN

    @property
    def is_sample(self) -> bool:
        """Whether it is a sample."""
        return self.spec is not None and self.spec.source is Source.SAMPLE

    @property
    def is_package(self) -> bool:
        """Whether it comes, or came, from a distribution."""
        return self.distribution is not None

    @property
    def is_installed(self) -> bool:
        """Whether it was found, loaded or not."""
        return self.spec is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """How often wishes were changed in a store, for people to read and compare.

    ``number`` counts it: each activation, deactivation, deletion, installation and uninstallation,
    and each request to reload everywhere. ``asked`` is the number that the last of those had that
    ask all processes to look for plugins anew.
    """

    number: int = 0
    asked: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessRecord:
    """What one of the processes that share a storage runs, as it has told itself.

    ``name`` is what its host calls it. ``generation`` is the number up to which it has taken in
    changed wishes, ``active`` the slugs in service, in activation order, ``errors`` how many
    failure records it has. ``seen`` is when it told (aware, UTC).
    """

    name: str
    pid: int
    host: str
    generation: int
    active: tuple[str, ...]
    errors: int
    seen: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """All that readers see of the plugins at one moment. It never changes; it is replaced.

    ``plugins`` has every known plugin by slug, in alphabetical order; ``active`` those in
    service, in activation order; ``by_mixin`` the plugin objects of each enabled mixin, in the
    same order; ``needs`` the slugs that a wanted plugin depends on, of each that needs any;
    ``discovery`` what was found; ``wished`` the slugs that were to be on by the wishes it was made
    from, known or not.
    ``composed`` has records that were made of it, and of no other one: those of active plugins
    that have not failed since, and of these only what was asked for.
    """

    plugins: Mapping[str, KnownPlugin] = field(default_factory=dict)
    active: Mapping[str, ActivePlugin] = field(default_factory=dict)
    by_mixin: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    needs: Mapping[Slug, tuple[Slug, ...]] = field(default_factory=dict)
    discovery: Discovery = field(default_factory=Discovery)
    wished: frozenset[str] = frozenset()
    composed: dict[str, PluginRecord] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def get_active(self, slug: str) -> ActivePlugin:
        """Return an active plugin.

        Args:
            slug: The plugin.

        Raises:
            PluginNotFoundError: If no plugin has this slug.
            PluginNotActiveError: If the plugin is not active.
        """
        active = self.active.get(slug)
        if active is not None:
            return active
        known = self.plugins.get(slug)
        if known is None:
            raise PluginNotFoundError(slug, near(slug, self.plugins))
        raise PluginNotActiveError(slug, known.state)

    def with_mixin(self, key: str) -> tuple[ActivePlugin, ...]:
        """Return the active plugins with an enabled mixin, in activation order.

        Args:
            key: The mixin's key. A mixin that the host has switched off has no plugins.
        """
        if key not in self.by_mixin:
            return ()
        return tuple([active for active in self.active.values() if key in active.enabled])

    def dependants(self, slug: str) -> tuple[Slug, ...]:
        """Return the wanted plugins that need this one, directly or through others, sorted."""
        found: set[Slug] = set()
        waiting = [slug]
        while waiting:
            need = waiting.pop()
            direct = {each for each, needs in self.needs.items() if need in needs}
            waiting += direct - found
            found |= direct
        return tuple(sorted(found))


@dataclass(frozen=True, kw_only=True, slots=True)
class StageTime:
    """How many ``seconds`` one plugin took at one stage of a load, whether it failed there or not.

    ``stage`` is IMPORT, for import and construction together, or ACTIVATE. A module that several
    plugins import counts for the first of them.
    """

    slug: str
    stage: Stage
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadReport:
    """What a load, a reload or an activation came to.

    ``active`` are the slugs in service, in activation order; ``states`` the state of every known
    plugin; ``failures`` the records that this load made or repeated; ``seconds`` the time it took;
    ``times`` how much of it each plugin took that was made anew, slowest first.
    """

    active: tuple[str, ...]
    states: Mapping[str, PluginState]
    failures: tuple[PluginFailure, ...]
    seconds: float
    times: tuple[StageTime, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginRecord:
    """A plugin as a host or an operator sees it, composed when it is asked for.

    ``pk`` is the number stored for the plugin, 0 where nothing is stored. ``wanted`` is the wish
    (mandatory, or switched on by an operator), ``state`` what came of it, ``reason`` one sentence
    on why it is not active. ``plugin`` is the object, None unless active. ``mixins`` maps keys to
    human names: those of the object or, unless active, those that a probe of this version found.
    ``errors`` are this plugin's failure records; ``circuit`` says whether it gets calls: all when
    ``closed``, none when ``open``, one on trial when ``half-open``.
    ``is_builtin`` … ``is_mandatory`` are those of behaviour.md, section 3; ``is_installed`` means
    that the plugin was found, loaded or not.
    """

    slug: str
    pk: int
    wanted: bool
    state: PluginState
    reason: str
    plugin: Any = field(repr=False)
    name: str
    title: str
    version: str | None
    distribution: str | None
    mixins: Mapping[str, str]
    errors: tuple[PluginFailure, ...]
    circuit: CircuitState
    is_builtin: bool
    is_sample: bool
    is_package: bool
    is_installed: bool
    is_mandatory: bool
    _facts: Callable[[], PluginFacts] = field(repr=False, compare=False)
    _spec: PluginSpec | None = field(repr=False, compare=False, default=None)
    _loaded: LoadedPlugin | None = field(repr=False, compare=False, default=None)

    @property
    def active(self) -> bool:
        """Whether the plugin is in service."""
        return self.state is PluginState.ACTIVE

    @property
    def description(self) -> str | None:
        """What the plugin states, else the Summary of its distribution. May read a file."""
        stated = self._loaded.description if self._loaded else None
        return stated or self._facts().summary

    @property
    def author(self) -> str | None:
        """What the plugin states, else the author of its distribution. May read a file."""
        return (self._loaded.author if self._loaded else None) or self._facts().author

    @property
    def website(self) -> str | None:
        """What the plugin states, else the first link of its distribution. May read a file."""
        return (self._loaded.website if self._loaded else None) or self._facts().website

    @property
    def license(self) -> str | None:
        """What the plugin states, else the licence of its distribution. May read a file."""
        return (self._loaded.license if self._loaded else None) or self._facts().license

    @property
    def module(self) -> str | None:
        """The dotted name of the plugin's module, None for a file in a folder of plugins."""
        return None if self._spec is None or self.path is not None else self._spec.module

    @property
    def path(self) -> Path | None:
        """The file of a plugin in a folder of plugins, None for others."""
        if self._spec is None or self._spec.path is None or self._spec.group is not None:
            return None
        return Path(self._spec.path)

    @property
    def published(self) -> datetime | None:
        """When the plugin states that it was published (PUBLISH_DATE), else None."""
        return self._loaded.published if self._loaded else None
