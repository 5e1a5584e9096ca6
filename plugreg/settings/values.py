"""The values of one plugin: those stored, those the host fixes, and the secrets among them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from operator import is_
from typing import Any, Final, TypeAlias

from plugreg._support.guard import Guard
from plugreg._support.named import NamedTuple
from plugreg._support.redact import Scrubber
from plugreg.records import EMPTY
from plugreg.settings.definition import SettingDefinition, as_text, default_of, native_of, text_of
from plugreg.settings.references import has_reference, resolve
from plugreg.settings.rows import FIRST_VERSION, NOTHING, StoredSettings, StoredValue, User

Definitions: TypeAlias = Mapping[str, SettingDefinition]


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


NOTHING_HIDDEN: Final = Scrubber()


class _Secret(NamedTuple):
    """A protected value as given, its owner, and its definition, if any."""

    user: User
    definition: SettingDefinition | None
    given: Any


_MOST_REPLACED: Final = 16
_SHORT: Final = 4
_OWNERS: Final = (None, 0)
"""The plugin itself, and any user."""


class PluginValues:
    """The values of one plugin. Readers of ``stored`` hold no lock."""

    def __init__(self, overrides: Mapping[str, Any]) -> None:
        self.overrides: Final = overrides
        self.stored = NOTHING
        self.declared = Declared()
        # Own and user settings that were ever declared protected in this process.
        self.protected: frozenset[tuple[bool, str]] = frozenset()
        self._seen: tuple[StoredSettings, Declared, list[str], list[_Secret]] | None = None
        self._scrubbed: tuple[list[str], Scrubber] = ([], NOTHING_HIDDEN)
        self._scrubbed_for: tuple[tuple[object, ...], User, Scrubber] = (
            (None, None, None),
            None,
            NOTHING_HIDDEN,
        )
        self._scrubbing: set[int] = set()
        self._replaced: tuple[tuple[User, SettingDefinition | None, StoredValue], ...] = ()

    def declare(self, declared: Declared) -> None:
        """Set the current declaration of the plugin.

        Args:
            declared: Declaration of the plugin.
        """
        self.protected |= {
            (user is None, key)
            for user in _OWNERS
            for key, definition in declared.of(user).items()
            if definition.protected
        }
        self.declared = declared

    def fixed(self, user: User) -> Mapping[str, Any]:
        """Return the overrides of a user's settings, or of the plugin's own, by key.

        An override of a key that both declare is the plugin's own, since users may see theirs.

        Args:
            user: A user's number, or None for the plugin itself.
        """
        definitions, own = self.declared.of(user), self.declared.settings
        return {
            key: value
            for key, value in self.overrides.items()
            if key in definitions and (user is None or key not in own)
        }

    def is_protected(self, user: User, key: str) -> bool:
        """Return whether a value is protected, as stored or ever declared.

        Args:
            user: A user's number, or None for the plugin itself.
            key: Upper-case key of the setting.
        """
        value = self.stored.of(user).get(key)
        return self.was_protected(user, key) or (value is not None and value.is_protected)

    def was_protected(self, user: User, key: str) -> bool:
        """Return whether a setting was ever declared protected in this process.

        Args:
            user: A user's number, or None for the plugin itself.
            key: Upper-case key of the setting.
        """
        return (user is None, key) in self.protected

    def put(self, user: User, key: str, value: StoredValue | None, version: int | None) -> None:
        """Publish one value, None for none, and the stored version.

        Args:
            user: A user's number, or None for the plugin itself.
            key: Upper-case key of the setting.
            value: The value, None for none.
            version: Stored version of the settings.
        """
        old = self.stored.of(user).get(key)
        if old is not None and old != value:
            self._keep_secret(user, key, old)
        self.stored = self.stored.with_value(user, key, value, version)

    def replace(self, stored: StoredSettings) -> frozenset[str]:
        """Publish other values at once, and return the keys of those that differ.

        Args:
            stored: Stored settings of the plugin.
        """
        before = self.stored
        if stored == before:
            # Caches are valid for the same object alone.
            return frozenset()
        changed = set()
        for user, key in before.differences(stored):
            changed.add(key)
            if key in before.of(user):
                self._keep_secret(user, key, before.of(user)[key])
        self.stored = stored
        return frozenset(changed)

    def _keep_secret(self, user: User, key: str, old: StoredValue) -> None:
        # The plugin may still hold a secret that was replaced, and quote it in an exception.
        if self.is_protected(user, key):
            definition = self.declared.of(user).get(key)
            self._replaced = ((user, definition, old), *self._replaced)[:_MOST_REPLACED]

    def release(self) -> None:
        """Drop the declaration of a plugin that is gone; its secrets stay hidden.

        A call that still runs may quote them.
        """
        secrets = [
            _Secret(user, definition, old.given)
            for user, definition, old in self._replaced
            if not old.fault
        ]
        secrets += self._protected_defaults()
        texts = dict.fromkeys(
            (secret.user, text) for secret in secrets for text in _texts_of(secret) if text
        )
        hidden = [(user, None, StoredValue(text, is_protected=True)) for user, text in texts]
        self._replaced = tuple(hidden[:_MOST_REPLACED])
        self.declared = Declared(version=self.declared.version)
        self._seen = None

    @property
    def has_state(self) -> bool:
        """Whether a new object for the same plugin would lack anything."""
        stored = self.stored
        return stored.has_values or stored.version is not None or bool(self._replaced)

    def with_protection(self, stored: StoredSettings) -> StoredSettings:
        """Return *stored* with every value protected that was ever declared so.

        Args:
            stored: Stored settings of the plugin.
        """
        if not self.protected:
            return stored
        values = {
            user: {
                # A value with a fault has no string that could be stored again.
                key: value._replace(is_protected=True)
                if not value.fault and self.was_protected(user, key)
                else value
                for key, value in own.items()
            }
            for user, own in stored.values.items()
        }
        return StoredSettings(stored.version, values)

    # -- secrets -----------------------------------------------------------------------------

    def scrubber(self) -> Scrubber:
        """Return a scrubber of all protected values.

        Those are stored values, overrides, defaults, and values that were replaced lately.
        """
        me = threading.get_ident()
        if me in self._scrubbing:
            # The plugin's code, called to convert a value, needs a scrubber itself.
            secrets = [secret._replace(definition=None) for secret in self._protected_values()]
            return Scrubber(_all_texts(secrets))
        self._scrubbing.add(me)
        try:
            texts = self._protected_texts()
        finally:
            self._scrubbing.discard(me)
        last, scrubber = self._scrubbed
        if last != texts:
            scrubber = Scrubber(texts, known=scrubber)
            self._scrubbed = (texts, scrubber)
        return scrubber

    def scrubber_for(self, user: User) -> Scrubber:
        """Return a scrubber of own protected values and those of one user.

        Other users could choose a value that changes what everybody is shown.

        Args:
            user: Number of the user, None for no user.
        """
        everything = self.scrubber()
        made_from = (everything, self.stored, self.declared)
        last, last_user, scrubber = self._scrubbed_for
        if last_user == user and all(map(is_, last, made_from)):
            return scrubber
        secrets = list(self._protected_values())
        own = [secret for secret in secrets if secret.user in (None, user)]
        scrubber = everything
        if len(own) < len(secrets):
            texts = _all_texts([*own, *self._protected_defaults()])
            scrubber = Scrubber(texts, known=everything)
        self._scrubbed_for = (made_from, user, scrubber)
        return scrubber

    def _protected_texts(self) -> list[str]:
        seen = self._seen
        if seen is None or seen[0] is not self.stored or seen[1] is not self.declared:
            secrets = list(self._protected_values())
            constant = [secret for secret in secrets if not has_reference(secret.given)]
            varying = [secret for secret in secrets if has_reference(secret.given)]
            seen = (self.stored, self.declared, list(_all_texts(constant)), varying)
            self._seen = seen
        # References and defaults may have another value each time.
        return [*seen[2], *_all_texts([*seen[3], *self._protected_defaults()])]

    def _protected_defaults(self) -> Iterator[_Secret]:
        for user in _OWNERS:
            for definition in self.declared.of(user).values():
                if definition.protected and definition.has_default:
                    # It may be the plugin's own code.
                    with Guard() as guard:
                        value = default_of(definition)
                    if guard.error is None:
                        yield _Secret(None, definition, value)

    def _protected_values(self) -> Iterator[_Secret]:
        for user, definition, value in self._replaced:
            # A short old value would hide whole texts that are no secret any more.
            if len(value.text) >= _SHORT and not value.fault:
                yield _Secret(user, definition, value.given)
        for user, values in self.stored.values.items():
            definitions = self.declared.of(user)
            for key, value in values.items():
                if self.is_protected(user, key) and not value.fault:
                    yield _Secret(user, definitions.get(key), value.given)
        for key, given in self.overrides.items():
            owners = [user for user in _OWNERS if key in self.declared.of(user)]
            # Nobody knows whether an undeclared setting is protected.
            if not owners or any(self.was_protected(user, key) for user in owners):
                definition = self.declared.of(owners[0])[key] if owners else None
                yield _Secret(None, definition, given)


def _all_texts(secrets: Iterable[_Secret]) -> Iterator[str]:
    for secret in secrets:
        yield from _texts_of(secret)


def _texts_of(secret: _Secret) -> list[str]:
    """Return all strings of a protected value: as given, as converted, and within."""
    _, definition, given = secret
    texts: list[str] = []
    # An odd value is the code of a plugin or host.
    with Guard():
        value = resolve(given, strict=False)
        if not isinstance(value, (dict, list, tuple)):
            texts.append(as_text(value))
        texts += _leaves(value)
        if definition is not None and value != "":
            with Guard():
                native = native_of(definition, value)
                texts += (as_text(native), text_of(definition, native))
                if type(native) is int:
                    texts.append(str(float(native)))
                elif type(native) is float and native.is_integer():
                    texts.append(str(int(native)))
        for text in tuple(texts):
            if text.lstrip()[:1] in ("{", "["):
                with Guard():
                    texts += _leaves(json.loads(text))
    return texts


def _leaves(value: Any) -> Iterator[str]:
    """Yield every string within a value, and every number as a string."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending += item.values()
        elif isinstance(item, (list, tuple)):
            pending += item
        elif isinstance(item, (str, int, float)) and not isinstance(item, bool):
            yield str(item)
