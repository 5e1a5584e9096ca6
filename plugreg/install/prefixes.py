"""Gather installed distributions in one flat folder, and read where they came from (PEP 610)."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from plugreg._support.url_secrets import masked, without_credentials
from plugreg.exceptions import InstallError

_DIRECT_URL: Final = "direct_url.json"
_LOGIN: Final = re.compile(r"://[^\s/?#]*@")


def module_folders(prefix: Path) -> tuple[Path, ...]:
    """Return the folders of modules below a prefix, those of a virtual environment first.

    In a Python of Debian's these differ, and pip and uv choose differently.
    """
    import sysconfig

    base = dict.fromkeys(("base", "platbase"), str(prefix))
    found = (
        Path(sysconfig.get_path(key, scheme, base))
        for scheme in ("venv", sysconfig.get_default_scheme())
        for key in ("purelib", "platlib")
    )
    return tuple(dict.fromkeys(found))


def gather(prefix: Path, folder: Path, root: Path) -> None:
    """Move what was installed below *prefix* into *folder*, modules and metadata on top.

    Scripts that begin with an interpreter below *root* begin with this one afterwards. Each RECORD
    lists its files relative to *folder*. Entries that lead out of the prefix stay as they are.

    Raises:
        InstallError: If two files would have one path.
    """
    libraries = module_folders(prefix)

    def place(path: Path) -> Path:
        for library in (*libraries, prefix):
            if path.is_relative_to(library):
                return folder / path.relative_to(library)
        return path

    changed: set[Path] = set()
    records: list[tuple[Path, Path]] = []
    for parent, _, names in os.walk(prefix):
        for path in (Path(parent, name) for name in names):
            if path == prefix / ".lock":  # uv's own.
                continue
            target = place(path)
            if os.path.lexists(target):
                raise InstallError([f"two distributions have the file {str(target.name)!r}"])
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
            if path.name == "RECORD" and path.parent.parent in libraries:
                records.append((target, path.parent.parent))
            elif path.name == _DIRECT_URL:
                changed |= _hide_credentials(target)
            elif path.parent.name in ("bin", "Scripts"):
                changed |= _point_to_this_python(target, root)
    for record, library in records:
        rows = csv.reader(record.read_text("utf-8", "surrogateescape").splitlines())
        mended = io.StringIO()
        writer = csv.writer(mended, lineterminator="\n")
        for file, *rest in filter(None, rows):
            path = Path(os.path.normpath(library / file))
            target = place(path)
            shown = file if target is path else target.relative_to(folder).as_posix()
            writer.writerow([shown, *(_hash_and_size(target) if target in changed else rest)])
        record.write_text(mended.getvalue(), "utf-8", "surrogateescape", newline="")


def _hash_and_size(file: Path) -> tuple[str, int]:
    from base64 import urlsafe_b64encode
    from hashlib import sha256

    data = file.read_bytes()
    digest = urlsafe_b64encode(sha256(data).digest()).decode().rstrip("=")
    return f"sha256={digest}", len(data)


def _hide_credentials(file: Path) -> set[Path]:
    """Remove the token that installers leave in a URL; return the file if it was changed."""
    direct = json.loads(file.read_text("utf-8"))
    url = without_credentials(str(direct["url"]))
    if url == direct["url"]:
        return set()
    file.write_text(json.dumps({**direct, "url": url}), "utf-8", newline="")
    return {file}


def _point_to_this_python(script: Path, root: Path) -> set[Path]:
    """Replace an interpreter below *root* in a script; return the script if it was changed."""
    data = script.read_bytes()
    if not data.startswith(b"#!"):
        return set()
    pattern = re.escape(os.fsencode(root)) + rb"[^\s'\"]*"
    new = re.sub(pattern, lambda _: os.fsencode(sys.executable), data, count=1)
    if new == data:
        return set()
    script.write_bytes(new)
    return {script}


def source_of(direct: Mapping[str, Any]) -> str:
    """Return the URL in a record of PEP 610, without login and with its query masked.

    That of a repository has the commit and the folder: ``git+https://host/path@commit#…``.
    """
    url = _LOGIN.sub("://", str(direct["url"]), count=1)
    repository = direct.get("vcs_info")
    if repository is not None:
        url = f"{repository['vcs']}+{url}@{repository['commit_id']}"
    folder = direct.get("subdirectory")
    return masked(f"{url}#subdirectory={folder}" if folder else url)


def sha256_of(direct: Mapping[str, Any]) -> str | None:
    """Return the hash of the file in a record of PEP 610, None if it has none."""
    archive = direct.get("archive_info") or {}
    # Older installers write one hash, with the name of its algorithm.
    algorithm, _, older = (archive.get("hash") or "").partition("=")
    found = (archive.get("hashes") or {}).get("sha256")
    return found or (older if algorithm == "sha256" else None)


def size_of(source: str) -> int | None:
    """Return the size of a file of this machine in bytes, None for any other."""
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(source)
    file = Path(unquote(parts.path))
    return file.stat().st_size if parts.scheme == "file" and file.is_file() else None


def pinned_url(url: str, source: str) -> str:
    """Return *url*, with the commit that *source* has if it is that of a repository.

    A branch may have another commit by now. Credentials in *url* stay.
    """
    scheme, separator, rest = url.partition("://")
    if "+" not in scheme:
        return url
    commit = source.partition("#")[0].rpartition("@")[2]
    rest, hash_sign, fragment = rest.partition("#")
    host, slash, path = rest.partition("/")
    path = path.rpartition("@")[0] or path
    return f"{scheme}{separator}{host}{slash}{path}@{commit}{hash_sign}{fragment}"
