"""A plugin that depends on another is tested beside it."""

import pytest
from shop.hookspecs import Hooks
from shop.testing import Conformance, plugin_host
from shop_discount import Discount
from shop_loyalty import Loyalty

__all__ = ["plugin_host"]


def test_takes_two_per_cent_off_the_rest(plugin_host):
    """The discount is taken off first, whichever plugin is asked first."""
    host = plugin_host(Loyalty, Discount)

    changes = host.call(Hooks.price_change, item="teapot", price=24.0)
    assert sorted(changes) == pytest.approx([-2.4, -0.43])


class TestLoyalty(Conformance):
    plugin = "shop_loyalty:Loyalty"
