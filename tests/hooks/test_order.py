"""Implementations that ask to be before or after named plugins."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pluggy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugreg import Plugin, PluginRegistry
from plugreg._calls.dispatcher import Dispatcher
from plugreg.hooks import PluginManager, hookimpl, hookspec
from plugreg.hooks._order import OrderRequest, find_order
from plugreg.records import Stage

host_impl = pluggy.HookimplMarker("shop")


class Specs:
    @hookspec
    def order(self, calls):
        """Append a name to ``calls``."""


class Text(str):
    """A text of a plugin's own kind, whose methods fail."""

    __slots__ = ()

    def _fail(self, *_):
        raise RuntimeError("a method of a plugin's text was called")

    __eq__ = __lt__ = __hash__ = __repr__ = __str__ = _fail


def plugin(name, /, **options):
    """Return a plugin object that notes its name when it is called."""

    def order(calls):
        calls.append(name)

    def wrapper(calls):
        calls.append(name)
        return (yield)

    function = wrapper if options.get("wrapper") else order
    return SimpleNamespace(order=hookimpl(**options)(function))


class Bench:
    """A manager, and in which order it calls, by the relay and by the isolated call."""

    def __init__(self):
        self.manager = PluginManager("shop")
        self.manager.add_hookspecs(Specs)
        self.dispatch = Dispatcher(self.manager, lambda *fault: pytest.fail(str(fault)))

    def add(self, *names, **options):
        """Exchange in plugins that are called in the order of their names when none asks."""
        self.manager.exchange(
            (),
            [
                self.manager.implementations(
                    plugin(name, **options), name, tuple(-ord(item) for item in name)
                )
                for name in names
            ],
        )
        return self

    @property
    def order(self):
        relay, isolated = [], []
        self.manager.hook.order(calls=relay)
        self.dispatch.call("order", calls=isolated)
        assert relay == isolated == [slug for slug, _ in self.manager.explain("order")]
        return "".join(relay)

    @property
    def reasons(self):
        return dict(self.manager.explain("order"))


@pytest.fixture
def bench():
    return Bench()


class TestMarker:
    @pytest.mark.parametrize("names", ["c", ("c",), ["c", "x"], {"x", "c"}, frozenset({"c"})])
    def test_a_name_or_a_collection_of_names(self, bench, names):
        """One text is one name, and any collection of texts will do."""
        assert bench.add("a", after=names).add("b", "c").order == "bca"

    @pytest.mark.parametrize("names", [5, None, b"c", ["c", 5], [b"c"], True, iter("c")])
    @pytest.mark.parametrize("option", ["before", "after"])
    def test_what_is_no_name_is_refused(self, option, names):
        """The error names the option, its value and the expectation."""
        with pytest.raises(TypeError, match=f"^{option} must be the name of a plugin, or a coll"):
            hookimpl(**{option: names})

    def test_what_is_no_option_is_refused(self):
        """As by pluggy's own marker."""
        with pytest.raises(TypeError, match="unexpected keyword argument 'beside'"):
            hookimpl(beside="tax")

    def test_names_left_on_a_function_are_checked_too(self, bench):
        """A plugin may come by its options without the marker."""
        wrong = plugin("a")
        wrong.order.plugreg_impl["after"] = 5

        with pytest.raises(TypeError, match="after must be the name of a plugin"):
            bench.manager.implementations(wrong, "a")

    def test_a_text_of_the_plugins_own_kind(self, bench):
        """Nothing of such a text's class is asked."""
        assert bench.add("a", after=Text("b"), before=[Text("c")]).add("b", "c").order == "bac"

    def test_the_function_is_returned_as_it_is(self):
        """With options and without."""

        def function():
            pass

        assert hookimpl(function) is function
        assert hookimpl(before="tax", specname="price")(function) is function

    def test_pluggys_options_stay_pluggys(self, bench):
        """An implementation that asks for nothing has no option that pluggy does not know."""
        bench.add("a", before=())
        bench.manager.register(plugin("h"), "h")

        for impl in bench.manager.hook.order.get_hookimpls():
            assert impl.opts.keys() == pluggy.HookimplOpts.__annotations__.keys()


