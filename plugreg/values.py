"""All values of settings that were given, by plugin: those stored and those the host fixes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

from plugreg._guard import Guard
from plugreg._scrub import Scrubber
from plugreg.definitions import SettingDefinition, as_text, default_of
from plugreg.encryption import Encryption
from plugreg.exceptions import SettingError
from plugreg.records import EMPTY, PluginFailure
from plugreg.references import resolve_some
from plugreg.storage import Storage
from plugreg.stored import FIRST_VERSION, NOTHING, Rows, Stored, StoredValue, User, place

Scope: TypeAlias = tuple[str, User]
"""Whose values: a plugin's slug, and a user's number or None for the plugin's own."""

Changed: TypeAlias = Callable[[str, frozenset[str]], object]
"""Told after a write which keys of which plugin have changed."""

Record: TypeAlias = Callable[[PluginFailure], object]
"""Keeps what went wrong with a plugin."""

Definitions: TypeAlias = Mapping[str, SettingDefinition]


@dataclass(frozen=True, slots=True, eq=False)
class Declared:
    """What a plugin declares of its settings: definitions by upper-case key, and their version."""

    settings: Definitions = field(default_factory=dict)
    user_settings: Definitions = field(default_factory=dict)
    version: int = FIRST_VERSION

    def of(self, user: User) -> Definitions:
        """Return the definitions of a user's settings, or of the plugin's own."""
        return self.settings if user is None else self.user_settings


_NOTHING_DECLARED: Final = Declared()
_NOTHING_HIDDEN: Final = Scrubber()
_MOST_REPLACED: Final = 16
_SHORT: Final = 4
_KINDS: Final = (None, 0)
"""The plugin's own settings, and those of any user."""


class Shelf:
    """The values of one plugin. Readers take ``stored`` with one look and hold no lock."""

    __slots__ = (
        "_asking",
        "_replaced",
        "_scrubbed",
        "_seen",
        "declared",
        "overrides",
        "protected",
        "stored",
    )

    def __init__(self, overrides: Mapping[str, Any]) -> None:
        self.overrides: Final = overrides
        self.stored = NOTHING
        self.declared = _NOTHING_DECLARED
        # Own and user settings that were ever declared as protected in this process.
        self.protected: frozenset[tuple[bool, str]] = frozenset()
        self._seen: tuple[Stored, Declared, tuple[Any, ...]] | None = None
        self._scrubbed: tuple[list[str], Scrubber] = ([], _NOTHING_HIDDEN)
        self._asking: set[int] = set()
        self._replaced: tuple[StoredValue, ...] = ()

    def declare(self, declared: Declared) -> None:
        """Take in what the plugin declares now."""
        self.protected |= {
            (user is None, key)
            for user in _KINDS
            for key, definition in declared.of(user).items()
            if definition.protected
        }
        self.declared = declared

    def fixed(self, user: User) -> Mapping[str, Any]:
        """Return the overrides of a user's settings, or of the plugin's own, by key.

        One that both declare is for the plugin's own: what it may protect is for no user to see.
        """
        definitions, own = self.declared.of(user), self.declared.settings
        return {
            key: value
            for key, value in self.overrides.items()
            if key in definitions and (user is None or key not in own)
        }

    def is_protected(self, user: User, key: str) -> bool:
        """Tell whether a stored value is protected, by what is stored and what was declared."""
        value = self.stored.of(user).get(key)
        return (user is None, key) in self.protected or (value is not None and value.is_protected)

    def put(self, user: User, key: str, value: StoredValue | None, version: int | None) -> None:
        """Let readers see one value, None for none, and the version of what is stored."""
        old = self.stored.of(user).get(key)
        if old is not None and old != value and self.is_protected(user, key):
            # The plugin may still hold it, and tell of it in what it raises next.
            self._replaced = (old, *self._replaced)[:_MOST_REPLACED]
        self.stored = replace(self.stored.but_for(user, key, value), version=version)

    def clear(self) -> None:
        """Drop what was stored, and what that has replaced."""
        self._replaced = ()
        self.stored = NOTHING

    def scrubber(self) -> Scrubber:
        """Return what hides all protected values that are stored, fixed or stand as defaults.

        Those that were replaced last in this process are hidden too.
        """
        seen = self._seen
        if seen is None or seen[0] is not self.stored or seen[1] is not self.declared:
            seen = self._seen = (self.stored, self.declared, tuple(self._protected_values()))
        # What a reference stands for, or a default gives, may be another text each time.
        texts = [text for each in seen[2] for text in _texts_of(each)]
        me = threading.get_ident()
        if me in self._asking:
            # A default that is being asked has asked for what it takes a scrubber to refuse.
            return Scrubber(texts)
        self._asking.add(me)
        try:
            texts += [text for each in self._protected_defaults() for text in _texts_of(each)]
        finally:
            self._asking.discard(me)
        last, scrubber = self._scrubbed
        if last != texts:
            scrubber = Scrubber(texts)
            self._scrubbed = (texts, scrubber)
        return scrubber

    def _protected_defaults(self) -> Iterator[Any]:
        for user in _KINDS:
            for definition in self.declared.of(user).values():
                if definition.protected and definition.has_default:
                    # It may be the plugin's own code.
                    with Guard() as guard:
                        value = default_of(definition)
                    if guard.error is None:
                        yield value

    def _protected_values(self) -> Iterator[Any]:
        """Give each as it was given."""
        for value in self._replaced:
            # A short one would hide whole texts for what is no secret any more.
            if len(value.text) >= _SHORT and not value.fault:
                yield value.given
        for user, values in self.stored.values.items():
            for key, value in values.items():
                if self.is_protected(user, key) and not value.fault:
                    yield value.given
        for key, given in self.overrides.items():
            kinds = [user is None for user in _KINDS if key in self.declared.of(user)]
            # Of a setting that nobody declares it is not known whether it is protected.
            if not kinds or any((kind, key) in self.protected for kind in kinds):
                yield given


