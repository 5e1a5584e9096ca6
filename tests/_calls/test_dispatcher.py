"""Isolated calls: one plugin's fault costs one result."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import inspect
import itertools
import pickle
import sys
from types import SimpleNamespace

import pluggy
import pytest

from plugreg._calls.dispatcher import Dispatcher
from plugreg._calls.outcome import Outcome
from plugreg.exceptions import UnknownHookError
from plugreg.hooks import (
    HookCallError,
    PluginManager,
    PluginValidationError,
    hookimpl,
    hookspec,
)
from plugreg.records import PluginFailure, Stage

host_spec = pluggy.HookspecMarker("shop")


class Hooks:
    @hookspec
    def price(self, item, currency="EUR"):
        """Price of an item."""

    @hookspec(firstresult=True)
    def owner(self, item):
        """Owner of an item."""

    @hookspec(historic=True)
    def opened(self, shop):
        """Told of each opened shop."""


class Own(BaseException):
    """A plugin's own exception that is no Exception."""


class Bench:
    """A manager with a dispatcher, and the faults that were recorded."""

    def __init__(self):
        self.manager = PluginManager("shop")
        self.manager.add_hookspecs(Hooks)
        self.dispatch = Dispatcher(self.manager, self._record)
        self.call, self.first = self.dispatch.call, self.dispatch.first
        self.outcomes = self.dispatch.outcomes
        self.failures = []

    def _record(self, slug, hook, error):
        failure = PluginFailure.of(Stage.CALL, slug, error, subject=hook)
        self.failures.append(failure)
        return failure

    @property
    def faults(self):
        return [
            (failure.slug, failure.subject, failure.exception_type) for failure in self.failures
        ]

    def add(self, hook="price", /, **functions):
        """Exchange in a plugin for each function; they are called in the order given."""
        first = 999 - len(self.manager.list_name_plugin())
        self.manager.exchange(
            (),
            [
                self.manager.implementations(
                    SimpleNamespace(**{hook: hookimpl(item)}), name, (first - index,)
                )
                for index, (name, item) in enumerate(functions.items())
            ],
        )

    def wrap(self, hook, function, *, name="wrapper", old=False):
        """Exchange in a wrapper; a later one is the outer one."""
        marker = hookimpl(hookwrapper=True) if old else hookimpl(wrapper=True)
        plugin = SimpleNamespace(**{hook: marker(function)})
        rank = (len(self.manager.list_name_plugin()),)
        self.manager.exchange((), [self.manager.implementations(plugin, name, rank)])


@pytest.fixture
def bench():
    return Bench()


def raising(error):
    """Return an implementation that raises ``error``."""

    def price(item):
        raise error

    return price


def recursing(item):
    """Never ends by itself."""
    return recursing(item)


class TestCall:
    def test_a_list_without_none(self, bench):
        """The results are those that are not None, in call order; falsy ones count."""
        bench.add(a=lambda item: 0, b=lambda item: None, c=lambda item: [], d=lambda item: item)

        assert bench.call(Hooks.price, item="tea") == [0, [], "tea"]

    def test_nobody_answers(self, bench):
        """Without implementations it is an empty list, of a firstresult hook too."""
        assert bench.call(Hooks.price, item="tea") == []
        assert bench.call(Hooks.owner, item="tea") == []

    def test_by_name(self, bench):
        """A hook can be named by a text."""
        bench.add(a=lambda item: item)

        assert bench.call("price", item="tea") == ["tea"]
        assert bench.first("price", item="tea") == "tea"
        assert [outcome.value for outcome in bench.outcomes("price", item="tea")] == ["tea"]

    def test_firstresult(self, bench):
        """Of a firstresult hook there is at most one result, and later ones are not called."""
        called = []
        bench.add(
            "owner",
            a=lambda item: called.append("a"),
            b=lambda item: called.append("b") or "b",
            c=lambda item: called.append("c") or "c",
        )

        assert bench.call(Hooks.owner, item="tea") == ["b"]
        assert called == ["a", "b"]

    def test_first(self, bench):
        """The first result that is not None, of any hook; later ones are not called."""
        called = []
        bench.add(a=lambda item: None, b=lambda item: 0, c=lambda item: called.append("c") or 3)
        bench.add("owner", e=lambda item: "e", f=lambda item: called.append("f") or "f")

        assert bench.first(Hooks.price, item="tea") == 0
        assert bench.first(Hooks.owner, item="tea") == "e"
        assert called == []

    def test_first_of_nobody(self, bench):
        """When nobody has a result it is None, after everyone was asked."""
        bench.add(a=lambda item: None)

        assert bench.first(Hooks.price, item="tea") is None
        assert bench.first(Hooks.owner, item="tea") is None

    def test_one_fixed_set(self, bench):
        """A call reaches those who were in when it began, whatever a plugin exchanges meanwhile."""
        late = SimpleNamespace(price=hookimpl(lambda item: "late"))

        def changing(item):
            bench.manager.exchange(["c"], [bench.manager.implementations(late, "late", (0,))])
            return "changing"

        bench.add(a=changing, c=lambda item: "c")

        assert bench.call(Hooks.price, item="tea") == ["changing", "c"]
        bench.manager.exchange(["a"], ())
        assert bench.call(Hooks.price, item="tea") == ["late"]

    def test_the_hosts_own_plugins_take_part(self, bench):
        """An object that a host registered on the manager is called alike, and isolated alike."""
        bench.manager.register(SimpleNamespace(price=hookimpl(lambda item: "host")), "host")
        bench.manager.register(SimpleNamespace(price=hookimpl(raising(OSError()))), "bad")

        assert bench.call(Hooks.price, item="tea") == ["host"]
        assert bench.faults == [("bad", "price", "OSError")]


