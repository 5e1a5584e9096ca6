"""The life cycle: changes of the snapshot, one at a time, each published completely."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING

from plugreg._lifecycle.change_queue import ChangeQueue, EventOutbox
from plugreg._lifecycle.publishing import Publisher
from plugreg._lifecycle.snapshot import Remake
from plugreg._state.published import RevisionTracker
from plugreg._support import exceptions
from plugreg._support.frozen import replace
from plugreg._support.slugs import Slug
from plugreg.discovery import Sources, forget_folders, restricted
from plugreg.records import (
    ActivePlugin,
    LoadReport,
    PluginSpec,
    PluginState,
    Snapshot,
)

if TYPE_CHECKING:
    from plugreg._lifecycle.protocols import Environment
    from plugreg._state.asks import Ask
    from plugreg._state.heartbeat import Heartbeat, ProcessStatus
    from plugreg.storage import Storage


class LifeCycle(Publisher, frozen=False, eq=False):
    """Makes changes, each in its turn.

    Changes wait in a queue. A change that plugin code asks for while it is being loaded is
    deferred until the current one has ended. A life cycle lives from the making of its registry
    to `close`.

    Attributes:
        outbox: Emits events to plugins after a change; flushed when a change leaves the queue.
        heartbeat: Stores the status of this process, None if no other process can read it.
        environment: The environment of installed plugins, None if there is none.
    """

    sources: Sources
    storage: Storage
    revisions: RevisionTracker
    queue: ChangeQueue
    outbox: EventOutbox
    heartbeat: Heartbeat | None
    environment: Environment | None
    # Revision up to which this process has carried out requests to all.
    _asked_until: int | None = None
    _has_ended: bool = False
    # The damage at the last reload.
    _known_damage: Set[tuple[object, ...]] = frozenset()
    # The revision of which _read_values() has read all values.
    _revision_read: int | None = None
    # Whether a change of plugin rows may be stored that was not carried out.
    _is_behind: bool = False

    def status(self) -> ProcessStatus:
        """Return which plugins are in service now, and by which epoch of the plugin rows."""
        from plugreg._state.heartbeat import ProcessStatus

        return ProcessStatus(
            generation=self.revisions.epoch,
            active=tuple(self.published.snapshot.active),
            errors=len(self.ledger.all()),
            slow=self.slow_imports,
        )

    def reload(
        self, *, full: bool = False, force: bool = False, collect: bool, everywhere: bool = False
    ) -> LoadReport:
        """Read sources and storage, and make those plugins again that are due.

        With ``everywhere`` the other processes are asked to look for plugins and reload too.
        Before the first load plugins are always looked for. Returns an empty report if the reload
        is deferred.
        """
        collect = collect or not self.published.is_loaded
        remake: Remake = "code" if full else "objects" if force else "changed"
        job = partial(
            self._reload, collect=collect, remake=remake, everywhere=everywhere, again=collect
        )
        report = self.queue.run(job, (remake, collect, everywhere))
        return report or LoadReport(active=(), states={}, failures=(), seconds=0.0)

    def refresh(self) -> bool:
        """Take in changes of other processes; return whether they caused a reload.

        Values wait for no change that is under way in this process; changed plugin rows do.
        """
        self.published.current()
        if self.revisions.is_current() and self._is_environment_current():
            return False
        if not self.queue.is_free():
            self._read_values()
            if self.revisions.wanted_without_reload(self.published.snapshot) is not None:
                return False
        return bool(self.queue.run(self._catch_up, "refresh", meanwhile=self._read_values))

    def carry_out(self, store: Callable[[], tuple[Mapping[Slug, bool | None], int]]) -> None:
        """Store which plugins are wanted, and switch these and the plugins that need them.

        ``store`` is called in the change's turn, so that nothing is stored if that comes too late,
        and that its checks still hold. Plugin code that is being loaded has the turn already, so
        that its refusals are raised at once; the rest is deferred. ``store`` returns the desired
        state of each plugin, None where no event is to be emitted, and the number of the epoch that
        it made, 0 for none.
        """
        stored, was_behind = None, self._is_behind
        if self.queue.is_inside():
            self._is_behind = True
            stored = store()

        def change() -> None:
            self._is_behind = True
            wanted, epoch = stored or store()
            self._apply_to(wanted)
            self.revisions.note_own_change(epoch)
            self._is_behind = False
            for slug, active in wanted.items() if epoch else ():
                if active is not None:
                    self.outbox.add("plugin_activated", slug=slug, active=active)

        self._run(change)
        if stored is not None:
            # The job is deferred, and not lost where Ctrl-C comes.
            self._is_behind = was_behind

    def reset(self, slug: str) -> None:
        """Close the circuit of a plugin, and try it again if it has failed."""
        self.queue.run(lambda: self._reset({slug}))

    def release(self, slug: str) -> None:
        """Let a plugin be loaded again that ended a process. Raises StorageError."""
        if self.quarantine is not None:
            self.quarantine.release(slug)

    def retry(self) -> None:
        """Try plugins again that have asked for it by raising NotReadyYet, if it is time."""
        if self.retries.due():
            # Another thread may have tried them while this thread waited.
            self._run(lambda: self._apply_to(self.retries.due()))

    def beat(self) -> None:
        """Store the status of this process, if the last heartbeat is old.

        From now on it is stored with each change, too.
        """
        if self.heartbeat is not None and self.heartbeat.serve():
            self._run(lambda: None)

    def register(self, spec: PluginSpec) -> None:
        """Take an object into service that the host has registered by hand.

        Raises PluginSlugError for a slug that is known, and while plugins are being loaded.
        """
        if self.queue.is_inside():
            raise exceptions.PluginSlugError(
                spec.slug,
                "plugins are being loaded; a plugin brings others with plugreg_plugins()",
            )

        def change() -> None:
            if spec.slug in self.published.snapshot.plugins:
                message = "it is the slug of a known plugin; choose another"
                raise exceptions.PluginSlugError(spec.slug, message)
            self._apply_to({spec.slug}, (*self._manual, spec))

        self._run(change)

    def unregister(self, slug: Slug) -> None:
        """Take an object out of service that was registered by hand."""

        def change() -> None:
            self._apply_to({slug}, tuple(spec for spec in self._manual if spec.slug != slug))

        self._run(change)

    def close(self) -> None:
        """Take every plugin out of service, the last first, and end. Later calls do nothing.

        If Ctrl-C has interrupted it, closing again does the rest.
        """
        if not self._has_ended:
            self.queue.run(self._end)

    # -- the parts ---------------------------------------------------------------------------

    def _run(self, change: Callable[[], object]) -> None:
        """Run a change when its turn comes."""

        def job() -> None:
            with self._turn():
                change()

        self.queue.run(job)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Enclose a change: first finish an interrupted change, and report to others at the end."""
        if self.published.is_closed:
            self.published.current()
        self._finish()
        if self._is_behind:
            self._carry_out_rest()
        try:
            yield
        except BaseException:
            self._leave()
            raise
        finally:
            self._watch = None
        # All code that loading runs has been run.
        self._leave(self.published.snapshot.active)
        if self.heartbeat is not None:
            self.heartbeat.beat(self.status())

    def _leave(self, served: Iterable[str] | None = None) -> None:
        if self.quarantine is not None:
            self.quarantine.leave(served)

    def _is_environment_current(self) -> bool:
        return self.environment is None or self.environment.is_current()

    def _carry_out_rest(self) -> None:
        """Carry out the stored part of an interrupted change, as a refresh does."""
        # The reload is a change itself.
        self._is_behind = False
        try:
            if not self.revisions.is_current():
                self._catch_up()
        except BaseException as error:
            self._is_behind = True
            # Without the storage the other change continues, and the next change tries again.
            if not isinstance(error, exceptions.StorageError):
                raise

    def _end(self) -> None:
        def publish() -> None:
            self.published.publish(Snapshot())
            self.published.is_closed = True

        active = self.published.snapshot.active
        self.calling.manager.exchange(active, (), publish)
        self.health.forget(active)
        for failure in self.activations.settle({}):
            self.ledger.record(failure)
        self._end_processes({})
        if self.heartbeat is not None:
            self.heartbeat.stop()
        if self.environment is not None:
            self.environment.close()
        self._has_ended = True

    def _reload(
        self, *, collect: bool, remake: Remake, everywhere: bool = False, again: bool = False
    ) -> LoadReport:
        """Publish the next snapshot; ``again`` has deleted plugins count as never seen."""
        with self._turn():
            own = self.stored.plugin_rows.ask_all() if everywhere else None
            # Rows that others store after this are found by the next refresh.
            revision, epoch = self.stored.plugin_rows.revision(), self.stored.plugin_rows.epoch()
            if self._asked_until is None:
                # Earlier requests do not concern a process that is loaded now.
                self._asked_until = revision
            asked = [] if self._asked_until == revision else self._open_asks()
            if self.environment is not None:
                self.environment.follow()
            forget_folders()
            found = self.sources.find()
            # A known plugin that is missing now may return without a new discovery.
            collected = found if collect else self._collected
            found = restricted(found, collected)
            active = self.published.snapshot.active
            changed = self.stored.load()
            damage = self.stored.damage()
            faults = () if self.environment is None else self.environment.failures()
            faults = (*self.stored.plugin_rows.set_aside_failures(), *faults)
            found = replace(found, failures=(*found.failures, *faults))
            try:
                started = perf_counter()
                built, failures = self._apply(
                    found, remake=remake, collected=collected, again=again
                )
                snapshot = built.snapshot
                report = LoadReport(
                    active=tuple(snapshot.active),
                    states={slug: plugin.state for slug, plugin in snapshot.plugins.items()},
                    failures=failures,
                    seconds=perf_counter() - started,
                    times=built.times,
                )
            finally:
                self._notify_changed(changed, active)
            self._known_damage = damage
            if [ask.revision for ask in asked] == [own]:
                self._asked_until, asked = own, []
            # A request that is still open must be found at the next look.
            self.revisions.note(None if asked else revision, epoch)
            # A view, since the host gets the report after the plugins.
            shown = replace(report, states=MappingProxyType(report.states))
            self.calling.dispatch.call_watched("plugreg_plugins_loaded", self._watch, report=shown)
            self.outbox.add("plugins_loaded")
            return report

    def _open_asks(self) -> list[Ask]:
        """Return the requests to all processes that this process has not carried out yet."""
        from plugreg._state import asks

        return asks.since(self.storage, self._asked_until or 0)

    def _catch_up(self) -> bool:
        """Take in changes of others; return whether they caused a reload."""
        revision, asked = self.stored.plugin_rows.revision(), self._open_asks()
        # A request that cannot be carried out must be found at the next look.
        is_reloaded = has_reloaded = self._take_in(None if asked else revision)
        for ask in asked:
            if not (is_reloaded and ask.is_reload_of_all):
                has_reloaded |= self._carry_out_asked(ask)
            self._asked_until = ask.revision
        if asked:
            self.revisions.note(revision, self.revisions.epoch)
        return has_reloaded

    def _carry_out_asked(self, ask: Ask) -> bool:
        """Carry out requests to all processes; return whether plugins were reloaded."""
        plugins = self.published.snapshot.plugins
        if ask.slug is not None and ask.slug not in plugins:
            return False
        if ask.what == "reset":
            return self._reset(plugins if ask.slug is None else {ask.slug})
        is_code = ask.what == "code"
        if ask.slug is None:
            self._reload(collect=True, remake="code" if is_code else "changed")
        else:
            with self._turn():
                self._apply_to({ask.slug}, remake="code" if is_code else "objects")
        return True

    def _reset(self, slugs: Iterable[str]) -> bool:
        """Close the circuits of plugins; return whether failed plugins were tried again."""
        plugins = self.published.snapshot.plugins
        failed = {slug for slug in slugs if plugins[slug].state is PluginState.FAILED}
        for slug in slugs:
            self.calling.dispatch.reset(slug)
            self.release(slug)
        with self._turn():
            self._apply_to(failed)
        return bool(failed)

    def _take_in(self, revision: int | None) -> bool:
        """Read plugin rows of others; return whether they caused a reload."""
        with self._turn():
            snapshot = self.published.snapshot
            found = self.revisions.wanted_without_reload(snapshot)
            if found is not None:
                self._read_values()
            is_other = not self._is_environment_current()
            if found is None or is_other or self._known_damage != self.stored.damage():
                self._reload(collect=True, remake="changed")
                return True
            wanted, epoch = found
            if wanted != snapshot.wished:
                self.published.publish(replace(snapshot, wished=wanted))
            self.revisions.note(revision, epoch)
            return False

    def _read_values(self) -> None:
        """Read values again, if anything was stored since; notify plugins of changed settings.

        It needs no turn, and changes nothing that a change relies on.
        """
        revision, active = self.stored.plugin_rows.revision(), self.published.snapshot.active
        if revision != self._revision_read:
            changed = self.health.check_read(active.values(), self.stored.load)
            self._notify_changed(changed, active)
            self._revision_read = revision

    def _notify_changed(
        self, changed: Mapping[str, frozenset[str]], before: Mapping[str, ActivePlugin]
    ) -> None:
        """Notify plugins of changed settings. Objects made since ``before`` have read the new."""
        for slug, keys in changed.items():
            if slug in before:
                self._notify(slug, before[slug].plugin, keys)
