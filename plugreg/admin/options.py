"""The options of the page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Final

from plugreg._support.frozen import Frozen
from plugreg.records import EMPTY

PAGE_PATH: Final = "/admin"
"""Path of the page and of everything below it, behind the prefix."""

OWN_LAYOUT: Final = "layout.html"
"""Name of the layout of plugreg's own."""


class AdminPage(Frozen):
    """Options of the page for operators.

    Args:
        title: Name of the site, at the head of each screen and in the titles of windows.
        layout: Template that surrounds each screen: blocks ``title``, ``head`` and ``content``.
        templates: Folders whose templates take the place of plugreg's own with the same name.
        theme: Values of custom properties of the style sheet, such as ``{"accent": "#0a6"}``, or
            the file of a style sheet that comes after it.
        sign_in: Address where the host's users sign in, for those whom it does not know.
        language: Language of the page, as ``"de"``. None follows the browser.
    """

    title: str = "Plugins"
    layout: str = OWN_LAYOUT
    templates: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = ()
    theme: Mapping[str, str] | str | os.PathLike[str] = field(default_factory=lambda: EMPTY)
    sign_in: str | None = None
    language: str | None = None
