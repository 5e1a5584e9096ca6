"""Operations on settings and user settings (behaviour.md, sections 4 and 5)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from plugreg._support.guard import Guard, plain, safe_str
from plugreg._support.redact import MASK
from plugreg.api.errors import InvalidError, NotFoundError, named
from plugreg.api.models import PaginatedPluginSettingList, PluginSetting, PluginUserSetting
from plugreg.api.operations import Call
from plugreg.api.paging import page_of
from plugreg.api.service import Service
from plugreg.exceptions import PluginNotActiveError, PluginNotFoundError, SettingError
from plugreg.records import PluginRecord, PluginState
from plugreg.settings.definition import SettingDefinition, as_text, choice_text, choices_of
from plugreg.settings.references import NO_REFERENCE, has_reference
from plugreg.settings.view import SettingsView


def list_all(call: Call) -> PaginatedPluginSettingList:
    """Return one page of the settings of all plugins, by plugin, then as declared (2.4)."""
    active, slug = call.query["plugin__active"], call.query["plugin__key"]
    page = page_of(call, call.service.registry.config.listed(wanted=active, slug=slug))
    return PaginatedPluginSettingList(
        count=page.count,
        next=page.next,
        previous=page.previous,
        results=[
            _undeclared(each.pk, each.slug, each.key)
            if each.view is None
            else _Settings(call.service, each.slug, each.pk, each.view).setting(each.key)
            for each in page.rows
        ],
    )


def list_settings(call: Call) -> list[PluginSetting]:
    """Return the settings that an active plugin declares, in its order (2.15)."""
    found = _own(call)
    return [found.setting(key) for key in found.view.definitions]


def retrieve(call: Call) -> PluginSetting:
    """Return one setting of an active plugin (2.16)."""
    found = _own(call)
    return found.setting(found.key(call))


def change(call: Call) -> PluginSetting:
    """Store the value of one setting, and return it as it is then (2.17, 2.18)."""
    found = _own(call)
    key = found.key(call)
    found.write(call, key)
    return found.setting(key)


def list_user_settings(call: Call) -> list[PluginUserSetting]:
    """Return the actor's own settings with an active plugin (2.21)."""
    found = _of_user(call)
    return [found.user_setting(key) for key in found.view.definitions]


def retrieve_user_setting(call: Call) -> PluginUserSetting:
    """Return one of the actor's own settings (2.22)."""
    found = _of_user(call)
    return found.user_setting(found.key(call))


def change_user_setting(call: Call) -> PluginUserSetting:
    """Store one of the actor's own settings, and return it as it is then (2.23, 2.24)."""
    found = _of_user(call)
    key = found.key(call)
    found.write(call, key)
    return found.user_setting(key)


class _NativeSetting(PluginSetting):
    """A setting whose value is what JSON has for it."""

    value: Any


class _NativeUserSetting(PluginUserSetting):
    """The same, of a user."""

    value: Any


