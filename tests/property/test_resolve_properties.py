"""Dependency order on random graphs, against a model that tries everything."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from plugreg._lifecycle.resolve import resolve, settle
from plugreg._support.slugs import Slug
from plugreg.records import HostRules, PluginFacts, PluginRow, PluginSpec, PluginState, Source

NAMES = [f"p{number}" for number in range(8)]
KINDS = ["active", "active", "active", "inactive", "blocked", "missing"]


@st.composite
def graphs(draw):
    """Kind of each plugin by slug, and the slugs that each needs."""
    names = NAMES[: draw(st.integers(1, len(NAMES)))]
    kinds = {name: draw(st.sampled_from(KINDS)) for name in names}
    needs = {name: draw(st.sets(st.sampled_from(names), max_size=3)) - {name} for name in names}
    return kinds, needs


def reachable(start, needs):
    """Every plugin that ``start`` needs, directly or through others; itself only by a cycle."""
    found = set()
    waiting = list(needs[start])
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting += needs[each]
    return found


def loadable(name, kinds, needs):
    """Return by brute force whether a plugin can be loaded."""
    behind = reachable(name, needs)
    return all(
        kinds[each] == "active" and each not in reachable(each, needs) for each in {name, *behind}
    )


def resolved(kinds, needs, seed):
    specs = [
        PluginSpec(
            slug=Slug(name), name=name, value=name, source=Source.ENTRY_POINT, distribution=name
        )
        for name, kind in kinds.items()
        if kind != "missing"
    ]
    random.Random(seed).shuffle(specs)
    wishes = {
        name: PluginRow(
            slug=Slug(name), pk=1, active=kind != "inactive", name=name, distribution=name
        )
        for name, kind in kinds.items()
    }
    rules = HostRules(blocked=frozenset(n for n, kind in kinds.items() if kind == "blocked"))
    return resolve(
        settle(specs),
        wishes,
        rules,
        lambda spec: PluginFacts(requires=tuple(sorted(needs[spec.slug]))),
    )


@settings(max_examples=300, deadline=None)
@given(graphs(), st.integers(0, 1000))
def test_resolve_agrees_with_brute_force(graph, seed):
    """A plugin is loaded iff all it needs can be and none is in, or behind, a cycle.

    Then it comes after all it needs; else it is held and, if it was wanted, told of exactly once;
    and the order in which the plugins were found has no say.
    """
    kinds, needs = graph
    # An unwanted plugin has no needs: nobody reads them.
    needs = {name: each if kinds[name] == "active" else set() for name, each in needs.items()}
    plan = resolved(kinds, needs, seed)
    order = [each.slug for each in plan.order]

    assert set(order) == {name for name in kinds if loadable(name, kinds, needs)}
    assert set(plan.held) == set(kinds) - set(order)
    for place, name in enumerate(order):
        assert needs[name] <= set(order[:place])
    assert sorted(each.slug for each in plan.failures) == sorted(
        name for name in kinds if kinds[name] == "active" and name not in order
    )
    for name in set(kinds) - set(order):
        expected = {
            "active": PluginState.FAILED,
            "inactive": PluginState.INACTIVE,
            "blocked": PluginState.BLOCKED,
            "missing": PluginState.MISSING,
        }
        assert plan.held[name].state is expected[kinds[name]]

    again = resolved(kinds, needs, seed + 1)
    assert [each.slug for each in again.order] == order
    assert again.held == plan.held
    assert [each.message for each in again.failures] == [each.message for each in plan.failures]
