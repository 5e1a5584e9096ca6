"""The processes that share the storage, with their plugins."""

from __future__ import annotations

from plugreg.admin.visits import Message, Redirect, Screen, Visit


def show_processes(visit: Visit) -> Screen:
    """Return the processes, and their differences.

    Args:
        visit: The visit.
    """
    found = visit.call("plugins_processes_list")
    newest = max((process.generation for process in found), default=0)
    everywhere = set(visit.api.registry.active) | {slug for p in found for slug in p.active}
    rows = [
        (process, newest - process.generation, sorted(everywhere - set(process.active)))
        for process in found
    ]
    values = {"rows": rows, "may_reload": visit.may("plugins_reload_create")}
    return Screen("processes.html", values)


def reload(visit: Visit) -> Redirect:
    """Have all processes look for plugins, and reload.

    Args:
        visit: The visit.
    """
    visit.call("plugins_reload_create", body={"collect_plugins": True})
    words = visit.text("This process has reloaded; the others do so within moments.")
    return Redirect(visit.address("processes/"), Message("status", words))
