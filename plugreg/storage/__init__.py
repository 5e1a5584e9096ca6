"""Stores of desired states, settings and metadata, and their contract.

`open_storage` opens a store by its URL; `copy`, `export_json` and `import_json` move its contents.
Importing this package imports none of the libraries that a store needs; the first use of that
store does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugreg.storage.base import Storage, Transaction
from plugreg.storage.memory import MemoryStorage
from plugreg.storage.opening import open_storage
from plugreg.storage.transfer import copy, export_json, import_json

if TYPE_CHECKING:
    from plugreg.storage.file.tinydb import TinyDBStorage
    from plugreg.storage.sql.storage import SQLStorage
else:

    def __getattr__(name: str) -> object:
        # The stores that need a library are imported when they are first asked for (PEP 562).
        if name == "TinyDBStorage":
            from plugreg.storage.file.tinydb import TinyDBStorage

            return TinyDBStorage
        if name == "SQLStorage":
            from plugreg.storage.sql.storage import SQLStorage

            return SQLStorage
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "MemoryStorage",
    "SQLStorage",
    "Storage",
    "TinyDBStorage",
    "Transaction",
    "copy",
    "export_json",
    "import_json",
    "open_storage",
]


def __dir__() -> list[str]:
    return __all__
