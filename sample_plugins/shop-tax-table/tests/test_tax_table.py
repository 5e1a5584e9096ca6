"""A plain pluggy plugin needs nothing of plugreg to be tested, and passes the checks that fit."""

import shop_tax_table
from shop.hookspecs import Hooks
from shop.testing import Conformance, plugin_host

__all__ = ["plugin_host"]


def test_taxes_food_less(plugin_host):
    """What is not food is taxed at 19 per cent."""
    host = plugin_host(shop_tax_table)

    assert host.call(Hooks.price_change, item="tea", price=1.0) == [0.07]
    assert host.call(Hooks.price_change, item="teapot", price=1.0) == [0.19]


class TestTaxTable(Conformance):
    plugin = "shop_tax_table"
