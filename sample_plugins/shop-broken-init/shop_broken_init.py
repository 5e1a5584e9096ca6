"""Broken on purpose: the constructor needs a file that is not there. Fails at stage ``init``.

What can fail is better done in ``plugreg_activated``, where settings can be read too.
"""

from pathlib import Path

from plugreg import Plugin


class BrokenInit(Plugin):
    """Would read a price list."""

    def __init__(self) -> None:
        self.prices = Path(__file__).with_name("no-such-price-list.txt").read_text()
