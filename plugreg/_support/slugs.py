"""Slugs, by which plugins are known everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NewType

Slug = NewType("Slug", str)
"""A plugin's identity. The type says that a string has passed through :func:`slugify`."""

RESERVED: Final = frozenset({"ui", "reload", "install", "status", "settings"})
"""Names that the paths of the plugin API use themselves, so that no plugin may have them."""

MAX_LENGTH: Final = 255
"""The longest slug, in characters."""

# Compiled at the first use, since most names and values need neither.
_OTHER_CHARACTERS: Final = r"[^a-z0-9_-]+"
_CONTROL_CHARACTERS: Final = r"[\x00-\x08\x0b\x0c\x0e-\x1f]|\r(?!\n)"


def slugify(name: str) -> Slug:
    """Return the slug of ``name``.

    The name is decomposed (NFKD) and loses its combining marks; letters become lower case, each
    run of characters other than ``a-z 0-9 _ -`` a ``-``, and hyphens at the ends are stripped:
    ``Müller`` is ``muller``. The slug of a slug is the slug itself. The result may be empty or
    reserved, which :func:`slug_fault` reports.

    Args:
        name: Any string.
    """
    if not name.isascii():
        # Few names need it, and the others are not to wait for the import.
        from unicodedata import category, normalize

        name = "".join(c for c in normalize("NFKD", name) if not category(c).startswith("M"))
    name = name.lower()
    letters = name.replace("-", "").replace("_", "")
    if not (letters.isalnum() and letters.isascii()):
        name = re.sub(_OTHER_CHARACTERS, "-", name)
    return Slug(name.strip("-"))


def canonical(distribution: str) -> str:
    """Return the normalized name of a distribution, by which packages are compared (PEP 503).

    Without a regular expression, since it is asked of every distribution there is.
    """
    name = distribution.lower().replace("_", "-").replace(".", "-")
    while "--" in name:
        name = name.replace("--", "-")
    return name


def has_utf8(text: str) -> bool:
    """Return whether a string can be encoded: a string with lone surrogates cannot."""
    try:
        # Most strings are ASCII, and none of these is encoded.
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def has_control_characters(text: str) -> bool:
    """Return whether a string has characters that no value may have.

    Tab and newline are allowed, and a carriage return before a newline, as web forms send it.
    Surrogates are not, because no store can write them as UTF-8.
    """
    # Neither control characters nor surrogates are printable.
    is_plain = text.isprintable()
    return not is_plain and (bool(re.search(_CONTROL_CHARACTERS, text)) or not has_utf8(text))


def slug_fault(slug: Slug, name: str) -> str | None:
    """Return why ``slug``, made from ``name``, may not be a plugin's identity, or None."""
    if not has_utf8(name):
        return f"name {name!r} has no UTF-8 form, so it cannot be stored; choose another"
    if not slug:
        return (
            f"name {name!r} gives an empty slug; set SLUG, or name the entry point, with letters "
            "a-z or digits 0-9"
        )
    if slug in RESERVED:
        return f"slug {slug!r} is reserved for a path of the plugin API; choose another name"
    if len(slug) > MAX_LENGTH:
        return f"slug of {len(slug)} characters is too long; at most {MAX_LENGTH} are allowed"
    return None


def near(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known name, or an empty string."""
    import difflib

    found = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""
