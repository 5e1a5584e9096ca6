"""Look-up of imported modules by name."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any


def named(module: str, qualname: str) -> Any:
    """Return the attribute of an imported module by its dotted name, None where there is none.

    Nothing is imported: a plugin that derives from a class has imported its module. No code runs.
    """
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = inspect.getattr_static(found, name, None)
    return found


def package_files(plugin: Any) -> Iterator[str]:
    """Yield the files of the packages around a plugin's module, the nearest first.

    The search ends at a package without a file, which is a shared namespace.
    """
    is_module = issubclass(type(plugin), ModuleType)
    name = vars(plugin).get("__name__") if is_module else type(plugin).__module__
    module = sys.modules.get(name) if isinstance(name, str) else None
    package = vars(module).get("__package__") if module is not None else None
    while isinstance(package, str) and package:
        file = vars(sys.modules.get(package, object)).get("__file__")
        if not isinstance(file, str):
            return
        yield file
        package = package.rpartition(".")[0]
