"""Wrappers of both kinds around asynchronous calls."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace

from aio_bench import LONG, SHORT, Bench, Hooks, anyio, forever, impl

from plugreg.hooks import hookimpl


class TestWrappers:
    def test_round_the_call(self, bench):
        """Both kinds nest as in ``call``; each result is passed to the next outer wrapper."""
        seen = []

        def plain(name):
            def wrapper(item):
                seen.append(f"{name} in")
                value = yield
                seen.append(f"{name} out {value}")
                return [*value, name]

            return wrapper

        def asynchronous(name):
            async def wrapper(item):
                seen.append(f"{name} in")
                await anyio.sleep(0)
                value = yield
                await anyio.sleep(0)
                seen.append(f"{name} out {value}")
                yield [*value, name]

            return wrapper

        bench.add(a=lambda item: "a")
        bench.wrap(plain("1"), name="1")
        bench.wrap(asynchronous("2"), name="2")
        bench.wrap(plain("3"), name="3")

        assert bench.call() == ["a", "1", "2", "3"]
        assert seen == [
            "3 in",
            "2 in",
            "1 in",
            "1 out ['a']",
            "2 out ['a', '1']",
            "3 out ['a', '1', '2']",
        ]

    def test_old_style(self, bench):
        """An old-style wrapper is sent a result object, which it may force."""

        def wrapper(item):
            result = yield
            result.force_result([*result.get_result(), "old"])

        bench.add(a=lambda item: "a")
        bench.wrap(wrapper, old=True)

        assert bench.call() == ["a", "old"]

    def test_without_a_second_yield(self, bench):
        """An async wrapper that only watches changes nothing, even if it edits the results."""

        async def wrapper(item):
            value = yield
            value.clear()

        bench.add(a=lambda item: "a")
        bench.wrap(wrapper)

        assert bench.call() == ["a"]

    def test_firstresult(self, bench):
        """Of a firstresult hook a wrapper sees and gives a single value; None is none."""

        async def doubling(item):
            value = yield
            yield value * 2

        async def forgetting(item):
            yield
            yield None

        bench.add("owner", a=lambda item: "a")
        bench.wrap(doubling, hook="owner", name="1")
        assert bench.call("owner") == ["aa"]

        bench.wrap(forgetting, hook="owner", name="2")
        assert bench.call("owner") == []

    def test_one_that_fails_costs_only_itself(self, bench):
        """Before or after its yield, without one or with too many: the result is the others'."""

        async def before(item):
            raise ValueError
            yield

        async def after(item):
            (yield).clear()
            raise ValueError

        async def none(item):
            if item is None:
                yield

        async def three(item):
            yield
            yield ["wrong"]
            yield

        async def text(item):
            yield
            yield "wrong"

        def plain_before(item):
            raise ValueError
            yield

        def plain_after(item):
            (yield).clear()
            raise ValueError

        def plain_two(item):
            yield
            yield

        def plain_text(item):
            yield
            return "wrong"

        bench.add(a=lambda item: "a")
        expected = []
        for function, kind in (
            (before, "ValueError"),
            (after, "ValueError"),
            (none, "RuntimeError"),
            (three, "RuntimeError"),
            (text, "TypeError"),
            (plain_before, "ValueError"),
            (plain_after, "ValueError"),
            (plain_two, "RuntimeError"),
            (plain_text, "TypeError"),
        ):
            bench.wrap(function, name=function.__name__)
            expected.append((function.__name__, kind))

        assert bench.call() == ["a"]
        assert sorted(bench.faults) == sorted(expected)

    def test_one_task_from_beginning_to_end(self, bench):
        """An async wrapper may hold a task group or a time limit open round its yield."""

        async def wrapper(item):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.sleep, LONG)
                with anyio.fail_after(LONG):
                    value = yield
                tasks.cancel_scope.cancel()
            yield [*value, "wrapped"]

        bench.add(a=lambda item: "a")
        bench.wrap(wrapper)

        assert bench.call() == ["a", "wrapped"]
        assert bench.faults == []

    def test_hanging_wrappers(self, bench, hanging, quick):
        """A wrapper that hangs before or after its yield costs only itself."""

        async def never_in(item):
            await anyio.sleep(LONG)
            yield

        async def never_out(item):
            yield
            await anyio.sleep(LONG)

        def hangs(item):
            hanging(item)
            yield

        bench.add(a=lambda item: "a")
        bench.wrap(never_in, name="in")
        bench.wrap(never_out, name="out")
        bench.wrap(hangs, name="hangs")

        assert bench.call(timeout=SHORT) == ["a"]
        assert sorted(bench.faults) == [
            (entry, "PluginTimeoutError") for entry in ("hangs", "in", "out")
        ]

    def test_a_wrapper_that_comes_to_its_yield_too_late(self, bench, hanging):
        """It is closed there, in its own thread, so that its tear-down runs."""
        ended = []

        def wrapper(item):
            try:
                hanging(item)
                yield
            finally:
                ended.append("closed")

        bench.wrap(wrapper)
        assert bench.call(timeout=SHORT) == []
        assert ended == []
        hanging.end()
        assert ended == ["closed"]

    def test_an_async_wrapper_that_comes_to_its_yield_too_late(self, bench):
        """One that swallows its cancellation, and yields then, is closed there, and left out."""
        ended = []

        async def wrapper(item):
            try:
                with suppress(anyio.get_cancelled_exc_class()):
                    await anyio.sleep(LONG)
                yield
            finally:
                ended.append("closed")

        async def main():
            bound = bench.dispatch.bind(timeout=SHORT)
            return await bound.acall(Hooks.price, item="tea"), ended.copy()

        bench.add(a=lambda item: "a")
        bench.wrap(wrapper)

        assert bench.run(main) == (["a"], ["closed"])
        assert bench.faults == [("wrapper", "PluginTimeoutError")]

    def test_the_tear_down_of_a_busy_plugin(self, bench, hanging):
        """A wrapper is left though its plugin has become busy inside it."""
        ended = []

        def wrapper(item):
            value = yield
            ended.append(value)
            return value

        plugin = SimpleNamespace(
            price=hookimpl(impl(hanging)), around=hookimpl(specname="price", wrapper=True)(wrapper)
        )
        bench.manager.exchange((), [bench.manager.implementations(plugin, "hang", (0,))])

        assert bench.call(timeout=SHORT) == []
        assert ended == [[]]

    def test_a_synchronous_call(self):
        """``call`` cannot run async code: a fault of that plugin that says what can."""
        bench = Bench()

        async def wrapper(item):
            yield

        bench.wrap(wrapper)
        bench.add(a=forever, b=lambda item: forever(item), c=lambda item: "c")

        assert bench.dispatch.call(Hooks.price, item="tea") == ["c"]
        assert bench.faults == [("wrapper", "TypeError"), ("a", "TypeError"), ("b", "TypeError")]
        assert all("acall" in failure.message for failure in bench.failures)
