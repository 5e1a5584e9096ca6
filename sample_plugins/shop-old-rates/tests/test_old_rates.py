"""The plugin has its library, and the shop has another version of it."""

import shop_rates
from shop.app import make_registry
from shop.hookspecs import Hooks

from plugreg.storage import MemoryStorage


def test_each_has_its_own_version() -> None:
    """Version 1 is in the environment of the plugin, version 2 in that of the shop."""
    with make_registry(storage=MemoryStorage()) as registry:
        registry.load()
        registry.activate("old-rates")

        assert registry.call(Hooks.receipt_line, item="tea") == [
            "tea: a dollar costs 0.91 EUR (1.0)."
        ]
    assert shop_rates.VERSION == "2.0"
