"""The manager: plugins are exchanged, and no reader sees half a change."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from functools import partial
from types import SimpleNamespace

import pluggy
import pytest

from plugreg._calls.dispatcher import Dispatcher
from plugreg.hooks import HookTable, PluginManager, PluginValidationError, hookimpl, hookspec


class Specs:
    @hookspec
    def price(self, item):
        """Price of an item."""

    @hookspec
    def owner(self, item):
        """Owner of an item."""


class Priced:
    """A plugin that answers with its own tag."""

    def __init__(self, tag):
        self.tag = tag

    @hookimpl
    def price(self, item):
        return self.tag


@pytest.fixture
def manager():
    manager = PluginManager("shop")
    manager.add_hookspecs(Specs)
    return manager


def swap(manager, remove=(), **plugins):
    """Exchange: out with the names of ``remove``, in with ``plugins``, ranked by their names."""
    added = [manager.implementations(plugin, name, (name,)) for name, plugin in plugins.items()]
    manager.exchange(remove, added)
    return added


class TestExchange:
    def test_a_touched_hook_gets_one_new_list(self, manager):
        """A hook concerned is given another list; the old one stays as a reader has it."""
        swap(manager, a=Priced("a"))
        before = manager.hook.price._hookimpls
        held = list(before)

        swap(manager, ["a"], b=Priced("b"), c=Priced("c"))

        assert manager.hook.price._hookimpls is not before
        assert before == held

    def test_an_untouched_hook_keeps_its_list(self, manager):
        """A hook that no plugin concerned implements is not written to."""
        swap(manager, a=Priced("a"))
        price, owner = manager.hook.price._hookimpls, manager.hook.owner._hookimpls

        swap(manager, o=SimpleNamespace(owner=hookimpl(lambda item: "o")))
        assert manager.hook.owner._hookimpls is not owner
        swap(manager, ["o"])

        assert manager.hook.price._hookimpls is price
        assert manager.hook.owner(item="tea") == []

    def test_a_call_in_the_midst_of_an_exchange(self, manager):
        """Until its new list is there a hook is as before: whoever calls sees the whole old set."""
        seen = []

        class Peeking(int):
            """A rank that calls the hook whenever it is compared with another one."""

            def __lt__(self, other):
                seen.append(manager.hook.price(item="tea"))
                return int(self) < int(other)

        swap(manager, a=Priced("a"), z=Priced("z"))
        add = [
            manager.implementations(Priced(f"new{rank}"), f"new{rank}", (Peeking(rank),))
            for rank in (2, 1, 3)
        ]

        manager.exchange(["a", "z"], add)

        assert len(seen) >= 2
        assert all(item == ["z", "a"] for item in seen)
        assert manager.hook.price(item="tea") == ["new3", "new2", "new1"]

    def test_a_name_that_is_taken_during_a_registration(self):
        """The exchanged plugin keeps it, and the host's registration fails as for any such name."""

        class Interrupted(PluginManager):
            """Another thread exchanges a plugin in while the host's is looked through."""

            def parse_hookimpl_opts(self, plugin, name):
                if plugin is host and self.get_plugin("new") is None:
                    swap(self, new=exchanged)
                return super().parse_hookimpl_opts(plugin, name)

        host, exchanged, manager = Priced("host"), Priced("new"), Interrupted("shop")
        with pytest.raises(ValueError, match="Plugin name already registered: new="):
            manager.register(host, "new")

        assert manager.list_name_plugin() == [("new", exchanged)]
        assert manager.hook.price.get_hookimpls()[0].plugin is exchanged
        assert len(manager.hook.price.get_hookimpls()) == 1

    def test_registering_replaces_lists_too(self, manager):
        """Pluggy's own way in and out leaves the list that a reader holds as it was."""
        plugin = Priced("a")
        empty = manager.hook.price._hookimpls
        manager.register(plugin, "a")
        full = manager.hook.price._hookimpls
        manager.unregister(plugin)

        assert (len(empty), len(full)) == (0, 1)
        assert manager.hook.price._hookimpls == []

    def test_a_name_may_leave_and_arrive_at_once(self, manager):
        """The new object of a name takes the place of the old one."""
        new = Priced("new")
        swap(manager, a=Priced("old"), b=Priced("b"))

        swap(manager, ["a"], a=new)

        assert manager.hook.price(item="tea") == ["b", "new"]
        assert manager.get_plugin("a") is new
        assert manager.has_plugin("a")

    def test_order_follows_rank(self, manager):
        """A plugin of higher rank is called earlier, in whatever order they come."""
        swap(manager, c=Priced("c"), a=Priced("a"))
        swap(manager, b=Priced("b"))

        assert manager.hook.price(item="tea") == ["c", "b", "a"]

    def test_unknown_names_are_no_concern(self, manager):
        """A name to be removed that is not in, or is the host's, is passed over."""
        manager.register(Priced("host"), "host")

        swap(manager, ["host", "nobody"], a=Priced("a"))

        assert manager.hook.price(item="tea") == ["a", "host"]

    def test_host_plugins_keep_their_place(self, manager):
        """Objects of the host from before the first exchange, and after, keep their side."""
        manager.register(Priced("early"), "early")
        swap(manager, b=Priced("b"))
        manager.register(Priced("late"), "late")
        swap(manager, a=Priced("a"), z=Priced("z"))
        swap(manager, ["b"], b=Priced("b2"))

        assert manager.hook.price(item="tea") == ["late", "z", "b2", "a", "early"]

    def test_an_undone_exchange_is_not_the_first(self, manager):
        """After Ctrl-C in the first exchange, the host's plugins still count as early."""

        class Interrupts(int):
            """A rank that Ctrl-C meets when it is compared."""

            def __lt__(self, other):
                raise KeyboardInterrupt

        ranks = {"x": Interrupts(1), "y": Interrupts(2)}
        add = [manager.implementations(Priced(s), s, (rank,)) for s, rank in ranks.items()]
        with pytest.raises(KeyboardInterrupt):
            manager.exchange([], add)
        manager.register(Priced("early"), "early")
        swap(manager, a=Priced("a"))

        assert manager.hook.price(item="tea") == ["a", "early"]

    def test_names_that_are_blocked_meanwhile(self, manager):
        """A host may block names at any moment of the first exchange."""
        numbers = iter(range(100))
        add = [manager.implementations(Priced("a"), "a")]
        for number in range(3):
            manager.register(Priced("host"), f"host{number}")

        def block(*_):
            number = next(numbers, None)
            if number is not None:
                manager.set_blocked(f"blocked{number}")

        sys.setprofile(block)
        try:
            manager.exchange([], add)
        finally:
            sys.setprofile(None)

        assert manager.hook.price(item="tea") == ["a", "host", "host", "host"]
        assert manager.is_blocked("blocked0")

    @pytest.mark.parametrize("kind", ["host", "exchanged", "blocked", "twice"])
    def test_a_taken_name_changes_nothing(self, manager, kind):
        """ValueError comes before anything is changed, plugins that were to leave included."""
        swap(manager, a=Priced("a"), taken=Priced("x"))
        late = manager.implementations(Priced("new"), "new")
        other = manager.implementations(Priced("other"), "other")
        if kind == "host":
            manager.register(Priced("host"), "new")
        elif kind == "blocked":
            manager.set_blocked("new")
        elif kind == "exchanged":
            manager.exchange([], [late])
        else:
            other = late
        impls, known = manager.hook.price._hookimpls, manager.list_name_plugin()

        with pytest.raises(ValueError, match="plugin name 'new' is taken"):
            manager.exchange(["a"], [other, late])

        assert manager.hook.price._hookimpls is impls
        assert manager.list_name_plugin() == known
        assert manager.has_plugin("a")

    @pytest.mark.parametrize("blocked", [True, False])
    def test_parsing_refuses_the_hosts_names(self, manager, blocked):
        """A name that the host registered or blocked is refused before the plugin is bound."""
        if blocked:
            manager.set_blocked("mine")
        else:
            manager.register(Priced("x"), "mine")

        with pytest.raises(ValueError, match="'mine' is taken or blocked"):
            manager.implementations(Priced("new"), "mine")

    def test_parsing_changes_nothing(self, manager):
        """Parsed implementations are not in service, and a wrong signature is refused."""
        manager.implementations(Priced("a"), "a")
        wrong = SimpleNamespace(price=hookimpl(lambda thing: 1))

        with pytest.raises(PluginValidationError, match="thing"):
            manager.implementations(wrong, "wrong")

        assert manager.hook.price(item="tea") == []
        assert manager.list_name_plugin() == []

    def test_the_host_may_unregister_what_was_exchanged_in(self, manager):
        """It is gone from the manager, and a later exchange of the name is not disturbed."""
        swap(manager, a=Priced("a"))

        manager.unregister(name="a")

        assert not manager.has_plugin("a")
        assert manager.hook.price(item="tea") == []
        swap(manager, ["a"], a=Priced("again"))
        assert manager.hook.price(item="tea") == ["again"]

    def test_nothing_is_left_of_what_left(self, manager):
        """A plugin that left is freed, although its hook had been called and tabled."""
        plugin = Priced("a")
        swap(manager, a=plugin)
        manager.table("price")
        manager.hook.price(item="tea")
        gone = weakref.ref(plugin)

        swap(manager, ["a"])
        del plugin
        gc.collect()

        assert gone() is None


