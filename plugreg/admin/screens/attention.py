"""Needs attention: the registry's repairs, each with its buttons."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from plugreg.admin.screens.switching import SWITCH
from plugreg.admin.visits import Message, Redirect, Screen, Visit
from plugreg.api.errors import NotFoundError
from plugreg.exceptions import PlugregError
from plugreg.repairs import Repair, RepairAction

_QUESTION: Final = "attention/question/"

_SCREENS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "activate": ("plugins/{subject}/activate/", SWITCH),
        "deactivate": ("plugins/{subject}/deactivate/", SWITCH),
        "set": ("plugins/{slug}/settings/", "plugins_settings_partial_update"),
        "show": ("plugins/{slug}/failures/", "plugins_failures_list"),
        "uninstall": ("plugins/{subject}/uninstall/", "plugins_uninstall_partial_update"),
        "install": ("install/", "plugins_plan_create"),
        "upgrade": ("install/", "plugins_plan_create"),
        "rollback": ("install/", "plugins_plan_create"),
        "sync": ("install/", "plugins_plan_create"),
        # It cannot be undone, so that the page asks first.
        "forget": (_QUESTION, SWITCH),
        "probe": ("", "plugins_probe_create"),
        "reload": ("", "plugins_reload_create"),
        "reset": ("", "plugins_reset_create"),
        "reset-everywhere": ("", "plugins_reset_create"),
    }
)
"""The screen of an action by its name, "" where a button does it, and the operation of both."""


def show_repairs(visit: Visit) -> Screen:
    """Return the problems, errors first.

    Args:
        visit: The visit.
    """
    repairs = visit.api.registry.repairs()
    rows = [
        (repair, [_offer(visit, repair, action) for action in repair.actions]) for repair in repairs
    ]
    return Screen("attention.html", {"rows": rows})


def ask(visit: Visit) -> Screen | Redirect:
    """Return the question whether to run an action that cannot be undone.

    Args:
        visit: The visit; its query has ``code``, ``slug`` and ``action``.
    """
    found = _find(visit, visit.query)
    if found is None:
        return _gone(visit, visit.query)
    return Screen("repair.html", {"repair": found[0], "action": found[1]})


def run_action(visit: Visit) -> Redirect:
    """Run the action of a repair, if it is still there.

    Args:
        visit: The visit; its fields are ``code``, ``slug`` and ``action``.
    """
    found = _find(visit, visit.fields)
    if found is None:
        return _gone(visit, visit.fields)
    path, operation = _screen_of(*found)
    if path not in ("", _QUESTION) or not visit.may(operation):
        # An action with its own screen is done there, with its question and access rule.
        raise NotFoundError
    return Redirect(visit.address("attention/"), _run(visit, *found))


def _find(visit: Visit, names: Mapping[str, str]) -> tuple[Repair, RepairAction] | None:
    """Return the named repair and action, None if they no longer exist."""
    wanted = tuple(names.get(name, "") for name in ("code", "slug", "action"))
    for repair in visit.api.registry.repairs():
        for action in repair.actions:
            if (repair.code, repair.slug or "", action.name) == wanted and action.run is not None:
                return repair, action
    return None


def _gone(visit: Visit, names: Mapping[str, str]) -> Redirect:
    slug = names.get("slug") or names.get("code", "")
    words = visit.text("%(slug)s: this needs no attention any more.", slug=slug)
    return Redirect(visit.address("attention/"), Message("status", words))


def _run(visit: Visit, repair: Repair, action: RepairAction) -> Message:
    assert action.run is not None
    names = {"slug": repair.slug or repair.code, "action": action.label}
    try:
        action.run()
    except PlugregError as error:
        reason = str(error)[:500]
        words = visit.text("%(slug)s: “%(action)s” failed: %(reason)s", **names, reason=reason)
        return Message("alert", words)
    if action.name == "reset-everywhere":
        # What the other processes will do cannot be seen yet.
        words = visit.text(
            "%(slug)s: “%(action)s” is asked of all processes; each does so within moments.",
            **names,
        )
        return Message("status", words)
    left = {(other.code, other.slug) for other in visit.api.registry.repairs()}
    if (repair.code, repair.slug) in left:
        words = visit.text("%(slug)s: “%(action)s” is done, and it still needs attention.", **names)
        return Message("alert", words)
    return Message("status", visit.text("%(slug)s: “%(action)s” is done.", **names))


def _offer(visit: Visit, repair: Repair, action: RepairAction) -> tuple[RepairAction, str, bool]:
    """Return an action, the address of its screen, and whether a button of this screen does it."""
    path, operation = _screen_of(repair, action)
    if not visit.may(operation):
        return action, "", False
    return action, path and visit.address(path, **_query_of(repair, action)), bool(action.run)


def _screen_of(repair: Repair, action: RepairAction) -> tuple[str, str]:
    path, operation = _SCREENS.get(action.name, ("", SWITCH))
    # "plugreg activate discount": it may concern another plugin than the repair.
    subject = (action.command or "").rpartition(" ")[2]
    return path.format(subject=subject, slug=repair.slug), operation


def _query_of(repair: Repair, action: RepairAction) -> dict[str, str]:
    match action.name:
        case "activate" | "deactivate":
            return {"back": "attention/"}
        case "install" | "upgrade":
            # The label names the distribution, the command of an upgrade the plugin.
            return {"requirement": action.label.rpartition(" ")[2]}
        case "forget":
            return {"code": repair.code, "slug": repair.slug or "", "action": action.name}
    return {}
