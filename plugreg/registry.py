"""PluginRegistry: the life cycle of plugins and looking them up; the rest are collaborators."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from time import perf_counter
from types import MappingProxyType
from typing import Any, Final, Literal, Self, TypedDict

from plugreg._names import Slug, near, slug_fault, slugify
from plugreg._turns import Turns
from plugreg.activate import Activator
from plugreg.binding import BoundContext
from plugreg.build import Builder, Built, Remake
from plugreg.catalogue import Catalogue
from plugreg.configs import Configs
from plugreg.configuration import Configuration
from plugreg.definitions import SettingDefinition
from plugreg.discovery import Facts, Sources, objects, restricted
from plugreg.dispatch import Dispatcher
from plugreg.exceptions import (
    PluginActiveError,
    PluginBlockedError,
    PluginFaultError,
    PluginMandatoryError,
    PluginNotFoundError,
    PluginRequiredError,
    PluginSlugError,
    RegistryNotReady,
)
from plugreg.failures import FailureLedger, OnFailure
from plugreg.hooks import PluginManager, PlugregSpecs
from plugreg.mixins import MIXINS, MixinSpec
from plugreg.records import (
    Discovery,
    LoadReport,
    PluginFailure,
    PluginRecord,
    PluginSpec,
    Snapshot,
    Source,
    Stage,
    Wish,
)
from plugreg.resolve import HostRules
from plugreg.settings import SettingsStore, SettingsView
from plugreg.storage import MemoryStorage, Storage
from plugreg.ui import AdminDetails, UIFeature, UserInterface

_logger = logging.getLogger("plugreg")

_LOAD_STAGES: Final = frozenset({Stage.RESOLVE, Stage.IMPORT, Stage.INIT, Stage.ACTIVATE})
_UNKNOWN_HOOKS: Final = "unknown hooks"


class RegistryStatus(TypedDict):
    """What ``GET /plugins/status/`` answers (behaviour.md, section 2.5)."""

    active_plugins: int
    registry_errors: list[dict[str, str]]


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
    host's own capabilities, ``switches`` turns capabilities off. With ``implicit_prefix``
    unmarked functions with it count as hooks. ``on_failure`` is called with each new
    PluginFailure. ``safe_mode`` (or PLUGREG_SAFE_MODE=1) loads nothing and writes nothing by
    itself. ``reload_wait`` is how many seconds a change waits for the one before it.

    Raises ValueError for arguments that contradict each other or themselves.
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
        implicit_prefix: str | None = None,
        on_failure: OnFailure | None = None,
        safe_mode: bool = False,
        reload_wait: float = 30.0,
    ) -> None:
        self._rules = _host_rules(
            host_version=host_version,
            host_distribution=host_distribution or host,
            mandatory=mandatory,
            blocked=blocked,
            allowed=allowed,
            ignore_compatibility=ignore_compatibility,
            new_plugins=new_plugins,
            safe_mode=safe_mode or os.environ.get("PLUGREG_SAFE_MODE", "") not in ("", "0"),
        )
        self._sources = Sources(
            group=group or f"{host}.plugins",
            builtin=tuple(builtin),
            samples=tuple(samples),
            directories=tuple(directories),
        )
        rows = _mixin_table(mixins)
        off = _switched_off(rows, switches)
        self._own_storage = MemoryStorage() if storage is None else None
        kept = storage if storage is not None else self._own_storage
        assert kept is not None
        self.manager: Final = PluginManager(host, implicit_prefix=implicit_prefix)
        """The one pluggy manager, for as long as the registry lives. A host may register on it."""
        self.manager.add_hookspecs(PlugregSpecs)
        for each in hookspecs:
            self.manager.add_hookspecs(each)
        self._ledger = FailureLedger(on_failure)
        self._facts = Facts()
        self._configs = Configs(kept)
        self._settings = SettingsStore(kept, self._tell_settings_changed)
        activator = Activator(rows, off, self.manager.implementations, self._make_context)
        self._activator = activator
        self._builder = Builder(
            self._rules, self._facts.of, self.manager.has_implementations, activator, off
        )
        self._turns = Turns(reload_wait)
        self._manual: tuple[PluginSpec, ...] = ()
        self._snapshot = Snapshot()
        self._loaded = False
        self._closed = False
        self._catalogue = Catalogue(self._current, self._ledger, self._rules, self._facts.of)
        self._ui = UserInterface(self._current, self._ledger)
        self.dispatch: Final = Dispatcher(self.manager, self._record_fault)
        """The isolated calls."""
        self.config: Final = Configuration(self._current, self._settings, self._configs)
        """Settings, user settings and metadata."""
        self.call = self.dispatch.call
        self.first = self.dispatch.first
        self.outcomes = self.dispatch.outcomes

    # -- life cycle --------------------------------------------------------------------------

    def load(self, *, strict: bool = False) -> LoadReport:
        """Discover, resolve, load and activate; the second time it is :meth:`reload`.

        Raises nothing because of a plugin, unless ``strict``: then, after publishing, an
        ExceptionGroup with one PluginFaultError for each failure. Raises StorageError when the
        storage cannot be read: starting without wishes would switch everything off.
        """
        report = self.reload() if self._loaded else self._change(self._reload_job(collect=True))
        if strict and report.failures:
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
        failed ones tried again. ``force`` makes every object anew, ``full`` imports their modules
        again too and tells mixins so, ``collect`` looks for new and vanished plugins first.

        It waits for a change that is being carried out, and callers that wait for the same share
        its report. Asked for by plugin code that is itself being loaded, it is carried out right
        after, and this returns an empty report. Raises StorageError, or RegistryBusyError after
        ``reload_wait`` seconds; then everything is as it was.
        """
        if not self._loaded:
            return self.load()
        remake = Remake.CODE if full else Remake.OBJECTS if force else Remake.CHANGED
        job = self._reload_job(collect=collect, remake=remake)
        return self._change(job, share=(remake, collect))

    def close(self) -> None:
        """Deactivate every plugin, last one first, and end. Nothing stored is changed.

        Closing again does nothing. Afterwards every read and change raises RegistryNotReady.
        """
        if self._closed:
            return
        self._change(self._close_job)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- wishes ------------------------------------------------------------------------------

    def activate(self, slug: str, *, allow_missing: bool = False) -> PluginRecord:
        """Store the wish that a plugin is on, carry it out, and return its record.

        It and the plugins that need it are touched, no others. A plugin that then fails, or does
        not suit the host's version, stays wished and is tried again at each reload; that is no
        error here. Raises PluginNotFoundError for an unknown or missing one (unless
        ``allow_missing``: the wish waits for it), PluginBlockedError, StorageError.
        """
        snapshot = self._current()
        known = snapshot.plugins.get(slug)
        if slug in {each.slug for each in self._manual}:
            return self.get(slug)
        forbidden = self._rules.blocks(slug)
        if forbidden is not None:
            raise PluginBlockedError(slug, forbidden)
        if known is None or known.spec is None:
            if not allow_missing:
                hint = near(slug, snapshot.plugins) if known is None else "; it is not installed"
                raise PluginNotFoundError(slug, hint)
            if slugify(slug) != slug or slug_fault(Slug(slug), slug):
                raise PluginSlugError(slug, "it is no slug; use lower case letters and digits")
        self._configs.wish(True, [Slug(slug)])
        self._change(self._wish_job({Slug(slug)}))
        return self.get(slug)

    def deactivate(self, slug: str, *, cascade: bool = False) -> PluginRecord:
        """Store the wish that a plugin is off, carry it out, and return its record.

        Once this returns no call reaches the plugin any more; one under way keeps the plugins it
        began with. With ``cascade`` the plugins that need it are switched off too. Raises
        PluginNotFoundError, PluginMandatoryError, PluginRequiredError (an active plugin needs
        it), PluginSlugError (registered by hand), StorageError; then nothing has changed.
        """
        snapshot = self._current()
        if slug not in snapshot.plugins:
            raise PluginNotFoundError(slug, near(slug, snapshot.plugins))
        if slug in {each.slug for each in self._manual}:
            raise PluginSlugError(slug, "it was registered by hand; use unregister()")
        dependants = [each for each in _dependants(slug, snapshot) if each in snapshot.active]
        if dependants and not cascade:
            raise PluginRequiredError(slug, dependants)
        for each in (slug, *dependants):
            if each in self._rules.mandatory:
                raise PluginMandatoryError(each)
        leaving = {Slug(slug), *dependants}
        self._configs.wish(False, sorted(leaving))
        self._change(self._wish_job(leaving))
        return self.get(slug)

    def delete(self, slug: str) -> None:
        """Forget wish, settings, user settings and metadata of a plugin that is off.

        One that is still installed is then as if never seen. Its ``pk`` is not used again. Raises
        PluginNotFoundError, PluginMandatoryError, PluginActiveError, StorageError.
        """
        snapshot = self._current()
        known = snapshot.plugins.get(slug)
        if known is None:
            raise PluginNotFoundError(slug, near(slug, snapshot.plugins))
        if slug in self._rules.mandatory:
            raise PluginMandatoryError(slug)
        if known.wanted:
            raise PluginActiveError(slug)
        self._configs.forget(known.slug)
        self._settings.forget(slug)
        self._change(self._wish_job({known.slug}))

    def register(self, obj: Any, slug: str | None = None) -> PluginRecord:
        """Take in an object by hand: active at once, ``pk`` 0, no stored wish, over all reloads.

        ``slug`` is slugified; without it SLUG, NAME or the class's name counts. A fault of the
        object is a failure record, and its state then ``failed``. Raises PluginSlugError for a
        slug that is known, empty or reserved, PluginBlockedError, RegistryNotReady before load.
        """
        snapshot = self._current()
        found = objects.find([obj if slug is None else (slug, obj)], source=Source.MANUAL)
        if not found.specs:
            raise PluginSlugError(str(slug), found.failures[0].message)
        (spec,) = found.specs
        if spec.slug in snapshot.plugins:
            raise PluginSlugError(spec.slug, "it is the slug of a known plugin; choose another")
        forbidden = self._rules.blocks(spec.slug)
        if forbidden is not None:
            raise PluginBlockedError(spec.slug, forbidden)
        self._manual = (*self._manual, spec)
        self._change(self._wish_job({spec.slug}))
        return self.get(spec.slug)

    def unregister(self, slug: str) -> None:
        """Let go of an object that was registered by hand. Raises PluginNotFoundError."""
        if slug not in {each.slug for each in self._manual}:
            raise PluginNotFoundError(
                slug, "; only what was registered by hand can be unregistered"
            )
        self._manual = tuple(each for each in self._manual if each.slug != slug)
        self._change(self._wish_job({Slug(slug)}))

    # -- look-up -----------------------------------------------------------------------------

    @property
    def plugins(self) -> Mapping[str, PluginRecord]:
        """Every known plugin by slug, in alphabetical order; a view of one moment."""
        return self._catalogue.all()

    @property
    def active(self) -> Mapping[str, PluginRecord]:
        """The plugins in service by slug, in activation order; a view of one moment."""
        return self._catalogue.active()

    def get(self, slug: str) -> PluginRecord:
        """Return the record of one plugin. Raises PluginNotFoundError, with a near name."""
        return self._catalogue.record(slug)

    def with_mixin(self, key: str) -> tuple[Any, ...]:
        """Return the active plugin objects with this capability enabled, in activation order.

        Empty where the host has switched the capability off, or nobody has it.
        """
        found = self._current().by_mixin
        return found[key] if key in found else found.get(key.strip().lower(), ())

    @property
    def hook(self) -> Any:
        """The relay of pluggy, with pluggy's semantics: ``registry.hook.price(item="tea")``."""
        return self.manager.hook

    @property
    def errors(self) -> tuple[PluginFailure, ...]:
        """Every failure of this process, each once with a count, in order of first appearance."""
        return self._ledger.all()

    def status(self) -> RegistryStatus:
        """Return how many plugins are in service, and what went wrong, as data for JSON."""
        return RegistryStatus(
            active_plugins=len(self._current().active),
            registry_errors=[
                {"stage": str(e.stage), "name": e.slug, "message": e.message} for e in self.errors
            ],
        )

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
        return self._ui.features(feature, context, actor)

    def admin(self, slug: str) -> AdminDetails:
        """Return script and context of a plugin's admin panel, both None unless it is active."""
        snapshot = self._current()
        if slug not in snapshot.plugins:
            raise PluginNotFoundError(slug, near(slug, snapshot.plugins))
        active = snapshot.active.get(slug)
        return AdminDetails() if active is None else self._ui.admin(active)

    # -- the parts ---------------------------------------------------------------------------

    def _current(self) -> Snapshot:
        if not self._loaded or self._closed:
            self._refuse()
        return self._snapshot

    def _refuse(self) -> None:
        if self._closed:
            raise RegistryNotReady("closed", "make a new one")
        raise RegistryNotReady

    def _change(self, job: Callable[[], LoadReport], share: Any = None) -> LoadReport:
        if self._closed:
            self._refuse()
        report: LoadReport | None = self._turns.run(job, share)
        return report or LoadReport(active=(), states={}, failures=(), seconds=0.0)

    def _reload_job(
        self, *, collect: bool, remake: Remake = Remake.CHANGED
    ) -> Callable[[], LoadReport]:
        def job() -> LoadReport:
            importlib.invalidate_caches()
            found = self._sources.find()
            if not collect:
                found = restricted(found, self._snapshot.discovery)
            self._settings.load()
            self._configs.load()
            return self._apply(found, remake=remake, tell=True)

        return job

    def _wish_job(self, slugs: Collection[Slug]) -> Callable[[], LoadReport]:
        def job() -> LoadReport:
            snapshot = self._snapshot
            only = {each for slug in slugs for each in _dependants(slug, snapshot)}
            return self._apply(snapshot.discovery, only=frozenset(only | set(slugs)))

        return job

    def _close_job(self) -> LoadReport:
        old = self._snapshot
        self.manager.exchange(old.active.keys(), ())
        self._snapshot = Snapshot()
        self._closed = True
        for each in reversed([*old.active.values()]):
            for failure in self._activator.deactivate(each):
                self._ledger.record(failure)
        if self._own_storage is not None:
            self._own_storage.close()
        return LoadReport(active=(), states={}, failures=(), seconds=0.0)

    def _apply(
        self,
        found: Discovery,
        *,
        remake: Remake = Remake.CHANGED,
        only: frozenset[str] | None = None,
        tell: bool = False,
    ) -> LoadReport:
        """Build the next snapshot, publish it, tear down what left, and report."""
        if self._closed:
            self._refuse()
        started = perf_counter()
        built = self._builder.build(
            self._snapshot, found, self._manual, self._remember, remake=remake, only=only
        )
        self._publish(built)
        for slug, hook, error in self.manager.replay(e.implementations for e in built.added):
            self._record_fault(slug, hook, error)
        torn_down = [
            failure
            for each in built.removed
            if each.slug not in built.torn_down
            for failure in self._activator.deactivate(each)
        ]
        failures = self._record(built, found, torn_down, only)
        report = LoadReport(
            active=tuple(built.snapshot.active),
            states={slug: each.state for slug, each in built.snapshot.plugins.items()},
            failures=failures,
            seconds=perf_counter() - started,
        )
        if tell:
            self._tell_loaded(report)
        return report

    def _publish(self, built: Built) -> None:
        """Store what was learnt, and swap in hooks and snapshot, each with one assignment.

        If that cannot be done, what was newly made is torn down and the old snapshot stays.
        """
        try:
            if not self._rules.safe_mode:
                self._configs.rename({each.slug: each.loaded.name for each in built.added})
            self.manager.exchange(
                [each.slug for each in built.removed], [e.implementations for e in built.added]
            )
        except BaseException:
            for each in reversed(built.added):
                self._activator.deactivate(each)
            raise
        self._snapshot = built.snapshot
        self._loaded = True

    def _record(
        self,
        built: Built,
        found: Discovery,
        torn_down: Iterable[PluginFailure],
        only: frozenset[str] | None,
    ) -> tuple[PluginFailure, ...]:
        moved = {each.slug for each in (*built.added, *built.removed)}
        active = built.snapshot.active

        def outdated(failure: PluginFailure) -> bool:
            if failure.stage is Stage.DISCOVERY:
                return only is None
            if failure.subject == _UNKNOWN_HOOKS and failure.slug in active:
                return not self.manager.unknown_hooks(failure.slug)
            if failure.stage in _LOAD_STAGES:
                return failure.slug in built.tried or failure.slug not in built.snapshot.plugins
            return failure.slug in moved

        discovered = found.failures if only is None else ()
        kept = self._ledger.replace(
            (*discovered, *built.failures, *self._unknown_hooks(built), *torn_down), outdated
        )
        _logger.info(
            "%d plugins active, %d failures, of %d known",
            len(active),
            len(kept),
            len(built.snapshot.plugins),
        )
        return kept

    def _unknown_hooks(self, built: Built) -> Iterable[PluginFailure]:
        for each in built.added:
            unknown = self.manager.unknown_hooks(each.slug)
            if unknown:
                yield PluginFailure(
                    stage=Stage.ACTIVATE,
                    slug=each.slug,
                    subject=_UNKNOWN_HOOKS,
                    message="; ".join(unknown),
                )

    def _remember(self, specs: Iterable[PluginSpec]) -> Mapping[Slug, Wish]:
        if self._rules.safe_mode:
            return self._configs.wishes()
        return self._configs.remember(
            (each for each in specs if each.source is not Source.MANUAL), self._rules
        )

    def _make_context(
        self,
        slug: str,
        settings: Mapping[str, SettingDefinition],
        user_settings: Mapping[str, SettingDefinition],
    ) -> BoundContext:
        return BoundContext(Slug(slug), settings, user_settings, self._settings, self._configs)

    def _record_fault(self, slug: str, hook: str, error: BaseException) -> PluginFailure:
        return self._ledger.record(
            PluginFailure.of(Stage.CALL, slug, error, subject=hook, what=f"hook {hook!r}")
        )

    def _tell_loaded(self, report: LoadReport) -> None:
        self.dispatch.call("plugreg_plugins_loaded", report=report)

    def _tell_settings_changed(self, slug: str, changed: frozenset[str]) -> None:
        active = self._snapshot.active.get(slug)
        if active is not None:
            self.dispatch.tell(active.implementations, "plugreg_settings_changed", changed=changed)


