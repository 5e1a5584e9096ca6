"""Encryption of stored settings, with the extra ``plugreg[secrets]``.

It uses Fernet of the package cryptography (https://cryptography.io): AES in CBC mode with an HMAC.
A token shows the time of its encryption.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Final

from plugreg.exceptions import EncryptionError, MissingExtraError

_REMEDY = "make one with Encryption.new_key()"


class Encryption:
    """Encrypts strings with the first of its keys, and decrypts with any of them.

    To change keys, put the new key first, encrypt everything again, and leave the old key out.
    An object never changes and may be used by many threads. The repr shows the number of keys.

    Args:
        keys: Keys of 32 bytes in URL-safe base64, as str or bytes.

    Raises:
        MissingExtraError: If the package cryptography is not installed.
        TypeError: If *keys* is a single string.
        ValueError: If there is no key, or a key is not valid. The message shows no key.
    """

    def __init__(self, keys: Iterable[str | bytes]) -> None:
        if isinstance(keys, (str, bytes)):
            raise TypeError(f"keys must be a list of keys, not {type(keys).__name__}; write [key]")
        fernet = _fernet()
        parsed = []
        for number, key in enumerate(keys, start=1):
            try:
                parsed.append(fernet.Fernet(key))
            except (ValueError, TypeError):
                # Without the cause, whose message could show the key.
                raise ValueError(
                    f"key {number} is not valid: it must be 32 bytes in URL-safe base64, "
                    f"as str or bytes; {_REMEDY}"
                ) from None
        if not parsed:
            raise ValueError(f"encryption needs at least one key; {_REMEDY}")
        self.count: Final = len(parsed)
        """The number of keys."""
        self._fernet = fernet.MultiFernet(parsed)
        self._invalid = fernet.InvalidToken

    @staticmethod
    def new_key() -> str:
        """Return a new random key.

        Raises:
            MissingExtraError: If the package cryptography is not installed.
        """
        key: bytes = _fernet().Fernet.generate_key()
        return key.decode()

    def encrypt(self, text: str) -> str:
        """Encrypt a string.

        Args:
            text: Any string.

        Returns:
            A token of ASCII characters, a different one each time.
        """
        token: bytes = self._fernet.encrypt(text.encode("utf-8", "surrogatepass"))
        return token.decode()

    def decrypt(self, token: str) -> str:
        """Decrypt a token.

        Args:
            token: A result of `encrypt`.

        Returns:
            The encrypted string.

        Raises:
            EncryptionError: If no key decrypts the token.
        """
        try:
            # A string that is no token may hold any character.
            text: bytes = self._fernet.decrypt(token.encode("utf-8", "backslashreplace"))
        except self._invalid:
            raise EncryptionError(keys=self.count) from None
        return text.decode("utf-8", "surrogatepass")

    def __repr__(self) -> str:
        return f"<Encryption with {self.count} key{'s' * (self.count != 1)}>"


def _fernet() -> ModuleType:
    try:
        from cryptography import fernet
    except ImportError as error:
        raise MissingExtraError.of(
            error, "encryption of settings", "cryptography", "secrets"
        ) from error
    return fernet
