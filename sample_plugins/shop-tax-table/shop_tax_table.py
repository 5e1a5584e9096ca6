"""A plain pluggy plugin: a module with functions, written for a shop that only had pluggy.

No base class, no import of plugreg. Its marker carries the shop's own project name.
"""

import pluggy

hookimpl = pluggy.HookimplMarker("shop")

RATES = {"tea": 0.07, "honey": 0.07}
"""What is not food is taxed at 19 per cent."""


@hookimpl
def price_change(item: str, price: float) -> float:
    return round(RATES.get(item, 0.19) * price, 2)
