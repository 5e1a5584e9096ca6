"""Deriving the next snapshot from the last and the decisions of a build."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Mapping
from operator import attrgetter
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from plugreg._support.frozen import NamedTuple, replace
from plugreg._support.slugs import Slug
from plugreg.records import (
    FAILED,
    REFUSED,
    ActivePlugin,
    Code,
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

if TYPE_CHECKING:
    from plugreg._lifecycle.reimport import Evicted

_K = TypeVar("_K")
_V = TypeVar("_V")


Remake = Literal["changed", "objects", "code"]
"""How much of a plugin that is in service already is made again; each includes those before it.

``changed``: only plugins whose distribution, file or object differs from before.
``objects``: every plugin that is an object of a class. ``code``: every plugin's modules too.
"""


class Built(NamedTuple):
    """A snapshot that is ready to be published, and the changes of publishing it.

    ``added`` come into service with it, ``removed`` go out of service, in the order in which they
    are torn down. The objects of those in ``updated`` stay in service. ``gone`` are the slugs that
    are not known any more, ``tried`` those whose earlier failures are outdated. ``renamed`` has
    the names that differ from the stored names. ``times`` are those of imports and activations,
    slowest first. ``is_whole`` says whether all plugins were decided on.
    """

    snapshot: Snapshot
    is_whole: bool
    added: tuple[ActivePlugin, ...]
    removed: tuple[ActivePlugin, ...]
    updated: frozenset[Slug]
    gone: frozenset[str]
    failures: tuple[PluginFailure, ...]
    tried: frozenset[Slug]
    renamed: Mapping[Slug, str]
    times: tuple[StageTime, ...]


_OLD_CODE: Final[Code] = (None, None, "")
"""Stands for code from before an import that failed."""


class Evictions:
    """The modules that a build evicts, and the code that each unit was imported from.

    ``imported`` is that of the last build, and is not changed.
    """

    def __init__(self, imported: Mapping[str, Code]) -> None:
        self.imported = dict(imported)
        self._evicted: dict[str, Evicted] = {}
        self._failed: set[str] = set()

    def evict(self, spec: PluginSpec, *, is_other: bool, full: bool) -> None:
        """Evict the modules of a plugin if its code is to be imported again.

        It is if the plugin ``is_other`` than before, or with ``full``. Modules are evicted once
        for each distribution or folder, so that all plugins of it run the same code.
        """
        # While a plugin was off, or away, its code may have changed, and none of it was loaded.
        code, unit = spec.code, unit_of(spec)
        is_old = self.imported.setdefault(unit, code) != code
        if not (is_other or is_old or full):
            return
        from plugreg._lifecycle.reimport import Evicted, evict

        group = unit_of(spec, whole_folder=full)
        if group not in self._evicted:
            # Known before anything is taken, so that all of it is restored if Ctrl-C comes.
            self._evicted[group] = Evicted()
            evict(spec, self._evicted[group], whole_folder=full)
        self.imported[unit] = code
        self._evicted[unit] = self._evicted[group]

    def note_failure(self, spec: PluginSpec) -> None:
        """Have :meth:`commit` restore the modules of a plugin that could not be imported."""
        unit = unit_of(spec)
        if self._evicted.get(unit):
            self._failed.add(unit)

    def commit(self) -> None:
        """Restore modules that could not be imported, once all plugins have been loaded."""
        for unit in self._failed:
            self._evicted[unit].restore()
            self.imported[unit] = _OLD_CODE

    def rollback(self) -> None:
        """Restore all modules."""
        for evicted in self._evicted.values():
            evicted.restore(all_of_them=True)


class BuildState:
    """The state of a build: all decisions so far.

    ``only`` are the slugs that it is about, None for all. ``active`` begins with the plugins in
    service that it is not about.
    """

    def __init__(
        self,
        previous: Snapshot,
        remake: Remake,
        only: Iterable[str] | None,
        evictions: Evictions,
    ) -> None:
        self.previous = previous
        self.remake = remake
        self.evictions = evictions
        self.only: set[str] | None = None
        self.active: dict[str, ActivePlugin] = {}
        if only is not None:
            self.only = _with_brought(only, previous)
            self.active = changed(previous.active, {}, without=self.only)
        # Slugs of provided plugins to decide on, once the plugins of active providers are known.
        self.pending: set[str] = set()
        self.rows: dict[Slug, PluginRow] = {}
        self.specs: dict[Slug, PluginSpec] = {}
        self.needs: dict[Slug, tuple[Slug, ...]] = {}
        self.order: list[Slug] = []
        self.held: dict[Slug, NotLoaded] = {}
        self.made: dict[Slug, ActivePlugin] = {}
        # Plugins whose object stays, and of which something else has changed.
        self.updated: set[Slug] = set()
        self.looked_at: set[Slug] = set()
        self.failures: list[PluginFailure] = []
        self.times: list[StageTime] = []

    @property
    def others(self) -> Snapshot:
        """The plugins that a plan for some need not be about, those in service as of now."""
        return replace(self.previous, active=self.active)

    def adopt(self, plan: LoadPlan, rows: Mapping[Slug, PluginRow]) -> None:
        """Take over a plan. Plugins that were brought are not missing any more."""
        for slug in plan.specs:
            self.held.pop(slug, None)
        self.failures = [
            failure
            for failure in self.failures
            if failure.slug not in plan.specs or failure.stage is not Stage.RESOLVE
        ]
        self.failures += plan.failures
        self.rows |= rows
        self.specs |= plan.specs
        self.needs |= plan.needs
        self.held |= plan.held
        self.order += [spec.slug for spec in plan.order]

    def why_off(self, slug: Slug) -> str:
        """Return why a plugin that another needs is off, as the end of a sentence."""
        return (self.held.get(slug) or self.previous.plugins.get(slug) or FAILED).reason

    def spec_of(self, slug: str) -> PluginSpec | None:
        """Return the spec of a plugin that was decided on, or that this build is not about."""
        if slug in self.specs or self.only is None or slug in self.only:
            return self.specs.get(Slug(slug))
        known = self.previous.plugins.get(slug)
        return None if known is None else known.spec

    def lacks(self, need: Slug) -> bool:
        """Return whether a dependency is off. An object that is not a plugin is no dependency."""
        return need not in self.active and self.why_off(need) != REFUSED.reason

    def reopen(self, brought: set[str]) -> None:
        """Decide again on plugins that are brought by some that this build is not about, too."""
        self.pending |= brought
        if self.only is not None:
            for slug in _with_brought(brought, self.previous) - self.only:
                known = self.previous.plugins.get(slug)
                if known is None or known.spec is None or known.spec.source is Source.BROUGHT:
                    self.only.add(slug)
                    self.pending.add(slug)
                    self.active.pop(slug, None)

    def take_pending(self) -> set[str]:
        """Return the plugins to decide on now: these may provide the others again."""
        plugins = self.previous.plugins
        ready = {
            slug
            for slug in self.pending
            if self.only is None
            or slug not in plugins
            or (spec := plugins[slug].spec) is None
            or spec.brought_by not in self.pending
        }
        self.pending -= ready
        return ready

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
        """Keep an active plugin's object, with its new spec and row."""
        dist_info = loaded.spec.path if loaded.spec.distribution is not None else None
        implementations = replace(old.implementations, dist_info=dist_info)
        self.looked_at.add(old.slug)
        self.keep(replace(old, loaded=loaded, implementations=implementations), rank)


