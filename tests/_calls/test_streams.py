"""Outcomes one by one, a value handed through all, and the order of both."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from plugreg._calls.dispatcher import Dispatcher
from plugreg.exceptions import RegistryNotReady, UnknownHookError
from plugreg.hooks import HookCallError, PluginManager, hookimpl, hookspec
from plugreg.records import PluginFailure, Stage


class Hooks:
    @hookspec
    def search(self, q, limit=10):
        """Search for a text."""

    @hookspec(firstresult=True)
    def discounted(self, price, item="tea"):
        """Return another price."""

    @hookspec
    def note(self):
        """Take no argument."""


class Bench:
    """A manager with a dispatcher, and the faults that were recorded."""

    def __init__(self):
        self.manager = PluginManager("shop")
        self.manager.add_hookspecs(Hooks)
        self.faults = []
        self.dispatch = Dispatcher(self.manager, self._record)

    def _record(self, slug, hook, error):
        self.faults.append((slug, hook, error))
        return PluginFailure.of(Stage.CALL, slug, error, subject=hook)

    def add(self, hook, /, *, options=None, **functions):
        """Exchange in a plugin for each function; they are called in the order given."""
        first = 999 - len(self.manager.list_name_plugin())
        marker = hookimpl(**(options or {}))
        self.manager.exchange(
            (),
            [
                self.manager.implementations(
                    SimpleNamespace(**{hook: marker(item)}), name, (first - index,)
                )
                for index, (name, item) in enumerate(functions.items())
            ],
        )


@pytest.fixture
def bench():
    return Bench()


def failing(*_args):
    raise SystemExit("no")


def wrapping():
    yield
    raise AssertionError("a wrapper was called")


class TestIterate:
    def test_each_as_it_comes(self, bench):
        """An implementation is called when its outcome is asked for, and not before."""
        called = []
        bench.add("search", a=lambda q: called.append("a") or 1, b=lambda q: called.append("b"))

        found = bench.dispatch.iterate(Hooks.search, q="tea")

        assert called == []
        assert next(found).value == 1
        assert called == ["a"]
        assert next(found).value is None
        assert called == ["a", "b"]
        assert next(found, None) is None

    def test_it_is_what_outcomes_gives(self, bench):
        """None included, faults as outcomes with a record; no wrapper and no firstresult counts."""
        for hook in ("search", "discounted"):
            bench.add(
                hook, **{f"{hook}1": lambda: 1, f"{hook}2": failing, f"{hook}3": lambda: None}
            )
            bench.add(hook, options={"wrapper": True}, **{f"{hook}4": wrapping})

        for hook, arguments in ((Hooks.search, {"q": "tea"}), ("discounted", {"price": 1})):
            listed = bench.dispatch.outcomes(hook, **arguments)
            iterated = [*bench.dispatch.iterate(hook, **arguments)]
            assert [(e.slug[-1], e.value, type(e.error)) for e in iterated] == [
                ("1", 1, type(None)),
                ("2", None, SystemExit),
                ("3", None, type(None)),
            ]
            assert [(e.slug, e.value) for e in iterated] == [(e.slug, e.value) for e in listed]
            assert iterated[1].failure.slug == iterated[1].slug
            assert all(outcome.seconds >= 0 for outcome in iterated)
        assert len(bench.faults) == 4

    def test_who_stops_asking_calls_no_more(self, bench):
        """Later implementations are not called when the iterator is dropped."""
        called = []
        bench.add("search", a=lambda: called.append("a"), b=lambda: called.append("b"))

        found = bench.dispatch.iterate(Hooks.search, q="tea")
        next(found)
        del found

        assert called == ["a"]
        assert bench.faults == []

    def test_who_takes_part_is_settled_at_once(self, bench):
        """A plugin that comes or leaves between two outcomes changes nothing."""
        bench.add("search", a=lambda: "a", b=lambda: "b")

        found = bench.dispatch.iterate(Hooks.search, q="tea")
        bench.manager.exchange(["b"], ())
        bench.add("search", c=lambda: "c")

        assert [outcome.value for outcome in found] == ["a", "b"]

    def test_arguments_are_checked_at_once(self, bench):
        """Before the first outcome is asked for."""
        with pytest.raises(HookCallError, match="must provide argument 'q'"):
            bench.dispatch.iterate(Hooks.search)
        with pytest.raises(HookCallError, match="by keyword"):
            bench.dispatch.iterate(Hooks.search, "tea")
        with pytest.raises(UnknownHookError):
            bench.dispatch.iterate("serach", q="tea")

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), GeneratorExit()])
    def test_what_belongs_to_the_process_passes(self, bench, error):
        """And is nobody's fault."""

        def interrupted():
            raise error

        bench.add("search", a=interrupted)

        with pytest.raises(type(error)):
            next(bench.dispatch.iterate(Hooks.search, q="tea"))
        assert bench.faults == []

    def test_they_come_in_the_order_asked_for(self, bench):
        """The outcomes of all healthy ones are complete and in order, whoever fails between."""
        bench.add("search", a=lambda: "a", b=failing, c=lambda: "c")
        bench.add("search", options={"before": ["c"], "after": "b"}, d=lambda: "d")

        order = [slug for slug, _ in bench.dispatch.explain(Hooks.search)]

        assert order == ["a", "b", "d", "c"]
        assert [e.slug for e in bench.dispatch.iterate(Hooks.search, q="tea")] == order
        assert bench.dispatch.call(Hooks.search, q="tea") == ["a", "d", "c"]


