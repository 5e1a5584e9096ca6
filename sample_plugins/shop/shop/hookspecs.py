"""What the shop asks its plugins. The types are those of ``registry.call(Hooks.price_change, …)``.

The first line of each docstring is what a plugin's author looks for: when it is asked, and what
the answer means.
"""

from plugreg import hookspec


class Hooks:
    """The questions of the shop. A plugin implements those it has an answer to."""

    @hookspec
    def price_change(self, item: str, price: float) -> float | None:
        """Say what to add to the price of an item, in euros; below zero takes off. None: nothing.

        ``price`` is what stands on the shelf, the same for every plugin, so that the order in
        which plugins are asked does not matter.
        """

    @hookspec(firstresult=True)
    def greeting(self, customer: str) -> str | None:
        """Greet a customer who comes in. The first plugin that answers is heard."""

    @hookspec
    def receipt_line(self, item: str) -> str | None:
        """Add a line to the receipt of an item."""
