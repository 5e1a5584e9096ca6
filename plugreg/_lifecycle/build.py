"""Building the next snapshot aside, from the last one and from what is found and wished now."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from operator import attrgetter
from time import perf_counter
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar

from plugreg._lifecycle.activate import Activator
from plugreg._lifecycle.load import HasHooks, load
from plugreg._lifecycle.reimport import Evicted, evict, unit_of
from plugreg._lifecycle.resolve import Describe, need_unmet, resolve, resolve_few, settle
from plugreg._support.guard import Guard
from plugreg._support.names import Slug
from plugreg.records import (
    FAILED,
    ActivePlugin,
    Discovery,
    HostRules,
    KnownPlugin,
    LoadedPlugin,
    LoadPlan,
    NotLoaded,
    PluginFailure,
    PluginRow,
    PluginSpec,
    PluginState,
    Snapshot,
    Source,
    Stage,
    StageTime,
)

_K = TypeVar("_K")
_V = TypeVar("_V")


class Remember(Protocol):
    """Sees to it that plugins are stored, and gives what is wished of all, or of ``few`` alone."""

    def __call__(
        self, specs: Iterable[PluginSpec], /, *, few: bool = False
    ) -> Mapping[Slug, PluginRow]:
        """Store what is new of these plugins, of which there is one for each slug."""
        ...


Code = tuple[str | None, str | None, str]
"""What tells the code of a distribution or file from what it was at another time."""

_OLD: Final[Code] = (None, None, "")
"""Stands for code from before an import that failed."""


class Remake(IntEnum):
    """How much of a plugin that is in service already is made anew; more includes less."""

    CHANGED = 0
    """Only plugins whose distribution, file or object is another one than before."""
    OBJECTS = 1
    """Every plugin that is an object of a class."""
    CODE = 2
    """Every plugin's modules too."""

    @classmethod
    def of(cls, *, full: bool, force: bool) -> Remake:
        """Return what the flags of a reload ask for (behaviour.md, section 9.6)."""
        return cls.CODE if full else cls.OBJECTS if force else cls.CHANGED


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """A snapshot that is ready to be published, and what that means.

    ``added`` are taken into service with it, ``removed`` go out of service, in the order in which
    they are to be torn down; of those in ``kept`` the object stays in service, and only what is
    known of it has changed. ``gone`` are the slugs that are not known any more, ``tried`` those
    whose earlier failures are outdated, ``renamed`` has the names that are others than those
    stored, and ``times`` are those of what was imported and activated, slowest first.
    """

    snapshot: Snapshot
    added: tuple[ActivePlugin, ...]
    removed: tuple[ActivePlugin, ...]
    kept: frozenset[Slug]
    gone: frozenset[str]
    failures: tuple[PluginFailure, ...]
    tried: frozenset[Slug]
    renamed: Mapping[Slug, str]
    times: tuple[StageTime, ...]


_MOST_ROUNDS: Final = 50
"""How often plugins that were brought may bring others before it is taken for a loop."""


