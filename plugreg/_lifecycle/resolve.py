"""Which plugins are to be loaded, in which order, and why the others are not.

A pure function of what was found, what is wished and what the host says. Nothing is imported,
stored or recorded here (design.md, section 2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from plugreg._support.guard import Guard, explain
from plugreg._support.names import Slug, canonical, has_utf8
from plugreg.records import (
    FAILED,
    HostRules,
    LoadPlan,
    NotLoaded,
    PluginFacts,
    PluginFailure,
    PluginRow,
    PluginSpec,
    PluginState,
    Snapshot,
    Source,
    Stage,
)

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

Describe = Callable[[PluginSpec], PluginFacts]
"""Gives what a distribution says of itself: the same facts for the same spec."""


class _Requirement(NamedTuple):
    """The part of a ``Requires-Dist`` line that matters here."""

    distribution: str
    specifier: SpecifierSet


class Settled(NamedTuple):
    """The one spec of each slug, in alphabetical order, and a failure for each one that lost."""

    specs: dict[Slug, PluginSpec]
    failures: tuple[PluginFailure, ...] = ()


def settle(specs: Iterable[PluginSpec]) -> Settled:
    """Choose one spec for each slug: the first by source, then by distribution.

    The same plugin found twice is no failure. The order of ``specs`` has no say.
    """
    chosen: dict[Slug, PluginSpec] = {}
    failures = []
    for spec in sorted(specs, key=lambda each: each.sort_key):
        unwritable = _unwritable(spec)
        if unwritable is not None:
            failures.append(unwritable)
            continue
        winner = chosen.setdefault(spec.slug, spec)
        if winner is spec or _same_plugin(winner, spec):
            continue
        failures.append(
            PluginFailure(
                stage=Stage.DISCOVERY,
                slug=spec.slug,
                subject=spec.origin,
                message=(
                    f"slug {spec.slug!r} of {spec.origin} is already that of {winner.origin}, "
                    f"which comes first; rename or remove one of the two"
                ),
            )
        )
    return Settled(dict(sorted(chosen.items())), tuple(failures))


def resolve(
    settled: Settled,
    wishes: Mapping[Slug, PluginRow],
    rules: HostRules,
    describe: Describe,
) -> LoadPlan:
    """Make the plan of a load.

    ``describe`` is asked about wanted plugins alone. The plan depends on nothing but the
    arguments.
    """
    chosen = settled.specs
    gone = {slug: wish.distribution for slug, wish in wishes.items() if slug not in chosen}
    providers = _providers({slug: spec.distribution for slug, spec in chosen.items()} | gone)
    needs, held, unfit = _wanted(chosen, wishes, rules, describe, lambda: providers)
    for slug in sorted(gone.keys() | rules.mandatory - chosen.keys()):
        held[slug] = NotLoaded(state=PluginState.MISSING, reason="is not installed")
    failures = [*settled.failures, *([_safe_mode()] if rules.safe_mode else [])]
    failures += [
        _failure(slug, "is mandatory, but was not found; install it, or take it from mandatory=")
        for slug in sorted(rules.mandatory - chosen.keys())
    ]
    failures += _faults(gone, wishes)
    failures += [*unfit, *_hold_cycles(needs, held)]
    return _plan(chosen, needs, {}, held, failures)


def resolve_few(
    chosen: Mapping[Slug, PluginSpec],
    wishes: Mapping[Slug, PluginRow],
    rules: HostRules,
    describe: Describe,
    previous: Snapshot,
) -> LoadPlan | None:
    """Make the part of the plan that is about a few plugins, where all others stay as they are.

    Every plugin of ``chosen`` is known to ``previous``, and so is each that needs one of them. It
    takes no time for the others. Returns None where it cannot be said without looking at them:
    where a plugin needs one that is off, or is part of a cycle.
    """

    @cache
    def providers() -> Mapping[str, tuple[Slug, ...]]:
        return _providers({each.slug: each.distribution for each in previous.plugins.values()})

    needs, held, failures = _wanted(chosen, wishes, rules, describe, providers)
    others = {need for each in needs.values() for need in each} - chosen.keys()
    if not others <= previous.active.keys() or _hold_cycles(needs, held):
        return None
    depths: dict[Slug, int] = {
        slug: previous.active[slug].implementations.rank[0] for slug in others
    }
    return _plan(chosen, needs, depths, held, failures)


def need_unmet(need: str, why: str) -> str:
    """Say that a plugin lacks another one; ``why`` may itself be such a sentence."""
    return f"needs {need!r}, which {why}"


def bounds_fault(attributes: Mapping[str, Any], rules: HostRules) -> str | None:
    """Return why MIN_VERSION or MAX_VERSION shut this host out, or None (behaviour.md, section 10).

    Both bounds are inclusive and release segments are compared, so that a pre-release of a host
    counts as its release. Raises ValueError for a bound that is no version.
    """
    if rules.version is None:
        return None
    host = _release(rules.version, "host_version")
    low, high = attributes.get("MIN_VERSION"), attributes.get("MAX_VERSION")
    if low and host < _release(low, "MIN_VERSION"):
        return f"needs at least version {low} of the host (MIN_VERSION), which is {rules.version}"
    if high and host > _release(high, "MAX_VERSION"):
        return f"needs at most version {high} of the host (MAX_VERSION), which is {rules.version}"
    return None


# -- the parts -------------------------------------------------------------------------------


def _failure(slug: str, message: str) -> PluginFailure:
    return PluginFailure(stage=Stage.RESOLVE, slug=slug, message=message)


def _safe_mode() -> PluginFailure:
    return PluginFailure(
        stage=Stage.DISCOVERY,
        slug="safe-mode",
        message="safe mode is on: no plugin is loaded, and changes take effect at the next normal "
        "start; start without safe_mode=True and without PLUGREG_SAFE_MODE",
    )


def _faults(slugs: Iterable[Slug], wishes: Mapping[Slug, PluginRow]) -> list[PluginFailure]:
    """Return a failure for each damaged row of these plugins."""
    return [
        _failure(slug, fault) for slug in slugs if slug in wishes for fault in wishes[slug].faults
    ]


def _unwritable(spec: PluginSpec) -> PluginFailure | None:
    """Return a failure for a plugin whose names no store or answer could hold."""
    for text in (spec.name, spec.value, spec.distribution or "", spec.version or ""):
        if len(text) > _LONGEST_NAME:
            reason = f"{text[:40]!r}… of {len(text)} characters is longer than {_LONGEST_NAME}"
        elif not text.isascii() and not has_utf8(text):
            reason = f"{text!r} has no UTF-8 form, so it cannot be stored"
        else:
            continue
        message = f"{spec.source} plugin is refused: {reason}; choose another name"
        return PluginFailure(stage=Stage.DISCOVERY, slug=spec.slug, message=message)
    return None


_LONGEST_NAME: Final = 1_000


def _same_plugin(one: PluginSpec, other: PluginSpec) -> bool:
    if one.value != other.value:
        return False
    if one.target is not None and other.target is not None:
        # Two instances of one class are two plugins.
        return one.target is other.target
    if one.distribution is not None and other.distribution is not None:
        return one.distribution == other.distribution and one.name == other.name
    in_folders = {one.source, other.source} & {Source.DIRECTORY, Source.SAMPLE}
    return one.path == other.path if in_folders else True


def _why_off(spec: PluginSpec, wish: PluginRow | None, rules: HostRules) -> NotLoaded | None:
    forbidden = rules.blocks(spec.slug)
    if forbidden is not None:
        return NotLoaded(state=PluginState.BLOCKED, reason=forbidden)
    if rules.safe_mode:
        return NotLoaded(state=PluginState.INACTIVE, reason="stays off in safe mode")
    if wish is not None and wish.faults:
        return FAILED
    if spec.source is not Source.MANUAL and not rules.wants(spec.slug, wish):
        return NotLoaded(state=PluginState.INACTIVE, reason="is inactive")
    return None


def _providers(distributions: Mapping[Slug, str | None]) -> dict[str, tuple[Slug, ...]]:
    """Map each distribution to the plugins it brings, or brought when it was last there."""
    found: dict[str, list[Slug]] = {}
    for slug, distribution in distributions.items():
        if distribution is not None:
            found.setdefault(distribution, []).append(slug)
    return {distribution: tuple(sorted(slugs)) for distribution, slugs in found.items()}


def _wanted(
    chosen: Mapping[Slug, PluginSpec],
    wishes: Mapping[Slug, PluginRow],
    rules: HostRules,
    describe: Describe,
    providers: Callable[[], Mapping[str, tuple[Slug, ...]]],
) -> tuple[dict[Slug, tuple[Slug, ...]], dict[Slug, NotLoaded], list[PluginFailure]]:
    """Return what each wanted plugin needs, which are held by themselves, and what to tell of.

    ``providers`` is asked only where a plugin requires anything.
    """
    needs: dict[Slug, tuple[Slug, ...]] = {}
    held: dict[Slug, NotLoaded] = {}
    failures = _faults(chosen, wishes)
    for slug, spec in chosen.items():
        reason = _why_off(spec, wishes.get(slug), rules)
        if reason is not None:
            held[slug] = reason
            continue
        # What a distribution states may be hostile: nested deeper than a parser can go, say.
        with Guard() as guard:
            lines = describe(spec).requires
            brings = providers() if lines else {}
            requirements = _relevant(spec, lines, rules, brings)
            unfit = (
                None if slug in rules.ignore_compatibility else _unfit(spec, requirements, rules)
            )
        if guard.error is not None:
            held[slug] = FAILED
            failures.append(PluginFailure.of(Stage.RESOLVE, slug, guard.error))
        elif unfit is not None:
            held[slug] = NotLoaded(state=PluginState.INCOMPATIBLE, reason=unfit)
            failures.append(_failure(slug, unfit))
        else:
            needs[slug] = _needs(spec, requirements, rules, brings)
    return needs, held, failures


def _relevant(
    spec: PluginSpec,
    lines: Iterable[str],
    rules: HostRules,
    providers: Mapping[str, tuple[Slug, ...]],
) -> list[_Requirement]:
    """Parse the requirements on the host and on plugins' distributions; pip sees to others."""
    found = []
    for line in lines:
        name = _LEADING_NAME.match(line)
        if name is None:
            continue
        distribution = canonical(name[1])
        if distribution == spec.distribution:
            continue
        if distribution == rules.distribution or distribution in providers:
            with Guard() as guard:
                specifier = _specifier(line, line[name.end() :].strip())
            if guard.error is not None:
                raise ValueError(
                    f"Requires-Dist line {line!r} cannot be read: {explain(guard.error).message}"
                )
            if specifier is not None:
                found.append(_Requirement(distribution, specifier))
    return found


