"""Calling a hook with so many implementations, each of which does next to nothing."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any

from model import (
    Budget,
    Case,
    How,
    Kind,
    NotThereError,
    Place,
    Timed,
    floor,
    ours,
    peer,
    statement,
)


def functions_of(place: Place, name: str = "price") -> list:
    from cases.objects import answers

    return [getattr(plugin, name) for plugin in answers(place.size)]


def bare_loop(place: Place) -> Timed:
    def call(functions: list, item: str) -> list:
        return [function(item) for function in functions]

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

    rows = [(f"plugin-{n}", entry) for n, entry in enumerate(functions_of(place))]
    return statement("call(rows, item='tea')", call=call, rows=rows)


def registry(text: str, **options: Any) -> Any:
    """Return what prepares a statement about a registry with so many plugins."""

    def start(place: Place) -> Timed:
        from cases.objects import Hooks, answers, plain_registry, registry_of
        from plugreg import PluginRegistry

        for option in options:
            if option not in inspect.signature(PluginRegistry).parameters:
                raise NotThereError(f"not there yet: PluginRegistry({option}=…)")
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
        [
            Extension(f"plugin-{n}", None, None, plugin)
            for n, plugin in enumerate(answers(place.size))
        ]
    )
    return statement("manager.map_method('price', 'tea')", manager=manager)


def blinker(place: Place) -> Timed:
    from blinker import Signal

    from cases.objects import answers

    signal = Signal()
    for plugin in answers(place.size):
        signal.connect(lambda _, item, price=plugin.price: price(item), weak=False)
    return statement("signal.send(item='tea')", signal=signal)


def first_loop(place: Place) -> Timed:
    def call(functions: list, item: str) -> str | None:
        for function in functions:
            found = function(item)
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
            inside.send([function(item) for function in functions])
        except StopIteration as end:
            return end.value
        raise RuntimeError

    return statement("call(functions, item='tea')", call=call, functions=functions_of(place))


class IdleObserver:
    """A host's observer that does nothing: its two calls take 0.1 µs."""

    def began(self, slug: str, hook: str) -> None: ...

    def ended(self, token: object, error: BaseException | None) -> None: ...


ROUNDS = 25
"""How many rounds an event loop makes, of which the quickest counts."""


def on_a_loop(start: Callable[[Place], Callable[[], Awaitable[object]]]) -> Any:
    """Return what measures the seconds of one call on an event loop that goes on."""

    async def measure(call: Callable[[], Awaitable[object]], calls: int) -> float:
        times = []
        for _ in range(ROUNDS):
            began = perf_counter()
            for _ in range(calls):
                await call()
            times.append((perf_counter() - began) / calls)
        return min(times)

    def prepare(place: Place) -> Callable[[], float]:
        call = start(place)

        def run() -> float:
            gc.disable()
            try:
                return asyncio.run(measure(call, max(1, 100 // place.size)))
            finally:
                gc.enable()

        return run

    return prepare


async def answer(item: str) -> float:  # noqa: ARG001
    return 1.5


def gather(place: Place) -> Callable[[], Awaitable[object]]:
    functions = [answer] * place.size

    async def call() -> Sequence[object]:
        return await asyncio.gather(*[function("tea") for function in functions])

    return call


def to_thread(place: Place) -> Callable[[], Awaitable[object]]:
    functions = functions_of(place)

    async def call() -> Sequence[object]:
        return [await asyncio.to_thread(function, "tea") for function in functions]

    return call


def acall(*, is_async: bool) -> Any:
    def start(place: Place) -> Callable[[], Awaitable[object]]:
        from types import SimpleNamespace

        from cases.objects import Hooks, answers, registry_of
        from plugreg import hookimpl

        plugins: list[object] = [*answers(place.size)]
        if is_async:

            def make() -> Any:
                async def price(item: str) -> float:  # noqa: ARG001
                    return 1.5

                return price

            plugins = [SimpleNamespace(price=hookimpl(make())) for _ in plugins]
        made = registry_of(plugins)
        return lambda: made.acall(Hooks.price, item="tea")

    return start


def for_each(limit: float, of: str, against: str, sizes: Sequence[int]) -> tuple[Budget, ...]:
    """Return budgets of so many seconds more for each implementation."""
    return tuple(
        Budget(of=of, limit=limit * size, kind=Kind.PLUS, against=against, sizes=(size,))
        for size in sizes
    )


CALL = "registry.call(Hooks.price, item='tea')"
ITERATE = "for _ in registry.dispatch.iterate(Hooks.price, item='tea'): pass"
SIZES = (1, 10, 100, 1_000)
MANY = SIZES[1:]
COMMON = {"how": How.LOOP, "counting": "implementations", "sizes": SIZES}
CASES = {
    case.name: case
    for case in (
        Case(
            name="all results",
            contestants=(
                floor("bare loop", bare_loop),
                floor("loop with try and name", guarded_loop),
                ours("plugreg, call", registry(CALL)),
                ours("plugreg, call, observed", registry(CALL, observe=True)),
                ours(
                    "plugreg, call, observed by the host",
                    registry(CALL, observe=[IdleObserver()]),
                ),
                ours("plugreg, iterate", registry(ITERATE)),
                ours("plugreg, outcomes", registry("registry.outcomes(Hooks.price, item='tea')")),
                ours("plugreg, hook (not isolated)", registry("registry.hook.price(item='tea')")),
                peer("pluggy, hook", pluggy("manager.hook.price(item='tea')")),
                peer("stevedore, map", stevedore),
                peer("blinker, send", blinker),
            ),
            budgets=(
                Budget(of="plugreg, call", limit=2.3, against="bare loop", sizes=MANY),
                Budget(of="plugreg, call", limit=1 / 3, against="pluggy, hook", sizes=MANY),
                *for_each(1.0e-6, "plugreg, call, observed", "plugreg, call", SIZES),
                *for_each(1.1e-6, "plugreg, call, observed by the host", "plugreg, call", SIZES),
                *for_each(0.6e-6, "plugreg, outcomes", "bare loop", SIZES),
                *for_each(0.6e-6, "plugreg, iterate", "bare loop", SIZES),
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
            budgets=(Budget(of="plugreg, call", limit=1.0, against="pluggy, hook"),),
            **COMMON,
        ),
        Case(
            name="coroutines that do nothing",
            contestants=(
                floor("asyncio.gather", on_a_loop(gather)),
                ours("plugreg, acall", on_a_loop(acall(is_async=True))),
            ),
            budgets=(Budget(of="plugreg, acall", limit=1.5, against="asyncio.gather"),),
            how=How.VALUE,
            counting="implementations",
            sizes=SIZES[:3],
        ),
        Case(
            name="functions that do nothing, from a coroutine",
            contestants=(
                floor("asyncio.to_thread for each", on_a_loop(to_thread)),
                ours("plugreg, acall", on_a_loop(acall(is_async=False))),
            ),
            budgets=(Budget(of="plugreg, acall", limit=1.3, against="asyncio.to_thread for each"),),
            how=How.VALUE,
            counting="implementations",
            sizes=SIZES[:3],
        ),
    )
}