class SettingsStore:
    """The values of all plugins: those stored, and the ``overrides`` that a host fixes.

    Reading takes no lock and touches no storage. Methods that touch the storage may raise
    StorageError; then nothing has changed. ``record`` is given what a plugin's own code does
    wrong; with ``encryption`` protected values are encrypted where they are stored.
    """

    def __init__(
        self,
        storage: Storage,
        changed: Changed,
        *,
        record: Record = lambda _: None,
        overrides: Mapping[str, Mapping[str, Any]] = EMPTY,
        encryption: Encryption | None = None,
    ) -> None:
        self.record: Final = record
        self._storage = storage
        self._changed = changed
        self._overrides = overrides
        self._rows = Rows(encryption)
        # Writers queue here until memory shows what they have stored; readers never do.
        self._writing = threading.Lock()
        self._shelves: dict[str, Shelf] = {}

    def load(self) -> None:
        """Read all values again."""
        with self._writing:
            found = self._rows.read(self._storage)
            # A copy, since readers add shelves.
            for slug in {*found, *list(self._shelves)}:
                self.shelf(slug).stored = found.get(slug, NOTHING)

    def shelf(self, slug: str) -> Shelf:
        """Return the place of one plugin's values, which stays the same."""
        shelf = self._shelves.get(slug)
        if shelf is None:
            # Two threads at once get the same one.
            shelf = self._shelves.setdefault(slug, Shelf(self._overrides.get(slug, EMPTY)))
        return shelf

    def stored(self, slug: str) -> Stored:
        """Return what is stored of one plugin, active or not, as of the last load or write."""
        shelf = self._shelves.get(slug)
        return NOTHING if shelf is None else shelf.stored

    def scrubber(self, slug: str) -> Scrubber:
        """Return what hides the protected values of one plugin, and of all users with it.

        Those are what is stored, fixed by the host, or a default. References are looked up now.
        """
        known = slug in self._shelves or slug in self._overrides
        return self.shelf(slug).scrubber() if known else _NOTHING_HIDDEN

    def declare(self, slug: str, declared: Declared) -> None:
        """Take in what a plugin declares. What was once protected stays so in this process."""
        self.shelf(slug).declare(declared)

    def forget(self, slug: str) -> None:
        """Drop the values of one plugin, whose rows were deleted, from memory."""
        with self._writing:
            self.shelf(slug).clear()

    def is_outdated(self, slug: str) -> bool:
        """Tell whether what memory has of a plugin is of an older version than it declares."""
        shelf = self.shelf(slug)
        return shelf.stored.has_values and (
            (shelf.stored.version or FIRST_VERSION) < shelf.declared.version
        )

    def version_fault(self, slug: str) -> str | None:
        """Return why the stored settings of a plugin are not those it knows, or None."""
        shelf = self.shelf(slug)
        stored = shelf.stored
        return _version_fault(stored.version, shelf.declared.version, lambda: stored.has_values)

    def write(
        self, scope: Scope, definition: SettingDefinition, text: str, *, is_reference: bool = False
    ) -> None:
        """Store one value, or remove it when ``text`` is empty, and tell of the change.

        Raises SettingError where the values stored are of another version than the plugin's.
        """
        slug, user = scope
        key, shelf = definition.key, self.shelf(slug)
        version = shelf.declared.version
        value = StoredValue(text, definition.protected, is_reference) if text else None
        with self._writing:
            with self._storage.transaction() as transaction:
                stored = self._rows.version(transaction, slug)
                fault = _version_fault(
                    stored, version, lambda: self._rows.has_values(transaction, slug)
                )
                if fault is not None:
                    raise SettingError(key, fault)
                if value is None:
                    self._rows.delete(transaction, slug, user, key)
                else:
                    self._rows.put(transaction, slug, user, key, value)
                    if stored != version:
                        self._rows.put_version(transaction, slug, version)
                        stored = version
            before = shelf.stored.of(user).get(key)
            shelf.put(user, key, value, stored)
        if before != value:
            self._changed(slug, frozenset({key}))

    def read_again(self, slug: str) -> Stored:
        """Return what the storage has of one plugin now; memory stays as it is."""
        return self._rows.read(self._storage, slug).get(slug, NOTHING)

    def exchange(self, slug: str, before: Stored, after: Stored) -> bool:
        """Put ``after`` in the place of all that is stored of one plugin, in one transaction.

        Returns False, and changes nothing, where what is stored is no longer ``before``.
        """
        with self._writing:
            with self._storage.transaction() as transaction:
                if self._rows.read_again(transaction, slug) != before:
                    return False
                for user in before.values.keys() | after.values.keys():
                    old, new = before.of(user), after.of(user)
                    for key in old.keys() - new.keys():
                        self._rows.delete(transaction, slug, user, key)
                    for key, value in new.items():
                        if old.get(key) != value:
                            self._rows.put(transaction, slug, user, key, value)
                if after.version is not None and after.version != before.version:
                    self._rows.put_version(transaction, slug, after.version)
            self.shelf(slug).stored = after
        return True

    def rotate_secrets(self) -> int:
        """Encrypt every protected value with the first key, and return how many rows changed.

        Values stored in clear are encrypted too. Raises StorageError without keys, and
        EncryptionError for a row that none of them opens; then nothing has changed.
        """
        with self._writing, self._storage.transaction() as transaction:
            return self._rows.encrypt_again(
                transaction,
                [
                    place(slug, user, key)
                    for slug, shelf in list(self._shelves.items())
                    for user, values in shelf.stored.values.items()
                    for key in values
                    if shelf.is_protected(user, key)
                ],
            )


