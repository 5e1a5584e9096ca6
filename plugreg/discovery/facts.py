"""Facts on a plugin from the METADATA of its distribution, read without running anything.

They are read only for plugins that are wanted and for records that are looked at. See the PyPA
specification "Core metadata".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from plugreg._support.frozen import replace
from plugreg._support.guard import Guard
from plugreg.discovery.entry_points import READ_FLAGS
from plugreg.records import PluginFacts, PluginSpec

_CHUNK: Final = 16 * 1024
_LARGEST_HEAD: Final = 1024 * 1024
"""How many bytes of headers are read at most; descriptions that stand in a header end there."""


def describe(spec: PluginSpec) -> PluginFacts:
    """Return the facts on a plugin that are known before it is imported.

    For a plugin of a distribution these are the headers of METADATA (PKG-INFO and ``requires.txt``
    for ``egg-info``); the description is not read. For any other plugin they are the attributes
    DESCRIPTION, AUTHOR, LICENSE and WEBSITE of its class or module.

    Args:
        spec: The plugin.

    Returns:
        The facts. A fact that cannot be read is None, or empty; no file makes it raise.
    """
    if spec.distribution is None:
        return PluginFacts(
            summary=spec.stated("DESCRIPTION"),
            author=spec.stated("AUTHOR"),
            license=spec.stated("LICENSE"),
            website=spec.stated("WEBSITE"),
        )
    with Guard():
        return _read(spec, spec.distribution)
    return PluginFacts()


class Facts:
    """Cache of facts, so that a file is read again only when the plugin's stamp has changed."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], tuple[PluginSpec, PluginFacts]] = {}

    def of(self, spec: PluginSpec) -> PluginFacts:
        """Return the facts on a plugin, the same object for the same spec.

        Args:
            spec: The plugin.

        Returns:
            The facts that :func:`describe` returns.
        """
        if spec.distribution is None:
            # No file is read for it, and its spec would keep the host's object alive.
            return describe(spec)
        # An entry for each plugin, not for each spec, so that upgrades leave nothing behind.
        place = (spec.source, spec.slug, spec.distribution)
        known = self._known.get(place)
        if known is None or known[0] != spec:
            known = self._known[place] = (spec, describe(spec))
        return known[1]


def headers(text: str) -> Iterator[tuple[str, str]]:
    """Yield the headers of a METADATA file, up to the first line that is no header.

    The continuation lines of a folded header are joined by a space each. The result is that of
    the standard library's ``email``, which takes ten times as long for each plugin at start.

    Args:
        text: The contents of the file.

    Yields:
        Name, in lower case, and value of each header.
    """
    # The description follows an empty line, and may be long.
    head = text.replace("\r\n", "\n").replace("\r", "\n").partition("\n\n")[0]
    if "\n " in head or "\n\t" in head:
        head = re.sub(r"[ \t]*(?:\n[ \t]+)+", " ", head)
    for line in head.split("\n"):
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip() or " " in name:
            return
        yield name.lower(), value.strip()


def _read(spec: PluginSpec, distribution: str) -> PluginFacts:
    """Return the facts of a distribution. Raises OSError for a folder without METADATA."""
    path = spec.path
    if path is not None:
        # Strings, since a Path for each of these takes as long as reading the file.
        for file in (f"{path}/METADATA", f"{path}/PKG-INFO", path):
            head = _head(file)
            if head is None:
                continue
            facts = _facts(headers(head))
            # importlib-metadata reads both files, and would wait for a pipe.
            if facts.requires or not all(map(os.path.isfile, (f"{path}/requires.txt", file))):
                return facts
            import importlib_metadata

            return _with_requires(facts, importlib_metadata.Distribution.at(path))
    from plugreg.discovery import foreign

    found = foreign.named(distribution, path)
    text = found.read_text("METADATA") or found.read_text("PKG-INFO") or ""
    return _with_requires(_facts(headers(text)), found)


def _with_requires(facts: PluginFacts, distribution: Any) -> PluginFacts:
    return facts if facts.requires else replace(facts, requires=tuple(distribution.requires or ()))


def _head(file: str) -> str | None:
    """Return the beginning of a file, with all of its headers; None if there is no such file."""
    try:
        # Without a file object this takes half the time, and what is no file does not block.
        descriptor = os.open(file, os.O_RDONLY | READ_FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        data = b""
        while len(data) < _LARGEST_HEAD and (chunk := os.read(descriptor, _CHUNK)):
            data += chunk
            if b"\n\n" in data or b"\n\r\n" in data:
                break
    finally:
        os.close(descriptor)
    # The description, which may be long, is not decoded.
    return data.partition(b"\n\n")[0].decode("utf-8", errors="replace")


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


_SPECIAL: Final = frozenset(',"(\\')
"""The characters of addresses that are more than one name and one address."""


def _people(addresses: str | None) -> str | None:
    """Return the names in an Author-email, or the addresses of authors without a name."""
    if addresses is None:
        return None
    if _SPECIAL.isdisjoint(addresses):
        # The usual single author is read without the import of email.utils.
        name, _, rest = addresses.partition("<")
        return name.strip() or rest.strip(" >") or None
    from email.utils import getaddresses

    people = [name or address for name, address in getaddresses([addresses])]
    return ", ".join(filter(None, people)) or None
