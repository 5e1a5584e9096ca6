"""An observer begins and ends in one context, which no other call sees."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar

import pytest

from plugreg import Plugin, hookimpl, hookspec


class Specs:
    @hookspec
    def price(self): ...


class Nesting:
    """Makes a call the current one while it runs, as tracing does."""

    def __init__(self):
        self.current = ContextVar("current", default=None)
        self.parents, self.faults = {}, []

    def began(self, slug, hook):
        self.parents[slug] = self.current.get()
        return self.current.set(slug)

    def ended(self, token, error):
        try:
            self.current.reset(token)
        except ValueError as fault:
            self.faults.append(fault)


class First(Plugin):
    def __init__(self, how, go):
        self.how, self.go = how, go

    @hookimpl(tryfirst=True)
    def price(self):
        async def later():
            return 1.0

        if self.how.startswith("hangs"):
            self.go.wait(30)
        return later() if self.how.endswith("gives an awaitable") else 1.0


class Plain(Plugin):
    @hookimpl
    def price(self):
        return 2.0


class Async(Plugin):
    @hookimpl(trylast=True)
    async def price(self):
        await asyncio.sleep(0)
        return 3.0


@pytest.mark.parametrize(
    "how", ["returns", "gives an awaitable", "hangs", "hangs, gives an awaitable"]
)
def test_a_call_is_inside_of_none_of_the_others(how, make):
    """Whatever one plugin does, the calls beside it have the parent that the caller has."""
    go, observer = threading.Event(), Nesting()
    builtin = [("first", First(how, go)), ("plain", Plain), ("async", Async)]
    registry = make(Specs, *builtin, observe=[observer], fails="hangs" in how)
    try:
        asyncio.run(registry.dispatch.bind(timeout=0.2).acall(Specs.price))
    finally:
        go.set()
        for thread in threading.enumerate():
            if thread.name == "plugreg acall":
                thread.join(30)

    assert observer.parents == {"first": None, "plain": None, "async": None}
    assert observer.faults == []