class Builder:
    """Builds snapshots for one registry; holds none of them, but knows which code it has imported.

    ``in_service`` tells whether a plugin's hooks are on the manager; ``off`` are the mixins whose
    switch the host turned off.
    """

    def __init__(
        self,
        *,
        rules: HostRules,
        describe: Describe,
        has_hooks: HasHooks,
        activator: Activator,
        in_service: Callable[[str], bool],
        off: frozenset[str],
    ) -> None:
        self._in_service = in_service
        self._rules = rules
        self._describe = describe
        self._has_hooks = has_hooks
        self._activator = activator
        self._off = off
        self._imported: dict[str, Code] = {}

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
        """Load and activate what the wishes ask for, and keep what is in service and unchanged.

        With ``only`` nothing but these plugins, and those that they bring, is touched; others keep
        the state they have, whatever was wished of them meanwhile. Every plugin that needs one of
        ``only`` must be among them. ``previous`` goes on serving meanwhile.

        Raises StorageError, and what belongs to the process; then everything that was newly made
        is torn down again, and modules are those of before.
        """
        work = _Work(previous=previous, remake=remake, only=only, imported=self._imported.copy())
        try:
            built = None if only is None else self._build_few(only, work, remember)
            built = built or self._build_all(discovery, manual, work, remember)
            work.restore()
        except BaseException:
            for evicted in work.evicted.values():
                evicted.restore(all_of_them=True)
            for _ in self._activator.settle(previous.active):
                pass  # Of what was never in service no failure is kept.
            raise
        self._imported = work.imported
        return built

    # -- the parts ---------------------------------------------------------------------------

    def _build_all(
        self,
        discovery: Discovery,
        manual: Sequence[PluginSpec],
        work: _Work,
        remember: Remember,
    ) -> Built:
        """Look at all plugins.

        Those that others bring are found after these were activated, so resolving and loading go
        round until no more come.
        """
        for _ in range(_MOST_ROUNDS):
            settled = settle([*manual, *discovery.specs, *work.brought()])
            wishes = work.as_wished(remember(settled.specs.values()))
            plan = resolve(settled, wishes, self._rules, self._describe)
            before = len(work.active)
            for spec in plan.order:
                if spec.slug not in work.active and spec.slug not in work.held:
                    self._decide(spec, plan, work)
            found = [spec for each in list(work.active.values())[before:] for spec in each.brings]
            if not found:
                break
            work.widen(found)
        else:
            work.failures.append(_endless(found))
        # The narrow build may have made what was wished otherwise, or has gone, since then.
        for slug in [each for each in reversed(work.made) if each not in work.active]:
            work.failures += self._activator.deactivate(work.made.pop(slug))
        held = {**plan.held, **work.held}
        old, new = work.previous, work.active
        plugins: dict[str, KnownPlugin] = {
            slug: self._known(slug, plan.specs.get(slug), wishes.get(slug), held, work)
            for slug in sorted({*plan.specs, *held})
        }
        seen = {*plugins, *wishes}
        touched = seen if work.only is None else seen & work.only
        untouched = frozenset() if work.only is None else old.wished - work.only
        snapshot = Snapshot(
            plugins=MappingProxyType(plugins),
            active=MappingProxyType(new),
            by_mixin=MappingProxyType(self._by_mixin(new.values())),
            needs=MappingProxyType(_needing(plan.needs)),
            discovery=discovery,
            wished=untouched | self._rules.wished(touched, wishes),
        )
        return self._built(snapshot, plan, wishes, work, came=new, left=old.active)

    def _build_few(self, only: frozenset[str], work: _Work, remember: Remember) -> Built | None:
        """Derive the snapshot from the last one; it takes no time for the plugins not in ``only``.

        Returns None where that cannot be done: where other plugins, by what they need or bring,
        have a say in it. What was made until then is in ``work``, and goes for the whole build.
        """
        old = work.previous
        specs = _specs_of(only, old)
        if specs is None:
            return None
        wishes = remember(specs.values(), few=True)
        plan = resolve_few(specs, wishes, self._rules, self._describe, old)
        if plan is None:
            return None
        left = sorted(specs.keys() & old.active.keys(), key=lambda slug: _place(old.active[slug]))
        work.active = _changed(old.active, {}, without=left)
        for spec in plan.order:
            self._decide(spec, plan, work)
        came: dict[str, ActivePlugin] = {
            spec.slug: work.active.pop(spec.slug) for spec in plan.order if spec.slug in work.active
        }
        if any(each.brings for each in came.values()):
            work.active = {}
            return None
        active = work.active = _inserted(work.active, came)
        held = {**plan.held, **work.held}
        plugins: dict[str, KnownPlugin] = {
            slug: self._known(slug, spec, wishes.get(slug), held, work)
            for slug, spec in specs.items()
        }
        moved = [*(old.active[slug] for slug in left), *came.values()]
        by_mixin = {**old.by_mixin, **self._by_mixin_again(moved, active)}
        needs = _needing(plan.needs)
        snapshot = replace(
            old,
            plugins=MappingProxyType(_changed(old.plugins, plugins)),
            active=MappingProxyType(active),
            by_mixin=MappingProxyType({key: each for key, each in by_mixin.items() if each}),
            needs=MappingProxyType(_changed(old.needs, needs, without=specs.keys() - needs.keys())),
            wished=(old.wished - only) | self._rules.wished(only, wishes),
        )
        return self._built(snapshot, plan, wishes, work, came=came, left=left)

    def _decide(self, spec: PluginSpec, plan: LoadPlan, work: _Work) -> None:
        """Keep, make, or hold one plugin whose needs have been decided on."""
        slug = spec.slug
        if slug in work.made:
            work.active[slug] = work.made[slug]
            return
        old = work.previous.active.get(slug)
        rank = plan.ranks[slug]
        unmet = next((need for need in plan.needs[slug] if need not in work.active), None)
        if unmet is not None:
            reason = need_unmet(unmet, work.held.get(unmet, FAILED).reason)
            work.held[slug] = NotLoaded(state=PluginState.FAILED, reason=reason)
            work.failures.append(PluginFailure(stage=Stage.RESOLVE, slug=slug, message=reason))
        elif old is not None and self._keeps(old, spec, work):
            work.keep(old, rank)
        elif not work.may_touch(slug) and (carried := work.previous.plugins.get(slug)) is not None:
            work.held[slug] = NotLoaded(state=carried.state, reason=carried.reason)
        else:
            self._make(spec, rank, old, work)

    def _keeps(self, old: ActivePlugin, spec: PluginSpec, work: _Work) -> bool:
        """Tell whether an active plugin stays as it is, its hooks being still in service."""
        if not work.may_touch(spec.slug):
            return True
        return self._in_service(spec.slug) and work.is_unchanged(old, spec)

    def _make(
        self, spec: PluginSpec, rank: tuple[Any, ...], old: ActivePlugin | None, work: _Work
    ) -> None:
        slug = spec.slug
        # The host's modules stay, whatever its distribution brings.
        own = spec.distribution is not None and spec.distribution == self._rules.distribution
        with Guard() as guard:
            evicted = Evicted() if own else work.evict(spec)
        if guard.error is not None:
            work.failures.append(PluginFailure.of(Stage.IMPORT, slug, guard.error))
            work.held[slug] = FAILED
            return
        started = perf_counter()
        loading = load(spec, self._rules, self._has_hooks)
        work.took(slug, Stage.IMPORT, started)
        work.failures += loading.failures
        if loading.loaded is None:
            if evicted:
                work.failed_units[unit_of(spec)] = evicted
            work.held[slug] = loading.held or FAILED
            return
        if old is not None and loading.loaded.plugin is old.plugin:
            if self._in_service(slug):
                # A module or an instance cannot be made anew, and goes on serving as it is.
                work.failures += loading.loaded.failures
                work.keep_otherwise(old, loading.loaded, rank)
                return
            work.failures += self._activator.deactivate(old)
            work.kept_otherwise.add(slug)
        started = perf_counter()
        activation = self._activator.activate(loading.loaded, rank, full=work.remake is Remake.CODE)
        work.took(slug, Stage.ACTIVATE, started)
        work.failures += (*loading.loaded.failures, *activation.failures)
        if activation.active is None:
            work.held[slug] = FAILED
            return
        work.active[slug] = activation.active
        work.made[slug] = activation.active

    def _built(
        self,
        snapshot: Snapshot,
        plan: LoadPlan,
        wishes: Mapping[Slug, PluginRow],
        work: _Work,
        *,
        came: Iterable[str],
        left: Collection[str],
    ) -> Built:
        """Say what a snapshot means; the slugs are those that may have come or left, in order."""
        old, new = work.previous.active, snapshot.active
        added = tuple(new[slug] for slug in came if new[slug] is not old.get(slug))
        brought = {spec.slug for each in work.made.values() for spec in each.brings}
        return Built(
            snapshot=snapshot,
            added=added,
            removed=tuple(
                old[slug] for slug in reversed([*left]) if old[slug] is not new.get(slug)
            ),
            kept=frozenset(work.kept_otherwise),
            gone=frozenset(work.previous.plugins.keys() - snapshot.plugins.keys()),
            failures=tuple(
                each
                for each in (*plan.failures, *work.failures)
                if (work.may_touch(each.slug) or each.slug in brought)
                and (work.only is None or each.stage is not Stage.DISCOVERY or each.slug in brought)
            ),
            tried=frozenset(
                each
                for each in map(Slug, snapshot.plugins if work.only is None else work.only)
                if each in snapshot.plugins and work.has_tried(each)
            ),
            renamed={
                each.slug: each.loaded.name
                for each in added
                if each.slug in wishes and wishes[each.slug].name != each.loaded.name
            },
            times=tuple(sorted(work.times, key=lambda each: -each.seconds)),
        )

    def _known(
        self,
        slug: Slug,
        spec: PluginSpec | None,
        wish: PluginRow | None,
        held: Mapping[Slug, NotLoaded],
        work: _Work,
    ) -> KnownPlugin:
        active = work.active.get(slug)
        why = held.get(slug, FAILED)
        found = spec if spec is not None else wish
        remembered = wish if wish is not None else spec
        name = remembered.name if remembered is not None else slug
        stated = spec.stated("NAME") if spec is not None else None
        return KnownPlugin(
            slug=slug,
            pk=0 if wish is None else wish.pk,
            wanted=active is not None or self._rules.wants(slug, wish),
            state=why.state if active is None else PluginState.ACTIVE,
            reason=why.reason if active is None else "",
            name=stated or name if active is None else active.loaded.name,
            distribution=None if found is None else found.distribution,
            spec=spec,
            loaded=None if active is None else active.loaded,
            is_mandatory=slug in self._rules.mandatory,
        )

    def _by_mixin(self, active: Iterable[ActivePlugin]) -> dict[str, tuple[Any, ...]]:
        found: dict[str, list[Any]] = {}
        for each in active:
            for key in each.mixins:
                if key in each.enabled and key not in self._off:
                    found.setdefault(key, []).append(each.plugin)
        return {key: tuple(plugins) for key, plugins in found.items()}

    def _by_mixin_again(
        self, moved: Iterable[ActivePlugin], active: Mapping[str, ActivePlugin]
    ) -> dict[str, tuple[Any, ...]]:
        """Return the plugins of each mixin that one of those has that came or left."""
        keys = {key for each in moved for key in each.enabled} - self._off
        return {
            key: tuple([each.loaded.plugin for each in active.values() if key in each.enabled])
            for key in keys
        }