class Pair(Priced):
    """Answers two hooks from one object, so that a half-changed set can be noticed."""

    @hookimpl
    def owner(self, item):
        return self.tag


def _exchange(manager, number):
    """Replace two plugins by two others at once."""
    tag = f"{number}"
    swap(
        manager,
        [f"left{number - 1}", f"right{number - 1}"],
        **{f"left{number}": Priced(tag), f"right{number}": Priced(tag)},
    )


def _unregister_and_register(manager, number):
    """Replace them as a plain pluggy manager must: one after the other."""
    for side in ("left", "right"):
        manager.unregister(name=f"{side}{number - 1}")
        manager.register(Priced(f"{number}"), f"{side}{number}")


def read_while(manager, change, call):
    """Let 8 threads call a hook during 200 changes; return the different results they saw."""
    seen = [set() for _ in range(8)]
    ended = threading.Event()

    def read(results):
        while not ended.is_set():
            results.add(tuple(call(item="tea")))

    threads = [threading.Thread(target=read, args=(item,)) for item in seen]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for number in range(1, 201):
            change(manager, number)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    return set().union(*seen)


class TestThreads:
    @pytest.mark.parametrize("isolated", [False, True])
    def test_no_reader_misses_anyone(self, manager, isolated):
        """Under 8 readers and 200 exchanges each call sees the bystanders and a whole pair.

        The readers call pluggy's relay, or the isolated call, whose tables change meanwhile.
        """
        dispatcher = Dispatcher(manager, lambda *_: None)
        manager.register(Priced("host"), "host")
        swap(manager, bystander=Priced("b"), left0=Priced("0"), right0=Priced("0"), zz=Priced("z"))

        seen = read_while(
            manager,
            _exchange,
            partial(dispatcher.call, Specs.price) if isolated else manager.hook.price,
        )

        assert {(last, bystander, host) for last, _, _, bystander, host in seen} == {
            ("z", "b", "host")
        }
        assert all(right == left for _, right, left, _, _ in seen)

    def test_no_reader_misses_a_name(self, manager):
        """A plugin that another object replaces is registered at each moment of the exchange."""
        swap(manager, a=Priced("a"), b=Priced("b"))
        add = [manager.implementations(Priced("new"), name) for name in ("a", "b")]
        seen = set()

        def look(*_):
            seen.add((manager.has_plugin("a"), manager.has_plugin("b")))

        sys.setprofile(look)
        try:
            manager.exchange(["a", "b"], add)
        finally:
            sys.setprofile(None)

        assert seen == {(True, True)}

    def test_the_readers_are_not_blind(self):
        """The same readers do see the steps in which a plain pluggy manager replaces plugins."""
        manager = pluggy.PluginManager("plugreg")
        manager.add_hookspecs(Specs)
        manager.register(Priced("0"), "left0")
        manager.register(Priced("0"), "right0")

        seen = read_while(manager, _unregister_and_register, manager.hook.price)

        assert any(len(item) < 2 or item[0] != item[1] for item in seen)


