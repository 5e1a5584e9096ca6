"""A fault is expected by its stage, and the test fails once it is mended."""

from shop.testing import plugin_host

__all__ = ["plugin_host"]


def test_fails_as_it_says(plugin_host):
    """The name is in the message."""
    host = plugin_host(("broken-import", "shop_broken_import:BrokenImport"))
    host.expect_failure(stage="import", match="titel_of_the_shop")

    assert host.registry.get("broken-import").plugin is None