_LEADING_NAME: Final = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)")


def _specifier(line: str, rest: str) -> SpecifierSet | None:
    """Return the versions that a line asks for; None if its marker does not hold (extras unset).

    ``rest`` is what follows the name. Raises whatever packaging does.
    """
    from packaging.specifiers import SpecifierSet

    plain = rest.partition("]")[2].strip() if rest.startswith("[") else rest
    if ";" not in plain and "@" not in plain:
        # Most lines are plain, and packaging.requirements is slow to import.
        if plain.startswith("(") and plain.endswith(")"):
            plain = plain[1:-1]
        return SpecifierSet(plain)
    from packaging.requirements import Requirement

    requirement = Requirement(line)
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return None
    return requirement.specifier


def _unfit(spec: PluginSpec, requirements: Iterable[_Requirement], rules: HostRules) -> str | None:
    """Return why the host's version does not suit the plugin, or None. Raises ValueError."""
    if rules.version is None:
        return None
    for requirement in requirements:
        if requirement.distribution != rules.distribution:
            continue
        if not requirement.specifier.contains(rules.version, prereleases=True):
            return (
                f"needs {rules.distribution}{requirement.specifier}, "
                f"but the host's version is {rules.version}"
            )
    return bounds_fault(spec.attributes, rules)


def _release(version: object, what: str) -> tuple[int, ...]:
    from packaging.version import InvalidVersion, Version

    try:
        release: tuple[int, ...] = Version(str(version)).release
    except InvalidVersion:
        raise ValueError(f"{what} {version!r} is no version; write one such as '2.4'") from None
    while release and release[-1] == 0:
        release = release[:-1]
    return release