class TestUnknownHooks:
    def test_a_near_name_is_suggested(self, manager):
        """Each implementation that no spec asks for is named, with the nearest specified hook."""
        swap(manager, a=SimpleNamespace(pricee=hookimpl(lambda item: 1), price=Priced("a").price))

        assert manager.unknown_hooks("a") == (
            "unknown hook 'pricee', which no specification asks for; did you mean 'price'?",
        )

    def test_optional_hooks_are_exempt(self, manager):
        """An implementation marked optionalhook may stay without a spec."""
        swap(manager, a=SimpleNamespace(other=hookimpl(optionalhook=True)(lambda: 1)))

        assert manager.unknown_hooks("a") == ()

    def test_a_later_spec_makes_it_known(self, manager):
        """A hook whose spec comes later, from another plugin perhaps, is no fault any more."""
        swap(manager, a=SimpleNamespace(other=hookimpl(lambda: 1)))
        assert len(manager.unknown_hooks("a")) == 1

        manager.add_hookspecs(SimpleNamespace(other=hookspec(lambda: None)))

        assert manager.unknown_hooks("a") == ()

    def test_names_that_are_not_in(self, manager):
        """Of a name that was not exchanged in nothing is said."""
        manager.register(SimpleNamespace(other=hookimpl(lambda: 1)), "host")

        assert manager.unknown_hooks("host") == manager.unknown_hooks("nobody") == ()


class TestTables:
    def test_made_anew_only_after_a_change(self, manager):
        """A table is one object until the hook's list or spec is another one."""
        swap(manager, a=Priced("a"), o=SimpleNamespace(unspecified=hookimpl(lambda: 1)))
        price, other = manager.table("price"), manager.table("unspecified")

        swap(manager, o2=SimpleNamespace(owner=hookimpl(lambda item: 1)))
        assert manager.table("price") is manager.table(Specs.price) is price

        swap(manager, b=Priced("b"))
        assert manager.table("price") is not price
        assert manager.table("unspecified") is other

        manager.add_hookspecs(SimpleNamespace(unspecified=hookspec(firstresult=True)(lambda: 1)))
        assert manager.table("unspecified").firstresult
        assert isinstance(other, HookTable)
        assert not other.firstresult

    def test_the_hooks_own_list_is_what_counts(self, manager):
        """A table is made anew whoever has replaced the list, and however the hook was named."""
        swap(manager, a=Priced("a"))
        price = manager.table(Specs.price)

        manager.hook.price._hookimpls = []

        assert manager.table(Specs.price).rows == manager.table("price").rows == ()
        assert [row.slug for row in price.rows] == ["a"]

    def test_a_function_of_the_same_name(self, manager):
        """Any function with a hook's name stands for the hook, and none but the spec is kept."""

        def price(item): ...

        gone = weakref.ref(price)
        assert manager.table(price) is manager.table("price")
        del price

        assert gone() is None