class TestArguments:
    def test_defaults_of_the_spec(self, bench):
        """An argument with a default in the spec may be left out, and is still handed over."""
        bench.add(a=lambda item, currency: (item, currency), b=lambda item, currency="b": currency)

        assert bench.call(Hooks.price, item="tea") == [("tea", "EUR"), "EUR"]
        assert bench.call(Hooks.price, item="tea", currency="CHF") == [("tea", "CHF"), "CHF"]

    def test_an_implementation_takes_what_it_wants(self, bench):
        """Fewer arguments than the spec's are enough for an implementation."""
        bench.add(a=lambda: "none", b=lambda currency: currency)

        assert bench.call(Hooks.price, item="tea") == ["none", "EUR"]

    @pytest.mark.parametrize("method", ["call", "first", "outcomes"])
    @pytest.mark.parametrize(
        ("args", "kwargs", "message"),
        [
            ((), {}, "'price' must provide argument 'item'"),
            ((), {"currency": "CHF"}, "'price' must provide argument 'item'"),
            ((), {"item": 1, "thing": 2}, "'price' has no argument 'thing'"),
            (("tea",), {}, "arguments of hook 'price' must be given by keyword"),
        ],
    )
    def test_wrong_arguments(self, bench, method, args, kwargs, message):
        """They are the caller's fault: an error, and no plugin is called."""
        called = []
        bench.add(a=lambda: called.append(1))

        with pytest.raises(HookCallError, match=message):
            getattr(bench, method)(Hooks.price, *args, **kwargs)

        assert called == bench.failures == []

    @pytest.mark.parametrize("method", ["call", "first", "outcomes"])
    def test_historic_hooks(self, bench, method):
        """They are called by pluggy's call_historic, and the error says so."""
        with pytest.raises(HookCallError, match=r"registry\.hook\.opened\.call_historic\(\)"):
            getattr(bench, method)(Hooks.opened, shop=1)

    @pytest.mark.parametrize("method", ["call", "first", "outcomes"])
    def test_unknown_hooks(self, bench, method):
        """A hook that nobody knows is an error with a near name."""
        with pytest.raises(UnknownHookError, match="did you mean 'price'") as caught:
            getattr(bench, method)("pricee", item="tea")

        assert caught.value.hook == "pricee"

    def test_a_hook_without_a_spec(self, bench):
        """One that only plugins know can be called, with all that they ask for."""
        bench.add("other", a=lambda: "a", b=lambda x: x)

        assert bench.call("other", x=1) == ["a", 1]
        with pytest.raises(HookCallError, match="must provide argument 'x'"):
            bench.call("other")
        assert bench.faults == []

    def test_a_hook_without_a_spec_has_optional_arguments(self, bench):
        """An argument with a default in the implementation may be left out; else it is passed."""
        bench.add("other", a=lambda x, y="own": (x, y), b=lambda y="b": y)

        assert bench.call("other", x=1) == [(1, "own"), "b"]
        assert bench.call("other", x=1, y=2, unasked=3) == [(1, 2), 2]
        assert [outcome.value for outcome in bench.outcomes("other", x=1)] == [(1, "own"), "b"]
        assert bench.first("other", x=1) == (1, "own")

    def test_many_different_lists_of_arguments(self, bench):
        """Each implementation gets its own arguments, however many lists of them there are."""
        names = ["a", "b", "c", "d"]
        orders = [order for size in range(5) for order in itertools.permutations(names, size)]

        def reversing(names):
            return eval(f"lambda {', '.join(names)}: [{', '.join(reversed(names))}]")

        bench.manager.add_hookspecs(SimpleNamespace(many=hookspec(lambda a, b, c, d: None)))
        bench.add("many", **{f"p{n}": reversing(order) for n, order in enumerate(orders)})
        given = {"c": 3, "a": 1, "d": 4, "b": 2}

        assert len(orders) == 65
        assert bench.call("many", **given) == [
            [given[name] for name in reversed(order)] for order in orders
        ]

    def test_defaults_behind_one_that_the_spec_does_not_have(self, bench):
        """A parameter that the spec does not know keeps its default; later ones are handed over."""
        bench.add(a=lambda item, other="own", currency="own": (item, other, currency))

        assert bench.call(Hooks.price, item="tea") == [("tea", "own", "EUR")]

    def test_a_decorated_implementation(self, bench):
        """Arguments with a default come by name, as the wrapped function's parameters say."""

        def price(item, currency="own"):
            return item, currency

        @functools.wraps(price)
        def decorated(item, **others):
            return price(item, **others)

        bench.add(a=decorated)

        assert bench.call(Hooks.price, item="tea", currency="CHF") == [("tea", "CHF")]

    def test_one_that_asks_for_what_no_call_gives(self, bench):
        """Where a spec came too late to refuse it, it is a fault of that plugin alone."""
        bench.add("other", bad=lambda x, y: x, c=lambda x: x)
        with pytest.raises(PluginValidationError):
            bench.manager.add_hookspecs(SimpleNamespace(other=hookspec(lambda x: None)))

        assert bench.call("other", x=1) == [1]
        assert bench.faults == [("bad", "other", bench.faults[0][2])]
        assert "'y'" in bench.failures[0].message

    def test_specs_that_are_methods_of_an_object(self, bench):
        """A hook can be named by the bound method of a specification object."""

        class More:
            @hookspec
            def weight(self, item): ...

        specs = More()
        bench.manager.add_hookspecs(specs)
        bench.add("weight", a=lambda item: item)

        assert (
            bench.call(specs.weight, item="tea") == bench.call(More.weight, item="tea") == ["tea"]
        )


