"""Wrappers round isolated calls: one that fails costs only itself."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from plugreg._calls.dispatcher import Dispatcher
from plugreg.hooks import PluginManager, hookimpl, hookspec
from plugreg.records import PluginFailure, Stage


class Hooks:
    @hookspec
    def price(self, item):
        """Price of an item."""

    @hookspec(firstresult=True)
    def owner(self, item):
        """Owner of an item."""


new_style = hookimpl(wrapper=True)
old_style = hookimpl(hookwrapper=True)


class Bench:
    """A manager in which ``a`` and ``b`` answer both hooks, and a dispatcher over it."""

    def __init__(self):
        self.manager = PluginManager("shop")
        self.manager.add_hookspecs(Hooks)
        self.dispatch = Dispatcher(self.manager, self._record)
        self.failures = []
        self.add(b=hookimpl(lambda item: "b"))
        self.add(a=hookimpl(lambda item: "a"))

    def _record(self, slug, hook, error):
        failure = PluginFailure.of(Stage.CALL, slug, error, subject=hook)
        self.failures.append(failure)
        return failure

    def add(self, hooks=("price", "owner"), /, **functions):
        """Exchange in a plugin for each function; a later one is the outer one."""
        for name, item in functions.items():
            rank = (len(self.manager.list_name_plugin()),)
            plugin = SimpleNamespace(**dict.fromkeys(hooks, item))
            self.manager.exchange((), [self.manager.implementations(plugin, name, rank)])

    def call(self):
        return self.dispatch.call(Hooks.price, item="tea")

    @property
    def faulty(self):
        return [failure.slug for failure in self.failures]


@pytest.fixture
def bench():
    return Bench()


class TestShape:
    """Wrappers see, and may return, values of the spec's type."""

    @pytest.fixture
    def seen(self, bench):
        seen = []

        @new_style
        def wrapper(item):
            result = yield
            seen.append(result)
            return result

        bench.add(wrapper=wrapper)
        return seen

    def test_call(self, bench, seen):
        """A list of all results, without None."""
        bench.add(nothing=hookimpl(lambda item: None))

        assert bench.call() == ["a", "b"]
        assert seen == [["a", "b"]]

    def test_first(self, bench, seen):
        """A list of at most one in ``first``, unless the spec says firstresult."""
        assert bench.dispatch.first(Hooks.price, item="tea") == "a"
        assert seen == [["a"]]
        bench.manager.exchange(["a", "b"], ())
        assert bench.dispatch.first(Hooks.price, item="tea") is None
        assert seen == [["a"], []]

    @pytest.mark.parametrize(("method", "result"), [("call", ["a"]), ("first", "a")])
    def test_firstresult(self, bench, seen, method, result):
        """The single value, whether called by ``call`` or ``first``."""
        assert getattr(bench.dispatch, method)(Hooks.owner, item="tea") == result
        assert seen == ["a"]

    def test_outcomes_run_no_wrappers(self, bench, seen):
        """Outcomes are of implementations alone."""
        outcomes = bench.dispatch.outcomes(Hooks.price, item="tea")

        assert [outcome.slug for outcome in outcomes] == ["a", "b"]
        assert seen == []


class TestChanging:
    def test_new_style(self, bench):
        """A wrapper's return value is seen by the outer wrapper and the caller, None left out."""

        @new_style
        def inner(item):
            return [*(yield), "inner"]

        @new_style
        def outer(item):
            return [*(yield), None, "outer"]

        bench.add(inner=inner, outer=outer)

        assert bench.call() == ["a", "b", "inner", "outer"]

    def test_old_style(self, bench):
        """An old-style wrapper changes the result with force_result, or keeps it."""

        @old_style
        def forcing(item):
            result = yield
            result.force_result([*result.get_result(), "forced"])

        @old_style
        def looking(item):
            result = yield
            assert result.exception is None

        bench.add(looking=looking, forcing=forcing)

        assert bench.call() == ["a", "b", "forced"]
        assert bench.failures == []

    def test_firstresult(self, bench):
        """Of a firstresult hook a wrapper may give any value, None too."""

        @new_style
        def upper(item):
            return (yield).upper()

        @new_style
        def nothing(item):
            yield

        bench.add(upper=upper)
        assert bench.dispatch.first(Hooks.owner, item="tea") == "A"
        bench.add(nothing=nothing)
        assert bench.dispatch.first(Hooks.owner, item="tea") is None
        assert bench.dispatch.call(Hooks.owner, item="tea") == []
        assert bench.failures == []

    def test_they_see_no_fault(self, bench):
        """A fault inside has cost its result before a wrapper sees the list."""

        @new_style
        def wrapper(item):
            return [*(yield), "seen"]

        bench.add(bad=hookimpl(lambda item: 1 / 0), wrapper=wrapper)

        assert bench.call() == ["a", "b", "seen"]
        assert bench.faulty == ["bad"]


@new_style
def fails_in_setup(item):
    raise SystemExit
    yield


@new_style
def fails_in_teardown(item):
    yield
    raise SystemExit


@new_style
def empties_the_list_and_fails(item):
    results = yield
    results.clear()
    raise ValueError(item)


@new_style
def does_not_yield(item):
    return ["wrong"]
    yield


