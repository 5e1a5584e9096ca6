"""The shop itself: how a host embeds plugreg, and what it then asks its plugins."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from plugreg import PluginRegistry
from plugreg.mixins import ValidationFault, ask_validators
from plugreg.storage import TinyDBStorage
from shop.hookspecs import Hooks

SHELF = {"tea": 4.00, "honey": 8.00, "teapot": 24.00}
"""What the shop sells, at which price in euros."""

logger = logging.getLogger("shop")


def make_registry(storage_path: str | os.PathLike[str]) -> PluginRegistry:
    """Make the shop's registry, which remembers in the file at ``storage_path``. Loads nothing.

    The version is that of the installed package, so that it is stated in one place.
    """
    return PluginRegistry(
        "shop",
        host_version=version("shop"),
        group="shop.plugins",
        hookspecs=[Hooks],
        storage=TinyDBStorage(storage_path),
    )


def price_of(registry: PluginRegistry, item: str) -> float:
    """Return what a customer pays. A plugin that fails costs its own answer, and no other."""
    price = SHELF[item]
    return round(price + sum(registry.call(Hooks.price_change, item=item, price=price)), 2)


# What follows calls methods of plugins' objects. plugreg isolates the hooks that it calls; what a
# host calls by itself, it isolates by itself.


@contextmanager
def isolated(plugin: object) -> Iterator[None]:
    """Log what a plugin raises, and go on with the next one."""
    try:
        yield
    except (Exception, SystemExit):
        logger.exception("plugin class %s failed", type(plugin).__name__)


def tell(registry: PluginRegistry, event: str, **facts: Any) -> None:
    """Tell the plugins that listen of something that happened in the shop."""
    for plugin in registry.with_mixin("events"):
        with isolated(plugin):
            if plugin.wants_process_event(event):
                plugin.process_event(event, **facts)


def refusal(registry: PluginRegistry, item: str) -> str | None:
    """Return why a plugin does not want this item on the shelf, None if nobody minds."""
    for plugin in registry.with_mixin("validation"):
        with isolated(plugin):
            try:
                ask_validators([plugin], "validate_item", item)
            except ValidationFault as fault:
                return str(fault.message)
    return None


def act(registry: PluginRegistry, name: str, **data: Any) -> dict[str, Any] | None:
    """Have the first plugin that has this action, and manages it, carry it out.

    Returns the plugin's answer, None if there is none.
    """
    for plugin in registry.with_mixin("action"):
        with isolated(plugin):
            if plugin.action_name() == name:
                plugin.perform_action(data=data)
                answer: dict[str, Any] = plugin.get_response(data=data)
                return answer
    return None
