"""Hooks only: the smallest plugin there is.

A class, one method marked as an implementation, and an entry point in ``pyproject.toml``. Title,
version and author come from the package. Which versions of the shop it works with is said once,
in its dependencies: ``shop>=2,<3``.
"""

from plugreg import Plugin, hookimpl

FROM = 5.00
"""What is cheaper keeps its price, in euros."""


def takes_off(price: float) -> float:
    """Return what this plugin takes off a price; shop-loyalty asks for it too."""
    return 0.10 * price if price > FROM else 0.0


class Discount(Plugin):
    """Ten per cent off what costs more than five euros."""

    @hookimpl
    def price_change(self, price: float) -> float | None:
        # An implementation takes those arguments that it needs: this one has no use for ``item``.
        off = takes_off(price)
        return -off if off else None
