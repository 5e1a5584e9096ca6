"""The smallest plugin has the smallest tests."""

from shop.hookspecs import Hooks
from shop.testing import Conformance, plugin_host
from shop_discount import Discount

__all__ = ["plugin_host"]


def test_takes_ten_per_cent_off_what_is_dear(plugin_host):
    """What costs five euros or less keeps its price."""
    host = plugin_host(Discount)

    assert host.call(Hooks.price_change, item="honey", price=8.0) == [-0.8]
    assert host.call(Hooks.price_change, item="tea", price=5.0) == []


class TestDiscount(Conformance):
    plugin = "shop_discount:Discount"
