"""Immutable records that a stage creates for the next stage.

They hold strings and numbers beside plugin objects and their classes, so that failures, reports
and specs can be pickled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from datetime import UTC, datetime
from enum import StrEnum
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

from plugreg._support import exceptions
from plugreg._support.frozen import Frozen, replace
from plugreg._support.guard import LONGEST_MESSAGE, Guard, cut, explain, plain
from plugreg._support.slugs import Slug, has_utf8, near

if TYPE_CHECKING:
    from pathlib import Path

CircuitState = Literal["closed", "open", "half-open"]
"""``closed`` lets calls through, ``open`` none, ``half-open`` a trial call."""

EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})
"""An empty, immutable mapping."""


class PluginState(StrEnum):
    """State of a plugin after the last load. The desired state is ``PluginRecord.wanted``."""

    INACTIVE = "inactive"
    ACTIVE = "active"
    FAILED = "failed"
    INCOMPATIBLE = "incompatible"
    BLOCKED = "blocked"
    MISSING = "missing"


class Stage(StrEnum):
    """Stage at which a plugin fails."""

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
    """Kind of source of a plugin, in the order of precedence."""

    MANUAL = "manual"
    BUILTIN = "builtin"
    SAMPLE = "sample"
    DIRECTORY = "directory"
    ENTRY_POINT = "entry point"
    BROUGHT = "brought"

    @property
    def rank(self) -> int:
        """Position of this source in the order of precedence, from 0."""
        return _RANKS[self]


_RANKS: Final = MappingProxyType({source: rank for rank, source in enumerate(Source)})
_FOLDERS: Final = (Source.DIRECTORY, Source.SAMPLE)


def _now() -> datetime:
    return datetime.now(UTC)


class PluginFailure(Frozen):
    """A failure of a plugin at a stage, with a count. It is a value, and never raised.

    Attributes:
        stage: Stage at which the plugin failed.
        slug: The plugin, or in discovery the module, file or distribution that has no slug yet.
        message: Readable sentence, at most 1,000 characters.
        subject: Hook, mixin or feature concerned, or an empty string.
        exception_type: Name of the exception's class, with its module unless that is builtins.
            None where no exception was raised.
        traceback: Formatted traceback of the exception, or an empty string.
        place: Line of code that raised the exception, after the line that left plugreg's code.
        first_seen: Time of the first occurrence, aware, in UTC.
        last_seen: Time of the last occurrence.
        count: Number of occurrences.
        retry_after: Seconds after which a plugin that is not ready yet is retried, else None.
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
            text = plain(getattr(self, name))
            object.__setattr__(self, name, cut(text, LONGEST_MESSAGE))

    @classmethod
    def of(
        cls, stage: Stage, slug: str, error: BaseException, *, subject: str = "", what: str = ""
    ) -> PluginFailure:
        """Return the record of an exception.

        Args:
            stage: Stage at which it was raised.
            slug: The plugin.
            error: The exception.
            subject: Hook, mixin or feature concerned.
            what: Prefix of the message that describes the operation.
        """
        words = explain(error)
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
        """Return the record of an exception of a hook or a ``mixin.method``."""
        kind = "method" if "." in hook else "hook"
        return cls.of(Stage.CALL, slug, error, subject=hook, what=f"{kind} {hook!r}")

    @property
    def identity(self) -> tuple[str, ...]:
        """Key that two records of the same failure have in common."""
        cause = (self.exception_type, self.place) if self.exception_type else (self.message,)
        return (self.stage, self.slug, self.subject, *cause)

    def again(self, newer: PluginFailure) -> PluginFailure:
        """Return *newer* as a continuation of this record: counts added, first time kept."""
        return replace(newer, first_seen=self.first_seen, count=self.count + newer.count)


class ProcessFailure(PluginFailure):
    """A failure as a process that shares the storage has stored it.

    Attributes:
        process: Name of the process.
        pid: Its process number.
        host: Name of its machine.
        is_running: Whether the process still runs, as far as this process can find out.
    """

    process: str = ""
    pid: int = 0
    host: str = ""
    is_running: bool = True


def _retry_after(error: BaseException) -> float | None:
    # A plugin's own subclass of it may say anything.
    if issubclass(type(error), exceptions.NotReadyYet):
        with Guard():
            seconds = float(error.retry_after)  # type: ignore[attr-defined]
            return seconds if 0 < seconds < float("inf") else None
    return None