@new_style
def yields_twice(item):
    yield
    yield


@new_style
def ignores_being_closed(item):
    yield
    try:
        yield
    except GeneratorExit:
        yield


@new_style
def returns_no_list(item):
    yield
    return "ab"


@new_style
def returns_nothing(item):
    yield


@old_style
def old_fails_in_setup(item):
    raise ValueError(item)
    yield


@old_style
def old_fails_in_teardown(item):
    yield
    raise ValueError(item)


@old_style
def old_does_not_yield(item):
    return
    yield


@old_style
def old_yields_twice(item):
    yield
    yield


@old_style
def forces_an_exception(item):
    result = yield
    result.force_exception(ValueError(item))


@old_style
def forces_no_list(item):
    result = yield
    result.force_result("ab")


# fmt: off
FAILING = (
    fails_in_setup, fails_in_teardown, empties_the_list_and_fails, does_not_yield, yields_twice,
    ignores_being_closed, returns_no_list, returns_nothing, old_fails_in_setup,
    old_fails_in_teardown, old_does_not_yield, old_yields_twice, forces_an_exception,
    forces_no_list,
)
# fmt: on


class TestFailing:
    @pytest.mark.parametrize("wrapper", FAILING, ids=lambda value: value.__name__)
    @pytest.mark.parametrize("place", ["inner", "outer"])
    def test_it_costs_only_itself(self, bench, wrapper, place):
        """The results, and their changes by other wrappers, are as if it were not there."""

        @new_style
        def good(item):
            return [*(yield), "good"]

        bench.add(**({"bad": wrapper, "good": good} if place == "inner" else {"good": good}))
        if place == "outer":
            bench.add(bad=wrapper)

        assert bench.call() == ["a", "b", "good"]
        assert bench.faulty == ["bad"]
        assert bench.dispatch.first(Hooks.price, item="tea") == "a"
        assert bench.faulty == ["bad", "bad"]

    @pytest.mark.parametrize(
        "wrapper", [fails_in_setup, fails_in_teardown, yields_twice, forces_an_exception]
    )
    def test_of_a_firstresult_hook(self, bench, wrapper):
        """So it is where the spec says firstresult."""
        bench.add(bad=wrapper)

        assert bench.dispatch.first(Hooks.owner, item="tea") == "a"
        assert bench.dispatch.call(Hooks.owner, item="tea") == ["a"]
        assert bench.faulty == ["bad", "bad"]

    def test_no_generator_at_all(self, bench):
        """Of a hook without a spec nothing was checked: then it is a fault of the call."""
        bench.add(["other"], new=new_style(lambda: 5), old=old_style(lambda: 5))

        assert bench.dispatch.call("other") == []
        assert sorted(bench.faulty) == ["new", "old"]

    def test_old_style_generators_are_closed(self, bench):
        """One that yields twice is ended with the call, though someone holds its generator."""
        held = []

        def wrapper():
            held.append(old_yields_twice(None))
            return held[0]

        bench.add(["other"], old=old_style(wrapper))

        assert bench.dispatch.call("other") == []
        assert bench.faulty == ["old"]
        assert held[0].gi_frame is None


def interrupt(item):
    raise KeyboardInterrupt


ALL = ["outer entered", "inner entered", "inner closed", "outer closed"]


class TestInterruption:
    """KeyboardInterrupt passes, but the wrappers that were entered are closed before."""

    @pytest.fixture
    def events(self, bench):
        events = []

        def recording(name):
            def wrapper(item):
                events.append(f"{name} entered")
                try:
                    yield
                finally:
                    events.append(f"{name} closed")

            return wrapper

        bench.add(inner=new_style(recording("inner")), outer=old_style(recording("outer")))
        return events

    def interrupted(self, bench, events):
        """Return the events while the exception, and so every frame, is still held."""
        with pytest.raises(KeyboardInterrupt) as caught:
            bench.call()
        assert caught.value.__traceback__ is not None
        return list(events)

    def test_inside(self, bench, events):
        """Raised by an implementation: closed in reverse of the order of entering."""
        bench.add(bad=hookimpl(interrupt))

        assert self.interrupted(bench, events) == ALL
        assert bench.failures == []

    def test_in_the_setup_of_a_wrapper(self, bench, events):
        """Those further out were entered, and are closed."""

        @hookimpl(wrapper=True, trylast=True)
        def innermost(item):
            raise KeyboardInterrupt
            yield

        bench.add(innermost=innermost)

        assert self.interrupted(bench, events) == ALL

    def test_in_the_teardown_of_a_wrapper(self, bench, events):
        """Those further out are closed."""

        @hookimpl(wrapper=True, trylast=True)
        def innermost(item):
            yield
            raise KeyboardInterrupt

        bench.add(innermost=innermost)

        assert self.interrupted(bench, events) == ALL

    def test_closing_may_fail(self, bench, events):
        """A wrapper that fails while it is closed keeps no other from being closed."""

        @hookimpl(wrapper=True, trylast=True)
        def innermost(item):
            try:
                yield
            finally:
                raise ValueError(item)

        bench.add(innermost=innermost, bad=hookimpl(interrupt))

        assert self.interrupted(bench, events) == ALL
