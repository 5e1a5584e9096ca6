"""The order of a hook's implementations under constraints.

It is imported with the first implementation that has any.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from pluggy import HookImpl

from plugreg._support.frozen import NamedTuple
from plugreg.hooks._specs import RELATIONS, Relation, slug_of

At = Mapping[str, Sequence[int]]
"""The places of each plugin's implementations."""

Edges = Mapping[int, Sequence[int]]
"""The places after each place, or before it."""


class OrderRequest(NamedTuple):
    """An implementation's plugin, and the plugins it must be before and after."""

    name: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


class OrderConstraint(NamedTuple):
    """The implementation at ``place`` must be before, or after, a plugin's.

    ``other`` is the name of that plugin. ``place`` is its place without any constraint.
    """

    place: int
    relation: Relation
    other: str


class Order(NamedTuple):
    """The places that implementations had without constraints, in their new order.

    Each of ``cycles`` has constraints that cannot hold together, and were ignored.
    """

    places: tuple[int, ...]
    cycles: tuple[tuple[OrderConstraint, ...], ...]


class Position(NamedTuple):
    """An implementation's plugin, and a sentence with the reason of its place."""

    slug: str
    reason: str


class Cycle(NamedTuple):
    """The plugins whose constraints form a cycle, and their description."""

    names: frozenset[str]
    text: str


class Arranged(NamedTuple):
    """A hook's list in pluggy's order, ``base``, and in its own, ``impls``."""

    base: list[HookImpl]
    impls: list[HookImpl]
    cycles: tuple[Cycle, ...]


# -- the order of places ---------------------------------------------------------------------


def find_order(requests: Sequence[OrderRequest]) -> Order:
    """Find the order of implementations under their constraints.

    Without constraints it is the given order. An implementation with a constraint is moved no
    farther than it must be: forwards to the first of those it must be before, backwards to the last
    of those it must be after. The others stay, unless there is no other way. A plugin that is not
    there is no constraint. Constraints on a cycle are ignored, and no others; a constraint on its
    own plugin is a cycle.
    """
    at: dict[str, list[int]] = defaultdict(list)
    for place, request in enumerate(requests):
        at[request.name].append(place)
    constraints = [
        constraint
        for place, request in enumerate(requests)
        for constraint in _constraints(place, request)
        if constraint.other in at
    ]
    places = [*range(len(requests))]
    following, preceding = _edges(constraints, at)
    valid = _sorted(places, following, preceding)
    cycles: tuple[tuple[OrderConstraint, ...], ...] = ()
    if len(valid) < len(places):
        cycles = _cycles(constraints, at, following, preceding)
        ignored = {constraint for cycle in cycles for constraint in cycle}
        constraints = [constraint for constraint in constraints if constraint not in ignored]
        following, preceding = _edges(constraints, at)
        valid = _sorted(places, following, preceding)
    # An implementation is moved after those that its constraints name.
    turn_of = {place: turn for turn, place in enumerate(valid)}
    constraints.sort(key=lambda constraint: turn_of[constraint.place])
    for place, relation, other in reversed(constraints):
        if relation == "before":
            places[place] = min(places[place], *(places[index] for index in at[other]))
    for place, relation, other in constraints:
        if relation == "after":
            places[place] = max(places[place], *(places[index] for index in at[other]))
    return Order(tuple(_sorted(places, following, preceding)), cycles)


def _constraints(place: int, request: OrderRequest) -> list[OrderConstraint]:
    return [
        *(OrderConstraint(place, "before", other) for other in request.before),
        *(OrderConstraint(place, "after", other) for other in request.after),
    ]


def _edges(constraints: Iterable[OrderConstraint], at: At) -> tuple[Edges, Edges]:
    """Return the places after each place, and those before it."""
    following: dict[int, list[int]] = defaultdict(list)
    preceding: dict[int, list[int]] = defaultdict(list)
    for place, relation, other in constraints:
        for index in at[other]:
            first, second = (place, index) if relation == "before" else (index, place)
            following[first].append(second)
            preceding[second].append(first)
    return following, preceding


