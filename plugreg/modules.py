"""Which imported modules belong to a plugin, so that its code can be imported anew.

Only what a plugin's own distribution or folder brought is ever taken from ``sys.modules``: never
the host's modules, and never those of a sibling in the same namespace package.
"""

from __future__ import annotations

import sys
from pathlib import Path, PurePosixPath
from types import ModuleType

from plugreg.discovery import directories
from plugreg.records import PluginSpec, Source


class Evicted:
    """Modules taken from ``sys.modules``, which can be put back."""

    def __init__(self, modules: dict[str, ModuleType]) -> None:
        self._modules = modules

    def restore(self) -> None:
        """Put back those that were not imported anew; the others stay as they are now."""
        for name, module in self._modules.items():
            sys.modules.setdefault(name, module)


def evict(spec: PluginSpec) -> Evicted:
    """Take the modules of a plugin, and of all others of its distribution, from ``sys.modules``.

    Objects made of the old code stay as they are. Of objects that a host gave, nothing is taken.
    """
    return Evicted({name: sys.modules.pop(name) for name in _modules_of(spec)})


def _modules_of(spec: PluginSpec) -> list[str]:
    if spec.target is not None or spec.path is None:
        return []
    module = spec.value.partition("[")[0].partition(":")[0].strip()
    if spec.source in (Source.DIRECTORY, Source.SAMPLE):
        file = Path(spec.path)
        folder = file.parent.parent if file.name == "__init__.py" else file.parent
        return _below(directories.private_name(folder, module))
    recorded = _recorded_modules(Path(spec.path))
    if recorded:
        return [name for name in list(sys.modules) if name in recorded]
    return _below(_root_of(module))


def _recorded_modules(folder: Path) -> set[str]:
    """Return the names of the modules that RECORD lists, none for an editable install."""
    import csv

    try:
        text = (folder / "RECORD").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    names = set()
    for row in csv.reader(text.splitlines()):
        path = PurePosixPath(row[0]) if row else PurePosixPath()
        # An editable install records no more than the file that leads to the sources.
        if path.suffix != ".py" or ".." in path.parts or path.name.startswith("__editable__"):
            continue
        parts = path.parent.parts if path.name == "__init__.py" else (*path.parent.parts, path.stem)
        names.add(".".join(parts))
    return names


def _root_of(module: str) -> str:
    """Return the outermost regular package or module of a dotted name, past namespaces."""
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        name = ".".join(parts[:length])
        if getattr(sys.modules.get(name), "__file__", None) is not None:
            return name
    return module


def _below(root: str) -> list[str]:
    return [name for name in list(sys.modules) if name == root or name.startswith(f"{root}.")]
