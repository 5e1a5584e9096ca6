"""Files that plugins bring for the browser: scripts, styles and pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from plugreg._support.imported import package_files
from plugreg.exceptions import AssetNotFoundError
from plugreg.records import ActivePlugin, Snapshot

FOLDER: Final = "static"
"""The folder beside a plugin's module that holds its assets."""

BLOCK: Final = 262_144
"""The most bytes of a file that are in memory at once, unless its whole content is asked for."""

# The types that browsers insist on, which must not change with the version of Python.
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
    """A file of a plugin.

    Attributes:
        file: Path of the file, with all links followed.
        size: Its size in bytes.
        content_type: Media type, with the charset of a text file.
        etag: Strong entity tag in its quotes (RFC 9110), made from the content.
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
        """Yield the content in blocks of `BLOCK` bytes; the file is open meanwhile."""
        with self.file.open("rb") as stream:
            while block := stream.read(BLOCK):
                yield block


class Assets:
    """Reads files of active plugins.

    Keeps nothing, so that an edited file is seen at once.

    Args:
        current: Returns the snapshot; raises RegistryNotReady before load and after close.
    """

    def __init__(self, current: Callable[[], Snapshot]) -> None:
        self._current = current

    def read(self, slug: str, path: str) -> Asset:
        """Return a file below the plugin's ``static`` folder.

        The folder stands in the package of the plugin's module. Without it, a plugin of a
        distribution shares the folder of the nearest enclosing package. Other plugins do not,
        since their enclosing packages may be the host's. A module in no package has no assets.

        Args:
            slug: An active plugin.
            path: Path below the folder, with ``/`` between its parts. It is not decoded. ``..``,
                empty parts, backslashes, names that begin with a dot, and links that lead out of
                the folder are refused.

        Raises:
            PluginNotFoundError: If no plugin has this slug.
            PluginNotActiveError: If the plugin is not active.
            AssetNotFoundError: If no file is there, or it is no plain file, or is refused.
        """
        root = _find_root(self._current().get_active(slug))
        asset = None if root is None else _read_asset(root, path)
        if asset is None:
            raise AssetNotFoundError(slug, path)
        return asset

    def files(self, slug: str) -> dict[str, Asset]:
        """Return every asset of a plugin by its path; linked folders are left out.

        Args:
            slug: An active plugin.

        Raises:
            PluginNotFoundError: If no plugin has this slug.
            PluginNotActiveError: If the plugin is not active.
        """
        root = _find_root(self._current().get_active(slug))
        if root is None:
            return {}
        paths = sorted(file.relative_to(root).as_posix() for file in root.rglob("*"))
        assets = ((path, _read_asset(root, path)) for path in paths)
        return {path: asset for path, asset in assets if asset is not None}


def _find_root(active: ActivePlugin) -> Path | None:
    """Return the folder of a plugin's assets, with all links followed, or None."""
    packages = packages_of(active.plugin)
    if active.loaded.spec.distribution is None:
        packages = islice(packages, 1)
    try:
        package = next((package for package in packages if (package / FOLDER).is_dir()), None)
        if package is None:
            return None
        root = (package / FOLDER).resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    # The folder itself may be no link out of the package.
    return root if root.is_relative_to(package.resolve()) else None


def _read_asset(root: Path, path: str) -> Asset | None:
    """Return a file below *root* that may be read, or None."""
    from hashlib import blake2b, file_digest

    parts = path.split("/")
    if any(part[:1] in ("", ".") or set(part) & set("\\:\0") for part in parts):
        return None
    try:
        file = root.joinpath(*parts).resolve(strict=True)
        inside = file.relative_to(root).parts
        if any(part.startswith(".") for part in inside) or not file.is_file():
            return None
        with file.open("rb") as stream:
            digest = file_digest(stream, partial(blake2b, digest_size=16)).hexdigest()
            size = stream.tell()
    except (OSError, RuntimeError, ValueError):
        # It is not there or outside, leads in a circle, or has a name that no file can have.
        return None
    content_type = _content_type(file.name)
    return Asset(file=file, size=size, content_type=content_type, etag=f'"{digest}"')


def packages_of(plugin: Any) -> Iterator[Path]:
    """Yield the folders of the packages around a plugin's module, the nearest first."""
    # Nothing of an isolated plugin is imported here; its process has reported the folders.
    folders = vars(plugin).get("_plugreg_folders") if hasattr(plugin, "__dict__") else None
    if type(folders) is tuple:
        yield from folders
        return
    yield from (Path(file).parent for file in package_files(plugin))


def _content_type(name: str) -> str:
    import mimetypes

    suffix = Path(name).suffix.lower()
    found = _WEB_TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
    is_text = found.startswith("text/") or found in ("application/json", "image/svg+xml")
    return f"{found}; charset=utf-8" if is_text else found
