"""What is made for a later shop is found without importing it."""

from pathlib import Path

from shop.testing import contract


def test_is_not_made_for_this_shop():
    """The contract of the shop says so, from the sources alone."""
    report = contract().check(Path(__file__).parents[1])

    assert "K109" in [finding.code for finding in report.findings]
    assert not report.ok
