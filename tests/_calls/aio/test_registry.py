"""The asynchronous calls of a registry: its time limit, its records, its subsets."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
from aio_bench import LONG, SHORT, Hooks, anyio, forever, impl, raising, raising_async

from plugreg import PluginRegistry, PluginTimeoutError, RegistryNotReady
from plugreg._calls.aio._jobs import SupervisedAwaitable
from plugreg._calls.circuits import CircuitPolicy
from plugreg.hooks import hookimpl
from plugreg.records import Stage


class TestRegistry:
    def test_the_public_face(self, bench):
        """A registry has the same calls, its ``call_timeout``, and records of the faults."""
        registry = PluginRegistry("shop", hookspecs=[Hooks], call_timeout=SHORT)

        class Slow:
            @hookimpl
            async def price(self, item):
                await anyio.sleep(LONG)

        class Healthy:
            @hookimpl
            async def price(self, item):
                return item

        async def main():
            with pytest.raises(RegistryNotReady):
                await registry.acall(Hooks.price, item="tea")
            registry.load()
            registry.register(Healthy(), "healthy")
            registry.register(Slow(), "slow")
            return (
                await registry.acall(Hooks.price, item="tea"),
                await registry.aoutcomes(Hooks.price, item="tea"),
                await registry.dispatch.bind(timeout=SHORT).acall(Hooks.price, item="tea"),
            )

        with registry:
            results, outcomes, bound = bench.run(main)

            assert results == bound == ["tea"]
            assert {outcome.slug: type(outcome.error) for outcome in outcomes} == {
                "healthy": type(None),
                "slow": PluginTimeoutError,
            }
            (failure,) = registry.errors
            assert (failure.slug, failure.stage, failure.count) == ("slow", Stage.CALL, 3)

    def test_circuits(self, bench):
        """Faults and time-outs of asynchronous calls open a circuit; a call on trial closes it."""
        policy = CircuitPolicy(max_failures=2, within=LONG, cool_down=0.001)
        registry = PluginRegistry("shop", hookspecs=[Hooks], circuit=policy)
        ways = {}

        class Plugin:
            @hookimpl
            def price(self, item):
                return ways["price"](item)

        class Other:
            @hookimpl
            async def price(self, item):
                return "other"

        async def call():
            # Only hanging code must be out of time, not code that a pausing machine has delayed.
            limit = SHORT if ways["price"] is forever else LONG
            return await registry.dispatch.bind(timeout=limit).acall(Hooks.price, item="tea")

        async def cancelled():
            begun = anyio.Event()

            async def price(item):
                begun.set()
                await anyio.sleep(LONG)

            ways["price"] = price
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                await begun.wait()
                tasks.cancel_scope.cancel()

        async def main():
            registry.load()
            registry.register(Other(), "other")
            registry.register(Plugin(), "plugin")
            for way in (forever, raising(ValueError)):
                assert registry.get("plugin").circuit == "closed"
                ways["price"] = way
                assert await call() == ["other"]
            assert registry.get("plugin").circuit != "closed"
            with anyio.fail_after(LONG):
                while registry.get("plugin").circuit != "half-open":
                    await anyio.sleep(0.001)
            await cancelled()
            assert registry.get("plugin").circuit == "half-open"
            ways["price"] = healthy
            assert await call() == ["tea", "other"]
            assert registry.get("plugin").circuit == "closed"

        async def healthy(item):
            await anyio.sleep(0)
            return item

        with registry:
            bench.run(main)

            assert {failure.slug for failure in registry.errors} == {"plugin"}

    def test_a_plugin_that_hangs_for_ever_opens_its_circuit(self, bench, hanging):
        """It is called once, and that it is busy is a fault of its own each time after that."""
        policy = CircuitPolicy(max_failures=3, within=LONG)
        registry = PluginRegistry("shop", hookspecs=[Hooks], call_timeout=SHORT, circuit=policy)
        kinds = []

        async def main():
            registry.load()
            registry.register(SimpleNamespace(price=hookimpl(impl(hanging))), "hang")
            for _ in range(4):
                [outcome] = await registry.aoutcomes(Hooks.price, item="tea")
                kinds.append(type(outcome.error).__name__)

        with registry:
            bench.run(main)

            assert kinds == ["PluginTimeoutError", *["PluginBusyError"] * 2, "CircuitOpenError"]
            assert registry.get("hang").circuit == "open"
            assert len(hanging.threads) == 1

    def test_a_cancellation_in_groups_is_no_fault(self, bench):
        """Who cancels is the host; tasks inside a task give a group of nothing but that."""
        policy = CircuitPolicy(max_failures=1)
        registry = PluginRegistry("shop", hookspecs=[Hooks], circuit=policy, observe=True)

        async def main():
            begun = anyio.Event()

            async def price(item):
                begun.set()
                try:
                    await anyio.sleep(LONG)
                except anyio.get_cancelled_exc_class() as error:
                    inner = BaseExceptionGroup("inner", [error])
                    raise BaseExceptionGroup("outer", [error, inner]) from None

            registry.load()
            registry.register(SimpleNamespace(price=hookimpl(price)), "plugin")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(functools.partial(registry.acall, Hooks.price, item="tea"))
                await begun.wait()
                tasks.cancel_scope.cancel()

        with registry:
            bench.run(main)

            assert registry.get("plugin").circuit == "closed"
            [stats] = registry.dispatch.stats()
            assert (stats.calls, stats.errors) == (1, 0)

    @pytest.mark.parametrize("kind", ["async", "handed", "awaited inside"])
    def test_where_a_call_is(self, bench, kind):
        """Its stack ends where the plugin's code waits, however that came onto the loop."""
        registry = PluginRegistry("shop", hookspecs=[Hooks], observe=True)
        seen = []

        async def main():
            begun = anyio.Event()

            async def deep():
                begun.set()
                await anyio.sleep(LONG)

            class Later:
                def __await__(self):
                    return deep().__await__()

            async def price(item):
                await (Later() if kind == "awaited inside" else deep())

            plugin = SimpleNamespace(price=hookimpl(impl(price) if kind == "handed" else price))
            registry.load()
            registry.register(plugin, "plugin")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(functools.partial(registry.acall, Hooks.price, item="tea"))
                await begun.wait()
                seen.extend(registry.dispatch.running())
                tasks.cancel_scope.cancel()

        with registry:
            bench.run(main)

        [call] = seen
        assert "await anyio.sleep(LONG)" in call.stack
        assert call.thread == threading.current_thread().name

    def test_where_a_synchronous_call_of_a_coroutine_is(self, bench):
        """The coroutine does not wait, so that it is the thread that shows where it is."""
        registry = PluginRegistry("shop", hookspecs=[Hooks], observe=True)
        seen = []

        async def main():
            registry.load()
            looking = hookimpl(lambda item: seen.extend(registry.dispatch.running()))
            registry.register(SimpleNamespace(price=looking), "plugin")
            registry.call(Hooks.price, item="tea")

        with registry:
            bench.run(main)

        [call] = seen
        assert "seen.extend(registry.dispatch.running())" in call.stack

    def test_observers(self, bench):
        """An observer is notified where and when the plugin's code runs, to its real end."""
        notes = []

        class Observer:
            def began(self, slug, hook):
                notes.append(("began", slug, hook, threading.current_thread()))
                return slug

            def ended(self, token, error):
                notes.append(("ended", token, type(error).__name__, threading.current_thread()))

        class Plain:
            @hookimpl
            def price(self, item):
                return item

        class Handed:
            @hookimpl
            def price(self, item):
                return raising_async(ValueError)(item)

        registry = PluginRegistry("shop", hookspecs=[Hooks], observe=[Observer()])

        async def main():
            registry.load()
            registry.register(Plain(), "plain")
            registry.register(Handed(), "handed")
            notes.clear()
            assert await registry.acall(Hooks.price, item="tea") == ["tea"]

        with registry:
            bench.run(main)

        loop = threading.current_thread()
        assert [(*event[:3], event[3] is loop) for event in notes if event[1] == "plain"] == [
            ("began", "plain", "price", False),
            ("ended", "plain", "NoneType", False),
        ]
        assert [(*event[:3], event[3] is loop) for event in notes if event[1] == "handed"] == [
            ("began", "handed", "price", False),
            ("ended", "handed", "ValueError", True),
        ]

    def test_what_is_never_awaited_ends_its_call(self):
        """A call whose coroutine is thrown away ends, once, and keeps no circuit on trial."""
        ended = []
        call = SimpleNamespace(end=lambda error=None: ended.append(type(error)))
        handed = SupervisedAwaitable(forever("tea"), call)
        handed.close()
        handed.close()

        assert ended == [GeneratorExit]

    def test_nothing_is_imported_before_the_first_call(self):
        """A host without asynchronous calls has neither a loop nor this module."""
        code = (
            "import sys\n"
            "from plugreg import PluginRegistry, hookspec\n"
            "with PluginRegistry('shop') as registry:\n"
            "    registry.load()\n"
            "    registry.call('plugreg_health')\n"
            "print({'asyncio', 'trio', 'anyio', 'plugreg._calls.aio'} & sys.modules.keys())\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )

        assert done.stdout.strip() == "set()"

    def test_asyncio_needs_no_other_package(self):
        """On asyncio, neither anyio nor trio is imported."""
        code = (
            "import asyncio, sys\n"
            "from plugreg import PluginRegistry\n"
            "with PluginRegistry('shop') as registry:\n"
            "    registry.load()\n"
            "    print(asyncio.run(registry.acall('plugreg_health')))\n"
            "print({'trio', 'anyio', 'sniffio'} & sys.modules.keys())\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )

        assert done.stdout.splitlines() == ["[]", "set()"]
