"""Many rounds of asynchronous calls leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import threading

from aio_bench import (
    LONG,
    SHORT,
    Hanging,
    Hooks,
    Own,
    anyio,
    impl,
    raising,
    raising_async,
    trio,
)


class TestLeaks:
    def test_twenty_plugins_for_a_thousand_rounds(self, bench, hanging):
        """Healthy results are complete and in order in each round, and nothing is left behind.

        A hanging call keeps its only thread; a coroutine that nobody awaits would be an error here.
        """

        async def quick(item):
            return "quick"

        async def slow(item):
            for _ in range(3):
                await anyio.sleep(0)
            return "slow"

        async def exits(item):
            await anyio.sleep(0)
            raise SystemExit(3)

        async def wrapper(item):
            yield

        def plain_wrapper(item):
            return (yield)

        for part in range(2):
            names = {
                "plain": lambda item: item,
                "none": lambda item: None,
                "raises": raising(ValueError),
                "quick": quick,
                "handed": lambda item: slow(item),
                "slow": slow,
                "exits": exits,
                "leaves": raising(SystemExit),
                "own": raising_async(Own),
            }
            bench.add(**{f"{name}{part}": entry for name, entry in names.items()})
        other = Hanging()
        bench.add(hang=impl(hanging), stuck=impl(other))
        bench.wrap(wrapper, name="async-wrapper")
        bench.wrap(plain_wrapper, name="plain-wrapper")
        call = bench.dispatch.acall

        def tasks():
            if bench.backend == "asyncio":
                return len(asyncio.all_tasks())
            return trio.lowlevel.current_statistics().tasks_living

        async def main():
            threads = set(threading.enumerate())
            await bench.dispatch.bind(timeout=SHORT).acall(Hooks.price, item="tea")
            # Others may have been late in it, too, where the machine has paused.
            bench.failures.clear()
            before = tasks()
            for _ in range(1_000):
                assert await call(Hooks.price, item="tea") == healthy
            assert tasks() == before
            return [thread for thread in threading.enumerate() if thread not in threads]

        healthy = ["tea", "quick", "slow", "slow"] * 2
        left = bench.run(main)
        for thread in left:
            if thread not in (*hanging.threads, *other.threads):
                thread.join(LONG)

        assert {thread for thread in left if thread.is_alive()} == {
            *hanging.threads,
            *other.threads,
        }
        assert len(hanging.threads) == len(other.threads) == 1
        counts = dict.fromkeys({slug for slug, _ in bench.faults}, 0)
        for slug, _ in bench.faults:
            counts[slug] += 1
        faulty = ["raises", "exits", "leaves", "own"]
        expected = {f"{name}{part}" for name in faulty for part in range(2)} | {"hang", "stuck"}
        assert counts == dict.fromkeys(expected, 1_000)
        other.end()
        gc.collect()
