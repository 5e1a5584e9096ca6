"""Settings that depend on something are set as an operator sets them."""

import pytest
from shop.hookspecs import Hooks
from shop.testing import Conformance, plugin_host
from shop_gift_wrap import GiftWrap

from plugreg import SettingError

__all__ = ["plugin_host"]


def test_offers_the_cheapest_paper_until_one_is_chosen(plugin_host):
    """The fee is added to what the paper costs."""
    host = plugin_host(GiftWrap, settings={"FEE": 2.0})

    assert host.call(Hooks.receipt_line, item="tea") == ["As a gift, in plain paper: 2.50 EUR."]
    host.settings.set("PAPER", "striped")
    assert host.call(Hooks.receipt_line, item="tea") == ["As a gift, in striped paper: 2.90 EUR."]


@pytest.mark.parametrize(("key", "value"), [("PAPER", "gold"), ("FEE", -1), ("FEE", 0.001)])
def test_refuses_what_cannot_be(plugin_host, key, value):
    """Paper that is sold out, and prices that are none."""
    host = plugin_host(GiftWrap)

    with pytest.raises(SettingError):
        host.settings.set(key, value)


class TestGiftWrap(Conformance):
    plugin = "shop_gift_wrap:GiftWrap"
