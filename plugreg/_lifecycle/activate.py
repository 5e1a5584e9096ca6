"""Taking a loaded plugin in, and letting it go again: what was done is undone in reverse."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from typing import Any, Final, NamedTuple, Protocol

from plugreg._support.guard import Guard, safe_repr
from plugreg.discovery import objects
from plugreg.hooks import Implementations
from plugreg.mixins import MixinSpec, SettingsMixin
from plugreg.mixins._spec import contract_faults, has, is_enabled, run_activate
from plugreg.mixins.settings import SPEC as SETTINGS
from plugreg.mixins.settings import version_fault
from plugreg.plugin import Plugin, PluginContext, bind, unbind
from plugreg.records import (
    ActivePlugin,
    LoadedPlugin,
    PluginFailure,
    PluginSpec,
    Source,
    Stage,
)
from plugreg.settings.declaration import parse_definitions
from plugreg.settings.store import Declared

MOST_BROUGHT: Final = 1_000
"""How many plugins one plugin may bring: an answer without end would never be read."""


class WatchfulContext(PluginContext, Protocol):
    """A plugin's context, which knows what others store while the plugin is activated."""

    def watch_settings(self) -> None:
        """Begin to keep track of values that others store."""
        ...

    def changed_settings(self) -> frozenset[str]:
        """Return the keys of values that others have stored since."""
        ...

    def unwatch_settings(self) -> None:
        """Stop keeping track."""
        ...


class Settings(Protocol):
    """What activation asks of the settings."""

    def take_in(self, slug: str, declared: Declared) -> WatchfulContext:
        """Take in what a plugin declares, and return what it reaches its settings through."""
        ...

    def migrate(self, slug: str, plugin: Any, declared: Declared) -> None:
        """Bring what is stored to the version that is declared. What it raises is a fault."""
        ...


