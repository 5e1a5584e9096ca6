"""A fault in a call is expected by its stage."""

from shop.hookspecs import Hooks
from shop.testing import plugin_host
from shop_broken_call import BrokenCall

__all__ = ["plugin_host"]


def test_fails_as_it_says(plugin_host):
    """It stays active, and its answer is lost."""
    host = plugin_host(BrokenCall)

    with host.expect_failure(stage="call", match="division"):
        assert host.call(Hooks.price_change, item="tea", price=4.0) == []
    assert host.plugin is not None