# -- the parts --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Settings:
    """The settings of one plugin, or of one user with it, as clients see them."""

    service: Service
    slug: str
    pk: int
    view: SettingsView
    user: int | None = None

    def key(self, call: Call) -> str:
        """Return the setting in the path, whatever its case. Raises NotFoundError."""
        given = safe_str(call.parameters["key"])
        # Some letters of other scripts have a letter of ASCII as their upper case.
        if not given.isascii() or given not in self.view:
            kind = "setting" if self.user is None else "user setting"
            raise NotFoundError(f"Plugin '{self.slug}' has no {kind} matching '{named(given)}'")
        return given.upper()

    def write(self, call: Call, key: str) -> None:
        """Store the value in the body, if one was given. Raises InvalidError."""
        fields = call.fields()
        if "value" not in fields or self._is_shown(key, fields["value"]):
            return
        try:
            self.view.set(key, self._given(key, fields["value"]))
        except SettingError as error:
            raise InvalidError({"value": [error.reason]}) from None

    def _is_shown(self, key: str, value: Any) -> bool:
        """Return whether a text is the one that stands for the stored value.

        Written back it would become a string where the type of the setting has strings too.
        """
        return (
            self.view.definitions[key].typed is not None
            and not self.service.native_values
            and self.view.layer(key) == "stored"
            and value == self.view.shown(key) != ""
            and self.view.fault(key) is None
        )

    def _given(self, key: str, value: Any) -> Any:
        """Return the value to set for the one in a body. Raises SettingError for a reference."""
        typed = self.view.definitions[key].typed
        if isinstance(value, (list, dict)):
            if typed is None:
                raise SettingError(key, "Not a valid string.")
            with Guard():
                if not has_reference(value):
                    return value
            raise SettingError(key, NO_REFERENCE)
        # A number stands for its text where the setting has nothing but text.
        is_text = typed is None or typed.json_type == "string"
        return as_text(value) if is_text else value

    def setting(self, key: str) -> PluginSetting:
        """Return a setting with its value."""
        kind = _NativeSetting if self.service.native_values else PluginSetting
        return kind(**self._fields(key), typ="plugin")

    def user_setting(self, key: str) -> PluginUserSetting:
        """Return a user's setting with its value."""
        assert self.user is not None
        kind = _NativeUserSetting if self.service.native_values else PluginUserSetting
        return kind(**self._fields(key), typ="plugin_user", user=self.user)

    def _fields(self, key: str) -> dict[str, Any]:
        definition = self.view.definitions[key]
        # What the plugin says of a setting may tell what it keeps in another one.
        told = self.service.registry.config.scrubbed(
            self.slug,
            {
                "name": _text(definition.name),
                "description": _text(definition.description),
                "units": _text(definition.units),
                "choices": self._choices(definition),
                "model_name": definition.model,
                "model_filters": _json_object(definition.model_filters),
                "api_url": self.service.url_of_model(definition.model),
            },
            self.user,
        )
        value = self._value(definition)
        if self.view.layer(key) == "default":
            value = self.service.registry.config.scrubbed(self.slug, value, self.user)
        return {
            **told,
            "pk": _number(self.pk, key, self.user),
            "key": key,
            "value": value,
            "type": self._type(definition),
            "required": definition.required,
            "plugin": self.slug,
        }

    def _value(self, definition: SettingDefinition) -> Any:
        """Return the value as text, or as JSON has it where the host wants that."""
        shown = self.view.shown(definition.key)
        if self.service.native_values and not self.view.is_protected(definition.key):
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
        if self.service.native_values and definition.typed is not None:
            with Guard():
                if (kind := definition.typed.json_type) in ("array", "object"):
                    return kind
        return definition.wire_type

    def _choices(self, definition: SettingDefinition) -> list[dict[str, str]]:
        """Return the choices, their values as text as the setting's own; none if they fail."""
        with Guard():
            return [
                {"value": plain(choice_text(definition, value)), "display_name": _text(label)}
                for value, label in choices_of(definition, plugin=self.slug, user=self.user)
            ]
        return []


def _own(call: Call) -> _Settings:
    record = _active(call)
    view = _viewed(call, lambda: call.service.registry.settings(record.slug))
    return _Settings(call.service, record.slug, record.pk, view)


def _of_user(call: Call) -> _Settings:
    user = call.actor.id
    assert user is not None
    record = _active(call)
    view = _viewed(call, lambda: call.service.registry.user_settings(record.slug, user))
    return _Settings(call.service, record.slug, record.pk, view, user)


def _active(call: Call) -> PluginRecord:
    """Return the record of the plugin in the path, which must be active (section 2)."""
    try:
        record = call.service.registry.get(call.slug)
    except PluginNotFoundError:
        raise _not_installed(call) from None
    if not record.active:
        gone = record.wanted and record.state is PluginState.MISSING
        raise _not_installed(call) if gone else _not_active(call)
    return record


def _viewed(call: Call, view: Callable[[], SettingsView]) -> SettingsView:
    try:
        return view()
    except PluginNotActiveError:
        # It was switched off a moment ago.
        raise _not_active(call) from None
    except PluginNotFoundError:
        raise _not_installed(call) from None


def _not_installed(call: Call) -> NotFoundError:
    return NotFoundError(f"Plugin '{named(call.slug)}' not installed")


def _not_active(call: Call) -> NotFoundError:
    return NotFoundError(f"Plugin '{named(call.slug)}' is not active")


def _undeclared(pk: int, slug: str, key: str) -> PluginSetting:
    """Return a stored setting of which no definition is known: its value is never shown."""
    return PluginSetting(
        pk=_number(pk, key, None),
        key=key,
        value=MASK,
        name="",
        description="",
        type="string",
        units="",
        choices=[],
        model_name=None,
        model_filters={},
        api_url=None,
        typ="plugin",
        required=False,
        plugin=slug,
    )


def _number(pk: int, key: str, user: int | None) -> int:
    """Return the number of a setting, which is always the same and never stored (section 4.8)."""
    digest = blake2b(f"{pk}:{key}:{'' if user is None else user}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 11


def _text(value: object) -> str:
    # It may be lazy, and run the plugin's code.
    with Guard():
        return plain(str(value))
    return ""


def _json_object(value: Mapping[str, Any]) -> dict[str, Any]:
    with Guard():
        copied: dict[str, Any] = json.loads(json.dumps(dict(value), allow_nan=False))
        return copied
    return {}
