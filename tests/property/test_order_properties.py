"""The order that implementations ask for, against a model."""

from __future__ import annotations

from itertools import permutations

from hypothesis import example, given
from hypothesis import strategies as st

from plugreg.hooks._order import OrderRequest, find_order

# "x" is a plugin that never has an implementation.
names = st.sampled_from("abcdx")
some_names = st.frozensets(names, max_size=2).map(lambda found: tuple(sorted(found)))


def askings(most):
    """Implementations of four plugins, so that one often has several; most ask for something."""
    one = st.builds(OrderRequest, st.sampled_from("abcd"), some_names, some_names)
    return st.lists(one, max_size=most)


def edges_of(asking, wish):
    """Return the pairs (earlier, later) of places that a wish is about."""
    place, relation, other = wish
    found = [each for each, implementation in enumerate(asking) if implementation.name == other]
    return {(place, each) if relation == "before" else (each, place) for each in found}


def wishes_of(asking):
    """Return all wishes, those about nobody too, as (place, relation, other)."""
    return {
        (place, relation, other)
        for place, each in enumerate(asking)
        for relation in ("before", "after")
        for other in getattr(each, relation)
    }


def on_circles(asking):
    """Return the constraints on cycles: their first plugins can be reached from their last."""
    wishes = wishes_of(asking)
    reached = {edge for wish in wishes for edge in edges_of(asking, wish)}
    while True:
        more = reached | {(a, d) for a, b in reached for c, d in reached if b == c}
        if more == reached:
            break
        reached = more
    return {
        wish
        for wish in wishes
        if any((second, first) in reached for first, second in edges_of(asking, wish))
    }


def best_of_all(asking):
    """Try every order; of those that respect the wishes take the one with the first goals first.

    The goal of an implementation is its place, but the least goal of those it asks to be before,
    and then the greatest of those it asks to be after.
    """
    kept = wishes_of(asking) - on_circles(asking)
    goals = [*range(len(asking))]
    for relation, choose in (("before", min), ("after", max)):
        for _ in asking:
            for wish in kept:
                place, its_relation, other = wish
                if its_relation == relation:
                    others = [goals[n] for n, each in enumerate(asking) if each.name == other]
                    goals[place] = choose([goals[place], *others])
    edges = {edge for wish in kept for edge in edges_of(asking, wish)}
    valid = [
        order
        for order in permutations(range(len(asking)))
        if all(order.index(first) < order.index(second) for first, second in edges)
    ]
    return min(valid, key=lambda order: [(goals[place], place) for place in order])


@given(askings(6))
@example([OrderRequest("a", before=("b",)), OrderRequest("b", before=("a",))])
@example([OrderRequest("a", after=("a",)), OrderRequest("a")])
def test_the_order_is_the_best_of_all(asking):
    """Of all orders there are it is the one the model picks, and the same wishes are ignored."""
    order = find_order(asking)

    assert {wish for circle in order.cycles for wish in circle} == on_circles(asking)
    assert order.places == best_of_all(asking)


@given(askings(30))
def test_every_wish_holds_that_is_on_no_circle(asking):
    """All are called, once each; wishes hold, and a second look has nothing to change."""
    order = find_order(asking)

    at = {place: turn for turn, place in enumerate(order.places)}
    assert sorted(at) == [*range(len(asking))]
    for wish in wishes_of(asking) - on_circles(asking):
        assert all(at[first] < at[second] for first, second in edges_of(asking, wish))
    again = find_order([asking[place] for place in order.places])
    assert again.places == tuple(range(len(asking)))


@given(
    st.lists(st.sampled_from("abcd"), max_size=8),
    st.lists(st.sampled_from("abcd"), max_size=8),
    st.frozensets(names).map(sorted),
    st.sampled_from(["before", "after"]),
)
def test_who_does_not_ask_stays(earlier, later, others, relation):
    """One that asks moves among the others, which keep their order, and no farther than needed."""
    asking = [
        *map(OrderRequest, earlier),
        OrderRequest("one", **{relation: tuple(others)}),
        *map(OrderRequest, later),
    ]

    found = find_order(asking).places

    own = len(earlier)
    assert [each for each in found if each != own] == [
        each for each in range(len(asking)) if each != own
    ]
    about = [place for place, each in enumerate(asking) if each.name in others]
    nearest = min([own, *about]) if relation == "before" else max([own, *about])
    assert found.index(own) == nearest


@given(askings(12))
def test_a_circle_costs_nobody_else(asking):
    """Without the ignored wishes the order is the same one, and nothing is ignored."""
    order = find_order(asking)
    ignored = {wish for circle in order.cycles for wish in circle}
    tame = [
        OrderRequest(
            each.name,
            tuple(n for n in each.before if (place, "before", n) not in ignored),
            tuple(n for n in each.after if (place, "after", n) not in ignored),
        )
        for place, each in enumerate(asking)
    ]

    assert find_order(tame) == (order.places, ())
