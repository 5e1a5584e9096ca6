"""The screens by path: the only table of their places and access rules.

Each method of a path names an operation of the API. Its access rule decides, and a host that has
no such operation has no such screen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from plugreg.admin.visits import Redirect, Screen, Visit


class NavigationEntry(NamedTuple):
    """An entry of the navigation.

    Attributes:
        name: Its name, in English.
        path: Its path below the page.
        operation: The operation whose access rule it has.
        is_offered: Whether the host has its subject, such as an installer.
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


def _can_install(visit: Visit) -> bool:
    return visit.api.registry.packages is not None


READ, SWITCH, INSTALL = "plugins_list", "plugins_activate_partial_update", "plugins_install_create"
REPAIRS, PROCESSES = "plugins_repairs_list", "plugins_processes_list"
OWN = settings.OF_USER

NAVIGATION: Final = (
    NavigationEntry(_("Plugins"), "", READ),
    NavigationEntry(_("Needs attention"), "attention/", REPAIRS),
    NavigationEntry(_("Processes"), "processes/", PROCESSES),
    NavigationEntry(_("Install"), "install/", INSTALL, _can_install),
    NavigationEntry(_("My settings"), "my-settings/", OWN.list),
)
"""The entries of the navigation, in their order."""

Show = Callable[..., Screen | Redirect]

_PLUGIN: Final = r"plugins/(?P<plugin>[^/]+)/"

ROUTES: Final[tuple[tuple[str, Mapping[str, tuple[Show, str]]], ...]] = (
    ("", {"GET": (plugins.show_plugins, READ)}),
    ("switch/", {"POST": (switching.switch, SWITCH)}),
    (f"{_PLUGIN}activate/", {"GET": (switching.ask_to_activate, SWITCH)}),
    (f"{_PLUGIN}deactivate/", {"GET": (switching.ask_to_deactivate, SWITCH)}),
    (_PLUGIN, {"GET": (plugin.show_overview, "plugins_retrieve")}),
    (
        f"{_PLUGIN}settings/",
        {
            "GET": (settings.show_settings, settings.OF_PLUGIN.list),
            "POST": (settings.save_settings, settings.OF_PLUGIN.change),
        },
    ),
    (f"{_PLUGIN}failures/", {"GET": (plugin.show_failures, "plugins_failures_list")}),
    (f"{_PLUGIN}runtime/", {"GET": (plugin.show_runtime, "plugins_retrieve")}),
    (f"{_PLUGIN}files/", {"GET": (plugin.show_files, "plugins_retrieve")}),
    (f"{_PLUGIN}probe/", {"POST": (plugin.probe, "plugins_probe_create")}),
    (f"{_PLUGIN}reset/", {"POST": (plugin.reset, "plugins_reset_create")}),
    (
        f"{_PLUGIN}delete/",
        {
            "GET": (plugin.ask_to_delete, "plugins_destroy"),
            "POST": (plugin.delete, "plugins_destroy"),
        },
    ),
    (
        f"{_PLUGIN}uninstall/",
        {
            "GET": (plugin.ask_to_delete, "plugins_uninstall_partial_update"),
            "POST": (plugin.uninstall, "plugins_uninstall_partial_update"),
        },
    ),
    (
        "attention/",
        {
            "GET": (attention.show_repairs, REPAIRS),
            "POST": (attention.run_action, SWITCH),
        },
    ),
    ("attention/question/", {"GET": (attention.ask, SWITCH)}),
    ("processes/", {"GET": (processes.show_processes, PROCESSES)}),
    ("processes/reload/", {"POST": (processes.reload, "plugins_reload_create")}),
    (
        "install/",
        {
            "GET": (installing.show_install, INSTALL),
            "POST": (installing.plan, "plugins_plan_create"),
        },
    ),
    ("install/start/", {"POST": (installing.start, INSTALL)}),
    (r"install/jobs/(?P<job>[0-9a-f]+)/", {"GET": (installing.show_job, INSTALL)}),
    ("install/rollback/", {"POST": (installing.roll_back, INSTALL)}),
    ("my-settings/", {"GET": (settings.show_own, OWN.list)}),
    (r"my-settings/(?P<plugin>[^/]+)/", {"POST": (settings.save_own, OWN.change)}),
)
"""Patterns of paths below the page, with the screen and the operation of each method."""
