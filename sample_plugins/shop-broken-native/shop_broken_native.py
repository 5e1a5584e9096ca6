"""Broken on purpose: crashes the interpreter, as native code may. The shop isolates this plugin.

In the shop's own process this would end the shop. Stage ``call``.
"""

import ctypes

from plugreg import Plugin, hookimpl


class BrokenNative(Plugin):
    """Reads from where no memory is."""

    @hookimpl
    def receipt_line(self, item: str) -> str:
        return f"{item}: {ctypes.string_at(0)!r}"
