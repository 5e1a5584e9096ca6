"""Settings as rows of a storage, and back.

Tables: ``settings`` (``slug:KEY``) and ``user_settings`` (``slug:user:KEY``) have one row for each
value that was set: ``value`` (a string), ``protected``, and where true ``reference`` and
``encrypted``. ``versions`` (by slug) has the version of the plugin's settings in ``settings``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from plugreg._support.named import NamedTuple
from plugreg.encryption import Encryption
from plugreg.exceptions import EncryptionError, RecordCorruptError, StorageError
from plugreg.records import EMPTY
from plugreg.storage import Transaction
from plugreg.storage.base import Record, field, parse_records, readable

TABLES: Final = ("settings", "user_settings")
VERSIONS: Final = "versions"
FIRST_VERSION: Final = 1
"""The version of settings that were stored without a version."""

User: TypeAlias = int | None
"""Owner of values: a user's number, or None for the plugin itself."""

Place: TypeAlias = tuple[str, str]
"""A table and a key of it."""


class StoredValue(NamedTuple):
    """A value that was set: its string, or JSON where a string would not do.

    JSON is stored of references, and of values whose string another value of the type has too.
    With a ``fault``, which says why the string is not available, ``text`` is empty. The repr
    does not show the text.
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
    """All stored values of one plugin at one moment. It never changes.

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

    def differences(self, other: StoredSettings) -> Iterator[tuple[User, str]]:
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


def place(slug: str, user: User, key: str) -> Place:
    """Return table and row key of a value.

    Args:
        slug: Slug of the plugin.
        user: A user's number, or None for the plugin itself.
        key: Upper-case key of the setting.
    """
    if user is None:
        return "settings", f"{slug}:{key}"
    return "user_settings", f"{slug}:{user}:{key}"


