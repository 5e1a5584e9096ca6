"""Eviction of the modules of a plugin, so that its code is imported again.

Only what a plugin's own distribution or folder brought is ever taken from ``sys.modules``: never
the host's modules, and never those of a sibling in the same namespace package. It is imported with
the first code that has changed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Final

from plugreg._support.guard import Guard
from plugreg.records import PluginSpec, Source, placeless


class Evicted(dict[str, ModuleType]):
    """Modules by name that were evicted from ``sys.modules``, and can be restored."""

    def restore(self, *, all_of_them: bool = False) -> None:
        """Restore the modules that were not imported again, or ``all_of_them``."""
        from plugreg._support.importing import names_in

        for name, module in self.items():
            if all_of_them:
                sys.modules[name] = module
            if sys.modules.setdefault(name, module) is module:
                parent, _, child = name.rpartition(".")
                names = names_in(sys.modules.get(parent))
                names[child] = module if all_of_them else names.get(child, module)


def evict(spec: PluginSpec, taken: Evicted | None = None, *, whole_folder: bool = False) -> Evicted:
    """Evict the modules of a plugin, and of all others of its distribution.

    Of a plugin in a folder these are its file or package; with ``whole_folder`` all modules that
    were imported from the folder, neighbours that are no plugins included. Objects made of the old
    code stay as they are. Nothing is evicted for objects that a host gave. The modules are put
    into ``taken``, which is returned.
    """
    from plugreg._support.importing import forget

    taken = Evicted() if taken is None else taken
    forget(_modules_of(spec, whole_folder=whole_folder), taken)
    return taken


def _modules_of(spec: PluginSpec, *, whole_folder: bool) -> list[str]:
    if spec.target is not None or spec.path is None:
        return []
    if spec.source in (Source.DIRECTORY, Source.SAMPLE):
        from plugreg.discovery.directories import private_name

        private = private_name(spec.folder, spec.module)
        return _below(private.partition(".")[0] if whole_folder else private)
    recorded = _recorded_modules(Path(spec.path))
    if recorded:
        # Another distribution's module may have the same name, and have been imported instead.
        own = [
            name
            for name, module in list(sys.modules.items())
            if name in recorded
            and placeless(_file_of(module)) == placeless(os.path.realpath(recorded[name]))
        ]
    else:
        sources = _editable_sources(Path(spec.path))
        own = [
            name
            for name in _below(spec.module if sources is None else _root_of(spec.module))
            if sources is None or (_file_of(sys.modules.get(name)) or "").startswith(sources)
        ]
    # These stay, whatever a distribution claims to have installed.
    return [name for name in own if name.partition(".")[0] not in _NEVER]


_NEVER: Final = frozenset({*sys.stdlib_module_names, "plugreg", "pluggy", "packaging"})


def _editable_sources(info: Path) -> str | None:
    """Return the path below which an editable install has its sources (PEP 610), else None."""
    import json
    from urllib.parse import unquote, urlsplit

    with Guard():
        origin = json.loads((info / "direct_url.json").read_text(encoding="utf-8"))
        if origin["dir_info"]["editable"] and origin["url"].startswith("file:"):
            return f"{os.path.realpath(unquote(urlsplit(origin['url']).path))}{os.sep}"
    if info.suffix == ".egg-info":
        # setuptools' develop mode leaves its metadata among the sources.
        return f"{os.path.realpath(info.parent)}{os.sep}"
    return None


def _recorded_modules(folder: Path) -> dict[str, Path]:
    """Return name and file of the modules that RECORD lists, none for an editable install."""
    import csv

    found = {}
    try:
        text = (folder / "RECORD").read_text(encoding="utf-8", errors="replace")
        rows = list(csv.reader(text.splitlines()))
    except (OSError, csv.Error):
        return {}
    for row in rows:
        path = PurePosixPath(row[0]) if row else PurePosixPath()
        # An editable install records only the file that leads to the sources.
        if path.suffix != ".py" or ".." in path.parts or path.name.startswith("__editable__"):
            continue
        parts = path.parent.parts if path.name == "__init__.py" else (*path.parent.parts, path.stem)
        found[".".join(parts)] = folder.parent / path
    return found


def _root_of(module: str) -> str:
    """Return the outermost regular package or module of a dotted name, past namespaces."""
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        name = ".".join(parts[:length])
        if _file_of(sys.modules.get(name)) is not None:
            return name
    return module


def _file_of(module: object) -> str | None:
    """Return the real path of a module's file, None if it has none."""
    from plugreg._support.importing import names_in

    file = names_in(module).get("__file__")
    # A plugin may have put anything there.
    with Guard():
        return os.path.realpath(file) if type(file) is str else None
    return None


def _below(root: str) -> list[str]:
    # A plugin may have put anything in there, under any key.
    names = [name for name in list(sys.modules) if type(name) is str]
    return [name for name in names if name == root or name.startswith(f"{root}.")]
