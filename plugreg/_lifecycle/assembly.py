"""The options of a registry, checked, and its parts, made in the order of their dependencies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from plugreg._calls import Calling
from plugreg._lifecycle.build import Activations, Builder
from plugreg._lifecycle.change_queue import ChangeQueue, EventOutbox
from plugreg._lifecycle.lifecycle import LifeCycle
from plugreg._lifecycle.recording import Retries, SettingsHealth
from plugreg._state.ledger import FailureLedger
from plugreg._state.plugin_rows import PluginRows
from plugreg._state.probe_rows import ProbeRows
from plugreg._state.published import Published, RevisionTracker, StoredRows
from plugreg._support import lazy
from plugreg._support.guard import safe_repr
from plugreg._support.slugs import Slug, canonical, near, slug_fault, slugify
from plugreg.discovery import Sources
from plugreg.mixins import KEYS, MixinTable
from plugreg.records import HostRules
from plugreg.settings.store import Scope, SettingsStore
from plugreg.storage import MemoryStorage

if TYPE_CHECKING:
    from plugreg._lifecycle.activate import Activator
    from plugreg._lifecycle.binding import BoundContext
    from plugreg._lifecycle.build import Activation
    from plugreg._lifecycle.catalogue import Catalogue
    from plugreg._lifecycle.load import Acceptance, Loading
    from plugreg._lifecycle.protocols import Environment, Isolation
    from plugreg._state.heartbeat import Heartbeat
    from plugreg._state.quarantine import Quarantine
    from plugreg.discovery.facts import Facts
    from plugreg.events import Events
    from plugreg.mixins import MixinSpec
    from plugreg.records import LoadedPlugin, PluginFacts, PluginFailure, PluginSpec
    from plugreg.settings.values import Declared

    T = TypeVar("T")
    MakeIsolation = Callable[["Assembly"], Isolation]
    """Returns the isolated plugins of a registry, from its parts."""


class Options(SimpleNamespace):
    """The arguments of `plugreg.PluginRegistry`, by name; that class describes them."""

    def __repr__(self) -> str:
        """Name the host only: overrides may be secret."""
        return f"Options(host={self.host!r})"

    @property
    def distribution(self) -> str:
        """The name of the host's distribution."""
        return str(self.host_distribution or self.host)

    @property
    def entry_point_group(self) -> str:
        """The group of the entry points by which plugins are found."""
        return self.group or f"{self.host}.plugins"


_WORDS: Final = (
    ("new_plugins", "inactive", "active"),
    ("accept", "plugins", "any"),
    ("builtins_called", "last", "first"),
)
"""The words that some options take."""


def host_rules(options: Options) -> HostRules:
    """Return the rules for resolving, by the options and by variables of the environment.

    Slugs are slugified. The variables are PLUGREG_SAFE_MODE, PLUGREG_ONLY and PLUGREG_WITHOUT.
    Raises ValueError if options contradict each other, and TypeError for no collection.
    """
    for name, first, second in _WORDS:
        if (given := getattr(options, name)) not in (first, second):
            raise ValueError(f"{name} must be {first!r} or {second!r}, not {safe_repr(given)}")
    host_version = options.host_version
    if host_version is not None:
        from packaging.version import InvalidVersion, Version

        try:
            Version(host_version)
        except InvalidVersion:
            raise ValueError(
                f"host_version {host_version!r} is no version by PEP 440; write one such as '2.4'"
            ) from None
    rules = HostRules(
        version=host_version,
        distribution=canonical(options.distribution),
        mandatory=_slugs("mandatory", options.mandatory),
        blocked=_names("blocked", options.blocked),
        allowed=None if options.allowed is None else _names("allowed", options.allowed),
        ignore_compatibility=_slugs("ignore_compatibility", options.ignore_compatibility),
        new_plugins_active=options.new_plugins == "active",
        accepts_any=options.accept == "any",
        builtins_called_first=options.builtins_called == "first",
        safe_mode=options.safe_mode or os.environ.get("PLUGREG_SAFE_MODE", "") not in ("", "0"),
        only=_named_in("PLUGREG_ONLY"),
        without=_named_in("PLUGREG_WITHOUT") or frozenset(),
    )
    # Whether the name of an entry point allows a plugin is known once that was found.
    pairs = [name for name in rules.allowed or () if ":" in name]
    named = {slugify(name.rpartition(":")[2]) for name in pairs}
    if pairs and options.slug_of is not None:
        named = {*rules.mandatory}
    for slug in sorted(rules.mandatory):
        reason = rules.blocks(slug)
        if reason is not None and slug not in named - rules.blocked:
            raise ValueError(f"plugin {slug!r} is in mandatory=, but {reason}; decide on one")
    return rules


