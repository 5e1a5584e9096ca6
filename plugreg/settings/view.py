"""Settings of plugins: stored text and definitions in, typed values out (behaviour.md, 4 and 5).

A value comes from the host's overrides, else from what is stored, else from the default. A value
that was never set has no row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from enum import Enum
from types import NoneType
from typing import Any, Final, Literal, TypeAlias, cast

from plugreg._support.guard import Guard, explain, safe_repr, safe_str
from plugreg._support.names import near
from plugreg._support.redact import MASK
from plugreg._support.strings import check_text
from plugreg.exceptions import SettingError
from plugreg.records import EMPTY, PluginFailure, Stage
from plugreg.settings.definition import (
    Checked,
    SettingDefinition,
    check,
    default_of,
    fault_of,
    native_of_stored,
    text_of,
)
from plugreg.settings.references import (
    NO_REFERENCE,
    copied,
    has_reference,
    reads_as_reference,
    resolve,
)
from plugreg.settings.rows import FIRST_VERSION, NOTHING, StoredSettings, StoredValue
from plugreg.settings.schema import schema_of
from plugreg.settings.store import Scope, SettingsStore

Layer: TypeAlias = Literal["default", "stored", "override"]
"""Where a value comes from; a later one wins."""

_LOCKED: Final = "its value is fixed by the host's configuration (overrides=); change it there"
_MISSING: Final = "it is required, and has neither a value nor a default"
_NEVER_CHANGING: Final = (str, int, float, bool, Enum, NoneType)
_Converted: TypeAlias = tuple[StoredSettings, Mapping[str, StoredValue], dict[str, Any]]


class SettingsView(Mapping[str, Any]):
    """The settings of one plugin, or of one user with it: a live mapping from key to native value.

    Keys are those of the definitions, in their order, whatever was stored; any case is accepted.
    What the host overrides wins over what is stored, and that over the default. A stored value
    that no longer converts reads as the default. Reading takes no lock and touches no storage; a
    reference is looked up each time. The repr shows no value. A view of settings of an older
    ``version`` than the plugin's of now still reads, and refuses to write.

    Reading raises KeyError for an unknown key, and SettingError for a value that cannot be had: a
    reference to what is not there, what is encrypted with another key, a default that fails, and a
    reference or an override that does not fit its definition. There a default would be dangerous,
    for somebody has said what is to hold.
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
        """The definitions by upper-case key, in the order in which the plugin declares them."""
        self._store = store
        self._scope: Scope = (slug, user)
        self._version = version
        self._shelf = store.shelf(slug)
        self._fixed = self._shelf.fixed(user)
        # All that is stored, this user's part of it, and what that was read as so far. One value,
        # so that no thread pairs the texts of one moment with the values of another.
        self._converted: _Converted = (NOTHING, EMPTY, {})

    def __getitem__(self, key: str) -> Any:
        stored = self._shelf.stored
        seen, own, values = self._converted
        if stored is not seen:
            before, own = own, stored.of(self._scope[1])
            # A write leaves the part of every other user as it is.
            values = values if own is before else {}
            self._converted = (stored, own, values)
        try:
            return values[key]
        except KeyError:
            definition = self._definition(key)
        name = definition.key
        if name not in values:
            value = own.get(name)
            native = self._value(definition, value)
            # A list would be every reader's own to change.
            if not issubclass(type(native), _NEVER_CHANGING) or self._varies(definition, value):
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
        whose = "" if user is None else f" of user {user}"
        return f"<settings of {slug!r}{whose}: {', '.join(self.definitions) or 'none'}>"

    def visible(self) -> tuple[SettingDefinition, ...]:
        """Return the definitions for a page of settings: none hidden, none beginning with "_"."""
        return tuple(
            each
            for key, each in self.definitions.items()
            if not each.hidden and not key.startswith("_")
        )

    def schema(self) -> dict[str, Any]:
        """Return a JSON Schema (2020-12) of all these settings; what is locked is read-only."""
        locked = [key for key in self.definitions if key in self._fixed]
        definitions = {
            key: replace(each, protected=self._is_protected(each))
            for key, each in self.definitions.items()
        }
        schema = schema_of(definitions, locked, title=self._scope[0])
        # Keys are the plugin's, and stay; what they stand for may tell what it keeps.
        scrubbed = self._shelf.scrubber_for(self._scope[1]).value
        schema["properties"] = {key: scrubbed(each) for key, each in schema["properties"].items()}
        return schema

    def layer(self, key: str) -> Layer:
        """Tell where the value of a setting comes from. KeyError for an unknown key.

        What is stored and no longer converts counts as stored, though its default is read.
        """
        name = self._definition(key).key
        if name in self._fixed:
            return "override"
        return "default" if self._stored(name) is None else "stored"

    def is_locked(self, key: str) -> bool:
        """Tell whether the host fixes this setting, so that writing it is refused."""
        return self.layer(key) == "override"

    def is_protected(self, key: str) -> bool:
        """Tell whether the value is shown to nobody, for what is declared or was stored."""
        return self._is_protected(self._definition(key))

    def is_set(self, key: str) -> bool:
        """Tell whether a value is stored, or fixed by the host. KeyError for an unknown key."""
        return self.layer(key) != "default"

    def shown(self, key: str) -> str:
        """Return the value as text for clients; ``""`` where there is none or it cannot be had.

        Of a protected value it is ``"***"``, or ``""`` where none is set. KeyError for an unknown
        key; what the plugin's own code raises is kept in.
        """
        definition = self._definition(key)
        if self._is_protected(definition):
            return MASK if self.is_set(key) else ""
        with Guard():
            return text_of(definition, self[key])
        return ""

    def fault(self, key: str, *, was_checked: bool = False) -> str | None:
        """Return why the value of a setting is missing or cannot be used, or None.

        A stored value is held against the whole definition, but for choices that are a callable,
        and for validators where it ``was_checked`` as it was written. References are not.
        Nothing of a protected value is shown. KeyError for an unknown key.
        """
        definition = self._definition(key)
        with Guard() as guard:
            value = self._stored(definition.key)
            if definition.key in self._fixed or (value is not None and _changes(value)):
                self._value(definition, value)
            elif value is not None:
                if definition.protected is not self._is_protected(definition):
                    definition = replace(definition, protected=True)
                reason = fault_of(definition, value.given, was_checked=was_checked)
                return None if reason is None else self._scrubbed(reason)
            elif definition.required or callable(definition.default):
                text = text_of(definition, self._value(definition, None))
                return _MISSING if definition.required and not text else None
            return None
        assert guard.error is not None
        return self._refusal(definition, guard.error).reason

    def set(self, key: str, value: object) -> None:
        """Check and store one value; on return it is on disk and every later read gives it.

        None and ``""`` mean "unset", so that the default holds again. Writing the mask of a
        protected setting back leaves it as it is. A dict ``{"$env": "NAME"}`` or ``{"$file":
        "path"}``, alone or within lists and dicts, is stored as it is and looked up at each read;
        a text that looks like one is a text. Whoever passes on what others sent must pass texts.
        ``before_save`` of the definition may refuse by raising; what ``after_save`` raises is
        recorded, and the value stands.

        Raises KeyError for an unknown key, SettingError for a value that is refused, for one that
        the host fixes and for settings that are stored or declared in another version than this
        view's, and StorageError. After an error nothing has changed.
        """
        definition = self._definition(key)
        if self._is_protected(definition) and _is_mask(value):
            return
        slug, user = self._scope
        fault = self._store.version_fault(slug, self._version)
        reason = _LOCKED if definition.key in self._fixed else fault
        if reason is not None:
            raise SettingError(definition.key, reason)
        text, is_json = self._given(definition, value)
        change = SettingChange(slug, user, definition.key, text)
        if definition.before_save is not None:
            with Guard() as guard:
                definition.before_save(change)
            if guard.error is not None:
                raise self._veto(definition, guard.error)
        self._store.write(self._scope, definition, text, version=self._version, is_json=is_json)
        if definition.after_save is not None:
            with Guard() as guard:
                definition.after_save(change)
            if guard.error is not None:
                what = f"after_save of setting {definition.key!r}"
                self._store.record(
                    PluginFailure.of(Stage.CALL, slug, guard.error, subject="after_save", what=what)
                )

    # -- the parts ---------------------------------------------------------------------------

    def _varies(self, definition: SettingDefinition, value: StoredValue | None) -> bool:
        """Tell whether a setting may read as something else before it is written again."""
        is_fixed = definition.key in self._fixed
        given = self._fixed[definition.key] if is_fixed else value
        if given is not None and _changes(given):
            return True
        if not callable(definition.default):
            return False
        # It is called each time, also where it stands in for a text that fits no more.
        if value is not None and not is_fixed:
            with Guard():
                native_of_stored(definition, value.given)
                return False
        return True

    def _definition(self, key: object) -> SettingDefinition:
        name = key.upper() if isinstance(key, str) else ""
        definition = self.definitions.get(name)
        if definition is None:
            slug = self._scope[0]
            hint = near(name, self.definitions)
            raise KeyError(f"plugin {slug!r} has no setting {safe_repr(key)}{hint}")
        return definition

    def _stored(self, key: str) -> StoredValue | None:
        return self._shelf.stored.of(self._scope[1]).get(key)

    def _value(self, definition: SettingDefinition, value: StoredValue | None) -> Any:
        """Work out the value of a setting of which ``value`` is stored."""
        key = definition.key
        if key in self._fixed:
            return self._resolved(definition, self._fixed[key])
        if value is None:
            return self._native_or_default(definition, "")
        if value.fault:
            raise SettingError(key, value.fault)
        given = value.given
        if value.is_json and has_reference(given):
            return self._resolved(definition, given)
        return self._native_or_default(definition, given)

    def _resolved(self, definition: SettingDefinition, given: Any) -> Any:
        try:
            value = resolve(given)
        except ValueError as error:
            reason = str(error)
        else:
            native, text, is_json = self._checked(definition, value)
            return native if is_json else self._native_or_default(definition, text)
        raise SettingError(definition.key, reason)

    def _native_or_default(self, definition: SettingDefinition, given: object) -> Any:
        if given != "":
            with Guard():
                return native_of_stored(definition, given)
        with Guard() as guard:
            default = default_of(definition)
            if callable(definition.default) or issubclass(type(default), _NEVER_CHANGING):
                return default
            # It may be, or hold, a list of the plugin's own, which every reader could change.
            return deepcopy(default)
        assert guard.error is not None
        fault = explain(guard.error)
        told = fault.exception_type if definition.protected else self._scrubbed(fault.message)
        raise SettingError(definition.key, f"its default cannot be had: {told}")

    def _given(self, definition: SettingDefinition, value: object) -> tuple[str, bool]:
        """Return the text to store, and whether it is JSON."""
        text = None
        # A dict or a list may be of a class of its own, whose methods do anything.
        with Guard() as guard:
            if has_reference(value):
                text = json.dumps(copied(value), allow_nan=False)
        if guard.error is not None:
            raise SettingError(definition.key, self._unreadable(guard.error))
        if text is not None:
            check_text(definition.key, text, [text])
            return text, True
        _, text, is_json = self._checked(definition, value)
        if definition.typed is not None and reads_as_reference(text):
            raise SettingError(definition.key, NO_REFERENCE)
        return text, is_json

    def _unreadable(self, error: BaseException) -> str:
        """Return why a value that was given cannot be looked through for references."""
        if type(error) in (TypeError, ValueError):
            return self._scrubbed(safe_str(error))
        return f"Value cannot be looked through ({explain(error).exception_type}); give plain dicts"

    def _checked(self, definition: SettingDefinition, value: object) -> Checked:
        slug, user = self._scope
        with Guard() as guard:
            return check(definition, value, plugin=slug, user=user)
        assert guard.error is not None
        raise self._refusal(definition, guard.error)

    def _refusal(self, definition: SettingDefinition, error: BaseException) -> SettingError:
        """Return what to raise for a value that could not be checked, or was refused.

        It quotes no protected value, and neither does a chained exception, which would end in
        logs and tracebacks.
        """
        refused = issubclass(type(error), SettingError)
        if refused:
            reason: str = error.reason  # type: ignore[attr-defined]
        else:
            reason = f"its choices cannot be had: {explain(error).message}"
        refusal = SettingError(definition.key, self._scrubbed(reason))
        refusal.__cause__ = self._cause(definition, error.__cause__ if refused else error)
        return refusal

    def _veto(self, definition: SettingDefinition, error: BaseException) -> SettingError:
        """Return the refusal of ``before_save``, whose words may quote a protected value."""
        reason = ""
        if not definition.protected:
            with Guard():
                said = str(getattr(error, "reason", error))
                reason = self._scrubbed(str.__str__(said))
        veto = SettingError(definition.key, reason or "Value was refused")
        veto.__cause__ = self._cause(definition, error)
        return veto

    def _cause(
        self, definition: SettingDefinition, error: BaseException | None
    ) -> BaseException | None:
        hides = definition.protected or self._shelf.scrubber()
        return None if hides else error

    def _scrubbed(self, text: str) -> str:
        return self._shelf.scrubber().text(text)

    def _is_protected(self, definition: SettingDefinition) -> bool:
        """Tell whether a value is protected, now or by the definition it was stored under."""
        value = self._stored(definition.key)
        if definition.protected:
            return True
        if value is None or definition.key in self._fixed:
            return self._shelf.was_protected(self._scope[1], definition.key)
        return value.is_protected


