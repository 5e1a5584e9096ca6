"""Deriving the next snapshot from the last one and what a build has decided."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Mapping
from enum import IntEnum
from operator import attrgetter
from time import perf_counter
from types import MappingProxyType
from typing import Any, Final, TypeVar

from plugreg._lifecycle.reimport import Evictions
from plugreg._support.frozen import replace
from plugreg._support.named import NamedTuple
from plugreg._support.slugs import Slug
from plugreg.records import (
    FAILED,
    REFUSED,
    ActivePlugin,
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
    Stage,
    StageTime,
)

_K = TypeVar("_K")
_V = TypeVar("_V")


class Remake(IntEnum):
    """How much of a plugin that is in service already is made again; more includes less."""

    CHANGED = 0
    """Only plugins whose distribution, file or object is another one than before."""
    OBJECTS = 1
    """Every plugin that is an object of a class."""
    CODE = 2
    """Every plugin's modules too."""

    @classmethod
    def of(cls, *, full: bool, force: bool) -> Remake:
        """Return how much the flags of a reload ask for."""
        return cls.CODE if full else cls.OBJECTS if force else cls.CHANGED


class Built(NamedTuple):
    """A snapshot that is ready to be published, and what publishing it changes.

    ``added`` come into service with it, ``removed`` go out of service, in the order in which they
    are torn down. The objects of those in ``updated`` stay in service. ``gone`` are the slugs that
    are not known any more, ``tried`` those whose earlier failures are outdated. ``renamed`` has
    the names that differ from the stored ones. ``times`` are those of imports and activations,
    slowest first.
    """

    snapshot: Snapshot
    added: tuple[ActivePlugin, ...]
    removed: tuple[ActivePlugin, ...]
    updated: frozenset[Slug]
    gone: frozenset[str]
    failures: tuple[PluginFailure, ...]
    tried: frozenset[Slug]
    renamed: Mapping[Slug, str]
    times: tuple[StageTime, ...]


class BuildState:
    """The state of one build."""

    def __init__(
        self,
        previous: Snapshot,
        remake: Remake,
        only: frozenset[str] | None,
        evictions: Evictions,
    ) -> None:
        self.previous = previous
        self.remake = remake
        self.only = only
        self.evictions = evictions
        self.active: dict[str, ActivePlugin] = {}
        self.held: dict[Slug, NotLoaded] = {}
        self.made: dict[Slug, ActivePlugin] = {}
        # Plugins whose object stays, and of which something else has changed.
        self.updated: set[Slug] = set()
        self.looked_at: set[Slug] = set()
        self.failures: list[PluginFailure] = []
        self.times: list[StageTime] = []

    def widen(self, found: Iterable[PluginSpec]) -> None:
        """Let plugins that were found on the way be touched too, where their bringer may be."""
        if self.only is not None:
            self.only |= {spec.slug for spec in found if spec.brought_by in self.only}

    def effective(self, rows: Mapping[Slug, PluginRow]) -> Mapping[Slug, PluginRow]:
        """Return the rows, with the last desired state of plugins that may not be touched."""
        if self.only is None:
            return rows
        before = self.previous.wished
        return {
            slug: row
            if self.may_touch(slug) or (row.active == (slug in before) and not row.faults)
            else replace(row, active=slug in before, faults=())
            for slug, row in rows.items()
        }

    def may_touch(self, slug: str) -> bool:
        """Return whether this build may change anything about a plugin."""
        return self.only is None or slug in self.only

    def lacks(self, need: Slug) -> bool:
        """Return whether a plugin that another needs is off. What is no plugin is no need."""
        return need not in self.active and self.held.get(need) != REFUSED

    def hold(self, slug: Slug, failure: PluginFailure, reason: str = FAILED.reason) -> None:
        """Keep a plugin off because of a failure."""
        self.held[slug] = NotLoaded(state=PluginState.FAILED, reason=reason)
        self.failures.append(failure)

    def took(self, slug: Slug, stage: Stage, started: float) -> None:
        """Note how long a plugin took at a stage, from ``started`` until now."""
        self.times.append(StageTime(slug=slug, stage=stage, seconds=perf_counter() - started))

    def keep(self, old: ActivePlugin, rank: tuple[Any, ...]) -> None:
        """Keep an active plugin, at its place in the order that holds now."""
        if old.implementations.rank != rank:
            old = replace(old, implementations=replace(old.implementations, rank=rank))
        if old is not self.previous.active[old.slug]:
            self.updated.add(old.slug)
        self.active[old.slug] = old

    def update(self, old: ActivePlugin, loaded: LoadedPlugin, rank: tuple[Any, ...]) -> None:
        """Keep an active plugin's object, with what was now found out about it."""
        dist_info = loaded.spec.path if loaded.spec.distribution is not None else None
        implementations = replace(old.implementations, dist_info=dist_info)
        self.looked_at.add(old.slug)
        self.keep(replace(old, loaded=loaded, implementations=implementations), rank)


