"""Settings of a plugin, and a user's own, with the same form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from plugreg.admin.forms import Field, changes_of, make_field, with_sent
from plugreg.admin.screens.tabs import show_tab
from plugreg.admin.visits import Message, Redirect, Screen, Visit, sentences
from plugreg.api import APIError
from plugreg.api.errors import NotFoundError


class SettingsKind(NamedTuple):
    """Settings of a plugin, or those of a user, with their operations."""

    list: str
    change: str


OF_PLUGIN: Final = SettingsKind("plugins_settings_list", "plugins_settings_partial_update")
OF_USER: Final = SettingsKind("plugins_user_settings_list", "plugins_user_settings_partial_update")


def show_settings(visit: Visit, plugin: str) -> Screen:
    """Return the form of a plugin's settings.

    Args:
        visit: The visit.
        plugin: The plugin.
    """
    try:
        fields = _fields(visit, OF_PLUGIN, plugin)
    except NotFoundError:
        fields = None
    return _settings_tab(visit, plugin, fields)


def save_settings(visit: Visit, plugin: str) -> Screen | Redirect:
    """Store the changes of a form, and show errors beside their fields.

    Args:
        visit: The visit; its fields are those of the form.
        plugin: The plugin.
    """
    fields = _fields(visit, OF_PLUGIN, plugin)
    refused, message = _save(visit, OF_PLUGIN, plugin, fields)
    if not refused:
        return Redirect(visit.address(f"plugins/{plugin}/settings/"), message)
    marked = _marked(visit, OF_PLUGIN, plugin, refused)
    return _settings_tab(visit, plugin, marked)._replace(status=400, message=message)


def show_own(visit: Visit) -> Screen:
    """Return the forms of a user's own settings, for each plugin that has any.

    Args:
        visit: The visit.
    """
    return Screen("my_settings.html", {"forms": _own_forms(visit)})


def save_own(visit: Visit, plugin: str) -> Screen | Redirect:
    """Store the changes of a form of a user's own settings.

    Args:
        visit: The visit; its fields are those of the form.
        plugin: The plugin.
    """
    fields = _fields(visit, OF_USER, plugin)
    refused, message = _save(visit, OF_USER, plugin, fields)
    if not refused:
        return Redirect(visit.address("my-settings/") + f"#settings-{plugin}", message)
    forms = _own_forms(visit)
    forms[plugin] = _marked(visit, OF_USER, plugin, refused)
    return Screen("my_settings.html", {"forms": forms}, 400, message)


def _marked(
    visit: Visit, kind: SettingsKind, plugin: str, refused: Mapping[str, list[str]]
) -> list[Field]:
    """Return the fields with stored values, and refused fields with submitted values."""
    return [
        with_sent(field, visit.fields, refused[field.key]) if field.key in refused else field
        for field in _fields(visit, kind, plugin)
    ]


def _settings_tab(visit: Visit, plugin: str, fields: list[Field] | None) -> Screen:
    values = {"fields": fields, "may_save": visit.may(OF_PLUGIN.change)}
    return show_tab(visit, plugin, "settings", values)


def _own_forms(visit: Visit) -> dict[str, list[Field]]:
    forms = {}
    for slug, record in visit.api.registry.active.items():
        if "settings" in record.mixins and (fields := _fields(visit, OF_USER, slug)):
            forms[slug] = fields
    return forms


def _fields(visit: Visit, kind: SettingsKind, plugin: str) -> list[Field]:
    """Return the fields of a form. Raises NotFoundError unless the plugin is active."""
    found = visit.call(kind.list, plugin=plugin)
    return [make_field(setting) for setting in found if not setting.hidden]


def _save(
    visit: Visit, kind: SettingsKind, plugin: str, fields: list[Field]
) -> tuple[Mapping[str, list[str]], Message]:
    """Store the changes; return the errors by key, and the message."""
    changes: dict[str, Any] = changes_of(fields, visit.fields)
    if (unset := visit.fields.get("unset")) is not None:
        changes = {unset: ""}
    refused: dict[str, list[str]] = {}
    for key, value in changes.items():
        try:
            visit.call(kind.change, plugin=plugin, key=key, body={"value": value})
        except APIError as error:
            refused[key] = error.errors.get("value") or [sentences(error)]
    saved = ", ".join(key for key in changes if key not in refused)
    return refused, _message(visit, plugin, saved, ", ".join(refused))


def _message(visit: Visit, plugin: str, saved: str, refused: str) -> Message:
    if refused:
        words = visit.text("%(slug)s: not saved: %(refused)s.", slug=plugin, refused=refused)
        more = (visit.text("Saved: %(saved)s.", saved=saved),) if saved else ()
        return Message("alert", words, more)
    if saved:
        words = visit.text("%(slug)s: saved %(saved)s.", slug=plugin, saved=saved)
    else:
        words = visit.text("%(slug)s: nothing was changed.", slug=plugin)
    return Message("status", words)
