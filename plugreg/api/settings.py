"""Operations on settings and user settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeVar

from plugreg._support import lazy
from plugreg._support.guard import Guard, plain, safe_str
from plugreg.api import models
from plugreg.api.access import OWN, READ, STAFF
from plugreg.api.errors import InvalidError, NotFoundError, shorten_name
from plugreg.api.operations import PAGING, OperationCall, Parameter, operation, update_operation
from plugreg.exceptions import PluginNotActiveError, PluginNotFoundError, SettingError
from plugreg.records import PluginState
from plugreg.settings.definition import (
    SettingDefinition,
    as_text,
    choice_text,
    choices_of,
    default_of,
    text_of,
)
from plugreg.settings.references import NO_REFERENCE, has_reference
from plugreg.settings.view import SettingsView

if TYPE_CHECKING:
    from plugreg._support.redact import Scrubber

SettingModel = TypeVar("SettingModel", bound=models.PluginSetting)


@operation(
    "GET",
    "/api/plugins/settings/",
    STAFF,
    models.PaginatedPluginSettingList,
    query=(
        Parameter("plugin__active", bool, "Whether the plugin is wanted active"),
        Parameter("plugin__key", str, "The key of the plugin"),
        *PAGING,
    ),
)
def list_all(call: OperationCall) -> models.PaginatedPluginSettingList:
    """Return a page of the settings of all plugins, by plugin, then as declared.

    Args:
        call: The call; its query has filters and page.

    Returns:
        The declared settings of active plugins, and the stored settings of others, which are
        masked.
    """
    active, slug = call.query["plugin__active"], call.query["plugin__key"]
    rows, links = call.page(call.service.registry.config.listed(wanted=active, slug=slug))
    shown: dict[str, _ClientSettings] = {}
    results = []
    for row in rows:
        if row.slug not in shown:
            shown[row.slug] = _ClientSettings(call, row.slug, row.pk, row.view)
        results.append(shown[row.slug].fields(row.key))
    return call.answer(models.PaginatedPluginSettingList, {**links, "results": results})


@operation("GET", "/api/plugins/{plugin}/settings/", READ, models.PluginSetting, many=True)
def list_settings(call: OperationCall) -> list[models.PluginSetting]:
    """Return the settings that an active plugin declares, in its order.

    Args:
        call: The call, with the plugin in its path.

    Raises:
        NotFoundError: If the plugin is not active.
    """
    return _settings_of(call).show_all(models.PluginSetting)


@operation("GET", "/api/plugins/{plugin}/settings/{key}/", READ, models.PluginSetting)
def retrieve(call: OperationCall) -> models.PluginSetting:
    """Return a setting of an active plugin.

    Args:
        call: The call, with plugin and setting in its path.

    Raises:
        NotFoundError: If the plugin is not active, or has no such setting.
    """
    return _settings_of(call).read(models.PluginSetting)


@update_operation("/api/plugins/{plugin}/settings/{key}/", STAFF, models.PluginSetting)
def change(call: OperationCall) -> models.PluginSetting:
    """Store the value of a setting, and return the setting.

    Args:
        call: The call, with plugin and setting in its path.

    Raises:
        NotFoundError: If the plugin is not active, or has no such setting.
        InvalidError: If the value is refused; nothing was changed.
    """
    return _settings_of(call).write(models.PluginSetting)


@operation("GET", "/api/plugins/{plugin}/user-settings/", OWN, models.PluginUserSetting, many=True)
def list_user_settings(call: OperationCall) -> list[models.PluginUserSetting]:
    """Return the actor's own settings with an active plugin.

    Args:
        call: The call, with the plugin in its path.

    Raises:
        NotFoundError: If the plugin is not active.
    """
    return _settings_of(call).show_all(models.PluginUserSetting)


@operation("GET", "/api/plugins/{plugin}/user-settings/{key}/", OWN, models.PluginUserSetting)
def retrieve_user_setting(call: OperationCall) -> models.PluginUserSetting:
    """Return a setting of the actor.

    Args:
        call: The call, with plugin and setting in its path.

    Raises:
        NotFoundError: If the plugin is not active, or has no such setting.
    """
    return _settings_of(call).read(models.PluginUserSetting)


@update_operation("/api/plugins/{plugin}/user-settings/{key}/", OWN, models.PluginUserSetting)
def change_user_setting(call: OperationCall) -> models.PluginUserSetting:
    """Store the value of a setting of the actor, and return the setting.

    Args:
        call: The call, with plugin and setting in its path.

    Raises:
        NotFoundError: If the plugin is not active, or has no such setting.
        InvalidError: If the value is refused; nothing was changed.
    """
    return _settings_of(call).write(models.PluginUserSetting)


class _ClientSettings:
    """The settings of a plugin, or of a user with it, as clients see them at a moment."""

    def __init__(
        self, call: OperationCall, slug: str, pk: int, view: SettingsView, user: int | None = None
    ) -> None:
        self.call = call
        self.slug = slug
        self.pk = pk
        self.view = view
        self.user = user

    @lazy
    def scrubber(self) -> Scrubber:
        """The scrubber for all of them. Making it calls each default that is a function."""
        return self.call.service.registry.config.scrubber(self.slug, self.user)

    @lazy
    def schema(self) -> Mapping[str, Any]:
        """The JSON Schema of each setting; none if the plugin's code fails."""
        with Guard():
            found: Mapping[str, Any] = self.view.schema()["properties"]
            return found
        return {}

    def read(self, model: type[SettingModel]) -> SettingModel:
        """Return the setting in the path. Raises NotFoundError."""
        return self.call.answer(model, self.fields(self._key()))

    def write(self, model: type[SettingModel]) -> SettingModel:
        """Store the value in the body, if any, and return the setting."""
        key = self._key()
        fields = self.call.fields()
        if "value" in fields and not self._is_shown(key, fields["value"]):
            try:
                self.view.set(key, self._parse(key, fields["value"]))
            except SettingError as error:
                raise InvalidError({"value": [error.reason]}) from None
        return self.read(model)

    def show_all(self, model: type[SettingModel]) -> list[SettingModel]:
        """Return all settings, in the order declared."""
        return [self.call.answer(model, self.fields(key)) for key in self.view.definitions]

    def fields(self, key: str) -> dict[str, Any]:
        """Return the fields of a setting with its value."""
        definition = self.view.definitions[key]
        service = self.call.service
        value = self._value(definition)
        if self.view.layer(key) == "default":
            value = self.scrubber.value(value)
        # A plugin's description of a setting, and its default, may quote another secret.
        described = self.scrubber.value(
            {
                "name": _as_string(definition.name),
                "description": _as_string(definition.description),
                "units": _as_string(definition.units),
                "choices": self._choices(definition),
                "model_name": definition.model,
                "model_filters": _as_json(definition.model_filters),
                "api_url": service.url_of(service.model_url, definition.model),
            }
        )
        return {
            **described,
            "pk": _number(self.pk, key, self.user),
            "key": key,
            "value": value,
            "type": self._type(definition),
            "typ": "plugin" if self.user is None else "plugin_user",
            "required": definition.required,
            "plugin": self.slug,
            # Ignored by the model of a setting that has no user.
            "user": self.user,
            **(self._extension(definition) if service.extended else {}),
        }

    def _extension(self, definition: SettingDefinition) -> dict[str, Any]:
        """Return the fields of a setting that only the extended API has."""
        key, default = definition.key, None
        is_protected = self.view.is_protected(key)
        if not is_protected and definition.default is not None:
            with Guard():
                default = self.scrubber.value(text_of(definition, default_of(definition)))
        return {
            "protected": is_protected,
            "hidden": definition.hidden or key.startswith("_"),
            "locked": self.view.is_locked(key),
            "layer": self.view.layer(key),
            "default": default,
            "schema": self.schema.get(key, {}),
        }

    def _key(self) -> str:
        """Return the setting in the path, whatever its case. Raises NotFoundError."""
        given = safe_str(self.call.parameters["key"])
        # Some letters of other scripts have a letter of ASCII as their upper case.
        if not given.isascii() or given not in self.view:
            kind = "setting" if self.user is None else "user setting"
            name = shorten_name(given)
            raise NotFoundError(f"Plugin '{self.slug}' has no {kind} matching '{name}'")
        return given.upper()

    def _is_shown(self, key: str, value: Any) -> bool:
        """Return whether a value is the string that the client sees for the stored value.

        Written back it would become a string where the type of the setting has strings too.
        """
        return (
            self.view.definitions[key].typed is not None
            and not self.call.service.native_values
            and self.view.layer(key) == "stored"
            and value == self.view.shown(key) != ""
            and self.view.fault(key) is None
        )

    def _parse(self, key: str, value: Any) -> Any:
        """Return the value to set for the value in a body. Raises SettingError for a reference."""
        typed = self.view.definitions[key].typed
        if isinstance(value, (list, dict)):
            if typed is None:
                raise SettingError(key, "Not a valid string.")
            with Guard():
                if not has_reference(value):
                    return value
            raise SettingError(key, NO_REFERENCE)
        # A number becomes a string where the setting has strings only.
        is_string = typed is None or typed.json_type == "string"
        return as_text(value) if is_string else value

    def _value(self, definition: SettingDefinition) -> Any:
        """Return the value as a string, or as JSON's own if the host wants that."""
        shown = self.view.shown(definition.key)
        if self.call.service.native_values and not self.view.is_protected(definition.key):
            with Guard():
                native = self.view[definition.key]
                if definition.typed is not None and native is not None:
                    return definition.typed.json_of(native)
                if type(native) in (bool, int, float):
                    json.dumps(native, allow_nan=False)
                    return native
        return shown

    def _type(self, definition: SettingDefinition) -> str:
        """Return the word for the type; lists and objects have their own where they are shown."""
        if self.call.service.native_values and definition.typed is not None:
            with Guard():
                if (kind := definition.typed.json_type) in ("array", "object"):
                    return kind
        return definition.wire_type

    def _choices(self, definition: SettingDefinition) -> list[dict[str, str]]:
        """Return the choices, their values as strings; none if the plugin's code fails."""
        with Guard():
            return [
                {"value": plain(choice_text(definition, value)), "display_name": _as_string(label)}
                for value, label in choices_of(definition, plugin=self.slug, user=self.user)
            ]
        return []


