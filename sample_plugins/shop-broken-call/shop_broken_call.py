"""Broken on purpose: starts well and fails at its work. Stage ``call``; it stays active.

One result is lost, the fault is recorded by name, and the others are asked as ever.
"""

from plugreg import Plugin, hookimpl


class BrokenCall(Plugin):
    """Divides by nothing."""

    @hookimpl
    def price_change(self, price: float) -> float:
        return price / 0
