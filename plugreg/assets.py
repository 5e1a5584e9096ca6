"""Files that plugins bring for the browser: scripts, styles and pictures (behaviour.md, 15)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Final

from plugreg._support.names import near
from plugreg.exceptions import AssetNotFoundError, PluginNotActiveError, PluginNotFoundError
from plugreg.records import ActivePlugin, Snapshot

FOLDER: Final = "static"
"""The folder beside a plugin's module that holds its assets."""

BLOCK: Final = 262_144
"""The most bytes of a file that are in memory at once, unless its whole content is asked for."""

# What browsers insist on, in words that do not change with the version of Python.
_WEB_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        ".css": "text/css",
        ".html": "text/html",
        ".js": "text/javascript",
        ".json": "application/json",
        ".map": "application/json",
        ".mjs": "text/javascript",
        ".svg": "image/svg+xml",
        ".wasm": "application/wasm",
        ".webp": "image/webp",
        ".woff2": "font/woff2",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asset:
    """One file of a plugin, with its size in bytes.

    ``content_type`` is a media type, with the charset where it is text; ``etag`` a strong entity
    tag in its quotes (RFC 9110), made from the content.
    """

    file: Path
    size: int
    content_type: str
    etag: str

    @property
    def content(self) -> bytes:
        """The whole content, read each time. Raises OSError if the file has gone since."""
        return self.file.read_bytes()

    def blocks(self) -> Iterator[bytes]:
        """Yield the content in blocks of at most `BLOCK` bytes; the file is open meanwhile."""
        with self.file.open("rb") as stream:
            while block := stream.read(BLOCK):
                yield block


class Assets:
    """Reads files of active plugins. Keeps nothing, so that what an author edits is seen."""

    def __init__(self, current: Callable[[], Snapshot]) -> None:
        self._current = current

    def read(self, slug: str, path: str) -> Asset:
        """Return the file at ``path``, parted by ``/``, below the plugin's ``static`` folder.

        That folder stands in the package that the plugin's module lies in. A plugin that a
        distribution brings, and that has none there, shares the nearest one of the packages around;
        all other plugins do not, since what is around may be the host's. A module in no package has
        none. A path is taken as it is: it is not decoded, and ``..``, empty parts, backslashes,
        names that begin with a dot, and links that lead out of the folder are refused.

        Raises PluginNotFoundError, PluginNotActiveError, and AssetNotFoundError for what is not
        there, is no plain file, or must not be read.
        """
        root = _root(self._active(slug))
        asset = None if root is None else _asset(root, path)
        if asset is None:
            raise AssetNotFoundError(slug, path)
        return asset

    def files(self, slug: str) -> dict[str, Asset]:
        """Return every asset of a plugin by its path; folders that are links are left out.

        Raises PluginNotFoundError and PluginNotActiveError.
        """
        root = _root(self._active(slug))
        if root is None:
            return {}
        names = sorted(file.relative_to(root).as_posix() for file in root.rglob("*"))
        found = ((name, _asset(root, name)) for name in names)
        return {name: asset for name, asset in found if asset is not None}

    def _active(self, slug: str) -> ActivePlugin:
        snapshot = self._current()
        active = snapshot.active.get(slug)
        if active is None:
            known = snapshot.plugins.get(slug)
            if known is None:
                raise PluginNotFoundError(slug, near(slug, snapshot.plugins))
            raise PluginNotActiveError(slug, known.state)
        return active


def _root(active: ActivePlugin) -> Path | None:
    """Return the folder of a plugin's assets, with all links followed, or None."""
    packages = _packages(active.plugin)
    if active.loaded.spec.distribution is None:
        packages = islice(packages, 1)
    try:
        package = next((each for each in packages if (each / FOLDER).is_dir()), None)
        if package is None:
            return None
        root = (package / FOLDER).resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    # The folder itself may be no link out of the package.
    return root if root.is_relative_to(package.resolve()) else None


def _asset(root: Path, path: str) -> Asset | None:
    """Return a file below ``root`` that may be read, or None."""
    from hashlib import blake2b

    parts = path.split("/")
    if any(part[:1] in ("", ".") or set(part) & set("\\:\0") for part in parts):
        return None
    digest, size = blake2b(digest_size=16), 0
    try:
        file = root.joinpath(*parts).resolve(strict=True)
        inside = file.relative_to(root).parts
        if any(part.startswith(".") for part in inside) or not file.is_file():
            return None
        with file.open("rb") as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
                size += len(block)
    except (OSError, RuntimeError, ValueError):
        # It is not there or outside, leads in a circle, or has a name that no file can have.
        return None
    return Asset(
        file=file, size=size, content_type=_content_type(file.name), etag=f'"{digest.hexdigest()}"'
    )


def _packages(plugin: Any) -> Iterator[Path]:
    """Yield the folders of the packages that a plugin's module lies in, the nearest first.

    A package without a file is a namespace that others share, and so ends it.
    """
    own = issubclass(type(plugin), ModuleType)
    name = vars(plugin).get("__name__") if own else type(plugin).__module__
    module = sys.modules.get(name) if isinstance(name, str) else None
    package = vars(module).get("__package__") if module is not None else None
    while isinstance(package, str) and package:
        file = vars(sys.modules.get(package, object)).get("__file__")
        if not isinstance(file, str):
            return
        yield Path(file).parent
        package = package.rpartition(".")[0]


def _content_type(name: str) -> str:
    import mimetypes

    suffix = Path(name).suffix.lower()
    found = _WEB_TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
    is_text = found.startswith("text/") or found in ("application/json", "image/svg+xml")
    return f"{found}; charset=utf-8" if is_text else found
