"""Settings of plugins: stored text and definitions in, typed values out (behaviour.md, 4 and 5).

Tables: ``settings`` (``slug:KEY``) and ``user_settings`` (``slug:user:KEY``), one row a value that
was set. A value that was never set has no row and reads as its default.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from plugreg._guard import Guard, explain, safe_repr
from plugreg._names import near
from plugreg.definitions import MASK, SettingDefinition, default_of, to_text, to_value
from plugreg.exceptions import SettingError
from plugreg.records import EMPTY
from plugreg.storage import Storage
from plugreg.storage.base import field, readable

_logger = logging.getLogger("plugreg")

Scope = tuple[str, int | None]
"""Whose values: a plugin's slug, and a user's number or None for the plugin's own."""

Changed = Callable[[str, frozenset[str]], object]
"""Told after a write which keys of which plugin have changed."""


class SettingsStore:
    """All stored values, as text, by scope. Each write replaces one scope's mapping.

    Reading takes no lock and touches no storage. Methods that touch the storage may raise
    StorageError; then nothing has changed.
    """

    def __init__(self, storage: Storage, changed: Changed) -> None:
        self._storage = storage
        self._changed = changed
        # Writers queue here until memory shows what they have stored; readers never do.
        self._writing = threading.Lock()
        self._texts: Mapping[Scope, Mapping[str, str]] = MappingProxyType({})

    def load(self) -> None:
        """Read all values again."""
        texts: dict[Scope, dict[str, str]] = {}
        with self._writing:
            for row_key, row in self._storage.read("settings").items():
                with readable("settings", row_key):
                    slug, key = row_key.split(":")
                    texts.setdefault((slug, None), {})[key] = field(row, "value", str)
            for row_key, row in self._storage.read("user_settings").items():
                with readable("user_settings", row_key):
                    slug, user, key = row_key.split(":")
                    texts.setdefault((slug, int(user)), {})[key] = field(row, "value", str)
            self._texts = MappingProxyType(texts)

    def texts(self, scope: Scope) -> Mapping[str, str]:
        """Return the values set in this scope, as text by key. The mapping never changes."""
        return self._texts.get(scope, EMPTY)

    def forget(self, slug: str) -> None:
        """Drop the values of one plugin, whose rows were deleted, from memory."""
        with self._writing:
            self._texts = MappingProxyType(
                {scope: texts for scope, texts in self._texts.items() if scope[0] != slug}
            )

    def write(self, scope: Scope, definition: SettingDefinition, text: str) -> None:
        """Store one value, or remove it when ``text`` is empty, and tell of the change."""
        slug, user = scope
        key = definition.key
        table = "settings" if user is None else "user_settings"
        row_key = f"{slug}:{key}" if user is None else f"{slug}:{user}:{key}"
        with self._writing:
            with self._storage.transaction() as transaction:
                if text:
                    row = {"value": text, "protected": definition.protected}
                    transaction.put(table, row_key, row)
                else:
                    transaction.delete(table, row_key)
            before = self.texts(scope)
            after = {**before, key: text}
            if not text:
                del after[key]
            self._texts = MappingProxyType({**self._texts, scope: MappingProxyType(after)})
        if before.get(key, "") != text:
            self._changed(slug, frozenset({key}))