class TestOrder:
    def test_without_wishes_it_is_pluggys(self, bench):
        """tryfirst, plain, trylast; in each the one loaded last comes first."""
        bench.add("a", trylast=True).add("b", "c").add("d", tryfirst=True)

        assert bench.order == "dbca"

    def test_who_asks_moves_and_the_others_stay(self, bench):
        """It goes no farther than it must."""
        assert bench.add("a", "b", "c", "d").add("e", before="b").order == "aebcd"
        assert Bench().add("b", "c", "d", "e").add("a", after="d").order == "bcdae"

    def test_a_wish_that_holds_already_changes_nothing(self, bench):
        """Nobody moves next to the plugin that it names."""
        assert bench.add("a", before="c").add("b", "c").add("d", after=["a"]).order == "abcd"

    def test_wishes_are_stronger_than_tryfirst_and_trylast(self, bench):
        """But only for those that they are about."""
        bench.add("c", tryfirst=True).add("b", trylast=True, before="c").add("a")

        assert bench.order == "bca"

    def test_chains(self, bench):
        """Who asks to be before one that moves is before the place it moves to."""
        assert bench.add("a", "b").add("c", before="a").add("d", before="c").order == "dcab"

    def test_who_is_not_there_is_no_constraint(self, bench):
        """As soon as it comes it is one, and when it leaves it is none any more."""
        assert bench.add("a", after="z").add("b").order == "ab"
        assert bench.add("z").order == "bza"
        bench.manager.exchange(["z"], ())
        assert bench.order == "ab"

    def test_all_implementations_of_the_plugin_count(self, bench):
        """A plugin may implement a hook more than once."""
        several = SimpleNamespace(
            first=hookimpl(specname="order", trylast=True)(lambda calls: calls.append("m")),
            second=hookimpl(specname="order", tryfirst=True)(lambda calls: calls.append("m")),
        )
        bench.manager.exchange((), [bench.manager.implementations(several, "m", (0,))])

        assert bench.add("a").add("b", after="m").order == "mamb"

    def test_wrappers_are_ordered_among_themselves(self, bench):
        """They are outside of all others, whatever they ask."""
        bench.add("a", "b", "c")
        bench.add("w", wrapper=True, before=["a", "v"]).add("v", wrapper=True, after="c")

        assert bench.order == "wvabc"
        assert bench.reasons["v"] == "wrapper; by load order, the latest first; no 'c' to be after"

    def test_what_the_host_registered(self, bench):
        """It can be named by its name on the manager, and may ask itself."""
        bench.add("a", after="host")
        bench.manager.register(plugin("h"), "host")
        bench.manager.register(plugin("i", before="h", after="a"), "i")
        order = bench.manager.explain("order")

        assert [slug for slug, _ in order] == ["host", "a", "i"]
        bench.manager.unregister(name="host")
        assert bench.order == "ai"

    def test_the_hosts_own_order_is_kept(self, bench):
        """A moved implementation is at its old place again when no constraint is left."""
        for name in "cba":
            bench.manager.register(plugin(name), name)
        bench.add("z", after="b")
        bench.manager.register(plugin("m", after="c"), "m")
        assert bench.order == "abzcm"
        bench.manager.exchange(["z"], ())
        bench.manager.unregister(name="m")
        assert bench.order == "abc"
        assert bench.manager._plugreg.arranged == {}

    def test_whom_a_host_registers_one_by_one(self, bench):
        """Each of them is arranged at once, and whoever leaves lets the others go back."""
        for name in "ba":
            bench.manager.register(plugin(name), name)
        bench.manager.register(plugin("c", after="b"), "c")
        assert bench.order == "abc"
        bench.manager.register(plugin("d", before="a"), "d")
        bench.manager.register(plugin("e"), "e")
        assert bench.order == "edabc"
        bench.manager.unregister(name="b")
        assert bench.order == "edca"

    def test_the_hosts_own_marker_asks_for_nothing(self, bench):
        """On a function with both markers the host's options are those that hold."""
        both = plugin("a", after="b")
        host_impl(both.order)
        bench.manager.exchange((), [bench.manager.implementations(both, "a", (9,))])

        assert bench.add("b").order == "ab"

    @pytest.mark.parametrize("circle", [False, True])
    def test_a_long_chain(self, circle):
        """It is as long as one likes, also where it is a circle."""
        count = 3000
        asking = [OrderRequest(str(n), before=(str(n - 1),)) for n in range(count)]
        if circle:
            asking[0] = OrderRequest("0", before=(str(count - 1),))

        order = find_order(asking)

        expected = [*range(count)] if circle else [*reversed(range(count))]
        assert order.places == tuple(expected)
        assert len(order.cycles) == circle

    @given(st.permutations("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=3))
    def test_it_does_not_depend_on_who_came_when(self, names, leaving):
        """One order for the same plugins, however they came, one by one or together."""
        options = {"b": {"after": "e"}, "f": {"before": ("a", "c")}, "d": {"tryfirst": True}}
        one, all_at_once = Bench(), Bench()
        for name in names:
            one.add(name, **options.get(name, {}))
        for name in leaving:
            one.manager.exchange([name], ())
            one.add(name, **options.get(name, {}))
        all_at_once.manager.exchange(
            (),
            [
                all_at_once.manager.implementations(
                    plugin(name, **options.get(name, {})), name, (-ord(name),)
                )
                for name in names
            ],
        )

        assert one.order == all_at_once.order == "dfaceb"


class TestCircles:
    def test_it_costs_only_its_members_their_wish(self, bench):
        """Others keep theirs, also those about members, and members keep theirs about others."""
        bench.add("a", before="e").add("b", "c").add("d", before="a").add("m")
        bench.add("e", before="a", after="m").add("f", before="e")
        ignored = bench.manager.ignored_constraints

        text = (
            "hook 'order': ignored constraints, which form a cycle: 'a' before 'e', 'e' before 'a'"
        )
        assert ignored() == {"a": (text,), "e": (text,)}
        # Without any constraint it is abcdefm.
        assert bench.order == "dabcfme"

    def test_it_goes_with_any_of_its_members(self, bench):
        """A cycle is reported as long as there is one."""
        bench.add("a", after="b").add("b", after="c").add("c", after="a")
        assert bench.order == "abc"
        assert bench.manager.ignored_constraints().keys() == {*"abc"}

        bench.manager.exchange(["b"], ())

        assert bench.manager.ignored_constraints() == {}
        assert bench.order == "ac"

    def test_itself(self, bench):
        """To be before oneself is a circle of one."""
        bench.add("a", before=["a", "b"]).add("b")

        assert bench.order == "ab"
        (text,) = bench.manager.ignored_constraints()["a"]
        assert text.endswith("'a' before 'a'")

    def test_the_old_name_of_ignored_constraints(self, bench):
        """It still answers, and names the new one."""
        bench.add("a", before="a")

        with pytest.warns(DeprecationWarning, match="ignored_constraints"):
            assert bench.manager.ignored_wishes() == bench.manager.ignored_constraints() != {}

    def test_one_sentence_for_each_hook(self, bench):
        """In the order of the hooks' names."""
        constrained = hookimpl(after="a")(lambda: None)
        several = SimpleNamespace(two=constrained, one=constrained, three=hookimpl(lambda: None))
        bench.manager.exchange((), [bench.manager.implementations(several, "a")])

        assert [message.split(":")[0] for message in bench.manager.ignored_constraints()["a"]] == [
            "hook 'one'",
            "hook 'two'",
        ]


class TestExplain:
    def test_reasons(self, bench):
        """Each has its slug and a sentence, wrappers first, and unpacks as a pair."""
        bench.add("a", after=("x", "c"), tryfirst=True).add("b", trylast=True).add("c", "d")
        bench.add("e", before=["c", "f"]).add("f", before="e").add("w", wrapper=True)

        assert bench.manager.explain("order") == (
            ("w", "wrapper; by load order, the latest first"),
            ("e", "before 'c' as it asks; not before 'f', which would close a cycle"),
            ("c", "by load order, the latest first"),
            ("a", "tryfirst; after 'c' as it asks; no 'x' to be after"),
            ("d", "by load order, the latest first"),
            (
                "f",
                "by load order, the latest first; not before 'e', which would close a cycle",
            ),
            ("b", "trylast"),
        )
        assert bench.manager.explain(Specs.order) == bench.manager.explain("order")


def plugin_class(slug, /, **options):
    """Return a plugin's class whose only hook gives its slug."""
    price = hookimpl(**options)(lambda self, item: slug)
    return type(slug.capitalize(), (Plugin,), {"NAME": slug, "price": price})


class Prices:
    @hookspec
    def price(self, item):
        """Price of an item."""


class TestRegistry:
    """A circle is a failure of each of its members, for as long as it is one."""

    @pytest.fixture
    def reported(self):
        return []

    @pytest.fixture
    def registry(self, reported):
        builtin = [
            plugin_class("audit"),
            plugin_class("discount", after="tax", before="ship"),
            plugin_class("ship", after="audit", before="discount"),
            plugin_class("tax", before="audit"),
        ]
        with PluginRegistry(
            "shop", hookspecs=[Prices], builtin=builtin, on_failure=reported.append
        ) as registry:
            registry.load()
            yield registry

    def activate(self, registry, *slugs):
        for slug in slugs:
            registry.activate(slug)

    def test_calls_follow_the_order_that_explain_tells(self, registry):
        """The relay, the isolated calls and the explanation agree."""
        self.activate(registry, "audit", "discount", "tax")

        order = [slug for slug, _ in registry.explain(Prices.price)]

        assert order == ["tax", "discount", "audit"]
        assert registry.call(Prices.price, item="tea") == order
        assert registry.hook.price(item="tea") == order
        assert registry.explain("price")[0] == ("tax", "before 'audit' as it asks")
        assert registry.errors == ()

    def test_each_member_has_a_record(self, registry, reported):
        """Also the one that was there before the circle was; it stays active and is called."""
        self.activate(registry, "audit", "discount", "tax", "ship")

        sentence = (
            "hook 'price': ignored constraints, which form a cycle:"
            " 'ship' before 'discount', 'discount' before 'ship'"
        )
        assert [(e.stage, e.slug, e.message) for e in reported] == [
            (Stage.ACTIVATE, "discount", sentence),
            (Stage.ACTIVATE, "ship", sentence),
        ]
        assert {failure.slug for failure in registry.errors} == {"discount", "ship"}
        assert [failure.slug for failure in registry.get("ship").errors] == ["ship"]
        assert registry.get("audit").errors == ()
        order = registry.call(Prices.price, item="tea")
        assert sorted(order) == ["audit", "discount", "ship", "tax"]
        # The constraints of each beside the cycle hold.
        assert order.index("tax") < order.index("discount")
        assert order.index("tax") < order.index("audit") < order.index("ship")

    def test_it_goes_when_a_member_leaves(self, registry, reported):
        """The record of the one that stays goes too; if the circle comes back it is a new one."""
        self.activate(registry, "discount", "ship")
        assert len(registry.errors) == 2

        registry.deactivate("ship")

        assert registry.errors == ()
        assert registry.get("discount").errors == ()
        registry.activate("ship")
        assert {failure.slug: failure.count for failure in registry.errors} == {
            "discount": 1,
            "ship": 1,
        }
        assert len(reported) == 4

    def test_it_goes_when_the_host_takes_a_member_out(self, registry):
        """At once, though the registry knows nothing of it."""
        self.activate(registry, "discount", "ship")

        registry.manager.unregister(name="ship")

        assert registry.errors == ()

    def test_it_is_reported_once(self, registry, reported):
        """A reload that finds it again counts it, and calls on_failure no more."""
        self.activate(registry, "discount", "ship")
        before = {failure.slug: failure.count for failure in registry.errors}

        report = registry.reload()

        assert {failure.slug for failure in report.failures} == {"discount", "ship"}
        assert {failure.slug: failure.count for failure in registry.errors} == {
            slug: count + 1 for slug, count in before.items()
        }
        assert len(reported) == 2

    def test_wishes_that_are_no_names_fail_their_plugin_alone(self, registry):
        """It is a failure of its activation, which names the fault."""
        wrong = plugin_class("wrong")
        wrong.price.plugreg_impl["before"] = [5]
        self.activate(registry, "audit")
        registry.register(wrong(), "wrong")

        (failure,) = registry.errors
        assert (failure.stage, failure.slug) == (Stage.ACTIVATE, "wrong")
        assert "before must be the name of a plugin" in failure.message
        assert registry.call(Prices.price, item="tea") == ["audit"]


def test_readers_see_the_wishes_hold(bench):
    """No call begun meanwhile sees a list that is not arranged yet."""
    bench.add("a", after="z").add("b", "z")
    wrong, stop = [], threading.Event()

    def read():
        while not stop.is_set():
            calls = []
            bench.manager.hook.order(calls=calls)
            if calls.index("z") > calls.index("a"):
                wrong.append(calls)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for _ in range(200):
        bench.add("m")
        bench.manager.exchange(["m"], ())
    stop.set()
    for reader in readers:
        reader.join()

    assert wrong == []
