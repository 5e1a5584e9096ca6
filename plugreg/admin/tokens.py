"""Signed strings: the tokens of forms, and messages for the next answer."""

from __future__ import annotations

import hmac
import json
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress
from typing import Any, Final

from plugreg._support.frozen import Frozen
from plugreg.api import Actor
from plugreg.exceptions import StorageError
from plugreg.registry import PluginRegistry
from plugreg.storage.base import Record

TOKEN_AGE: Final = 12 * 3600
"""Seconds for which the token of a form is accepted."""

MESSAGE_AGE: Final = 60
"""Seconds for which a message waits for the next answer."""

_NOTE: Final = "page key"


class SharedKey:
    """The key that all processes of a store sign with. Made where a page is made, not by a request.

    Args:
        registry: The registry, whose storage keeps the key. In safe mode none is stored.
        secret: A secret of the host that its processes share, in the place of a stored key.
    """

    def __init__(self, registry: PluginRegistry, secret: str | None = None) -> None:
        self._registry = registry
        self._key = secret and f"plugreg {secret}"
        if secret is None and not registry.safe_mode:
            # A page is served without its storage, too.
            with suppress(StorageError):
                note = registry.shared.notes.agree(_NOTE, {"key": secrets.token_hex(32)})
                self._key = _key_of(note)

    def get(self) -> str | None:
        """Return the key, None where none is stored or the storage cannot be read."""
        if self._key is None:
            with suppress(StorageError):
                self._key = _key_of(self._registry.shared.notes.get(_NOTE) or {})
        return self._key


def _key_of(note: Record) -> str | None:
    """Return the key of a note, None if somebody else has written another value."""
    key = note.get("key")
    return key if isinstance(key, str) else None


class Signer(Frozen):
    """Signs strings for one actor and one purpose.

    Args:
        key: The key.
    """

    key: str

    def token(self, actor: Actor) -> str:
        """Return a token for the forms of an actor.

        Args:
            actor: The user who will send the form.
        """
        return self._sign("form", actor, "")

    def accepts(self, actor: Actor, token: str) -> bool:
        """Return whether a token belongs to this actor, and is not too old.

        Args:
            actor: The user who has sent the form.
            token: The token that came with it.
        """
        return self._read("form", actor, token, TOKEN_AGE) is not None

    def seal(self, actor: Actor, value: Any) -> str:
        """Return JSON-able *value* as a signed string.

        Args:
            actor: The user to whom it will be shown.
            value: The value.
        """
        return self._sign("message", actor, json.dumps(value, separators=(",", ":")))

    def unseal(self, actor: Actor, sealed: str) -> Any:
        """Return the value of a string that `seal` made for this actor, None for any other.

        Args:
            actor: The user who has sent it.
            sealed: The string.
        """
        content = self._read("message", actor, sealed, MESSAGE_AGE)
        return None if content is None else json.loads(content)

    def _sign(self, purpose: str, actor: Actor, content: str) -> str:
        encoded = urlsafe_b64encode(f"{int(time.time())} {content}".encode()).decode()
        return f"{encoded}.{self._digest(purpose, actor, encoded)}"

    def _read(self, purpose: str, actor: Actor, signed: str, age: int) -> str | None:
        encoded, _, digest = signed.partition(".")
        expected = self._digest(purpose, actor, encoded)
        if not hmac.compare_digest(digest.encode(), expected.encode()):
            return None
        signed_at, _, content = urlsafe_b64decode(encoded).decode().partition(" ")
        return content if 0 <= time.time() - int(signed_at) + 1 <= age else None

    def _digest(self, purpose: str, actor: Actor, encoded: str) -> str:
        content = f"{purpose}\n{actor.id}\n{encoded}".encode()
        return hmac.new(self.key.encode(), content, "sha256").hexdigest()