def derive(
    base: Snapshot,
    plan: LoadPlan,
    rows: Mapping[Slug, PluginRow],
    work: BuildState,
    *,
    rules: HostRules,
    off: frozenset[str],
) -> Built:
    """Derive the next snapshot from ``base``, the last one, or an empty one for all plugins."""
    old, only = work.previous, work.only
    left, came = old.active, work.active
    if base is old:
        left = _in_order(old.active[slug] for slug in plan.specs if slug in old.active)
        came = {
            spec.slug: work.active.pop(spec.slug) for spec in plan.order if spec.slug in work.active
        }
        work.active = _inserted(work.active, came)
    active = work.active
    held = {**plan.held, **work.held}
    plugins: dict[str, KnownPlugin] = {}
    for slug in sorted({*plan.specs, *held}):
        spec, fault = plan.specs.get(slug), held.get(slug, FAILED)
        plugins[slug] = _known(slug, spec, rows.get(slug), fault, active.get(slug), rules=rules)
    needs = {slug: needed for slug, needed in plan.needs.items() if needed}
    seen = {*plugins, *rows}
    touched = seen if only is None else seen & only
    untouched = frozenset() if only is None else old.wished - only
    moved = [*left.values(), *came.values()]
    snapshot = replace(
        base,
        plugins=MappingProxyType(changed(base.plugins, plugins)),
        active=MappingProxyType(active),
        by_mixin=_by_mixin(base, moved, active, off),
        # A plugin without needs is left out, so that dependants are found quickly.
        needs=MappingProxyType(changed(base.needs, needs, without=plan.specs.keys() - needs)),
        wished=untouched | rules.wished(touched, rows),
    )
    added = tuple(plugin for slug, plugin in came.items() if plugin is not old.active.get(slug))
    brought = {spec.slug for plugin in work.made.values() for spec in plugin.brings}
    failures = (*plan.failures, *work.failures)
    return Built(
        snapshot=snapshot,
        added=added,
        removed=tuple(
            left[slug] for slug in reversed([*left]) if left[slug] is not active.get(slug)
        ),
        updated=frozenset(work.updated),
        gone=frozenset(old.plugins.keys() - snapshot.plugins.keys()),
        failures=tuple(
            failure
            for failure in failures
            if failure.slug in brought
            or only is None
            or (failure.slug in only and failure.stage is not Stage.DISCOVERY)
        ),
        tried=frozenset(
            plugin.slug
            for slug, plugin in plugins.items()
            if work.may_touch(slug)
            and (slug not in active or slug in work.made or slug in work.looked_at)
        ),
        renamed={
            plugin.slug: plugin.loaded.name
            for plugin in added
            if plugin.slug in rows and rows[plugin.slug].name != plugin.loaded.name
        },
        times=tuple(sorted(work.times, key=lambda time: -time.seconds)),
    )


def _known(
    slug: Slug,
    spec: PluginSpec | None,
    row: PluginRow | None,
    fault: NotLoaded,
    plugin: ActivePlugin | None,
    *,
    rules: HostRules,
) -> KnownPlugin:
    found = spec or row
    remembered = row or spec
    stated = None if spec is None else spec.stated("NAME")
    name = stated or (slug if remembered is None else remembered.name)
    return KnownPlugin(
        slug=slug,
        pk=0 if row is None else row.pk,
        wanted=plugin is not None or rules.wants(slug, row),
        state=fault.state if plugin is None else PluginState.ACTIVE,
        reason=fault.reason if plugin is None else "",
        name=name if plugin is None else plugin.loaded.name,
        distribution=None if found is None else found.distribution,
        spec=spec,
        loaded=None if plugin is None else plugin.loaded,
        is_mandatory=slug in rules.mandatory,
    )


def _by_mixin(
    base: Snapshot,
    moved: Iterable[ActivePlugin],
    active: Mapping[str, ActivePlugin],
    off: frozenset[str],
) -> Mapping[str, tuple[Any, ...]]:
    """Return the plugins of each mixin; only those of plugins that moved have changed."""
    by_mixin = dict(base.by_mixin)
    for key in sorted({key for plugin in moved for key in plugin.enabled} - off):
        by_mixin[key] = tuple([p.loaded.plugin for p in active.values() if key in p.enabled])
    return MappingProxyType({key: plugins for key, plugins in by_mixin.items() if plugins})


def changed(
    before: Mapping[_K, _V], new: Mapping[_K, _V], without: Iterable[_K] = ()
) -> dict[_K, _V]:
    """Return a mapping with other entries, in a time that hardly grows with the mapping."""
    # The union of a proxy is made at once, where dict() and ** ask it for each of its keys.
    after = MappingProxyType(before) | new
    for key in without:
        after.pop(key, None)
    return after


_place: Final = attrgetter("place")


def _in_order(plugins: Iterable[ActivePlugin]) -> dict[str, ActivePlugin]:
    return {plugin.slug: plugin for plugin in sorted(plugins, key=_place)}


def _inserted(
    others: dict[str, ActivePlugin], came: Mapping[str, ActivePlugin]
) -> dict[str, ActivePlugin]:
    """Put plugins at their places among others, which are in order."""
    slugs, plugins = [*others], [*others.values()]
    for slug, active in came.items():
        place = bisect(plugins, _place(active), key=_place)
        slugs.insert(place, slug)
        plugins.insert(place, active)
    return dict(zip(slugs, plugins, strict=True))