def user_view(
    store: SettingsStore,
    slug: str,
    definitions: Mapping[str, SettingDefinition],
    user: int,
    version: int = FIRST_VERSION,
) -> SettingsView:
    """Return one user's settings with a plugin. Raises SettingError for what is no number.

    None, which is what many hosts have for nobody, would mean the plugin's own values.
    """
    if type(user) is not int:
        raise SettingError("user", f"a user is a whole number, not {safe_repr(user)}")
    return SettingsView(store, slug, definitions, user, version)


class SettingChange:
    """What ``before_save`` and ``after_save`` are given; ``value`` is text. The repr hides it."""

    __slots__ = ("key", "slug", "user", "value")

    def __init__(self, slug: str, user: int | None, key: str, value: str) -> None:
        self.slug = slug
        self.user = user
        self.key = key
        self.value = value

    def __repr__(self) -> str:
        return f"<change of setting {self.key!r} of {self.slug!r}>"


def _changes(given: object) -> bool:
    """Tell whether an override or a stored value may read as something else the next time."""
    if isinstance(given, StoredValue):
        return bool(given.fault) or (given.is_json and has_reference(given.given))
    return has_reference(given)


def _is_mask(value: object) -> bool:
    # isinstance() and == would ask the object, which may do anything.
    return issubclass(type(value), str) and str.__eq__(cast("str", value), MASK)