def _host_rules(
    *,
    host_version: str | None,
    host_distribution: str,
    mandatory: Iterable[str],
    blocked: Iterable[str],
    allowed: Iterable[str] | None,
    ignore_compatibility: Iterable[str],
    new_plugins: str,
    safe_mode: bool,
) -> HostRules:
    if new_plugins not in ("inactive", "active"):
        raise ValueError(f"new_plugins must be 'inactive' or 'active', not {new_plugins!r}")
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
        distribution=slugify(host_distribution.replace("_", "-").replace(".", "-")),
        mandatory=_slugs("mandatory", mandatory),
        blocked=_slugs("blocked", blocked),
        allowed=None if allowed is None else _slugs("allowed", allowed),
        ignore_compatibility=_slugs("ignore_compatibility", ignore_compatibility),
        new_plugins_active=new_plugins == "active",
        safe_mode=safe_mode,
    )
    for slug in sorted(rules.mandatory):
        reason = rules.blocks(slug)
        if reason is not None:
            raise ValueError(f"plugin {slug!r} is in mandatory=, but {reason}; decide on one")
    return rules


def _slugs(argument: str, names: Iterable[str]) -> frozenset[Slug]:
    if isinstance(names, str):
        raise TypeError(f"{argument} must be a collection of slugs, not the text {names!r}")
    return frozenset(slugify(each) for each in names)


def _mixin_table(own: Iterable[MixinSpec]) -> tuple[MixinSpec, ...]:
    table = {each.key: each for each in MIXINS}
    for each in own:
        if each.key in table:
            raise ValueError(f"mixin key {each.key!r} is taken; give the host's row another key")
        table[each.key] = each
    return tuple(table.values())


def _switched_off(rows: Iterable[MixinSpec], switches: Mapping[str, bool]) -> frozenset[str]:
    known = {each.switch for each in rows if each.switch is not None}
    for name in switches:
        if name not in known:
            raise ValueError(
                f"switch {name!r} is not known{near(name, known)}; there are {sorted(known)}"
            )
    return frozenset(
        each.key for each in rows if each.switch is not None and not switches.get(each.switch, True)
    )


def _dependants(slug: str, snapshot: Snapshot) -> list[Slug]:
    """Return the wanted plugins that need this one, directly or through others, sorted."""
    found: set[Slug] = set()
    waiting = [Slug(slug)]
    while waiting:
        need = waiting.pop()
        for each, needs in snapshot.needs.items():
            if need in needs and each not in found:
                found.add(each)
                waiting.append(each)
    return sorted(found)
