"""Signed strings: the tokens of forms, and the messages that one answer leaves to the next.

Their key is stored, so that every process accepts what another has signed.
"""

from __future__ import annotations

import hmac
import json
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Final

from plugreg.api import Actor
from plugreg.exceptions import StorageError
from plugreg.registry import PluginRegistry

TOKEN_AGE: Final = 12 * 3600
"""Seconds for which the token of a form is accepted."""

MESSAGE_AGE: Final = 60
"""Seconds for which a message waits for the next answer."""

_NOTE: Final = "page key"


class Signer:
    """Signs strings for one actor and one purpose. Immutable but for the key that it found.

    The key is stored with the first request. In safe mode that is the first change, and until
    then, as while the storage cannot be used, each process has a key of its own.

    Args:
        registry: The registry, whose storage keeps the key.
    """

    def __init__(self, registry: PluginRegistry) -> None:
        self._registry = registry
        self._own = secrets.token_hex(32)
        self._shared: str | None = None

    def token(self, actor: Actor) -> str:
        """Return a token for the forms of an actor.

        Args:
            actor: The one who will send the form.
        """
        return self._sign("form", actor, "")

    def accepts(self, actor: Actor, token: str) -> bool:
        """Return whether a token is one of this actor's, and young enough.

        Args:
            actor: The one who has sent the form.
            token: The token that came with it.
        """
        return self._read("form", actor, token, TOKEN_AGE, is_change=True) is not None

    def seal(self, actor: Actor, value: Any) -> str:
        """Return JSON-able *value* as a signed string.

        Args:
            actor: The one to whom it will be shown.
            value: The value.
        """
        return self._sign("message", actor, json.dumps(value, separators=(",", ":")))

    def unseal(self, actor: Actor, sealed: str) -> Any:
        """Return the value of a string that `seal` made for this actor, None for any other.

        Args:
            actor: The one who has sent it.
            sealed: The string.
        """
        content = self._read("message", actor, sealed, MESSAGE_AGE)
        return None if content is None else json.loads(content)

    def _sign(self, purpose: str, actor: Actor, content: str) -> str:
        encoded = urlsafe_b64encode(f"{int(time.time())} {content}".encode()).decode()
        return f"{encoded}.{self._digest(purpose, actor, encoded, is_change=False)}"

    def _read(
        self, purpose: str, actor: Actor, signed: str, age: int, *, is_change: bool = False
    ) -> str | None:
        encoded, _, digest = signed.partition(".")
        expected = self._digest(purpose, actor, encoded, is_change=is_change)
        if not hmac.compare_digest(digest.encode(), expected.encode()):
            return None
        signed_at, _, content = urlsafe_b64decode(encoded).decode().partition(" ")
        return content if 0 <= time.time() - int(signed_at) + 1 <= age else None

    def _digest(self, purpose: str, actor: Actor, encoded: str, *, is_change: bool) -> str:
        content = f"{purpose}\n{actor.id}\n{encoded}".encode()
        return hmac.new(self._key(is_change=is_change).encode(), content, "sha256").hexdigest()

    def _key(self, *, is_change: bool) -> str:
        if self._shared is not None:
            return self._shared
        notes = self._registry.shared.notes
        try:
            found = notes.get(_NOTE)
            # In safe mode nothing is stored unless an operator changes something.
            if found is None and (is_change or not self._registry.safe_mode):
                found = notes.agree(_NOTE, {"key": self._own})
        except StorageError:
            # The page works without a storage; then no other process accepts the token.
            return self._own
        key = (found or {}).get("key")
        if type(key) is not str:
            return self._own
        self._shared = key
        return key
