"""Version limits in the class, where a package cannot or does not say them in its dependencies.

Both ends are included. plugreg can see them only once the class is imported; limits in the
package's ``Requires-Dist``, as shop-too-new has them, are seen before that.
"""

from plugreg import Plugin, hookimpl


class LegacyLimits(Plugin):
    """Writes who to thank on each receipt, in every shop from 1.0 to 2.9."""

    MIN_VERSION = "1.0"
    MAX_VERSION = "2.9"

    @hookimpl
    def receipt_line(self, item: str) -> str:
        return f"Thank you for buying {item}."
