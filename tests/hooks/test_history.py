"""Historic calls: each plugin object has each of them once, reloads notwithstanding."""

from __future__ import annotations

import gc
import sys
import threading
import weakref

import pytest

from plugreg.hooks import PluginManager, hookimpl, hookspec


class Specs:
    @hookspec
    def price(self, item):
        """Price of an item."""

    @hookspec(historic=True)
    def opened(self, shop):
        """Told of each opened shop."""


class Opened:
    """A plugin that keeps the arguments of its historic hook."""

    def __init__(self):
        self.calls = []

    @hookimpl
    def opened(self, shop):
        self.calls.append(shop)
        return shop


@pytest.fixture
def manager():
    manager = PluginManager("shop")
    manager.add_hookspecs(Specs)
    return manager


def enter(manager, remove=(), **plugins):
    """Exchange and replay history, as a registry does; return the faults of the replay."""
    added = [manager.implementations(plugin, name, (name,)) for name, plugin in plugins.items()]
    manager.exchange(remove, added)
    return list(manager.replay())


def test_a_newcomer_is_told_what_was(manager):
    """History reaches a plugin that comes later, and results reach the callback."""
    results = []
    manager.hook.opened.call_historic(results.append, kwargs={"shop": 1})
    plugin = Opened()

    assert enter(manager, a=plugin) == []
    assert plugin.calls == [1]
    assert results == [1]


def test_each_object_is_told_once(manager):
    """Over leaving, coming back, forced re-adds and calls in between each call comes once."""
    call = manager.hook.opened.call_historic
    plugin = Opened()
    call(kwargs={"shop": 1})
    enter(manager, a=plugin)
    call(kwargs={"shop": 2})
    enter(manager, ["a"], a=plugin)
    enter(manager, ["a"])
    call(kwargs={"shop": 3})
    enter(manager, a=plugin)
    enter(manager, ["a"], a=plugin)

    assert plugin.calls == [1, 2, 3]


def test_another_object_of_the_name_is_told_all(manager):
    """The count is the object's, not the name's."""
    manager.hook.opened.call_historic(kwargs={"shop": 1})
    enter(manager, a=Opened())
    new = Opened()

    enter(manager, ["a"], a=new)

    assert new.calls == [1]


def test_taken_out_by_the_host_counts_too(manager):
    """An object that the host unregistered and that is exchanged in again is not called twice."""
    plugin = Opened()
    enter(manager, a=plugin)
    manager.hook.opened.call_historic(kwargs={"shop": 1})
    manager.unregister(name="a")

    enter(manager, a=plugin)

    assert plugin.calls == [1]


def test_taken_out_by_the_host_before_the_replay(manager):
    """A plugin that is not registered any more receives no replay; the others do."""
    manager.hook.opened.call_historic(kwargs={"shop": 1})
    gone, stays = Opened(), Opened()
    added = [manager.implementations(gone, "gone"), manager.implementations(stays, "stays")]
    manager.exchange((), added)
    manager.unregister(gone)

    assert list(manager.replay()) == []
    assert (gone.calls, stays.calls) == ([], [1])


def test_a_call_made_by_a_replay_comes_once(manager):
    """Plugins that one plugin calls while it catches up are reached directly, once."""
    calls = manager.hook.opened.call_historic
    other = Opened()

    class Calling:
        @hookimpl
        def opened(self, shop):
            if shop == 1:
                calls(kwargs={"shop": 2})

    calls(kwargs={"shop": 1})
    enter(manager, a=Calling(), b=other)

    assert sorted(other.calls) == [1, 2]


def test_a_failing_replay_costs_itself(manager):
    """Each failure is given with name and hook; later calls and other plugins go on."""

    class Failing(Opened):
        @hookimpl
        def opened(self, shop):
            super().opened(shop)
            raise SystemExit(shop)

    manager.hook.opened.call_historic(kwargs={"shop": 1})
    manager.hook.opened.call_historic(kwargs={"shop": 2})
    bad, good = Failing(), Opened()

    faults = enter(manager, a=bad, b=good)

    assert [(name, hook, type(error), error.code) for name, hook, error in faults] == [
        ("a", "opened", SystemExit, 1),
        ("a", "opened", SystemExit, 2),
    ]
    assert (bad.calls, good.calls) == ([1, 2], [1, 2])


