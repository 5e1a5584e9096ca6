"""The common parts of the tabs of a plugin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from plugreg.admin.languages import mark as _
from plugreg.admin.reading import read_line
from plugreg.admin.visits import Screen, Visit

TABS: Final = (
    ("overview", _("Overview"), "", "plugins_retrieve"),
    ("settings", _("Settings"), "settings/", "plugins_settings_list"),
    ("failures", _("Failures"), "failures/", "plugins_failures_list"),
    ("runtime", _("Runtime"), "runtime/", "plugins_retrieve"),
    ("files", _("Files and audit"), "files/", "plugins_retrieve"),
)
"""Key, name, path and operation of each tab; who may not call the operation does not see it."""


def show_tab(visit: Visit, plugin: str, tab: str, values: Mapping[str, Any]) -> Screen:
    """Return a tab of a plugin.

    Args:
        visit: The visit.
        plugin: The plugin.
        tab: Key of the tab.
        values: Values of the tab.

    Raises:
        NotFoundError: If there is no such plugin.
    """
    common = {
        "line": read_line(visit, plugin),
        "tab": tab,
        "tabs": [row for row in TABS if visit.may(row[3])],
        "may_switch": visit.may("plugins_activate_partial_update"),
    }
    return Screen(f"plugin/{tab}.html", {**common, **values})
