"""Where wishes, settings and metadata are kept: the contract, and the stores that fulfil it.

Importing this package imports neither TinyDB nor filelock; the first use of
:class:`TinyDBStorage` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugreg.storage.base import Storage, Transaction
from plugreg.storage.memory import MemoryStorage

if TYPE_CHECKING:
    from plugreg.storage.tinydb import TinyDBStorage
else:

    def __getattr__(name: str) -> object:
        # PEP 562: the backends that need a library are imported when they are asked for.
        if name == "TinyDBStorage":
            from plugreg.storage.tinydb import TinyDBStorage

            return TinyDBStorage
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["MemoryStorage", "Storage", "TinyDBStorage", "Transaction"]


def __dir__() -> list[str]:
    return __all__