def view_of(call: OperationCall) -> SettingsView:
    """Return the view of the settings of the plugin in the path.

    Args:
        call: The call, with the plugin in its path.

    Raises:
        NotFoundError: If the plugin is not active.
    """
    return _settings_of(call).view


def _settings_of(call: OperationCall) -> _ClientSettings:
    """Return the settings of the plugin in the path, which must be active. Raises NotFoundError."""
    registry, slug = call.service.registry, shorten_name(call.slug)
    not_active = NotFoundError(f"Plugin '{slug}' is not active")
    not_installed = NotFoundError(f"Plugin '{slug}' not installed")
    user = call.actor.id if call.operation.access.needs_user else None
    try:
        record = registry.get(call.slug)
        if not record.active:
            is_gone = record.wanted and record.state is PluginState.MISSING
            raise not_installed if is_gone else not_active
        view = (
            registry.settings(record.slug)
            if user is None
            else registry.user_settings(record.slug, user)
        )
    except PluginNotActiveError:
        # It was switched off a moment ago.
        raise not_active from None
    except PluginNotFoundError:
        raise not_installed from None
    return _ClientSettings(call, record.slug, record.pk, view, user)


def _number(pk: int, key: str, user: int | None) -> int:
    """Return the number of a setting, which is always the same and never stored."""
    digest = blake2b(f"{pk}:{key}:{'' if user is None else user}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 11


def _as_string(value: object) -> str:
    # It may be lazy, and run the plugin's code.
    with Guard():
        return plain(str(value))
    return ""


def _as_json(value: Mapping[str, Any]) -> dict[str, Any]:
    with Guard():
        copied: dict[str, Any] = json.loads(json.dumps(dict(value), allow_nan=False))
        return copied
    return {}
