"""The parts of one registry, made in the order of their dependencies."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from plugreg._calls.calling import Calling
from plugreg._lifecycle.activate import Activator
from plugreg._lifecycle.build import Builder
from plugreg._lifecycle.lifecycle import LifeCycle
from plugreg._lifecycle.load import Acceptance
from plugreg._lifecycle.options import (
    Options,
    as_tuple,
    host_rules,
    mixin_table,
    sources,
    switched_off,
)
from plugreg._lifecycle.recording import Recorder
from plugreg._lifecycle.settings_health import SettingsHealth
from plugreg._lifecycle.stored import StoredRows
from plugreg._state.heartbeat import Heartbeat
from plugreg._state.ledger import FailureLedger
from plugreg._state.plugin_rows import PluginRows
from plugreg._state.probe_rows import ProbeRows
from plugreg._state.published import Published
from plugreg._state.revision import RevisionTracker
from plugreg._support.lazy import lazy
from plugreg._support.signal import Signal
from plugreg._support.slugs import slugify
from plugreg.discovery import Facts
from plugreg.records import PluginFailure
from plugreg.settings.store import Scope, SettingsStore
from plugreg.storage import MemoryStorage

if TYPE_CHECKING:
    from plugreg._calls.health import Health
    from plugreg._lifecycle.binding import BoundContext
    from plugreg._lifecycle.catalogue import Catalogue
    from plugreg._lifecycle.operator import Operator
    from plugreg._lifecycle.shared import Shared
    from plugreg._state.configuration import Configuration
    from plugreg.assets import Assets
    from plugreg.capabilities import Capabilities
    from plugreg.events import Events
    from plugreg.schedules import Schedules
    from plugreg.settings.values import Declared
    from plugreg.ui import UserInterface


class Assembly:
    """Makes the parts of one registry, and those that a host rarely uses when first asked for.

    Making it reads and loads nothing. It lives as long as its registry.

    Args:
        options: The arguments of the registry.
        damage: Returns a failure for each fault of the environment, whenever plugins are found.

    Raises:
        ValueError: If options contradict each other or themselves.
        TypeError: If an option has a wrong type.
    """

    def __init__(self, options: Options, damage: Callable[[], tuple[PluginFailure, ...]]) -> None:
        self.options = options
        self.rules = host_rules(options)
        self.mixins = mixin_table(as_tuple("mixins", options.mixins))
        self.storage = MemoryStorage() if options.storage is None else options.storage
        self.published = Published()
        self.own_events, setting_changed, setting_failed = Signal(), Signal(), Signal()
        self.own_events.connect(self._emit)
        setting_changed.connect(self._report_setting)
        overrides = options.overrides
        if overrides != {}:
            from plugreg.settings.overrides import parse_overrides

            overrides = parse_overrides(overrides)
        self.settings = SettingsStore(
            self.storage,
            setting_changed.emit,
            record=setting_failed.emit,
            overrides=overrides,
            encryption=options.encryption,
        )
        self.plugin_rows = PluginRows(self.storage, self.settings.scrubber_for)
        self.probe_rows = ProbeRows(self.storage)
        self.ledger = FailureLedger(
            options.on_failure, self.settings.scrubber, self.published.drop_record
        )
        setting_failed.connect(self.ledger.record)
        self.health = SettingsHealth(self.settings, self.ledger)
        self.calling = Calling(
            options.host,
            hookspecs=as_tuple("hookspecs", options.hookspecs),
            implicit_prefix=options.implicit_prefix,
            circuit=options.circuit,
            observe=options.observe,
            timeout=options.call_timeout,
            record=self.ledger.record,
            check_ready=self.published.check_loaded,
        )
        for subject, holds in self.calling.conditions.items():
            self.ledger.hide_unless(subject, holds)
        self.facts = Facts()
        self.heartbeat = Heartbeat(self.storage, options.process, silent=self.rules.safe_mode)
        self._damage = damage
        self._critical = as_tuple("critical", options.critical)
        self.life = self._life()
        if options.events is not None:
            # A wrong option is refused when the registry is made.
            _ = self.events

    @lazy
    def catalogue(self) -> Catalogue:
        """All plugins as records."""
        from plugreg._lifecycle.catalogue import Catalogue

        return Catalogue(
            self.published.current,
            self.ledger,
            self.facts.of,
            self.probe_rows.of,
            self.calling.circuits.state,
            reports=lambda: self.probe_rows.mark,
        )

    @lazy
    def operator(self) -> Operator:
        """What an operator changes."""
        from plugreg._lifecycle.operator import Operator

        return Operator(
            published=self.published,
            rules=self.rules,
            life=self.life,
            catalogue=self.catalogue,
            plugin_rows=self.plugin_rows,
            settings=self.settings,
            probe_rows=self.probe_rows,
        )

    @lazy
    def events(self) -> Events:
        """Delivery of events to plugins."""
        from plugreg.events import Events

        return Events(self.published.current, self.ledger, self.shared.refresh, self.options.events)

    @lazy
    def shared(self) -> Shared:
        """What the processes that share the storage have to do with one another."""
        from plugreg._lifecycle.shared import Shared

        return Shared(self.published, self.life, self.storage, self.heartbeat)

    @lazy
    def config(self) -> Configuration:
        """Settings, user settings and metadata."""
        from plugreg._state.configuration import Configuration

        return Configuration(self.published.current, self.settings, self.plugin_rows)

    @lazy
    def capabilities(self) -> Capabilities:
        """Isolated calls of mixins' methods."""
        from plugreg.capabilities import Capabilities

        return Capabilities(self.published.current, self.calling.dispatch)

    @lazy
    def schedules(self) -> Schedules:
        """The tasks of plugins."""
        from plugreg.schedules import Schedules

        return Schedules(self.published.current, self.ledger)

    @lazy
    def ui(self) -> UserInterface:
        """What plugins show."""
        from plugreg.ui import UserInterface

        return UserInterface(self.published.current, self.ledger, self.settings.scrubber)

    @lazy
    def assets(self) -> Assets:
        """Files that plugins bring for browsers."""
        from plugreg.assets import Assets

        return Assets(self.published.current)

    @lazy
    def plugin_health(self) -> Health:
        """What plugins say of themselves, and whether the critical ones serve."""
        from plugreg._calls.health import Health

        return Health(
            self.published.current,
            self.calling.dispatch,
            self.calling.circuits.state,
            {*self.rules.mandatory, *map(slugify, self._critical)},
        )

    # -- the parts ---------------------------------------------------------------------------

    def _life(self) -> LifeCycle:
        manager = self.calling.manager
        off = switched_off(self.mixins, self.options.switches)
        activator = Activator(self.mixins, off, manager.implementations, self._open_context)
        stored = StoredRows(self.rules, self.settings, self.plugin_rows, self.probe_rows)
        return LifeCycle(
            published=self.published,
            sources=sources(self.options, safe_mode=self.rules.safe_mode),
            builder=Builder(
                rules=self.rules,
                describe=self.facts.of,
                manager=manager,
                activator=activator,
                acceptance=Acceptance(
                    manager.has_implementations,
                    self._has_mixin,
                    self.rules.accepts_any,
                    self.options.construct,
                ),
                off=off,
            ),
            activator=activator,
            manager=manager,
            dispatch=self.calling.dispatch,
            ledger=self.ledger,
            health=self.health,
            plugin_rows=self.plugin_rows,
            stored=stored,
            recorder=Recorder(
                manager=manager,
                ledger=self.ledger,
                settings=self.settings,
                health=self.health,
                stored=stored,
            ),
            revisions=RevisionTracker(self.plugin_rows, self.rules),
            heartbeat=self.heartbeat,
            wait=self.options.reload_wait,
            damage=self._find_damage,
            notify=self.own_events.emit,
        )

    def _has_mixin(self, cls: type) -> bool:
        # Every class has the capability "base", whose class is object.
        return any(issubclass(cls, row.cls) for row in self.mixins if row.cls is not object)

    def _open_context(self, slug: str, declared: Declared) -> BoundContext:
        from plugreg._lifecycle.binding import BoundContext

        return BoundContext(self.settings, self.plugin_rows, slug, declared)

    def _find_damage(self) -> tuple[PluginFailure, ...]:
        return (*self.plugin_rows.set_aside_failures(), *self._damage())

    def _emit(self, event: str, /, **kwargs: Any) -> None:
        """Emit one of plugreg's own events, if any plugin in service hears events."""
        if "events" in self.published.snapshot.by_mixin:
            self.events.notify(event, **kwargs)

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
            self.own_events.emit("plugin_setting_changed", slug=slug, key=key, user=user)