class SettingsView(Mapping[str, Any]):
    """The settings of one plugin, or of one user with it: a live mapping from key to native value.

    Keys are those of the definitions, in their order, whatever was stored; any case is accepted.
    A value that was not set reads as its default, one that no longer converts too. Reading takes
    no lock and touches no storage. The repr shows no value.
    """

    def __init__(
        self,
        store: SettingsStore,
        slug: str,
        definitions: Mapping[str, SettingDefinition],
        user: int | None = None,
    ) -> None:
        self.definitions: Final = definitions
        """The definitions by upper-case key, in the order in which the plugin declares them."""
        self._store = store
        self._scope: Scope = (slug, user)
        # One value, so that no thread pairs the texts of one moment with the values of another.
        self._converted: tuple[Mapping[str, str], Mapping[str, Any]] = (EMPTY, EMPTY)

    def __getitem__(self, key: str) -> Any:
        texts = self._store.texts(self._scope)
        seen, values = self._converted
        if texts is not seen:
            values = self._convert(texts)
            self._converted = (texts, values)
        try:
            return values[key]
        except KeyError:
            definition = self._definition(key)
        if definition.key in values:
            return values[definition.key]
        return self._default(definition)

    def __iter__(self) -> Iterator[str]:
        return iter(self.definitions)

    def __len__(self) -> int:
        return len(self.definitions)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.upper() in self.definitions

    def __repr__(self) -> str:
        slug, user = self._scope
        whose = "" if user is None else f" of user {user}"
        return f"<settings of {slug!r}{whose}: {', '.join(self.definitions) or 'none'}>"

    def is_set(self, key: str) -> bool:
        """Tell whether a value is stored for this setting. KeyError for an unknown key."""
        return self._definition(key).key in self._store.texts(self._scope)

    def set(self, key: str, value: object) -> None:
        """Check and store one value; on return it is on disk and every later read gives it.

        None and ``""`` mean "unset", so that the default holds again. Writing the mask of a
        protected setting back leaves it as it is. ``before_save`` of the definition may refuse by
        raising; what ``after_save`` raises is logged, and the value stands.

        Raises KeyError for an unknown key, SettingError for a value that is refused, and
        StorageError. After an error nothing has changed.
        """
        definition = self._definition(key)
        if definition.protected and value == MASK:
            return
        slug, user = self._scope
        with Guard() as guard:
            text = to_text(definition, value, plugin=slug, user=user)
        if guard.error is not None:
            raise _refusal(definition, guard.error)
        change = SettingChange(slug, user, definition.key, text)
        if definition.before_save is not None:
            with Guard() as guard:
                definition.before_save(change)
            if guard.error is not None:
                # A chained exception would carry a protected value into logs and tracebacks.
                cause = None if definition.protected else guard.error
                raise SettingError(definition.key, _veto(definition, guard.error)) from cause
        self._store.write(self._scope, definition, text)
        if definition.after_save is not None:
            with Guard() as guard:
                definition.after_save(change)
            if guard.error is not None:
                _logger.error(
                    "after_save of setting %r of plugin %r failed with %s",
                    definition.key,
                    slug,
                    explain(guard.error).exception_type,
                    exc_info=None if definition.protected else guard.error,
                )

    def _convert(self, texts: Mapping[str, str]) -> dict[str, Any]:
        values = {}
        for key, text in texts.items():
            if key in self.definitions:
                # A text that fits no more reads as the default; a default that cannot be had is
                # a fault of this setting alone, told of when it is read.
                with Guard():
                    values[key] = to_value(self.definitions[key], text)
        return values

    def _definition(self, key: str) -> SettingDefinition:
        definition = self.definitions.get(key.upper())
        if definition is None:
            slug = self._scope[0]
            hint = near(key.upper(), self.definitions)
            raise KeyError(f"plugin {slug!r} has no setting {key!r}{hint}")
        return definition

    def _default(self, definition: SettingDefinition) -> Any:
        with Guard() as guard:
            return default_of(definition)
        assert guard.error is not None
        fault = explain(guard.error)
        told = fault.exception_type if definition.protected else fault.message
        raise SettingError(definition.key, f"its default cannot be had: {told}")


def user_view(
    store: SettingsStore, slug: str, definitions: Mapping[str, SettingDefinition], user: int
) -> SettingsView:
    """Return one user's settings with a plugin. Raises SettingError for what is no number.

    None, which is what many hosts have for nobody, would mean the plugin's own values.
    """
    if type(user) is not int:
        raise SettingError("user", f"a user is a whole number, not {safe_repr(user)}")
    return SettingsView(store, slug, definitions, user)


class SettingChange:
    """What ``before_save`` and ``after_save`` are given; ``value`` is text. The repr hides it."""

    __slots__ = ("key", "slug", "user", "value")

    def __init__(self, slug: str, user: int | None, key: str, value: str) -> None:
        self.slug = slug
        self.user = user
        self.key = key
        self.value = value

    def __repr__(self) -> str:
        return f"<change of setting {self.key!r} of {self.slug!r}>"


def _refusal(definition: SettingDefinition, error: BaseException) -> BaseException:
    """Return what to raise for a value that could not be checked, or was refused."""
    if issubclass(type(error), SettingError):
        return error
    refusal = SettingError(definition.key, f"its choices cannot be had: {explain(error).message}")
    # A chained exception would carry a protected value into logs and tracebacks.
    refusal.__cause__ = None if definition.protected else error
    return refusal


def _veto(definition: SettingDefinition, error: BaseException) -> str:
    """Return the words with which ``before_save`` refused, which may quote a protected value."""
    reason = ""
    if not definition.protected:
        with Guard():
            said = str(getattr(error, "reason", error))
            reason = str.__str__(said)
    return reason or "Value was refused"
