"""Exchange rates, version 2: what a euro is worth in another currency. It is no plugin."""

VERSION = "2.0"

RATES = {"USD": 1.10, "SEK": 11.20}
