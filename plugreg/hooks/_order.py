"""The order of a hook's implementations where some ask to be before or after named plugins."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, cast

from pluggy import HookImpl

from plugreg.hooks._wishes import RELATIONS, Relation

At = Mapping[str, Sequence[int]]
"""The places of each plugin's implementations."""

Edges = Mapping[int, Sequence[int]]
"""The places that come after each place, or before it."""


class Asking(NamedTuple):
    """What an implementation asks for: the plugin it is of, and those to be before and after."""

    name: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


class Wish(NamedTuple):
    """That the implementation at ``place`` be before, or after, all those of the plugin ``other``.

    ``place`` is the one it has without any wish.
    """

    place: int
    relation: Relation
    other: str


class Order(NamedTuple):
    """The places that implementations had without wishes, in the order found.

    Each of ``circles`` has wishes that cannot hold together, and were ignored.
    """

    places: tuple[int, ...]
    circles: tuple[tuple[Wish, ...], ...]


class Position(NamedTuple):
    """Which plugin an implementation is of, and why it stands where it stands, as a sentence."""

    slug: str
    reason: str


class Circle(NamedTuple):
    """The plugins whose wishes form a circle, and these wishes in words."""

    names: frozenset[str]
    text: str


class Arranged(NamedTuple):
    """A hook's list as pluggy would have it, ``base``, and as the wishes make it, ``impls``."""

    base: list[HookImpl]
    impls: list[HookImpl]
    circles: tuple[Circle, ...]


# -- the order of places ---------------------------------------------------------------------


def find_order(asking: Sequence[Asking]) -> Order:
    """Find the order of implementations that are called in the given one as long as none asks.

    Who asks is moved, and no farther than it must be: forwards to the first of those it asks to
    be before, backwards to the last of those it asks to be after. Who does not ask stays, unless
    wishes of others leave no other way. A plugin that is not there is no constraint. A wish that
    lies on a circle is ignored, and no other one is; one about its own plugin is a circle.
    """
    at: dict[str, list[int]] = defaultdict(list)
    for place, each in enumerate(asking):
        at[each.name].append(place)
    wishes = [
        wish
        for place, each in enumerate(asking)
        for wish in _wishes(place, each)
        if wish.other in at
    ]
    places = [*range(len(asking))]
    following, preceding = _edges(wishes, at)
    valid = _sorted(places, following, preceding)
    circles: tuple[tuple[Wish, ...], ...] = ()
    if len(valid) < len(places):
        circles = _circles(wishes, at, following, preceding)
        ignored = {wish for circle in circles for wish in circle}
        wishes = [each for each in wishes if each not in ignored]
        following, preceding = _edges(wishes, at)
        valid = _sorted(places, following, preceding)
    # Each goes where those it asks about have gone, so these have their turn before it.
    turns = {place: turn for turn, place in enumerate(valid)}
    wishes.sort(key=lambda wish: turns[wish.place])
    for place, relation, other in reversed(wishes):
        if relation == "before":
            places[place] = min(places[place], *(places[each] for each in at[other]))
    for place, relation, other in wishes:
        if relation == "after":
            places[place] = max(places[place], *(places[each] for each in at[other]))
    return Order(tuple(_sorted(places, following, preceding)), circles)


def _wishes(place: int, asking: Asking) -> list[Wish]:
    return [
        *(Wish(place, "before", other) for other in asking.before),
        *(Wish(place, "after", other) for other in asking.after),
    ]


def _edges(wishes: Iterable[Wish], at: At) -> tuple[Edges, Edges]:
    """Return what comes after each place, and what comes before it."""
    following: dict[int, list[int]] = defaultdict(list)
    preceding: dict[int, list[int]] = defaultdict(list)
    for place, relation, other in wishes:
        for each in at[other]:
            first, second = (place, each) if relation == "before" else (each, place)
            following[first].append(second)
            preceding[second].append(first)
    return following, preceding


