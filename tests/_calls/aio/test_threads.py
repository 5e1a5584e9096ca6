"""Synchronous implementations run in threads, which never block the loop."""

from __future__ import annotations

import contextvars
import threading

from aio_bench import LONG, SHORT, Hooks, anyio, impl

from plugreg._calls.aio import _threads


class TestThreads:
    def test_the_loop_goes_on(self, bench):
        """A synchronous implementation waits for a task of the loop: it is in another thread."""
        go = threading.Event()

        def price(item):
            assert go.wait(LONG)
            return threading.current_thread()

        async def main():
            found = []

            async def call():
                found.extend(await bench.dispatch.acall(Hooks.price, item="tea"))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                await anyio.sleep(0)
                go.set()
            return found

        bench.add(a=price, b=lambda item: threading.current_thread())

        first, second = bench.run(main)

        assert first is second is not threading.main_thread()
        assert first.daemon

    def test_all_that_is_not_async_runs_in_threads(self, bench):
        """Implementations, both parts of wrappers, their end, and ``__await__`` of a result."""
        ran_in = {}

        def here(place):
            ran_in.setdefault(place, set()).add(threading.current_thread())

        class Meta(type):
            def __getattribute__(cls, name):
                if name == "__await__":
                    here("class")
                return super().__getattribute__(name)

        class Result(metaclass=Meta):
            pass

        def price(item):
            here("implementation")
            return Result()

        def wrapper(item):
            here("wrapper in")
            try:
                value = yield
                here("wrapper out")
                return value
            finally:
                here("wrapper end")

        async def stuck(item):
            while "implementation" not in ran_in:
                await anyio.sleep(0)
            await anyio.sleep(LONG)

        bench.add(a=price)
        bench.wrap(wrapper)
        (found,) = bench.call()
        assert type(found) is Result

        async def main():
            with anyio.move_on_after(0.05):
                await bench.dispatch.acall(Hooks.price, item="tea")

        bench.add(b=stuck)
        bench.run(main)

        assert set(ran_in) == {
            "class",
            "implementation",
            "wrapper in",
            "wrapper out",
            "wrapper end",
        }
        assert threading.current_thread() not in set().union(*ran_in.values())

    def test_a_thread_serves_later_calls_and_ends(self, bench, hanging, monkeypatch):
        """Calls that follow each other share a thread, which ends when no more of them come.

        A thread in which a plugin hangs serves nobody else.
        """
        monkeypatch.setattr(_threads, "IDLE_SECONDS", LONG)
        threads = []
        bench.add(note=lambda item: threads.append(threading.current_thread()))

        async def main():
            for _ in range(5):
                await bench.dispatch.acall(Hooks.price, item="tea")
            bench.add(hang=impl(hanging))
            await bench.dispatch.bind(timeout=SHORT).acall(Hooks.price, item="tea")
            monkeypatch.setattr(_threads, "IDLE_SECONDS", 0.01)
            for _ in range(2):
                await bench.dispatch.acall(Hooks.price, item="tea")

        bench.run(main)

        assert len({*threads[:5]}) == 1
        assert not {*threads[6:]} & {*hanging.threads}
        threads[-1].join(LONG)
        assert not threads[-1].is_alive()

    def test_context_variables(self, bench):
        """Plugin code sees the caller's context; values that it sets do not come out."""
        variable = contextvars.ContextVar("variable", default="unset")

        def wrapper(item):
            seen.append(variable.get())
            variable.set("plain wrapper")
            return (yield)

        async def async_wrapper(item):
            seen.append(variable.get())
            variable.set("async wrapper")
            yield

        def price(item):
            seen.append(variable.get())
            variable.set("implementation")

        async def price_async(item):
            seen.append(variable.get())

        async def main():
            variable.set("host")
            await bench.dispatch.acall(Hooks.price, item="tea")
            return variable.get()

        seen = []
        bench.add(a=price)
        assert bench.run(main) == "host"
        assert seen == ["host"]

        seen.clear()
        bench.wrap(wrapper, name="inner")
        bench.wrap(async_wrapper, name="outer")
        bench.run(main)
        assert seen == ["host", "async wrapper", "plain wrapper"]

        seen.clear()
        bench.manager.exchange(["a", "inner"], [])
        bench.add(b=price_async)
        bench.run(main)
        assert seen == ["host", "async wrapper"]
