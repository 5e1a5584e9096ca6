"""Exchange rates, version 1: what another currency costs in euros. Version 2 has it otherwise."""

VERSION = "1.0"


def euros(currency: str) -> float:
    """Return what one unit of a currency costs."""
    return {"USD": 0.91, "SEK": 0.09}[currency]
