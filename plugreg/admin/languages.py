"""Languages of the page: gettext's catalogues, and which of them a browser asks for."""

from __future__ import annotations

import gettext
import re
from functools import cache
from pathlib import Path
from typing import Final

LANGUAGES: Final = ("en", "de")
"""The supported languages; the first is that of the sources."""

_FOLDER: Final = Path(__file__).with_name("locale")
_RANGE: Final = re.compile(
    r"\s*([a-z]{1,8})(?:-[a-z0-9-]{1,16})?\s*(?:;\s*q=([01](?:\.[0-9]{0,3})?))?\s*", re.IGNORECASE
)


def mark(sentence: str) -> str:
    """Return a sentence as it is; its place in a table marks it for translation."""
    return sentence


@cache
def catalogue(language: str) -> gettext.NullTranslations:
    """Return the catalogue of a language; without a catalogue it is English.

    Args:
        language: Its code, as ``"de"``.
    """
    return gettext.translation("plugreg", _FOLDER, [language], fallback=True)


def choose(accepted: str) -> str:
    """Return the language that suits a browser best.

    Args:
        accepted: The Accept-Language header.
    """
    weights: dict[str, float] = {}
    for part in accepted.split(",")[:20]:
        match = _RANGE.fullmatch(part)
        if match is not None:
            language, weight = match[1].lower(), float(match[2] or 1)
            weights[language] = max(weight, weights.get(language, 0))
    known = [language for language in LANGUAGES if weights.get(language)]
    return max(known, key=lambda language: weights[language], default=LANGUAGES[0])
