"""Stores of desired states, settings and metadata, and their contract.

`open_storage` opens a store by its URL; `copy`, `export_json` and `import_json` move its contents.
Importing this package imports none of the libraries that a store needs; the first use of that
store does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugreg._support import lazy_names
from plugreg.storage.memory import MemoryStorage

if TYPE_CHECKING:
    from plugreg.storage.contract import Storage, Transaction
    from plugreg.storage.file.tinydb import TinyDBStorage
    from plugreg.storage.opening import open_storage
    from plugreg.storage.sql.storage import SQLStorage
    from plugreg.storage.transfer import copy, export_json, import_json
else:
    # Modules that a program with a store in memory does not need are imported lazily.
    __getattr__ = lazy_names(
        __name__,
        {
            "file.tinydb": "TinyDBStorage",
            "sql.storage": "SQLStorage",
            "contract": "Storage Transaction",
            "opening": "open_storage",
            "transfer": "copy export_json import_json",
        },
    )


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