def test_objects_die_after_they_left(manager):
    """Remembering the calls of an object does not keep it alive."""
    plugin = Opened()
    enter(manager, a=plugin)
    manager.hook.opened.call_historic(kwargs={"shop": 1})
    gone = weakref.ref(plugin)

    enter(manager, ["a"])
    del plugin
    gc.collect()

    assert gone() is None


def test_objects_without_weak_references(manager):
    """They are called once as well, and a hundred of one name leave one of them behind."""
    calls = []

    class Slotted:
        __slots__ = ()

        @hookimpl
        def opened(self, shop):
            calls.append((id(self), shop))

    manager.hook.opened.call_historic(kwargs={"shop": 1})
    plugin = Slotted()
    enter(manager, a=plugin)
    enter(manager, ["a"], a=plugin)
    assert calls == [(id(plugin), 1)]

    for _ in range(100):
        enter(manager, ["a"], a=Slotted())
    enter(manager, ["a"])
    del plugin
    gc.collect()

    assert len(calls) == 101
    assert sum(type(item) is Slotted for item in _reachable(manager)) == 1


def test_a_plugin_may_leave_during_its_replay(manager):
    """One registered on the manager that unregisters itself meanwhile is out altogether."""

    class Leaving:
        @hookimpl
        def opened(self, shop):
            manager.unregister(self)

        @hookimpl
        def price(self, item):
            return 1

    class Other:
        @hookimpl
        def price(self, item):
            return 2

    manager.hook.opened.call_historic(kwargs={"shop": 1})
    manager.register(Leaving(), "leaving")
    manager.register(Other(), "other")

    assert manager.hook.price(item="tea") == [2]


def _reachable(root):
    """Return all objects that ``root`` keeps alive, classes and modules not entered."""
    found, waiting = {}, [root]
    while waiting:
        each = waiting.pop()
        if id(each) not in found and not isinstance(each, (type, type(sys), type(_reachable))):
            found[id(each)] = each
            waiting.extend(gc.get_referents(each))
    return found.values()


def test_a_call_made_between_exchange_and_replay_comes_once(manager):
    """It reaches directly who is in service by then, and is not replayed to it."""
    plugin = Opened()
    manager.hook.opened.call_historic(kwargs={"shop": 1})
    manager.exchange((), [manager.implementations(plugin, "a")])
    manager.hook.opened.call_historic(kwargs={"shop": 2})

    assert list(manager.replay()) == []
    assert sorted(plugin.calls) == [1, 2]


def test_calls_of_other_threads_come_once(manager):
    """Whoever makes them, and whenever plugins come."""
    count, made, plugins = 300, [], []

    def call():
        for number in range(count):
            manager.hook.opened.call_historic(kwargs={"shop": number})
            made.append(number)

    thread = threading.Thread(target=call)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread.start()
        while len(made) < count:
            plugins.append(Opened())
            assert enter(manager, **{f"plugin-{len(plugins)}": plugins[-1]}) == []
        thread.join()
    finally:
        sys.setswitchinterval(before)

    assert all(sorted(plugin.calls) == list(range(count)) for plugin in plugins)


def test_an_exchange_during_a_replay(manager):
    """An exchange of other plugins goes on while another thread replays, and loses no call."""
    plugin, faults = Opened(), []
    for number in range(2000):
        manager.hook.opened.call_historic(kwargs={"shop": number})
    manager.exchange((), [manager.implementations(plugin, "a")])
    thread = threading.Thread(target=lambda: faults.extend(manager.replay()))
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread.start()
        for _ in range(100):
            manager.exchange(["nobody"], ())
        thread.join()
    finally:
        sys.setswitchinterval(before)

    assert faults == []
    assert set(plugin.calls) == set(range(2000))


def test_plugins_that_share_a_name_have_histories_of_their_own(manager):
    """Objects without weak references have each call once, whoever has the name meanwhile."""

    class Slotted:
        __slots__ = ("calls",)

        def __init__(self):
            self.calls = []

        opened = Opened.opened

    plugins = {slug: Slotted() for slug in ("one", "two")}
    manager.hook.opened.call_historic(kwargs={"shop": 1})

    def change(remove, *slugs):
        added = [manager.implementations(plugins[slug], slug, name="both") for slug in slugs]
        manager.exchange(remove, added)
        assert list(manager.replay()) == []

    change((), "one", "two")
    change(["one"])
    change(["two"], "two")
    change(["two"])
    change((), "one")
    assert [plugin.calls for plugin in plugins.values()] == [[1], [1]]
