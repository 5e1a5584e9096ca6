"""The settings of all plugins in memory and in the storage, and every write of them.

Tables: ``settings`` (``slug:KEY``) and ``user_settings`` (``slug:user:KEY``) have a row for each
value that was set: ``value`` (a string), ``protected``, and where true ``reference`` and
``encrypted``. ``versions`` (by slug) has the version of the plugin's settings in ``settings``.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from weakref import WeakValueDictionary

from plugreg._support import PerProcess, exceptions
from plugreg._support.guard import explain
from plugreg.records import EMPTY, PluginFailure
from plugreg.settings.values import (
    FIRST_VERSION,
    NOTHING,
    Declared,
    StoredSettings,
    StoredValue,
    User,
)
from plugreg.storage.base import Record, field, parse_records, readable

if TYPE_CHECKING:
    from plugreg._support.redact import Scrubber
    from plugreg.encryption import Encryption
    from plugreg.exceptions import RecordCorruptError
    from plugreg.settings.definition import SettingDefinition
    from plugreg.settings.plugin_values import PluginValues
    from plugreg.storage import Storage, Transaction

TABLES: Final = ("settings", "user_settings")
VERSIONS: Final = "versions"

_logger = logging.getLogger("plugreg")

Scope: TypeAlias = tuple[str, User]
"""Owner of values: a plugin's slug, and a user's number or None for the plugin itself."""


class SettingsStore:
    """The values of all plugins: those stored, and the overrides of the host.

    Reading takes no lock and touches no storage. A method that touches the storage may raise
    StorageError; then nothing has changed. A row that cannot be decrypted is read as a value with
    a fault, and never changed.

    Args:
        storage: The storage with the rows.
        changed: Called with scope and keys after a write that changed them.
        record: Called with a failure of a plugin's own code.
        overrides: Values that the host fixes, by slug, then by upper-case key.
        encryption: Keys that encrypt protected values in the storage.
    """

    def __init__(
        self,
        storage: Storage,
        changed: Callable[[Scope, frozenset[str]], object],
        *,
        record: Callable[[PluginFailure], object] = lambda _: None,
        overrides: Mapping[str, Mapping[str, Any]] = EMPTY,
        encryption: Encryption | None = None,
    ) -> None:
        self.record: Final = record
        self.overrides: Final = overrides
        self.damaged: tuple[RecordCorruptError, ...] = ()
        """An error for each row that was damaged when all values were read last."""
        self._storage = storage
        self._changed = changed
        self._encryption = encryption
        # Writers queue here until memory has their values; readers never do.
        self._writing = PerProcess(threading.Lock)
        self._values: dict[str, PluginValues] = {}
        # Values of plugins that are gone, as long as a view refers to them.
        self._gone: WeakValueDictionary[str, PluginValues] = WeakValueDictionary()
        # Revision of the storage that memory has all of, None where it may lack something.
        self._revision: int | None = None

    # -- reading -----------------------------------------------------------------------------

    def load(self) -> dict[str, frozenset[str]]:
        """Read all values from the storage; return the changed keys by slug."""
        with self._writing.get():
            # Values that are stored after this may be missing in the result.
            revision = self._storage.revision()
            found, self.damaged = self._read(self._storage.read)
            # A copy, since readers add plugins.
            slugs = sorted({*found, *list(self._values)})
            changed = {slug: self.of(slug).replace(found.get(slug, NOTHING)) for slug in slugs}
            self._revision = revision
        return {slug: keys for slug, keys in changed.items() if keys}

    def of(self, slug: str) -> PluginValues:
        """Return the values of a plugin: a live object, the same for all callers.

        Args:
            slug: Slug of the plugin.
        """
        values = self._values.get(slug)
        if values is None:
            values = self._gone.get(slug) or _new_values(self.overrides.get(slug, EMPTY))
            # Two threads at once get the same object.
            values = self._values.setdefault(slug, values)
        return values

    def stored(self, slug: str) -> StoredSettings:
        """Return the stored settings of any plugin, as of the last load or write.

        Args:
            slug: Slug of the plugin.
        """
        values = self._values.get(slug)
        return NOTHING if values is None else values.stored

    def knows(self, slug: str) -> bool:
        """Return whether a plugin has values or declares any: most plugins do neither.

        Args:
            slug: Slug of the plugin.
        """
        return slug in self._values or slug in self.overrides

    def all_stored(self) -> dict[str, StoredSettings]:
        """Return the stored settings of every plugin that has any, by slug."""
        values = sorted(self._values.copy().items())
        return {slug: own.stored for slug, own in values if own.stored.has_values}

    def scrubber(self, slug: str) -> Scrubber:
        """Return a scrubber of the protected values of a plugin and of all its users.

        Those are stored values, overrides and defaults. References are looked up now.

        Args:
            slug: Slug of the plugin.
        """
        return self._known_or_empty(slug).scrubber()

    def scrubber_for(self, slug: str, user: User = None) -> Scrubber:
        """Return a scrubber of the protected values of a plugin and of at most one user.

        It is for output that everybody, or that user, sees and could compare.

        Args:
            slug: Slug of the plugin.
            user: Number of the user, None for no user.
        """
        return self._known_or_empty(slug).scrubber_for(user)

    def read_stored(self, slug: str) -> StoredSettings:
        """Read the settings of a plugin from the storage; memory stays as it is.

        Args:
            slug: Slug of the plugin.
        """
        return self._read(self._storage.read, slug)[0].get(slug, NOTHING)

    # -- plugins that come and go ------------------------------------------------------------

    def declare(self, slug: str, declared: Declared) -> None:
        """Set the declaration of a plugin.

        A setting once protected stays so in this process. Values that were stored before their
        settings were protected are stored as protected, in one transaction. If the storage fails,
        that is logged, and retried at the next load.

        Args:
            slug: Slug of the plugin.
            declared: Declaration of the plugin.
        """
        if declared == Declared() and not self.knows(slug) and slug not in self._gone:
            return
        values = self.of(slug)
        values.declare(declared)
        before = values.stored
        after = values.with_protection(before)
        if after == before:
            return
        try:
            if not self.exchange(slug, before, after):
                before = self.read_stored(slug)
                self.exchange(slug, before, values.with_protection(before))
        except exceptions.StorageError as error:
            _logger.warning(
                "values of plugin %r are protected by now, but not where they are stored: %s",
                slug,
                explain(error).message,
            )

    def release(self, slugs: Iterable[str]) -> None:
        """Drop the declarations of plugins that are gone; their stored values stay known.

        Args:
            slugs: Slugs of the plugins.
        """
        for slug in slugs:
            values = self._values.get(slug)
            if values is None:
                continue
            # It may run the plugin's code, so it holds no lock.
            values.release()
            with self._writing.get():
                if not values.has_state:
                    self._gone[slug] = self._values.pop(slug)

    def forget(self, slug: str) -> None:
        """Drop the values of a plugin, whose rows were deleted, from memory.

        Args:
            slug: Slug of the plugin.
        """
        with self._writing.get():
            self.of(slug).replace(NOTHING)
            self.damaged = tuple(
                error for error in self.damaged if error.key.partition(":")[0] != slug
            )

    def version_fault(self, slug: str, version: int | None = None) -> str | None:
        """Return why settings of a version cannot be written, or None.

        Args:
            slug: Slug of the plugin.
            version: The version. Defaults to the declared version.
        """
        values = self.of(slug)
        declared = values.declared.version
        known = declared if version is None else version
        stored = values.stored.version or FIRST_VERSION
        return _version_fault(stored if values.stored.has_values else known, known, declared)

    # -- writing -----------------------------------------------------------------------------

    def write(
        self,
        scope: Scope,
        definition: SettingDefinition,
        text: str,
        *,
        version: int,
        is_json: bool = False,
    ) -> None:
        """Store a value, or remove it for an empty string, and report the change.

        A setting that was ever declared protected is stored so, whatever the definition says.

        Args:
            scope: Owner of the value.
            definition: Definition of the setting.
            text: The string, or JSON, to store.
            version: Version of the settings that *definition* belongs to.
            is_json: Whether *text* is JSON.

        Raises:
            SettingError: If the stored or the declared settings have another version.
        """
        slug, user = scope
        key = definition.key
        with self._writing.get():
            values = self.of(slug)
            with self._storage.transaction() as transaction:
                stored = _stored_version(transaction, slug)
                found = stored or FIRST_VERSION
                if found != version and not _has_values(transaction, slug):
                    found = version
                fault = _version_fault(found, version, values.declared.version)
                if fault is not None:
                    raise exceptions.SettingError(key, fault)
                # Looked up here, since the plugin may have been reloaded while others wrote.
                is_protected = definition.protected or values.was_protected(user, key)
                value = StoredValue(text, is_protected, is_json) if text else None
                self._put(transaction, slug, user, key, value)
                if value is not None and stored != version:
                    transaction.put(VERSIONS, slug, {"settings": version})
                    stored = version
            is_changed = values.stored.of(user).get(key) != value
            after = values.stored.with_value(user, key, value, stored)
            values.publish(after, [(user, key)] if is_changed else [])
        if is_changed:
            self._changed(scope, frozenset({key}))

    def exchange(self, slug: str, before: StoredSettings, after: StoredSettings) -> bool:
        """Replace all stored settings of a plugin in one transaction.

        Args:
            slug: Slug of the plugin.
            before: The settings that are stored now.
            after: The settings to store.

        Returns:
            False, with nothing changed, if the stored settings are no longer *before*.
        """
        with self._writing.get():
            values = self.of(slug)
            with self._storage.transaction() as transaction:
                # If nobody has written since, memory has the rows, and many plugins at a start
                # need not read them all.
                revision = self._storage.revision()
                in_memory = revision == self._revision and before is values.stored
                if not in_memory:
                    found, _ = self._read(transaction.items, slug)
                    if found.get(slug, NOTHING) != before:
                        return False
                for user, key in before.differences(after):
                    self._put(transaction, slug, user, key, after.of(user).get(key))
                if after.version not in (None, before.version):
                    transaction.put(VERSIONS, slug, {"settings": after.version})
            values.replace(after)
            if in_memory and after != before:
                self._revision = revision + 1
        return True

    def forget_values(self, slug: str, keys: frozenset[str]) -> int:
        """Delete stored values of a plugin in one transaction.

        Args:
            slug: Slug of the plugin, known or not.
            keys: Keys of its own values. None of them means all values, those of users too.

        Returns:
            The number of values that were deleted.
        """
        while True:
            before = after = self.read_stored(slug)
            changed = [
                (user, key)
                for user, key in before.differences(NOTHING)
                if not keys or (user is None and key in keys)
            ]
            for user, key in changed:
                after = after.with_value(user, key, None, before.version)
            if not changed or self.exchange(slug, before, after):
                break
        for user in {user for user, _ in changed}:
            self._changed((slug, user), frozenset(key for u, key in changed if u == user))
        return len(changed)

    def rotate_secrets(self) -> int:
        """Encrypt every protected value with the first key.

        Values that are stored in clear are encrypted, too.

        Returns:
            The number of rows that were encrypted.

        Raises:
            StorageError: If there are no keys.
            EncryptionError: If no key decrypts a row. Nothing has changed then.
            RecordCorruptError: If a protected row is damaged. Nothing has changed then.
        """
        if self._encryption is None:
            raise exceptions.StorageError(
                "there are no keys to encrypt with; give the registry encryption=Encryption([key])"
            )
        changed = 0
        with self._writing.get(), self._storage.transaction() as transaction:
            stored, damaged = self._read(transaction.items)
            for error in damaged:
                row = transaction.get(error.table, error.key)
                # It may be encrypted with a key that is given up after this.
                if error.table in TABLES and row is not None and _is_protected(row):
                    raise error
            for slug, settings in stored.items():
                values = self.of(slug)
                for user, key in settings.differences(NOTHING):
                    value = settings.of(user)[key]
                    # Some are protected by now although their rows do not say so.
                    if not value.is_protected and not values.was_protected(user, key):
                        continue
                    if value.fault:
                        table, row_key = _place(slug, user, key)
                        subject = f"record {row_key!r} of table {table!r}"
                        raise exceptions.EncryptionError(subject, self._encryption.count)
                    new = value._replace(is_protected=True)
                    self._put(transaction, slug, user, key, new)
                    changed += 1
        return changed

    # -- rows --------------------------------------------------------------------------------

    def _known_or_empty(self, slug: str) -> PluginValues:
        """Return the values of a plugin; nothing is kept of an unknown plugin."""
        return self.of(slug) if self.knows(slug) else _new_values(EMPTY)

    def _read(
        self, read_table: Callable[[str], Any], only: str | None = None
    ) -> tuple[dict[str, StoredSettings], tuple[RecordCorruptError, ...]]:
        """Return the stored settings by slug, and an error for each damaged row.

        ``read_table`` is ``Storage.read``, or ``items`` of a transaction. The tables are read one
        after the other, so that commits may fall in between.
        """
        tables = {table: dict(read_table(table)) for table in (*TABLES, VERSIONS)}
        if only is not None:
            tables = {
                table: {key: row for key, row in rows.items() if key.partition(":")[0] == only}
                for table, rows in tables.items()
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

    def _put(
        self, transaction: Transaction, slug: str, user: User, key: str, value: StoredValue | None
    ) -> None:
        """Write or remove a value. Raises RecordCorruptError if its row is damaged."""
        table, row_key = _place(slug, user, key)
        old = transaction.get(table, row_key)
        if old is not None:
            with readable(table, row_key):
                self._parse(table, row_key, old)
        if value is None:
            transaction.delete(table, row_key)
            return
        row: Record = {"value": value.text, "protected": value.is_protected}
        if value.is_json:
            row["reference"] = True
        if value.is_protected and self._encryption is not None:
            row |= {"value": self._encryption.encrypt(value.text), "encrypted": True}
        transaction.put(table, row_key, row)

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
        except exceptions.EncryptionError:
            return "", (
                "it is stored encrypted, and none of the registry's keys opens it; "
                "add the key that it was written with, or set the value again"
            )


def _place(slug: str, user: User, key: str) -> tuple[str, str]:
    """Return table and row key of a value."""
    own, of_users = TABLES
    return (own, f"{slug}:{key}") if user is None else (of_users, f"{slug}:{user}:{key}")


def _has_values(transaction: Transaction, slug: str) -> bool:
    """Return whether any value of a plugin, or of a user of it, is stored."""
    rows = (row_key for table in TABLES for row_key, _ in transaction.items(table))
    return any(row_key.partition(":")[0] == slug for row_key in rows)


def _stored_version(transaction: Transaction, slug: str) -> int | None:
    row = transaction.get(VERSIONS, slug)
    with readable(VERSIONS, slug):
        return None if row is None else _parse_version(slug, row)


def _parse_version(_slug: str, row: Record) -> int:
    return int(field(row, "settings", int))


def _is_protected(row: Record) -> bool:
    return row.get("protected") is not False


def _is_encrypted(row: Record) -> bool:
    return row.get("encrypted") is True


def _version_fault(stored: int, known: int, declared: int) -> str | None:
    """Return why settings of version *known* cannot be written now, or None."""
    if known != declared:
        return (
            f"it is a setting of version {known}, and the plugin was reloaded with version "
            f"{declared}; write through the current plugin"
        )
    if stored > known:
        return (
            f"the stored settings are of version {stored}, and this plugin knows version "
            f"{known}; they can only be read: update the plugin"
        )
    if stored < known:
        return (
            f"the stored settings are of version {stored}, older than the plugin's {known}; "
            "reload(force=True) migrates them"
        )
    return None


def _new_values(overrides: Mapping[str, Any]) -> PluginValues:
    # Few plugins have values, and no start needs the module without them.
    from plugreg.settings.plugin_values import PluginValues

    return PluginValues(overrides)
