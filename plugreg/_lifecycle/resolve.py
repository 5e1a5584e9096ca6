"""Which plugins are to be loaded, in which order, and why the others are not.

A pure function of the discovered plugins, the stored rows and the host's rules. Nothing is
imported, stored or recorded here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from plugreg._support.frozen import NamedTuple
from plugreg._support.guard import Guard, explain
from plugreg._support.slugs import Slug, canonical, has_utf8
from plugreg.records import (
    EMPTY,
    FAILED,
    REFUSED,
    ActivePlugin,
    HostRules,
    KnownPlugin,
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
"""Returns the facts of a plugin's distribution: the same for the same spec."""


_Requirements = list[tuple[str, "SpecifierSet"]]
"""Distributions that a plugin requires, and which versions of them."""


class Settled(NamedTuple):
    """The spec of each slug, in alphabetical order, and a failure for each duplicate."""

    specs: dict[Slug, PluginSpec]
    failures: tuple[PluginFailure, ...] = ()


def settle(specs: Iterable[PluginSpec]) -> Settled:
    """Choose a spec for each slug: the first by source, then by distribution.

    The same plugin found twice is no failure. The order of ``specs`` does not matter.
    """
    chosen: dict[Slug, PluginSpec] = {}
    failures = []
    for spec in sorted(specs, key=lambda spec: spec.sort_key):
        fault = _name_fault(spec)
        winner = spec if fault else chosen.setdefault(spec.slug, spec)
        if winner is not spec and not _is_same_plugin(winner, spec):
            name, other = ("", "")
            if spec.name != winner.name:
                name, other = f"{spec.name!r} in ", f"{winner.name!r} in "
            fault = (
                f"slug {spec.slug!r} of {name}{spec.origin} is already that of "
                f"{other}{winner.origin}, which comes first; rename or remove one of the two"
            )
        if fault:
            subject = "" if winner is spec else spec.origin
            failures.append(_failure(spec.slug, fault, stage=Stage.DISCOVERY, subject=subject))
    return Settled(dict(sorted(chosen.items())), tuple(failures))


def resolve(
    settled: Settled,
    rows: Mapping[Slug, PluginRow],
    rules: HostRules,
    describe: Describe,
    others: Snapshot | None = None,
    *,
    quarantined: Mapping[str, str] = EMPTY,
) -> LoadPlan:
    """Make the plan of a load. It depends on nothing but the arguments.

    ``describe`` is called for wanted plugins alone. With ``others``, which stay as they are, the
    plan is about the plugins of ``settled`` and ``rows`` alone, and the others take no time. Each
    plugin that needs any of these must be among them. ``quarantined`` has the messages of plugins
    that ended the process that loaded them.
    """
    chosen, failures = settled.specs, [*settled.failures]
    gone = {slug: row.distribution for slug, row in rows.items() if slug not in chosen}

    @cache
    def providers() -> Mapping[str, tuple[Slug, ...]]:
        known = () if others is None else others.plugins.values()
        distributions = {plugin.slug: plugin.distribution for plugin in known}
        return _providers(
            distributions | gone | {slug: spec.distribution for slug, spec in chosen.items()}
        )

    needs, held, faults = _find_needs(chosen, rows, rules, describe, providers)
    for slug in sorted(needs.keys() & quarantined.keys()):
        held[slug] = _ENDED_PROCESS
        faults.append(_failure(slug, quarantined[slug], stage=Stage.IMPORT))
    if others is not None:
        unknown = rules.mandatory & gone.keys()
    else:
        unknown = rules.mandatory - chosen.keys()
        if rules.safe_mode:
            failures.append(_failure("safe-mode", _SAFE_MODE, stage=Stage.DISCOVERY))
    for slug in sorted({*gone, *unknown}):
        held[slug] = NotLoaded(state=PluginState.MISSING, reason="is not installed")
    message = "is mandatory, but was not found; install it, or take it from mandatory="
    failures += [_failure(slug, message) for slug in sorted(unknown)]
    failures += _row_faults(gone, rows)
    depths, cycles = _find_depths(needs, held, {} if others is None else others.active)
    failures += [*faults, *cycles]
    # Builtins that are to be called first come last: nobody needs them, and they need nobody.
    last = Source.BUILTIN if rules.builtins_called_first else None
    ranks: dict[Slug, tuple[Any, ...]] = {
        slug: (chosen[slug].source is last, depths[slug], *chosen[slug].sort_key)
        for slug in needs
        if slug not in held
    }
    order = sorted(ranks, key=lambda slug: ranks[slug])
    failures += _hold_unmet(order, needs, held, others)
    return LoadPlan(
        specs=chosen,
        order=tuple(chosen[slug] for slug in order if slug not in held),
        ranks=ranks,
        needs=needs,
        held=held,
        failures=tuple(failures),
    )


def need_unmet(need: str, why: str) -> str:
    """Return the reason of a plugin that lacks another; ``why`` may itself be such a reason."""
    return f"needs {need!r}, which {why}"


