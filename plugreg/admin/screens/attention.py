"""What needs attention: the registry's repairs, each with its buttons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from plugreg.admin.screens.switching import SWITCH
from plugreg.admin.visits import Message, Redirect, Screen, Visit
from plugreg.exceptions import PlugregError
from plugreg.repairs import Repair, RepairAction

FOR_GOOD: Final = frozenset({"forget"})
"""Names of actions that cannot be undone, so that the page asks first."""


class OfferedAction(NamedTuple):
    """An action as the screen offers it: a button, a link, a command line, or a place to read.

    Attributes:
        action: The action.
        address: Address of the screen that does it, which may ask first; "" for a button.
        is_button: Whether a form of this screen does it.
    """

    action: RepairAction
    address: str
    is_button: bool


def show_repairs(visit: Visit) -> Screen:
    """Return what is wrong, errors first.

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
    return Redirect(visit.address("attention/"), _run(visit, *found))


def _find(visit: Visit, names: Mapping[str, str]) -> tuple[Repair, RepairAction] | None:
    """Return the repair and the action that are named, None if they are no more."""
    wanted = tuple(names.get(name, "") for name in ("code", "slug", "action"))
    for repair in visit.api.registry.repairs():
        for action in repair.actions:
            if (repair.code, repair.slug or "", action.name) == wanted and action.run is not None:
                return repair, action
    return None


def _gone(visit: Visit, names: Mapping[str, str]) -> Redirect:
    words = visit.text("%(slug)s: this needs no attention any more.")
    message = Message("status", words % {"slug": names.get("slug") or names.get("code", "")})
    return Redirect(visit.address("attention/"), message)


def _run(visit: Visit, repair: Repair, action: RepairAction) -> Message:
    assert action.run is not None
    names = {"slug": repair.slug or repair.code, "action": action.label}
    try:
        action.run()
    except PlugregError as error:
        words = visit.text("%(slug)s: “%(action)s” failed: %(reason)s")
        return Message("alert", words % {**names, "reason": str(error)[:500]})
    left = {(other.code, other.slug) for other in visit.api.registry.repairs()}
    if (repair.code, repair.slug) in left:
        words = visit.text("%(slug)s: “%(action)s” is done, and it still needs attention.")
        return Message("alert", words % names)
    return Message("status", visit.text("%(slug)s: “%(action)s” is done.") % names)


def _offer(visit: Visit, repair: Repair, action: RepairAction) -> OfferedAction:
    slug = repair.slug or ""
    screens = {
        "activate": (f"plugins/{slug}/activate/", SWITCH),
        "deactivate": (f"plugins/{slug}/deactivate/", SWITCH),
        "set": (f"plugins/{slug}/settings/", "plugins_settings_partial_update"),
        "show": (f"plugins/{slug}/failures/", "plugins_retrieve"),
        "uninstall": (f"plugins/{slug}/uninstall/", "plugins_uninstall_partial_update"),
        "install": ("install/", "plugins_install_create"),
        "upgrade": ("install/", "plugins_install_create"),
        "rollback": ("install/", "plugins_install_create"),
        "sync": ("install/", "plugins_install_create"),
    }
    if action.name in FOR_GOOD and visit.may(SWITCH):
        query = {"code": repair.code, "slug": slug, "action": action.name}
        return OfferedAction(action, visit.address("attention/question/", **query), is_button=False)
    path, operation = screens.get(action.name, ("", SWITCH))
    if not visit.may(operation) or (path == "install/" and visit.api.registry.packages is None):
        return OfferedAction(action, "", is_button=False)
    known = slug in visit.api.registry.plugins or not path.startswith("plugins/")
    if path and known and (action.name not in ("activate", "deactivate") or _is_own(action, slug)):
        back = "attention/" if "activate/" in path else ""
        requirement = action.label.partition(" ")[2] if path == "install/" else ""
        if action.name not in ("install", "upgrade"):
            requirement = ""
        return OfferedAction(
            action, visit.address(path, back=back, requirement=requirement), is_button=False
        )
    return OfferedAction(action, "", is_button=action.run is not None)


def _is_own(action: RepairAction, slug: str) -> bool:
    """Return whether an action switches the plugin of its repair, and not one that it needs."""
    return (action.command or "").split()[-1:] == [slug]