FAULTS = {
    "Exception": lambda: raising(ValueError("no")),
    "SystemExit": lambda: raising(SystemExit(3)),
    "RecursionError": lambda: recursing,
    "BaseException": lambda: raising(Own()),
    "StopIteration": lambda: raising(StopIteration()),
    "CancelledError": lambda: raising(asyncio.CancelledError()),
}
TYPES = {
    "ValueError",
    "SystemExit",
    "RecursionError",
    f"{Own.__module__}.Own",
    "StopIteration",
    "asyncio.exceptions.CancelledError",
}


class TestFaults:
    @pytest.mark.parametrize("kind", FAULTS)
    def test_one_fault_costs_one_result(self, bench, kind):
        """Whatever kind of exception it is, the others are called and the plugin is named."""
        bench.add(a=lambda item: "a", bad=FAULTS[kind](), c=lambda item: "c")

        assert bench.call(Hooks.price, item="tea") == ["a", "c"]
        ((slug, hook, exception_type),) = bench.faults
        assert (slug, hook) == ("bad", "price")
        assert exception_type in TYPES

    @pytest.mark.parametrize("kind", FAULTS)
    def test_first_goes_on(self, bench, kind):
        """The first result is that of the next one when one fails."""
        bench.add(bad=FAULTS[kind](), c=lambda item: "c")
        bench.add("owner", bad2=FAULTS[kind](), c2=lambda item: "c2")

        assert bench.first(Hooks.price, item="tea") == "c"
        assert bench.first(Hooks.owner, item="tea") == "c2"
        assert [failure.slug for failure in bench.failures] == ["bad", "bad2"]

    @pytest.mark.parametrize("kind", FAULTS)
    def test_outcomes_have_the_error(self, bench, kind):
        """Each implementation has its outcome, the failing one with exception and record."""
        bench.add(a=lambda item: None, bad=FAULTS[kind](), c=lambda item: "c")

        a, bad, c = bench.outcomes(Hooks.price, item="tea")

        assert a == Outcome("a", seconds=a.seconds)
        assert c == Outcome("c", "c", seconds=c.seconds)
        assert (bad.slug, bad.value) == ("bad", None)
        assert isinstance(bad.error, BaseException)
        assert bench.failures == [bad.failure]
        assert min(a.seconds, bad.seconds, c.seconds) > 0

    def test_outcomes_are_frozen_values(self, bench):
        """That of a call can be compared, hashed, copied and pickled as one that a host makes."""
        bench.add(a=lambda item: item)

        [outcome] = bench.outcomes(Hooks.price, item="tea")
        made = Outcome("a", "tea", seconds=outcome.seconds)

        assert type(outcome) is Outcome
        assert {outcome, made, pickle.loads(pickle.dumps(outcome))} == {made}
        assert dataclasses.replace(outcome, value="milk").value == "milk"
        assert repr(outcome) == repr(made)
        with pytest.raises(dataclasses.FrozenInstanceError):
            outcome.value = "milk"

    @pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit])
    @pytest.mark.parametrize("method", ["call", "first", "outcomes"])
    def test_what_belongs_to_the_process_passes(self, bench, method, error):
        """It leaves the call at once, and is nobody's fault."""
        called = []
        bench.add(bad=raising(error()), c=lambda item: called.append("c"))

        with pytest.raises(error):
            getattr(bench, method)(Hooks.price, item="tea")

        assert called == bench.failures == []

    @pytest.mark.parametrize("method", ["call", "first", "outcomes"])
    def test_a_cancellation_of_a_plugins_own_is_its_fault(self, bench, method):
        """Where nobody cancels the task that calls, it goes on, and the plugin has failed."""
        bench.add(bad=raising(asyncio.CancelledError()), c=lambda item: "c")

        async def main():
            value = getattr(bench, method)(Hooks.price, item="tea")
            await asyncio.sleep(0)
            return value

        value = asyncio.run(main())

        results = [entry.value for entry in value] if method == "outcomes" else value
        assert results == {"call": ["c"], "first": "c", "outcomes": [None, "c"]}[method]
        assert [failure.slug for failure in bench.failures] == ["bad"]

    @pytest.mark.parametrize("method", ["call", "first", "outcomes"])
    def test_the_cancellation_of_the_calling_task_passes(self, bench, method):
        """An exception that a plugin lets through while the task is being cancelled is no fault."""
        bench.add(bad=raising(asyncio.CancelledError()))

        async def main():
            asyncio.current_task().cancel()
            getattr(bench, method)(Hooks.price, item="tea")

        with pytest.raises(asyncio.CancelledError):
            asyncio.run(main())

        assert bench.failures == []

    def test_outcomes_ignore_firstresult(self, bench):
        """Everyone is asked, of a firstresult hook too."""
        bench.add("owner", a=lambda item: "a", b=lambda item: "b")

        assert [outcome.value for outcome in bench.outcomes(Hooks.owner, item="tea")] == ["a", "b"]

    @pytest.mark.parametrize("method", ["call", "first", "outcomes"])
    def test_an_async_implementation(self, bench, method):
        """A synchronous call cannot wait for it: its fault, and no coroutine is left behind."""

        async def price(item):
            return item

        bench.add(bad=price, c=lambda item: "c")

        getattr(bench, method)(Hooks.price, item="tea")

        assert bench.faults == [("bad", "price", "TypeError")]
        assert "is async" in bench.failures[0].message

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="Python marks none")
    def test_an_implementation_that_is_marked_as_async(self, bench):
        """It is none of a synchronous call's either, and its code does not run."""
        called = []

        @inspect.markcoroutinefunction
        def price(item):
            called.append(item)

        bench.add(bad=price)

        bench.call(Hooks.price, item="tea")

        assert bench.faults == [("bad", "price", "TypeError")]
        assert called == []

    @pytest.mark.parametrize("old", [True, False])
    def test_an_async_wrapper(self, bench, old):
        """Nor is one left behind of a wrapper, which nothing has checked without a spec."""

        async def other(): ...

        bench.add("other", a=lambda: "a")
        bench.wrap("other", other, old=old)

        assert bench.call("other") == ["a"]
        assert bench.faults == [("wrapper", "other", "TypeError")]


