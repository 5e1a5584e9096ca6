"""Asynchronous calls: the loop is never blocked, and a plugin costs its own results at most.

Every test runs on asyncio and on trio, except tests of features that only one has. The host and
the async plugins here are written with anyio, which serves both.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import os
import subprocess
import sys
import threading
from contextlib import suppress
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugreg import (
    PluginBusyError,
    PluginRegistry,
    PluginTimeoutError,
    RegistryNotReady,
)
from plugreg._calls import aio as async_calls
from plugreg._calls.aio import _jobs, _loops, _threads
from plugreg._calls.aio._jobs import SupervisedAwaitable
from plugreg._calls.circuits import CircuitPolicy
from plugreg._calls.dispatcher import Dispatcher
from plugreg.exceptions import UnknownHookError
from plugreg.hooks import HookCallError, PluginManager, hookimpl, hookspec
from plugreg.records import PluginFailure, Stage

try:
    import anyio
    import trio
except ImportError:  # pragma: no cover
    _reason = "anyio and trio are not installed; pip install 'anyio[trio]'"
    if os.environ.get("PLUGREG_TEST_NO_SKIP") == "1":
        pytest.fail(f"{_reason}. PLUGREG_TEST_NO_SKIP=1 forbids to skip")
    pytest.skip(_reason, allow_module_level=True)

SHORT = 0.25
"""Seconds after which what hangs in a test is out of time, and what does not hang has ended."""

LONG = 60.0
"""Seconds that no test waits for, unless it fails."""


class Hooks:
    @hookspec
    def price(self, item, currency="EUR"):
        """Price of an item."""

    @hookspec(firstresult=True)
    def owner(self, item):
        """Owner of an item."""


class Own(BaseException):
    """A plugin's own exception that is no Exception."""


class Bench:
    """A manager with a dispatcher, and the faults that were recorded."""

    def __init__(self, backend="asyncio", timeout=None):
        self.backend = backend
        self.manager = PluginManager("shop")
        self.manager.add_hookspecs(Hooks)
        self.dispatch = Dispatcher(self.manager, self._record, timeout=timeout)
        self.failures = []
        self.recorded_in = set()

    def _record(self, slug, hook, error):
        failure = PluginFailure.of(Stage.CALL, slug, error, subject=hook)
        self.failures.append(failure)
        self.recorded_in.add(threading.current_thread())
        return failure

    @property
    def faults(self):
        return [
            (failure.slug, failure.exception_type.rpartition(".")[2]) for failure in self.failures
        ]

    def add(self, hook="price", /, **functions):
        """Exchange in a plugin for each function; they are called in the order given."""
        for name, item in functions.items():
            self._exchange(hook, hookimpl(item), name, -1)

    def wrap(self, function, *, hook="price", name="wrapper", old=False):
        """Exchange in a wrapper; a later one is the outer one."""
        marker = hookimpl(hookwrapper=True) if old else hookimpl(wrapper=True)
        self._exchange(hook, marker(function), name, 1)

    def _exchange(self, hook, function, name, sign):
        plugin = SimpleNamespace(**{hook: function})
        rank = (sign * len(self.manager.list_name_plugin()),)
        self.manager.exchange((), [self.manager.implementations(plugin, name, rank)])

    def run(self, function):
        """Run an async function on a loop of its own, and return its result."""
        return anyio.run(function, backend=self.backend)

    def call(self, hook="price", timeout=None):
        """Call on a loop of its own."""
        dispatch = self.dispatch if timeout is None else self.dispatch.bind(timeout=timeout)
        return self.run(lambda: dispatch.acall(hook, item="tea"))

    def outcomes(self, timeout=None):
        """Ask for outcomes on a loop of its own."""
        dispatch = self.dispatch if timeout is None else self.dispatch.bind(timeout=timeout)
        return self.run(lambda: dispatch.aoutcomes("price", item="tea"))


@pytest.fixture(params=["asyncio", "trio"])
def bench(request):
    return Bench(request.param)


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Cancelled code has all the time to clean up, however long the machine pauses."""
    for item in (_jobs, async_calls):
        monkeypatch.setattr(item, "CLEAN_UP_SECONDS", LONG)


@pytest.fixture
def quick(monkeypatch, patient):
    """Cancelled code has little time to clean up, for tests in which it never finishes."""
    monkeypatch.setattr(_jobs, "CLEAN_UP_SECONDS", 0.05)


class Hanging:
    """A synchronous implementation that hangs until it is let go."""

    def __init__(self):
        self.is_in = threading.Event()
        self.go = threading.Event()
        self.threads = []

    def __call__(self, item):
        self.threads.append(threading.current_thread())
        self.is_in.set()
        assert self.go.wait(LONG)
        return "late"

    def end(self):
        """Let it go, and wait until its threads have ended."""
        self.go.set()
        for thread in self.threads:
            thread.join(LONG)
            assert not thread.is_alive()


@pytest.fixture
def hanging():
    found = Hanging()
    yield found
    found.end()


def impl(function):
    """Return a plain function, as hook implementations must be, that calls ``function``."""

    def price(item):
        return function(item)

    return price


def raising(error):
    def price(item):
        raise error

    return price


def raising_async(error):
    async def price(item):
        raise error

    return price


async def forever(item):
    await anyio.sleep(LONG)


async def until(event):
    """Wait, on the loop, for an event of threads."""
    with anyio.fail_after(LONG):
        while not event.is_set():
            await anyio.sleep(0.001)


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
