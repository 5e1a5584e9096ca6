"""Requirements for exactly one file or commit (PEP 440, 508 and 610)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from plugreg.install.plan import Change, Target
from plugreg.install.requirements import masked, without_credentials

_DIRECT_URL: Final = "direct_url.json"


def direct_url(metadata: Path) -> Mapping[str, Any]:
    """Return what an installer has written of the URL that a distribution came from (PEP 610)."""
    import json

    found: Mapping[str, Any] = json.loads((metadata / _DIRECT_URL).read_text("utf-8"))
    return found


def hide_credentials(metadata: Path) -> None:
    """Take the credentials out of the URL that an installer has written into ``metadata``.

    Installers leave a token in its query, where everybody may read it. RECORD has the new hash.
    """
    import json
    from base64 import urlsafe_b64encode
    from hashlib import sha256

    if not (metadata / _DIRECT_URL).is_file():
        return
    direct = direct_url(metadata)
    url = without_credentials(str(direct["url"]))
    if url == direct["url"]:
        return
    text = json.dumps({**direct, "url": url})
    digest = urlsafe_b64encode(sha256(text.encode()).digest()).decode().rstrip("=")
    own = f"{metadata.name}/{_DIRECT_URL}"
    record = io.StringIO()
    with (metadata / "RECORD").open(encoding="utf-8", newline="") as file:
        csv.writer(record, lineterminator="\n").writerows(
            [own, f"sha256={digest}", len(text)] if row and row[0] == own else row
            for row in csv.reader(file)
        )
    for name, content in ((_DIRECT_URL, text), ("RECORD", record.getvalue())):
        new = metadata / f"{name}.new"
        new.write_text(content, encoding="utf-8", newline="")
        new.replace(metadata / name)


def source_of(direct: Mapping[str, Any]) -> str:
    """Return the URL in a record of PEP 610, as ``direct_url.json`` and pip's report are.

    It has no login, which some versions of uv write there, and its query is masked.

    A repository's has the commit, and the folder in it: ``git+https://host/path@commit#…``.
    """
    url = re.sub(r"://[^\s/?#]*@", "://", str(direct["url"]), count=1)
    repository = direct.get("vcs_info")
    if repository is not None:
        url = f"{repository['vcs']}+{url}@{repository['commit_id']}"
    folder = direct.get("subdirectory")
    return masked(f"{url}#subdirectory={folder}" if folder else url)


def sha256_of(direct: Mapping[str, Any]) -> str | None:
    """Return the hash of the file in a record of PEP 610, None where it has none."""
    archive = direct.get("archive_info") or {}
    # Older installers write one hash, with the name of its algorithm.
    algorithm, _, older = (archive.get("hash") or "").partition("=")
    found = (archive.get("hashes") or {}).get("sha256")
    return found or (older if algorithm == "sha256" else None)


def size_of(source: str) -> int | None:
    """Return the size of a file of this machine, in bytes; None of any other."""
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(source)
    file = Path(unquote(parts.path))
    return file.stat().st_size if parts.scheme == "file" and file.is_file() else None


def pinned(target: Target, asked: Change) -> str:
    """Return the requirement of a target that has a URL, with the name and commit of ``asked``.

    Extras and marker stay, and the credentials in the URL.
    """
    from packaging.requirements import Requirement

    url = _pinned_url(target, asked)
    if target.name is None:
        return f"{asked.name} @ {url}"
    requirement = Requirement(target.text)
    requirement.url = url
    return str(requirement)


def exact(target: Target, name: str | None, change: Change) -> str:
    """Return the requirement that gives what a change says; ``name`` is what ``target`` is called.

    It has the hash of the change, if there is one.
    """
    if change.name == name and target.url is not None:
        text = f"{change.name} @ {_pinned_url(target, change)}"
    elif change.direct:
        text = f"{change.name} @ {change.source}"
    else:
        text = f"{change.name}=={change.after}"
    return text if change.sha256 is None else f"{text} --hash=sha256:{change.sha256}"


def _pinned_url(target: Target, change: Change) -> str:
    url, source = target.url or "", change.source or ""
    scheme, separator, rest = url.partition("://")
    if "+" not in scheme:
        return url
    # The commit is the one that the source has; a branch may have another one by now.
    commit = source.partition("#")[0].rpartition("@")[2]
    rest, hash_sign, fragment = rest.partition("#")
    host, slash, path = rest.partition("/")
    path = path.rpartition("@")[0] or path
    return f"{scheme}{separator}{host}{slash}{path}@{commit}{hash_sign}{fragment}"
