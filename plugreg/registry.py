"""The registry: life cycle and look-up of plugins. Everything else is a collaborator of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from plugreg._support import exceptions, lazy

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from typing import NotRequired, TypedDict

    from plugreg._calls.circuits import CircuitPolicy
    from plugreg._calls.health import Health, PluginHealth
    from plugreg._lifecycle.assembly import MakeIsolation, Options
    from plugreg._lifecycle.catalogue import Catalogue
    from plugreg._lifecycle.coordination import Coordination
    from plugreg._lifecycle.load import Construct
    from plugreg._lifecycle.operator import Operator
    from plugreg._lifecycle.protocols import Environment
    from plugreg._probe.prober import Prober
    from plugreg._state.configuration import Configuration
    from plugreg._state.ledger import OnFailure
    from plugreg._state.probe_report import ProbeReport
    from plugreg._state.watch import Watch
    from plugreg.assets import Asset, Assets
    from plugreg.capabilities import Capabilities
    from plugreg.encryption import Encryption
    from plugreg.events import Deliver, Events
    from plugreg.exceptions import RecordCorruptError
    from plugreg.hooks import PluginManager
    from plugreg.install import Installer, InstallPlan, InstallReport, Packages, UninstallReport
    from plugreg.isolation import Isolated
    from plugreg.mixins import MixinSpec
    from plugreg.observation import CallObserver
    from plugreg.records import (
        LoadPlan,
        LoadReport,
        PluginFailure,
        PluginRecord,
        PluginSpec,
    )
    from plugreg.repairs import Repair
    from plugreg.schedules import Schedules
    from plugreg.settings.view import SettingsView
    from plugreg.storage import Storage
    from plugreg.ui import AdminDetails, UIFeature, UserInterface


_PROCESS_FIELDS: Final = ("name", "pid", "host", "generation", "active", "errors", "seen")
"""The fields that the status shows of each process."""


if TYPE_CHECKING:

    class RegistryStatus(TypedDict):
        """Summary of a registry as data for JSON, as ``GET /plugins/status/`` answers it."""

        active_plugins: int
        registry_errors: list[dict[str, str]]
        processes: NotRequired[list[dict[str, Any]]]
        isolated: NotRequired[list[dict[str, Any]]]


class PluginRegistry:
    """Registry of the plugins of a host application.

    Creating a registry performs no I/O; call `load`. Reads take no lock and see a
    consistent snapshot; changes are queued. A failing plugin never raises here: it
    becomes a `PluginFailure` in `errors`. Any thread may use a registry. Close it with
    `close` or as a context manager; a storage that was passed in stays open.

    Args:
        host: pluggy project name, and prefix of the default *group*. The host's own pluggy
            markers with this name count.
        host_version: Version of the host by PEP 440. It is checked against the versions that
            plugins require. None means no check.
        group: Entry-point group. Defaults to ``f"{host}.plugins"``.
        host_distribution: Distribution whose version range in a plugin's ``Requires-Dist`` is
            checked. Defaults to *host*.
        hookspecs: Classes or modules with hook specifications.
        storage: Where settings, metadata and desired states are stored. Defaults to a
            `MemoryStorage`, which forgets everything at its end.
        directories: Folders with plugins.
        builtin: Plugins of the host: classes, objects, ``"module:attr"`` strings, or (name, any
            of these) pairs.
        samples: The same, or folders, for plugins that show how plugins are written.
        mandatory: Slugs of plugins that are always on.
        blocked: Plugins that are never loaded: slugs, or ``"distribution:name"`` of entry points.
        allowed: The only plugins that may be loaded, named likewise. None allows all.
        new_plugins: Desired state of a plugin that was never seen before.
        ignore_compatibility: Slugs of plugins to load although the host's version is outside
            their range.
        mixins: Capabilities of the host, beside those of plugreg.
        switches: Capabilities that are turned off, by the name of their switch.
        overrides: Values of settings by slug and key. They win over stored values and are shown
            as locked. A value may be or contain ``{"$env": "NAME"}`` or ``{"$file": "path"}``.
        accept: Objects that count as plugins. ``"plugins"``: modules, objects of `Plugin` or a
            capability's class, and objects with hook implementations. ``"any"``: every object but
            None; functions and other classes are taken as they are.
        builtins_called: Whether builtins are called after all other plugins, or before them. Among
            themselves the last is called first, as with pluggy's ``register``.
        construct: Makes the object of a plugin's class, from the class and its `PluginSpec`. None
            calls the class without arguments.
        slug_of: Returns the slug of an installed plugin, from its `PluginSpec`, where several
            distributions have entry points of the same name. None uses the name itself.
        encryption: Keys that encrypt protected values where they are stored.
        implicit_prefix: Prefix by which unmarked functions count as hook implementations.
        manager: The host's own manager, of a subclass of `plugreg.hooks.PluginManager`, for this
            registry alone. What it overrides of ``register``, ``unregister`` and
            ``parse_hookimpl_opts`` is called for each plugin. None makes a manager.
        installer: Installs distributions. None means that installing is refused.
        circuit: When a plugin that fails repeatedly is not called for a while. None means never.
        observe: Whether calls are counted and timed, or observers that are notified of them.
        critical: Slugs of plugins that must be in service for `ready`, beside mandatory plugins.
        on_failure: Called with each new failure, in the thread in which it occurred. None logs it
            as a warning.
        events: How events are delivered: None, in the caller's thread; an Executor, in its
            threads; a function, which puts each delivery into a queue of the host.
        call_timeout: Seconds each plugin may take in `acall`; None means no limit.
        safe_mode: Whether no plugin is loaded, and nothing is written unless an operator changes
            it. ``PLUGREG_SAFE_MODE=1`` in the environment has the same effect.
        reload_wait: Seconds a change waits for the changes before it.
        process: Name of this process among those that share the storage. Defaults to its
            program. A process with a name is listed from its load on, another process from the
            moment it watches or answers requests.
        isolate: Plugins that run in processes of their own: options by slug, or the options of
            every plugin that is installed or in a folder.
        index: File that keeps the result of discovery for the next start. None means no index.
        index_verify: Whether files that were edited in place are noticed with an index.
        path: Folders to search for installed plugins. None means ``sys.path``; an empty path means
            that no installed plugin is looked for.
        clock: Returns the seconds by which circuits count. They never go back.

    Raises:
        ValueError: If arguments contradict each other or themselves.
        TypeError: If an argument has a wrong type, such as a string for a collection.
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
        accept: Literal["plugins", "any"] = "plugins",
        builtins_called: Literal["last", "first"] = "last",
        construct: Construct | None = None,
        slug_of: Callable[[PluginSpec], str] | None = None,
        encryption: Encryption | None = None,
        implicit_prefix: str | None = None,
        manager: PluginManager | None = None,
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
        isolate: Isolated | Mapping[str, Isolated] = MappingProxyType({}),
        index: str | os.PathLike[str] | None = None,
        index_verify: bool = False,
        path: Iterable[str | os.PathLike[str]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        given = locals()
        del given["self"]
        # Imported here, so that plugins, and programs that make no registry, need not wait for it.
        from plugreg._lifecycle.assembly import Assembly, Options

        options = Options(**given)
        self._parts: Final = Assembly(options, _environment(options), _isolation(options))
        self._published: Final = self._parts.published
        self._life: Final = self._parts.life
        self.storage: Storage = self._parts.storage
        """The storage that the host passed, or the registry's own storage in memory."""
        self.manager: Final = self._parts.calling.manager
        """The pluggy manager, for as long as the registry lives. A host may register on it."""
        self.dispatch: Final = self._parts.calling.dispatch
        """The isolated calls."""
        self.call = self.dispatch.call
        self.first = self.dispatch.first
        self.outcomes = self.dispatch.outcomes
        self.acall = self.dispatch.acall
        self.aoutcomes = self.dispatch.aoutcomes
        self.explain = self.dispatch.explain

    # -- collaborators -----------------------------------------------------------------------

    @property
    def options(self) -> Options:
        """The arguments of this registry, by name."""
        return self._parts.options

    @property
    def mixins(self) -> tuple[MixinSpec, ...]:
        """The capabilities that plugins may have, plugreg's first; imports all of them."""
        return self._parts.mixins.all()

    @property
    def catalogue(self) -> Catalogue:
        """All plugins as records, and lists of them: filtered, searched and ordered."""
        return self._parts.catalogue

    @lazy
    def config(self) -> Configuration:
        """Settings, user settings and metadata of plugins."""
        from plugreg._state.configuration import Configuration

        parts = self._parts
        current, probed = self._published.current, self.probed
        return Configuration(current, parts.settings, parts.plugin_rows, probed)

    @property
    def events(self) -> Events:
        """Delivery of events to plugins."""
        return self._parts.events

    @lazy
    def schedules(self) -> Schedules:
        """The tasks of plugins."""
        from plugreg.schedules import Schedules

        return Schedules(self._published.current, self._parts.ledger)

    @lazy
    def shared(self) -> Coordination:
        """Coordination with other processes that share the storage."""
        from plugreg._lifecycle.coordination import Coordination

        parts = self._parts
        return Coordination(self._published, self._life, parts.storage, parts.heartbeat)

    @lazy
    def capabilities(self) -> Capabilities:
        """Isolated calls of mixins' methods: ``capabilities.outcomes("mail", "…", mail)``."""
        from plugreg.capabilities import Capabilities

        return Capabilities(self._published.current, self.dispatch)

    @lazy
    def packages(self) -> Packages | None:
        """Installing and uninstalling distributions. None without an installer."""
        if self._parts.options.installer is None:
            return None
        from plugreg.install.environment import InstallContext
        from plugreg.install.packages import Packages

        parts = self._parts
        context = InstallContext(
            installer=parts.options.installer,
            group=parts.options.entry_point_group,
            slug_of=parts.options.slug_of,
            storage=parts.storage,
            catalogue=self.catalogue,
            refresh=self._refresh_if_loaded,
            rediscover=self._rediscover,
            forget=self._operator.delete,
            notify=parts.emit,
            probe=self._probe_staged,
        )
        return Packages(context)

    @property
    def host(self) -> str:
        """The name of the host, which is pluggy's project name."""
        return str(self._parts.options.host)

    @property
    def group(self) -> str:
        """The group of the entry points by which plugins are found."""
        return self._parts.options.entry_point_group

    # -- life cycle --------------------------------------------------------------------------

    def in_safe_mode(self, storage: Storage | None = None) -> PluginRegistry:
        """Return another registry with the same options, in safe mode, which is not loaded.

        It imports no plugin, logs no failure and is not listed among the processes. This registry
        stays as it is, loaded or not.

        Args:
            storage: Another storage. Defaults to that of this registry.
        """
        options = {**vars(self._parts.options), "storage": storage or self.storage}
        # A manager belongs to a single registry.
        changed = {"safe_mode": True, "manager": None, "on_failure": lambda _: None, "events": None}
        return PluginRegistry(**{**options, **changed})

    def load(self, *, strict: bool = False) -> LoadReport:
        """Discover, resolve, load and activate plugins.

        A second call is a `reload`. A failing plugin raises nothing, unless *strict* is given.
        Safe mode, which is a failure record itself, always starts.

        Args:
            strict: Whether failures raise, after the snapshot was published.

        Returns:
            Active plugins, the state of each plugin, failures and times.

        Raises:
            StorageError: If the storage cannot be read. Starting without desired states would
                switch every plugin off.
            ExceptionGroup: With *strict*, with a PluginFaultError for each failure.
        """
        report = self._life.reload(collect=False)
        if report.states:
            # Look-ups after a load touch no file, and import no module either.
            _ = self._parts.catalogue
        if strict and report.failures and not self._parts.rules.safe_mode:
            raise ExceptionGroup(
                f"{len(report.failures)} plugin failures",
                [
                    exceptions.PluginFaultError(failure.stage, failure.slug, failure.message)
                    for failure in report.failures
                ],
            )
        return report

    def reload(
        self, *, full: bool = False, force: bool = False, collect: bool = False
    ) -> LoadReport:
        """Build the next snapshot beside the current snapshot, and publish it.

        Only plugins whose desired state, version or source has changed are made again, and failed
        ones are tried again. Objects that the host gave, and modules that are not imported again,
        stay in service as they are. Callers that wait for the same reload share its report. A
        reload that plugin code asks for while it is being loaded is deferred until after the load,
        and this call returns an empty report.

        Args:
            full: Whether the modules of plugins are imported again, and their objects made again.
            force: Whether every object of a plugin's class is made again.
            collect: Whether new and vanished plugins are discovered first.

        Returns:
            Active plugins, the state of each plugin, failures and times.

        Raises:
            StorageError: If the storage cannot be read. Nothing has changed then.
            RegistryBusyError: If changes before it took ``reload_wait`` seconds. Nothing has
                changed then.
        """
        return self._life.reload(full=full, force=force, collect=collect)

    def refresh(self) -> bool:
        """Take in changes of other processes; see ``shared.refresh``.

        Returns:
            Whether plugins were reloaded.

        Raises:
            RegistryNotReady: Before load and after close.
            RegistryBusyError: If changes before it took ``reload_wait`` seconds.
            StorageError: If the storage cannot be read. The plugins in service stay as they are.
        """
        return self.shared.refresh()

    def watch(self, every: float = 1.0) -> Watch:
        """Return a context manager that refreshes in a thread; see ``shared.watch``.

        Args:
            every: Seconds between two looks at the storage.

        Returns:
            The context manager. The thread ends with its block.

        Raises:
            RegistryNotReady: Before load and after close.
            ValueError: If *every* is no positive number.
        """
        return self.shared.watch(every)

    def close(self) -> None:
        """Deactivate every plugin, in reverse order of activation, and end.

        Nothing that is stored changes. Closing again does nothing. Afterwards calls reach no
        plugin, and `errors` can still be read; every other read and every change raises
        RegistryNotReady.
        """
        self._life.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- changes -----------------------------------------------------------------------------

    def activate(
        self, slug: str, *, allow_missing: bool = False, probe: bool = False
    ) -> PluginRecord:
        """Switch a plugin on, now and at each start.

        The plugin and those that depend on it are loaded, no others. A plugin that then fails, or
        does not suit the host's version, stays switched on and is tried again at each reload. If
        plugin code calls this while it is being loaded, loading is deferred until after that.

        Args:
            slug: The plugin.
            allow_missing: Whether a plugin that is not installed is switched on for later.
            probe: Whether the plugin, and each plugin that waits for it, is first loaded in a child
                process.

        Returns:
            The plugin's record.

        Raises:
            PluginNotFoundError: If the plugin is unknown or missing, unless *allow_missing*.
            PluginBlockedError: If the host forbids the plugin.
            ProbeFailedError: With *probe*, if a plugin ended the child process or took too long.
            RegistryBusyError: If changes before it took ``reload_wait`` seconds.
            StorageError: If the storage fails. Only then may the change be stored all the same,
                and the next refresh carries it out.
        """
        return self._operator.activate(
            slug, allow_missing=allow_missing, probe=self.probe if probe else None
        )

    def probe(self, slug: str, timeout: float = 10.0) -> ProbeReport:
        """Load a plugin in a child process, and report its contents or how it ended the process.

        The report is stored for the plugin's version, and shown while the plugin is off.

        Args:
            slug: The plugin.
            timeout: Seconds the child may take. A plugin that resists its end takes some more.

        Returns:
            Outcome, output, mixins, settings and hooks. Nothing of the plugin is raised.

        Raises:
            PluginNotFoundError: If the plugin is unknown.
            PluginBlockedError: If the host forbids the plugin.
            ProbeUnavailableError: If the plugin cannot be loaded in a child process.
            StorageError: If the report cannot be stored.
            ValueError: If *timeout* is no positive number.
        """
        return self._prober.probe(slug, timeout)

    def probed(self, slug: str) -> ProbeReport | None:
        """Return the last report of a probe of this version of a plugin.

        Nothing is run. The output of the plugin is not stored.

        Args:
            slug: The plugin.

        Returns:
            The report, or None if this version was not probed.

        Raises:
            PluginNotFoundError: If the plugin is unknown.
        """
        return self.catalogue.probed(slug)

    def deactivate(self, slug: str, *, cascade: bool = False) -> PluginRecord:
        """Switch a plugin off, now and at each start.

        No call that begins after this returns reaches the plugin.

        Args:
            slug: The plugin.
            cascade: Whether active plugins that depend on it are switched off, too.

        Returns:
            The plugin's record.

        Raises:
            PluginNotFoundError: If the plugin is unknown.
            PluginMandatoryError: If the host requires the plugin.
            PluginRequiredError: If an active plugin depends on it, unless *cascade*. In safe mode
                those count that a normal start would activate.
            PluginSlugError: If it was registered by hand; use `unregister`.
            RegistryBusyError: If changes before it took ``reload_wait`` seconds.
            StorageError: If the storage fails; see `activate`.
        """
        return self._operator.deactivate(slug, cascade=cascade)

    def switch(self, wanted: Mapping[str, bool]) -> Mapping[str, PluginRecord]:
        """Switch several plugins on and off at once: in one transaction and one load.

        No call sees a set in between. If a plugin may not be switched, none is. A plugin
        that then fails stays switched on, as with `activate`, and the others are switched.

        Args:
            wanted: Whether each plugin, by its slug, is to be on.

        Returns:
            The plugins' records, by the same slugs.

        Raises:
            TypeError: If a value is no bool.
            PluginNotFoundError: If a plugin is unknown or missing.
            PluginBlockedError: If the host forbids a plugin that should be on.
            PluginMandatoryError: If the host requires a plugin that should be off.
            PluginRequiredError: If a plugin that stays on needs a plugin that should be off.
            PluginSlugError: If a plugin that should be off was registered by hand.
            RegistryBusyError: If changes before it took ``reload_wait`` seconds.
            StorageError: If the storage fails; see `activate`.
        """
        return self._operator.switch(wanted)

    def delete(self, slug: str) -> None:
        """Delete desired state, settings and metadata of a plugin that is off.

        The store decides whether the plugin is off. A plugin that is still installed stays off
        until plugins are discovered again, and counts as new then.

        Args:
            slug: The plugin.

        Raises:
            PluginNotFoundError: If the plugin is unknown.
            PluginMandatoryError: If the host requires the plugin.
            PluginActiveError: If the plugin is on.
            PluginSlugError: If it was registered by hand; use `unregister`.
            RegistryBusyError: If changes before it took ``reload_wait`` seconds.
            StorageError: If the storage fails.
        """
        self._operator.delete(slug)

    def register(self, obj: Any, slug: str | None = None) -> PluginRecord:
        """Take an object into service by hand.

        It is active at once and outlives reloads; its ``pk`` is 0, and nothing is stored of it.
        A fault of the object is a failure record, and its state is ``failed`` then.

        Args:
            obj: A plugin: an object, a class or a module.
            slug: Its identity, which is slugified. Defaults to SLUG, NAME or the class's name.

        Returns:
            The plugin's record.

        Raises:
            PluginSlugError: If the slug is known, empty or reserved, or if plugin code calls this
                while it is being loaded.
            PluginBlockedError: If the host forbids the slug.
            RegistryNotReady: Before load and after close.
        """
        return self._operator.register(obj, slug)

    def unregister(self, slug: str) -> None:
        """Take an object out of service that was registered by hand.

        Args:
            slug: Its identity.

        Raises:
            PluginNotFoundError: If no object was registered by hand with this slug.
        """
        self._operator.unregister(slug)

    # -- look-up -----------------------------------------------------------------------------

    @property
    def plugins(self) -> Mapping[str, PluginRecord]:
        """Every known plugin by slug, in alphabetical order; a view of a moment."""
        try:
            return self._published.snapshot.views["plugins"]
        except KeyError:  # It was not asked for yet, or nothing is loaded.
            return self.catalogue.all()

    @property
    def active(self) -> Mapping[str, PluginRecord]:
        """The plugins in service by slug, in activation order; a view of a moment."""
        try:
            return self._published.snapshot.views["active"]
        except KeyError:  # As above.
            return self.catalogue.active()

    def get(self, slug: str) -> PluginRecord:
        """Return the record of a plugin.

        Args:
            slug: The plugin.

        Raises:
            PluginNotFoundError: If it is unknown. The message has a near slug.
        """
        try:
            return self._published.composed[slug]
        except KeyError:
            pass  # The record is not composed yet, or the plugin has failed, or is unknown.
        return self.catalogue.record(slug)

    def with_mixin(self, key: str) -> tuple[Any, ...]:
        """Return the active plugin objects with a capability, in activation order.

        Args:
            key: Key of the capability, such as ``"schedule"``, in any case.

        Returns:
            The objects; none if the host has switched the capability off.
        """
        try:
            return self._published.objects[key]
        except KeyError:
            pass  # It was not asked for yet, or no plugin has it, or nothing is loaded.
        snapshot = self._published.current()
        objects = snapshot.by_mixin.get(key.strip().lower(), ())
        if key in snapshot.by_mixin:
            snapshot.objects[key] = objects
        return objects

    @property
    def safe_mode(self) -> bool:
        """Whether no plugin is loaded, by ``safe_mode=`` or by ``PLUGREG_SAFE_MODE``."""
        return self._parts.rules.safe_mode

    @property
    def hook(self) -> Any:
        """The relay of pluggy, with pluggy's semantics: ``registry.hook.price(item="tea")``."""
        return self.manager.hook

    @property
    def errors(self) -> tuple[PluginFailure, ...]:
        """Failures that hold now, each once with a count, in order of first appearance.

        Those of a plugin go when it is switched off or loaded again. Raises RegistryNotReady
        before load.
        """
        self._published.check_loaded()
        return self._parts.ledger.all()

    @property
    def damaged(self) -> tuple[RecordCorruptError, ...]:
        """The damaged rows of the storage, as of the last load or refresh. They stay untouched."""
        return self._parts.stored.damaged()

    def outlook(self, wanted: Iterable[str] = ()) -> LoadPlan:
        """Return the plan of a normal start, also in safe mode. Nothing is imported.

        The plan is made from installed plugins, the store and the host's rules. Of failures that
        only an import shows, it includes those that ended a process.

        Args:
            wanted: Plugins that count as switched on.

        Returns:
            The plan: order, needs, and the reason of each plugin that would not be loaded.

        Raises:
            RegistryNotReady: Before load and after close.
        """
        from plugreg._lifecycle.outlook import outlook

        parts = self._parts
        return outlook(
            self._published.current(),
            parts.stored,
            parts.facts.of,
            wanted,
            quarantine=parts.quarantine,
        )

    def status(self, *, processes: bool = False) -> RegistryStatus:
        """Return the number of active plugins and the failures, as data for JSON.

        Args:
            processes: Whether the processes that share the storage are added, which reads it.

        Raises:
            RegistryNotReady: Before load and after close.
            StorageError: With *processes*, if the storage cannot be read.
        """
        status: RegistryStatus = {
            "active_plugins": len(self._published.current().active),
            "registry_errors": [
                {"stage": str(failure.stage), "name": failure.slug, "message": failure.message}
                for failure in self.errors
            ],
        }
        if self._parts.isolation is not None:
            status["isolated"] = [
                {"slug": slug, **info.as_data()}
                for slug, info in self._parts.isolation.processes().items()
            ]
        if processes:
            status["processes"] = [
                {name: getattr(process, name) for name in _PROCESS_FIELDS}
                | {"seen": process.seen.isoformat()}
                for process in self.shared.processes()
            ]
        return status

    def repairs(self) -> tuple[Repair, ...]:
        """Return the current problems of plugins, and actions that solve them.

        They are derived from the snapshot, the failures and the store, whatever is broken. No
        plugin code runs, no network is asked and nothing is written.

        Returns:
            The repairs, errors first. Each has an action.

        Raises:
            RegistryNotReady: Before load and after close.
            StorageError: If the storage cannot be read.
        """
        from plugreg.repairs.finding import find_repairs
        from plugreg.repairs.gathering import gather

        return find_repairs(gather(self, self._parts), self)

    @property
    def ready(self) -> bool:
        """Whether the registry is loaded and every critical and mandatory plugin serves.

        A plugin serves if it is active and its circuit is not open. No plugin is called.
        """
        return self._health.ready

    def health(self) -> tuple[PluginHealth, ...]:
        """Return the answers of active plugins to ``plugreg_health``, in call order."""
        return self._health.report()

    def reset(self, slug: str) -> PluginRecord:
        """Close a plugin's circuit, and try it again if it has failed.

        It is called again at once. Of a plugin in quarantine the mark is removed first.

        Args:
            slug: The plugin.

        Returns:
            The plugin's record.

        Raises:
            PluginNotFoundError: If the plugin is unknown.
            RegistryNotReady: Before load and after close.
            RegistryBusyError: If changes before it took ``reload_wait`` seconds.
            StorageError: If the storage fails.
        """
        record = self.get(slug)
        self.dispatch.reset(record.slug)
        if record.state == "failed":
            self._life.reset(record.slug)
        return self.get(slug)

    def settings(self, slug: str) -> SettingsView:
        """Return the live settings of an active plugin.

        Args:
            slug: The plugin.

        Returns:
            A mapping of keys to values, for as long as the plugin is active.

        Raises:
            PluginNotFoundError: If the plugin is unknown.
            PluginNotActiveError: If the plugin is not active.
        """
        return self.config.settings(slug)

    def user_settings(self, slug: str, user: int) -> SettingsView:
        """Return a user's live settings of an active plugin.

        Args:
            slug: The plugin.
            user: The user's number.

        Returns:
            A mapping of keys to values, for as long as the plugin is active.

        Raises:
            PluginNotFoundError: If the plugin is unknown.
            PluginNotActiveError: If the plugin is not active.
            SettingError: If *user* is not a number.
        """
        return self.config.user_settings(slug, user)

    def metadata(self, slug: str) -> dict[str, Any]:
        """Return a copy of the metadata of any known plugin, ``{}`` where there is none.

        Args:
            slug: The plugin.

        Returns:
            The metadata as it was written.

        Raises:
            PluginNotFoundError: If the plugin is unknown.
        """
        return self.config.metadata(slug)

    def set_metadata(self, slug: str, data: dict[str, Any], merge: bool = True) -> dict[str, Any]:
        """Store the metadata of a known plugin.

        Args:
            slug: The plugin.
            data: A dict of JSON values.
            merge: Whether the other keys of the first level stay.

        Returns:
            All metadata of the plugin, as it is then.

        Raises:
            PluginNotFoundError: If the plugin is unknown.
            SettingError: If *data* cannot be stored, or holds a protected value of the plugin.
            StorageError: If the storage fails. Nothing has changed then.
        """
        return self.config.set_metadata(slug, data, merge)

    def ui_features(
        self, feature: str, context: Mapping[str, Any] | None = None, actor: Any = None
    ) -> tuple[UIFeature, ...]:
        """Return the features of a type that active plugins show.

        Args:
            feature: The type, such as ``"panel"`` or ``"dashboard"``.
            context: Parameters of the page.
            actor: The user; plugins may show different features to different users.

        Returns:
            The features in activation order. A plugin that fails is left out and recorded.
        """
        return self._ui.features(feature, context, actor)

    def admin(self, slug: str) -> AdminDetails:
        """Return script and context of a plugin's admin panel.

        Args:
            slug: The plugin.

        Returns:
            The details; both are None unless the plugin is active.

        Raises:
            PluginNotFoundError: If the plugin is unknown.
        """
        from plugreg.ui import AdminDetails

        active = self._published.current().active.get(self.get(slug).slug)
        return AdminDetails() if active is None else self._ui.admin(active)

    def plan(
        self, requirement: str, *, index_url: str | None = None, isolate: bool = False
    ) -> InstallPlan:
        """Return the changes that an installation would make; see ``packages.plan``.

        Args:
            requirement: Requirement (PEP 508), or URL of a repository (``git+https://…``).
            index_url: Index to use instead of the configured index.
            isolate: Whether its plugin gets an environment of its own.

        Returns:
            The plan, which names everything that the policy forbids.

        Raises:
            RequirementError: If the requirement is not acceptable.
            InstallError: If there is no installer, or it finds no plan.
            StorageError: If the storage fails.
        """
        return self._installing().plan(requirement, index_url=index_url, isolate=isolate)

    def install(
        self,
        requirement: str | InstallPlan,
        *,
        index_url: str | None = None,
        actor: str | None = None,
        progress: Callable[[str], object] | None = None,
        keep_broken: bool = False,
        isolate: bool = False,
    ) -> InstallReport:
        """Install or upgrade a distribution; see ``packages.install``.

        Args:
            requirement: Requirement as for `plan`, or a plan.
            index_url: Index to use instead of the configured index.
            actor: Person or process that asks for it, for the audit.
            progress: Receives each line of the installer's output.
            keep_broken: Whether plugins that cannot be loaded are installed all the same.
            isolate: As for `plan`.

        Returns:
            The report. New plugins stay inactive until they are activated.

        Raises:
            RequirementError: If the requirement is not acceptable.
            InstallRefusedError: If the plan has refusals.
            InstallError: If there is no installer, or the installation fails.
            StorageError: If the audit cannot be written.
        """
        return self._installing().install(
            requirement,
            index_url=index_url,
            actor=actor,
            progress=progress,
            keep_broken=keep_broken,
            isolate=isolate,
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
        """Remove a plugin's distribution, with all its plugins; see ``packages.uninstall``.

        Args:
            slug: The plugin.
            delete_config: Whether desired state, settings and metadata are deleted.
            dependencies: Whether distributions that were installed with it are removed, too.
            actor: Person or process that asks for it, for the audit.
            progress: Receives each line of the installer's output.

        Returns:
            The report of the removal.

        Raises:
            PluginNotFoundError: If the plugin is unknown.
            InstallError: If there is no installer, the plugin must stay, or the removal fails.
            StorageError: If the storage fails.
        """
        return self._installing().uninstall(
            slug,
            delete_config=delete_config,
            dependencies=dependencies,
            actor=actor,
            progress=progress,
        )

    def assets(self, slug: str, path: str) -> Asset:
        """Return a file that an active plugin brings for browsers; see ``Assets.read``.

        Args:
            slug: The plugin.
            path: Path below the plugin's ``static`` folder.

        Returns:
            The file.

        Raises:
            PluginNotFoundError: If the plugin is unknown.
            PluginNotActiveError: If the plugin is not active.
            AssetNotFoundError: If there is no such file, or it is not served.
        """
        return self._assets.read(slug, path)

    def asset_files(self, slug: str) -> dict[str, Asset]:
        """Return all such files of an active plugin by path; see ``Assets.files``.

        Args:
            slug: The plugin.

        Returns:
            The files, by the path that `assets` takes.

        Raises:
            PluginNotFoundError: If the plugin is unknown.
            PluginNotActiveError: If the plugin is not active.
        """
        return self._assets.files(slug)

    # -- the parts ---------------------------------------------------------------------------

    def _rediscover(self) -> None:
        if self._published.is_loaded:
            self._life.reload(collect=True, everywhere=True)
            return
        if self._parts.environment is not None:
            self._parts.environment.follow()
        self._parts.plugin_rows.ask_all()

    def _probe_staged(self, spec: PluginSpec, path: Sequence[str]) -> str | None:
        from plugreg._state.probe_report import ProbeUnavailableError

        try:
            return self._prober.fault_of_staged(spec, path, timeout=30.0)
        except ProbeUnavailableError as error:
            raise exceptions.InstallError([f"the plugin cannot be probed: {error}"]) from error

    def _refresh_if_loaded(self) -> None:
        if self._published.is_loaded:
            self._life.refresh()

    def _installing(self) -> Packages:
        if self.packages is None:
            raise exceptions.InstallError(
                ["installing is disabled; give the registry an installer="]
            )
        return self.packages

    @lazy
    def _operator(self) -> Operator:
        from plugreg._lifecycle.operator import Operator

        return Operator(
            published=self._published,
            life=self._life,
            catalogue=self.catalogue,
            stored=self._parts.stored,
            outlook=self.outlook,
        )

    @lazy
    def _health(self) -> Health:
        from plugreg._calls.health import Health

        parts = self._parts
        circuit_of = parts.calling.circuit_state
        return Health(self._published.current, self.dispatch, circuit_of, parts.critical)

    @lazy
    def _ui(self) -> UserInterface:
        from plugreg.ui import UserInterface

        parts = self._parts
        return UserInterface(self._published.current, parts.ledger, parts.settings.scrubber)

    @lazy
    def _assets(self) -> Assets:
        from plugreg.assets import Assets

        return Assets(self._published.current)

    @lazy
    def _prober(self) -> Prober:
        from plugreg._probe.prober import Prober

        parts = self._parts
        return Prober(
            host=parts.options.host,
            implicit_prefix=self.manager.implicit_prefix,
            rules=parts.rules,
            mixins=parts.mixins.all(),
            constructs=parts.options.construct is not None,
            current=self._published.current,
            probe_rows=parts.probe_rows,
            scrubber=parts.settings.scrubber,
        )


def _environment(options: Options) -> Environment | None:
    """Return the environment of the installer, and use the generation that serves in it."""
    installer = options.installer
    if installer is None:
        return None
    from plugreg.install.generations import Generations
    from plugreg.install.serving import Serving

    return Serving(Generations(installer.environment))


def _isolation(options: Options) -> MakeIsolation | None:
    """Return the factory of isolated plugins, None if no plugin can be isolated."""
    if options.isolate == {} and options.installer is None:
        return None
    from plugreg.isolation.plugins import IsolatedPlugins

    return IsolatedPlugins
