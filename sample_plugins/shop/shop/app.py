"""The shop itself: how a host embeds plugreg, and what it then asks its plugins."""

import os
from importlib.metadata import version
from typing import Any

from plugreg import PluginRegistry
from plugreg.mixins.validation import ValidationFault, ask_validators
from plugreg.storage import TinyDBStorage
from shop.hookspecs import Hooks

SHELF = {"tea": 4.00, "honey": 8.00, "teapot": 24.00}
"""What the shop sells, at which price in euros."""


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


def tell(registry: PluginRegistry, event: str, **facts: Any) -> None:
    """Tell the plugins that listen of something that happened in the shop."""
    for plugin in registry.with_mixin("events"):
        if plugin.wants_process_event(event):
            plugin.process_event(event, **facts)


def refusal(registry: PluginRegistry, item: str) -> str | None:
    """Return why a plugin does not want this item on the shelf, None if nobody minds."""
    try:
        ask_validators(registry.with_mixin("validation"), "validate_item", item)
    except ValidationFault as fault:
        return str(fault.message)
    return None


def act(registry: PluginRegistry, name: str, **data: Any) -> dict[str, Any] | None:
    """Have the plugin with this action carry it out; return its answer, None if nobody has it."""
    for plugin in registry.with_mixin("action"):
        if plugin.action_name() == name:
            plugin.perform_action(data=data)
            answer: dict[str, Any] = plugin.get_response(data=data)
            return answer
    return None
