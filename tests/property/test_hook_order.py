"""The order of calls is pluggy's own, however plugins came."""

from __future__ import annotations

from types import SimpleNamespace
from typing import NamedTuple

import pluggy
from hypothesis import given, settings
from hypothesis import strategies as st

from plugreg._calls.dispatcher import Dispatcher
from plugreg.hooks import PluginManager, hookimpl, hookspec


class Specs:
    @hookspec
    def order(self, calls):
        """Append a name to ``calls``."""


class Kind(NamedTuple):
    """How one implementation is marked. Both of tryfirst and trylast contradict each other."""

    wrapper: str | None
    place: str | None

    def implementation(self, name):
        def plain(calls):
            calls.append(name)

        def wrapping(calls):
            calls.append(name)
            return (yield)

        def old_wrapping(calls):
            calls.append(name)
            yield

        function = {None: plain, "wrapper": wrapping, "hookwrapper": old_wrapping}[self.wrapper]
        options = {each: True for each in self if each is not None}
        return hookimpl(**options)(function)


kinds = st.builds(
    Kind,
    st.sampled_from([None, None, "wrapper", "hookwrapper"]),
    st.sampled_from([None, "tryfirst", "trylast"]),
)
# A plugin has one implementation or several, which specname allows.
plugins = st.lists(kinds, min_size=1, max_size=3)


def make(name, implementations):
    """Return a plugin object whose implementations all are of the one hook."""
    plugin = SimpleNamespace()
    for number, kind in enumerate(implementations):
        function = kind.implementation(f"{name}.{number}")
        function.plugreg_impl["specname"] = "order"
        setattr(plugin, f"hook{number}", function)
    return plugin


def order_of(manager):
    calls = []
    manager.hook.order(calls=calls)
    return calls


def order_by_pluggy(*named):
    """Return the call order when a plain pluggy manager registers these in this order."""
    manager = pluggy.PluginManager("plugreg")
    manager.add_hookspecs(Specs)
    for name, plugin in named:
        manager.register(plugin, name)
    return order_of(manager)


@settings(deadline=None)
@given(
    st.lists(plugins, max_size=3),
    st.lists(plugins, max_size=7),
    st.lists(plugins, max_size=3),
    st.data(),
)
def test_order_is_that_of_registration_by_rank(early, exchanged, late, data):
    """After any sequence of exchanges it is as if plain pluggy had registered all who are in.

    First the host's objects from before the first exchange, then exchanged plugins, by rank,
    then the host's later objects. The isolated call follows the same order.
    """
    manager = PluginManager("shop")
    manager.add_hookspecs(Specs)
    before = {f"early{number}": make(f"early{number}", each) for number, each in enumerate(early)}
    after = {f"late{number}": make(f"late{number}", each) for number, each in enumerate(late)}
    known = {f"p{number}": make(f"p{number}", each) for number, each in enumerate(exchanged)}
    ranks = dict(zip(known, data.draw(st.permutations(range(len(known)))), strict=True))
    for name, plugin in before.items():
        manager.register(plugin, name)
    manager.exchange((), ())
    waiting = list(after.items())
    inside = set()
    some = st.sets(st.sampled_from(sorted(known))) if known else st.just(set())
    for _ in range(data.draw(st.integers(1, 5))):
        remove = data.draw(some) & inside
        add = data.draw(some) - (inside - remove)
        manager.exchange(
            remove,
            [
                manager.implementations(known[each], each, (ranks[each],))
                for each in data.draw(st.permutations(sorted(add)))
            ],
        )
        inside = (inside - remove) | add
        if waiting:
            manager.register(waiting[0][1], waiting.pop(0)[0])
    for name, plugin in waiting:
        manager.register(plugin, name)

    by_rank = [(each, known[each]) for each in sorted(inside, key=ranks.__getitem__)]
    expected = order_by_pluggy(*before.items(), *by_rank, *after.items())

    assert order_of(manager) == expected
    calls = []
    Dispatcher(manager, lambda *fault: (_ for _ in ()).throw(fault[-1])).call("order", calls=calls)
    assert calls == expected


@settings(deadline=None)
@given(st.lists(plugins, min_size=1, max_size=7), st.data())
def test_pluggys_own_way_in_and_out(found, data):
    """Registering and unregistering by hand gives the same order as plain pluggy does."""
    ours, theirs = PluginManager("shop"), pluggy.PluginManager("plugreg")
    known = {f"p{number}": make(f"p{number}", each) for number, each in enumerate(found)}
    for manager in (ours, theirs):
        manager.add_hookspecs(Specs)
    for name in data.draw(st.lists(st.sampled_from(sorted(known)), max_size=12)):
        for manager in (ours, theirs):
            if manager.has_plugin(name):
                manager.unregister(name=name)
            else:
                manager.register(known[name], name)

    assert order_of(ours) == order_of(theirs)
