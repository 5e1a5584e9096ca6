"""Events are emitted as the shop does it."""

from shop.testing import Conformance, plugin_host
from shop_audit import Audit

__all__ = ["plugin_host"]


def test_keeps_a_journal_of_items_alone(plugin_host):
    """What is no event of an item is not heard."""
    host = plugin_host(Audit)

    assert host.emit("item.sold", item="tea") == ("audit",)
    assert host.emit("shop.closed") == ()
    assert host.plugin.journal == ["item.sold: tea"]


class TestAudit(Conformance):
    plugin = "shop_audit:Audit"
