"""The contents of a store before a plugin under test is loaded: old settings and new values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from plugreg._support.frozen import Frozen
from plugreg._support.slugs import near
from plugreg.settings.declaration import parse_definitions
from plugreg.settings.definition import check_given
from plugreg.storage import Storage


class OldSettings(Frozen):
    """Settings as an older version of a plugin has stored them.

    Attributes:
        version: ``SETTINGS_VERSION`` of that plugin.
        values: Stored strings by key.
        users: The same for each user, by number.
    """

    version: int = 1
    values: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[int, Mapping[str, str]] = field(default_factory=dict)


def stored(
    version: int = 1, *, users: Mapping[int, Mapping[str, Any]] | None = None, **values: Any
) -> OldSettings:
    """Return settings as an older version of a plugin has stored them, for tests of migrations.

    Args:
        version: ``SETTINGS_VERSION`` of that plugin.
        users: Values of user settings by the number of the user, then by key.
        **values: Values by key: strings as they are stored (``"True"``), others as JSON, except
            True, False and numbers, which are stored as Python writes them.

    Returns:
        The settings, for ``plugin_host(…, stored=…)``.
    """
    return OldSettings(
        version=version,
        values={key.upper(): _text(value) for key, value in values.items()},
        users={
            user: {key.upper(): _text(value) for key, value in own.items()}
            for user, own in (users or {}).items()
        },
    )


def _text(value: Any) -> str:
    return str(value) if isinstance(value, (str, int, float)) else json.dumps(value)


def write_old(storage: Storage, slug: str, old: OldSettings) -> None:
    """Store old settings of a plugin.

    Args:
        storage: The store.
        slug: The plugin.
        old: The settings.
    """
    with storage.transaction() as transaction:
        for key, text in old.values.items():
            transaction.put("settings", f"{slug}:{key}", {"value": text, "protected": False})
        for user, own in old.users.items():
            for key, text in own.items():
                row = {"value": text, "protected": False}
                transaction.put("user_settings", f"{slug}:{user}:{key}", row)
        transaction.put("versions", slug, {"settings": old.version})


def write_values(storage: Storage, slug: str, plugin: Any, values: Mapping[str, Any]) -> None:
    """Store values of a plugin's settings, which must fit their definitions.

    Args:
        storage: The store.
        slug: The plugin.
        plugin: Its class, object or module, which declares the settings.
        values: Values by key.

    Raises:
        KeyError: If the plugin declares no such setting.
        SettingError: If a value does not fit.
    """
    definitions, _ = parse_definitions(getattr(plugin, "SETTINGS", None), "SETTINGS")
    version = getattr(plugin, "SETTINGS_VERSION", 1)
    with storage.transaction() as transaction:
        for name, value in values.items():
            key = name.upper()
            if key not in definitions:
                raise KeyError(f"plugin {slug!r} has no setting {name!r}{near(key, definitions)}")
            definition = definitions[key]
            _, text, is_json = check_given(definition, value, plugin=slug, user=None)
            row: dict[str, Any] = {"value": text, "protected": definition.protected}
            row |= {"reference": True} if is_json else {}
            transaction.put("settings", f"{slug}:{key}", row)
        transaction.put("versions", slug, {"settings": version})
