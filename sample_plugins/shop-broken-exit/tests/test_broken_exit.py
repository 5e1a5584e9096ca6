"""A fault is expected by its stage, and the test fails once it is mended."""

from shop.testing import plugin_host

__all__ = ["plugin_host"]


def test_fails_as_it_says(plugin_host):
    """A plugin that ends the process at import costs itself alone."""
    host = plugin_host(("broken-exit", "shop_broken_exit:BrokenExit"))
    host.expect_failure(stage="import", match="usage")

    assert host.registry.get("broken-exit").plugin is None
