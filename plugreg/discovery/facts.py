"""What a plugin's distribution says of it, read from METADATA without running anything.

Only for plugins that are wanted and for records that are looked at (design.md, section 2). See
the PyPA specification "Core metadata".
"""

# ruff: noqa: PTH110, PTH113, PTH123
from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from plugreg._support.guard import Guard
from plugreg.records import PluginFacts, PluginSpec

_CHUNK: Final = 16 * 1024
_LARGEST_HEAD: Final = 1024 * 1024
"""How many bytes of headers are read at most; descriptions that stand in a header end there."""


def describe(spec: PluginSpec) -> PluginFacts:
    """Return what is known of a plugin before it is imported.

    For a plugin of a distribution that is what the headers of METADATA say (PKG-INFO and
    ``requires.txt`` for ``egg-info``); the description is not read. For any other plugin it is
    what the class or module states (DESCRIPTION, AUTHOR, LICENSE, WEBSITE). Never raises because
    of a file or distribution: what cannot be read is None, or empty (requirement D11).
    """
    if spec.distribution is None:
        stated = spec.attributes
        return PluginFacts(
            summary=_text(stated.get("DESCRIPTION")),
            author=_text(stated.get("AUTHOR")),
            license=_text(stated.get("LICENSE")),
            website=_text(stated.get("WEBSITE")),
        )
    with Guard():
        return _read(spec, spec.distribution)
    return PluginFacts()


class Facts:
    """Remembers facts, so that a file is read again only when the plugin's stamp has changed."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], tuple[PluginSpec, PluginFacts]] = {}

    def of(self, spec: PluginSpec) -> PluginFacts:
        """Return what :func:`describe` says of a plugin, the same facts for the same spec."""
        if spec.distribution is None:
            # No file is read for it, and its spec would keep the host's object alive.
            return describe(spec)
        # One place for each plugin, not for each spec, so that upgrades leave nothing behind.
        place = (spec.source, spec.slug, spec.distribution)
        known = self._known.get(place)
        if known is None or known[0] != spec:
            known = self._known[place] = (spec, describe(spec))
        return known[1]


def headers(text: str) -> Iterator[tuple[str, str]]:
    """Yield name, in lower case, and value of each header up to the first line that is none.

    The continuation lines of a folded header are joined by one space each. The standard library's
    ``email`` is the measure; it takes ten times as long, and is read for every plugin at start.
    """
    name = ""
    lines: list[str] = []
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if name and line[:1] in (" ", "\t"):
            lines.append(line.strip())
            continue
        if name:
            yield name, " ".join(filter(None, lines))
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip() or " " in name:
            return
        name, lines = name.lower(), [value.strip()]
    if name:
        yield name, " ".join(filter(None, lines))


def _read(spec: PluginSpec, distribution: str) -> PluginFacts:
    path = spec.path
    # Texts, for a Path for each of these takes as long as reading the file.
    if path is not None and os.path.exists(path):
        for file in (f"{path}/METADATA", f"{path}/PKG-INFO", path):
            if os.path.isfile(file):
                facts = _facts(headers(_head(file)))
                break
        else:
            return PluginFacts()
        if facts.requires or not os.path.isfile(f"{path}/requires.txt"):
            return facts
        import importlib_metadata

        return _with_requires(facts, importlib_metadata.Distribution.at(path))
    found = _foreign(None if path is None else Path(path), distribution)
    text = found.read_text("METADATA") or found.read_text("PKG-INFO") or ""
    return _with_requires(_facts(headers(text)), found)


def _foreign(path: Path | None, distribution: str) -> Any:
    """Return a distribution that is in no plain folder: in a zip file, or with some finder."""
    import importlib_metadata

    if path is not None:
        for parent in path.parents:
            if parent.is_file():
                search = importlib_metadata.distributions(name=distribution, path=[str(parent)])
                return next(iter(search))
    return importlib_metadata.distribution(distribution)


def _with_requires(facts: PluginFacts, distribution: Any) -> PluginFacts:
    from dataclasses import replace

    return facts if facts.requires else replace(facts, requires=tuple(distribution.requires or ()))


def _head(file: str) -> str:
    """Return the beginning of a file, with all of its headers and little more."""
    data = b""
    with open(file, "rb", buffering=0) as stream:
        while len(data) < _LARGEST_HEAD and (chunk := stream.read(_CHUNK)):
            data += chunk
            if b"\n\n" in data or b"\n\r\n" in data:
                break
    return data.decode("utf-8", errors="replace")


def _facts(found: Iterable[tuple[str, str]]) -> PluginFacts:
    first: dict[str, str] = {}
    requires = []
    for name, value in found:
        if name == "requires-dist":
            requires.append(value)
        # Old versions of setuptools wrote UNKNOWN where nothing was stated.
        elif value and value != "UNKNOWN":
            first.setdefault(name, value)
    project_url = first.get("project-url", "")
    return PluginFacts(
        summary=first.get("summary"),
        author=first.get("author") or _people(first.get("author-email")),
        license=first.get("license-expression") or first.get("license"),
        website=project_url.partition(",")[2].strip() or first.get("home-page"),
        requires=tuple(requires),
    )


def _people(addresses: str | None) -> str | None:
    """Return the names in an Author-email, or the address of one who gives no name."""
    if addresses is None:
        return None
    if not any(character in addresses for character in ',"(\\'):
        # The usual single author is read without the import of email.utils.
        name, _, rest = addresses.partition("<")
        return name.strip() or rest.strip(" >") or None
    from email.utils import getaddresses

    people = [name or address for name, address in getaddresses([addresses])]
    return ", ".join(filter(None, people)) or None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
