"""Encryption of stored texts, with the extra ``plugreg[secrets]``.

Fernet of the package cryptography (https://cryptography.io): AES in CBC mode with an HMAC, the
time of encryption in clear within the token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType

from plugreg.exceptions import EncryptionError, MissingExtraError

_REMEDY = "make one with Encryption.new_key()"


class Encryption:
    """Encrypts texts with the first of its keys, and decrypts what any of them has encrypted.

    ``keys`` are 32 bytes each, in URL-safe base64, as str or bytes. To change keys, put the new
    one first, :meth:`rotate` every token, and leave the old one out. It never changes, may be used
    by many threads, and its repr shows the number of keys alone.

    Raises MissingExtraError without the package, TypeError for a lone text instead of a list, and
    ValueError for no key at all or for one that is none; the error shows no key.
    """

    def __init__(self, keys: Iterable[str | bytes]) -> None:
        if isinstance(keys, (str, bytes)):
            raise TypeError(f"keys must be a list of keys, not {type(keys).__name__}; write [key]")
        fernet = _fernet()
        opened = [_opened(fernet.Fernet, place, key) for place, key in enumerate(keys, start=1)]
        if not opened:
            raise ValueError(f"encryption needs at least one key; {_REMEDY}")
        self._count = len(opened)
        self._fernet = fernet.MultiFernet(opened)
        self._invalid = fernet.InvalidToken

    @staticmethod
    def new_key() -> str:
        """Return a new random key. Raises MissingExtraError without the package."""
        key: bytes = _fernet().Fernet.generate_key()
        return key.decode()

    def encrypt(self, text: str) -> str:
        """Return ``text`` as a token of ASCII characters; the same text gives ever new ones."""
        token: bytes = self._fernet.encrypt(text.encode("utf-8", "surrogatepass"))
        return token.decode()

    def decrypt(self, token: str) -> str:
        """Return the text that ``token`` was made of. Raises EncryptionError if no key opens it."""
        return self._with_keys(self._fernet.decrypt, token).decode("utf-8", "surrogatepass")

    def rotate(self, token: str) -> str:
        """Return a token of the first key with the text of ``token``, and its time.

        Raises EncryptionError if no key opens it.
        """
        return self._with_keys(self._fernet.rotate, token).decode()

    def __repr__(self) -> str:
        return f"<Encryption with {self._count} key{'s' * (self._count != 1)}>"

    def _with_keys(self, work: Callable[[bytes], bytes], token: str) -> bytes:
        try:
            # What is no token at all may hold any character.
            return work(token.encode("utf-8", "backslashreplace"))
        except self._invalid:
            raise EncryptionError(keys=self._count) from None


def _fernet() -> ModuleType:
    try:
        from cryptography import fernet
    except ImportError as error:
        raise MissingExtraError.of(
            error, "encryption of settings", "cryptography", "secrets"
        ) from error
    return fernet


def _opened(make: Callable[[str | bytes], object], place: int, key: str | bytes) -> object:
    try:
        return make(key)
    except (ValueError, TypeError):
        # Without the cause, which would be free to show the key.
        raise ValueError(
            f"key {place} is none: it must be 32 bytes in URL-safe base64, as str or bytes; "
            f"{_REMEDY}"
        ) from None