def _needs(
    spec: PluginSpec,
    requirements: Iterable[_Requirement],
    rules: HostRules,
    providers: Mapping[str, tuple[Slug, ...]],
) -> tuple[Slug, ...]:
    # The host may bring plugins itself; to require the host is not to need them.
    found = {
        slug
        for requirement in requirements
        if requirement.distribution != rules.distribution
        for slug in providers.get(requirement.distribution, ())
    }
    if spec.brought_by is not None:
        found.add(spec.brought_by)
    return tuple(sorted(found - {spec.slug}))


def _hold_cycles(
    needs: Mapping[Slug, tuple[Slug, ...]], held: dict[Slug, NotLoaded]
) -> list[PluginFailure]:
    """Hold the members of each cycle, and say once which cycle it is."""
    from graphlib import CycleError, TopologicalSorter

    failures: list[PluginFailure] = []
    open_needs = {slug: each for slug, each in needs.items() if each}
    while True:
        graph = {
            slug: [need for need in each if need in open_needs] for slug, each in open_needs.items()
        }
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            members: list[Slug] = error.args[1][1:]
        else:
            return failures
        # Turned so that it begins with the first by name and reads "needs" from left to right.
        members = members[::-1]
        start = members.index(min(members))
        members = members[start:] + members[:start]
        told, *others = members
        ring = " → ".join([*members, told])
        failures.append(_failure(told, f"is part of a dependency cycle: {ring}"))
        failures += [
            _failure(slug, f"is part of the dependency cycle told of at {told!r}")
            for slug in others
        ]
        for slug in members:
            held[slug] = NotLoaded(state=PluginState.FAILED, reason="is part of a dependency cycle")
            del open_needs[slug]


