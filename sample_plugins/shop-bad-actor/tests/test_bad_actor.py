"""A fault is expected by its stage, and the test fails once it is mended."""

from shop.testing import plugin_host

__all__ = ["plugin_host"]


def test_fails_as_it_says(plugin_host):
    """The method is in the message."""
    host = plugin_host(("bad-actor", "shop_bad_actor:BadActor"))
    host.expect_failure(stage="import", match="final method")

    assert host.registry.get("bad-actor").plugin is None
