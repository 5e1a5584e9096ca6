"""A plugin that depends on another.

Its package requires ``shop-discount``, as any package requires what it imports; that is all.
plugreg reads it there: loyalty is activated after discount, is not loaded while discount is off,
and discount cannot be switched off under its feet.
"""

from shop_discount import takes_off

from plugreg import Plugin, hookimpl


class Loyalty(Plugin):
    """Another two per cent of what is left after the discount."""

    @hookimpl
    def price_change(self, price: float) -> float:
        return -round(0.02 * (price - takes_off(price)), 2)
