"""Results of asynchronous calls: their order, their kinds, and what is no result."""

from __future__ import annotations

import functools

import pytest
from aio_bench import Bench, Hooks, anyio, impl, raising, raising_async
from hypothesis import given, settings
from hypothesis import strategies as st

from plugreg.exceptions import UnknownHookError
from plugreg.hooks import HookCallError


class TestResults:
    def test_call_order_not_that_of_ending(self, bench):
        """Results stand in call order, though each async one ends after the one behind it."""

        async def main():
            ended = {name: anyio.Event() for name in "bcd"}

            async def a(item):
                await ended["b"].wait()
                return "a"

            async def b(item):
                await ended["c"].wait()
                ended["b"].set()
                return "b"

            async def c(item):
                ended["c"].set()
                return "c"

            bench.add(a=a, b=b, c=c)
            return await bench.dispatch.acall(Hooks.price, item="tea")

        assert bench.run(main) == ["a", "b", "c"]

    def test_all_kinds_of_implementations(self, bench):
        """Plain, async, partial, and plain ones that give something to await, without None."""

        async def price(item, currency):
            await anyio.sleep(0)
            return f"{item} {currency}"

        async def nothing(item):
            return None

        class Later:
            def __await__(self):
                return (yield from price("later", "EUR").__await__())

        bench.add(
            plain=lambda item: item,
            none=lambda item: None,
            coroutine=price,
            nothing=nothing,
            handed=lambda item, currency: price(item, currency),
            partial=impl(functools.partial(price, currency="CHF")),
            awaitable=lambda item: Later(),
            falsy=lambda item: [],
        )

        assert bench.call() == ["tea", "tea EUR", "tea EUR", "tea CHF", "later EUR", []]
        assert bench.faults == []

    def test_optional_arguments_of_an_async_implementation(self, bench):
        """An async implementation may have parameters with defaults, as a plain one may."""

        async def price(item, currency="none"):
            return currency

        bench.add(a=price)

        assert bench.call() == ["EUR"]

    def test_outcomes(self, bench):
        """One outcome for each, None included, with the error and its record; no wrappers run."""

        async def price(item):
            return None

        def wrapper(item):
            raise AssertionError
            yield

        error = ValueError("no")
        bench.wrap(wrapper)
        bench.add(a=lambda item: item, b=price, c=raising(error), d=raising_async(error))

        found = bench.outcomes()

        assert [outcome.slug for outcome in found] == ["a", "b", "c", "d"]
        assert [outcome.value for outcome in found] == ["tea", None, None, None]
        assert [outcome.error for outcome in found] == [None, None, error, error]
        assert [outcome.failure for outcome in found] == [None, None, *bench.failures]
        assert all(outcome.seconds >= 0 for outcome in found)

    def test_firstresult_asks_one_after_the_other(self, bench):
        """Those after the first result are not called, be they async or not."""
        called = []

        def noting(name, value):
            async def owner(item):
                called.append(name)
                return value

            return owner

        bench.add(
            "owner",
            a=noting("a", None),
            b=lambda item: called.append("b"),
            c=raising(ValueError()),
            d=noting("d", 0),
            e=noting("e", "e"),
            f=lambda item: called.append("f"),
        )

        assert bench.call("owner") == [0]
        assert called == ["a", "b", "d"]
        assert bench.faults == [("c", "ValueError")]

    def test_nobody_answers(self, bench):
        """Without implementations it is an empty list, of a firstresult hook too."""
        assert bench.call() == []
        assert bench.call("owner") == []
        assert bench.outcomes() == []

    def test_wrong_arguments(self, bench):
        """Arguments that ``call`` refuses are refused."""
        for call in (bench.dispatch.acall, bench.dispatch.aoutcomes):
            with pytest.raises(HookCallError, match="'item'"):
                bench.run(functools.partial(call, Hooks.price))
            with pytest.raises(UnknownHookError):
                bench.run(functools.partial(call, "prize", item="tea"))

    def test_no_loop(self):
        """On no loop that is known it says which ones are."""
        coroutine = Bench().dispatch.acall(Hooks.price, item="tea")

        with pytest.raises(RuntimeError, match="asyncio or trio"):
            coroutine.send(None)

    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    @settings(max_examples=40)
    @given(
        kinds=st.lists(
            st.tuples(
                st.sampled_from(["plain", "async", "handed"]),
                st.sampled_from(["value", "none", "raise", "exit"]),
            ),
            max_size=8,
        ),
        hook=st.sampled_from(["price", "owner"]),
        wrappers=st.lists(st.sampled_from(["plain", "async"]), max_size=3),
    )
    def test_the_same_as_call(self, backend, kinds, hook, wrappers):
        """Results and faults are those of ``call`` on the same plugins, all written plainly."""
        called, awaited = Bench(backend), Bench(backend)

        def plain(number, what):
            def function(item):
                if what in ("raise", "exit"):
                    raise {"raise": ValueError, "exit": SystemExit}[what](number)
                return number if what == "value" else None

            return function

        def asynchronous(function):
            async def price(item):
                await anyio.sleep(0)
                return function(item)

            return price

        def handed(function):
            def price(item):
                return asynchronous(function)(item)

            return price

        def plain_wrapper(number):
            def wrapper(item):
                value = yield
                return [*value, number] if hook == "price" else (value, number)

            return wrapper

        def async_wrapper(number):
            async def wrapper(item):
                value = yield
                yield [*value, number] if hook == "price" else (value, number)

            return wrapper

        styles = {"plain": lambda item: item, "async": asynchronous, "handed": handed}
        for number, (kind, what) in enumerate(kinds):
            function = plain(number, what)
            called.add(hook, **{f"p{number}": function})
            awaited.add(hook, **{f"p{number}": styles[kind](function)})
        for number, kind in enumerate(wrappers):
            called.wrap(plain_wrapper(number), hook=hook, name=f"w{number}")
            wrapper = plain_wrapper(number) if kind == "plain" else async_wrapper(number)
            awaited.wrap(wrapper, hook=hook, name=f"w{number}")

        assert awaited.call(hook) == called.dispatch.call(hook, item="tea")
        assert awaited.faults == called.faults