Code = tuple[str | None, str | None, str]
"""The path, version and stamp of a spec: another value means other code."""


def placeless(path: str | None) -> str | None:
    """Return a path without the number of the generation of installed packages that it is in.

    In the next generation unchanged code is in another folder.
    """
    if path is None or "generations" not in path:
        return path
    return re.sub(r"([/\\]generations[/\\])\d+(?=[/\\])", r"\1", path)


class PluginSpec(Frozen):
    """A plugin as it was discovered, before anything of it is imported.

    Name, value, group and distribution are the words of the entry-points specification of PyPA.

    Attributes:
        slug: The plugin's identity.
        name: Name of the entry point.
        value: Value of the entry point, or ``module:attr`` for other sources.
        source: Kind of source.
        group: Group of the entry point.
        distribution: Canonical name of the distribution.
        version: Version in the name of its folder.
        path: The ``dist-info`` folder, or the file of the module.
        stamp: String that differs when the source has changed.
        attributes: Class-level literals that are known without an import, such as TITLE.
        target: The object itself, where the host or another plugin gave it.
        brought_by: The plugin that brought it.
        position: Position among the builtins that the host gave, else 0.
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
    position: int = field(default=0, compare=False)

    @property
    def sort_key(self) -> tuple[int, int, str, str, str, str]:
        """Key of the order of precedence: source, position, slug, distribution, name, value."""
        distribution = self.distribution or ""
        return self.source.rank, self.position, self.slug, distribution, self.name, self.value

    def load(self) -> Any:
        """Import and return the object that the spec names; nothing is constructed or kept.

        For programs without a registry: exceptions of the plugin's code propagate. A plugin
        of a folder has no importable name; only a registry loads it.

        Returns:
            The object that the host or another plugin provided, else the module or its attribute.

        Raises:
            ImportError: If the module cannot be imported, or the plugin is that of a folder.
            AttributeError: If the module lacks the attribute.
        """
        if self.target is not None:
            return self.target
        if self.is_in_folder:
            raise ImportError(
                f"plugin {self.slug!r} of the file {self.path!r} has no importable name; "
                f"give its folder to a registry, as directories="
            )
        found: Any = import_module(self.module)
        attributes = self.value.partition("[")[0].partition(":")[2]
        for attribute in filter(None, attributes.strip().split(".")):
            found = getattr(found, attribute)
        return found

    @property
    def code(self) -> Code:
        """The code that the spec stands for, wherever installed packages are now."""
        return placeless(self.path), self.version, self.stamp

    def has_code_of(self, other: PluginSpec) -> bool:
        """Return whether this is the same plugin as another, with the same code.

        Args:
            other: A spec of the same slug, found earlier.
        """
        if self == other or self.path == other.path or self.target is not other.target:
            return self == other and self.target is other.target
        place = placeless(self.path)
        return replace(self, path=place) == replace(other, path=placeless(other.path))

    def stated(self, attribute: str) -> str | None:
        """Return a class-level literal if it is a string that can be shown, else None."""
        value = self.attributes.get(attribute)
        return value if isinstance(value, str) and value and has_utf8(value) else None

    @property
    def module(self) -> str:
        """Dotted name of the module in ``value``, without attribute and extras."""
        return self.value.partition("[")[0].partition(":")[0].strip()

    @property
    def is_in_folder(self) -> bool:
        """Whether the plugin is in a folder of plugins, and no object."""
        return self.source in _FOLDERS and self.path is not None and self.target is None

    @property
    def folder(self) -> Path:
        """Folder of plugins that contains the file or package at ``path``."""
        from pathlib import Path

        file = Path(self.path or "")
        return file.parent.parent if file.name == "__init__.py" else file.parent

    @property
    def origin(self) -> str:
        """Description of the source for people."""
        if self.distribution is not None:
            return f"distribution {self.distribution!r} ({self.value})"
        return f"{self.source} {self.value!r}"


class PluginFacts(Frozen):
    """Facts that a distribution or file states of a plugin without being run.

    Each string may be None. ``requires`` are the ``Requires-Dist`` lines as written.
    """

    summary: str | None = None
    author: str | None = None
    license: str | None = None
    website: str | None = None
    requires: tuple[str, ...] = ()


class Discovery(Frozen):
    """Result of the sources: specs in order of precedence, and failures to read."""

    specs: tuple[PluginSpec, ...] = ()
    failures: tuple[PluginFailure, ...] = ()


class PluginRow(Frozen):
    """Row that is stored of a plugin.

    Attributes:
        slug: The plugin's identity.
        pk: Its number, which is never used twice.
        active: Desired state.
        name: Name at the last load, for plugins that are gone.
        distribution: Distribution at the last load.
        is_forgotten: Whether an operator has deleted it: it is off, and counts as new when plugins
            are discovered again.
        faults: Sentences on damaged rows of the plugin, which is not loaded while there are any.
    """

    slug: Slug
    pk: int
    active: bool
    name: str
    distribution: str | None = None
    is_forgotten: bool = False
    faults: tuple[str, ...] = ()


class HostRules(Frozen):
    """Decisions of the host about its plugins.

    Attributes:
        version: Version of the host by PEP 440. None means no check.
        distribution: Canonical name of the host's distribution.
        mandatory: Slugs that are always on.
        blocked: Plugins that are never loaded: slugs, or ``distribution:name`` of entry points.
        allowed: The only plugins that may be loaded, named likewise. None allows all.
        ignore_compatibility: Slugs that are loaded although the host's version does not suit them.
        new_plugins_active: Desired state of plugins that were never seen before.
        safe_mode: Whether no plugin is loaded.
        accepts_any: Whether every object counts as a plugin.
        builtins_called_first: Whether builtins are called before all other plugins.
        only: Slugs by PLUGREG_ONLY that alone are loaded in this process. None loads all.
        without: Slugs by PLUGREG_WITHOUT that are not loaded in this process.
    """

    version: str | None = None
    distribution: str = ""
    mandatory: frozenset[Slug] = frozenset()
    blocked: frozenset[str] = frozenset()
    allowed: frozenset[str] | None = None
    ignore_compatibility: frozenset[Slug] = frozenset()
    new_plugins_active: bool = False
    safe_mode: bool = False
    accepts_any: bool = False
    builtins_called_first: bool = False
    only: frozenset[str] | None = None
    without: frozenset[str] = frozenset()

    @property
    def is_narrowed(self) -> bool:
        """Whether variables of the environment leave plugins out of this process."""
        return self.only is not None or bool(self.without)

    def leaves_out(self, slug: str) -> str | None:
        """Return why a plugin is left out of this process, whatever is stored, or None."""
        if self.only is not None and slug not in self.only:
            return "is left out of this process by PLUGREG_ONLY"
        return "is left out of this process by PLUGREG_WITHOUT" if slug in self.without else None

    def blocks(self, slug: str, spec: PluginSpec | None = None) -> str | None:
        """Return why the host forbids this plugin, or None.

        Without a *spec*, names of entry points, as ``distribution:name``, do not count.
        """
        names = {slug} if spec is None else {slug, f"{spec.distribution}:{spec.name}"}
        if not names.isdisjoint(self.blocked):
            return "is blocked by the host"
        if self.allowed is not None and names.isdisjoint(self.allowed):
            return "is not among the plugins that the host allows"
        return None

    def wants(self, slug: Slug, wish: PluginRow | None) -> bool:
        """Return whether a plugin is to be on: because it is mandatory, or by its row."""
        if slug in self.mandatory:
            return True
        return self.new_plugins_active if wish is None else wish.active

    def wished(self, slugs: Iterable[str], wishes: Mapping[Slug, PluginRow]) -> frozenset[str]:
        """Return those of *slugs* that are to be on."""
        return frozenset(slug for slug in map(Slug, slugs) if self.wants(slug, wishes.get(slug)))


class NotLoaded(Frozen):
    """Why a plugin is not loaded: its state, and the end of a sentence about it."""

    state: PluginState
    reason: str


FAILED: Final = NotLoaded(state=PluginState.FAILED, reason="failed")
"""Why a plugin that failed by itself is off. Its failure record has the cause."""

REFUSED: Final = NotLoaded(state=PluginState.FAILED, reason="is no plugin")
"""Why an object that does not count as a plugin is off; others that require it need not wait."""


class LoadPlan(Frozen):
    """Plugins to load, in order, and why the others are not loaded.

    Attributes:
        specs: The spec of each slug, in alphabetical order.
        order: Specs to load, each after those that it depends on.
        ranks: Position of each of these among all, independent of which others there are.
        needs: Slugs that each of them depends on.
        held: Reason of each plugin that is not loaded.
        failures: Duplicates, unmet dependencies and cycles.
    """

    specs: Mapping[Slug, PluginSpec]
    order: tuple[PluginSpec, ...]
    ranks: Mapping[Slug, tuple[Any, ...]]
    needs: Mapping[Slug, tuple[Slug, ...]]
    held: Mapping[Slug, NotLoaded]
    failures: tuple[PluginFailure, ...]

    def dependants(self, slug: str) -> tuple[Slug, ...]:
        """Return the plugins of the plan that depend on *slug*, also indirectly, sorted."""
        return find_dependants(self.needs, slug)


class LoadedPlugin(Frozen):
    """A plugin that was imported and constructed, but not activated.

    Name, title, version and the like are those that the object states, else those of its
    distribution. ``failures`` are faults that do not keep it from loading. ``isolated`` says that
    it runs in another process, for which the object stands in.
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
    isolated: bool = False

    @property
    def slug(self) -> Slug:
        """The plugin's identity."""
        return self.spec.slug


