"""How states look: this table alone has their signs, words and colours.

A state is never shown by its colour only. The tones are classes of the style sheet.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from plugreg.admin.languages import mark as _


class StateLook(NamedTuple):
    """The look of a state.

    Attributes:
        sign: A character, hidden from screen readers.
        word: The word, in English.
        tone: Class of the style sheet.
    """

    sign: str
    word: str
    tone: Literal["good", "quiet", "bad", "warn", "info"]


LOOKS: Final[Mapping[str, StateLook]] = MappingProxyType(
    {
        # States of plugins.
        "active": StateLook("✓", _("active"), "good"),
        "inactive": StateLook("○", _("inactive"), "quiet"),
        "failed": StateLook("✗", _("failed"), "bad"),
        "incompatible": StateLook("≠", _("incompatible"), "warn"),
        "blocked": StateLook("⊘", _("blocked"), "quiet"),
        "missing": StateLook("?", _("missing"), "warn"),
        # Circuits.
        "closed": StateLook("✓", _("closed"), "good"),
        "open": StateLook("✗", _("open"), "bad"),
        "half-open": StateLook("◐", _("half-open"), "warn"),
        # Severities of repairs.
        "error": StateLook("✗", _("error"), "bad"),
        "warning": StateLook("!", _("warning"), "warn"),
        "info": StateLook("i", _("note"), "info"),
        # Outcomes of probes.
        "ok": StateLook("✓", _("loads"), "good"),
        "exit": StateLook("✗", _("ends the process"), "bad"),
        "signal": StateLook("✗", _("is killed by a signal"), "bad"),
        "timeout": StateLook("✗", _("does not come to an end"), "bad"),
        # Attempts to change installed distributions, and their changes.
        "begun": StateLook("…", _("begun"), "info"),
        "running": StateLook("…", _("running"), "info"),
        "done": StateLook("✓", _("done"), "good"),
        "refused": StateLook("⊘", _("refused"), "warn"),
        "rolled back": StateLook("↶", _("rolled back"), "warn"),
        "put back": StateLook("↶", _("put back"), "warn"),
        "lost": StateLook("?", _("lost"), "warn"),
        "add": StateLook("+", _("added"), "good"),
        "change": StateLook("±", _("changed"), "info"),
        "remove": StateLook("-", _("removed"), "warn"),
        # Generations and processes.
        "serving": StateLook("✓", _("serves"), "good"),
        "kept": StateLook("○", _("kept"), "quiet"),
        "behind": StateLook("!", _("behind"), "warn"),
        "current": StateLook("✓", _("up to date"), "good"),
    }
)


def look_of(state: object) -> StateLook:
    """Return the look of a state; an unknown state is its own word.

    Args:
        state: The state, the severity, or the outcome.
    """
    return LOOKS.get(str(state)) or StateLook("·", str(state), "quiet")