Implement = Callable[[Any, str, tuple[Any, ...], str | None], Implementations]
"""Parses an object's hook implementations: object, name, rank, metadata folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Activation:
    """What came of activating one plugin: ``active``, or None, and all failures."""

    active: ActivePlugin | None = None
    failures: tuple[PluginFailure, ...] = ()


class _Step(NamedTuple):
    """What is done when a plugin leaves, and how a failure of it is called."""

    function: Callable[[], object]
    subject: str
    what: str = ""


@dataclass(kw_only=True, slots=True, eq=False)
class _Living:
    """A plugin whose activation was begun, and what is to be undone of it, last step last."""

    slug: str
    plugin: Any
    place: tuple[Any, ...]
    undo: list[_Step] = field(default_factory=list)
    context: WatchfulContext | None = None


class Activator:
    """Activates and deactivates the plugins of one registry.

    It keeps every plugin whose activation was begun until all of it was undone, so that none is
    forgotten where Ctrl-C has come between: see :meth:`settle`. ``mixins`` is the table of
    capabilities, ``off`` the keys of those whose switch the host turned off: their functions do
    not run.
    """

    def __init__(
        self,
        mixins: Iterable[MixinSpec],
        off: frozenset[str],
        implement: Implement,
        settings: Settings,
    ) -> None:
        self._mixins = tuple(sorted(mixins, key=lambda each: each.order))
        self._off = off
        self._implement = implement
        self._settings = settings
        self._living: list[_Living] = []
        # Those that were not in service when settings_changed() was asked last.
        self._new: list[_Living] = []

    def activate(self, loaded: LoadedPlugin, rank: tuple[Any, ...], *, full: bool) -> Activation:
        """Check what a plugin brings, bind it, and run its and its mixins' activation.

        In this order: hook implementations against their specs, contracts of all mixins (every
        fault is told), settings, binding, migration of stored settings, activation of the enabled
        mixins by their ``order``, ``plugreg_activated``, ``plugreg_plugins``. The first that fails
        ends it, and what was done is undone in reverse. The plugin's hooks are not in service yet.
        Raises nothing because of a plugin; what belongs to the process passes, after the undoing.
        """
        slug, plugin = loaded.slug, loaded.plugin
        with Guard() as guard:
            dist_info = loaded.spec.path if loaded.spec.distribution is not None else None
            implementations = self._implement(plugin, slug, rank, dist_info)
        if guard.error is not None:
            return _failed(slug, guard.error)
        present, enabled, faults = self._check_mixins(slug, plugin)
        if faults:
            return Activation(failures=tuple(faults))
        declared, bad = _declared(slug, plugin)
        if bad is not None:
            return Activation(failures=(bad,))
        active = ActivePlugin(
            loaded=loaded,
            mixins={each.key: each.human_name for each in present},
            enabled=frozenset(enabled),
            implementations=implementations,
            settings=declared.settings,
            user_settings=declared.user_settings,
            settings_version=declared.version,
        )
        living = _Living(slug=slug, plugin=plugin, place=active.place)
        self._living.append(living)
        try:
            failure = self._begin(living, active, declared, full=full)
            if failure is None:
                brings, failures = _brought(active)
                return Activation(
                    active=replace(active, brings=brings),
                    failures=(*_unread_settings(slug, plugin), *failures),
                )
        except BaseException:
            self._undo(living)
            raise
        return Activation(failures=(failure, *self._undo(living)))

    def deactivate(self, active: ActivePlugin) -> tuple[PluginFailure, ...]:
        """Undo :meth:`activate` in reverse, after the plugin's hooks were taken out of service.

        Each step has a guard of its own; one that fails stops none of the others.
        """
        return tuple(
            failure
            for living in [*self._living]
            if living.slug == active.slug and living.plugin is active.plugin
            for failure in self._undo(living)
        )

    def settle(self, in_service: Mapping[str, ActivePlugin]) -> Iterator[PluginFailure]:
        """Deactivate all plugins that were activated and are not in service, last one first.

        Yields the failures of each. What was begun and not ended is gone on with, so that no
        step is done twice and none is left out.
        """
        if len(self._living) == len(in_service):
            return  # Whoever serves is among them, so there is nobody else.
        left = [
            each
            for each in self._living
            if (now := in_service.get(each.slug)) is None or now.loaded.plugin is not each.plugin
        ]
        for living in sorted(left, key=lambda each: each.place, reverse=True):
            yield from self._undo(living)

    def changed_settings(self) -> Iterator[tuple[str, Any, frozenset[str]]]:
        """Yield the plugins whose settings others have stored while they were activated.

        Yields:
            Slug, object, and the keys of these settings. From then on the plugin is in service,
            and hears of changes as they are made.
        """
        while self._new:
            living = self._new[-1]
            keys = frozenset() if living.context is None else living.context.changed_settings()
            if keys:
                yield living.slug, living.plugin, keys
            # If Ctrl-C comes before, the plugin is yielded again.
            del self._new[-1]
            if living.context is not None:
                living.context.unwatch_settings()

    def discard(self, in_service: Mapping[str, ActivePlugin]) -> None:
        """Deactivate plugins that were never in service, as `settle` does, and drop failures."""
        for _ in self.settle(in_service):
            pass
        for _ in self.changed_settings():
            pass

    # -- the parts ---------------------------------------------------------------------------

    def _check_mixins(
        self, slug: str, plugin: object
    ) -> tuple[list[MixinSpec], list[str], list[PluginFailure]]:
        present, enabled, failures = [], [], []
        for mixin in self._mixins:
            with Guard() as guard:
                if not has(mixin, plugin):
                    continue
                present.append(mixin)
                faults = contract_faults(mixin, plugin)
                if faults:
                    failures.append(
                        PluginFailure(
                            stage=Stage.ACTIVATE,
                            slug=slug,
                            subject=mixin.key,
                            message=f"mixin {mixin.key!r}: {'; '.join(faults)}",
                        )
                    )
                elif is_enabled(mixin, plugin):
                    enabled.append(mixin.key)
            if guard.error is not None:
                failures.append(_mixin_failure(Stage.ACTIVATE, slug, mixin, guard.error))
        return present, enabled, failures

    def _begin(
        self, living: _Living, active: ActivePlugin, declared: Declared, *, full: bool
    ) -> PluginFailure | None:
        """Bind, migrate and activate a plugin.

        What undoes a step is noted before it is taken, and left out if it then fails by itself.
        """
        slug, plugin, undo = living.slug, living.plugin, living.undo
        with Guard() as guard:
            living.context = self._settings.take_in(slug, declared)
            if _is_bound_kind(plugin):
                bind(plugin, living.context)
        if guard.error is not None:
            others = [each for each in self._living if each is not living]
            other = next((each.slug for each in others if each.plugin is plugin), None)
            if other is not None:
                message = f"its object is that of plugin {other!r}; give each slug one of its own"
                return PluginFailure(stage=Stage.ACTIVATE, slug=slug, message=message)
            return PluginFailure.of(Stage.ACTIVATE, slug, guard.error)
        with Guard() as guard:
            self._settings.migrate(slug, plugin, declared)
        if guard.error is not None:
            return PluginFailure.of(Stage.ACTIVATE, slug, guard.error, subject="settings migration")
        assert living.context is not None
        self._new.append(living)
        living.context.watch_settings()
        for mixin in self._mixins:
            if mixin.key not in active.enabled or mixin.key in self._off:
                continue
            before = len(undo)
            with Guard() as guard:
                if mixin.deactivate is not None:
                    deactivate = partial(mixin.deactivate, plugin)
                    undo.append(_Step(deactivate, mixin.key, f"mixin {mixin.key!r}"))
                run_activate(mixin, plugin, full=full)
            if guard.error is not None:
                del undo[before:]
                return _mixin_failure(Stage.ACTIVATE, slug, mixin, guard.error)
        before, hook = len(undo), "plugreg_deactivating"
        with Guard() as guard:
            undo += [_Step(row.function, hook) for row in active.implementations.rows(hook)]
            active.implementations.invoke("plugreg_activated")
        if guard.error is not None:
            del undo[before:]
            return PluginFailure.of(Stage.ACTIVATE, slug, guard.error, subject="plugreg_activated")
        return None

    def _undo(self, living: _Living) -> list[PluginFailure]:
        slug, plugin = living.slug, living.plugin
        failures = []
        while living.undo:
            function, subject, what = living.undo[-1]
            with Guard() as guard:
                # Nothing is called between these two: if Ctrl-C comes, it is in the plugin's code.
                del living.undo[-1]
                function()
            if guard.error is not None:
                failures.append(
                    PluginFailure.of(
                        Stage.DEACTIVATE, slug, guard.error, subject=subject, what=what
                    )
                )
        if living.context is not None and _is_bound_kind(plugin):
            # The object's own dict is asked for, which a __getattribute__ of its own may refuse.
            with Guard() as guard:
                unbind(plugin, living.context)
            if guard.error is not None:
                failures.append(PluginFailure.of(Stage.DEACTIVATE, slug, guard.error))
        self._living.remove(living)
        return failures


def _is_bound_kind(plugin: object) -> bool:
    # isinstance() would ask the object for its __class__, which it may lie about or refuse.
    return issubclass(type(plugin), Plugin)


def _failed(slug: str, error: BaseException) -> Activation:
    return Activation(failures=(PluginFailure.of(Stage.ACTIVATE, slug, error),))


def _mixin_failure(
    stage: Stage, slug: str, mixin: MixinSpec, error: BaseException
) -> PluginFailure:
    return PluginFailure.of(stage, slug, error, subject=mixin.key, what=f"mixin {mixin.key!r}")


def _declared(slug: str, plugin: Any) -> tuple[Declared, PluginFailure | None]:
    """Read what is declared; it was checked with the contract, but may be other each time."""
    if not issubclass(type(plugin), SettingsMixin):
        return Declared(), None
    with Guard() as guard:
        settings, faults = parse_definitions(plugin.SETTINGS, "SETTINGS")
        user_settings, more = parse_definitions(plugin.USER_SETTINGS, "USER_SETTINGS")
        version = plugin.SETTINGS_VERSION
        wrong = [*faults, *more, *filter(None, [version_fault(version)])]
    if guard.error is not None:
        return Declared(), _mixin_failure(Stage.ACTIVATE, slug, SETTINGS, guard.error)
    if wrong:
        message = f"mixin 'settings': {'; '.join(wrong)}"
        return Declared(), PluginFailure(
            stage=Stage.ACTIVATE, slug=slug, subject="settings", message=message
        )
    return Declared(settings, user_settings, version), None


def _unread_settings(slug: str, plugin: object) -> tuple[PluginFailure, ...]:
    """Return a record where a plugin declares settings and lacks the mixin that reads them."""
    names: list[str] = []
    if _is_bound_kind(plugin) and not issubclass(type(plugin), SettingsMixin):
        with Guard():
            names = [each for each in ("SETTINGS", "USER_SETTINGS") if getattr(plugin, each, None)]
    message = (
        f"{' and '.join(names)} cannot be used, since the plugin's class has no SettingsMixin; "
        "add plugreg.mixins.SettingsMixin to its bases, before Plugin"
    )
    failure = PluginFailure(stage=Stage.ACTIVATE, slug=slug, subject=SETTINGS.key, message=message)
    return (failure,) if names else ()


def _brought(active: ActivePlugin) -> tuple[tuple[PluginSpec, ...], tuple[PluginFailure, ...]]:
    """Ask a plugin for the further plugins it brings. A fault here does not switch it off."""
    slug = active.slug
    with Guard() as guard:
        answers = active.implementations.invoke("plugreg_plugins")
        given = chain.from_iterable(each for each in answers if each is not None)
        pairs = [_pair(each) for each in islice(given, MOST_BROUGHT + 1)]
        if len(pairs) > MOST_BROUGHT:
            raise ValueError(f"a plugin may bring no more than {MOST_BROUGHT} others")
        found = objects.find(pairs, source=Source.BROUGHT)
        specs = tuple(replace(each, brought_by=slug) for each in found.specs)
        return specs, tuple(
            replace(each, stage=Stage.ACTIVATE, slug=slug) for each in found.failures
        )
    assert guard.error is not None
    return (), (PluginFailure.of(Stage.ACTIVATE, slug, guard.error, subject="plugreg_plugins"),)


def _pair(each: object) -> tuple[str, object]:
    if isinstance(each, tuple) and len(each) == 2 and isinstance(each[0], str):
        # A plain one, since no other kind of tuple counts as a pair further on.
        return str.__str__(each[0]), each[1]
    raise TypeError(f"plugreg_plugins must give (name, object) pairs, not {safe_repr(each)}")
