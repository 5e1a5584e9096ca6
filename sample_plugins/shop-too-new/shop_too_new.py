"""Made for a shop that is not out yet: the package requires ``shop>=3``.

plugreg reads that in the package's metadata, and never imports this module in an older shop. If
it did, the next line would tell.
"""

raise RuntimeError("shop-too-new was imported, but it is not made for this shop")