def bounds_fault(attributes: Mapping[str, Any], rules: HostRules) -> str | None:
    """Return why MIN_VERSION or MAX_VERSION exclude this host, or None.

    Both bounds are inclusive and release segments are compared, so that a pre-release of a host
    counts as its release. Raises ValueError for a bound that is no PEP 440 version.
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


_SAFE_MODE: Final = (
    "safe mode is on: no plugin is loaded, and changes take effect at the next normal "
    "start; start without safe_mode=True and without PLUGREG_SAFE_MODE"
)


_ENDED_PROCESS: Final = NotLoaded(
    state=PluginState.FAILED, reason="ended the process that loaded it"
)


def _failure(
    slug: str, message: str, *, stage: Stage = Stage.RESOLVE, subject: str = ""
) -> PluginFailure:
    return PluginFailure(stage=stage, slug=slug, message=message, subject=subject)


def _row_faults(slugs: Iterable[Slug], rows: Mapping[Slug, PluginRow]) -> list[PluginFailure]:
    """Return a failure for each damaged row of these plugins."""
    return [_failure(slug, fault) for slug in slugs if slug in rows for fault in rows[slug].faults]


def _name_fault(spec: PluginSpec) -> str | None:
    """Return why no store or answer could hold a plugin's names, or None."""
    for name in (spec.name, spec.value, spec.distribution or "", spec.version or ""):
        if len(name) > _LONGEST_NAME:
            reason = f"{name[:40]!r}… of {len(name)} characters is longer than {_LONGEST_NAME}"
        elif not name.isascii() and not has_utf8(name):
            reason = f"{name!r} has no UTF-8 form, so it cannot be stored"
        else:
            continue
        return f"{spec.source} plugin is refused: {reason}; choose another name"
    return None


_LONGEST_NAME: Final = 1_000


def _is_same_plugin(one: PluginSpec, other: PluginSpec) -> bool:
    if one.value != other.value:
        return False
    if one.target is not None and other.target is not None:
        # Two instances of the same class are two plugins.
        return one.target is other.target
    if one.distribution is not None and other.distribution is not None:
        return one.distribution == other.distribution and one.name == other.name
    in_folders = {one.source, other.source} & {Source.DIRECTORY, Source.SAMPLE}
    return one.path == other.path if in_folders else True


def _why_off(spec: PluginSpec, row: PluginRow | None, rules: HostRules) -> NotLoaded | None:
    forbidden = rules.blocks(spec.slug, spec)
    if forbidden is not None:
        return NotLoaded(state=PluginState.BLOCKED, reason=forbidden)
    if rules.safe_mode:
        return NotLoaded(state=PluginState.INACTIVE, reason="stays off in safe mode")
    left_out = rules.leaves_out(spec.slug)
    if left_out is not None and spec.source is not Source.MANUAL:
        return NotLoaded(state=PluginState.INACTIVE, reason=left_out)
    if row is not None and row.faults:
        return FAILED
    if spec.source is not Source.MANUAL and not rules.wants(spec.slug, row):
        return NotLoaded(state=PluginState.INACTIVE, reason="is inactive")
    return None


def _providers(distributions: Mapping[Slug, str | None]) -> dict[str, tuple[Slug, ...]]:
    """Map each distribution to the plugins it brings, or brought when it was last there."""
    found: dict[str, list[Slug]] = {}
    for slug, distribution in distributions.items():
        if distribution is not None:
            found.setdefault(distribution, []).append(slug)
    return {distribution: tuple(sorted(slugs)) for distribution, slugs in found.items()}


def _find_needs(
    chosen: Mapping[Slug, PluginSpec],
    rows: Mapping[Slug, PluginRow],
    rules: HostRules,
    describe: Describe,
    providers: Callable[[], Mapping[str, tuple[Slug, ...]]],
) -> tuple[dict[Slug, tuple[Slug, ...]], dict[Slug, NotLoaded], list[PluginFailure]]:
    """Return the dependencies of wanted plugins, why others are held, and failures.

    ``providers`` is called only where a plugin requires anything.
    """
    needs: dict[Slug, tuple[Slug, ...]] = {}
    held: dict[Slug, NotLoaded] = {}
    failures = _row_faults(chosen, rows)
    for slug, spec in chosen.items():
        reason = _why_off(spec, rows.get(slug), rules)
        if reason is not None:
            held[slug] = reason
            continue
        # A distribution's metadata may be hostile: nested deeper than a parser can go, say.
        with Guard() as guard:
            lines = describe(spec).requires
            provided = providers() if lines else {}
            requirements = _parse_requirements(spec, lines, rules, provided)
            unfit = None
            if slug not in rules.ignore_compatibility:
                unfit = _version_fault(spec, requirements, rules)
        if guard.error is not None:
            held[slug] = FAILED
            failures.append(PluginFailure.of(Stage.RESOLVE, slug, guard.error))
        elif unfit is not None:
            held[slug] = NotLoaded(state=PluginState.INCOMPATIBLE, reason=unfit)
            failures.append(_failure(slug, unfit))
        else:
            # The host may bring plugins itself; to require the host is not to need them.
            others = [name for name, _ in requirements if name != rules.distribution]
            needed = {need for name in others for need in provided.get(name, ())}
            if spec.brought_by is not None:
                needed.add(spec.brought_by)
            needs[slug] = tuple(sorted(needed - {slug}))
    return needs, held, failures