def sources(
    options: Options,
    isolated: Callable[[], Iterable[tuple[str | None, Path]]] | None = None,
    *,
    safe_mode: bool,
) -> Sources:
    """Return where plugins are found; a later change of the working directory changes nothing.

    There is no index in safe mode, since it would be written. Raises ValueError and TypeError.
    """
    index = options.index
    if options.index_verify and index is None:
        raise ValueError("index_verify=True needs an index=; give it a file, or leave it out")
    return Sources(
        group=options.entry_point_group,
        builtin=as_tuple("builtin", options.builtin),
        samples=tuple(
            absolute_path(sample) if isinstance(sample, os.PathLike) else sample
            for sample in as_tuple("samples", options.samples)
        ),
        directories=tuple(map(absolute_path, as_tuple("directories", options.directories))),
        path=None if options.path is None else (*map(str, as_tuple("path", options.path)),),
        index=None if index is None or safe_mode else absolute_path(index),
        verify=options.index_verify,
        slug_of=options.slug_of,
        isolated=isolated,
    )


def as_tuple(argument: str, given: Iterable[T]) -> tuple[T, ...]:
    """Return the collection that a host gave for *argument* as a tuple.

    Raises TypeError if it is no iterable, or a string: an iterable of letters that nobody means.
    """
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise TypeError(f"{argument} must be a collection, not {safe_repr(given)}; write [it]")
    return tuple(given)


def absolute_path(folder: str | bytes | os.PathLike[Any]) -> Path:
    """Return an absolute path, which a later change of the working directory keeps."""
    path = Path(os.fsdecode(folder))
    try:
        return path.absolute()
    except OSError:
        # The working directory was deleted; discovery reports the folders that are not found.
        return path


def _named_in(variable: str) -> frozenset[Slug] | None:
    """Return the slugs that a variable of the environment names; None if it is empty.

    A comma alone names none.
    """
    given = os.environ.get(variable, "").strip()
    if not given:
        return None
    return frozenset(slugify(name) for name in given.split(",") if name.strip())


def _slugs(argument: str, names: Iterable[str]) -> frozenset[Slug]:
    slugs = {slugify(name): name for name in as_tuple(argument, names)}
    for slug, name in slugs.items():
        reason = slug_fault(slug, name)
        if reason is not None:
            raise ValueError(f"{argument}: {reason}")
    return frozenset(slugs)


def _names(argument: str, names: Iterable[str]) -> frozenset[str]:
    """Return slugs, and ``distribution:name`` of entry points."""
    given = as_tuple(argument, names)
    pairs = [name.partition(":") for name in given if ":" in name]
    for distribution, _, name in pairs:
        if not distribution or not name:
            raise ValueError(
                f"{argument}: {distribution + ':' + name!r} lacks a part; write the name of a "
                f"distribution and that of its entry point, as in 'shop-tea:tea'"
            )
    slugs = _slugs(argument, (name for name in given if ":" not in name))
    return slugs | {f"{canonical(distribution)}:{name}" for distribution, _, name in pairs}


def mixin_table(own: Iterable[MixinSpec]) -> MixinTable:
    """Return plugreg's capabilities and the host's. Raises TypeError, ValueError."""
    table: dict[str, MixinSpec] = {}
    for spec in own:
        from plugreg.mixins import MixinSpec

        if not isinstance(spec, MixinSpec):
            raise TypeError(f"mixins must hold MixinSpec rows, not {safe_repr(spec)}")
        if spec.key in KEYS or spec.key in table:
            raise ValueError(f"mixin key {spec.key!r} is taken; give the host's row another key")
        table[spec.key] = spec
    return MixinTable(table.values())