class ActivePlugin(Frozen, eq=False):
    """A plugin in service. Two are equal only if they are the same object.

    Attributes:
        loaded: The plugin as it was loaded.
        mixins: Human name of each mixin of the plugin by key, in order of activation.
        enabled: Keys of mixins whose rule holds.
        implementations: Its hook implementations, which only `plugreg.hooks` reads.
        settings: Setting definitions by key.
        user_settings: Definitions of user settings by key.
        settings_version: Version of the definitions.
        brings: Specs of the plugins that this plugin provides.
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
        """Position in the order of activation, in which brought plugins come last."""
        return self.loaded.spec.source is Source.BROUGHT, self.implementations.rank


class KnownPlugin(Frozen):
    """A plugin in a snapshot: its spec, desired state and state.

    Attributes:
        slug: The plugin's identity.
        pk: Its number, 0 where nothing is stored.
        wanted: Desired state.
        state: State after the last load.
        reason: Why it is not active, as the end of a sentence.
        name: Name of its entry point, or NAME once it was loaded.
        distribution: Canonical name of its distribution.
        spec: None for a plugin whose package is gone.
        loaded: The loaded plugin while the state is active.
        is_mandatory: Whether the host requires it.
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
        """Whether it was discovered, loaded or not."""
        return self.spec is not None


