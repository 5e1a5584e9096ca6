"""The host's version is an option of a test."""

import pytest
from shop.hookspecs import Hooks
from shop.testing import Conformance, plugin_host
from shop_legacy_limits import LegacyLimits

from plugreg import PluginState

__all__ = ["plugin_host"]


@pytest.mark.parametrize("version", ["1.0", "2.4", "2.9"])
def test_thanks_in_the_shops_that_it_knows(plugin_host, version):
    """Both ends of the range are in it."""
    host = plugin_host(LegacyLimits, host_version=version)

    assert host.call(Hooks.receipt_line, item="tea") == ["Thank you for buying tea."]


def test_does_not_come_into_service_in_a_later_shop(plugin_host):
    """It is not broken there, but incompatible, and the reason says so."""
    host = plugin_host(LegacyLimits, host_version="3.0")
    host.expect_failure(match="3.0")

    assert host.registry.get(host.slug).state is PluginState.INCOMPATIBLE


class TestLegacyLimits(Conformance):
    plugin = "shop_legacy_limits:LegacyLimits"
