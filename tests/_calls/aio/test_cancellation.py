"""When the caller is cancelled, all implementations clean up before that comes out."""

from __future__ import annotations

import asyncio
import functools
import gc
import threading

import pytest
from aio_bench import LONG, Bench, Hooks, anyio, forever, impl, raising_async, until

from plugreg import PluginBusyError


class TestCancellation:
    def test_clean_up_completes(self, bench):
        """When the caller's cancellation comes out, all has cleaned up, wrappers too."""
        begun, done = [], []

        async def price(item):
            begun.append(item)
            try:
                await anyio.sleep(LONG)
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.01)
                done.append("implementation")

        def wrapper(item):
            try:
                yield
            finally:
                done.append("wrapper")

        async def async_wrapper(item):
            try:
                yield
            finally:
                await anyio.sleep(0.01)
                done.append("async wrapper")

        async def main():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(functools.partial(bench.dispatch.acall, "price", item="tea"))
                while len(begun) < 2:
                    await anyio.sleep(0.001)
                tasks.cancel_scope.cancel()
            return done.copy()

        bench.add(a=price, b=lambda item: price(item))
        bench.wrap(wrapper, name="inner")
        bench.wrap(async_wrapper, name="outer")

        assert bench.run(main) == ["implementation", "implementation", "wrapper", "async wrapper"]
        assert bench.faults == []

    def test_a_hanging_thread_is_given_up_on(self, bench, hanging, quick):
        """Without a limit, a cancellation ends a call that hangs; waiting code never runs."""
        called = []

        async def main():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(functools.partial(bench.dispatch.acall, "price", item="tea"))
                await until(hanging.is_in)
                tasks.cancel_scope.cancel()
            return await bench.dispatch.aoutcomes("price", item="tea")

        bench.add(hang=impl(hanging), b=lambda item: called.append("b"))
        found = bench.run(main)

        assert isinstance(found[0].error, PluginBusyError)
        assert called == ["b"]

    def test_a_healthy_thread_may_end(self, bench):
        """A synchronous implementation that is under way ends first; its plugin is not busy."""
        is_in, go = threading.Event(), threading.Event()
        ended = []

        def price(item):
            is_in.set()
            assert go.wait(LONG)
            ended.append(item)

        async def main():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(functools.partial(bench.dispatch.acall, "price", item="tea"))
                await until(is_in)
                tasks.cancel_scope.cancel()
                go.set()
            assert ended == ["tea"]
            return await bench.dispatch.aoutcomes("price", item="tea")

        bench.add(a=price)

        assert [entry.error for entry in bench.run(main)] == [None]

    def test_faults_of_a_cancelled_call_are_recorded(self, bench):
        """Code that failed, or fails in its clean-up, is attributed though nobody gets results."""
        begun = threading.Event()

        async def price(item):
            begun.set()
            try:
                await anyio.sleep(LONG)
            finally:
                raise ValueError("in clean-up")

        def wrapper(item):
            try:
                yield
            finally:
                raise KeyError("in clean-up")

        async def main():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(functools.partial(bench.dispatch.acall, "price", item="tea"))
                await until(begun)
                tasks.cancel_scope.cancel()

        bench.add(a=raising_async(OSError()), b=price, c=forever)
        bench.wrap(wrapper)
        bench.run(main)

        assert bench.faults == [("a", "OSError"), ("b", "ValueError"), ("wrapper", "KeyError")]

    def test_asyncio_timeout_round_a_call(self):
        """The host's own ``asyncio.timeout`` works, and a second cancellation loses nothing."""
        bench = Bench()
        begun, ending, may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()
        done = []

        async def price(item):
            begun.set()
            try:
                await asyncio.sleep(LONG)
            finally:
                ending.set()
                await may_end.wait()
                done.append(item)

        async def end(timeout):
            # The time is over when there is something to cancel.
            await begun.wait()
            timeout.reschedule(0.0)
            await ending.wait()
            may_end.set()

        async def out_of_time():
            async with asyncio.timeout(LONG) as timeout, asyncio.TaskGroup() as tasks:
                tasks.create_task(end(timeout))
                await bench.dispatch.acall(Hooks.price, item="tea")

        async def main():
            with pytest.raises(TimeoutError):
                await out_of_time()
            for item in (begun, ending, may_end):
                item.clear()
            task = asyncio.ensure_future(bench.dispatch.acall(Hooks.price, item="tea"))
            await begun.wait()
            task.cancel()
            await ending.wait()
            task.cancel()
            for _ in range(10):
                await asyncio.sleep(0)
            assert not task.done()
            may_end.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()

        bench.add(a=price)
        asyncio.run(main())

        assert done == ["tea", "tea"]

    def test_cancelled_before_the_first_step(self):
        """A call that is cancelled at once has begun nothing, and leaves nothing unawaited."""
        bench = Bench()
        bench.add(a=forever, b=lambda item: forever(item))

        async def main():
            for steps in range(6):
                task = asyncio.ensure_future(bench.dispatch.acall(Hooks.price, item="tea"))
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert asyncio.all_tasks() == {asyncio.current_task()}

        asyncio.run(main())
        gc.collect()
        assert bench.faults == []

    def test_a_closed_coroutine(self):
        """A call that is thrown away while it waits stops its tasks, and closes its wrappers."""
        bench = Bench()
        ended = []

        async def price(item):
            try:
                await asyncio.sleep(LONG)
            finally:
                ended.append("implementation")

        def wrapper(item):
            try:
                yield
            finally:
                ended.append("wrapper")

        async def async_wrapper(item):
            try:
                yield
            finally:
                ended.append("async wrapper")

        async def main():
            coroutine = bench.dispatch.acall(Hooks.price, item="tea")
            waits_for = coroutine.send(None)
            while len(asyncio.all_tasks()) < 3 or waits_for.done():
                if waits_for.done():
                    waits_for = coroutine.send(None)
                await asyncio.sleep(0.001)
            coroutine.close()
            while len(ended) < 3:
                await asyncio.sleep(0.001)

        bench.add(a=price)
        bench.wrap(wrapper, name="inner")
        bench.wrap(async_wrapper, name="outer")
        asyncio.run(main())

        assert sorted(ended) == ["async wrapper", "implementation", "wrapper"]

    def test_the_loop_ends_in_the_middle(self):
        """``asyncio.run`` cancels the rest of a call, which ends then, wrappers closed."""
        bench = Bench()
        begun, ended = asyncio.Event(), []

        async def price(item):
            begun.set()
            await asyncio.sleep(LONG)

        async def wrapper(item):
            try:
                yield
            finally:
                ended.append("wrapper")

        async def main():
            task = asyncio.ensure_future(bench.dispatch.acall(Hooks.price, item="tea"))
            await begun.wait()
            assert not task.done()

        bench.add(a=price)
        bench.wrap(wrapper)
        asyncio.run(main())

        assert ended == ["wrapper"]