def _specs_of(slugs: Iterable[str], previous: Snapshot) -> dict[Slug, PluginSpec] | None:
    """Return what was found of these plugins; None if that may be another now, or if one brings."""
    specs: dict[Slug, PluginSpec] = {}
    for slug in sorted(slugs):
        known, active = previous.plugins.get(slug), previous.active.get(slug)
        if known is None or known.spec is None or (active is not None and active.brings):
            return None
        if known.spec.source in (Source.MANUAL, Source.BROUGHT):
            return None
        specs[known.slug] = known.spec
    return specs


def _needing(needs: Mapping[Slug, tuple[Slug, ...]]) -> dict[Slug, tuple[Slug, ...]]:
    # Who needs nothing, as most, is nothing to look through when dependants are asked for.
    return {slug: each for slug, each in needs.items() if each}


def _changed(
    before: Mapping[_K, _V], new: Mapping[_K, _V], without: Iterable[_K] = ()
) -> dict[_K, _V]:
    # The union of a proxy is made at once, where dict() and ** ask it for each of its keys.
    changed = MappingProxyType(before) | new
    for key in without:
        changed.pop(key, None)
    return changed


def _inserted(
    others: dict[str, ActivePlugin], came: Mapping[str, ActivePlugin]
) -> dict[str, ActivePlugin]:
    """Put plugins at their places among others, which are in order."""
    if not came:
        return others
    slugs, plugins = [*others], [*others.values()]
    for slug, active in came.items():
        place = bisect(plugins, _place(active), key=_place)
        slugs.insert(place, slug)
        plugins.insert(place, active)
    return dict(zip(slugs, plugins, strict=True))


