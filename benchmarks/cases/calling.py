"""Calling a hook with so many implementations, each of which does next to nothing."""

from __future__ import annotations

import inspect
from typing import Any

from model import Budget, Case, How, NotThereError, Place, Timed, floor, ours, peer, statement


def functions_of(place: Place, name: str = "price") -> list:
    from cases.objects import answers

    return [getattr(each, name) for each in answers(place.size)]


def bare_loop(place: Place) -> Timed:
    def call(functions: list, item: str) -> list:
        return [each(item) for each in functions]

    return statement("call(functions, item='tea')", call=call, functions=functions_of(place))


def guarded_loop(place: Place) -> Timed:
    """Add what isolating and naming cost at least."""

    def call(rows: list, item: str) -> list:
        results = []
        for name, function in rows:
            try:
                results.append((name, function(item)))
            except Exception as error:  # noqa: BLE001
                results.append((name, error))
        return results

    rows = [(f"plugin-{n}", each) for n, each in enumerate(functions_of(place))]
    return statement("call(rows, item='tea')", call=call, rows=rows)


def registry(text: str, **options: Any) -> Any:
    """Return what prepares a statement about a registry with so many plugins."""

    def start(place: Place) -> Timed:
        from cases.objects import Hooks, answers, plain_registry, registry_of
        from plugreg import PluginRegistry

        for each in options:
            if each not in inspect.signature(PluginRegistry).parameters:
                raise NotThereError(f"not there yet: PluginRegistry({each}=…)")
        if not options:
            return statement(text, registry=plain_registry(place.size), Hooks=Hooks)
        made = registry_of(answers(place.size), **options)
        return statement(text, registry=made, Hooks=Hooks)

    return start


def wrapped(text: str) -> Any:
    def start(place: Place) -> Timed:
        from cases.objects import Hooks, wrapped_registry

        return statement(text, registry=wrapped_registry(place.size), Hooks=Hooks)

    return start


def pluggy(text: str) -> Any:
    def start(place: Place) -> Timed:
        from cases.objects import plain_manager

        return statement(text, manager=plain_manager(place.size))

    return start


def pluggy_wrapped(place: Place) -> Timed:
    from cases.objects import Wrapper, answers, manager_of

    manager = manager_of([*answers(place.size), Wrapper()])
    return statement("manager.hook.price(item='tea')", manager=manager)


def stevedore(place: Place) -> Timed:
    from stevedore.extension import Extension, ExtensionManager

    from cases.objects import answers

    manager = ExtensionManager.make_test_instance(
        [Extension(f"plugin-{n}", None, None, each) for n, each in enumerate(answers(place.size))]
    )
    return statement("manager.map_method('price', 'tea')", manager=manager)


def blinker(place: Place) -> Timed:
    from blinker import Signal

    from cases.objects import answers

    signal = Signal()
    for each in answers(place.size):
        signal.connect(lambda _, item, price=each.price: price(item), weak=False)
    return statement("signal.send(item='tea')", signal=signal)


def first_loop(place: Place) -> Timed:
    def call(functions: list, item: str) -> str | None:
        for each in functions:
            found = each(item)
            if found is not None:
                return found
        return None

    functions = functions_of(place, "owner")[::-1]
    return statement("call(functions, item='tea')", call=call, functions=functions)


def wrapped_loop(place: Place) -> Timed:
    def watch() -> Any:
        return (yield)

    def call(functions: list, item: str) -> list:
        inside = watch()
        next(inside)
        try:
            inside.send([each(item) for each in functions])
        except StopIteration as end:
            return end.value
        raise RuntimeError

    return statement("call(functions, item='tea')", call=call, functions=functions_of(place))


CALL = "registry.call(Hooks.price, item='tea')"
SIZES = (1, 10, 100, 1_000)
MANY = SIZES[1:]
COMMON = {"how": How.LOOP, "counting": "implementations", "sizes": SIZES}
CASES = {
    each.name: each
    for each in (
        Case(
            name="all results",
            contestants=(
                floor("bare loop", bare_loop),
                floor("loop with try and name", guarded_loop),
                ours("plugreg, call", registry(CALL)),
                ours("plugreg, call, observed", registry(CALL, observe=True)),
                ours("plugreg, outcomes", registry("registry.outcomes(Hooks.price, item='tea')")),
                ours("plugreg, hook (not isolated)", registry("registry.hook.price(item='tea')")),
                peer("pluggy, hook", pluggy("manager.hook.price(item='tea')")),
                peer("stevedore, map", stevedore),
                peer("blinker, send", blinker),
            ),
            budgets=(
                Budget(of="plugreg, call", limit=2.3, against="bare loop", sizes=MANY),
                Budget(of="plugreg, call", limit=1 / 3, against="pluggy, hook", sizes=MANY),
            ),
            **COMMON,
        ),
        Case(
            name="the first result, from the last one asked",
            contestants=(
                floor("bare loop", first_loop),
                ours("plugreg, first", registry("registry.first(Hooks.owner, item='tea')")),
                ours("plugreg, hook (not isolated)", registry("registry.hook.owner(item='tea')")),
                peer("pluggy, hook", pluggy("manager.hook.owner(item='tea')")),
            ),
            **COMMON,
        ),
        Case(
            name="all results, in one wrapper",
            contestants=(
                floor("bare loop in a generator", wrapped_loop),
                ours("plugreg, call", wrapped(CALL)),
                ours("plugreg, hook (not isolated)", wrapped("registry.hook.price(item='tea')")),
                peer("pluggy, hook", pluggy_wrapped),
            ),
            **COMMON,
        ),
    )
}
