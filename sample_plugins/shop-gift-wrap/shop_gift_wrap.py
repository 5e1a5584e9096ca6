"""Settings that depend on something. The plain ones are in shop-greeting.

``default`` and ``choices`` may be functions: both are asked each time, and never stored. Several
validators are asked in turn. ``before_save`` has the last word on a value that is valid, and
``after_save`` hears of it once it is stored; both get the change: ``slug``, ``user``, ``key`` and
``value``, which is text. (What the plugin's object is to hear of comes by the hook
``plugreg_settings_changed``.)
"""

import logging

from plugreg import Plugin, hookimpl
from plugreg.mixins import SettingsMixin
from plugreg.settings import SettingChange

PAPERS = {"plain": 0.50, "striped": 0.90, "gold": 2.20}
"""What a sheet costs, in euros."""

SOLD_OUT = {"gold"}


def cheapest() -> str:
    """Return the paper that is taken as long as nobody has chosen one."""
    return min(PAPERS, key=PAPERS.__getitem__)


def papers() -> list[tuple[str, str]]:
    """Return each paper that may be chosen, and the words it is offered with."""
    return [(paper, f"{paper.title()}, {price:.2f} EUR") for paper, price in PAPERS.items()]


def not_below_zero(number: float) -> None:
    if number < 0:
        raise ValueError("Nobody is paid for having a gift wrapped")


def whole_cents(number: float) -> None:
    if round(number, 2) != number:
        raise ValueError("A price has two decimals at most")


def in_stock(change: SettingChange) -> None:
    """Refuse a paper that could be chosen at any other time."""
    if change.value in SOLD_OUT:
        raise ValueError(f"There is no {change.value} paper left")


def tell_the_wrappers(change: SettingChange) -> None:
    """Write it down, for the value is stored by now. An error here would only be logged."""
    logging.getLogger(f"plugreg.plugin.{change.slug}").info("from now on: %s", change.value)


class GiftWrap(SettingsMixin, Plugin):
    """Offers on each receipt to wrap what was bought."""

    SETTINGS = {
        "PAPER": {
            "name": "Paper",
            "default": cheapest,
            "choices": papers,
            "before_save": in_stock,
            "after_save": tell_the_wrappers,
        },
        "FEE": {
            "name": "Fee for wrapping",
            "units": "EUR",
            "default": 1.0,
            # The first one converts, so that the others get a number.
            "validator": [float, not_below_zero, whole_cents],
            "confirm": True,
            "confirm_text": "Customers will pay this from now on.",
        },
        # The key of one of the host's objects. Which ones are offered is said by the filters.
        "IN_WINDOW": {
            "name": "What to wrap for the shop window",
            "model": "shop.item",
            "model_filters": {"in_stock": True},
        },
        # For whoever sets up the shop: a page of settings leaves it out.
        "PRINTER": {"name": "Address of the label printer", "hidden": True},
    }

    @hookimpl
    def receipt_line(self, item: str) -> str:
        paper = self.get_setting("PAPER")
        return f"As a gift, in {paper} paper: {PAPERS[paper] + self.get_setting('FEE'):.2f} EUR."
