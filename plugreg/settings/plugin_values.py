"""The values of a plugin: stored values, overrides of the host, and the secrets among them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from plugreg._support.frozen import NamedTuple
from plugreg._support.guard import Guard
from plugreg.settings.values import (
    NOTHING,
    Declared,
    Spot,
    StoredSettings,
    User,
)

if TYPE_CHECKING:
    from plugreg._support.redact import Scrubber
    from plugreg.settings.definition import SettingDefinition

_MOST_REPLACED: Final = 16
_SHORT: Final = 4
"""Number of replaced secrets that are kept, and the fewest characters of a secret."""

_OWNERS: Final = (None, 0)
"""The plugin itself, and any user."""


class _Secret(NamedTuple):
    """A protected value as given, or the default of a definition. The repr does not show it."""

    user: User
    definition: SettingDefinition | None
    given: Any
    is_default: bool = False

    def __repr__(self) -> str:
        return "<secret>"

    @property
    def varies(self) -> bool:
        """Whether it may be another value each time."""
        if self.is_default:
            return type(self.given) not in (str, int, float, bool)
        from plugreg.settings.references import has_reference

        return has_reference(self.given)


_Texts: TypeAlias = tuple[tuple[User, str], ...]
"""Strings to hide, each with the owner of its value."""


class _Hidden(NamedTuple):
    """The strings to hide, as of a moment; those of ``varying`` secrets are looked up again.

    The repr does not show them.
    """

    stored: StoredSettings | None = None
    declared: Declared | None = None
    constant: _Texts = ()
    varying: tuple[_Secret, ...] = ()
    texts: _Texts = ()
    scrubber: Scrubber | None = None

    def __repr__(self) -> str:
        return f"<{len(self.texts)} strings to hide>"


class PluginValues:
    """The values of a plugin. Readers of ``stored`` hold no lock."""

    def __init__(self, overrides: Mapping[str, Any]) -> None:
        self.overrides: Final = overrides
        self.stored = NOTHING
        self.declared = Declared()
        # Own and user settings that were ever declared protected in this process.
        self._protected: frozenset[tuple[bool, str]] = frozenset()
        # The plugin may still hold a secret that was replaced, and quote it in an exception.
        self._replaced: tuple[_Secret, ...] = ()
        self._hidden = _Hidden()
        self._hidden_for: tuple[_Texts, User, Scrubber] | None = None
        self._hiding: set[int] = set()

    def declare(self, declared: Declared) -> None:
        """Set the current declaration of the plugin.

        Args:
            declared: Declaration of the plugin.
        """
        self._protected |= {
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
        return (user is None, key) in self._protected

    def publish(self, stored: StoredSettings, changed: Iterable[Spot]) -> None:
        """Publish other values at once.

        Args:
            stored: Stored settings of the plugin.
            changed: Owner and key of each value that differs from the published value.
        """
        replaced = [
            _Secret(user, self.declared.of(user).get(key), old.given)
            for user, key in changed
            if (old := self.stored.of(user).get(key)) is not None
            # A short old value would hide whole strings that are no secret any more.
            and len(old.text) >= _SHORT
            and self.is_protected(user, key)
        ]
        self._replaced = (*reversed(replaced), *self._replaced)[:_MOST_REPLACED]
        self.stored = stored

    def replace(self, stored: StoredSettings) -> frozenset[str]:
        """Publish other values at once, and return the keys of those that differ.

        Args:
            stored: Stored settings of the plugin.
        """
        if stored == self.stored:
            # Caches are valid for the same object alone.
            return frozenset()
        changed = [*self.stored.differences(stored)]
        self.publish(stored, changed)
        return frozenset(key for _, key in changed)

    def release(self) -> None:
        """Drop the declaration of a plugin that is gone; its secrets stay hidden.

        A call that still runs may quote them.
        """
        texts = dict.fromkeys(_texts_of([*self._replaced, *self._defaults()]))
        hidden = [_Secret(user, None, text) for user, text in texts if len(text) >= _SHORT]
        self._replaced = tuple(hidden[:_MOST_REPLACED])
        self.declared = Declared(version=self.declared.version)
        self._hidden = _Hidden()

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
        if not self._protected:
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
        return self._hide()[1]

    def scrubber_for(self, user: User) -> Scrubber:
        """Return a scrubber of own protected values and those of a user.

        Other users could choose a value that changes everybody's view.

        Args:
            user: Number of the user, None for no user.
        """
        texts, scrubber = self._hide()
        # A list asks for one user again and again, and there may be many users.
        last = self._hidden_for
        if last is not None and last[0] is texts and last[1] == user:
            return last[2]
        own = [text for owner, text in texts if owner in (None, user)]
        if len(own) < len(texts):
            scrubber = type(scrubber)(own, known=scrubber)
        self._hidden_for = (texts, user, scrubber)
        return scrubber

    def _hide(self) -> tuple[_Texts, Scrubber]:
        from plugreg._support.redact import Scrubber

        me = threading.get_ident()
        last, stored, declared = self._hidden, self.stored, self.declared
        if me in self._hiding:
            # The plugin's code, called to convert a value, needs a scrubber itself.
            secrets = [secret for secret in self._secrets() if not secret.is_default]
            texts = tuple(_texts_of(secret._replace(definition=None) for secret in secrets))
            return texts, Scrubber(text for _, text in texts)
        is_known = last.stored is stored and last.declared is declared
        if is_known and not last.varying and last.scrubber is not None:
            return last.texts, last.scrubber
        constant, varying = last.constant, last.varying
        self._hiding.add(me)
        try:
            if not is_known:
                secrets = [*self._secrets()]
                constant = tuple(_texts_of(secret for secret in secrets if not secret.varies))
                varying = tuple(secret for secret in secrets if secret.varies)
            texts = (*constant, *_texts_of(varying))
        finally:
            self._hiding.discard(me)
        scrubber = last.scrubber
        if scrubber is not None and texts == last.texts:
            texts = last.texts
        else:
            scrubber = Scrubber((text for _, text in texts), known=scrubber)
        self._hidden = _Hidden(stored, declared, constant, varying, texts, scrubber)
        return texts, scrubber

    def _secrets(self) -> Iterator[_Secret]:
        yield from self._replaced
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
        yield from self._defaults()

    def _defaults(self) -> Iterator[_Secret]:
        for user in _OWNERS:
            for definition in self.declared.of(user).values():
                if definition.protected and definition.has_default:
                    yield _Secret(None, definition, definition.default, is_default=True)


def _texts_of(secrets: Iterable[_Secret]) -> Iterator[tuple[User, str]]:
    """Yield the owner and each string of protected values: as given, as converted, and within."""
    for user, definition, given, is_default in secrets:
        # Most plugins have no secret, and need none of these modules at the start.
        from plugreg.settings.definition import as_text, default_of, native_of, text_of
        from plugreg.settings.references import resolve

        texts: list[str] = []
        # An odd value, and a default, may be the code of a plugin or host.
        with Guard():
            if is_default and definition is not None:
                value = default_of(definition)
            else:
                value = resolve(given, strict=False)
            if not isinstance(value, (dict, list, tuple)):
                texts.append(as_text(value))
            texts += _leaves(value)
            if definition is not None and value != "":
                with Guard():
                    native = native_of(definition, value)
                    texts += (as_text(native), text_of(definition, native))
                    is_bool = isinstance(native, bool)
                    if not is_bool and isinstance(native, (int, float)) and native == int(native):
                        texts += (str(int(native)), str(float(native)))
            for text in tuple(texts):
                if text.lstrip()[:1] in ("{", "["):
                    with Guard():
                        texts += _leaves(json.loads(text))
        for text in texts:
            yield user, text


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
