"""The settings of all plugins in memory and in the storage, and every write of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias
from weakref import WeakValueDictionary

from plugreg._support.guard import explain
from plugreg._support.per_process import PerProcess
from plugreg._support.redact import Scrubber
from plugreg.encryption import Encryption
from plugreg.exceptions import RecordCorruptError, SettingError, StorageError
from plugreg.records import EMPTY, PluginFailure
from plugreg.settings.definition import SettingDefinition
from plugreg.settings.rows import (
    FIRST_VERSION,
    NOTHING,
    Rows,
    StoredSettings,
    StoredValue,
    User,
    place,
)
from plugreg.settings.values import NOTHING_HIDDEN, Declared, PluginValues
from plugreg.storage import Storage

_logger = logging.getLogger("plugreg")

Scope: TypeAlias = tuple[str, User]
"""Owner of values: a plugin's slug, and a user's number or None for the plugin itself."""


class SettingsStore:
    """The values of all plugins: those stored, and the overrides of the host.

    Reading takes no lock and touches no storage. A method that touches the storage may raise
    StorageError; then nothing has changed.

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
        self.damaged: tuple[RecordCorruptError, ...] = ()
        """An error for each row that was damaged when all values were read last."""
        self._storage = storage
        self._changed = changed
        self.overrides: Final = overrides
        self._rows = Rows(encryption)
        # Writers queue here until memory has what they stored; readers never do.
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
            # Values that are stored after this may be missing in what is read.
            revision = self._storage.revision()
            found, self.damaged = self._rows.read(self._storage.read)
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
            values = self._gone.get(slug) or PluginValues(self.overrides.get(slug, EMPTY))
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

    def scrubber(self, slug: str) -> Scrubber:
        """Return a scrubber of the protected values of a plugin and of all its users.

        Those are stored values, overrides and defaults. References are looked up now.

        Args:
            slug: Slug of the plugin.
        """
        known = slug in self._values or slug in self.overrides
        return self.of(slug).scrubber() if known else NOTHING_HIDDEN

    def scrubber_for(self, slug: str, user: User = None) -> Scrubber:
        """Return a scrubber of the protected values of a plugin and of at most one user.

        It is for output that everybody, or that user, sees and could compare.

        Args:
            slug: Slug of the plugin.
            user: Number of the user, None for no user.
        """
        known = slug in self._values or slug in self.overrides
        return self.of(slug).scrubber_for(user) if known else NOTHING_HIDDEN

    def read_stored(self, slug: str) -> StoredSettings:
        """Read the settings of one plugin from the storage; memory stays as it is.

        Args:
            slug: Slug of the plugin.
        """
        return self._rows.read(self._storage.read, slug)[0].get(slug, NOTHING)

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
        except StorageError as error:
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

    # -- versions ----------------------------------------------------------------------------

    def version_fault(self, slug: str, version: int | None = None) -> str | None:
        """Return why settings of a version cannot be written, or None.

        Args:
            slug: Slug of the plugin.
            version: The version. Defaults to the declared one.
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
        """Store one value, or remove it for an empty string, and report the change.

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
                stored = self._rows.version(transaction, slug)
                found = stored or FIRST_VERSION
                if found != version and not self._rows.has_values(transaction, slug):
                    found = version
                fault = _version_fault(found, version, values.declared.version)
                if fault is not None:
                    raise SettingError(key, fault)
                # Looked up here, since the plugin may have been reloaded while others wrote.
                is_protected = definition.protected or values.was_protected(user, key)
                value = StoredValue(text, is_protected, is_json) if text else None
                if value is None:
                    self._rows.delete(transaction, slug, user, key)
                else:
                    self._rows.put(transaction, slug, user, key, value)
                    if stored != version:
                        self._rows.put_version(transaction, slug, version)
                        stored = version
            before = values.stored.of(user).get(key)
            values.put(user, key, value, stored)
        if before != value:
            self._changed(scope, frozenset({key}))

    def exchange(self, slug: str, before: StoredSettings, after: StoredSettings) -> bool:
        """Replace all stored settings of one plugin in one transaction.

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
                    found, _ = self._rows.read(transaction.items, slug)
                    if found.get(slug, NOTHING) != before:
                        return False
                for user, key in before.differences(after):
                    value = after.of(user).get(key)
                    if value is None:
                        self._rows.delete(transaction, slug, user, key)
                    else:
                        self._rows.put(transaction, slug, user, key, value)
                if after.version is not None and after.version != before.version:
                    self._rows.put_version(transaction, slug, after.version)
            values.replace(after)
            if in_memory and after != before:
                self._revision = revision + 1
        return True

    def rotate_secrets(self) -> int:
        """Encrypt every protected value with the first key.

        Values that are stored in clear are encrypted, too.

        Returns:
            The number of rows that were encrypted.

        Raises:
            StorageError: If there are no keys.
            EncryptionError: If no key decrypts a row. Nothing has changed then.
        """
        with self._writing.get(), self._storage.transaction() as transaction:
            return self._rows.rotate(
                transaction,
                [
                    place(slug, user, key)
                    for slug, values in list(self._values.items())
                    for user, own in values.stored.values.items()
                    for key in own
                    if values.is_protected(user, key)
                ],
            )


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
