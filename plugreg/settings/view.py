"""The live view of a plugin's settings: stored strings and definitions in, typed values out.

A value comes from the host's overrides, else from the store, else from the default. A value that
was never set has no row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from enum import Enum
from types import NoneType
from typing import Any, Final, Literal, TypeAlias

from plugreg._support.frozen import NamedTuple, replace
from plugreg._support.guard import Guard, explain, plain, safe_repr
from plugreg._support.redact import MASK
from plugreg._support.slugs import near
from plugreg.exceptions import SettingError
from plugreg.records import EMPTY, PluginFailure, Stage
from plugreg.settings.definition import (
    Checked,
    SettingDefinition,
    check,
    check_given,
    default_of,
    fault_of,
    native_of,
    text_of,
)
from plugreg.settings.references import has_reference, resolve
from plugreg.settings.schema import schema_of
from plugreg.settings.store import Scope, SettingsStore
from plugreg.settings.values import FIRST_VERSION, NOTHING, StoredSettings, StoredValue

Layer: TypeAlias = Literal["default", "stored", "override"]
"""Source of a value; a later source wins."""

_LOCKED: Final = "its value is fixed by the host's configuration (overrides=); change it there"
_MISSING: Final = "it is required, and has neither a value nor a default"
_IMMUTABLE: Final = (str, int, float, bool, Enum, NoneType)
_Converted: TypeAlias = tuple[StoredSettings, Mapping[str, StoredValue], dict[str, Any]]


class SettingsView(Mapping[str, Any]):
    """The settings of a plugin, or of a user: a live mapping.

    It maps keys to native values. Keys are those of the definitions, in their order, in any case.
    An override of the host wins over a stored value, and that over the default. A stored value that
    no longer converts reads as the default. References are looked up at each read. Reading takes no
    lock and touches no storage. A view of an older version of the settings than the plugin's
    current plugin refuses to write. The repr shows no value.

    Reading raises KeyError for an unknown key. It raises SettingError for a value that is not
    available: a reference that cannot be resolved, a value encrypted with another key, a default
    that fails, a reference or an override that does not fit its definition. A default in their
    place would be dangerous, since somebody has decided on a value.

    A registry creates it: see ``PluginRegistry.settings``.

    Args:
        store: The settings of all plugins.
        slug: Slug of the plugin.
        definitions: Definitions by upper-case key.
        user: Number of the user, None for the plugin's own settings.
        version: Version of the settings that *definitions* belong to.
    """

    def __init__(
        self,
        store: SettingsStore,
        slug: str,
        definitions: Mapping[str, SettingDefinition],
        user: int | None = None,
        version: int = FIRST_VERSION,
    ) -> None:
        self.definitions: Final = definitions
        """Definitions by upper-case key, in the order in which the plugin declares them."""
        self._store = store
        self._scope: Scope = (slug, user)
        self._version = version
        self._values = store.of(slug)
        self._fixed = self._values.fixed(user)
        # All stored values, this owner's part of them, and the native values made of it so far.
        # A single object, so that no thread pairs strings and native values of different moments.
        self._converted: _Converted = (NOTHING, EMPTY, {})

    def __getitem__(self, key: str) -> Any:
        stored = self._values.stored
        seen, own, values = self._converted
        if stored is not seen:
            before, own = own, stored.of(self._scope[1])
            # A write leaves the values of other users as they are.
            values = values if own is before else {}
            self._converted = (stored, own, values)
        try:
            return values[key]
        except KeyError:
            definition = self._definition(key)
        name = definition.key
        if name not in values:
            native, varies = self._value(definition, own.get(name))
            # Readers could change a list that they share.
            if varies or not issubclass(type(native), _IMMUTABLE):
                return native
            values[name] = native
        return values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.definitions)

    def __len__(self) -> int:
        return len(self.definitions)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.upper() in self.definitions

    def __repr__(self) -> str:
        slug, user = self._scope
        owner = "" if user is None else f" of user {user}"
        return f"<settings of {slug!r}{owner}: {', '.join(self.definitions) or 'none'}>"

    def visible(self) -> tuple[SettingDefinition, ...]:
        """Return the definitions for a page: not hidden, no leading underscore."""
        return tuple(
            definition
            for key, definition in self.definitions.items()
            if not definition.hidden and not key.startswith("_")
        )

    def schema(self) -> dict[str, Any]:
        """Return a JSON Schema (2020-12) of all settings; locked settings are read-only."""
        protected = {key for key in self.definitions if self.is_protected(key)}
        schema = schema_of(self.definitions, self._fixed, protected, title=self._scope[0])
        # Keys are the plugin's; other strings may quote a protected value.
        scrubbed = self._values.scrubber_for(self._scope[1]).value
        schema["properties"] = {key: scrubbed(item) for key, item in schema["properties"].items()}
        return schema

    def layer(self, key: str) -> Layer:
        """Return the source of a value.

        Args:
            key: Key of the setting, in any case.

        Returns:
            ``"override"``, ``"stored"`` (also where the stored value no longer converts, so that
            the default is read) or ``"default"``.

        Raises:
            KeyError: If the key is unknown.
        """
        name = self._definition(key).key
        if name in self._fixed:
            return "override"
        return "default" if self._stored(name) is None else "stored"

    def is_locked(self, key: str) -> bool:
        """Return whether the host fixes the value, so that writing it is refused.

        Args:
            key: Key of the setting, in any case.

        Raises:
            KeyError: If the key is unknown.
        """
        return self.layer(key) == "override"

    def is_protected(self, key: str) -> bool:
        """Return whether the value is never shown, as it is declared or was stored.

        Args:
            key: Key of the setting, in any case.

        Raises:
            KeyError: If the key is unknown.
        """
        definition = self._definition(key)
        is_fixed = definition.key in self._fixed
        is_protected = self._values.was_protected if is_fixed else self._values.is_protected
        return definition.protected or is_protected(self._scope[1], definition.key)

    def is_set(self, key: str) -> bool:
        """Return whether a value is stored, or fixed by the host.

        Args:
            key: Key of the setting, in any case.

        Raises:
            KeyError: If the key is unknown.
        """
        return self.layer(key) != "default"

    def shown(self, key: str) -> str:
        """Return the value as a string for clients.

        Exceptions of the plugin's code do not pass.

        Args:
            key: Key of the setting, in any case.

        Returns:
            ``""`` where there is no value or it is not available, ``"***"`` for a protected value
            that is set, else the value.

        Raises:
            KeyError: If the key is unknown.
        """
        definition = self._definition(key)
        if self.is_protected(key):
            return MASK if self.is_set(key) else ""
        with Guard():
            return text_of(definition, self[key])
        return ""

    def stored(self, key: str) -> Any:
        """Return the stored value as it was given, for a file that describes the settings.

        Args:
            key: Key of the setting, in any case.

        Returns:
            The string, or a dict or list with references, which are not looked up. None where
            nothing is stored or the value cannot be read. ``"***"`` for a protected value.

        Raises:
            KeyError: If the key is unknown.
        """
        value = self._stored(self._definition(key).key)
        if value is None or value.fault:
            return None
        is_reference = value.is_json and has_reference(value.given)
        return MASK if self.is_protected(key) and not is_reference else value.given

    def fault(self, key: str, *, was_checked: bool = False) -> str | None:
        """Return why the value of a setting is missing or cannot be used, or None.

        A stored value is checked against the whole definition, except callable choices.
        References are resolved and checked. The reason shows no protected value.

        Args:
            key: Key of the setting, in any case.
            was_checked: Whether validators accepted the stored value when it was written, so
                that they are not called.

        Raises:
            KeyError: If the key is unknown.
        """
        definition = self._definition(key)
        with Guard() as guard:
            value = self._stored(definition.key)
            if (
                definition.key in self._fixed
                or (value is not None and value.fault)
                or (value is not None and value.is_json and has_reference(value.given))
            ):
                self._value(definition, value)
            elif value is not None:
                if self.is_protected(key) is not definition.protected:
                    definition = replace(definition, protected=True)
                reason = fault_of(definition, value.given, was_checked=was_checked)
                return None if reason is None else self._scrubbed(reason)
            elif definition.required or callable(definition.default):
                text = text_of(definition, self._default(definition))
                return _MISSING if definition.required and not text else None
            return None
        assert guard.error is not None
        return self._refusal(definition, guard.error).reason

    def set(self, key: str, value: object) -> None:
        """Check and store a value.

        On return it is on disk, and every later read returns it. ``before_save`` of the definition
        may refuse by raising. If ``after_save`` raises, that is a failure record, and the value
        stays stored. After an error nothing has changed.

        Args:
            key: Key of the setting, in any case.
            value: The value. None and ``""`` unset the setting, so that the default is read. The
                mask of a protected setting changes nothing. A dict ``{"$env": "NAME"}`` or
                ``{"$file": "path"}``, also within lists and dicts, is stored as a reference and
                looked up at each read. A string never becomes a reference: pass on only strings
                of what others sent.

        Raises:
            KeyError: If the key is unknown.
            SettingError: If the value is refused, the host fixes it, or the stored or declared
                settings have another version than this view.
            StorageError: If the storage fails.
        """
        definition = self._definition(key)
        if self.is_protected(key):
            with Guard():
                # An object may do anything when it is compared.
                if isinstance(value, str) and value == MASK:
                    return
        slug, user = self._scope
        _, text, is_json = self.check(key, value)
        change = SettingChange(slug, user, definition.key, text)
        if definition.before_save is not None:
            with Guard() as guard:
                definition.before_save(change)
            if guard.error is not None:
                raise self._refusal(definition, guard.error, is_veto=True)
        self._store.write(self._scope, definition, text, version=self._version, is_json=is_json)
        if definition.after_save is not None:
            with Guard() as guard:
                definition.after_save(change)
            if guard.error is not None:
                subject = f"after_save of setting {definition.key!r}"
                self._store.record(
                    PluginFailure.of(
                        Stage.CALL, slug, guard.error, subject="after_save", what=subject
                    )
                )

    def check(self, key: str, value: object) -> Checked:
        """Check a value as `set` does before it stores it. Hooks of the definition do not run.

        Args:
            key: Key of the setting, in any case.
            value: The value, as `set` takes it.

        Returns:
            The native value, and the string or JSON to store.

        Raises:
            KeyError: If the key is unknown.
            SettingError: If `set` would refuse the value.
        """
        definition = self._definition(key)
        fault = self._store.version_fault(self._scope[0], self._version)
        reason = _LOCKED if definition.key in self._fixed else fault
        if reason is not None:
            raise SettingError(definition.key, reason)
        return self._checked(check_given, definition, value)

    # -- the parts ---------------------------------------------------------------------------

    def _definition(self, key: object) -> SettingDefinition:
        name = key.upper() if isinstance(key, str) else ""
        definition = self.definitions.get(name)
        if definition is None:
            hint = near(name, self.definitions)
            raise KeyError(f"plugin {self._scope[0]!r} has no setting {safe_repr(key)}{hint}")
        return definition

    def _stored(self, key: str) -> StoredValue | None:
        return self._values.stored.of(self._scope[1]).get(key)

    def _value(self, definition: SettingDefinition, value: StoredValue | None) -> tuple[Any, bool]:
        """Return a native value, and whether it may change before the setting is written again.

        *value* is the stored value. It is not read where the host fixes the setting.
        """
        name = definition.key
        if name in self._fixed:
            given = self._fixed[name]
        elif value is None:
            return self._default(definition), callable(definition.default)
        elif value.fault:
            raise SettingError(name, value.fault)
        else:
            given = value.given
        is_reference = type(given) is not str and has_reference(given)
        if name in self._fixed or is_reference:
            with Guard() as guard:
                given = resolve(given)
            if guard.error is not None:
                raise SettingError(name, str(guard.error))
            checked = self._checked(check, definition, given)
            if checked.text:
                return checked.native, is_reference
        elif given != "":
            with Guard():
                return native_of(definition, given), False
        return self._default(definition), is_reference or callable(definition.default)

    def _default(self, definition: SettingDefinition) -> Any:
        with Guard() as guard:
            default = default_of(definition)
            if callable(definition.default) or issubclass(type(default), _IMMUTABLE):
                return default
            # It may be, or hold, a list of the plugin's own, which every reader could change.
            return deepcopy(default)
        assert guard.error is not None
        fault = explain(guard.error)
        shown = fault.exception_type if definition.protected else self._scrubbed(fault.message)
        raise SettingError(definition.key, f"its default is not available: {shown}")

    def _checked(
        self, checks: Callable[..., Checked], definition: SettingDefinition, value: object
    ) -> Checked:
        slug, user = self._scope
        with Guard() as guard:
            return checks(definition, value, plugin=slug, user=user)
        assert guard.error is not None
        raise self._refusal(definition, guard.error)

    def _refusal(
        self, definition: SettingDefinition, error: BaseException, *, is_veto: bool = False
    ) -> SettingError:
        """Return the error for a value that could not be checked, or was refused.

        It quotes no protected value, nor does its cause. A veto is the exception of a plugin.
        """
        reason, cause = "", error if is_veto else error.__cause__
        if is_veto:
            with Guard():
                if not definition.protected:
                    reason = plain(str(getattr(error, "reason", error)))
            reason = reason or "Value was refused"
        elif isinstance(error, SettingError):
            reason = error.reason
        else:
            reason, cause = f"its choices are not available: {explain(error).message}", error
        refusal = SettingError(definition.key, self._scrubbed(reason))
        hides = definition.protected or self._values.scrubber()
        refusal.__cause__ = None if hides else cause
        return refusal

    def _scrubbed(self, text: str) -> str:
        return self._values.scrubber().text(text)


def user_view(
    store: SettingsStore,
    slug: str,
    definitions: Mapping[str, SettingDefinition],
    user: int,
    version: int = FIRST_VERSION,
) -> SettingsView:
    """Return a user's settings.

    Args:
        store: The settings of all plugins.
        slug: Slug of the plugin.
        definitions: Definitions by upper-case key.
        user: Number of the user. Many hosts have None for nobody, which would mean the plugin's
            own values.
        version: Version of the settings.

    Raises:
        SettingError: If *user* is not an int.
    """
    if type(user) is not int:
        raise SettingError("user", f"a user is a whole number, not {safe_repr(user)}")
    return SettingsView(store, slug, definitions, user, version)


class SettingChange(NamedTuple):
    """The argument of ``before_save`` and ``after_save``. The repr hides the value.

    Args:
        slug: Slug of the plugin.
        user: The user whose setting it is, None for the plugin's own.
        key: Upper-case key of the setting.
        value: The string to store, ``""`` to unset the setting.
    """

    slug: str
    user: int | None
    key: str
    value: str

    def __repr__(self) -> str:
        return f"<change of setting {self.key!r} of {self.slug!r}>"
