"""A fault is expected by its stage, and the test fails once it is mended."""

from shop.testing import plugin_host

__all__ = ["plugin_host"]


def test_fails_as_it_says(plugin_host):
    """The file is in the message."""
    host = plugin_host(("broken-init", "shop_broken_init:BrokenInit"))
    host.expect_failure(stage="init", match="no-such-price-list")

    assert host.registry.get("broken-init").plugin is None
