"""A migration is tested with what the old version had stored, and without the old version."""

from shop.hookspecs import Hooks
from shop.testing import Conformance, plugin_host
from shop_courier import Courier

from plugreg.testing import stored

__all__ = ["plugin_host"]


def test_says_where_parcels_are_brought_to(plugin_host):
    """Without postcodes it has nothing to say."""
    host = plugin_host(Courier, settings={"POSTCODES": ["3011", "3012"], "VEHICLE": "van"})

    assert host.call(Hooks.receipt_line, item="tea") == ["Brought to 3011, 3012 by van."]
    host.settings.set("POSTCODES", [])
    assert host.call(Hooks.receipt_line, item="tea") == []


def test_takes_the_area_of_version_1_along(plugin_host):
    """One text becomes a list; what users have set stays."""
    old = stored(version=1, AREA="3011, 3012,", users={7: {"DOORSTEP": "True"}})
    host = plugin_host(Courier, stored=old)

    assert host.settings["POSTCODES"] == ["3011", "3012"]
    assert host.user(7)["DOORSTEP"] is True


class TestCourier(Conformance):
    plugin = "shop_courier:Courier"
