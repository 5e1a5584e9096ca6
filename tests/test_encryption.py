"""Encryption with the extra ``secrets``: round trips, rotation, and refusals."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import traceback
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

import plugreg
from plugreg.encryption import Encryption
from plugreg.exceptions import EncryptionError

ROOT = Path(plugreg.__file__).parents[1]
NO_KEYS = ["", "short", "é" * 44, "a" * 44, b"\xff" * 44, "\udc80", 5, None]


@pytest.fixture
def old():
    return Encryption.new_key()


@pytest.fixture
def new():
    return Encryption.new_key()


class TestRoundTrip:
    @pytest.mark.parametrize("text", ["", "secret", "é ☕\n\t line", "\udc80", "x" * 100_000])
    def test_what_was_encrypted_is_decrypted(self, old, text):
        """Any text comes back as it was, and its token is plain ASCII."""
        encryption = Encryption([old])
        token = encryption.encrypt(text)
        assert token.isascii()
        assert encryption.decrypt(token) == text

    def test_the_token_does_not_reveal_the_text(self, old):
        """The text is not in it, and one text gives a new token each time."""
        encryption = Encryption([old])
        first, second = (encryption.encrypt("a long secret") for _ in "ab")
        assert "secret" not in first
        assert first != second

    def test_keys_are_those_of_the_package(self, old):
        """Keys and tokens are Fernet's own, as str or bytes, so other programs can read them."""
        token = Encryption([old.encode()]).encrypt("secret")
        assert Fernet(old).decrypt(token) == b"secret"
        assert Encryption([Fernet.generate_key(), old]).decrypt(token) == "secret"


class TestRotation:
    def test_the_first_key_encrypts_and_all_decrypt(self, old, new):
        """While both keys are given, tokens of both are read, and new ones are the first's."""
        before = Encryption([old]).encrypt("secret")
        both = Encryption([new, old])
        assert both.decrypt(before) == "secret"
        assert Encryption([new]).decrypt(both.encrypt("other")) == "other"

    @pytest.mark.parametrize("made", ["other key", "", "clear text", "é", "\udc80", "gAAAAA=="])
    def test_what_no_key_opens(self, old, new, made):
        """It is an error that says how many keys were tried, and shows neither text nor token."""
        token = Encryption([old]).encrypt("clear text") if made == "other key" else made
        with pytest.raises(EncryptionError) as caught:
            Encryption([new, Encryption.new_key()]).decrypt(token)
        assert caught.value.keys == 2
        assert not token or token not in str(caught.value)

    def test_a_token_that_was_changed_is_refused(self, old):
        """One character more or less is found out."""
        encryption = Encryption([old])
        token = encryption.encrypt("secret")
        changed = token[:30] + ("A" if token[30] != "A" else "B") + token[31:]
        with pytest.raises(EncryptionError):
            encryption.decrypt(changed)


class TestKeys:
    @pytest.mark.parametrize("key", NO_KEYS, ids=range(len(NO_KEYS)))
    def test_a_wrong_key_is_named_by_its_place(self, old, key):
        """The error says which key is wrong and how to make one."""
        with pytest.raises(ValueError, match=r"^key 2 .*new_key\(\)"):
            Encryption([old, key])

    def test_no_error_shows_a_key(self, old):
        """Neither the traceback nor a chained exception has the right key or the wrong one."""
        wrong = old[:-3] + "é" + "="
        with pytest.raises(ValueError, match="key 2") as caught:
            Encryption([old, wrong])
        shown = "".join(traceback.format_exception(caught.value))
        assert old[:20] not in shown
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__

    def test_repr_shows_their_number_alone(self, old, new):
        """A log entry with the object shows no key."""
        shown = f"{Encryption([old])!r} {Encryption([old, new])}"
        assert shown == "<Encryption with 1 key> <Encryption with 2 keys>"

    def test_without_any(self):
        """Nothing could be encrypted, which must not pass for encryption."""
        with pytest.raises(ValueError, match="at least one key"):
            Encryption([])

    @pytest.mark.parametrize("kind", [str, str.encode])
    def test_a_lone_key_is_no_list(self, old, kind):
        """Taken letter by letter it would give an error that leads nowhere."""
        with pytest.raises(TypeError, match=r"write \[key\]") as caught:
            Encryption(kind(old))
        assert old not in str(caught.value)

    def test_new_keys_differ(self, old, new):
        """Each one is random."""
        assert old != new


WITHOUT = """
import sys
sys.modules["cryptography"] = None
from plugreg import MissingExtraError, PlugregError
from plugreg.encryption import Encryption
for make in (lambda: Encryption(["key"]), Encryption.new_key):
    try:
        make()
    except MissingExtraError as error:
        assert isinstance(error, PlugregError) and isinstance(error, ImportError)
        print(error.package, error.extra, "|", error)
"""


class TestExtra:
    def test_without_the_package(self):
        """Encryption raises an error with the line that installs it; plugreg itself works."""
        done = subprocess.run(
            [sys.executable, "-P", "-W", "error", "-c", WITHOUT],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        lines = done.stdout.splitlines()
        assert len(lines) == 2
        for line in lines:
            assert line.startswith("cryptography secrets | ")
            assert "pip install 'plugreg[secrets]'" in line

    def test_the_extra_brings_the_package(self):
        """The name in the message is an extra of the distribution."""
        file = Path(__file__).parent.parent / "pyproject.toml"
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        (needed,) = project["optional-dependencies"]["secrets"]
        assert needed.startswith("cryptography")

    def test_importing_plugreg_does_not_import_it(self):
        """Who encrypts nothing does not pay for it."""
        code = "import sys, plugreg, plugreg.encryption; print('cryptography' in sys.modules)"
        done = subprocess.run(
            [sys.executable, "-P", "-c", code],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == "False"
