"""The shop itself: how a host embeds plugreg, and what it then asks its plugins."""

import os
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from plugreg import PluginRegistry
from plugreg.isolation import Isolated
from plugreg.mixins import ValidationFault
from plugreg.storage import TinyDBStorage
from shop.hookspecs import Hooks

SHELF = {"tea": 4.00, "honey": 8.00, "teapot": 24.00}
"""What the shop sells, at which price in euros."""


def make_registry(
    storage_path: str | os.PathLike[str] | None = None, **options: Any
) -> PluginRegistry:
    """Make the shop's registry, which remembers in the file at ``storage_path``. Loads nothing.

    Without a path that is the file that SHOP_STORE names, or ``shop-plugins.json`` here, so that
    ``plugreg --app shop.app:make_registry list`` lists the plugins of the shop. The version is that
    of the installed package, so that it is stated in one place. ``options`` are those of
    PluginRegistry, and win: shop.testing gives a storage in memory.
    """
    if "storage" not in options:
        storage_path = storage_path or os.environ.get("SHOP_STORE", "shop-plugins.json")
        options["storage"] = TinyDBStorage(storage_path)
    own: dict[str, Any] = {
        "host_version": version("shop"),
        "hookspecs": [Hooks],
        "isolate": isolated(),
    }
    return PluginRegistry("shop", group="shop.plugins", **{**own, **options})


def isolated() -> dict[str, Isolated]:
    """Return how the plugins that would harm the shop itself run, in processes of their own."""
    packages = find_spec("shop_old_rates_packages")
    places = None if packages is None else packages.submodule_search_locations
    return {
        "broken-endless": Isolated(timeout=1.0),
        "broken-native": Isolated(),
        "old-rates": Isolated(environment=Path(places[0]) if places else None),
    }


def price_of(registry: PluginRegistry, item: str) -> float:
    """Return what a customer pays. A plugin that fails costs its own answer, and no other."""
    price = SHELF[item]
    return round(price + sum(registry.call(Hooks.price_change, item=item, price=price)), 2)


# What follows calls methods of plugins' mixins. As with hooks, one that fails costs its own answer.


def tell(registry: PluginRegistry, event: str, **facts: Any) -> None:
    """Tell the plugins that listen of something that happened in the shop."""
    wants = registry.capabilities.outcomes("events", "wants_process_event", event)
    listeners = registry.capabilities.only(*(outcome.slug for outcome in wants if outcome.value))
    listeners.outcomes("events", "process_event", event, **facts)


def refusal(registry: PluginRegistry, item: str) -> str | None:
    """Return why a plugin does not want this item on the shelf, None if nobody minds."""
    for outcome in registry.capabilities.outcomes("validation", "validate_item", item):
        if isinstance(outcome.error, ValidationFault):
            return str(outcome.error.message)
    return None


def act(registry: PluginRegistry, name: str, **data: Any) -> dict[str, Any] | None:
    """Have the first plugin that has this action, and manages it, carry it out.

    Returns the plugin's answer, None if there is none.
    """
    for named in registry.capabilities.outcomes("action", "action_name"):
        if named.value == name:
            plugin = registry.capabilities.only(named.slug)
            for done in plugin.outcomes("action", "perform_action", data=data):
                for answer in plugin.outcomes("action", "get_response", data=data):
                    if done.error is None and answer.error is None:
                        return answer.value
    return None
