"""Broken on purpose: a script that became a plugin and still ends the process when imported.

``SystemExit`` is no ``Exception``; plugreg takes it for the fault that it is. Stage ``import``.
"""

import sys

from plugreg import Plugin


class BrokenExit(Plugin):
    """Would be fine, but for the last line of the module."""


sys.exit("usage: shop_broken_exit.py PRICES")
