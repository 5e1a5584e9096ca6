"""The life cycle: changes of the snapshot, one at a time, each published whole."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter
from types import MappingProxyType
from typing import Any, Final

from plugreg._calls.calling import HOOK_ORDER, UNKNOWN_HOOKS
from plugreg._calls.dispatcher import Dispatcher
from plugreg._lifecycle.activate import Activator
from plugreg._lifecycle.build import Builder
from plugreg._lifecycle.change_queue import ChangeQueue
from plugreg._lifecycle.reimport import forget_folders
from plugreg._lifecycle.retries import Retries
from plugreg._lifecycle.settings_health import SettingsHealth
from plugreg._lifecycle.snapshot import Built, Remake
from plugreg._state.heartbeat import Heartbeat, ProcessStatus
from plugreg._state.ledger import FailureLedger
from plugreg._state.plugin_rows import COUNTERS, PluginRows
from plugreg._state.probe_rows import ProbeRows
from plugreg._state.published import Published
from plugreg._state.revision import RevisionTracker
from plugreg._support.names import Slug
from plugreg.discovery import Sources, restricted
from plugreg.events import EventOutbox, Notify
from plugreg.exceptions import PluginSlugError, RecordCorruptError
from plugreg.hooks import PluginManager
from plugreg.records import (
    LOAD_STAGES,
    ActivePlugin,
    Discovery,
    HostRules,
    LoadReport,
    PluginFailure,
    PluginRow,
    PluginSpec,
    Snapshot,
    Source,
    Stage,
)
from plugreg.settings.overrides import UNKNOWN_PLUGIN, unknown_plugins
from plugreg.settings.store import SettingsStore

_logger = logging.getLogger("plugreg")

_NOTHING_YET: Final = LoadReport(active=(), states={}, failures=(), seconds=0.0)


@dataclass(frozen=True, slots=True)
class _Unfinished:
    """A change that is published and has more to do, and what went wrong with that so far."""

    built: Built
    found: Discovery
    is_whole: bool
    late: list[PluginFailure] = field(default_factory=list)


class LifeCycle:
    """Holds the snapshot that readers see, and puts the next one in its place.

    Reads take no lock. Changes take turns; a reload or a wish that plugin code asks for while it is
    itself being loaded is carried out right after, and gives an empty report. It lives from the
    making of its registry to :meth:`close`. ``damage`` tells what is wrong with store and
    environment whenever plugins are looked for; ``tell`` is told of what has been published.
    """

    def __init__(
        self,
        *,
        published: Published,
        rules: HostRules,
        sources: Sources,
        builder: Builder,
        activator: Activator,
        manager: PluginManager,
        dispatch: Dispatcher,
        ledger: FailureLedger,
        settings: SettingsStore,
        health: SettingsHealth,
        plugin_rows: PluginRows,
        probe_rows: ProbeRows,
        heartbeat: Heartbeat,
        turns: ChangeQueue,
        damage: Callable[[], tuple[PluginFailure, ...]],
        notify: Notify,
    ) -> None:
        self._rules = rules
        self._sources = sources
        self._builder = builder
        self._activator = activator
        self._manager = manager
        self._dispatch = dispatch
        self._ledger = ledger
        self._settings = settings
        self._health = health
        self._plugin_rows = plugin_rows
        self._probe_rows = probe_rows
        self._heartbeat = heartbeat
        self._turns = turns
        self._damage = damage
        self._outbox = EventOutbox(notify)
        self._retries = Retries()
        self._manual: tuple[PluginSpec, ...] = ()
        self._published = published
        self._collected = Discovery()
        self._revisions = RevisionTracker(plugin_rows, rules)
        self._has_ended = False
        # What rows were damaged when plugins were reloaded last.
        self._known_damage: set[tuple[object, ...]] = set()
        # The revision that _take_in_values() has read all values of.
        self._values_of: int | None = None
        self._unfinished: _Unfinished | None = None

    def is_manual(self, slug: str) -> bool:
        """Tell whether a plugin was registered by hand."""
        return any(each.slug == slug for each in self._manual)

    @property
    def running(self) -> ProcessStatus:
        """What is in service now, and by which wishes."""
        return ProcessStatus(
            generation=self._revisions.epoch,
            active=tuple(self._published.snapshot.active),
            errors=len(self._ledger.all()),
        )

    def reload(self, *, collect: bool, remake: Remake) -> LoadReport:
        """Look at the sources and the storage, and make anew what is to be made anew."""
        return self._change(
            lambda: self._reload(collect=collect, remake=remake, again=collect),
            share=(remake, collect),
        )

    def reload_everywhere(self, *, collect: bool, remake: Remake) -> LoadReport:
        """Ask the other processes to look for plugins and reload, and reload here."""

        def job() -> LoadReport:
            before = self._plugin_rows.ask_all()
            report = self._reload(collect=collect, remake=remake, again=collect)
            self._revisions.note_asked(before)
            return report

        return self._change(job, share=(remake, collect, "everywhere"))

    def refresh(self) -> bool:
        """Take in what other processes have stored; tell whether that meant a reload.

        Values wait for no change that is under way in this process; wishes that are others do.
        """
        self._published.current()
        if self._revisions.is_current():
            return False
        if not self._turns.are_free():
            self._take_in_values()
            if self._revisions.wanted_without_reload(self._published.snapshot) is not None:
                return False
        report = self._change(self._catch_up, "refresh", meanwhile=self._take_in_values)
        return report is not _NOTHING_YET

    def carry_out(
        self, store: Callable[[], tuple[Collection[Slug], int]], *, wished: bool | None = None
    ) -> None:
        """Store wishes, and make the plugins concerned, and those that need them, what they say.

        ``store`` is called when the turn has come, so that nothing is stored where that takes too
        long, and what it checks still holds when it stores. Plugin code that is being loaded has
        its turn already, and is told at once what is refused; the rest is deferred. ``store``
        returns the plugins, and the generation that it made, 0 for none. ``wished`` is what they
        are, where plugins are to be told of it.
        """
        stored = store() if self._turns.are_mine() else None

        def job() -> LoadReport:
            slugs, raised = stored or store()
            if slugs:
                self._apply_wishes(slugs)
            self._revisions.note_own_change(raised)
            if raised and wished is not None:
                for slug in slugs:
                    self._outbox.add("plugin_activated", slug=slug, active=wished)
            return _NOTHING_YET

        self._change(job)

    def retry(self) -> None:
        """Try plugins again that have asked for it by raising NotReadyYet, if it is time."""
        if not self._retries.due():
            return

        def job() -> LoadReport:
            # Another thread may have tried them while this one waited for its turn.
            due = self._retries.due()
            if due:
                self._apply_wishes([Slug(each) for each in sorted(due)])
            return _NOTHING_YET

        self._change(job)

    def tell_again(self) -> None:
        """Tell the other processes what this one runs, if it has not done so for a while.

        From now on it is told with each change, too.
        """
        if self._heartbeat.serve():
            self._change(lambda: _NOTHING_YET)

    def register(self, spec: PluginSpec) -> None:
        """Take in an object by hand.

        Raises PluginSlugError for a slug that is known, and while plugins are being loaded.
        """
        if self._turns.are_mine():
            raise PluginSlugError(
                spec.slug,
                "plugins are being loaded; a plugin brings others with plugreg_plugins()",
            )

        def job() -> LoadReport:
            if spec.slug in self._published.snapshot.plugins:
                raise PluginSlugError(spec.slug, "it is the slug of a known plugin; choose another")
            self._apply_wishes({spec.slug}, (*self._manual, spec))
            return _NOTHING_YET

        self._change(job)

    def unregister(self, slug: str) -> None:
        """Let go of an object that was registered by hand."""

        def job() -> LoadReport:
            others = tuple(each for each in self._manual if each.slug != slug)
            self._apply_wishes({Slug(slug)}, others)
            return _NOTHING_YET

        self._change(job)

    def close(self) -> None:
        """Let go of every plugin, last one first, and end. Closing again does nothing.

        Where Ctrl-C has ended it, closing again does the rest.
        """
        if not self._has_ended:
            self._turns.run(self._end)

    # -- the parts ---------------------------------------------------------------------------

    def _change(
        self,
        job: Callable[[], LoadReport],
        share: Any = None,
        meanwhile: Callable[[], object] | None = None,
    ) -> LoadReport:
        def unless_closed() -> LoadReport:
            if self._published.is_closed:
                self._published.current()
            # What Ctrl-C has kept back of the change before.
            self._finish()
            report = job()
            self._heartbeat.beat(self.running)
            return report

        try:
            report: LoadReport | None = self._turns.run(unless_closed, share, meanwhile)
        finally:
            # One that was put off is told at the end of the turn in which it is carried out.
            if not self._turns.are_mine():
                self._outbox.flush()
        return report or _NOTHING_YET

    def _end(self) -> None:
        def publish() -> None:
            self._published.snapshot = Snapshot()
            self._published.is_closed = True

        active = self._published.snapshot.active
        self._manager.exchange(active, (), publish)
        self._health.forget(active)
        for failure in self._activator.settle({}):
            self._ledger.record(failure)
        self._heartbeat.stop()
        self._has_ended = True

    def _reload(self, *, collect: bool, remake: Remake, again: bool = False) -> LoadReport:
        """Make the next snapshot; ``again`` has deleted plugins count as never seen."""
        # What others store after this look is seen by the next refresh.
        look = self._revisions.look()
        forget_folders()
        found = self._sources.find()
        # What was there then and is away now may come back without looking for new ones.
        collected = found if collect else self._collected
        found = restricted(found, collected)
        before = self._published.snapshot.active
        changed = self._settings.load()
        self._plugin_rows.load()
        self._probe_rows.load()
        damaged = {each.args for each in self._damaged()}
        found = replace(found, failures=(*found.failures, *self._damage()))
        try:
            started = perf_counter()
            built, failures = self._apply(found, remake=remake, collected=collected, again=again)
            snapshot = built.snapshot
            report = LoadReport(
                active=tuple(snapshot.active),
                states={slug: each.state for slug, each in snapshot.plugins.items()},
                failures=failures,
                seconds=perf_counter() - started,
                times=built.times,
            )
        finally:
            self._tell_changed(changed, before)
        self._known_damage = damaged
        self._revisions.note_reload(look, collected=collect)
        # A view, since the host has the report after them.
        shown = replace(report, states=MappingProxyType(report.states))
        self._dispatch.call("plugreg_plugins_loaded", report=shown)
        self._outbox.add("plugins_loaded")
        return report

    def _catch_up(self) -> LoadReport:
        revision, snapshot = self._plugin_rows.revision(), self._published.snapshot
        found = self._revisions.wanted_without_reload(snapshot)
        if found is None:
            return self._reload(collect=True, remake=Remake.CHANGED)
        self._take_in_values()
        if self._known_damage != {each.args for each in self._damaged()}:
            return self._reload(collect=True, remake=Remake.CHANGED)
        wished, epoch = found
        if wished != snapshot.wished:
            self._published.snapshot = replace(snapshot, wished=wished)
        self._revisions.note_values(revision, epoch)
        return _NOTHING_YET

    def _take_in_values(self) -> None:
        """Read values again, if anything was stored since; tell plugins what has changed.

        It has no turn, and changes nothing that those who have one go by.
        """
        revision, active = self._plugin_rows.revision(), self._published.snapshot.active
        if revision == self._values_of:
            return
        before = self._health.moment(active.values())
        changed = self._settings.load()
        self._plugin_rows.load()
        self._probe_rows.load()
        self._health.renew(before)
        self._tell_changed(changed, active)
        self._values_of = revision

    def _tell_changed(
        self, changed: Mapping[str, frozenset[str]], before: Mapping[str, ActivePlugin]
    ) -> None:
        """Tell plugins whose settings have changed, but for objects made since, by the new ones."""
        for slug, keys in changed.items():
            active = self._published.snapshot.active.get(slug)
            if active is not None and slug in before and before[slug].plugin is active.plugin:
                self._tell_of_settings(active, keys)

    def _tell_of_settings(self, active: ActivePlugin, keys: frozenset[str]) -> None:
        self._dispatch.notify(active.implementations, "plugreg_settings_changed", changed=keys)

    def _apply_wishes(
        self, slugs: Collection[Slug], manual: tuple[PluginSpec, ...] | None = None
    ) -> None:
        snapshot = self._published.snapshot
        only = frozenset(slugs) | {each for slug in slugs for each in snapshot.dependants(slug)}
        self._apply(snapshot.discovery, only=only, manual=manual)

    def _apply(
        self,
        found: Discovery,
        *,
        remake: Remake = Remake.CHANGED,
        only: frozenset[str] | None = None,
        collected: Discovery | None = None,
        again: bool = False,
        manual: tuple[PluginSpec, ...] | None = None,
    ) -> tuple[Built, tuple[PluginFailure, ...]]:
        """Build the next snapshot, publish it, tear down what left; return what went wrong too."""
        manual = self._manual if manual is None else manual
        remember = partial(self._remember, again=again)

        def publish() -> None:
            self._published.snapshot = built.snapshot
            self._collected = collected or self._collected
            self._manual = manual
            self._published.is_loaded = True
            self._unfinished = _Unfinished(built, found, is_whole=only is None)

        try:
            built = self._builder.build(
                self._published.snapshot, found, manual, remember, remake=remake, only=only
            )
            if not self._rules.safe_mode:
                self._plugin_rows.rename(built.renamed)
            # Hooks and snapshot, or neither.
            self._manager.exchange(
                [each.slug for each in built.removed],
                [each.implementations for each in built.added],
                publish,
            )
        except BaseException:
            self._tear_down()
            raise
        return built, self._finish()

    def _finish(self) -> tuple[PluginFailure, ...]:
        """Do what a published change has still to do; return what went wrong with it.

        Nothing is done twice of what concerns plugins, wherever Ctrl-C has come before.
        """
        self._manager.settle()
        rest = self._unfinished
        if rest is None:
            self._tear_down()
            return ()
        built = rest.built
        self._retries.note(built.tried | built.gone, built.failures)
        for each in (*built.added, *built.removed):
            if each.slug not in built.updated:
                # What another object has done is none of its own, and one that is off has none.
                self._dispatch.reset(each.slug)
        for failure in self._activator.settle(self._published.snapshot.active):
            rest.late.append(failure)
        for slug, plugin, keys in self._activator.changed_settings():
            active = self._published.snapshot.active.get(slug)
            if active is not None and active.plugin is plugin:
                self._tell_of_settings(active, keys)
        # Before unknown hooks are looked for: what is replayed may add the specs that they lack.
        for slug, hook, error in self._manager.replay():
            rest.late.append(PluginFailure.of_call(slug, hook, error))
        kept = self._record(built, rest.found, rest.late, is_whole=rest.is_whole)
        self._unfinished = None
        return kept

    def _tear_down(self) -> None:
        """Let go of what was newly made for a snapshot that is not published."""
        self._manager.settle()
        self._activator.discard(self._published.snapshot.active)

    def _remember(
        self, specs: Iterable[PluginSpec], /, *, few: bool = False, again: bool
    ) -> Mapping[Slug, PluginRow]:
        if self._rules.safe_mode:
            return self._with_faults(self._plugin_rows.all(), specs)
        remember = self._plugin_rows.remember_few if few else self._plugin_rows.remember
        stored = [each for each in specs if each.source is not Source.MANUAL]
        return self._with_faults(remember(stored, self._rules, again=again), specs)

    def _damaged(self) -> tuple[RecordCorruptError, ...]:
        return (*self._plugin_rows.damaged, *self._settings.damaged, *self._probe_rows.damaged)

    def _with_faults(
        self, wishes: Mapping[Slug, PluginRow], specs: Iterable[PluginSpec]
    ) -> Mapping[Slug, PluginRow]:
        """Return the wishes, each with the faults of all damaged rows of its plugin."""
        damaged = self._damaged()
        if not damaged:
            return wishes
        found, known = dict(wishes), {spec.slug: spec for spec in specs}
        for error in damaged:
            slug = _owner(error)
            wish, spec = found.get(slug), known.get(slug)
            if wish is None and spec is not None:
                active = self._rules.wants(slug, None)
                wish = PluginRow(slug=slug, pk=0, active=active, name=spec.name)
            if wish is not None and str(error) not in wish.faults:
                found[slug] = replace(wish, faults=(*wish.faults, str(error)))
        return found

    def _record(
        self,
        built: Built,
        found: Discovery,
        late: Iterable[PluginFailure],
        *,
        is_whole: bool,
    ) -> tuple[PluginFailure, ...]:
        """Let what is wrong now take the place of what was wrong before with the same plugins."""
        moved = {each.slug for each in (*built.added, *built.removed)} - built.updated
        active, plugins = built.snapshot.active, built.snapshot.plugins
        self._health.forget(each.slug for each in built.removed if each.slug not in active)
        # A whole load has read all values anew.
        looked_at = self._health.look(active.values() if is_whole else built.added)

        def is_outdated(failure: PluginFailure) -> bool:
            if failure.stage in (Stage.DISCOVERY, Stage.INSTALL):
                return is_whole
            if self._health.is_record(failure):
                return failure.slug in looked_at or failure.slug not in active
            if failure.subject == UNKNOWN_HOOKS and failure.slug in active:
                return failure.slug in moved or not self._manager.unknown_hooks(failure.slug)
            if failure.subject == UNKNOWN_PLUGIN and failure.slug not in plugins:
                return is_whole
            if failure.subject == HOOK_ORDER:
                # Whoever comes or leaves may make or break a circle of others.
                return True
            if failure.stage in LOAD_STAGES:
                return failure.slug in built.tried or failure.slug not in plugins
            return failure.slug in moved

        ownerless = [each for each in self._damaged() if _owner(each) not in plugins]
        discovered = (*found.failures, *map(_failure_of, ownerless)) if is_whole else ()
        gone = {each.slug for each in built.removed}
        unknown = [
            each
            for each in unknown_plugins(self._settings.overrides, plugins)
            if is_whole or each.slug in gone
        ]
        unusable = [each for found in looked_at.values() for each in self._health.failures(found)]
        kept = self._ledger.replace(
            (
                *discovered,
                *unknown,
                *built.failures,
                *self._unknown_hooks(built),
                *self._circles(active),
                *unusable,
                *late,
            ),
            is_outdated,
        )
        self._health.catch_up(looked_at)
        self._dispatch.forget(built.gone)
        self._settings.release(built.gone)
        _logger.info(
            "%d plugins active of %d known, %d failures", len(active), len(plugins), len(kept)
        )
        return kept

    def _unknown_hooks(self, built: Built) -> Iterable[PluginFailure]:
        for each in built.added:
            unknown = self._manager.unknown_hooks(each.slug)
            if unknown and each.slug not in built.updated:
                yield PluginFailure(
                    stage=Stage.ACTIVATE,
                    slug=each.slug,
                    subject=UNKNOWN_HOOKS,
                    message="; ".join(unknown),
                )

    def _circles(self, active: Container[str]) -> Iterable[PluginFailure]:
        for slug, ignored in self._manager.ignored_constraints().items():
            if slug in active:
                yield PluginFailure(
                    stage=Stage.ACTIVATE,
                    slug=slug,
                    subject=HOOK_ORDER,
                    message="; ".join(ignored),
                )


def _owner(error: RecordCorruptError) -> Slug:
    """Return the plugin that a damaged row belongs to, which need not be known; "" for none."""
    return Slug("" if error.table == COUNTERS else error.key.partition(":")[0])


def _failure_of(error: RecordCorruptError) -> PluginFailure:
    return PluginFailure(
        stage=Stage.DISCOVERY, slug=_owner(error) or error.table, message=str(error)
    )
