"""A fault is expected by its stage, and the test fails once it is mended."""

from shop.testing import plugin_host

__all__ = ["plugin_host"]


def test_fails_as_it_says(plugin_host):
    """Each fault is in the message."""
    host = plugin_host(("broken-mixin", "shop_broken_mixin:BrokenMixin"))
    host.expect_failure(stage="activate", match="tidy_up")

    assert host.registry.get("broken-mixin").plugin is None