def _version_fault(stored: int | None, declared: int, has_values: Callable[[], bool]) -> str | None:
    """Return why what is stored is not of the version that the plugin declares, or None."""
    version = FIRST_VERSION if stored is None else stored
    if version == declared or (version < declared and not has_values()):
        return None
    if version > declared:
        return (
            f"the stored settings are of version {version}, and this plugin knows version "
            f"{declared}; they can only be read: bring the plugin to its newer version"
        )
    return (
        f"the stored settings are of version {version}, older than the plugin's {declared}; "
        "reload(force=True) takes them over"
    )


def _texts_of(given: Any) -> Iterator[str]:
    """Give all texts of a protected value, the whole one and those within it."""
    texts: list[str] = []
    # An odd value is a plugin's or host's own code.
    with Guard():
        value = resolve_some(given)
        if not isinstance(value, (dict, list, tuple)):
            texts.append(as_text(value))
        texts += _leaves(value)
        for text in tuple(texts):
            if text.lstrip()[:1] in ("{", "["):
                with Guard():
                    texts += _leaves(json.loads(text))
    return iter(texts)


def _leaves(value: Any) -> Iterator[str]:
    """Give every text within dicts, lists and tuples, and the text of every number."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, (list, tuple)):
            waiting += each
        elif isinstance(each, (str, int, float)) and not isinstance(each, bool):
            yield str(each)