def _parse_requirements(
    spec: PluginSpec,
    lines: Iterable[str],
    rules: HostRules,
    provided: Mapping[str, tuple[Slug, ...]],
) -> _Requirements:
    """Parse the requirements on the host and on plugins' distributions; others are pip's."""
    found = []
    for line in lines:
        requirement = line.lstrip()
        name = requirement[: len(requirement) - len(requirement.lstrip(_OF_NAMES))].rstrip("._-")
        distribution = canonical(name)
        is_known = distribution in provided or distribution == rules.distribution
        if not is_known or distribution == spec.distribution or name[:1] in ("", ".", "_", "-"):
            continue
        with Guard() as guard:
            specifier = _parse_specifier(line, requirement[len(name) :].strip())
        if guard.error is not None:
            raise ValueError(
                f"Requires-Dist line {line!r} cannot be read: {explain(guard.error).message}"
            )
        if specifier is not None:
            found.append((distribution, specifier))
    return found


_OF_NAMES: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
"""The characters of names; a pattern of them would be compiled at each start."""


def _parse_specifier(line: str, rest: str) -> SpecifierSet | None:
    """Return the versions that a line asks for; None if its marker does not hold (extras unset).

    ``rest`` is the part after the name. Raises the exceptions of packaging.
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


def _version_fault(spec: PluginSpec, requirements: _Requirements, rules: HostRules) -> str | None:
    """Return why the host's version does not suit the plugin, or None. Raises ValueError."""
    if rules.version is None:
        return None
    for name, specifier in requirements:
        if name == rules.distribution and not specifier.contains(rules.version, prereleases=True):
            return f"needs {name}{specifier}, but the host's version is {rules.version}"
    return bounds_fault(spec.attributes, rules)


def _release(version: object, name: str) -> tuple[int, ...]:
    from packaging.version import InvalidVersion, Version

    try:
        release: tuple[int, ...] = Version(str(version)).release
    except InvalidVersion:
        raise ValueError(f"{name} {version!r} is no version; write one such as '2.4'") from None
    while release and release[-1] == 0:
        release = release[:-1]
    return release


def _find_depths(
    needs: Mapping[Slug, tuple[Slug, ...]],
    held: dict[Slug, NotLoaded],
    others: Mapping[str, ActivePlugin],
) -> tuple[dict[Slug, int], list[PluginFailure]]:
    """Return how deep the needs of plugins go, and a failure for each member of a cycle.

    The members of cycles are held.
    """
    # Most plugins need no other.
    depths = {slug: 0 for slug, needed in needs.items() if not needed}
    failures: list[PluginFailure] = []
    for first in needs:
        # Each plugin on the path needs the next.
        path = {} if first in depths or first in held else {first: None}
        while path:
            slug = next(reversed(path))
            below = [need for need in needs[slug] if need not in held]
            need = next((need for need in below if need in needs and need not in depths), None)
            if need is None:
                del path[slug]
                known = [depths[need] for need in below if need in depths]
                known += [others[need].implementations.rank[1] for need in below if need in others]
                depths[slug] = max(known, default=-1) + 1
            elif need in path:
                members = [*path]
                members = members[members.index(need) :]
                failures += _hold_cycle(members, held)
                for member in members:
                    del path[member]
            else:
                path[need] = None
    return depths, failures


def _hold_cycle(members: list[Slug], held: dict[Slug, NotLoaded]) -> Iterator[PluginFailure]:
    """Hold the members of a cycle, each of which needs the next; yield a failure for each."""
    # Turned so that it begins with the first by name.
    start = members.index(min(members))
    first, *others = members[start:] + members[:start]
    ring = " → ".join([first, *others, first])
    yield _failure(first, f"is part of a dependency cycle: {ring}")
    for slug in others:
        yield _failure(slug, f"is part of the dependency cycle that is reported for {first!r}")
    reason = NotLoaded(state=PluginState.FAILED, reason="is part of a dependency cycle")
    held |= dict.fromkeys(members, reason)


def _hold_unmet(
    order: Iterable[Slug],
    needs: Mapping[Slug, tuple[Slug, ...]],
    held: dict[Slug, NotLoaded],
    others: Snapshot | None,
) -> list[PluginFailure]:
    """Hold each plugin with an inactive dependency, and name the chain down to it."""
    failures = []
    for slug in order:
        for need in needs[slug]:
            off: NotLoaded | KnownPlugin | None = held.get(need)
            if off is None and others is not None and need not in needs:
                off = None if need in others.active else others.plugins.get(need)
            # An object that is not a plugin is not a dependency.
            if off is not None and off.reason != REFUSED.reason:
                reason = need_unmet(need, off.reason)
                held[slug] = NotLoaded(state=PluginState.FAILED, reason=reason)
                failures.append(_failure(slug, reason))
                break
    return failures
