"""Look-up of imported modules by name."""

from __future__ import annotations

import inspect
import sys
from typing import Any


def named(module: str, qualname: str) -> Any:
    """Return the attribute of an imported module by its dotted name, None where there is none.

    Nothing is imported: a plugin that derives from a class has imported its module. No code runs.
    """
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = inspect.getattr_static(found, name, None)
    return found