class TestReduce:
    def test_the_value_goes_through_all(self, bench):
        """Each receives the value as changed by those before it; None leaves it unchanged."""
        bench.add(
            "discounted",
            half=lambda price: price / 2,
            looks=lambda price, item: None,
            less=lambda price, item: price - len(item),
        )

        assert bench.dispatch.reduce(Hooks.discounted, 10.0) == 2.0
        assert bench.dispatch.reduce(Hooks.discounted, 10.0, item="cocoa") == 0.0
        assert bench.dispatch.reduce("discounted", 20.0) == 7.0

    def test_a_fault_costs_only_itself(self, bench):
        """The value stays, the fault is recorded, and the others go on."""
        bench.add(
            "discounted", half=lambda price: price / 2, bad=failing, more=lambda price: price + 1
        )

        assert bench.dispatch.reduce(Hooks.discounted, 10.0) == 6.0
        assert [(slug, hook) for slug, hook, _ in bench.faults] == [("bad", "discounted")]

    def test_a_falsy_result_counts(self, bench):
        """Only None leaves the value as it is."""
        bench.add("discounted", free=lambda: 0)

        assert bench.dispatch.reduce(Hooks.discounted, 10.0) == 0

    def test_nobody_there(self, bench):
        """The seed itself is returned."""
        seed = object()

        assert bench.dispatch.reduce(Hooks.discounted, seed) is seed

    def test_the_seed_is_given_by_place(self, bench):
        """Its name is not used, and other arguments are those of the spec."""
        with pytest.raises(HookCallError, match="'price' of hook 'discounted' is the seed"):
            bench.dispatch.reduce(Hooks.discounted, 10.0, price=5.0)
        with pytest.raises(HookCallError, match="has no argument 'colour'"):
            bench.dispatch.reduce(Hooks.discounted, 10.0, colour="red")
        with pytest.raises(HookCallError, match="by keyword"):
            bench.dispatch.reduce(Hooks.discounted, 10.0, "tea")

    def test_a_hook_that_takes_no_value(self, bench):
        """Without a spec, or an argument, the purpose of the seed is unknown."""
        bench.add("unspecified", a=lambda price: 1)

        for hook in ("note", "unspecified"):
            with pytest.raises(HookCallError, match="no specification with an argument for a seed"):
                bench.dispatch.reduce(hook, 10.0)


def test_all_are_refused_before_the_registry_is_ready(bench):
    """As every call."""

    def refuse():
        raise RegistryNotReady

    dispatch = Dispatcher(bench.manager, lambda *_: None, refuse)

    for ask in (
        lambda: dispatch.iterate(Hooks.search, q="tea"),
        lambda: dispatch.reduce(Hooks.discounted, 1),
        lambda: dispatch.explain(Hooks.search),
    ):
        with pytest.raises(RegistryNotReady):
            ask()