def derive(base: Snapshot, work: BuildState, *, rules: HostRules, off: frozenset[str]) -> Built:
    """Derive the next snapshot from ``base``, the last snapshot, or an empty one for all."""
    old, only, active = work.previous, work.only, work.active
    scope = old.plugins.keys() if only is None else only
    left = sorted([old.active[slug] for slug in scope if slug in old.active], key=place_of)
    came: dict[str, ActivePlugin] = {
        slug: active.pop(slug) for slug in work.order if slug in active
    }
    # The order of the other plugins and the new plugins; without others they are in order.
    active = _inserted(active, came) if active else came
    plugins: dict[str, KnownPlugin] = {
        slug: _known(slug, work, active.get(slug), rules)
        for slug in sorted({*work.specs, *work.held})
    }
    gone = frozenset(old.plugins.keys() & scope - plugins.keys())
    known = changed(base.plugins, plugins, without=gone)
    if not plugins.keys() <= old.plugins.keys():
        known = dict(sorted(known.items()))
    needs = {slug: needed for slug, needed in work.needs.items() if needed}
    touched = {*plugins, *work.rows}
    snapshot = replace(
        base,
        plugins=MappingProxyType(known),
        active=MappingProxyType(active),
        by_mixin=_by_mixin(base, [*left, *came.values()], active, off),
        # A plugin without needs is left out, so that dependants are found quickly.
        needs=MappingProxyType(changed(base.needs, needs, without=scope - needs.keys())),
        wished=(base.wished - scope) | rules.wished(touched, work.rows),
    )
    added = tuple(plugin for slug, plugin in came.items() if plugin is not old.active.get(slug))
    failures = [*base.discovery.failures, *work.failures]
    if only is not None:
        brought = {spec.slug for plugin in work.made.values() for spec in plugin.brings}
        failures = [
            failure
            for failure in work.failures
            if failure.stage is not Stage.DISCOVERY or failure.slug in brought
        ]
    return Built(
        snapshot=snapshot,
        is_whole=only is None,
        added=added,
        removed=tuple(plugin for plugin in left[::-1] if plugin is not active.get(plugin.slug)),
        updated=frozenset(work.updated),
        gone=gone,
        failures=tuple(failures),
        tried=frozenset(
            plugin.slug
            for slug, plugin in plugins.items()
            if slug not in active or slug in work.made or slug in work.looked_at
        ),
        renamed={
            plugin.slug: plugin.loaded.name
            for plugin in added
            if plugin.slug in work.rows and work.rows[plugin.slug].name != plugin.loaded.name
        },
        times=tuple(sorted(work.times, key=lambda time: -time.seconds)),
    )


