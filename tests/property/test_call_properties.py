"""Isolated calls against a model of a few lines, for implementations of every signature."""

from __future__ import annotations

import inspect
import sys
from types import SimpleNamespace
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from plugreg._calls.dispatcher import Dispatcher
from plugreg.hooks import PluginManager, hookimpl, hookspec

# Names that the compiled loop uses itself, or builtins that it needs, are arguments like others.
NAMES = ["item", "results", "calls", "keep", "value0", "type", "picked"]


def function(parameters, act):
    """Return a function with this signature, which hands its arguments on as a mapping."""

    def inner(*args):
        return act(dict(zip(parameters, args, strict=True)))

    written = (name if default is None else f"{name}={default!r}" for name, default in parameters)
    names = "".join(f"{name}, " for name, _ in parameters)
    parameters = [name for name, _ in parameters]
    return eval(f"lambda {', '.join(written)}: inner({names})", {"inner": inner})


@st.composite
def parameters(draw, names):
    """Some of the names in any order, the last of them with defaults of their own."""
    chosen = draw(st.lists(st.sampled_from(names), unique=True)) if names else []
    plain = draw(st.integers(0, len(chosen)))
    return [(name, None if place < plain else f"own {name}") for place, name in enumerate(chosen)]


class Implementation(NamedTuple):
    """A plugin's implementation: its signature, and its behaviour in a call."""

    parameters: list[tuple[str, str | None]]
    does: str

    def plugin(self, name, called):
        def act(arguments):
            called.append((name, arguments))
            return {
                "answers": lambda: (name, arguments),
                "declines": lambda: None,
                "fails": lambda: 1 // 0,
                "exits": lambda: sys.exit(name),
                "awaits": self.coroutine,
            }[self.does]()

        return SimpleNamespace(price=hookimpl(function(self.parameters, act)))

    async def coroutine(self):
        raise AssertionError("awaited")


@st.composite
def benches(draw):
    """A specification, implementations of it, and arguments that a call may give."""
    spec = draw(parameters(NAMES))
    doings = st.sampled_from(["answers", "answers", "declines", "fails", "exits", "awaits"])
    known = [name for name, _ in spec]
    impls = draw(st.lists(st.builds(Implementation, parameters(known), doings), max_size=8))
    given = [name for name, default in spec if default is None or draw(st.booleans())]
    return spec, impls, {name: f"given {name}" for name in draw(st.permutations(given))}


def expected(spec, impls, given, *, first=False):
    """Return the calls with their arguments, the results, and the faulty plugins."""
    values = dict(spec) | given
    called, results, faults = [], [], []
    for number, impl in enumerate(impls):
        arguments = {name: values[name] for name, _ in impl.parameters}
        called.append((f"p{number}", arguments))
        if impl.does == "answers":
            results.append((f"p{number}", arguments))
            if first:
                break
        elif impl.does != "declines":
            faults.append(f"p{number}")
    return called, results, faults


def set_up(spec, impls, called):
    manager = PluginManager("shop")
    signature = function(spec, lambda _: None)
    signature.__name__ = "price"
    manager.add_hookspecs(SimpleNamespace(price=hookspec(signature)))
    plugins = [impl.plugin(f"p{number}", called) for number, impl in enumerate(impls)]
    manager.exchange(
        (),
        [
            manager.implementations(plugin, f"p{number}", (-number,))
            for number, plugin in enumerate(plugins)
        ],
    )
    faults = []
    return manager, Dispatcher(manager, lambda slug, *_: faults.append(slug)), faults, signature


@settings(deadline=None)
@given(benches(), st.booleans())
def test_each_gets_what_it_asks_for(bench, by_name):
    """Everyone is called in order with its own arguments; one that fails costs its result alone."""
    spec, impls, arguments = bench
    called = []
    _, dispatcher, faults, signature = set_up(spec, impls, called)
    hook = "price" if by_name else signature

    results = dispatcher.call(hook, **arguments)

    assert (called, results, faults) == expected(spec, impls, arguments)

    called.clear()
    faults.clear()
    outcomes = dispatcher.outcomes(hook, **arguments)

    assert [outcome.slug for outcome in outcomes] == [f"p{number}" for number in range(len(impls))]
    assert [outcome.value for outcome in outcomes if outcome.value is not None] == results
    assert [outcome.slug for outcome in outcomes if outcome.error is not None] == faults
    assert (called, results, faults) == expected(spec, impls, arguments)

    called.clear()
    faults.clear()
    found = dispatcher.first(hook, **arguments)

    assert (called, [] if found is None else [found], faults) == expected(
        spec, impls, arguments, first=True
    )


@settings(deadline=None)
@given(benches(), st.data())
def test_nobody_is_called_with_wrong_arguments(bench, data):
    """One that is missing or unknown is the caller's fault, however many there are."""
    spec, impls, arguments = bench
    called = []
    _, dispatcher, faults, _ = set_up(spec, impls, called)
    required = [name for name, default in spec if default is None]
    wrong = dict(arguments)
    if required and data.draw(st.booleans()):
        del wrong[data.draw(st.sampled_from(required))]
        if data.draw(st.booleans()):
            wrong["unknown"] = 1
    else:
        wrong["unknown"] = 1

    try:
        dispatcher.call("price", **wrong)
    except Exception as error:
        assert type(error).__name__ == "HookCallError"
        assert error.__cause__ is None
        assert error.__context__ is None
    else:
        raise AssertionError("was not refused")

    assert (called, faults) == ([], [])


@settings(deadline=None)
@given(benches(), st.data())
def test_a_call_keeps_the_set_it_began_with(bench, data):
    """Whoever comes or goes during a call, by exchange or by the host's hand, matters to the next.

    A call that an implementation begins itself has the set of that moment.
    """
    spec, impls, arguments = bench
    called, inner = [], []
    manager, dispatcher, _, _ = set_up(spec, impls, called)
    names = [f"p{number}" for number in range(len(impls))]
    leaving = data.draw(st.sets(st.sampled_from(names))) if names else set()

    @hookimpl(tryfirst=True)
    def price():
        if inner:
            return None
        late = SimpleNamespace(price=hookimpl(lambda: "late"))
        manager.exchange(leaving, [manager.implementations(late, "late")])
        manager.register(SimpleNamespace(price=hookimpl(lambda: "host")), "host")
        inner.append(None)
        inner.append(dispatcher.call("price", **arguments))
        inner.append(len(called))
        return "changing"

    manager.register(SimpleNamespace(price=price), "changing")

    results = dispatcher.call("price", **arguments)

    _, before, _ = expected(spec, impls, arguments)
    after = [item for item in before if item[0] not in leaving]
    assert results == ["changing", *before]
    assert inner[1] == ["host", *after, "late"]
    assert called[inner[2] :] == expected(spec, impls, arguments)[0]


def test_signatures_are_real():
    """The functions that are made here have the parameters that were asked for."""
    made = function([("item", None), ("type", "own type")], lambda arguments: arguments)

    assert str(inspect.signature(made)) == "(item, type='own type')"
    assert made(1) == {"item": 1, "type": "own type"}