class TestTell:
    def test_only_the_one_is_told(self, bench):
        """One plugin's own hook is called, with defaults of its own overridden, and no other's."""
        called = []
        one = SimpleNamespace(price=hookimpl(lambda item, currency="own": called.append(currency)))
        parsed = bench.manager.implementations(one, "one")
        bench.add(other=lambda item: called.append("other"))

        bench.dispatch.notify(parsed, "price", item="tea", currency="CHF")
        bench.dispatch.notify(parsed, "owner", item="tea")

        assert called == ["CHF"]

    def test_a_fault_is_recorded(self, bench):
        """It is the plugin's by its slug, and does not reach the caller, though it be async."""

        async def owner(item): ...

        both = SimpleNamespace(price=hookimpl(raising(SystemExit())), owner=hookimpl(owner))
        parsed = bench.manager.implementations(both, "both", name="Its name on the manager")

        bench.dispatch.notify(parsed, "price", item="tea")
        bench.dispatch.notify(parsed, "owner", item="tea")

        assert bench.faults == [("both", "price", "SystemExit"), ("both", "owner", "TypeError")]


def test_the_limit_of_recursion_is_left_alone(bench):
    """A plugin that recurses does so really, to the limit that the process has."""
    depth = []

    def deep(item, level=0):
        depth[:] = [level]
        return deep(item, level + 1)

    bench.add(bad=lambda item: deep(item), c=lambda item: "c")

    assert bench.call(Hooks.price, item="tea") == ["c"]
    assert depth[0] > sys.getrecursionlimit() / 2
