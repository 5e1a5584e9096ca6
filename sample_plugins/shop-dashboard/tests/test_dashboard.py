"""What is shown is asked for as the page does it, over HTTP too."""

from shop.testing import Conformance, plugin_host
from shop_dashboard import Dashboard

from plugreg.api import Actor

__all__ = ["plugin_host"]


def test_shows_takings_and_the_sales_of_an_item(plugin_host):
    """A page without an item has no panel."""
    host = plugin_host(("dashboard", Dashboard))

    assert [item.key for item in host.registry.ui_features("dashboard")] == ["today"]
    assert host.registry.ui_features("panel") == ()
    [panel] = host.registry.ui_features("panel", context={"item": "tea"})
    assert panel.title == "Sales of tea"


def test_its_scripts_are_served(plugin_host):
    """A browser gets the script that a feature names."""
    client = plugin_host(("dashboard", Dashboard)).client(Actor(1, is_staff=True))

    assert client.get("/static/plugins/dashboard/sales.js").status_code == 200


class TestDashboard(Conformance):
    plugin = "shop_dashboard:Dashboard"