def _sorted(keys: Sequence[int], following: Edges, preceding: Edges) -> list[int]:
    """Return all places except those on cycles, and behind them, by key.

    Places with the same key keep their order.
    """
    from heapq import heapify, heappop, heappush

    missing = {place: len(others) for place, others in preceding.items()}
    free = [(key, place) for place, key in enumerate(keys) if place not in missing]
    heapify(free)
    found = []
    while free:
        _, place = heappop(free)
        found.append(place)
        for follower in following.get(place, ()):
            missing[follower] -= 1
            if not missing[follower]:
                heappush(free, (keys[follower], follower))
    return found


def _cycles(
    constraints: Sequence[OrderConstraint], at: At, following: Edges, preceding: Edges
) -> tuple[tuple[OrderConstraint, ...], ...]:
    """Return the constraints on cycles; cycles that share a place are one."""
    found = []
    done: set[int] = set()
    for start in sorted(following):
        if start in done:
            continue
        # Places that can be reached both ways, the start itself included, are on a cycle with it.
        members = _reached(start, following) & _reached(start, preceding)
        done |= members
        if members:
            found.append(
                tuple(
                    constraint
                    for constraint in constraints
                    if constraint.place in members and not members.isdisjoint(at[constraint.other])
                )
            )
    return tuple(found)


def _reached(start: int, edges: Edges) -> set[int]:
    found: set[int] = set()
    waiting = [start]
    while waiting:
        new = {*edges.get(waiting.pop(), ())} - found
        found |= new
        waiting += new
    return found


# -- the order of implementations ------------------------------------------------------------


def arrange(base: list[HookImpl]) -> Arranged:
    """Order a hook's list, which pluggy keeps in reverse, by its constraints.

    Wrappers stay behind the others, since they run outside of these. Within each part a constraint
    is stronger than tryfirst and trylast.
    """
    impls: list[HookImpl] = []
    cycles = []
    for called in _in_call_order(base):
        order = find_order([_request_of(impl) for impl in called])
        impls += (called[place] for place in reversed(order.places))
        for cycle in order.cycles:
            named = [(slug_of(called[constraint.place]), constraint) for constraint in cycle]
            text = ", ".join(
                f"{name!r} {constraint.relation} {constraint.other!r}" for name, constraint in named
            )
            cycles.append(Cycle(frozenset(name for name, _ in named), text))
    return Arranged(base, impls, tuple(cycles))


def explain_order(impls: Sequence[HookImpl]) -> tuple[Position, ...]:
    """Return each implementation of a hook with its reason, in call order."""
    found = []
    for called in reversed(_in_call_order(impls)):
        requests = [_request_of(impl) for impl in called]
        present = {request.name for request in requests}
        ignored = {constraint for cycle in find_order(requests).cycles for constraint in cycle}
        for place, (impl, request) in enumerate(zip(called, requests, strict=True)):
            constraints = _constraints(place, request)
            refused = {
                constraint
                for constraint in constraints
                if constraint.other not in present or constraint in ignored
            }
            reasons = ["wrapper"] if impl.wrapper or impl.hookwrapper else []
            if impl.tryfirst or impl.trylast:
                reasons.append("trylast" if impl.trylast else "tryfirst")
            elif len(refused) == len(constraints):
                reasons.append("by load order, the latest first")
            for constraint in constraints:
                _, relation, other = constraint
                if constraint not in refused:
                    reasons.append(f"{relation} {other!r} as it asks")
                elif other in present:
                    reasons.append(f"not {relation} {other!r}, which would close a cycle")
                else:
                    reasons.append(f"no {other!r} to be {relation}")
            found.append(Position(request.name, "; ".join(reasons)))
    return tuple(found)


def _in_call_order(impls: Sequence[HookImpl]) -> tuple[list[HookImpl], list[HookImpl]]:
    """Return plain implementations and wrappers of a list, in call order."""
    halves: tuple[list[HookImpl], list[HookImpl]] = ([], [])
    for impl in reversed(impls):
        halves[bool(impl.wrapper or impl.hookwrapper)].append(impl)
    return halves


def _request_of(impl: HookImpl) -> OrderRequest:
    # plugreg's manager has parsed its own options into those of pluggy.
    opts = cast("Mapping[str, tuple[str, ...]]", impl.opts)
    return OrderRequest(slug_of(impl), *(opts.get(relation, ()) for relation in RELATIONS))
