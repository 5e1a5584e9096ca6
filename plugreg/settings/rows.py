"""Settings as rows of a storage, and back.

Tables: ``settings`` (``slug:KEY``) and ``user_settings`` (``slug:user:KEY``), one row a value that
was set: ``value`` (a text), ``protected``, and where it is so ``reference`` and ``encrypted``.
``versions`` (by slug) has the version of the plugin's settings in ``settings``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias

from plugreg.encryption import Encryption
from plugreg.exceptions import EncryptionError, RecordCorruptError, StorageError
from plugreg.records import EMPTY
from plugreg.storage import Storage, Transaction
from plugreg.storage.base import Record, parse_records, readable
from plugreg.storage.base import field as field_of

TABLES: Final = ("settings", "user_settings")
VERSIONS: Final = "versions"
FIRST_VERSION: Final = 1
"""The version of settings that were stored without one."""

User: TypeAlias = int | None
"""Whose values: a user's number, or None for the plugin's own."""


@dataclass(frozen=True, slots=True)
class StoredValue:
    """One value that was set: its text, or the JSON of a value that has no text of its own.

    The latter holds references, or is a value whose text another value of its type has too.

    ``fault`` says why the text cannot be had, which is empty then. The repr shows no text.
    """

    text: str = field(repr=False)
    is_protected: bool
    is_json: bool = False
    fault: str = ""

    @property
    def given(self) -> Any:
        """The value as it was given: a text, or what the JSON says."""
        return json.loads(self.text) if self.is_json else self.text


@dataclass(frozen=True, slots=True)
class StoredSettings:
    """All that is stored of one plugin's settings at one moment; it never changes.

    ``values`` are by user, then by key. ``version`` is None where none is stored.
    """

    version: int | None = None
    values: Mapping[User, Mapping[str, StoredValue]] = field(default_factory=dict)

    def of(self, user: User) -> Mapping[str, StoredValue]:
        """Return the values of one user, or the plugin's own, by key."""
        return self.values.get(user, EMPTY)

    @property
    def has_values(self) -> bool:
        """Whether any value is stored."""
        return any(self.values.values())

    def changes(self, other: StoredSettings) -> frozenset[str]:
        """Return the keys of values that differ, whosever they are."""
        if other is self:
            return frozenset()
        return frozenset(
            key
            for user in self.values.keys() | other.values.keys()
            for key in self.of(user).keys() | other.of(user).keys()
            if self.of(user).get(key) != other.of(user).get(key)
        )

    def but_for(
        self, user: User, key: str, value: StoredValue | None, version: int | None
    ) -> StoredSettings:
        """Return the same with one value put in, or taken out, and with this version."""
        own = {name: each for name, each in self.of(user).items() if name != key}
        if value is not None:
            own[key] = value
        return StoredSettings(version, {**self.values, user: own})


NOTHING: Final = StoredSettings()

Place: TypeAlias = tuple[str, str]
"""A table and a key of it."""


def place(slug: str, user: User, key: str) -> Place:
    """Return table and row key of a value."""
    if user is None:
        return "settings", f"{slug}:{key}"
    return "user_settings", f"{slug}:{user}:{key}"