def _plan(
    chosen: Mapping[Slug, PluginSpec],
    needs: dict[Slug, tuple[Slug, ...]],
    others: Mapping[Slug, int],
    held: dict[Slug, NotLoaded],
    failures: list[PluginFailure],
) -> LoadPlan:
    """Order plugins by how deep their needs go, then by precedence; no cycle is left in them.

    ``others`` has the depths of plugins that are decided on already.
    """
    from graphlib import TopologicalSorter

    depths = dict(others)
    open_needs = {slug: each for slug, each in needs.items() if slug not in held}
    sorter = TopologicalSorter({slug: each for slug, each in open_needs.items() if each})
    for slug in sorter.static_order():
        if slug in open_needs:
            below = [depths[need] for need in open_needs[slug] if need in depths]
            depths[slug] = max(below, default=-1) + 1
    ranks = {slug: (depths.get(slug, 0), *chosen[slug].sort_key) for slug in open_needs}
    order = sorted(ranks, key=lambda slug: ranks[slug])
    failures += _hold_unmet(order, needs, held)
    return LoadPlan(
        specs=chosen,
        order=tuple(chosen[slug] for slug in order if slug not in held),
        ranks=ranks,
        needs=needs,
        held=held,
        failures=tuple(failures),
    )


def _hold_unmet(
    order: Iterable[Slug], needs: Mapping[Slug, tuple[Slug, ...]], held: dict[Slug, NotLoaded]
) -> list[PluginFailure]:
    """Hold each plugin that needs one which stays off, and name the chain down to that one."""
    failures = []
    for slug in order:
        unmet = next((need for need in needs[slug] if need in held), None)
        if unmet is not None:
            reason = need_unmet(unmet, held[unmet].reason)
            held[slug] = NotLoaded(state=PluginState.FAILED, reason=reason)
            failures.append(_failure(slug, reason))
    return failures
