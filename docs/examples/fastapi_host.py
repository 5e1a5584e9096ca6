"""A shop on FastAPI that asks its plugins for prices, without ever blocking its loop.

    pip install 'plugreg[fastapi]' uvicorn
    SHOP_TOKEN=secret uvicorn fastapi_host:app
    curl http://127.0.0.1:8000/prices/tea
    curl -H 'Authorization: Bearer secret' http://127.0.0.1:8000/api/plugins/

The plugins here are the shop's own, so that this is a single file. Other plugins come from
installed distributions with entry points in the group ``shop.plugins``.
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
    """The hooks of the shop."""

    @hookspec
    def price(self, item: str) -> float | None:
        """Return the price of an item, None for an item that the plugin does not have."""


class Supplier(Plugin):
    """Asks another service, as most plugins with async hooks do."""

    NAME = "supplier"

    @hookimpl
    async def price(self, item: str) -> float | None:
        await asyncio.sleep(0.01)
        return 2.5 if item == "tea" else None


class PriceList(Plugin):
    """Reads a file synchronously; a thread runs it, and the loop continues."""

    NAME = "price list"

    @hookimpl
    def price(self, item: str) -> float | None:
        time.sleep(0.01)
        return {"tea": 3.0, "coffee": 4.0}.get(item)


class Asleep(Plugin):
    """Never answers in time: it loses its own results, and after a while it is not called."""

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
    """Load the plugins before the first request, and close the registry after the last."""
    await asyncio.to_thread(registry.load)
    yield
    await asyncio.to_thread(registry.close)


def identify(request: Request) -> Actor:
    """Return the user: the operator has the token of the environment, others are anonymous."""
    token = os.environ.get("SHOP_TOKEN", "")
    given = request.headers.get("Authorization", "")
    if token and hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        return Actor(1, is_superuser=True)
    return Actor.anonymous()


app = FastAPI(lifespan=serving)
app.include_router(create_router(registry, identify=identify))


@app.get("/prices/{item}")
async def prices(item: str) -> dict[str, float]:
    """Return each plugin's price for an item. A failing plugin is left out."""
    outcomes = await registry.aoutcomes(Hooks.price, item=item)
    return {outcome.slug: outcome.value for outcome in outcomes if outcome.value is not None}


@app.get("/ready")
async def ready() -> dict[str, object]:
    """Return whether the shop can serve, and which plugins are not called at the moment."""
    waiting = [record.slug for record in registry.active.values() if record.circuit != "closed"]
    return {"ready": registry.ready, "waiting": waiting}