class ProcessRecord(Frozen):
    """A process that shares a storage, by its last heartbeat.

    Attributes:
        name: Name that its host set.
        pid: Process number.
        host: Name of its machine.
        generation: Number of changes of desired states that it has taken in.
        active: Slugs in service, in activation order.
        errors: Number of its failure records.
        seen: Time of the heartbeat, aware, in UTC.
        since: Time since which it has the same generation and the same plugins in service.
        slow: Seconds of imports that took more than a second, by slug.
        narrowed: Whether variables of its environment leave plugins out of it.
    """

    name: str
    pid: int
    host: str
    generation: int
    active: tuple[str, ...]
    errors: int
    seen: datetime
    since: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    slow: Mapping[str, float] = field(default_factory=dict, hash=False)
    narrowed: bool = False


class Snapshot(Frozen):
    """The plugins at a moment, as readers see them. It never changes; it is replaced.

    Attributes:
        plugins: Every known plugin by slug, in alphabetical order.
        active: Plugins in service by slug, in activation order.
        by_mixin: Plugin objects by key of each enabled mixin, in activation order.
        needs: Slugs that a wanted plugin depends on, for each that depends on any.
        discovery: Result of discovery that the snapshot was made from.
        wished: Slugs that are wanted, known or not.
        composed: Records made from this snapshot, of active plugins that have not failed since.
        objects: Entries of ``by_mixin`` that were asked for.
        views: Mappings of all plugins and of the active plugins, made at their first use.
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
    objects: dict[str, tuple[Any, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    views: dict[str, Mapping[str, PluginRecord]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def get_known(self, slug: str) -> KnownPlugin:
        """Return a plugin, active or not.

        Args:
            slug: The plugin.

        Raises:
            PluginNotFoundError: If no plugin has this slug.
        """
        known = self.plugins.get(slug)
        if known is None:
            raise exceptions.PluginNotFoundError(slug, near(slug, self.plugins))
        return known

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
        raise exceptions.PluginNotActiveError(slug, self.get_known(slug).state)

    def with_mixin(self, key: str) -> tuple[ActivePlugin, ...]:
        """Return the active plugins with an enabled mixin, in activation order.

        Args:
            key: The mixin's key. A mixin that the host has switched off has no plugins.
        """
        if key not in self.by_mixin:
            return ()
        return tuple([active for active in self.active.values() if key in active.enabled])

    def dependants(self, slug: str) -> tuple[Slug, ...]:
        """Return the wanted plugins that depend on *slug*, also indirectly, sorted."""
        return find_dependants(self.needs, slug)


def find_dependants(needs: Mapping[Slug, tuple[Slug, ...]], slug: str) -> tuple[Slug, ...]:
    """Return the plugins that depend on *slug*, also indirectly, sorted.

    Args:
        needs: The plugins that each plugin depends on.
        slug: The plugin.
    """
    found: set[Slug] = set()
    waiting = [slug]
    while waiting:
        need = waiting.pop()
        direct = {other for other, needed in needs.items() if need in needed}
        waiting += direct - found
        found |= direct
    return tuple(sorted(found))


class StageTime(Frozen):
    """Seconds that a plugin took at a stage of a load, whether it failed there or not.

    Stage IMPORT is import and construction together. A module that several plugins import counts
    for the first of them.
    """

    slug: str
    stage: Stage
    seconds: float


class LoadReport(Frozen):
    """Result of a load or a reload.

    Attributes:
        active: Slugs in service, in activation order.
        states: State of every known plugin by slug.
        failures: Records that this load made or repeated.
        seconds: Duration of the load.
        times: Duration for each plugin that was made, slowest first.
    """

    active: tuple[str, ...]
    states: Mapping[str, PluginState]
    failures: tuple[PluginFailure, ...]
    seconds: float
    times: tuple[StageTime, ...] = ()


class PluginRecord(Frozen):
    """A plugin as hosts and operators see it, composed when it is asked for.

    Attributes:
        slug: The plugin's identity.
        pk: Number that is stored for the plugin, 0 where nothing is stored.
        wanted: Desired state: mandatory, or switched on by an operator.
        state: State after the last load.
        reason: Why the plugin is not active.
        plugin: The object, None unless active.
        name: Name of the entry point until a load has read NAME.
        title: Human-readable name.
        version: Version of the plugin or its distribution.
        distribution: Canonical name of the distribution.
        mixins: Human names of mixins by key: those of the object or, unless active, those that a
            probe of this version found.
        errors: Failure records of this plugin.
        circuit: ``closed`` if it is called, ``open`` if not, ``half-open`` during a trial call.
        is_builtin: Whether the host brings it.
        is_sample: Whether it is a sample.
        is_package: Whether it comes, or came, from a distribution.
        is_installed: Whether it was discovered, loaded or not.
        is_mandatory: Whether the host requires it.
        isolated: Whether it runs in a process of its own.
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
    isolated: bool = False
    _process: Callable[[], Any] | None = field(repr=False, compare=False, default=None)
    _spec: PluginSpec | None = field(repr=False, compare=False, default=None)
    _loaded: LoadedPlugin | None = field(repr=False, compare=False, default=None)

    @property
    def active(self) -> bool:
        """Whether the plugin is in service."""
        return self.state is PluginState.ACTIVE

    @property
    def process(self) -> Any:
        """The process of an isolated plugin as a `plugreg.isolation.ProcessInfo`, else None.

        It is measured when this is read.
        """
        return None if self._process is None else self._process()

    @property
    def description(self) -> str | None:
        """Description that the plugin states, else Summary of its distribution. May read a file."""
        stated = self._loaded.description if self._loaded else None
        return stated or self._facts().summary

    @property
    def author(self) -> str | None:
        """Author that the plugin states, else that of its distribution. May read a file."""
        return (self._loaded.author if self._loaded else None) or self._facts().author

    @property
    def website(self) -> str | None:
        """Website that the plugin states, else first link of its distribution. May read a file."""
        return (self._loaded.website if self._loaded else None) or self._facts().website

    @property
    def license(self) -> str | None:
        """Licence that the plugin states, else that of its distribution. May read a file."""
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
        from pathlib import Path

        return Path(self._spec.path)

    @property
    def published(self) -> datetime | None:
        """Time of publication that the plugin states (PUBLISH_DATE), else None."""
        return self._loaded.published if self._loaded else None
