"""Stored values of settings, and declarations of settings by plugins."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from plugreg._support.frozen import NamedTuple
from plugreg.records import EMPTY

if TYPE_CHECKING:
    from plugreg.settings.definition import SettingDefinition

FIRST_VERSION: Final = 1
"""The version of settings that were stored without a version."""

User: TypeAlias = int | None
"""Owner of values: a user's number, or None for the plugin itself."""

Spot: TypeAlias = tuple[User, str]
"""A setting of a plugin: its owner, and its upper-case key."""

Definitions: TypeAlias = Mapping[str, "SettingDefinition"]


class StoredValue(NamedTuple):
    """A value that was set: its string, or JSON where a string would not do.

    JSON is stored of references, and of values whose string another value of the type has too.
    With a ``fault``, the reason why the string is not available, ``text`` is empty. The repr
    does not show the string.
    """

    text: str
    is_protected: bool
    is_json: bool = False
    fault: str = ""

    def __repr__(self) -> str:
        return f"StoredValue(is_protected={self.is_protected}, fault={self.fault!r})"

    @property
    def given(self) -> Any:
        """The value as it was given: a string, or the content of the JSON."""
        return json.loads(self.text) if self.is_json else self.text


class StoredSettings(NamedTuple):
    """All stored values of a plugin at a moment. It never changes.

    ``values`` are by user, then by key. ``version`` is None where none is stored.
    """

    version: int | None = None
    values: Mapping[User, Mapping[str, StoredValue]] = MappingProxyType({})

    def of(self, user: User) -> Mapping[str, StoredValue]:
        """Return the values of a user, or of the plugin itself, by key.

        Args:
            user: A user's number, or None for the plugin itself.
        """
        return self.values.get(user, EMPTY)

    @property
    def has_values(self) -> bool:
        """Whether any value is stored."""
        return any(self.values.values())

    def is_older_than(self, version: int) -> bool:
        """Return whether there are values of an older version.

        Args:
            version: The version to compare with.
        """
        return self.has_values and (self.version or FIRST_VERSION) < version

    def differences(self, other: StoredSettings) -> Iterator[Spot]:
        """Yield user and key of each value that differs.

        Args:
            other: Stored settings of the same plugin at another moment.
        """
        if other is self:
            return
        for user in self.values.keys() | other.values.keys():
            mine, others = self.of(user), other.of(user)
            if mine is not others:
                for key in mine.keys() | others.keys():
                    if mine.get(key) != others.get(key):
                        yield user, key

    def changes(self, other: StoredSettings) -> frozenset[str]:
        """Return the keys of values that differ, of any owner.

        Args:
            other: Stored settings of the same plugin at another moment.
        """
        return frozenset(key for _, key in self.differences(other))

    def with_value(
        self, user: User, key: str, value: StoredValue | None, version: int | None
    ) -> StoredSettings:
        """Return a copy with this value, or without it for None, and with this version.

        Args:
            user: A user's number, or None for the plugin itself.
            key: Upper-case key of the setting.
            value: The value, None to remove it.
            version: Version to store, None for none.
        """
        own = dict(self.of(user))
        own.pop(key, None)
        if value is not None:
            own[key] = value
        return StoredSettings(version, {**self.values, user: own})


NOTHING: Final = StoredSettings()


class Declared(NamedTuple):
    """Declared settings: definitions by upper-case key, and their version."""

    settings: Definitions = EMPTY
    user_settings: Definitions = EMPTY
    version: int = FIRST_VERSION

    def of(self, user: User) -> Definitions:
        """Return the definitions of a user's settings, or of the plugin's own.

        Args:
            user: A user's number, or None for the plugin itself.
        """
        return self.settings if user is None else self.user_settings