def _sorted(keys: Sequence[int], following: Edges, preceding: Edges) -> list[int]:
    """Return all places but those on circles, and behind them: always the smallest key next.

    Of two with the same key the one that was first stays first.
    """
    from heapq import heapify, heappop, heappush

    missing = {place: len(others) for place, others in preceding.items()}
    free = [(key, place) for place, key in enumerate(keys) if place not in missing]
    heapify(free)
    found = []
    while free:
        _, place = heappop(free)
        found.append(place)
        for each in following.get(place, ()):
            missing[each] -= 1
            if not missing[each]:
                heappush(free, (keys[each], each))
    return found


def _circles(
    wishes: Sequence[Wish], at: At, following: Edges, preceding: Edges
) -> tuple[tuple[Wish, ...], ...]:
    """Return the wishes on circles, those together whose circles hang together."""
    found = []
    done: set[int] = set()
    for start in sorted(following):
        if start in done:
            continue
        # What can be reached both ways, the start itself included, is on a circle with it.
        members = _reached(start, following) & _reached(start, preceding)
        done |= members
        if members:
            found.append(
                tuple(
                    wish
                    for wish in wishes
                    if wish.place in members and not members.isdisjoint(at[wish.other])
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


def asks(impl: HookImpl) -> bool:
    """Tell whether an implementation asks for a place."""
    return any(each in impl.opts for each in RELATIONS)


def arrange(base: list[HookImpl]) -> Arranged:
    """Arrange a hook's list, which pluggy keeps in reverse, as the implementations ask.

    Wrappers stay behind the others, since they run outside of these. Within both a wish is
    stronger than tryfirst and trylast.
    """
    impls: list[HookImpl] = []
    circles = []
    for called in _in_call_order(base):
        order = find_order([_asking(each) for each in called])
        impls += (called[place] for place in reversed(order.places))
        for circle in order.circles:
            named = [(called[wish.place].plugin_name, wish) for wish in circle]
            text = ", ".join(f"{name!r} {wish.relation} {wish.other!r}" for name, wish in named)
            circles.append(Circle(frozenset(name for name, _ in named), text))
    return Arranged(base, impls, tuple(circles))


def explain_order(impls: Sequence[HookImpl]) -> tuple[Position, ...]:
    """Tell of each implementation in a hook's list why it has its place, in call order."""
    found = []
    for called in reversed(_in_call_order(impls)):
        asking = [_asking(each) for each in called]
        present = {each.name for each in asking}
        ignored = {wish for circle in find_order(asking).circles for wish in circle}
        for place, (impl, own) in enumerate(zip(called, asking, strict=True)):
            wishes = _wishes(place, own)
            refused = {wish for wish in wishes if wish.other not in present or wish in ignored}
            reasons = ["wrapper"] if impl.wrapper or impl.hookwrapper else []
            if impl.tryfirst or impl.trylast:
                reasons.append("trylast" if impl.trylast else "tryfirst")
            elif len(refused) == len(wishes):
                reasons.append("by load order, the latest first")
            for wish in wishes:
                _, relation, other = wish
                if wish not in refused:
                    reasons.append(f"{relation} {other!r} as it asks")
                elif other in present:
                    reasons.append(f"not {relation} {other!r}, since that wish is on a circle")
                else:
                    reasons.append(f"no {other!r} to be {relation}")
            found.append(Position(own.name, "; ".join(reasons)))
    return tuple(found)


def _in_call_order(impls: Sequence[HookImpl]) -> tuple[list[HookImpl], list[HookImpl]]:
    """Return the plain implementations of a hook's list, and the wrappers, each in call order."""
    halves: tuple[list[HookImpl], list[HookImpl]] = ([], [])
    for each in reversed(impls):
        halves[bool(each.wrapper or each.hookwrapper)].append(each)
    return halves


def _asking(impl: HookImpl) -> Asking:
    # What is not pluggy's own stands in the same options, as plugreg's manager has parsed it.
    opts = cast("Mapping[str, tuple[str, ...]]", impl.opts)
    return Asking(impl.plugin_name, *(opts.get(each, ()) for each in RELATIONS))
