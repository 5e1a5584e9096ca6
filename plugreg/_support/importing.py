"""Importing from a folder of plugins, under a private prefix and from source alone."""

from __future__ import annotations

import _imp
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Collection, Iterable
from contextlib import suppress
from importlib import _bootstrap
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from time import monotonic, sleep
from types import CodeType, ModuleType
from typing import Any, Final

_LOCK: Final = "__plugreg_lock__"
"""The attribute of a folder's private package that holds the lock for imports from the folder."""

_STAMP: Final = "__plugreg_stamp__"
"""The attribute of an imported module that holds the stamp of the spec it was imported for."""

_LONGEST_IMPORT: Final = 5.0
"""How many seconds an import that goes on in another thread is waited for."""


def private_name(folder: str | os.PathLike[str], module: str) -> str:
    """Return the name under which :func:`import_module` imports a module of a folder.

    Args:
        folder: The folder.
        module: The name of the module in it.

    Returns:
        ``_plugreg_<12 hex digits>.<module>``; the digits are the beginning of the SHA-256 of the
        folder's real path.
    """
    return f"{_prefix(os.path.realpath(folder))}.{module}"


def import_module(folder: str | os.PathLike[str], module: str, stamp: str = "") -> ModuleType:
    """Import a module of a folder, or return it where it is imported already.

    A module that was imported with another stamp, by another registry perhaps, is imported again;
    objects of its old code stay as they are. The module finds its neighbours with
    ``from . import neighbour``; an ``__init__.py`` of the folder itself is not run. ``sys.path`` is
    not changed. Everything in the folder is compiled from its source each time: Python uses
    bytecode if the whole seconds and the size agree, and so runs the old code of a file that was
    just repaired.

    If the module raises, all modules of this folder that it added to ``sys.modules`` are removed;
    other imports of the module stay, as after any import.

    Args:
        folder: The folder.
        module: The name of the module in it, which may be dotted.
        stamp: The stamp of the module's spec.

    Returns:
        The module.

    Raises:
        ModuleNotFoundError: If it does not exist.
        BaseException: The exception that the module raises.
    """
    folder = os.path.realpath(folder)
    prefix = _prefix(folder)
    place = _fresh(folder)
    is_first = prefix not in sys.modules
    if is_first:
        spec = ModuleSpec(prefix, None, is_package=True)
        spec.submodule_search_locations = [place]
        sys.modules.setdefault(prefix, importlib.util.module_from_spec(spec))
    # Each folder has a lock of its own, so that an import that hangs stops no other folder. With it
    # the modules that a failed import leaves behind are known.
    with vars(sys.modules[prefix]).setdefault(_LOCK, threading.RLock()):
        before = _within(prefix)
        name = f"{prefix}.{module}"
        known = sys.modules.get(name)
        if isinstance(known, ModuleType) and vars(known).get(_STAMP, stamp) != stamp:
            forget(_within(name))
        try:
            imported = importlib.import_module(name)
        except BaseException:
            forget(_within(prefix) - before)
            if is_first and _within(prefix) == {prefix}:
                forget({prefix})
            raise
        # A module may have put another object in its place, which is then taken as it is.
        if isinstance(imported, ModuleType):
            vars(imported)[_STAMP] = stamp
        return imported


class _SourceLoader(SourceFileLoader):
    """Compiles a module from its source, and neither reads nor writes bytecode."""

    def get_code(self, fullname: str) -> CodeType | None:
        """Return the code of the module, as ``importlib`` asks for it."""
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


class _SourceFinder(FileFinder):
    """Finds source files alone, and passes its own kind on to the packages in its folder."""

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of a module in the folder, as ``importlib`` asks for it."""
        spec = super().find_spec(fullname, target)
        if spec is not None and spec.submodule_search_locations is not None:
            spec.submodule_search_locations = [
                _fresh(place) for place in spec.submodule_search_locations
            ]
        return spec


def _fresh(folder: str) -> str:
    """Make a new finder for a folder, and return the path entry that leads to it.

    The entry is another spelling of the folder's path, so that the finder of the folder itself,
    should it be on ``sys.path`` too, keeps its own place in the cache.
    """
    entry = os.path.join(folder, ".")  # noqa: PTH118 - a Path drops the dot.
    sys.path_importer_cache[entry] = _SourceFinder(folder, (_SourceLoader, [".py"]))
    return entry


def _prefix(folder: str) -> str:
    # hashlib loads OpenSSL, which takes longer than all else here; random avoids it likewise.
    module = "_sha2" if sys.version_info >= (3, 12) else "_sha256"
    try:
        sha256 = importlib.import_module(module).sha256
    except ImportError:
        from hashlib import sha256
    return f"_plugreg_{sha256(os.fsencode(folder)).hexdigest()[:12]}"


def _within(prefix: str) -> set[str]:
    """Return the names of the imported modules at and below a dotted name."""
    # A copy, since other threads import too; and a plugin may have added any key.
    names = [name for name in list(sys.modules) if type(name) is str]
    return {name for name in names if name == prefix or name.startswith(f"{prefix}.")}


def forget(names: Iterable[str], taken: dict[str, ModuleType] | None = None) -> None:
    """Remove modules from ``sys.modules``, and from the packages that they are attributes of.

    Imports of them, and of modules below them, in other threads would raise KeyError without them,
    so these are waited for, for some seconds.

    Args:
        names: The dotted names of the modules.
        taken: Each module is put here before it is removed.
    """
    # Sorted, so that a package goes before its modules: those stay its attributes.
    names = sorted(names)
    deadline = monotonic() + _LONGEST_IMPORT
    while True:
        try:
            _imp.acquire_lock()
            # While this lock is held, no thread begins to import a new module.
            if monotonic() >= deadline or not _are_imported_elsewhere(names):
                for name in names:
                    _forget(name, {} if taken is None else taken)
                return
        finally:
            # Ctrl-C may come when it is acquired, and not known to be.
            with suppress(RuntimeError):
                _imp.release_lock()
        sleep(0.001)


def names_in(module: object) -> dict[str, Any]:
    """Return the namespace of a module, without running a lazy module.

    Args:
        module: Any object.

    Returns:
        The dict of a module, an empty dict for other objects.
    """
    if not issubclass(type(module), ModuleType):
        return {}
    # Reading an attribute in the ordinary way would run a lazy module.
    names: dict[str, Any] = object.__getattribute__(module, "__dict__")
    return names


def _forget(name: str, taken: dict[str, ModuleType]) -> None:
    if name not in sys.modules:
        return  # Another thread was first.
    module = taken[name] = sys.modules[name]
    sys.modules.pop(name, None)
    # ``from package import name`` would find it there, and never import it again.
    parent, _, child = name.rpartition(".")
    names = names_in(sys.modules.get(parent))
    if names.get(child) is module:
        del names[child]


def _are_imported_elsewhere(names: Collection[str]) -> bool:
    """Return whether another thread is importing these modules, or modules below them."""
    me = threading.get_ident()
    locks = _bootstrap._module_locks  # type: ignore[attr-defined]
    for name, reference in list(locks.items()):
        # It lives as long as somebody imports the module.
        lock = reference()
        if lock is None or lock.owner == me:
            continue
        parts = name.split(".")
        if any(".".join(parts[:length]) in names for length in range(1, len(parts) + 1)):
            return True
    return False
