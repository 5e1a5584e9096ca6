"""Finding the registry of a host: by ``--app``, ``PLUGREG_APP`` or the nearest pyproject.toml."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from plugreg._support.slugs import near
from plugreg.cli.faults import CommandError, unavailable, usage
from plugreg.exceptions import StorageError
from plugreg.registry import PluginRegistry

SAFE_MODE: Final = "PLUGREG_SAFE_MODE"
SHELL: Final = "shell"
"""The value of that variable where a command has set it, not the operator."""


def is_safe_mode_asked() -> bool:
    """Return whether the environment asks for safe mode."""
    return os.environ.get(SAFE_MODE, "") not in ("", "0", SHELL)


def app_name(given: str | None, project: Path | None = None) -> str | None:
    """Return the name of the host's registry, as ``module:attribute``, None if none is known.

    Args:
        given: The value of ``--app``.
        project: What the command is about, such as the folder of a plugin.
    """
    found = given or os.environ.get("PLUGREG_APP") or _configured(Path.cwd())
    return found or (None if project is None else _configured(project))


def _configured(folder: Path) -> str | None:
    """Return ``app`` of ``[tool.plugreg]`` in the nearest pyproject.toml."""
    for place in (folder, *folder.parents):
        file = place / "pyproject.toml"
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        # The parser is slow to import, and few files have the table.
        if "plugreg" not in text:
            return None
        import tomllib

        try:
            own = tomllib.loads(text).get("tool", {}).get("plugreg", {})
            app = own.get("app")
            # Folders of a host that is not installed.
            for entry in own.get("path", ()):
                _add_to_path((place / entry).resolve())
        except (tomllib.TOMLDecodeError, AttributeError, TypeError) as error:
            raise usage(
                f"{str(file)!r} cannot be read: {error}", "repair it, or give --app"
            ) from error
        if app is not None and place != folder:
            _add_to_path(place)
        return app if isinstance(app, str) else None
    return None


def open_app(name: str) -> PluginRegistry:
    """Import the host, and return its registry, which is not loaded.

    The host's code is run in safe mode, so that a registry that it loads itself imports no plugin.

    Args:
        name: ``module:attribute`` of a registry, or of a function that returns a registry.

    Raises:
        CommandError: If there is no such registry, or the host cannot be imported.
    """
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise usage(
            f"{name!r} names no registry",
            "name it as --app module:attribute, such as shop.app:make_registry",
        )
    _add_to_path(Path.cwd())
    with safe_mode(), _host(name):
        found: Any = import_module(module)
        for part in attribute.split("."):
            if not hasattr(found, part):
                hint = near(part, vars(found)) or "; name a registry, or a function that makes it"
                raise unavailable(
                    f"host {name!r} cannot be opened: {module!r} has no {part!r}",
                    hint.removeprefix("; "),
                )
            found = getattr(found, part)
    return as_registry(found, name)


def as_registry(found: PluginRegistry | Callable[[], PluginRegistry], name: str) -> PluginRegistry:
    """Return a registry, or call a factory without parameters.

    Args:
        found: The registry or the factory.
        name: Its name in messages.

    Raises:
        CommandError: If it is none, or the factory fails.
    """
    if isinstance(found, PluginRegistry):
        return found
    made: Any = found
    if callable(found):
        with safe_mode(), _host(name):
            made = found()
    if not isinstance(made, PluginRegistry):
        raise unavailable(
            f"{name!r} is or returns {type(made).__name__}, not a PluginRegistry",
            "name a registry, or a function without parameters that returns one",
        )
    return made


def open_store(url: str, group: str) -> PluginRegistry:
    """Return a registry that knows a store and a group of entry points, and no host.

    Args:
        url: URL of the store, as `plugreg.storage.open_storage` takes it.
        group: The group, such as ``shop.plugins``.
    """
    from plugreg.storage import open_storage

    host = group.removesuffix(".plugins") or group
    return PluginRegistry(host, group=group, storage=open_storage(url), safe_mode=True)


@contextmanager
def safe_mode() -> Iterator[None]:
    """Have registries that are made meanwhile be in safe mode."""
    before = os.environ.get(SAFE_MODE)
    os.environ[SAFE_MODE] = SHELL
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(SAFE_MODE, None)
        else:
            os.environ[SAFE_MODE] = before


@contextmanager
def _host(name: str) -> Iterator[None]:
    """Convert exceptions of the host's code, including SystemExit, to an error of the command."""
    try:
        yield
    except (StorageError, CommandError):
        raise
    except (Exception, SystemExit) as error:
        kind = type(error).__name__
        remedy = "repair the host, or look at its store alone: --store URL --group GROUP"
        if isinstance(error, ModuleNotFoundError) and f"{name}:".startswith(f"{error.name}"):
            remedy = "correct the name of the module, install the host, or run this in its folder"
        raise unavailable(f"host {name!r} cannot be opened: {kind}: {error}", remedy) from error


def _add_to_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
