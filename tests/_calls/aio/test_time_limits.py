"""A plugin that takes too long costs its own result, in threads and on the loop."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from types import SimpleNamespace

import pytest
from aio_bench import LONG, SHORT, Bench, Hooks, anyio, forever, impl

from plugreg import PluginBusyError, PluginRegistry, PluginTimeoutError
from plugreg.hooks import hookimpl


class TestTimeLimits:
    def test_a_hanging_thread(self, bench, hanging):
        """One that hangs costs its result; later ones run in another thread, in order."""
        bench.add(a=lambda item: "a", hang=impl(hanging), b=lambda item: threading.get_ident())

        found = bench.outcomes(timeout=SHORT)

        assert [outcome.slug for outcome in found] == ["a", "hang", "b"]
        assert found[0].value == "a"
        assert found[2].value != hanging.threads[0].ident
        error = found[1].error
        assert isinstance(error, PluginTimeoutError)
        assert isinstance(error, TimeoutError)
        assert (error.slug, error.seconds) == ("hang", SHORT)
        assert found[1].seconds >= SHORT
        assert bench.faults == [("hang", "PluginTimeoutError")]

    def test_a_plugin_is_busy_until_its_code_returns(self, bench, hanging):
        """Its implementations are not called meanwhile, in no thread and in no task."""

        async def owner(item):
            return "owner"

        plugin = SimpleNamespace(price=hookimpl(impl(hanging)), owner=hookimpl(owner))
        bench.manager.exchange((), [bench.manager.implementations(plugin, "hang", (0,))])
        bench.add(b=lambda item: "b")

        assert bench.call(timeout=SHORT) == ["b"]
        assert [bench.call() for _ in range(3)] == [["b"]] * 3
        assert bench.call("owner") == []
        assert len(hanging.threads) == 1
        (error,) = [outcome.error for outcome in bench.outcomes() if outcome.error]
        assert isinstance(error, PluginBusyError)
        assert error.slug == "hang"

        hanging.end()
        assert bench.call() == ["late", "b"]
        assert bench.call("owner") == ["owner"]

    def test_two_implementations_of_one_plugin(self, bench, hanging):
        """When the first one hangs, the second one is not called, and hangs no other thread."""
        plugin = SimpleNamespace(
            price=hookimpl(impl(hanging)), other=hookimpl(specname="price")(impl(hanging))
        )
        bench.manager.exchange((), [bench.manager.implementations(plugin, "hang", (0,))])

        assert bench.call(timeout=SHORT) == []
        assert sorted(bench.faults) == [("hang", "PluginBusyError"), ("hang", "PluginTimeoutError")]
        assert len(hanging.threads) == 1

    def test_an_async_one_is_cancelled(self, bench):
        """It may clean up, with awaits, and its plugin is not busy afterwards."""
        cleaned = []

        async def price(item):
            try:
                await anyio.sleep(LONG)
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.01)
                cleaned.append(item)

        bench.add(
            a=price,
            b=lambda item: price(item),
            c=lambda item: "c",
        )

        assert bench.call(timeout=SHORT) == ["c"]
        assert cleaned == ["tea", "tea"]
        assert bench.call(timeout=SHORT) == ["c"]
        assert {kind for _, kind in bench.faults} == {"PluginTimeoutError"}

    def test_an_async_one_that_goes_on(self, bench, quick):
        """One that is not to be cancelled is given up on, and its plugin busy until it ends."""

        async def main():
            go, ended = anyio.Event(), anyio.Event()

            async def price(item):
                while not go.is_set():
                    # trio's cancellation is shielded off, asyncio's is swallowed.
                    with anyio.CancelScope(shield=True), suppress(asyncio.CancelledError):
                        await go.wait()
                ended.set()
                raise ValueError("too late to be recorded")

            bench.add(a=price, b=lambda item: "b")
            call = bench.dispatch.bind(timeout=SHORT).acall
            assert await call(Hooks.price, item="tea") == ["b"]
            assert await call(Hooks.price, item="tea") == ["b"]
            assert bench.faults == [("a", "PluginTimeoutError"), ("a", "PluginBusyError")]
            go.set()
            await ended.wait()
            with anyio.fail_after(LONG):
                while (await bench.dispatch.aoutcomes("price", item="tea"))[0].error.args == ("a",):
                    await anyio.sleep(0)
            assert bench.faults[-1] == ("a", "ValueError")

        bench.run(main)

    def test_a_late_coroutine_is_closed(self, bench):
        """An awaitable that a thread hands over when nobody waits any more is closed."""
        go, is_in = threading.Event(), threading.Event()
        handed = []

        def price(item):
            is_in.set()
            assert go.wait(LONG)
            handed.append(forever(item))
            handed.append(threading.current_thread())
            return handed[0]

        bench.add(a=price)
        assert bench.call(timeout=SHORT) == []
        go.set()
        with_thread = threading.Event()
        while len(handed) < 2:
            with_thread.wait(0.001)
        handed[1].join(LONG)

        assert handed[0].cr_frame is None

    def test_bind(self, bench, hanging):
        """A bound dispatcher has its own limit, shares the rest, and the other one is unchanged."""
        bench.add(hang=impl(hanging))
        bound = bench.dispatch.bind(timeout=SHORT)

        assert bound.call is not None
        assert bench.run(lambda: bound.acall("price", item="tea")) == []
        assert bench.run(lambda: bound.bind(timeout=None).acall("price", item="tea")) == []
        assert [kind for _, kind in bench.faults] == ["PluginTimeoutError", "PluginBusyError"]
        hanging.end()
        assert bench.call() == ["late"]

    @pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
    def test_a_wrong_limit(self, timeout):
        """A limit is above 0."""
        with pytest.raises(ValueError, match="above 0"):
            Bench().dispatch.bind(timeout=timeout)
        with pytest.raises(ValueError, match="above 0"):
            PluginRegistry("shop", call_timeout=timeout)
