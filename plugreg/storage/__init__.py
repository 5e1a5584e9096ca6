"""Stores of desired states, settings and metadata, and their contract.

`open_storage` opens a store by its URL; `copy`, `export_json` and `import_json` move its contents.
Importing this package imports none of the libraries that a store needs; the first use of that
store does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugreg.storage.memory import MemoryStorage

if TYPE_CHECKING:
    from plugreg.storage.contract import Storage, Transaction
    from plugreg.storage.file.tinydb import TinyDBStorage
    from plugreg.storage.opening import open_storage
    from plugreg.storage.sql.storage import SQLStorage
    from plugreg.storage.transfer import copy, export_json, import_json
else:

    def __getattr__(name: str) -> object:
        # PEP 562: modules that a program with a store in memory does not need are imported lazily.
        if name == "TinyDBStorage":
            from plugreg.storage.file import tinydb as module
        elif name == "SQLStorage":
            from plugreg.storage.sql import storage as module
        elif name in ("Storage", "Transaction"):
            from plugreg.storage import contract as module
        elif name == "open_storage":
            from plugreg.storage import opening as module
        elif name in ("copy", "export_json", "import_json"):
            from plugreg.storage import transfer as module
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(module, name)


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
