"""How states look: this table alone has their signs, words and colours.

A state is never shown by its colour only. The tones are classes of the style sheet.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from plugreg.admin.languages import mark as _


class Look(NamedTuple):
    """How one state looks.

    Attributes:
        sign: One character, hidden from screen readers.
        word: The word, in English.
        tone: Class of the style sheet.
    """

    sign: str
    word: str
    tone: Literal["good", "quiet", "bad", "warn", "info"]


LOOKS: Final[Mapping[str, Look]] = MappingProxyType(
    {
        # States of plugins.
        "active": Look("✓", _("active"), "good"),
        "inactive": Look("○", _("inactive"), "quiet"),
        "failed": Look("✗", _("failed"), "bad"),
        "incompatible": Look("≠", _("incompatible"), "warn"),
        "blocked": Look("⊘", _("blocked"), "quiet"),
        "missing": Look("?", _("missing"), "warn"),
        # Circuits.
        "closed": Look("✓", _("closed"), "good"),
        "open": Look("✗", _("open"), "bad"),
        "half-open": Look("◐", _("half-open"), "warn"),
        # Severities of repairs.
        "error": Look("✗", _("error"), "bad"),
        "warning": Look("!", _("warning"), "warn"),
        "info": Look("i", _("note"), "info"),
        # Outcomes of probes.
        "ok": Look("✓", _("loads"), "good"),
        "exit": Look("✗", _("ends the process"), "bad"),
        "signal": Look("✗", _("is killed by a signal"), "bad"),
        "timeout": Look("✗", _("does not come to an end"), "bad"),
        # Attempts to change what is installed, and their changes.
        "begun": Look("…", _("begun"), "info"),
        "running": Look("…", _("running"), "info"),
        "done": Look("✓", _("done"), "good"),
        "refused": Look("⊘", _("refused"), "warn"),
        "rolled back": Look("↶", _("rolled back"), "warn"),
        "put back": Look("↶", _("put back"), "warn"),
        "lost": Look("?", _("lost"), "warn"),
        "add": Look("+", _("added"), "good"),
        "change": Look("±", _("changed"), "info"),
        "remove": Look("-", _("removed"), "warn"),
        # Generations and processes.
        "serving": Look("✓", _("serves"), "good"),
        "kept": Look("○", _("kept"), "quiet"),
        "behind": Look("!", _("behind"), "warn"),
        "current": Look("✓", _("up to date"), "good"),
    }
)


def look_of(state: object) -> Look:
    """Return how a state looks; one that this table does not know is its own word.

    Args:
        state: The state, the severity, or the outcome.
    """
    return LOOKS.get(str(state)) or Look("·", str(state), "quiet")