def _known(
    slug: Slug, work: BuildState, plugin: ActivePlugin | None, rules: HostRules
) -> KnownPlugin:
    spec, row, fault = work.specs.get(slug), work.rows.get(slug), work.held.get(slug, FAILED)
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


place_of: Final = attrgetter("place")


def _with_brought(only: Iterable[str], previous: Snapshot) -> set[str]:
    """Return these plugins, and those that they have brought, which go and come with them."""
    found, waiting = {*only}, [*only]
    while waiting:
        active = previous.active.get(waiting.pop())
        for spec in () if active is None else active.brings:
            known = previous.plugins.get(spec.slug)
            if known is not None and known.spec is spec and spec.slug not in found:
                found.add(spec.slug)
                waiting.append(spec.slug)
    return found


def _inserted(
    others: dict[str, ActivePlugin], came: Mapping[str, ActivePlugin]
) -> dict[str, ActivePlugin]:
    """Put plugins at their places among others, which are in order."""
    slugs, plugins = [*others], [*others.values()]
    for slug, active in came.items():
        place = bisect(plugins, place_of(active), key=place_of)
        slugs.insert(place, slug)
        plugins.insert(place, active)
    return dict(zip(slugs, plugins, strict=True))


def unit_of(spec: PluginSpec, *, whole_folder: bool = False) -> str:
    """Return the unit that `evict` takes at once: a distribution, a folder or a file."""
    if spec.distribution is not None:
        return spec.distribution
    return str(spec.folder) if whole_folder else f"{spec.path}:{spec.value}"
