"""Activating a loaded plugin: its checks, and the steps that deactivation undoes in reverse."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain, islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from plugreg._lifecycle.build import Activation, Activations, Begun, Step, is_plugin
from plugreg._support.frozen import replace
from plugreg._support.guard import Guard, safe_repr
from plugreg.mixins import BASE_KEY
from plugreg.plugin import bind
from plugreg.records import (
    ActivePlugin,
    LoadedPlugin,
    PluginFailure,
    PluginSpec,
    Source,
    Stage,
)
from plugreg.settings.values import Declared

if TYPE_CHECKING:
    from plugreg._lifecycle.binding import BoundContext
    from plugreg.hooks import PluginManager
    from plugreg.mixins import MixinSpec

MOST_BROUGHT: Final = 1_000
"""Most plugins that a plugin may provide, because an endless iterator must not block."""


_SETTINGS: Final = "settings"
"""The key of the capability to declare settings."""

OpenContext = Callable[[str, Declared], "BoundContext"]
"""Returns the context of the plugin with this slug, which declares these settings."""


class Activator:
    """Activates the plugins of a registry, each of which is noted in ``activations``.

    ``mixins`` is the table of capabilities, ``off`` the keys of those whose switch the host turned
    off: their functions do not run.
    """

    def __init__(
        self,
        mixins: Iterable[MixinSpec],
        off: frozenset[str],
        manager: PluginManager,
        open_context: OpenContext,
        activations: Activations,
    ) -> None:
        self._mixins = mixins
        self._off = off
        self._manager = manager
        self._open_context = open_context
        self._activations = activations

    def activate(self, loaded: LoadedPlugin, rank: tuple[Any, ...], *, full: bool) -> Activation:
        """Check and bind a plugin, and run its activation and that of its mixins.

        In this order: contracts of all mixins, settings, hook implementations against their specs,
        binding, migration of stored settings, activation of the enabled mixins by their ``order``,
        ``plugreg_activated``, ``plugreg_plugins``. Every fault of the contracts is recorded; else
        the first fault ends the activation, and the steps before it are undone in reverse. The
        plugin's hooks are not in service yet. Raises nothing because of a plugin; an exception that
        belongs to the process passes once the steps are undone.
        """
        slug, plugin, spec = loaded.slug, loaded.plugin, loaded.spec
        present, enabled, faults = self._check_mixins(slug, plugin)
        if faults:
            return Activation(failures=tuple(faults))
        names = {BASE_KEY: "base"} | {mixin.key: mixin.human_name for mixin in present}
        declared = Declared()
        if _SETTINGS in names:
            with Guard() as guard:
                declared = _read_declared(plugin)
            if guard.error is not None:
                fault = _failure_of(slug, guard.error, _SETTINGS, is_mixin=True)
                return Activation(failures=(fault,))
        dist_info = spec.path if spec.distribution is not None else None
        with Guard() as guard:
            implementations = self._manager.implementations(
                plugin, slug, rank, dist_info, name=spec.name
            )
        if guard.error is not None:
            return Activation(failures=(_failure_of(slug, guard.error, "", is_mixin=False),))
        active = ActivePlugin(
            loaded=loaded,
            mixins=names,
            enabled=frozenset([BASE_KEY, *enabled]),
            implementations=implementations,
            settings=declared.settings,
            user_settings=declared.user_settings,
            settings_version=declared.version,
        )
        begun = Begun(active)
        begun.undo.append(Step(partial(self._manager.let_go, implementations), "unregister"))
        self._activations.begun.append(begun)
        try:
            rows = [mixin for mixin in present if mixin.key in active.enabled - self._off]
            failure = self._begin(begun, declared, rows, full=full)
            if failure is None:
                brings, failures = _find_brought(active)
                if _SETTINGS not in names:
                    failures += _unread_settings(slug, plugin)
                if brings:
                    active = replace(active, brings=brings)
                return Activation(active, failures)
        except BaseException:
            self._activations.undo(begun)
            raise
        return Activation(failures=(failure, *self._activations.undo(begun)))

    # -- the parts ---------------------------------------------------------------------------

    def _check_mixins(
        self, slug: str, plugin: object
    ) -> tuple[list[MixinSpec], list[str], list[PluginFailure]]:
        present, enabled, failures = [], [], []
        for mixin in sorted(self._mixins, key=attrgetter("order")):
            from plugreg.mixins._contract import contract_faults
            from plugreg.mixins._spec import has, is_enabled

            with Guard() as guard:
                if not has(mixin, plugin):
                    continue
                present.append(mixin)
                if faults := contract_faults(mixin, plugin):
                    message = f"mixin {mixin.key!r}: {'; '.join(faults)}"
                    failures.append(_failure(slug, message, mixin.key))
                elif is_enabled(mixin, plugin):
                    enabled.append(mixin.key)
            if guard.error is not None:
                failures.append(_failure_of(slug, guard.error, mixin.key, is_mixin=True))
        return present, enabled, failures

    def _begin(
        self, begun: Begun, declared: Declared, mixins: Iterable[MixinSpec], *, full: bool
    ) -> PluginFailure | None:
        """Bind, migrate and activate a plugin.

        The call that undoes a step is noted before the step, and left out if the step itself fails.
        """
        active, undo = begun.active, begun.undo
        slug, plugin = begun.slug, begun.plugin
        subject, is_mixin, done = "", False, 0
        with Guard() as guard:
            context = begun.context = self._open_context(slug, declared)
            if is_plugin(plugin):
                bind(plugin, context)
            subject = "settings migration"
            context.migrate(plugin)
            self._activations.new.append((active, context))
            context.watch_settings()
            for mixin in mixins:
                subject, is_mixin, done = mixin.key, True, len(undo)
                if mixin.deactivate is not None:
                    deactivate = partial(mixin.deactivate, plugin)
                    undo.append(Step(deactivate, mixin.key, f"mixin {mixin.key!r}"))
                if mixin.activate is not None:
                    from plugreg.mixins._spec import run_activate

                    run_activate(mixin, plugin, full=full)
            subject, is_mixin, done = "plugreg_activated", False, len(undo)
            hook = "plugreg_deactivating"
            undo += [Step(row.function, hook) for row in active.implementations.rows(hook)]
            active.implementations.invoke(subject)
            return None
        assert guard.error is not None
        del undo[done:]
        if not subject:
            for other in self._activations.begun:
                if other is not begun and other.plugin is plugin:
                    twin = other.slug
                    message = (
                        f"its object is that of plugin {twin!r}; give each slug one of its own"
                    )
                    return _failure(slug, message)
        return _failure_of(slug, guard.error, subject, is_mixin=is_mixin)


def _failure(slug: str, message: str, subject: str = "") -> PluginFailure:
    return PluginFailure(stage=Stage.ACTIVATE, slug=slug, message=message, subject=subject)


def _failure_of(slug: str, error: BaseException, subject: str, *, is_mixin: bool) -> PluginFailure:
    what = f"mixin {subject!r}" if is_mixin else ""
    return PluginFailure.of(Stage.ACTIVATE, slug, error, subject=subject, what=what)


def _read_declared(plugin: Any) -> Declared:
    """Read the declared settings, which were checked with the contract but may differ each time.

    Raises ValueError with all faults, and whatever the plugin raises.
    """
    from plugreg.mixins.settings import version_fault
    from plugreg.settings.declaration import parse_definitions

    settings, faults = parse_definitions(plugin.SETTINGS, "SETTINGS")
    user_settings, more = parse_definitions(plugin.USER_SETTINGS, "USER_SETTINGS")
    version = plugin.SETTINGS_VERSION
    wrong = [*faults, *more, *filter(None, [version_fault(version)])]
    if wrong:
        raise ValueError("; ".join(wrong))
    return Declared(settings, user_settings, version)


def _unread_settings(slug: str, plugin: object) -> tuple[PluginFailure, ...]:
    """Return a record where a plugin declares settings and lacks the mixin that reads them."""
    names: list[str] = []
    if is_plugin(plugin):
        with Guard():
            names = [name for name in ("SETTINGS", "USER_SETTINGS") if getattr(plugin, name, None)]
    message = (
        f"{' and '.join(names)} cannot be used, since the plugin's class has no SettingsMixin; "
        "add plugreg.mixins.SettingsMixin to its bases, before Plugin"
    )
    return (_failure(slug, message, _SETTINGS),) if names else ()


def _find_brought(
    active: ActivePlugin,
) -> tuple[tuple[PluginSpec, ...], tuple[PluginFailure, ...]]:
    """Return the plugins that a plugin brings. A fault here does not switch it off."""
    slug = active.slug
    with Guard() as guard:
        answers = active.implementations.invoke("plugreg_plugins")
        if not answers:
            return (), ()
        items = chain.from_iterable(answer for answer in answers if answer is not None)
        pairs = [_checked_pair(item) for item in islice(items, MOST_BROUGHT + 1)]
        if len(pairs) > MOST_BROUGHT:
            raise ValueError(f"a plugin may bring no more than {MOST_BROUGHT} others")
        from plugreg.discovery import objects

        found = objects.find(pairs, source=Source.BROUGHT)
        return (
            tuple(replace(spec, brought_by=slug) for spec in found.specs),
            tuple(replace(fault, stage=Stage.ACTIVATE, slug=slug) for fault in found.failures),
        )
    assert guard.error is not None
    return (), (_failure_of(slug, guard.error, "plugreg_plugins", is_mixin=False),)


def _checked_pair(item: object) -> tuple[str, object]:
    if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str):
        # A plain string, since no other kind of tuple counts as a pair further on.
        return str.__str__(item[0]), item[1]
    raise TypeError(f"plugreg_plugins must return (name, object) pairs, not {safe_repr(item)}")
