"""A dependency that contradicts the host's: shop-rates 1, where the shop has shop-rates 2.

The shop isolates this plugin, with an environment of its own: a folder that has the old library.
``registry.install("shop-old-rates", isolate=True)`` makes such a folder; here it comes along, so
that the demo needs no package index.
"""

import shop_rates

from plugreg import Plugin, hookimpl


class OldRates(Plugin):
    """Says on each receipt what a dollar costs, as version 1 of the library tells it."""

    @hookimpl
    def receipt_line(self, item: str) -> str:
        return f"{item}: a dollar costs {shop_rates.euros('USD'):.2f} EUR ({shop_rates.VERSION})."
