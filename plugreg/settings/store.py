"""All values of settings that were given, by plugin: those stored and those the host fixes."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias
from weakref import WeakValueDictionary

from plugreg._support.guard import Guard, explain
from plugreg._support.per_process import PerProcess
from plugreg._support.redact import Scrubber
from plugreg.encryption import Encryption
from plugreg.exceptions import RecordCorruptError, SettingError, StorageError
from plugreg.records import EMPTY, PluginFailure
from plugreg.settings.definition import SettingDefinition, as_text, default_of, native_of, text_of
from plugreg.settings.references import has_reference, resolve_some
from plugreg.settings.rows import (
    FIRST_VERSION,
    NOTHING,
    Rows,
    StoredSettings,
    StoredValue,
    User,
    place,
)
from plugreg.storage import Storage

_logger = logging.getLogger("plugreg")

Scope: TypeAlias = tuple[str, User]
"""Whose values: a plugin's slug, and a user's number or None for the plugin's own."""

Changed: TypeAlias = Callable[[Scope, frozenset[str]], object]
"""Told after a write whose keys have changed."""

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
_Given: TypeAlias = "tuple[SettingDefinition | None, Any]"
"""A protected value as it was given, and the definition that it is read by."""

_MOST_REPLACED: Final = 16
_SHORT: Final = 4
_KINDS: Final = (None, 0)
"""The plugin's own settings, and those of any user."""


