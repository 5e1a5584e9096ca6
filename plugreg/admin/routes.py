"""The screens by path: this table alone says what is where, and whose access rule it has.

Each method of a path names an operation of the API. Its access rule decides, and a host that has
no such operation has no such screen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from plugreg.admin.languages import mark as _
from plugreg.admin.screens import plugins, switching
from plugreg.admin.visits import Redirect, Screen, Visit


class Place(NamedTuple):
    """An entry of the navigation.

    Attributes:
        name: Its name, in English.
        path: Its path below the page.
        operation: The operation whose access rule it has.
        is_offered: Whether the host has what it is about.
    """

    name: str
    path: str
    operation: str
    is_offered: Callable[[Visit], bool] = lambda _: True

    def is_shown(self, visit: Visit) -> bool:
        """Return whether the actor of a visit sees it.

        Args:
            visit: The visit.
        """
        return visit.may(self.operation) and self.is_offered(visit)

    def is_here(self, path: str) -> bool:
        """Return whether a screen belongs to it.

        Args:
            path: Path of the screen below the page.
        """
        if not self.path:
            return path == "" or path.startswith(("plugins/", "switch/"))
        return path.startswith(self.path)


NAVIGATION: Final = (Place(_("Plugins"), "", "plugins_list"),)
"""The entries of the navigation, in their order."""

Show = Callable[..., Screen | Redirect]

_PLUGIN: Final = r"plugins/(?P<plugin>[^/]+)/"

ROUTES: Final[tuple[tuple[str, Mapping[str, tuple[Show, str]]], ...]] = (
    ("", {"GET": (plugins.show_plugins, "plugins_list")}),
    ("switch/", {"POST": (switching.switch, switching.SWITCH)}),
    (f"{_PLUGIN}activate/", {"GET": (switching.ask_to_activate, switching.SWITCH)}),
    (f"{_PLUGIN}deactivate/", {"GET": (switching.ask_to_deactivate, switching.SWITCH)}),
)
"""Patterns of paths below the page, with the screen and the operation of each method."""
