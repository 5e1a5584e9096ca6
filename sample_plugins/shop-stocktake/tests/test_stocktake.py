"""An action and a validation are asked for as the shop does it."""

from shop.app import act, refusal
from shop.testing import Conformance, plugin_host
from shop_stocktake import Stocktake

__all__ = ["plugin_host"]


def test_counts_the_shelves(plugin_host):
    """An empty shelf is no success."""
    registry = plugin_host(Stocktake).registry

    done = act(registry, "count", shelf={"tea": 3, "honey": 2})
    assert done == {"action": "count", "result": True, "info": {"pieces": 5}}


def test_refuses_what_does_not_keep(plugin_host):
    """The words are those that a user reads."""
    registry = plugin_host(Stocktake).registry

    assert refusal(registry, "ice cream") == "ice cream does not keep on a shelf"
    assert refusal(registry, "tea") is None


class TestStocktake(Conformance):
    plugin = "shop_stocktake:Stocktake"