_place: Final = attrgetter("place")


def _endless(found: Sequence[PluginSpec]) -> PluginFailure:
    return PluginFailure(
        stage=Stage.ACTIVATE,
        slug=found[0].brought_by or found[0].slug,
        subject="plugreg_plugins",
        message="plugins bring plugins that bring plugins, without end; the last ones are left out",
    )


@dataclass(kw_only=True, slots=True)
class _Work:
    """What one build has come to so far."""

    previous: Snapshot
    remake: Remake
    only: frozenset[str] | None
    imported: dict[str, Code]
    active: dict[str, ActivePlugin] = field(default_factory=dict)
    held: dict[Slug, NotLoaded] = field(default_factory=dict)
    made: dict[Slug, ActivePlugin] = field(default_factory=dict)
    failures: list[PluginFailure] = field(default_factory=list)
    times: list[StageTime] = field(default_factory=list)
    kept_otherwise: set[Slug] = field(default_factory=set)
    looked_at: set[Slug] = field(default_factory=set)
    failed_units: dict[str, Evicted] = field(default_factory=dict)
    evicted: dict[str, Evicted] = field(default_factory=dict)

    def brought(self) -> list[PluginSpec]:
        """Return the specs of all plugins that active ones have brought."""
        return [spec for each in self.active.values() for spec in each.brings]

    def widen(self, found: Iterable[PluginSpec]) -> None:
        """Let plugins that were found on the way be touched too, where their bringer may be."""
        if self.only is not None:
            self.only |= {each.slug for each in found if each.brought_by in self.only}

    def as_wished(self, wishes: Mapping[Slug, PluginRow]) -> Mapping[Slug, PluginRow]:
        """Return the wishes, but those that were carried out before of what may not be touched."""
        if self.only is None:
            return wishes
        before = self.previous.wished
        return {
            slug: wish
            if self.may_touch(slug) or (wish.active == (slug in before) and not wish.faults)
            else replace(wish, active=slug in before, faults=())
            for slug, wish in wishes.items()
        }

    def may_touch(self, slug: str) -> bool:
        """Tell whether this build may change anything about a plugin."""
        return self.only is None or slug in self.only

    def took(self, slug: Slug, stage: Stage, started: float) -> None:
        """Take note of the time that a plugin took at a stage, from ``started`` until now."""
        self.times.append(StageTime(slug=slug, stage=stage, seconds=perf_counter() - started))

    def is_unchanged(self, old: ActivePlugin, spec: PluginSpec) -> bool:
        """Tell whether nothing about an active plugin is to be made anew."""
        return (
            self.remake is Remake.CHANGED
            and old.loaded.spec == spec
            and old.loaded.spec.target is spec.target
        )

    def keep(self, old: ActivePlugin, rank: tuple[Any, ...]) -> None:
        """Keep an active plugin, at its place in the order that holds now."""
        if old.implementations.rank != rank:
            old = replace(old, implementations=replace(old.implementations, rank=rank))
        if old is not self.previous.active[old.slug]:
            self.kept_otherwise.add(old.slug)
        self.active[old.slug] = old

    def keep_otherwise(
        self, old: ActivePlugin, loaded: LoadedPlugin, rank: tuple[Any, ...]
    ) -> None:
        """Keep an active plugin's object, with what was now found out about it."""
        dist_info = loaded.spec.path if loaded.spec.distribution is not None else None
        implementations = replace(old.implementations, dist_info=dist_info)
        self.looked_at.add(old.slug)
        self.keep(replace(old, loaded=loaded, implementations=implementations), rank)

    def restore(self) -> None:
        """Put back the modules of what could not be imported, now that all have had their turn."""
        for unit, evicted in self.failed_units.items():
            evicted.restore()
            self.imported[unit] = _OLD

    def has_tried(self, slug: Slug) -> bool:
        """Tell whether what was known to be wrong with a plugin is outdated now."""
        kept = slug in self.active and slug not in self.made
        return self.may_touch(slug) and (not kept or slug in self.looked_at)

    def evict(self, spec: PluginSpec) -> Evicted:
        """Take a plugin's modules out of the way if its code is to be imported anew.

        Once for each distribution or folder, so that all plugins of it run the same code.
        """
        known = self.previous.plugins.get(spec.slug)
        is_other = known is not None and known.spec is not None and known.spec != spec
        # While a plugin was off, or away, its code may have changed, and nothing of it was loaded.
        code, own = (spec.path, spec.version, spec.stamp), unit_of(spec)
        is_old = self.imported.setdefault(own, code) != code
        if not (is_other or is_old or self.remake is Remake.CODE):
            return Evicted()
        whole_folder = self.remake is Remake.CODE
        unit = unit_of(spec, whole_folder=whole_folder)
        if unit not in self.evicted:
            # Known before anything is taken, so that all of it is put back if Ctrl-C comes.
            evicted = self.evicted[unit] = Evicted()
            evict(spec, evicted, whole_folder=whole_folder)
        self.imported[own] = code
        return self.evicted[unit]