class Rows:
    """Reads and writes settings in the storage's own terms. It keeps nothing.

    With ``encryption`` the texts of protected values are encrypted. A row that it cannot decrypt is
    read as a value with a fault, and stays as it is.
    """

    def __init__(self, encryption: Encryption | None) -> None:
        self._encryption = encryption

    def read(
        self, storage: Storage, only: str | None = None
    ) -> tuple[dict[str, StoredSettings], tuple[RecordCorruptError, ...]]:
        """Return what is stored, by slug, and an error for each row that is damaged.

        That is of all plugins, or of ``only`` one. The tables are read one after the other, so that
        commits may fall in between.
        """
        return self._collected({each: storage.read(each) for each in (*TABLES, VERSIONS)}, only)

    def read_again(self, transaction: Transaction, slug: str) -> StoredSettings:
        """Return what is stored of one plugin, as a transaction sees it."""
        tables = {each: dict(transaction.items(each)) for each in (*TABLES, VERSIONS)}
        return self._collected(tables, slug)[0].get(slug, NOTHING)

    def put(
        self, transaction: Transaction, slug: str, user: User, key: str, value: StoredValue
    ) -> None:
        """Write one value. Raises RecordCorruptError where its row is damaged."""
        self._require_readable(transaction, *place(slug, user, key))
        row: Record = {"value": value.text, "protected": value.is_protected}
        if value.is_json:
            row["reference"] = True
        if value.is_protected and self._encryption is not None:
            row = {**row, "value": self._encryption.encrypt(value.text), "encrypted": True}
        transaction.put(*place(slug, user, key), row)

    def delete(self, transaction: Transaction, slug: str, user: User, key: str) -> None:
        """Remove one value. Raises RecordCorruptError where its row is damaged."""
        self._require_readable(transaction, *place(slug, user, key))
        transaction.delete(*place(slug, user, key))

    def version(self, transaction: Transaction, slug: str) -> int | None:
        """Return the version stored for a plugin's settings, None where there is none."""
        row = transaction.get(VERSIONS, slug)
        if row is None:
            return None
        with readable(VERSIONS, slug):
            return _version(slug, row)

    def put_version(self, transaction: Transaction, slug: str, version: int) -> None:
        """Write the version of a plugin's settings."""
        transaction.put(VERSIONS, slug, {"settings": version})

    def has_values(self, transaction: Transaction, slug: str) -> bool:
        """Tell whether any value of a plugin, or of a user with it, is stored."""
        return any(
            row_key.partition(":")[0] == slug
            for table in TABLES
            for row_key, _ in transaction.items(table)
        )

    def encrypt_again(self, transaction: Transaction, protected: Iterable[Place] = ()) -> int:
        """Encrypt every protected value with the first key, and return how many these are.

        ``protected`` are places, table and row key, of values that count as such whatever their
        row says. Raises StorageError without keys, EncryptionError for a row that none opens.
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
                    text = field_of(row, "value", str)
                again = self._encryption.rotate if _is_encrypted(row) else self._encryption.encrypt
                try:
                    token = again(text)
                except EncryptionError as error:
                    what = f"record {row_key!r} of table {table!r}"
                    raise EncryptionError(what, error.keys) from None
                new = {**row, "value": token, "protected": True, "encrypted": True}
                transaction.put(table, row_key, new)
                changed += 1
        return changed

    # -- the parts ---------------------------------------------------------------------------

    def _require_readable(self, transaction: Transaction, table: str, row_key: str) -> None:
        row = transaction.get(table, row_key)
        if row is not None:
            with readable(table, row_key):
                self._value(row)

    def _collected(
        self, tables: Mapping[str, Mapping[str, Record]], only: str | None
    ) -> tuple[dict[str, StoredSettings], tuple[RecordCorruptError, ...]]:
        if only is not None:
            tables = {
                table: {key: row for key, row in rows.items() if key.partition(":")[0] == only}
                for table, rows in tables.items()
            }
        values: dict[str, dict[User, dict[str, StoredValue]]] = {}
        versions, damaged = parse_records(VERSIONS, tables[VERSIONS], _version)
        for table in TABLES:
            found, errors = parse_records(table, tables[table], partial(self._named, table))
            damaged += errors
            for (slug, user, key), value in found.values():
                values.setdefault(slug, {}).setdefault(user, {})[key] = value
        return {
            slug: StoredSettings(versions.get(slug), values.get(slug, {}))
            for slug in values.keys() | versions.keys()
        }, damaged

    def _named(
        self, table: str, row_key: str, row: Record
    ) -> tuple[tuple[str, User, str], StoredValue]:
        return _names(table, row_key), self._value(row)

    def _value(self, row: Record) -> StoredValue:
        text: str = field_of(row, "value", str)
        fault = ""
        if _is_encrypted(row):
            text, fault = self._decrypted(text)
        is_json = row.get("reference") is True
        if is_json and not fault:
            json.loads(text)  # What is no JSON is told of here, where its place is known.
        return StoredValue(text, _is_protected(row), is_json, fault)

    def _decrypted(self, token: str) -> tuple[str, str]:
        """Return the text, and why it cannot be had."""
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
                "add the key that it was written with, or write the value anew"
            )


def _names(table: str, row_key: str) -> tuple[str, User, str]:
    """Return slug, user and key of a row."""
    if table == "settings":
        slug, key = row_key.split(":")
        return slug, None, key
    slug, user, key = row_key.split(":")
    return slug, int(user), key


def _version(_slug: str, row: Record) -> int:
    version: int = field_of(row, "settings", int)
    return version


def _is_protected(row: Record) -> bool:
    return row.get("protected") is not False


def _is_encrypted(row: Record) -> bool:
    return row.get("encrypted") is True
