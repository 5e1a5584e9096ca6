"""The screens by path: the only table of their places and access rules.

Each row names an operation of the API. Its access rule decides, and a host that has
no such operation has no such screen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from plugreg.admin.languages import mark as _
from plugreg.admin.screens import (
    attention,
    installing,
    plugin,
    plugins,
    processes,
    settings,
    switching,
)
from plugreg.admin.visits import Redirect, Screen


class NavigationEntry(NamedTuple):
    """An entry of the navigation.

    Attributes:
        name: Its name, in English.
        path: Its path below the page.
        operation: The operation whose access rule it has.
    """

    name: str
    path: str
    operation: str

    def is_here(self, path: str) -> bool:
        """Return whether a screen belongs to it.

        Args:
            path: Path of the screen below the page.
        """
        if not self.path:
            return path == "" or path.startswith(("plugins/", "switch/"))
        return path.startswith(self.path)


READ, SWITCH, INSTALL = "plugins_list", "plugins_activate_partial_update", "plugins_install_create"
REPAIRS, PROCESSES = "plugins_repairs_list", "plugins_processes_list"
OWN, UNINSTALL = settings.OF_USER, "plugins_uninstall_partial_update"

NAVIGATION: Final = (
    NavigationEntry(_("Plugins"), "", READ),
    NavigationEntry(_("Needs attention"), "attention/", REPAIRS),
    NavigationEntry(_("Processes"), "processes/", PROCESSES),
    NavigationEntry(_("Install"), "install/", INSTALL),
    NavigationEntry(_("My settings"), "my-settings/", OWN.list),
)
"""The entries of the navigation, in their order."""

Show = Callable[..., Screen | Redirect]

_PLUGIN: Final = r"plugins/(?P<plugin>[^/]+)/"

ROUTES: Final[tuple[tuple[str, str, Show, str], ...]] = (
    ("GET", "", plugins.show_plugins, READ),
    ("POST", "switch/", switching.switch, SWITCH),
    ("GET", f"{_PLUGIN}activate/", switching.ask_to_activate, SWITCH),
    ("GET", f"{_PLUGIN}deactivate/", switching.ask_to_deactivate, SWITCH),
    ("GET", _PLUGIN, plugin.show_overview, "plugins_retrieve"),
    ("GET", f"{_PLUGIN}settings/", settings.show_settings, settings.OF_PLUGIN.list),
    ("POST", f"{_PLUGIN}settings/", settings.save_settings, settings.OF_PLUGIN.change),
    ("GET", f"{_PLUGIN}failures/", plugin.show_failures, "plugins_failures_list"),
    ("GET", f"{_PLUGIN}runtime/", plugin.show_runtime, "plugins_retrieve"),
    ("GET", f"{_PLUGIN}files/", plugin.show_files, "plugins_retrieve"),
    ("POST", f"{_PLUGIN}probe/", plugin.probe, "plugins_probe_create"),
    ("POST", f"{_PLUGIN}reset/", plugin.reset, "plugins_reset_create"),
    ("GET", f"{_PLUGIN}delete/", plugin.ask_to_delete, "plugins_destroy"),
    ("POST", f"{_PLUGIN}delete/", plugin.delete, "plugins_destroy"),
    ("GET", f"{_PLUGIN}uninstall/", plugin.ask_to_delete, UNINSTALL),
    ("POST", f"{_PLUGIN}uninstall/", plugin.uninstall, UNINSTALL),
    ("GET", "attention/", attention.show_repairs, REPAIRS),
    ("POST", "attention/", attention.run_action, SWITCH),
    ("GET", "attention/question/", attention.ask, SWITCH),
    ("GET", "processes/", processes.show_processes, PROCESSES),
    ("POST", "processes/reload/", processes.reload, "plugins_reload_create"),
    ("GET", "install/", installing.show_install, INSTALL),
    ("POST", "install/", installing.plan, "plugins_plan_create"),
    ("POST", "install/start/", installing.start, INSTALL),
    ("GET", r"install/jobs/(?P<job>[0-9a-f]+)/", installing.show_job, INSTALL),
    ("POST", "install/rollback/", installing.roll_back, INSTALL),
    ("GET", "my-settings/", settings.show_own, OWN.list),
    ("POST", r"my-settings/(?P<plugin>[^/]+)/", settings.save_own, OWN.change),
)
"""Method, pattern of the path below the page, screen and operation."""
