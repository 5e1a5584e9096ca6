"""A plugin that fails in an asynchronous call costs its own result alone."""

from __future__ import annotations

import asyncio
import functools
import threading

import pytest
from aio_bench import (
    LONG,
    SHORT,
    Bench,
    Hooks,
    Own,
    anyio,
    raising,
    raising_async,
    until,
)

from plugreg._calls import aio as async_calls
from plugreg._calls.dispatcher import Dispatcher
from plugreg.records import PluginFailure, Stage


class TestIsolation:
    @pytest.mark.parametrize(
        "error",
        [ValueError(), SystemExit(3), Own(), RecursionError(), asyncio.CancelledError()],
        ids=lambda error: type(error).__name__,
    )
    def test_one_fault_costs_one_result(self, bench, error):
        """Whatever is raised, in a thread or a task, the others answer, and it is attributed."""

        async def price(item):
            await anyio.sleep(0)
            return "b"

        bench.add(
            a=lambda item: "a",
            thread=raising(error),
            task=raising_async(error),
            b=price,
            c=lambda item: "c",
        )

        assert bench.call() == ["a", "b", "c"]
        name = type(error).__name__
        assert bench.faults == [("thread", name), ("task", name)]

    def test_what_belongs_to_the_process(self, bench):
        """KeyboardInterrupt passes, from a thread or a task, when all others have cleaned up."""
        for interrupting in (raising(KeyboardInterrupt()), raising_async(KeyboardInterrupt())):
            ended = []

            async def price(item, ended=ended):
                try:
                    await anyio.sleep(LONG)
                finally:
                    ended.append("implementation")

            def wrapper(item, ended=ended):
                try:
                    yield
                finally:
                    ended.append("wrapper")

            async def async_wrapper(item, ended=ended):
                try:
                    yield
                finally:
                    ended.append("async wrapper")

            own = Bench(bench.backend)
            own.add(a=price, b=interrupting)
            own.wrap(wrapper, name="inner")
            own.wrap(async_wrapper, name="outer")

            async def main(own=own):
                with pytest.raises(KeyboardInterrupt):
                    await own.dispatch.acall(Hooks.price, item="tea")

            own.run(main)

            assert ended == ["implementation", "wrapper", "async wrapper"]
            assert own.faults == []

    def test_an_error_whose_text_hangs(self, bench, hanging):
        """A fault is recorded in the worker's thread, so that its text cannot block the loop."""

        class Slow(Exception):
            def __str__(self):
                return hanging(None)

        async def main():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(functools.partial(bench.dispatch.acall, "price", item="tea"))
                await until(hanging.is_in)
                hanging.go.set()

        bench.add(a=raising_async(Slow()))
        bench.run(main)

        assert bench.faults == [("a", "Slow")]
        assert threading.main_thread() not in bench.recorded_in

    def test_a_call_that_is_not_awaitable_where_it_seems_so(self, bench):
        """A value that only seems to be awaitable is a fault of that plugin."""

        class Wrong:
            def __await__(self):
                return 5

        bench.add(a=lambda item: Wrong(), b=lambda item: "b")

        assert bench.call() == ["b"]
        assert bench.faults == [("a", "TypeError")]

    def test_a_host_that_is_slow_to_take_in_a_failure(self, bench, hanging):
        """It takes longer than a plugin may, and still the record is kept, and nobody busy."""

        def record(slug, hook, error):
            hanging(None)
            return PluginFailure.of(Stage.CALL, slug, error, subject=hook)

        dispatch = Dispatcher(bench.manager, record, timeout=SHORT)
        found = []

        async def call():
            found.extend(await dispatch.aoutcomes("price", item="tea"))

        async def main():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                await until(hanging.is_in)
                await anyio.sleep(1.2 * SHORT)  # Its plugin would be out of time.
                hanging.go.set()
            await call()

        bench.add(a=raising_async(ValueError("no")))
        bench.run(main)

        assert [type(outcome.error) for outcome in found] == [ValueError] * 2
        assert None not in [outcome.failure for outcome in found]

    def test_a_host_that_never_ends_taking_in_a_failure(self, bench, hanging, monkeypatch):
        """It is not waited for for ever; then there is no record of it yet, and nobody is busy."""
        monkeypatch.setattr(async_calls, "RECORD_SECONDS", 0.05)
        dispatch = Dispatcher(bench.manager, lambda *_: hanging(None))
        bench.add(a=raising_async(ValueError("no")))
        for _ in range(2):
            [outcome] = bench.run(lambda: dispatch.aoutcomes("price", item="tea"))
            assert (type(outcome.error), outcome.failure) == (ValueError, None)
