"""A shop on FastAPI that asks its plugins for prices, without ever blocking its loop.

    pip install 'plugreg[fastapi]' uvicorn
    SHOP_TOKEN=secret uvicorn fastapi_host:app
    curl http://127.0.0.1:8000/prices/tea
    curl -H 'Authorization: Bearer secret' http://127.0.0.1:8000/api/plugins/

The plugins here are the shop's own, so that this is one file; others come with the distributions
that are installed, by their entry points in the group ``shop.plugins``.
"""

import asyncio
import hmac
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request

from plugreg import CircuitPolicy, Plugin, PluginRegistry, hookimpl, hookspec
from plugreg.adapters.fastapi import create_router
from plugreg.api import Actor


class Hooks:
    """What the shop asks its plugins."""

    @hookspec
    def price(self, item: str) -> float | None:
        """Return the price of an item, None for one that the plugin does not have."""


class Supplier(Plugin):
    """Asks another service, as most plugins do that are worth an await."""

    NAME = "supplier"

    @hookimpl
    async def price(self, item: str) -> float | None:
        await asyncio.sleep(0.01)
        return 2.5 if item == "tea" else None


class PriceList(Plugin):
    """Looks into a file, without any async; a thread does that, and the loop goes on."""

    NAME = "price list"

    @hookimpl
    def price(self, item: str) -> float | None:
        time.sleep(0.01)
        return {"tea": 3.0, "coffee": 4.0}.get(item)


class Asleep(Plugin):
    """Never answers in time: its calls cost a result of its own, and after a while none."""

    NAME = "asleep"

    @hookimpl
    async def price(self, item: str) -> float | None:
        await asyncio.sleep(3_600)
        return None


registry = PluginRegistry(
    "shop",
    hookspecs=[Hooks],
    builtin=[Supplier, PriceList, Asleep],
    new_plugins="active",
    call_timeout=0.2,
    circuit=CircuitPolicy(max_failures=3, within=60, cool_down=30),
)


@asynccontextmanager
async def serving(_: FastAPI) -> AsyncIterator[None]:
    """Load the plugins before the first request, and let go of them after the last one."""
    await asyncio.to_thread(registry.load)
    yield
    await asyncio.to_thread(registry.close)


def identify(request: Request) -> Actor:
    """Tell who asks: the operator has the token of the environment, anybody else is nobody."""
    token = os.environ.get("SHOP_TOKEN", "")
    given = request.headers.get("Authorization", "")
    if token and hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        return Actor(1, is_superuser=True)
    return Actor.anonymous()


app = FastAPI(lifespan=serving)
app.include_router(create_router(registry, identify=identify))


@app.get("/prices/{item}")
async def prices(item: str) -> dict[str, float]:
    """Return what each plugin asks for an item. One that fails is not among them."""
    found = await registry.aoutcomes(Hooks.price, item=item)
    return {each.slug: each.value for each in found if each.value is not None}


@app.get("/ready")
async def ready() -> dict[str, object]:
    """Return whether the shop can serve, and which plugins get no calls at the moment."""
    waiting = [each.slug for each in registry.active.values() if each.circuit != "closed"]
    return {"ready": registry.ready, "waiting": waiting}
