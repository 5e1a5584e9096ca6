"""Building the next snapshot aside, from the last one, what was found and what is stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any, Final, Protocol

from plugreg._lifecycle.activate import Activator
from plugreg._lifecycle.load import Acceptance, load
from plugreg._lifecycle.reimport import Code, Evictions
from plugreg._lifecycle.resolve import Describe, need_unmet, resolve, resolve_few, settle
from plugreg._lifecycle.snapshot import BuildState, Built, Remake, changed, derive
from plugreg._support.guard import Guard
from plugreg._support.slugs import Slug
from plugreg.hooks import PluginManager
from plugreg.records import (
    FAILED,
    ActivePlugin,
    Discovery,
    HostRules,
    LoadPlan,
    NotLoaded,
    PluginFailure,
    PluginRow,
    PluginSpec,
    Snapshot,
    Source,
    Stage,
)


class Remember(Protocol):
    """Stores plugins that are new, and returns the rows of all plugins, or of ``few`` alone."""

    def __call__(
        self, specs: Iterable[PluginSpec], /, *, few: bool = False
    ) -> Mapping[Slug, PluginRow]:
        """Store the new ones of these plugins; there is one spec for each slug."""
        ...


_MOST_ROUNDS: Final = 50
"""How often brought plugins may bring others before that is taken for a loop."""


class Builder:
    """Builds snapshots for one registry; holds none, but knows which code it has imported.

    ``off`` are the mixins whose switch the host turned off.
    """

    def __init__(
        self,
        *,
        rules: HostRules,
        describe: Describe,
        manager: PluginManager,
        activator: Activator,
        acceptance: Acceptance,
        off: frozenset[str],
    ) -> None:
        self._rules = rules
        self._describe = describe
        self._manager = manager
        self._acceptance = acceptance
        self._activator = activator
        self._off = off
        self._imported: Mapping[str, Code] = {}

    def build(
        self,
        previous: Snapshot,
        discovery: Discovery,
        manual: Sequence[PluginSpec],
        remember: Remember,
        *,
        remake: Remake = Remake.CHANGED,
        only: frozenset[str] | None = None,
    ) -> Built:
        """Load and activate the wanted plugins, and keep what is in service and unchanged.

        With ``only`` just these plugins, and those that they bring, are touched; others keep
        their state, whatever is stored of them meanwhile. Every plugin that needs one of ``only``
        must be among them. ``previous`` goes on serving meanwhile.

        Raises StorageError, and exceptions that belong to the process. Then everything that was
        newly made is torn down again, and modules are those of before.
        """
        evictions = Evictions(self._imported)
        work = BuildState(previous, remake, only, evictions)
        rounds = 0
        try:
            # The first round is about ``only`` alone, where the others have no say in that.
            few = self._plan_few(work, remember)
            while True:
                if few is None:
                    brought = [spec for active in work.active.values() for spec in active.brings]
                    settled = settle([*manual, *discovery.specs, *brought])
                    rows = work.effective(remember(settled.specs.values()))
                    plan = resolve(settled, rows, self._rules, self._describe)
                else:
                    plan, rows = few
                found = self._carry_out(plan, work)
                if found and rounds < _MOST_ROUNDS:
                    rounds += 1
                    work.widen(found)
                elif any(map(self._manager.is_reserved, work.made)):
                    # While it was activated, a plugin registered another one's name on the manager.
                    # That other plugin fails the next time, so this ends when no names are left.
                    self._activator.discard(previous.active)
                    work = BuildState(previous, remake, only, evictions)
                else:
                    break
                if few is not None:
                    # All plugins have a say now; the objects made until here are in work.made.
                    few, work.active = None, {}
            if found:
                work.failures.append(_endless(found))
            # A row may have changed between the look at a few plugins and that at all.
            for slug in [slug for slug in reversed(work.made) if slug not in work.active]:
                work.failures += self._activator.deactivate(work.made.pop(slug))
            base = Snapshot(discovery=discovery) if few is None else previous
            built = derive(base, plan, rows, work, rules=self._rules, off=self._off)
            evictions.commit()
        except BaseException:
            evictions.rollback()
            self._activator.discard(previous.active)
            raise
        self._imported = evictions.imported
        return built

    # -- the parts ---------------------------------------------------------------------------

    def _plan_few(
        self, work: BuildState, remember: Remember
    ) -> tuple[LoadPlan, Mapping[Slug, PluginRow]] | None:
        """Plan for the plugins of ``only`` alone; that takes no time for the others.

        Returns None where others have a say, by what they need or bring, and where all are due.
        """
        old = work.previous
        specs = None if work.only is None else _specs_of(work.only, old)
        if specs is None:
            return None
        rows = remember(specs.values(), few=True)
        plan = resolve_few(specs, rows, self._rules, self._describe, old)
        if plan is None:
            return None
        work.active = changed(old.active, {}, without=specs)
        return plan, rows

    def _carry_out(self, plan: LoadPlan, work: BuildState) -> list[PluginSpec]:
        """Decide on each plugin of a plan; return the plugins that the active ones bring."""
        found: list[PluginSpec] = []
        for spec in plan.order:
            slug = spec.slug
            if slug not in work.active and slug not in work.held:
                self._decide(spec, plan, work)
                if slug in work.active:
                    found += work.active[slug].brings
        return found

    def _decide(self, spec: PluginSpec, plan: LoadPlan, work: BuildState) -> None:
        """Keep, make, or hold one plugin whose needs have been decided on."""
        slug = spec.slug
        if slug in work.made:
            work.active[slug] = work.made[slug]
            return
        old = work.previous.active.get(slug)
        known = work.previous.plugins.get(slug)
        rank = plan.ranks[slug]
        unmet = next((need for need in plan.needs[slug] if work.lacks(need)), None)
        if unmet is not None:
            reason = need_unmet(unmet, work.held.get(unmet, FAILED).reason)
            work.hold(slug, PluginFailure(stage=Stage.RESOLVE, slug=slug, message=reason), reason)
        elif old is not None and self._is_kept(old, spec, work):
            work.keep(old, rank)
        elif known is not None and not work.may_touch(slug):
            work.held[slug] = NotLoaded(state=known.state, reason=known.reason)
        else:
            self._make(spec, rank, old, work)

    def _is_kept(self, old: ActivePlugin, spec: PluginSpec, work: BuildState) -> bool:
        """Return whether an active plugin stays as it is, its hooks being still in service."""
        if not work.may_touch(spec.slug):
            return True
        return (
            self._manager.is_taken_in(spec.slug)
            and work.remake is Remake.CHANGED
            and old.loaded.spec == spec
            and old.loaded.spec.target is spec.target
        )

    def _make(
        self, spec: PluginSpec, rank: tuple[Any, ...], old: ActivePlugin | None, work: BuildState
    ) -> None:
        """Load and activate one plugin, or hold it."""
        slug = spec.slug
        known = work.previous.plugins.get(slug)
        is_full = work.remake is Remake.CODE
        # The host's modules stay, whatever its distribution brings.
        if spec.distribution is None or spec.distribution != self._rules.distribution:
            with Guard() as guard:
                is_other = known is not None and known.spec is not None and known.spec != spec
                work.evictions.evict(spec, is_other=is_other, full=is_full)
            if guard.error is not None:
                work.hold(slug, PluginFailure.of(Stage.IMPORT, slug, guard.error))
                return

        started = perf_counter()
        loading = load(spec, self._rules, self._acceptance)
        work.took(slug, Stage.IMPORT, started)
        work.failures += loading.failures
        loaded = loading.loaded
        if loaded is None:
            work.evictions.note_failure(spec)
            work.held[slug] = loading.held or FAILED
            return
        work.failures += loaded.failures
        if old is not None and loaded.plugin is old.plugin:
            if self._manager.is_taken_in(slug):
                # A module or an instance cannot be made again, and goes on serving as it is.
                work.update(old, loaded, rank)
                return
            work.failures += self._activator.deactivate(old)
            work.updated.add(slug)
        started = perf_counter()
        activation = self._activator.activate(loaded, rank, full=is_full)
        work.took(slug, Stage.ACTIVATE, started)
        work.failures += activation.failures
        if activation.active is None:
            work.held[slug] = FAILED
        else:
            work.active[slug] = work.made[slug] = activation.active


def _specs_of(slugs: Iterable[str], previous: Snapshot) -> dict[Slug, PluginSpec] | None:
    """Return the specs of these plugins; None if one may differ now, or brings others."""
    specs: dict[Slug, PluginSpec] = {}
    for slug in sorted(slugs):
        known, active = previous.plugins.get(slug), previous.active.get(slug)
        if known is None or known.spec is None or (active is not None and active.brings):
            return None
        if known.spec.source in (Source.MANUAL, Source.BROUGHT):
            return None
        specs[known.slug] = known.spec
    return specs


def _endless(found: Sequence[PluginSpec]) -> PluginFailure:
    return PluginFailure(
        stage=Stage.ACTIVATE,
        slug=found[0].brought_by or found[0].slug,
        subject="plugreg_plugins",
        message="plugins bring plugins that bring plugins, without end; the last ones are left out",
    )
