"""The parts of one registry, made in the order of their dependencies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plugreg._calls.calling import Calling
from plugreg._lifecycle.activate import Activator
from plugreg._lifecycle.build import Builder
from plugreg._lifecycle.lifecycle import Environment, LifeCycle
from plugreg._lifecycle.options import (
    Options,
    as_tuple,
    host_rules,
    mixin_table,
    sources,
    switched_off,
)
from plugreg._lifecycle.settings_health import SettingsHealth
from plugreg._lifecycle.stored import StoredRows
from plugreg._state.heartbeat import Heartbeat
from plugreg._state.ledger import FailureLedger
from plugreg._state.plugin_rows import PluginRows
from plugreg._state.probe_rows import ProbeRows
from plugreg._state.published import Published
from plugreg._support.lazy import lazy
from plugreg._support.signal import Signal
from plugreg._support.slugs import slugify
from plugreg.settings.store import Scope, SettingsStore
from plugreg.storage import MemoryStorage

if TYPE_CHECKING:
    from plugreg._lifecycle.binding import BoundContext
    from plugreg._lifecycle.load import Acceptance, Loading
    from plugreg.discovery.facts import Facts
    from plugreg.events import Events
    from plugreg.records import PluginFacts, PluginSpec
    from plugreg.settings.values import Declared


class Assembly:
    """Makes the parts of one registry that every load needs.

    Making it reads and loads nothing. It lives as long as its registry, which makes the parts
    that a host rarely uses.

    Args:
        options: The arguments of the registry.
        environment: The environment of installed plugins, None without one.

    Raises:
        ValueError: If options contradict each other or themselves.
        TypeError: If an option has a wrong type.
    """

    def __init__(self, options: Options, environment: Environment | None) -> None:
        self.options = options
        self.environment = environment
        self.rules = host_rules(options)
        self.mixins = mixin_table(as_tuple("mixins", options.mixins))
        critical = as_tuple("critical", options.critical)
        self.critical = {*self.rules.mandatory, *map(slugify, critical)}
        self.storage = MemoryStorage() if options.storage is None else options.storage
        self.published = Published()
        setting_failed = Signal()
        overrides = options.overrides
        if overrides != {}:
            from plugreg.settings.overrides import parse_overrides

            overrides = parse_overrides(overrides)
        self.settings = SettingsStore(
            self.storage,
            self._report_setting,
            record=setting_failed.emit,
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
        setting_failed.connect(self.ledger.record)
        self.health = SettingsHealth(self.settings, self.ledger)
        self.calling = Calling(
            options.host,
            hookspecs=as_tuple("hookspecs", options.hookspecs),
            implicit_prefix=options.implicit_prefix,
            manager=options.manager,
            circuit=options.circuit,
            observe=options.observe,
            timeout=options.call_timeout,
            record=self.ledger.record,
            check_ready=self.published.check_loaded,
        )
        for subject, holds in self.calling.conditions.items():
            self.ledger.hide_unless(subject, holds)
        self.heartbeat = Heartbeat(self.storage, options.process, silent=self.rules.safe_mode)
        off = switched_off(self.mixins, options.switches)
        manager = self.calling.manager
        activator = Activator(self.mixins, off, manager, self._open_context)
        self.life = LifeCycle(
            published=self.published,
            sources=sources(options, safe_mode=self.rules.safe_mode),
            builder=Builder(
                rules=self.rules,
                describe=self._describe,
                manager=manager,
                activator=activator,
                load=self._load,
                off=off,
            ),
            activator=activator,
            calling=self.calling,
            ledger=self.ledger,
            health=self.health,
            stored=self.stored,
            heartbeat=self.heartbeat,
            wait=options.reload_wait,
            environment=environment,
            notify=self.emit,
        )
        if options.events is not None:
            # A wrong option is refused when the registry is made.
            _ = self.events

    @lazy
    def events(self) -> Events:
        """Delivery of events to plugins."""
        from plugreg.events import Events

        return Events(self.published.current, self.ledger, self.life.refresh, self.options.events)

    @lazy
    def facts(self) -> Facts:
        """What the distributions of plugins state, as far as it was asked for."""
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

    def emit(self, event: str, /, **kwargs: Any) -> None:
        """Emit one of plugreg's own events, if any plugin in service hears events."""
        if "events" in self.published.snapshot.by_mixin:
            self.events.notify(event, **kwargs)

    def _describe(self, spec: PluginSpec) -> PluginFacts:
        return self.facts.of(spec)

    def _load(self, spec: PluginSpec) -> Loading:
        from plugreg._lifecycle.load import load

        return load(spec, self.rules, self._acceptance)

    def _open_context(self, slug: str, declared: Declared) -> BoundContext:
        from plugreg._lifecycle.binding import BoundContext

        return BoundContext(self.settings, self.plugin_rows, slug, declared)

    def _has_mixin(self, cls: type) -> bool:
        # Every class has the capability "base", whose class is object.
        return any(issubclass(cls, row.cls) for row in self.mixins if row.cls is not object)

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