def switched_off(table: MixinTable, switches: Mapping[str, bool]) -> frozenset[str]:
    """Return the keys of the capabilities that are turned off. Raises ValueError."""
    if not switches:
        return frozenset()
    rows = table.all()
    known = {spec.switch for spec in rows if spec.switch is not None}
    for name in switches:
        if name not in known:
            raise ValueError(
                f"switch {name!r} is not known{near(name, known)}; there are {sorted(known)}"
            )
    return frozenset(
        spec.key for spec in rows if spec.switch is not None and not switches.get(spec.switch, True)
    )


class Assembly:
    """Makes the parts of a registry that every load needs.

    Making it reads and loads nothing. It lives as long as its registry, which makes the parts
    that a host rarely uses. Wrong options raise ValueError and TypeError.

    Args:
        options: The arguments of the registry.
        environment: The environment of installed plugins, None if there is none.
        make_isolation: Makes the isolated plugins, None without any.
    """

    def __init__(
        self,
        options: Options,
        environment: Environment | None,
        make_isolation: MakeIsolation | None = None,
    ) -> None:
        self.options = options
        self.environment = environment
        self.rules = host_rules(options)
        self.mixins = mixin_table(as_tuple("mixins", options.mixins))
        critical = as_tuple("critical", options.critical)
        self.critical = {*self.rules.mandatory, *map(slugify, critical)}
        self.storage = MemoryStorage() if options.storage is None else options.storage
        self.published = Published()
        overrides = options.overrides
        if overrides != {}:
            from plugreg.settings.overrides import parse_overrides

            overrides = parse_overrides(overrides)
        self.settings = SettingsStore(
            self.storage,
            self._report_setting,
            record=self._record,
            overrides=overrides,
            encryption=options.encryption,
        )
        self.plugin_rows = PluginRows(self.storage, self.settings.scrubber_for)
        self.probe_rows = ProbeRows(self.storage)
        self.stored = StoredRows(
            rules=self.rules,
            settings=self.settings,
            plugin_rows=self.plugin_rows,
            probe_rows=self.probe_rows,
        )
        self.ledger = FailureLedger(
            options.on_failure, self.settings.scrubber, self.published.drop_record
        )
        self.health = SettingsHealth(self.settings, self.ledger)
        self.calling = self._make_calling(make_isolation is not None)
        for subject, holds in self.calling.conditions.items():
            self.ledger.hide_unless(subject, holds)
        self.isolation = None if make_isolation is None else make_isolation(self)
        self.quarantine: Quarantine | None = None
        if not isinstance(self.storage, MemoryStorage):
            from plugreg._state.quarantine import Quarantine

            self.quarantine = Quarantine(self.storage, self.heartbeat)
        self.off = switched_off(self.mixins, options.switches)
        self.activations = Activations()
        self.life = self._make_life()
        if options.events is not None:
            # A wrong option is refused when the registry is made.
            _ = self.events

    def _make_calling(self, isolates: bool) -> Calling:
        """Make the calls of plugins; some may be isolated."""
        options = self.options
        return Calling(
            options.host,
            hookspecs=as_tuple("hookspecs", options.hookspecs),
            implicit_prefix=options.implicit_prefix,
            manager=options.manager,
            circuit=options.circuit,
            observe=options.observe,
            timeout=options.call_timeout,
            clock=options.clock,
            record=self.ledger.record,
            check_ready=self.published.check_loaded,
            is_isolated=self._is_isolated if isolates else None,
            process_of=self._process_of,
        )

    def _make_life(self) -> LifeCycle:
        """Make the life cycle, of all parts that are made by now."""
        outbox = EventOutbox(self.emit)
        return LifeCycle(
            published=self.published,
            sources=sources(
                self.options,
                None if self.isolation is None else self.isolation.folders,
                safe_mode=self.rules.safe_mode,
            ),
            builder=Builder(
                rules=self.rules,
                describe=self._describe,
                manager=self.calling.manager,
                activations=self.activations,
                load=self._load,
                activate=self._activate,
                quarantine=self.quarantine,
                isolation=self.isolation,
                off=self.off,
            ),
            activations=self.activations,
            calling=self.calling,
            ledger=self.ledger,
            health=self.health,
            stored=self.stored,
            storage=self.storage,
            revisions=RevisionTracker(self.plugin_rows, self.rules),
            retries=Retries(),
            queue=ChangeQueue(self.options.reload_wait, outbox.flush),
            outbox=outbox,
            heartbeat=None if self._is_unseen else self.heartbeat,
            quarantine=self.quarantine,
            environment=self.environment,
            isolation=self.isolation,
        )

    @property
    def _is_unseen(self) -> bool:
        """Whether other processes never see changes of this process."""
        return self.rules.safe_mode or isinstance(self.storage, MemoryStorage)

    @lazy
    def heartbeat(self) -> Heartbeat:
        """Heartbeats: the stored status of this process, and that of others."""
        from plugreg._state.heartbeat import Heartbeat

        return Heartbeat(
            self.storage,
            self.options.process,
            self.ledger,
            silent=self._is_unseen,
            narrowed=self.rules.is_narrowed,
        )

    @lazy
    def catalogue(self) -> Catalogue:
        """Records of plugins, composed when they are read."""
        from plugreg._lifecycle.catalogue import Catalogue

        return Catalogue(
            self.published.current,
            self.ledger,
            self._describe,
            self.probe_rows,
            self.calling.circuit_state,
            isolation=self.isolation,
        )

    @lazy
    def events(self) -> Events:
        """Delivery of events to plugins."""
        from plugreg.events import Events

        return Events(self.published.current, self.ledger, self.life.refresh, self.options.events)

    @lazy
    def facts(self) -> Facts:
        """The metadata of plugin distributions, read at their first use."""
        from plugreg.discovery.facts import Facts

        return Facts()

    @lazy
    def _acceptance(self) -> Acceptance:
        from plugreg._lifecycle.load import Acceptance

        return Acceptance(
            self.calling.manager.has_implementations,
            self._has_mixin,
            self.rules.accepts_any,
            self.options.construct,
        )

    @lazy
    def _activator(self) -> Activator:
        from plugreg._lifecycle.activate import Activator

        return Activator(
            self.mixins, self.off, self.calling.manager, self._open_context, self.activations
        )

    def emit(self, event: str, /, **kwargs: Any) -> None:
        """Emit an event of plugreg itself, if a plugin in service receives events."""
        if "events" in self.published.snapshot.by_mixin:
            self.events.notify(event, **kwargs)

    def _describe(self, spec: PluginSpec) -> PluginFacts:
        return self.facts.of(spec)

    def _load(self, spec: PluginSpec) -> Loading:
        if self.isolation is not None:
            isolated = self.isolation.load(spec)
            if isolated is not None:
                return isolated
        from plugreg._lifecycle.load import load

        # Records are read whatever the plugin's code does to later imports.
        _ = self.catalogue
        return load(spec, self.rules, self._acceptance)

    def _activate(self, loaded: LoadedPlugin, rank: tuple[Any, ...], *, full: bool) -> Activation:
        return self._activator.activate(loaded, rank, full=full)

    def _open_context(self, slug: str, declared: Declared) -> BoundContext:
        from plugreg._lifecycle.binding import BoundContext

        context = BoundContext(self.settings, self.plugin_rows, slug, declared)
        if self.isolation is not None:
            self.isolation.open(slug, context)
        return context

    def _has_mixin(self, cls: type) -> bool:
        # A host's row may be that of every class.
        return any(issubclass(cls, row.cls) for row in self.mixins if row.cls is not object)

    def _is_isolated(self, slug: str) -> bool:
        active = self.published.snapshot.active.get(slug)
        return active is not None and active.loaded.isolated

    def _process_of(self, slug: str) -> Any:
        active = self.published.snapshot.active.get(slug)
        isolation = self.isolation
        return None if active is None or isolation is None else isolation.process_of(active.plugin)

    def _record(self, failure: PluginFailure) -> None:
        self.ledger.record(failure)

    def _report_setting(self, scope: Scope, changed: frozenset[str]) -> None:
        """Notify a plugin whose settings were written, and those that hear events."""
        slug, user = scope
        active = self.published.snapshot.active.get(slug)
        if active is not None:
            self.health.after_write(active, user, changed)
            self.calling.dispatch.notify(
                active.implementations, "plugreg_settings_changed", changed=changed
            )
        for key in sorted(changed):
            self.emit("plugin_setting_changed", slug=slug, key=key, user=user)
