"""What only one kind of loop has, or does in its own way."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import subprocess
import sys
import threading
from contextlib import suppress

import pytest
from aio_bench import (
    LONG,
    SHORT,
    Bench,
    Hooks,
    anyio,
    impl,
    raising_async,
    trio,
    until,
)

from plugreg import PluginBusyError
from plugreg._calls.aio import _jobs, _loops


class TestLoops:
    def test_a_scope_of_anyios_that_is_cancelled(self, hanging, monkeypatch):
        """While the call waits for a plugin to clean up, the loop has nothing to do for it."""
        bench, waits = Bench(), []
        wait = _loops.AsyncioLoop.wait

        def counted(*args, **kwargs):
            waits.append(args)
            return wait(*args, **kwargs)

        monkeypatch.setattr(_loops.AsyncioLoop, "wait", counted)
        monkeypatch.setattr(_jobs, "CLEAN_UP_SECONDS", LONG)

        async def main():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(functools.partial(bench.dispatch.acall, "price", item="tea"))
                await until(hanging.is_in)
                tasks.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    for _ in range(500):
                        await anyio.sleep(0)
                hanging.go.set()

        bench.add(hang=impl(hanging))
        bench.run(main)

        assert len(waits) < 10

    def test_a_loop_that_is_closed_before_a_plugin_has_ended(self, quick, caplog):
        """A job that was abandoned there goes with the loop, and its plugin is no longer busy."""
        bench, ways = Bench(), []

        async def price(item):
            while not ways:
                with suppress(asyncio.CancelledError):
                    await anyio.sleep(LONG)
            return item

        bench.add(a=price)
        loop = asyncio.new_event_loop()
        assert (
            loop.run_until_complete(bench.dispatch.bind(timeout=0.01).acall("price", item=1)) == []
        )
        ways.append("returns")
        assert [type(outcome.error) for outcome in bench.outcomes()] == [PluginBusyError]
        loop.close()
        del loop
        gc.collect()

        assert bench.call() == ["tea"]

    if sys.version_info >= (3, 12):

        def test_eager_tasks(self):
            """It works where tasks begin at once."""
            bench = Bench()

            async def price(item):
                return item

            async def wrapper(item):
                value = yield
                yield [*value, "wrapped"]

            async def main():
                asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
                return await bench.dispatch.acall(Hooks.price, item="tea")

            bench.add(a=price, b=lambda item: price(item), c=lambda item: "c")
            bench.wrap(wrapper)

            assert asyncio.run(main()) == ["tea", "tea", "c", "wrapped"]

    def test_trio_as_a_guest_of_asyncio(self):
        """The loop that the caller's coroutine runs on counts."""
        bench = Bench()

        async def price(item):
            await trio.sleep(0)
            return item

        async def inner():
            return await bench.dispatch.acall(Hooks.price, item="tea")

        async def main():
            loop = asyncio.get_running_loop()
            done = loop.create_future()
            trio.lowlevel.start_guest_run(
                inner,
                run_sync_soon_threadsafe=loop.call_soon_threadsafe,
                done_callback=lambda outcome: done.set_result(outcome.unwrap()),
            )
            return await done

        bench.add(a=price, b=lambda item: "b")

        assert asyncio.run(main()) == ["tea", "b"]

    def test_several_loops_at_once(self, bench, hanging):
        """Calls of one dispatcher may be under way on loops in several threads."""
        bench.add(a=lambda item: item, b=raising_async(ValueError), hang=impl(hanging))
        found = []
        assert bench.call(timeout=SHORT) == ["tea"]

        def host():
            for _ in range(20):
                found.append(bench.call())

        hosts = [threading.Thread(target=host) for _ in range(4)]
        for thread in hosts:
            thread.start()
        for thread in hosts:
            thread.join(LONG)

        assert found == [["tea"]] * 80

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
    def test_a_forked_child_has_no_busy_plugins(self):
        """A thread that hangs does not hang in a child; its plugin is called there."""
        code = (
            "import asyncio, os, threading, warnings\n"
            "from plugreg import PluginRegistry, hookimpl, hookspec\n"
            "warnings.simplefilter('ignore', DeprecationWarning)\n"
            "class Hooks:\n"
            "    @hookspec\n"
            "    def price(self): ...\n"
            "go = threading.Event()\n"
            "class Hangs:\n"
            "    @hookimpl\n"
            "    def price(self):\n"
            "        return go.wait()\n"
            "registry = PluginRegistry('shop', hookspecs=[Hooks], call_timeout=0.2)\n"
            "registry.load()\n"
            "registry.register(Hangs(), 'hangs')\n"
            "call = lambda: asyncio.run(registry.acall('price'))\n"
            "assert call() == []\n"
            "child = os.fork()\n"
            "if not child:\n"
            "    go.set()\n"
            "    os._exit(call() != [True])\n"
            "print(os.waitpid(child, 0)[1], call())\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=LONG
        )

        assert done.stdout.strip() == "0 []"
