"""Twenty plugins, of which many misbehave, called over and over by one host."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings

import pytest

from plugreg import (
    CircuitOpenError,
    CircuitPolicy,
    Plugin,
    PluginBusyError,
    PluginRegistry,
    PluginTimeoutError,
    hookimpl,
    hookspec,
)

ROUNDS = 1_000
LIMIT = 1.0
"""Seconds each plugin may take; only those that hang take more than an instant."""
PATIENT = 60.0
"""Seconds where nobody hangs any more: in thousands of calls a busy machine pauses now and then."""


class Specs:
    @hookspec
    def price(self, item: str) -> object:
        """Return the price of an item."""


class Odd:
    """Is equal to nothing, has no truth and no text."""

    def __eq__(self, other):
        raise ValueError("not comparable")

    __hash__ = None

    def __bool__(self):
        raise ValueError("neither true nor false")

    def __repr__(self):
        raise ValueError("nothing to show")


ODD = Odd()
NEVER = threading.Event()
"""Set when a test ends, so that no thread outlives it."""
SEEN_BY_THE_LOOP = threading.Event()


def plain(value):
    def price(self, item):
        return value

    return price


def later(value):
    async def price(self, item):
        await asyncio.sleep(0)
        return value

    return price


def raising(error):
    def price(self, item):
        raise error

    return price


def raising_later(error):
    async def price(self, item):
        await asyncio.sleep(0)
        raise error

    return price


def hangs(self, item):
    NEVER.wait(600)


async def hangs_later(self, item):
    await asyncio.sleep(600)


def waits_for_the_loop(self, item):
    # It returns only if the loop goes on meanwhile.
    assert SEEN_BY_THE_LOOP.wait(60)
    return "the loop went on"


def gives_a_coroutine(self, item):
    async def price():
        return "a coroutine"

    return price()


async def cancels_itself(self, item):
    raise asyncio.CancelledError


def spoils(self, item):
    yield
    raise ValueError("a wrapper that fails")


def returns_no_list(self, item):
    yield
    return 7


# In load order, that of the slugs: their behaviour, their place in a call, their results.
PLUGINS = {
    "a-plain": (plain(1), {}, 1),
    "b-after-all": (plain("last"), {"after": ("a-plain", "t-first", "s-odd")}, "last"),
    "c-later": (later(2), {}, 2),
    "d-none": (plain(None), {}, None),
    "e-raises": (raising(ValueError("no")), {}, ValueError),
    "f-exits": (raising(SystemExit(3)), {}, SystemExit),
    "g-exits-later": (raising_later(SystemExit(4)), {}, SystemExit),
    "h-hangs": (hangs, {}, PluginTimeoutError),
    "i-hangs-later": (hangs_later, {}, PluginTimeoutError),
    "j-cancels": (cancels_itself, {}, asyncio.CancelledError),
    "k-gives-a-coroutine": (gives_a_coroutine, {}, "a coroutine"),
    "l-slow": (waits_for_the_loop, {}, "the loop went on"),
    "m-later": (later("later"), {"before": "a-plain"}, "later"),
    "n-recurses": (None, {}, RecursionError),
    "o-spoils": (spoils, {"wrapper": True}, "wrapper"),
    "p-no-list": (returns_no_list, {"wrapper": True}, "wrapper"),
    "q-try-last": (plain("try last"), {"trylast": True}, "try last"),
    "r-raises-later": (raising_later(KeyError("no")), {}, KeyError),
    "s-odd": (plain(ODD), {}, ODD),
    "t-first": (plain("first"), {"tryfirst": True}, "first"),
}

FAULTY = {
    slug: gives
    for slug, (_, _, gives) in PLUGINS.items()
    if isinstance(gives, type) and issubclass(gives, BaseException)
}
WRAPPERS = ("o-spoils", "p-no-list")


def recurses(self, item):
    return recurses(self, item)


def plugin(slug):
    function, wishes, _ = PLUGINS[slug]
    price = hookimpl(**wishes)(function or recurses)
    return type(slug.title().replace("-", ""), (Plugin,), {"NAME": slug, "price": price})


@pytest.fixture
def shop():
    """Yield a registry with all of them; hanging calls are released at the end."""
    NEVER.clear()
    SEEN_BY_THE_LOOP.clear()
    with PluginRegistry(
        "shop",
        hookspecs=[Specs],
        builtin=[(slug, plugin(slug)) for slug in PLUGINS],
        new_plugins="active",
        call_timeout=LIMIT,
        circuit=CircuitPolicy(max_failures=5, within=1e6, cool_down=1e6, longest=1e6),
        observe=True,
    ) as registry:
        registry.load()
        assert len(registry.active) == len(PLUGINS) == 20
        yield registry
    NEVER.set()


def in_order(registry):
    """Return the slugs as they are to be called, wrappers left out."""
    return [each.slug for each in registry.explain(Specs.price) if each.slug not in WRAPPERS]


async def called(dispatch):
    """Call them from a loop that goes on meanwhile, and return outcomes and results."""

    async def go_on():
        await asyncio.sleep(0)
        SEEN_BY_THE_LOOP.set()

    going = asyncio.create_task(go_on())
    outcomes = await dispatch.aoutcomes(Specs.price, item="tea")
    results = await dispatch.acall(Specs.price, item="tea")
    await going
    return outcomes, results


def test_each_gives_what_it_gives_in_the_stated_order(shop):
    """The results of the healthy are complete, and each fault is that of its plugin."""
    order = in_order(shop)
    wishes = [("m-later", "a-plain"), ("a-plain", "b-after-all"), ("t-first", "b-after-all")]
    for first, second in [*wishes, ("s-odd", "b-after-all")]:
        assert order.index(first) < order.index(second)
    assert order[-1] == "q-try-last"
    outcomes, results = asyncio.run(called(shop.dispatch))

    assert [each.slug for each in outcomes] == order
    for each in outcomes:
        gives = PLUGINS[each.slug][2]
        if each.slug in FAULTY:
            assert type(each.error) is gives
            assert each.failure.slug == each.slug
        else:
            assert each.error is None
            assert each.value is gives
    expected = [PLUGINS[each][2] for each in order if each not in FAULTY]
    expected = [each for each in expected if each is not None]
    assert len(results) == len(expected)
    assert all(one is other for one, other in zip(results, expected, strict=True))
    assert {each.slug for each in shop.errors} == {*FAULTY, *WRAPPERS}


def test_nothing_is_left_of_a_thousand_rounds(shop):
    """The answers stay the same; but for the one thread that hangs, all is as it was before."""

    async def rounds():
        # Failing plugins have used up their circuits, and nobody waits for them.
        for _ in range(6):
            await called(shop.dispatch)
        patient = shop.dispatch.bind(timeout=PATIENT)
        tasks, threads = len(asyncio.all_tasks()), set(threading.enumerate())
        for _ in range(ROUNDS):
            outcomes, results = await called(patient)
            for each in outcomes:
                kinds = (CircuitOpenError, PluginBusyError)
                assert type(each.error) in kinds if each.slug in FAULTY else each.error is None
            assert len(results) == len(PLUGINS) - len(FAULTY) - len(WRAPPERS) - 1  # One is None.
            assert len(asyncio.all_tasks()) == tasks
        return threads

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        threads = asyncio.run(rounds())
        gc.collect()
    left = [each for each in threading.enumerate() if each not in threads]

    assert [str(each.message) for each in told] == []
    assert [each for each in left if each.is_alive() and not each.daemon] == []
    hanging = [each for each in threading.enumerate() if each.name == "plugreg acall"]
    assert len(hanging) <= 1
    assert {each.slug for each in shop.dispatch.running()} == {"h-hangs"}
    assert shop.get("i-hangs-later").circuit == "open"
    assert shop.get("a-plain").circuit == "closed"
