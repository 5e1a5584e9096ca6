"""Building the next snapshot from the last snapshot, the discovered plugins and the store.

Plugins are activated meanwhile, and deactivated where the build fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from plugreg._lifecycle.resolve import Describe, Settled, need_unmet, resolve, settle
from plugreg._lifecycle.snapshot import BuildState, Built, Evictions, Remake, derive, place_of
from plugreg._support.frozen import Frozen, NamedTuple
from plugreg._support.guard import Guard
from plugreg._support.slugs import Slug
from plugreg.plugin import Plugin, unbind
from plugreg.records import (
    EMPTY,
    FAILED,
    ActivePlugin,
    Code,
    Discovery,
    HostRules,
    LoadPlan,
    PluginFailure,
    PluginRow,
    PluginSpec,
    Snapshot,
    Source,
    Stage,
)

if TYPE_CHECKING:
    from plugreg._lifecycle.binding import BoundContext
    from plugreg._lifecycle.load import Loading
    from plugreg._lifecycle.protocols import Isolation
    from plugreg._state.quarantine import Quarantine
    from plugreg.hooks import PluginManager


Remember = Callable[..., Mapping[Slug, PluginRow]]
"""Stores plugins that are new, and returns the rows of all, or with ``few=True`` of these alone."""

_MOST_ROUNDS: Final = 51
"""How often brought plugins may bring others before that is taken for a loop."""


class Activation(NamedTuple):
    """The result of activating a plugin: ``active``, or None, and all failures."""

    active: ActivePlugin | None = None
    failures: tuple[PluginFailure, ...] = ()


class Step(NamedTuple):
    """A call that undoes a part of the activation, and the subject of its failure."""

    function: Callable[[], object]
    subject: str
    what: str = ""


class Begun:
    """A plugin whose activation has begun, and the steps that undo it, last step last."""

    __slots__ = ("active", "context", "plugin", "slug", "undo")

    def __init__(self, active: ActivePlugin) -> None:
        self.active = active
        # Each change looks at these of every plugin in service.
        self.slug, self.plugin = active.slug, active.plugin
        self.undo: list[Step] = []
        self.context: BoundContext | None = None


class Activations:
    """The plugins of a registry whose activation has begun, until all of it was undone.

    So none is forgotten where Ctrl-C comes between: see `settle`.
    """

    def __init__(self) -> None:
        self.begun: list[Begun] = []
        # Plugins that were not in service when changed_settings() was called last.
        self.new: list[tuple[ActivePlugin, BoundContext]] = []

    def deactivate(self, active: ActivePlugin) -> tuple[PluginFailure, ...]:
        """Undo an activation in reverse, after the plugin's hooks were taken out of service.

        Each step has its own guard; a failed step does not stop the others.
        """
        return tuple(
            failure
            for begun in [*self.begun]
            if begun.slug == active.slug and begun.plugin is active.plugin
            for failure in self.undo(begun)
        )

    def settle(self, in_service: Mapping[str, ActivePlugin]) -> Iterator[PluginFailure]:
        """Deactivate all activated plugins that are not in service, the last first.

        Yields the failures of each. A deactivation that was interrupted is continued, so that no
        step is done twice and none is left out.
        """
        if len(self.begun) == len(in_service):
            return  # Every plugin in service is among them, so there is no other.
        left = [
            begun
            for begun in self.begun
            if (now := in_service.get(begun.slug)) is None or now.loaded.plugin is not begun.plugin
        ]
        for begun in sorted(left, key=lambda begun: begun.active.place, reverse=True):
            yield from self.undo(begun)

    def changed_settings(self) -> Iterator[tuple[str, Any, frozenset[str]]]:
        """Yield the plugins whose settings others have stored while they were activated.

        Yields:
            Slug, object, and the keys of these settings. From then on the plugin is in service,
            and hears of changes as they are made.
        """
        while self.new:
            active, context = self.new[-1]
            keys = context.changed_settings()
            if keys:
                yield active.slug, active.plugin, keys
            # If Ctrl-C comes before, the plugin is yielded again.
            del self.new[-1]
            context.unwatch_settings()

    def discard(self, in_service: Mapping[str, ActivePlugin]) -> None:
        """Deactivate plugins that were never in service, as `settle` does, and drop failures."""
        for _ in self.settle(in_service):
            pass
        for _ in self.changed_settings():
            pass

    def undo(self, begun: Begun) -> list[PluginFailure]:
        """Undo all steps of an activation, the last first, and forget the plugin."""
        slug, plugin = begun.slug, begun.plugin
        failures = []
        while begun.undo:
            function, subject, what = begun.undo[-1]
            with Guard() as guard:
                # Nothing is called between these two: if Ctrl-C comes, it is in the plugin's code.
                del begun.undo[-1]
                function()
            if guard.error is not None:
                failures.append(
                    PluginFailure.of(
                        Stage.DEACTIVATE, slug, guard.error, subject=subject, what=what
                    )
                )
        if begun.context is not None and is_plugin(plugin):
            # The object's own dict is asked for, which a __getattribute__ of its own may refuse.
            with Guard() as guard:
                unbind(plugin, begun.context)
            if guard.error is not None:
                failures.append(PluginFailure.of(Stage.DEACTIVATE, slug, guard.error))
        self.begun.remove(begun)
        return failures


def is_plugin(plugin: object) -> bool:
    """Return whether an object is a `plugreg.plugin.Plugin`; no code of it runs."""
    # isinstance() would ask the object for its __class__, which it may lie about or refuse.
    return issubclass(type(plugin), Plugin)


class Builder(Frozen, frozen=False, eq=False):
    """Builds snapshots for a registry; keeps none, but knows the code that it has imported.

    ``load`` imports and constructs a plugin, ``activate`` activates it and notes that in
    ``activations``. ``off`` are the mixins whose switch is turned off. ``quarantine`` marks plugins
    before they are loaded, unless they are in ``isolation``.
    """

    rules: HostRules
    describe: Describe
    manager: PluginManager
    activations: Activations
    load: Callable[[PluginSpec], Loading]
    activate: Callable[..., Activation]
    quarantine: Quarantine | None
    isolation: Isolation | None
    off: frozenset[str]
    _imported: Mapping[str, Code] = EMPTY

    def build(
        self,
        previous: Snapshot,
        discovery: Discovery,
        manual: Sequence[PluginSpec],
        remember: Remember,
        *,
        remake: Remake = "changed",
        only: frozenset[str] | None = None,
    ) -> Built:
        """Load and activate the wanted plugins, and keep unchanged plugins in service.

        With ``only`` just these plugins, and those that they bring, are touched; others keep
        their state, whatever is stored of them meanwhile. Every plugin that needs a plugin of
        ``only`` must be among them. ``previous`` goes on serving meanwhile.

        Raises StorageError, and exceptions that belong to the process. Then everything that was
        newly made is torn down again, and modules are those of before.
        """
        evictions = Evictions(self._imported)
        try:
            while True:
                work = BuildState(previous, remake, only, evictions)
                settled, rows = _choose(work, discovery, manual, remember)
                others = None if only is None else work.others
                for _ in range(_MOST_ROUNDS):
                    plan = resolve(settled, rows, self.rules, self.describe, others)
                    found = self._carry_out(plan, rows, work)
                    if not found and not work.pending:
                        break
                    work.reopen({spec.slug for spec in found})
                    settled, rows = _choose_brought(work, remember)
                    others = work.others
                else:
                    work.failures.append(_endless(found))
                if not any(map(self._is_reserved, work.made.values())):
                    break
                # During its activation a plugin registered another plugin's name on the manager.
                # That other plugin fails the next time, so this ends when no names are left.
                self.activations.discard(previous.active)
            base = Snapshot(discovery=discovery) if only is None else previous
            built = derive(base, work, rules=self.rules, off=self.off)
            evictions.commit()
        except BaseException:
            evictions.rollback()
            self.activations.discard(previous.active)
            raise
        self._imported = evictions.imported
        return built

    # -- the parts ---------------------------------------------------------------------------

    def _is_reserved(self, active: ActivePlugin) -> bool:
        names = (active.slug, active.implementations.name)
        return any(map(self.manager.is_reserved, names))

    def _carry_out(
        self, plan: LoadPlan, rows: Mapping[Slug, PluginRow], work: BuildState
    ) -> list[PluginSpec]:
        """Decide on each plugin of a plan; return the plugins that active plugins provide."""
        work.adopt(plan, rows)
        found: list[PluginSpec] = []
        for spec in plan.order:
            self._decide(spec, plan, work)
            if spec.slug in work.active:
                found += work.active[spec.slug].brings
        return found

    def _decide(self, spec: PluginSpec, plan: LoadPlan, work: BuildState) -> None:
        """Keep, make, or hold a plugin after its dependencies were decided on."""
        slug = spec.slug
        old = work.previous.active.get(slug)
        unmet = next((need for need in plan.needs[slug] if work.lacks(need)), None)
        if unmet is not None:
            reason = need_unmet(unmet, work.why_off(unmet))
            work.hold(slug, PluginFailure(stage=Stage.RESOLVE, slug=slug, message=reason), reason)
            return
        # An object that is not a plugin provides nothing for plugins that require it.
        is_last, _, *rest = plan.ranks[slug]
        below = [work.active[need] for need in plan.needs[slug] if need in work.active]
        depth = max((active.implementations.rank[1] for active in below), default=-1) + 1
        rank = (is_last, depth, *rest)
        if old is not None and self._is_kept(old, spec, work):
            work.keep(old, rank)
        else:
            self._make(spec, rank, old, work)

    def _is_kept(self, old: ActivePlugin, spec: PluginSpec, work: BuildState) -> bool:
        """Return whether an active plugin stays as it is, its hooks being still in service."""
        return (
            self.manager.is_taken_in(spec.slug)
            and work.remake == "changed"
            and spec.has_code_of(old.loaded.spec)
        )

    def _make(
        self, spec: PluginSpec, rank: tuple[Any, ...], old: ActivePlugin | None, work: BuildState
    ) -> None:
        """Load and activate a plugin, or hold it."""
        slug = spec.slug
        if self.quarantine is not None:
            is_isolated = self.isolation is not None and self.isolation.isolates(spec)
            refusal = self.quarantine.enter(spec, is_harmless=is_isolated)
            if refusal is not None:
                work.hold(slug, refusal)
                return
        known = work.previous.plugins.get(slug)
        is_full = work.remake == "code"
        # The host's modules stay, whatever its distribution brings.
        if spec.distribution is None or spec.distribution != self.rules.distribution:
            with Guard() as guard:
                before = None if known is None else known.spec
                is_other = before is not None and not spec.has_code_of(before)
                work.evictions.evict(spec, is_other=is_other, full=is_full)
            if guard.error is not None:
                work.hold(slug, PluginFailure.of(Stage.IMPORT, slug, guard.error))
                return

        started = perf_counter()
        loading = self.load(spec)
        work.took(slug, Stage.IMPORT, started)
        work.failures += loading.failures
        loaded = loading.loaded
        if loaded is None:
            work.evictions.note_failure(spec)
            work.held[slug] = loading.held or FAILED
            return
        work.failures += loaded.failures
        if old is not None and loaded.plugin is old.plugin:
            if self.manager.is_taken_in(slug):
                # A module or an instance cannot be made again, and goes on serving as it is.
                work.update(old, loaded, rank)
                return
            work.failures += self.activations.deactivate(old)
            work.updated.add(slug)
        started = perf_counter()
        activation = self.activate(loaded, rank, full=is_full)
        work.took(slug, Stage.ACTIVATE, started)
        work.failures += activation.failures
        if activation.active is None:
            work.held[slug] = FAILED
        else:
            work.active[slug] = work.made[slug] = activation.active


def _choose(
    work: BuildState, discovery: Discovery, manual: Sequence[PluginSpec], remember: Remember
) -> tuple[Settled, Mapping[Slug, PluginRow]]:
    """Return the specs and the rows of the plugins that a build is about."""
    only, known = work.only, work.previous.plugins
    if only is None:
        settled = settle([*manual, *discovery.specs])
        return settled, remember(settled.specs.values())
    specs: dict[Slug, PluginSpec] = {}
    for slug in only & known.keys():
        spec = known[slug].spec
        # A provided plugin goes with its provider, and may be provided again.
        if spec and spec.source is not Source.MANUAL and spec.brought_by not in only:
            specs[spec.slug] = spec
    work.pending = only - specs.keys()
    if work.pending:
        found = (spec for spec in (*manual, *discovery.specs) if spec.slug in work.pending)
        specs |= settle(found).specs
        work.pending -= specs.keys()
    rows = remember(specs.values(), few=not work.pending)
    return Settled(dict(sorted(specs.items()))), {s: r for s, r in rows.items() if s in only}


def _choose_brought(
    work: BuildState, remember: Remember
) -> tuple[Settled, Mapping[Slug, PluginRow]]:
    """Return specs and rows of provided plugins; an existing plugin keeps its slug."""
    slugs = work.take_pending()
    bringers = sorted(work.active.values(), key=place_of)
    brought = [spec for active in bringers for spec in active.brings if spec.slug in slugs]
    known = {slug: work.spec_of(slug) for slug in slugs}
    settled = settle([*brought, *filter(None, known.values())])
    new = {slug: spec for slug, spec in settled.specs.items() if known[slug] is None}
    rows = remember(new.values())
    return settled._replace(specs=new), {
        slug: row for slug, row in rows.items() if slug in slugs and known[slug] is None
    }


def _endless(found: Sequence[PluginSpec]) -> PluginFailure:
    return PluginFailure(
        stage=Stage.ACTIVATE,
        slug=found[0].brought_by or found[0].slug,
        subject="plugreg_plugins",
        message="plugins bring plugins that bring plugins, without end; the last ones are left out",
    )
