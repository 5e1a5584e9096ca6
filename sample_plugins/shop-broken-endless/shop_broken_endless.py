"""Broken on purpose: never returns. The shop isolates this plugin, and gives it a second.

In the shop's own process nothing could end this call. Stage ``call``.
"""

import time

from plugreg import Plugin, hookimpl


class BrokenEndless(Plugin):
    """Waits for a printer that nobody has."""

    @hookimpl
    def receipt_line(self, item: str) -> str:
        while True:
            time.sleep(60)
