"""Migration of settings that an older version of a plugin has stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from plugreg._support.guard import Guard, explain, safe_repr
from plugreg._support.slugs import near
from plugreg.exceptions import SettingError
from plugreg.settings.definition import check_given
from plugreg.settings.references import NO_REFERENCE, has_reference
from plugreg.settings.store import SettingsStore
from plugreg.settings.values import (
    FIRST_VERSION,
    Declared,
    Definitions,
    StoredSettings,
    StoredValue,
    User,
)

if TYPE_CHECKING:
    from plugreg.mixins import SettingsMixin

_MOST_TRIES: Final = 10
"""How often others may change the settings in between before the migration is given up."""


def migrate(store: SettingsStore, slug: str, plugin: SettingsMixin, declared: Declared) -> None:
    """Let a plugin migrate stored settings, which are older, to the version that it declares.

    ``migrate_settings`` is called once for the plugin's own values and once for each user's, if
    there are any. Its results are checked against the definitions, and stored with the new version
    in one transaction. No plugin code runs in there: if others have changed the settings
    meanwhile, the migration is repeated, 10 times at most.

    Exceptions of the plugin pass. Raises ValueError with all faults of its results, StorageError,
    and RuntimeError after the last try. Nothing has changed then.
    """
    for attempt in range(_MOST_TRIES):
        before = store.read_stored(slug) if attempt else store.stored(slug)
        after = before
        if before.is_older_than(declared.version):
            after = _migrate_values(slug, plugin, declared, before)
        # Another process may have migrated them by now; then its values are read.
        if store.exchange(slug, before, after):
            return
    raise RuntimeError(
        f"the settings were changed by others {_MOST_TRIES} times while they were migrated; "
        "reload when they are at rest"
    )


def _migrate_values(
    slug: str, plugin: SettingsMixin, declared: Declared, before: StoredSettings
) -> StoredSettings:
    version = before.version or FIRST_VERSION
    values: dict[User, Mapping[str, StoredValue]] = {}
    faults: list[str] = []
    for user in sorted(before.values, key=lambda user: (user is not None, user or 0)):
        old = before.of(user)
        if not old:
            continue
        where = "" if user is None else f" of user {user}"
        # A value that cannot be decrypted would be lost, since the plugin never saw it.
        faults += [f"{key}{where}: {value.fault}" for key, value in old.items() if value.fault]
        if faults:
            continue
        stored = {key: value.given for key, value in old.items()}
        # The plugin may return anything.
        given: Any = plugin.migrate_settings(stored, version, user)
        if not issubclass(type(given), Mapping):
            faults.append(f"it must give a dict of key to value{where}, not a {_kind(given)}")
            continue
        passed_on = [value.given for value in old.values() if value.is_json]
        values[user], wrong = _check_values(slug, user, declared.of(user), given, passed_on)
        faults += [f"{fault}{where}" for fault in wrong]
    if faults:
        raise ValueError(
            f"migrate_settings() from version {version} to {declared.version}: {'; '.join(faults)}"
        )
    return StoredSettings(declared.version, values)


def _check_values(
    slug: str,
    user: User,
    definitions: Definitions,
    given: Mapping[str, Any],
    passed_on: list[Any],
) -> tuple[dict[str, StoredValue], list[str]]:
    """Return the values to store, and every fault of a plugin's result.

    ``passed_on`` are the references that were stored: a string that a client has sent must not
    become a reference by being parsed.
    """
    values: dict[str, StoredValue] = {}
    faults: list[str] = []
    for name, value in given.items():
        # The plugin may return anything.
        key = str.upper(name) if issubclass(type(name), str) else ""
        definition = definitions.get(key)
        if definition is None:
            hint = near(key, definitions)
            faults.append(f"{safe_repr(name)} is no setting of this version{hint}")
            continue
        with Guard() as guard:
            _, text, is_json = check_given(definition, value, plugin=slug, user=user)
            if has_reference(value) and json.loads(text) not in passed_on:
                raise SettingError(key, NO_REFERENCE)
            if text:
                values[key] = StoredValue(text, definition.protected, is_json)
        if guard.error is not None:
            faults.append(f"{key}: {_reason(guard.error)}")
    return values, faults


def _reason(error: BaseException) -> str:
    if issubclass(type(error), SettingError):
        reason: str = error.reason  # type: ignore[attr-defined]
        return reason
    # The plugin's own exception may quote a protected value.
    return explain(error).exception_type


def _kind(value: object) -> str:
    return safe_repr(type(value).__name__)
