"""PluginRegistry: the life cycle of plugins and looking them up; the rest are collaborators."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, NotRequired, Self, TypedDict

from plugreg._support.lazy import lazy
from plugreg.exceptions import InstallError, PluginFaultError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from plugreg._calls.circuits import CircuitPolicy
    from plugreg._calls.health import PluginHealth
    from plugreg._lifecycle.shared import Shared
    from plugreg._probe.prober import Prober
    from plugreg._state.configuration import Configuration
    from plugreg._state.ledger import OnFailure
    from plugreg._state.probe_rows import ProbeReport
    from plugreg._state.watch import Watch
    from plugreg.assets import Asset
    from plugreg.capabilities import Capabilities
    from plugreg.encryption import Encryption
    from plugreg.events import Deliver, Events
    from plugreg.install import Installer, InstallPlan, InstallReport, Packages, UninstallReport
    from plugreg.mixins import MixinSpec
    from plugreg.observation import CallObserver
    from plugreg.records import LoadReport, PluginFailure, PluginRecord
    from plugreg.schedules import Schedules
    from plugreg.settings.view import SettingsView
    from plugreg.storage import Storage
    from plugreg.ui import AdminDetails, UIFeature


class RegistryStatus(TypedDict):
    """What ``GET /plugins/status/`` answers (behaviour.md, section 2.5), and the processes."""

    active_plugins: int
    registry_errors: list[dict[str, str]]
    processes: NotRequired[list[dict[str, Any]]]


class PluginRegistry:
    """Which plugins a host has, which are on, what they can do, and what went wrong.

    Making one reads and loads nothing; :meth:`load` does. One instance lives as long as the host
    needs plugins, and may be used from any thread: reads take no lock and see one whole snapshot,
    changes take turns. A plugin's fault is a record in :attr:`errors`, never an exception here.
    It is closed with :meth:`close` or as a context manager; a storage that was passed in stays
    open, since others may use it.

    ``host`` is the host's name, by which its own pluggy markers are honoured. ``group`` is the
    entry point group, by default ``<host>.plugins``. ``host_version`` (PEP 440; None: no check)
    is held against what plugins require of the distribution ``host_distribution``, by default
    ``host``, and against their MIN_VERSION and MAX_VERSION. ``hookspecs`` are classes or modules.
    ``builtin`` has classes, objects, ``"module:attr"`` texts or (name, any of these) pairs,
    ``samples`` the same or folders, ``directories`` folders. ``mandatory``, ``blocked`` and
    ``allowed`` are slugs; ``new_plugins`` says what a plugin never seen before is wished;
    ``ignore_compatibility`` names plugins to run in spite of their range. ``mixins`` are the
    host's own capabilities, ``switches`` turns capabilities off. ``overrides`` fixes settings, by
    slug and key; a value may be, or hold, ``{"$env": "NAME"}`` or ``{"$file": "path"}``.
    ``circuit`` says when a plugin that fails again and again gets no calls for a while, None that
    it always does. ``observe`` counts and times the calls of plugins; observers of the host's own
    are told of each call. ``critical`` names plugins that must serve for :attr:`ready`, beside
    the mandatory ones. ``encryption`` encrypts protected values where they are stored. With
    ``implicit_prefix`` unmarked functions with it count as hooks. ``on_failure`` is called with
    each new PluginFailure. ``events`` says how plugins hear of events: None, in the caller; an
    Executor, in its threads; a function, which puts each delivery into the host's own queue, for
    ``registry.events.process``. ``call_timeout`` is how many seconds each plugin may take in
    ``acall`` and ``aoutcomes``. ``safe_mode`` (or PLUGREG_SAFE_MODE=1) loads nothing and writes
    nothing by itself. ``reload_wait`` is how many seconds a change waits for the one before it.
    ``process`` is what this process is called among those that share the storage, by default its
    program. A process with a name is listed among them from its load on, and another one when it
    begins to watch or to answer requests.

    Raises ValueError for arguments that contradict each other or themselves, TypeError for some.
    """

    def __init__(
        self,
        host: str,
        *,
        host_version: str | None = None,
        group: str | None = None,
        host_distribution: str | None = None,
        hookspecs: Iterable[Any] = (),
        storage: Storage | None = None,
        directories: Iterable[str | os.PathLike[str]] = (),
        builtin: Iterable[Any] = (),
        samples: Iterable[Any] = (),
        mandatory: Iterable[str] = (),
        blocked: Iterable[str] = (),
        allowed: Iterable[str] | None = None,
        new_plugins: Literal["inactive", "active"] = "inactive",
        ignore_compatibility: Iterable[str] = (),
        mixins: Iterable[MixinSpec] = (),
        switches: Mapping[str, bool] = MappingProxyType({}),
        overrides: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
        encryption: Encryption | None = None,
        implicit_prefix: str | None = None,
        installer: Installer | None = None,
        circuit: CircuitPolicy | None = None,
        observe: bool | Iterable[CallObserver] = False,
        critical: Iterable[str] = (),
        on_failure: OnFailure | None = None,
        events: Executor | Deliver | None = None,
        call_timeout: float | None = None,
        safe_mode: bool = False,
        reload_wait: float = 30.0,
        process: str | None = None,
        index: str | os.PathLike[str] | None = None,
        index_verify: bool = False,
    ) -> None:
        given = locals()
        del given["self"]
        given["index_file"] = given.pop("index")
        # Imported here, so that plugins, and programs that make no registry, need not wait for it.
        from plugreg._lifecycle.assembly import Assembly
        from plugreg._lifecycle.options import Options

        self._parts: Final = Assembly(Options(**given), self._interrupted_installation)
        self._published: Final = self._parts.published
        self._life: Final = self._parts.life
        self.manager: Final = self._parts.calling.manager
        """The one pluggy manager, for as long as the registry lives. A host may register on it."""
        self.dispatch: Final = self._parts.calling.dispatch
        """The isolated calls."""
        self.catalogue: Final = self._parts.catalogue
        """All plugins as records, and lists of them: filtered, searched and ordered."""
        self.call = self.dispatch.call
        self.first = self.dispatch.first
        self.outcomes = self.dispatch.outcomes
        self.acall = self.dispatch.acall
        self.aoutcomes = self.dispatch.aoutcomes
        self.explain = self.dispatch.explain

    # -- collaborators -----------------------------------------------------------------------

    @property
    def config(self) -> Configuration:
        """Settings, user settings and metadata."""
        return self._parts.config

    @property
    def events(self) -> Events:
        """Telling plugins what happens in the host."""
        return self._parts.events

    @property
    def schedules(self) -> Schedules:
        """The tasks of plugins, and running one."""
        return self._parts.schedules

    @property
    def shared(self) -> Shared:
        """What the processes that share the storage have to do with one another."""
        return self._parts.shared

    @property
    def capabilities(self) -> Capabilities:
        """Isolated calls of mixins' methods: ``capabilities.outcomes("mail", "…", mail)``."""
        return self._parts.capabilities

    @lazy
    def packages(self) -> Packages | None:
        """Installing and uninstalling distributions, None without an installer."""
        if self._parts.options.installer is None:
            return None
        from plugreg.install.packages import Packages

        parts = self._parts
        return Packages(
            parts.options.installer,
            group=parts.options.entry_point_group,
            protected={parts.options.distribution},
            storage=parts.storage,
            catalogue=self.catalogue,
            refresh=self._refresh_if_loaded,
            rediscover=self._rediscover,
            forget=parts.operator.delete,
            notify=parts.own_events.emit,
        )

    # -- life cycle --------------------------------------------------------------------------

    def load(self, *, strict: bool = False) -> LoadReport:
        """Discover, resolve, load and activate; the second time it is :meth:`reload`.

        Raises nothing because of a plugin, unless ``strict``: then, after publishing, an
        ExceptionGroup with one PluginFaultError for each failure. Safe mode, which is itself a
        failure record, always starts. Raises StorageError when the
        storage cannot be read: starting without wishes would switch everything off.
        """
        from plugreg._lifecycle.snapshot import Remake

        collect = not self._published.is_loaded
        report = self._life.reload(collect=collect, remake=Remake.CHANGED)
        if strict and report.failures and not self._parts.rules.safe_mode:
            raise ExceptionGroup(
                f"{len(report.failures)} plugin failures",
                [PluginFaultError(e.stage, e.slug, e.message) for e in report.failures],
            )
        return report

    def reload(
        self, *, full: bool = False, force: bool = False, collect: bool = False
    ) -> LoadReport:
        """Run the steps again, build the new state aside, and swap it in (behaviour.md, 9.6).

        Without a flag only plugins whose wish, version or source has changed are made anew, and
        failed ones tried again. ``force`` makes every object of a plugin's class anew, ``full``
        imports their modules again too and tells mixins so, ``collect`` looks for new and vanished
        plugins first. Objects that the host gave, and modules that are not imported again, cannot
        be made anew: they stay in service as they are. A registry that was not loaded yet is.

        It waits for a change that is being carried out, and callers that wait for the same share
        its report. Asked for by plugin code that is itself being loaded, it is carried out right
        after, and this returns an empty report. Raises StorageError, or RegistryBusyError after
        ``reload_wait`` seconds; then everything is as it was.
        """
        from plugreg._lifecycle.snapshot import Remake

        return self._life.reload(
            collect=collect or not self._published.is_loaded,
            remake=Remake.of(full=full, force=force),
        )

    def refresh(self) -> bool:
        """Forward to ``shared.refresh``: take in what other processes have changed."""
        return self.shared.refresh()

    def watch(self, every: float = 1.0) -> Watch:
        """Forward to ``shared.watch``: ``with registry.watch():`` refreshes in a thread."""
        return self.shared.watch(every)

    def close(self) -> None:
        """Deactivate every plugin, last one first, and end. Nothing stored is changed.

        Closing again does nothing. Afterwards calls reach nobody, and ``errors`` can still be
        read; every other read, and every change, raises RegistryNotReady.
        """
        self._life.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- wishes ------------------------------------------------------------------------------

    def activate(
        self, slug: str, *, allow_missing: bool = False, probe: bool = False
    ) -> PluginRecord:
        """Switch a plugin on, now and at each start, and return its record.

        A plugin that then fails stays wished, and that is no error. With ``probe`` it, and each
        wanted plugin that waits for it, is looked at in a child process first, and one that would
        take the host down raises ProbeFailedError. Raises PluginNotFoundError (unless
        ``allow_missing``), PluginBlockedError, StorageError, RegistryBusyError; see
        :meth:`plugreg._lifecycle.operator.Wishes.activate`.
        """
        return self._parts.operator.activate(
            slug, allow_missing=allow_missing, probe=self.probe if probe else None
        )

    def probe(self, slug: str, timeout: float = 10.0) -> ProbeReport:
        """Load a plugin in a child process, and tell what it would bring or how it died.

        It takes ``timeout`` seconds, and some more where the plugin resists its end. What was
        learnt is remembered for its version, and shown while it is off. Raises PluginNotFoundError,
        PluginBlockedError, ProbeUnavailableError, StorageError, ValueError for a ``timeout`` that
        is none; see :meth:`plugreg._probe.prober.Prober.probe`.
        """
        return self._prober.probe(slug, timeout)

    def probed(self, slug: str) -> ProbeReport | None:
        """Return what the last probe told of this version of a plugin. Raises PluginNotFoundError.

        None where there was no probe of it. Nothing is run, and the print-out is not remembered.
        """
        return self.catalogue.probed(slug)

    def deactivate(self, slug: str, *, cascade: bool = False) -> PluginRecord:
        """Switch a plugin off, now and at each start, and return its record.

        No call begun afterwards reaches it. Raises PluginNotFoundError, PluginMandatoryError,
        PluginRequiredError (unless ``cascade``), PluginSlugError, StorageError, RegistryBusyError;
        see :meth:`plugreg._lifecycle.operator.Wishes.deactivate`.
        """
        return self._parts.operator.deactivate(slug, cascade=cascade)

    def delete(self, slug: str) -> None:
        """Forget everything that is stored of a plugin that is off, by what the store says.

        Raises PluginNotFoundError, PluginMandatoryError, PluginActiveError, PluginSlugError,
        StorageError, RegistryBusyError; see :meth:`plugreg._lifecycle.operator.Wishes.delete`.
        """
        self._parts.operator.delete(slug)

    def register(self, obj: Any, slug: str | None = None) -> PluginRecord:
        """Take in an object by hand: active at once, ``pk`` 0, no stored wish, over all reloads.

        ``slug`` is slugified; without it SLUG, NAME or the class's name counts. A fault of the
        object is a failure record, and its state then ``failed``. Raises PluginSlugError for a
        slug that is known, empty or reserved, or when plugin code asks while it is being loaded;
        PluginBlockedError; RegistryNotReady before load.
        """
        return self._parts.operator.register(obj, slug)

    def unregister(self, slug: str) -> None:
        """Let go of an object that was registered by hand. Raises PluginNotFoundError."""
        self._parts.operator.unregister(slug)

    # -- look-up -----------------------------------------------------------------------------

    @property
    def plugins(self) -> Mapping[str, PluginRecord]:
        """Every known plugin by slug, in alphabetical order; a view of one moment."""
        return self.catalogue.all()

    @property
    def active(self) -> Mapping[str, PluginRecord]:
        """The plugins in service by slug, in activation order; a view of one moment."""
        return self.catalogue.active()

    def get(self, slug: str) -> PluginRecord:
        """Return the record of one plugin. Raises PluginNotFoundError, with a near name."""
        try:
            return self._published.snapshot.composed[slug]
        except KeyError:
            pass  # It is not made yet, or has failed, or is none.
        return self.catalogue.record(slug)

    def with_mixin(self, key: str) -> tuple[Any, ...]:
        """Return the active plugin objects with this capability enabled, in activation order.

        Empty where the host has switched the capability off, or nobody has it.
        """
        try:
            return self._published.snapshot.by_mixin[key]
        except KeyError:
            pass  # Nobody has it, or it is spelt otherwise, or nothing is loaded.
        return self._published.current().by_mixin.get(key.strip().lower(), ())

    @property
    def hook(self) -> Any:
        """The relay of pluggy, with pluggy's semantics: ``registry.hook.price(item="tea")``."""
        return self.manager.hook

    @property
    def errors(self) -> tuple[PluginFailure, ...]:
        """What is wrong now, each failure once with a count, in order of first appearance.

        Those of a plugin go when it is switched off, or comes into service anew. Raises
        RegistryNotReady before load.
        """
        self._published.check_loaded()
        return self._parts.ledger.all()

    def status(self, *, processes: bool = False) -> RegistryStatus:
        """Return how many plugins are in service, and what went wrong, as data for JSON.

        These are of this process. With ``processes`` what ``shared.processes`` tells is added,
        which reads the storage and may raise StorageError.
        """
        found = RegistryStatus(
            active_plugins=len(self._published.current().active),
            registry_errors=[
                {"stage": str(e.stage), "name": e.slug, "message": e.message} for e in self.errors
            ],
        )
        if processes:
            from dataclasses import asdict

            told = self.shared.processes()
            found["processes"] = [{**asdict(e), "seen": e.seen.isoformat()} for e in told]
        return found

    @property
    def ready(self) -> bool:
        """Whether the registry is loaded and every critical and mandatory plugin serves.

        One serves that is active and whose circuit is not open. Calls no plugin and raises nothing.
        """
        return self._parts.plugin_health.ready

    def health(self) -> tuple[PluginHealth, ...]:
        """Return what active plugins say of themselves (``plugreg_health``), in call order."""
        return self._parts.plugin_health.report()

    def reset(self, slug: str) -> PluginRecord:
        """Close a plugin's circuit, so that it is called again at once; return its record.

        Raises PluginNotFoundError, and RegistryNotReady before load.
        """
        self.dispatch.reset(self.get(slug).slug)
        return self.get(slug)

    def settings(self, slug: str) -> SettingsView:
        """Forward to ``config.settings``."""
        return self.config.settings(slug)

    def user_settings(self, slug: str, user: int) -> SettingsView:
        """Forward to ``config.user_settings``."""
        return self.config.user_settings(slug, user)

    def metadata(self, slug: str) -> dict[str, Any]:
        """Forward to ``config.metadata``."""
        return self.config.metadata(slug)

    def set_metadata(self, slug: str, data: dict[str, Any], merge: bool = True) -> dict[str, Any]:
        """Forward to ``config.set_metadata``."""
        return self.config.set_metadata(slug, data, merge)

    def ui_features(
        self, feature: str, context: Mapping[str, Any] | None = None, actor: Any = None
    ) -> tuple[UIFeature, ...]:
        """Return what active plugins show of one feature type (behaviour.md, section 12)."""
        return self._parts.ui.features(feature, context, actor)

    def admin(self, slug: str) -> AdminDetails:
        """Return script and context of a plugin's admin panel, both None unless it is active."""
        from plugreg.ui import AdminDetails

        active = self._published.current().active.get(self.get(slug).slug)
        return AdminDetails() if active is None else self._parts.ui.admin(active)

    def plan(self, requirement: str, *, index_url: str | None = None) -> InstallPlan:
        """Forward to ``packages.plan``. Raises InstallError without an installer."""
        return self._installing().plan(requirement, index_url=index_url)

    def install(
        self,
        requirement: str | InstallPlan,
        *,
        index_url: str | None = None,
        actor: str | None = None,
        progress: Callable[[str], object] | None = None,
    ) -> InstallReport:
        """Forward to ``packages.install``. Raises InstallError without an installer."""
        return self._installing().install(
            requirement, index_url=index_url, actor=actor, progress=progress
        )

    def uninstall(
        self,
        slug: str,
        *,
        delete_config: bool = True,
        dependencies: bool = False,
        actor: str | None = None,
        progress: Callable[[str], object] | None = None,
    ) -> UninstallReport:
        """Forward to ``packages.uninstall``. Raises InstallError without an installer."""
        return self._installing().uninstall(
            slug,
            delete_config=delete_config,
            dependencies=dependencies,
            actor=actor,
            progress=progress,
        )

    def assets(self, slug: str, path: str) -> Asset:
        """Return a file of an active plugin's ``static`` folder; see ``Assets.read``."""
        return self._parts.assets.read(slug, path)

    def asset_files(self, slug: str) -> dict[str, Asset]:
        """Return all assets of an active plugin by path, as for a CDN; see ``Assets.files``."""
        return self._parts.assets.files(slug)

    # -- the parts ---------------------------------------------------------------------------

    def _rediscover(self, anew: bool) -> None:
        from plugreg._lifecycle.snapshot import Remake

        if self._published.is_loaded:
            remake = Remake.of(full=anew, force=False)
            self._life.reload_everywhere(collect=True, remake=remake)
        else:
            self._parts.plugin_rows.ask_all()

    def _refresh_if_loaded(self) -> None:
        if self._published.is_loaded:
            self._life.refresh()

    def _installing(self) -> Packages:
        if self.packages is None:
            raise InstallError(["installing is disabled; give the registry an installer="])
        return self.packages

    def _interrupted_installation(self) -> tuple[PluginFailure, ...]:
        return () if self.packages is None else self.packages.failures()

    @lazy
    def _prober(self) -> Prober:
        from plugreg._probe.prober import Prober

        parts = self._parts
        return Prober(
            host=parts.options.host,
            implicit_prefix=parts.options.implicit_prefix,
            rules=parts.rules,
            mixins=parts.mixins,
            current=self._published.current,
            probe_rows=parts.probe_rows,
            scrubber=parts.settings.scrubber,
        )