class Rows:
    """Reads and writes settings as rows of a storage. It has no state.

    With ``encryption`` the strings of protected values are encrypted. A row that it cannot decrypt
    is read as a value with a fault, and never changed.
    """

    def __init__(self, encryption: Encryption | None) -> None:
        self._encryption = encryption

    def read(
        self, read_table: Callable[[str], Any], only: str | None = None
    ) -> tuple[dict[str, StoredSettings], tuple[RecordCorruptError, ...]]:
        """Return the stored settings by slug, and an error for each damaged row.

        The tables are read one after the other, so that commits may fall in between.

        Args:
            read_table: ``Storage.read``, or ``items`` of a transaction.
            only: Slug of the only plugin to return.
        """
        tables = {
            table: {
                key: row
                for key, row in dict(read_table(table)).items()
                if only is None or key.partition(":")[0] == only
            }
            for table in (*TABLES, VERSIONS)
        }
        values: dict[str, dict[User, dict[str, StoredValue]]] = {}
        versions, damaged = parse_records(VERSIONS, tables[VERSIONS], _parse_version)
        for table in TABLES:
            parsed, errors = parse_records(table, tables[table], partial(self._parse, table))
            damaged += errors
            for slug, user, key, value in parsed.values():
                values.setdefault(slug, {}).setdefault(user, {})[key] = value
        return {
            slug: StoredSettings(versions.get(slug), values.get(slug, {}))
            for slug in values.keys() | versions.keys()
        }, damaged

    def put(
        self, transaction: Transaction, slug: str, user: User, key: str, value: StoredValue
    ) -> None:
        """Write one value. Raises RecordCorruptError where its row is damaged.

        Args:
            transaction: The transaction to use.
            slug: Slug of the plugin.
            user: A user's number, or None for the plugin itself.
            key: Upper-case key of the setting.
            value: The value.
        """
        table, row_key = self._checked_place(transaction, slug, user, key)
        row: Record = {"value": value.text, "protected": value.is_protected}
        if value.is_json:
            row["reference"] = True
        if value.is_protected and self._encryption is not None:
            row |= {"value": self._encryption.encrypt(value.text), "encrypted": True}
        transaction.put(table, row_key, row)

    def delete(self, transaction: Transaction, slug: str, user: User, key: str) -> None:
        """Remove one value. Raises RecordCorruptError where its row is damaged.

        Args:
            transaction: The transaction to use.
            slug: Slug of the plugin.
            user: A user's number, or None for the plugin itself.
            key: Upper-case key of the setting.
        """
        transaction.delete(*self._checked_place(transaction, slug, user, key))

    def version(self, transaction: Transaction, slug: str) -> int | None:
        """Return the version stored for a plugin's settings, None where there is none.

        Args:
            transaction: The transaction to use.
            slug: Slug of the plugin.
        """
        row = transaction.get(VERSIONS, slug)
        if row is None:
            return None
        with readable(VERSIONS, slug):
            return _parse_version(slug, row)

    def put_version(self, transaction: Transaction, slug: str, version: int) -> None:
        """Write the version of a plugin's settings.

        Args:
            transaction: The transaction to use.
            slug: Slug of the plugin.
            version: Version of the settings.
        """
        transaction.put(VERSIONS, slug, {"settings": version})

    def has_values(self, transaction: Transaction, slug: str) -> bool:
        """Return whether any value of a plugin, or of a user of it, is stored.

        Args:
            transaction: The transaction to use.
            slug: Slug of the plugin.
        """
        return any(
            row_key.partition(":")[0] == slug
            for table in TABLES
            for row_key, _ in transaction.items(table)
        )

    def rotate(self, transaction: Transaction, protected: Iterable[Place] = ()) -> int:
        """Encrypt every protected value with the first key.

        Args:
            transaction: The transaction to write in.
            protected: Places of values that are protected although their rows do not say so.

        Returns:
            The number of rows that were encrypted.

        Raises:
            StorageError: If there are no keys.
            EncryptionError: If no key decrypts a row.
        """
        if self._encryption is None:
            raise StorageError(
                "there are no keys to encrypt with; give the registry encryption=Encryption([key])"
            )
        known, changed = frozenset(protected), 0
        for table in TABLES:
            for row_key, row in transaction.items(table):
                if not _is_protected(row) and (table, row_key) not in known:
                    continue
                with readable(table, row_key):
                    text = field(row, "value", str)
                encrypt = (
                    self._encryption.rotate if _is_encrypted(row) else self._encryption.encrypt
                )
                try:
                    token = encrypt(text)
                except EncryptionError as error:
                    subject = f"record {row_key!r} of table {table!r}"
                    raise EncryptionError(subject, error.keys) from None
                new = {**row, "value": token, "protected": True, "encrypted": True}
                transaction.put(table, row_key, new)
                changed += 1
        return changed

    # -- the parts ---------------------------------------------------------------------------

    def _checked_place(self, transaction: Transaction, slug: str, user: User, key: str) -> Place:
        """Return the place of a value, whose row is not damaged."""
        table, row_key = place(slug, user, key)
        row = transaction.get(table, row_key)
        if row is not None:
            with readable(table, row_key):
                self._parse(table, row_key, row)
        return table, row_key

    def _parse(self, table: str, row_key: str, row: Record) -> tuple[str, User, str, StoredValue]:
        """Return slug, user, key and value of a row."""
        slug, *users, key = row_key.split(":")
        if len(users) != TABLES.index(table):
            raise ValueError("the key has too many or too few parts")
        text, fault = field(row, "value", str), ""
        if _is_encrypted(row):
            text, fault = self._decrypt(text)
        is_json = row.get("reference") is True
        if is_json and not fault:
            json.loads(text)  # Invalid JSON is reported here, where its place is known.
        value = StoredValue(text, _is_protected(row), is_json, fault)
        return slug, int(users[0]) if users else None, key, value

    def _decrypt(self, token: str) -> tuple[str, str]:
        """Return the decrypted string, and why it is not available."""
        if self._encryption is None:
            return "", (
                "it is stored encrypted, and the registry has no keys; "
                "install 'plugreg[secrets]' and give encryption=Encryption([key])"
            )
        try:
            return self._encryption.decrypt(token), ""
        except EncryptionError:
            return "", (
                "it is stored encrypted, and none of the registry's keys opens it; "
                "add the key that it was written with, or set the value again"
            )


def _parse_version(_slug: str, row: Record) -> int:
    version: int = field(row, "settings", int)
    return version


def _is_protected(row: Record) -> bool:
    return row.get("protected") is not False


def _is_encrypted(row: Record) -> bool:
    return row.get("encrypted") is True