class PluginValues:
    """The values of one plugin. Readers take ``stored`` with one look and hold no lock."""

    __slots__ = (
        "__weakref__",
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
        self._seen: tuple[StoredSettings, Declared, list[str], list[_Given]] | None = None
        self._scrubbed: tuple[list[str], Scrubber] = ([], _NOTHING_HIDDEN)
        self._asking: set[int] = set()
        self._replaced: tuple[tuple[User, SettingDefinition | None, StoredValue], ...] = ()

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
        return self.was_protected(user, key) or (value is not None and value.is_protected)

    def put(self, user: User, key: str, value: StoredValue | None, version: int | None) -> None:
        """Let readers see one value, None for none, and the version of what is stored."""
        old = self.stored.of(user).get(key)
        if old is not None and old != value:
            self._note_replaced(user, key, old)
        self.stored = self.stored.but_for(user, key, value, version)

    def take(self, stored: StoredSettings) -> frozenset[str]:
        """Let readers see other values than those before, all at once; return the keys of these."""
        before = self.stored
        if stored == before:
            # What was made of the values stays good for the same object alone.
            return frozenset()
        changed = set()
        for user in before.values.keys() | stored.values.keys():
            old, new = before.of(user), stored.of(user)
            for key in old.keys() | new.keys():
                if new.get(key) != old.get(key):
                    changed.add(key)
                    if key in old:
                        self._note_replaced(user, key, old[key])
        self.stored = stored
        return frozenset(changed)

    def _note_replaced(self, user: User, key: str, old: StoredValue) -> None:
        # The plugin may still hold a secret, and tell of it in what it raises next.
        if self.is_protected(user, key):
            definition = self.declared.of(user).get(key)
            self._replaced = ((user, definition, old), *self._replaced)[:_MOST_REPLACED]

    def let_go(self) -> None:
        """Forget what the plugin declares, which is gone; its secrets stay hidden.

        A call that is under way may still tell of them.
        """
        replaced = [
            (user, (each, old.given)) for user, each, old in self._replaced if not old.fault
        ]
        given = [*replaced, *((None, each) for each in self._protected_defaults())]
        texts = dict.fromkeys((user, text) for user, each in given for text in _texts_of(*each))
        hidden = [
            (user, None, StoredValue(text, is_protected=True)) for user, text in texts if text
        ]
        self._replaced = tuple(hidden[:_MOST_REPLACED])
        self.declared = Declared(version=self.declared.version)
        self._seen = None

    @property
    def is_of_use(self) -> bool:
        """Whether it has anything that a new one for the same plugin would lack."""
        stored = self.stored
        return stored.has_values or stored.version is not None or bool(self._replaced)

    def was_protected(self, user: User, key: str) -> bool:
        """Tell whether a setting was ever declared as protected in this process."""
        return (user is None, key) in self.protected

    def covered(self, stored: StoredSettings) -> StoredSettings:
        """Return the same with each value protected whose setting was ever declared so."""
        if not self.protected:
            return stored
        values = {
            user: {
                # Of one that cannot be had there is no text that could be stored again.
                key: replace(each, is_protected=True)
                if not each.fault and self.was_protected(user, key)
                else each
                for key, each in own.items()
            }
            for user, own in stored.values.items()
        }
        return replace(stored, values=values)

    def scrubber(self) -> Scrubber:
        """Return what hides all protected values that are stored, fixed or stand as defaults.

        Those that were replaced last in this process are hidden too.
        """
        me = threading.get_ident()
        if me in self._asking:
            # The plugin's own code, asked what a value is, has asked for what takes a scrubber.
            given = [value for *_, value in self._protected_values()]
            return Scrubber(text for each in given for text in _texts_of(None, each))
        self._asking.add(me)
        try:
            texts = self._protected_texts()
        finally:
            self._asking.discard(me)
        last, scrubber = self._scrubbed
        if last != texts:
            scrubber = Scrubber(texts, known=scrubber)
            self._scrubbed = (texts, scrubber)
        return scrubber

    def scrubber_for(self, user: User) -> Scrubber:
        """Return what hides the plugin's own values and those of one user, if any.

        The values of other users are left out: each of them can choose one, and would change
        what everybody is shown.
        """
        everything = self.scrubber()
        others = {
            text
            for whose, *value in self._protected_values()
            if whose not in (None, user)
            for text in _texts_of(*value)
        }
        if not others:
            return everything
        own = [value for whose, *value in self._protected_values() if whose in (None, user)]
        own += map(list, self._protected_defaults())
        return Scrubber((text for value in own for text in _texts_of(*value)), known=everything)

    def _protected_texts(self) -> list[str]:
        seen = self._seen
        if seen is None or seen[0] is not self.stored or seen[1] is not self.declared:
            values = [(definition, given) for _, definition, given in self._protected_values()]
            lasting = [each for each in values if not has_reference(each[1])]
            varying = [each for each in values if has_reference(each[1])]
            texts = [text for each in lasting for text in _texts_of(*each)]
            seen = self._seen = (self.stored, self.declared, texts, varying)
        # What a reference stands for, or a default gives, may be another text each time.
        asked = [*seen[3], *self._protected_defaults()]
        return [*seen[2], *(text for each in asked for text in _texts_of(*each))]

    def _protected_defaults(self) -> Iterator[_Given]:
        for user in _KINDS:
            for definition in self.declared.of(user).values():
                if definition.protected and definition.has_default:
                    # It may be the plugin's own code.
                    with Guard() as guard:
                        value = default_of(definition)
                    if guard.error is None:
                        yield definition, value

    def _protected_values(self) -> Iterator[tuple[User, SettingDefinition | None, Any]]:
        """Yield each as it was given, with its user, and its definition where there is one."""
        for user, definition, value in self._replaced:
            # A short one would hide whole texts for what is no secret any more.
            if len(value.text) >= _SHORT and not value.fault:
                yield user, definition, value.given
        for user, values in self.stored.values.items():
            definitions = self.declared.of(user)
            for key, value in values.items():
                if self.is_protected(user, key) and not value.fault:
                    yield user, definitions.get(key), value.given
        for key, given in self.overrides.items():
            kinds = [user for user in _KINDS if key in self.declared.of(user)]
            # Of a setting that nobody declares it is not known whether it is protected.
            if not kinds or any(self.was_protected(user, key) for user in kinds):
                yield None, self.declared.of(kinds[0]).get(key) if kinds else None, given


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
        self.damaged: tuple[RecordCorruptError, ...] = ()
        """An error for each row that was found damaged when all values were read last."""
        self._storage = storage
        self._changed = changed
        self.overrides: Final = overrides
        """What the host fixes, by slug, then by upper-case key."""
        self._rows = Rows(encryption)
        # Writers queue here until memory shows what they have stored; readers never do.
        self._writing = PerProcess(threading.Lock)
        self._shelves: dict[str, PluginValues] = {}
        # Those of plugins that are gone, as long as a view of one is held.
        self._gone: WeakValueDictionary[str, PluginValues] = WeakValueDictionary()
        # The revision of the storage that memory has all of, None where it may have less.
        self._revision: int | None = None

    def load(self) -> dict[str, frozenset[str]]:
        """Read all values again; return the keys of those that have changed, by slug."""
        with self._writing.get():
            # What is stored after this look may be missing in what is read.
            revision = self._storage.revision()
            found, self.damaged = self._rows.read(self._storage)
            # A copy, since readers add shelves.
            slugs = sorted({*found, *list(self._shelves)})
            changed = {slug: self.shelf(slug).take(found.get(slug, NOTHING)) for slug in slugs}
            self._revision = revision
        return {slug: keys for slug, keys in changed.items() if keys}

    def shelf(self, slug: str) -> PluginValues:
        """Return the place of one plugin's values, which stays the same."""
        shelf = self._shelves.get(slug)
        if shelf is None:
            shelf = self._gone.get(slug) or PluginValues(self.overrides.get(slug, EMPTY))
            # Two threads at once get the same one.
            shelf = self._shelves.setdefault(slug, shelf)
        return shelf

    def stored(self, slug: str) -> StoredSettings:
        """Return what is stored of one plugin, active or not, as of the last load or write."""
        shelf = self._shelves.get(slug)
        return NOTHING if shelf is None else shelf.stored

    def scrubber(self, slug: str) -> Scrubber:
        """Return what hides the protected values of one plugin, and of all users with it.

        Those are what is stored, fixed by the host, or a default. References are looked up now.
        """
        known = slug in self._shelves or slug in self.overrides
        return self.shelf(slug).scrubber() if known else _NOTHING_HIDDEN

    def scrubber_for(self, slug: str, user: User = None) -> Scrubber:
        """Return what hides the protected values of one plugin and, at most, of one user with it.

        It is for what everybody, or that user, is shown and could compare.
        """
        known = slug in self._shelves or slug in self.overrides
        return self.shelf(slug).scrubber_for(user) if known else _NOTHING_HIDDEN

    def declare(self, slug: str, declared: Declared) -> None:
        """Take in what a plugin declares. What was once protected stays so in this process.

        Values that were stored before their settings were protected are stored as protected ones,
        in one transaction. Where the storage fails, that is logged, and tried at the next load.
        """
        shelf = self.shelf(slug)
        shelf.declare(declared)
        before = shelf.stored
        after = shelf.covered(before)
        if after == before:
            return
        try:
            if not self.exchange(slug, before, after):
                before = self.read_again(slug)
                self.exchange(slug, before, shelf.covered(before))
        except StorageError as error:
            _logger.warning(
                "values of plugin %r are protected by now, but not where they are stored: %s",
                slug,
                explain(error).message,
            )

    def let_go(self, slugs: Iterable[str]) -> None:
        """Keep nothing that plugins have declared which are gone; what is stored stays known."""
        for slug in slugs:
            shelf = self._shelves.get(slug)
            if shelf is None:
                continue
            # It may run the plugin's code, and so is not done while others cannot write.
            shelf.let_go()
            with self._writing.get():
                if not shelf.is_of_use:
                    self._gone[slug] = self._shelves.pop(slug)

    def forget(self, slug: str) -> None:
        """Drop the values of one plugin, whose rows were deleted, from memory."""
        with self._writing.get():
            self.shelf(slug).take(NOTHING)
            self.damaged = tuple(
                error for error in self.damaged if error.key.partition(":")[0] != slug
            )

    def is_outdated(self, slug: str) -> bool:
        """Tell whether what memory has of a plugin is of an older version than it declares."""
        shelf = self.shelf(slug)
        return shelf.stored.has_values and (
            (shelf.stored.version or FIRST_VERSION) < shelf.declared.version
        )

    def version_fault(self, slug: str, version: int | None = None) -> str | None:
        """Return why settings of a version are not those to write now, or None.

        Without ``version`` it is that which the plugin declares.
        """
        shelf = self.shelf(slug)
        stored, declared = shelf.stored, shelf.declared.version
        return _version_fault(
            stored.version,
            declared if version is None else version,
            declared,
            lambda: stored.has_values,
        )

    def write(
        self,
        scope: Scope,
        definition: SettingDefinition,
        text: str,
        *,
        version: int,
        is_json: bool = False,
    ) -> None:
        """Store one value, or remove it when ``text`` is empty, and tell of the change.

        ``version`` is that of the settings which ``definition`` is one of. Raises SettingError
        where the values stored, or the settings declared last, are of another one. What was ever
        declared as protected is stored so, whatever an older definition says.
        """
        slug, user = scope
        key = definition.key
        with self._writing.get():
            shelf = self.shelf(slug)
            with self._storage.transaction() as transaction:
                stored = self._rows.version(transaction, slug)
                fault = _version_fault(
                    stored,
                    version,
                    shelf.declared.version,
                    lambda: self._rows.has_values(transaction, slug),
                )
                if fault is not None:
                    raise SettingError(key, fault)
                # Asked in here, since the plugin may have been loaded anew while others wrote.
                is_protected = definition.protected or shelf.was_protected(user, key)
                value = StoredValue(text, is_protected, is_json) if text else None
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
            self._changed(scope, frozenset({key}))

    def read_again(self, slug: str) -> StoredSettings:
        """Return what the storage has of one plugin now; memory stays as it is."""
        return self._rows.read(self._storage, slug)[0].get(slug, NOTHING)

    def exchange(self, slug: str, before: StoredSettings, after: StoredSettings) -> bool:
        """Put ``after`` in the place of all that is stored of one plugin, in one transaction.

        Returns False, and changes nothing, where what is stored is no longer ``before``.
        """
        with self._writing.get():
            with self._storage.transaction() as transaction:
                # Where nobody has stored anything since, memory has what is stored: no look at
                # all rows for each of many plugins.
                revision = self._storage.revision()
                in_memory = revision == self._revision and before is self.shelf(slug).stored
                if not in_memory and self._rows.read_again(transaction, slug) != before:
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
            self.shelf(slug).take(after)
            if in_memory and after != before:
                self._revision = revision + 1
        return True

    def rotate_secrets(self) -> int:
        """Encrypt every protected value with the first key, and return how many rows changed.

        Values stored in clear are encrypted too. Raises StorageError without keys, and
        EncryptionError for a row that none of them opens; then nothing has changed.
        """
        with self._writing.get(), self._storage.transaction() as transaction:
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


def _version_fault(
    stored: int | None, known: int, declared: int, has_values: Callable[[], bool]
) -> str | None:
    """Return why settings of the version ``known`` are not those to write now, or None.

    ``declared`` is the version that was declared last, ``stored`` that of the values there are.
    """
    if known != declared:
        return (
            f"it is a setting of version {known}, and the plugin was loaded anew with version "
            f"{declared}; write through the plugin as it is now"
        )
    version = FIRST_VERSION if stored is None else stored
    if version == known or not has_values():
        return None
    if version > known:
        return (
            f"the stored settings are of version {version}, and this plugin knows version "
            f"{known}; they can only be read: bring the plugin to its newer version"
        )
    return (
        f"the stored settings are of version {version}, older than the plugin's {known}; "
        "reload(force=True) takes them over"
    )


def _texts_of(definition: SettingDefinition | None, given: Any) -> list[str]:
    """Return all texts of a protected value: as it was given, as what it stands for, and within."""
    texts: list[str] = []
    # An odd value is a plugin's or host's own code.
    with Guard():
        value = resolve_some(given)
        if not isinstance(value, (dict, list, tuple)):
            texts.append(as_text(value))
        texts += _leaves(value)
        if definition is not None and value != "":
            with Guard():
                native = native_of(definition, value)
                texts += (as_text(native), text_of(definition, native), *_as_other_number(native))
        for text in tuple(texts):
            if text.lstrip()[:1] in ("{", "["):
                with Guard():
                    texts += _leaves(json.loads(text))
    return texts


def _as_other_number(value: Any) -> tuple[str, ...]:
    """Return a whole number as a float writes it, and the other way round."""
    if type(value) is int:
        return (str(float(value)),)
    if type(value) is float and value.is_integer():
        return (str(int(value)),)
    return ()


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
