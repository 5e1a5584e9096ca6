"""Tasks fall due when the test says so."""

from shop.testing import Conformance, plugin_host
from shop_report import Report

__all__ = ["plugin_host"]


def test_sums_up_every_quarter_of_an_hour_and_every_week(plugin_host):
    """Of a day there are 96 quarters, and at most one Monday."""
    host = plugin_host(Report)

    assert host.time.advance(45 * 60) == ("plugin.report.takings",) * 3
    week = host.time.advance(7 * 24 * 3600)
    assert week.count("plugin.report.week") == 1


class TestReport(Conformance):
    plugin = "shop_report:Report"
